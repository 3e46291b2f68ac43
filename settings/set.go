package settings

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/parser"

	"archetype/internal/bounded"
	"archetype/internal/replace"
)

// writing keeps two changes by one process from undoing each other.
var writing sync.Mutex

// Set changes one choice, such as "theme" or "ovs.mode", here and in the
// user's file. All else in the file stays as it is, comments included. A value
// that the file could not be read with again changes nothing.
func (s *Settings) Set(key, value string) error {
	writing.Lock()
	defer writing.Unlock()
	text, err := bounded.ReadFile(s.File(), maxFile)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	scalar, err := yaml.Marshal(value)
	if err != nil {
		return err
	}
	if _, err := strconv.Atoi(value); err == nil && number(key) {
		scalar = []byte(value)
	}
	if text, err = with(text, strings.Split(key, "."), string(scalar)); err != nil {
		return fmt.Errorf("%s: %s: %w", s.File(), key, err)
	}
	c := Defaults()
	if err := decode(text, &c); err != nil {
		return fmt.Errorf("%s: %s cannot be %q: %s", s.File(), key, value, yaml.FormatError(err, false, false))
	}
	if err := write(s.File(), text); err != nil {
		return err
	}
	s.Choices = c
	return nil
}

// Reload reads the user's choices again. Where that fails, what was read
// before stays.
func (s *Settings) Reload() error {
	fresh := Settings{Choices: Defaults(), Config: s.Config}
	if err := fresh.read(); err != nil {
		return err
	}
	s.Choices = fresh.Choices
	return nil
}

func decode(text []byte, c *Choices) error {
	err := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).Decode(c)
	if errors.Is(err, io.EOF) {
		*c, err = Defaults(), nil // an empty file
	}
	if err != nil {
		return err
	}
	return c.check()
}

// number reports whether a choice is a number: all others are texts, whatever
// they look like.
func number(key string) bool {
	return key == "retry.tries" || strings.HasPrefix(key, "keep.")
}

// with is a file with one value changed.
func with(text []byte, keys []string, scalar string) ([]byte, error) {
	file, err := parser.ParseBytes(text, parser.ParseComments)
	if err != nil {
		return nil, errors.New(yaml.FormatError(err, false, true))
	}
	if len(file.Docs) == 0 || file.Docs[0].Body == nil || strings.HasPrefix(file.Docs[0].Body.Type().String(), "Comment") {
		return append(ended(text), nested(keys, scalar)...), nil
	}
	// From the whole key upwards: what is there is replaced or added to.
	for n := len(keys); n >= 0; n-- {
		path, err := yaml.PathString(strings.Join(append([]string{"$"}, keys[:n]...), "."))
		if err != nil {
			return nil, err
		}
		if n > 0 {
			if _, err := path.FilterFile(file); err != nil {
				continue // not there
			}
		}
		if n == len(keys) {
			err = path.ReplaceWithReader(file, strings.NewReader(scalar))
		} else {
			err = path.MergeFromReader(file, strings.NewReader(nested(keys[n:], scalar)))
		}
		if err != nil {
			return nil, err
		}
		break
	}
	return ended([]byte(file.String())), nil
}

// nested is a value under its keys, as YAML.
func nested(keys []string, scalar string) string {
	var b strings.Builder
	for i, k := range keys {
		b.WriteString(strings.Repeat("  ", i) + k + ":")
		if i == len(keys)-1 {
			b.WriteString(" " + scalar)
		} else {
			b.WriteString("\n")
		}
	}
	return b.String()
}

func ended(text []byte) []byte {
	if len(text) == 0 || text[len(text)-1] == '\n' {
		return text
	}
	return append(text, '\n')
}

// write puts a file in place in one step.
func write(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return replace.With(path, text)
}
