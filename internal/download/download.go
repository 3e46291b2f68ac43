// Package download fetches files from web servers, within bounds of time and
// size, and keeps them for when a server cannot be reached.
package download

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"time"

	"archetype/internal/replace"
)

// each is how long one file may take.
const each = 30 * time.Second

// Keep is a folder in which fetched files are kept.
type Keep struct{ Dir string }

// Check says what is wrong with an address as one to fetch from.
func Check(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return errors.New("this is no address of the web") // the reason would quote a password
	case u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("only http and https are served, not %s", u.Scheme)
	case u.Host == "":
		return errors.New("the address names no server")
	}
	return nil
}

// Get returns the path of the file that is at an address: its present text, as
// far as the server can be had, else with old telling why it is one that was
// fetched before. It has at most limit bytes.
func (k Keep) Get(ctx context.Context, address string, limit int64) (file string, old, err error) {
	if err := Check(address); err != nil {
		return "", nil, err
	}
	u, _ := url.Parse(address)
	name := path.Base(u.Path)
	if name == "." || name == "/" || len(name) > 200 {
		name = "file"
	}
	h := sha256.Sum256([]byte(address))
	dir := filepath.Join(k.Dir, hex.EncodeToString(h[:12]))
	file = filepath.Join(dir, name)
	ctx, cancel := context.WithTimeout(ctx, each)
	defer cancel()
	err = fetch(ctx, u, file, limit)
	if err == nil {
		return file, nil, nil
	}
	if _, serr := os.Stat(file); serr == nil && unreachable(err) {
		return file, err, nil
	}
	return "", nil, err
}

// Only removes all files but those whose paths are true.
func (k Keep) Only(paths map[string]bool) error {
	list, err := os.ReadDir(k.Dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	kept := map[string]bool{}
	for path, ok := range paths {
		kept[filepath.Base(filepath.Dir(path))] = ok
	}
	for _, f := range list {
		if !kept[f.Name()] {
			err = errors.Join(err, os.RemoveAll(filepath.Join(k.Dir, f.Name())))
		}
	}
	if len(kept) == 0 {
		err = errors.Join(err, os.Remove(k.Dir))
	}
	return err
}

// refused is a server's answer that is no file.
type refused struct{ status string }

func (r refused) Error() string { return "the server answers " + r.status }

var errTooLarge = errors.New("too large")

// unreachable reports whether the server said nothing about the file.
func unreachable(err error) bool {
	var r refused
	return !errors.As(err, &r) && !errors.Is(err, errTooLarge)
}

func fetch(ctx context.Context, u *url.URL, file string, limit int64) (err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) { // it quotes the address, which may hold a password
			err = ue.Err
		}
		if ctx.Err() != nil {
			err = errors.New("the server does not answer in time")
		}
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return refused{resp.Status}
	}
	// Others may look for what is beside the folder, but not into it.
	keep := filepath.Dir(filepath.Dir(file))
	err = errors.Join(os.MkdirAll(filepath.Dir(keep), 0o711), os.MkdirAll(filepath.Dir(file), 0o700))
	if err != nil {
		return err
	}
	return replace.File(file, func(f *os.File) error {
		n, err := io.Copy(f, io.LimitReader(resp.Body, limit+1))
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("the file did not arrive in time: %d bytes came", n)
		case err == nil && n > limit:
			return fmt.Errorf("%w: a file has at most %d bytes", errTooLarge, limit)
		}
		return err
	})
}
