// Package gotemplate renders Go templates with the functions that containerlab's
// have, within bounds that no template of a user's can leave.
package gotemplate

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"text/template"
	"time"
)

// Work bounds what the functions of a template may make in all, so that no
// template grows without end.
type Work struct {
	Left  int // roughly the bytes that may still be made
	Until time.Time
}

// spend takes n off what is left.
func (w *Work) spend(n int) error {
	if n < 0 || n > w.Left {
		w.Left = 0
		return fmt.Errorf("%w: its functions make too much", ErrRunaway)
	}
	w.Left -= n
	if !w.Until.IsZero() && time.Now().After(w.Until) {
		return fmt.Errorf("%w: it takes more than %v", ErrRunaway, MaxTime)
	}
	return nil
}

// weight is how large a value prints, roughly; it stops counting at limit.
func weight(v any, limit int) int {
	if limit <= 0 {
		return 1
	}
	switch v := v.(type) {
	case string:
		return len(v) + 1
	case []any:
		n := 1
		for _, x := range v {
			if n += weight(x, limit-n); n > limit {
				break
			}
		}
		return n
	case map[string]any:
		n := 1
		for k, x := range v {
			if n += len(k) + weight(x, limit-n); n > limit {
				break
			}
		}
		return n
	case []string:
		n := 1
		for _, x := range v {
			n += len(x) + 1
		}
		return n
	case []int:
		return 8 * len(v)
	}
	return 8
}

func (w *Work) weigh(v ...any) (int, error) {
	n := 0
	for _, x := range v {
		n += weight(x, w.Left)
	}
	return n, w.spend(n)
}

// Functions are those that containerlab's templates have, and Go's own that
// write text, within bounds.
func (w *Work) Functions() template.FuncMap {
	return template.FuncMap{
		"add":      w.arithmetic(func(a, b float64) float64 { return a + b }, (*big.Int).Add),
		"subtract": w.arithmetic(func(a, b float64) float64 { return a - b }, (*big.Int).Sub),
		"mul":      w.arithmetic(func(a, b float64) float64 { return a * b }, (*big.Int).Mul),
		"div": func(a, b any) (float64, error) {
			x, y, err := floats(a, b)
			if err == nil && y == 0 {
				err = errors.New("division by 0")
			}
			return x / y, err
		},
		"idiv": w.integers(func(a, b int) int { return a / b }),
		"rem":  w.integers(func(a, b int) int { return a % b }),
		"seq":  w.seq,
		"slice": func(args ...any) ([]any, error) {
			_, err := w.weigh(args...)
			return args, err
		},
		"ToJSON":       func(v any) (string, error) { return w.json(v, "", "") },
		"ToJSONPretty": func(v any, prefix, indent string) (string, error) { return w.json(v, prefix, indent) },
		"strings":      func() stringFunctions { return stringFunctions{w} },
		"conv":         func() convFunctions { return convFunctions{w} },
		"net":          func() netFunctions { return netFunctions{} },
		"printf":       w.printf,
		"print":        func(a ...any) (string, error) { return w.print(fmt.Sprint, a) },
		"println":      func(a ...any) (string, error) { return w.print(fmt.Sprintln, a) },
		"html":         func(a ...any) (string, error) { return w.print(template.HTMLEscaper, a) },
		"js":           func(a ...any) (string, error) { return w.print(template.JSEscaper, a) },
		"urlquery":     func(a ...any) (string, error) { return w.print(template.URLQueryEscaper, a) },
	}
}

func (w *Work) print(show func(...any) string, a []any) (string, error) {
	if _, err := w.weigh(a...); err != nil {
		return "", err
	}
	s := show(a...)
	return s, w.spend(len(s))
}

// printf refuses beforehand what would make more than is left.
func (w *Work) printf(format string, a ...any) (string, error) {
	largest, verbs, width, widest := 0, 0, 0, 0
	for _, x := range a {
		largest = max(largest, weight(x, w.Left))
	}
	for i := range len(format) {
		switch c := format[i]; {
		case c == '%':
			verbs++
			width = 0
		case c == '*':
			return "", errors.New("printf: a width of * is not served")
		case c >= '0' && c <= '9':
			width = min(width*10+int(c-'0'), 1<<30)
			widest = max(widest, width)
		default:
			width = 0
		}
	}
	if widest > 1000 {
		return "", errors.New("printf: a width of more than 1000")
	}
	if err := w.spend(len(format) + verbs*(largest+widest)); err != nil {
		return "", err
	}
	return fmt.Sprintf(format, a...), nil
}

func (w *Work) json(v any, prefix, indent string) (string, error) {
	n, err := w.weigh(v)
	if err != nil {
		return "", err
	}
	if err := w.spend(n * (6 + len(prefix) + MaxDepth*len(indent))); err != nil {
		return "", err
	}
	var b []byte
	if prefix == "" && indent == "" {
		b, err = json.Marshal(v)
	} else {
		b, err = json.MarshalIndent(v, prefix, indent)
	}
	return string(b), err
}

// seq counts from a first number, 1 by default, to a last one, in steps; the
// step's sign follows from the two.
func (w *Work) seq(args ...any) ([]int, error) {
	first, last, step := 1, 0, 1
	n := make([]int, len(args))
	for i, a := range args {
		var err error
		if n[i], err = integer(a); err != nil {
			return nil, err
		}
	}
	switch len(n) {
	case 1:
		last = n[0]
	case 2:
		first, last = n[0], n[1]
	case 3:
		first, last, step = n[0], n[1], n[2]
	default:
		return nil, fmt.Errorf("seq takes 1, 2 or 3 numbers, not %d", len(n))
	}
	if step == 0 {
		return nil, nil
	}
	step = max(step, -step)
	span := new(big.Int).Sub(big.NewInt(int64(last)), big.NewInt(int64(first)))
	count := new(big.Int).Div(new(big.Int).Abs(span), big.NewInt(int64(step)))
	if !count.IsInt64() || count.Int64() > MaxSteps {
		return nil, fmt.Errorf("%w: seq of more than %d numbers", ErrRunaway, MaxSteps)
	}
	if last < first {
		step = -step
	}
	out := make([]int, 0, count.Int64()+1)
	for i := range int(count.Int64()) + 1 {
		out = append(out, first+i*step)
	}
	return out, w.spend(8 * len(out))
}

func (w *Work) arithmetic(real func(a, b float64) float64, whole func(z, a, b *big.Int) *big.Int) func(a, b any) (any, error) {
	return func(a, b any) (any, error) {
		if err := w.spend(1); err != nil {
			return nil, err
		}
		x, errX := integer(a)
		y, errY := integer(b)
		if errX == nil && errY == nil && !isReal(a) && !isReal(b) {
			z := whole(new(big.Int), big.NewInt(int64(x)), big.NewInt(int64(y)))
			if !z.IsInt64() {
				return nil, fmt.Errorf("%s is too large a number", z)
			}
			return int(z.Int64()), nil
		}
		p, q, err := floats(a, b)
		return real(p, q), err
	}
}

func (w *Work) integers(f func(a, b int) int) func(a, b any) (int, error) {
	return func(a, b any) (int, error) {
		x, err := integer(a)
		if err != nil {
			return 0, err
		}
		y, err := integer(b)
		if err != nil {
			return 0, err
		}
		if y == 0 {
			return 0, errors.New("division by 0")
		}
		return f(x, y), w.spend(1)
	}
}

// isReal reports whether a number has a fraction's form.
func isReal(v any) bool {
	switch v := v.(type) {
	case float64:
		return true
	case string:
		_, err := strconv.ParseInt(v, 0, 64)
		return err != nil
	}
	return false
}

func floats(a, b any) (x, y float64, err error) {
	if x, err = float(a); err == nil {
		y, err = float(b)
	}
	return x, y, err
}

func float(v any) (float64, error) {
	switch v := v.(type) {
	case int:
		return float64(v), nil
	case float64:
		return v, nil
	case bool:
		if v {
			return 1, nil
		}
		return 0, nil
	case string:
		s := strings.ReplaceAll(v, ",", "")
		if n, err := strconv.ParseInt(s, 0, 64); err == nil {
			return float64(n), nil
		}
		if n, err := strconv.ParseFloat(s, 64); err == nil {
			return n, nil
		}
		return 0, fmt.Errorf("%q is not a number", v)
	case nil:
		return 0, errors.New("nothing is not a number: is the variable set?")
	}
	return 0, fmt.Errorf("%T is not a number", v)
}

func integer(v any) (int, error) {
	if n, ok := v.(int); ok {
		return n, nil
	}
	if s, ok := v.(string); ok {
		if n, err := strconv.ParseInt(strings.ReplaceAll(s, ",", ""), 0, 64); err == nil {
			return int(n), nil
		}
	}
	f, err := float(v)
	if err == nil && (math.IsNaN(f) || math.Abs(f) > math.MaxInt32*1e6) {
		err = fmt.Errorf("%v is too large a number", v)
	}
	return int(f), err
}

type stringFunctions struct{ w *Work }

// Split cuts a text at each separator.
func (f stringFunctions) Split(separator string, s any) ([]string, error) {
	t := fmt.Sprint(s)
	if err := f.w.spend(17 * len(t)); err != nil {
		return nil, err
	}
	return strings.Split(t, separator), nil
}

// ReplaceAll replaces each old in a text.
func (f stringFunctions) ReplaceAll(old, with string, s any) (string, error) {
	if s == nil {
		return "", nil
	}
	t := fmt.Sprint(s)
	if old == "" {
		return t, f.w.spend(len(t))
	}
	n := strings.Count(t, old)
	if err := f.w.spend(len(t) + n*len(with)); err != nil {
		return "", err
	}
	return strings.ReplaceAll(t, old, with), nil
}

type convFunctions struct{ w *Work }

// Join writes a list's elements with a separator between them.
func (f convFunctions) Join(list any, separator string) (string, error) {
	v := reflect.ValueOf(list)
	if v.Kind() != reflect.Slice {
		return "", fmt.Errorf("conv.Join needs a list, this is %T", list)
	}
	n, err := f.w.weigh(list)
	if err == nil {
		err = f.w.spend(n + v.Len()*len(separator))
	}
	if err != nil {
		return "", err
	}
	parts := make([]string, v.Len())
	for i := range parts {
		parts[i] = fmt.Sprint(v.Index(i).Interface())
	}
	return strings.Join(parts, separator), nil
}

// ToInt makes a whole number of a text or number.
func (convFunctions) ToInt(v any) (int, error) { return integer(v) }

type netFunctions struct{}

// CIDRHost is the address with a number within a subnet; a negative number
// counts from the end.
func (netFunctions) CIDRHost(number, subnet any) (string, error) {
	p, err := netip.ParsePrefix(fmt.Sprint(subnet))
	if err != nil {
		return "", fmt.Errorf("%v is not a subnet", subnet)
	}
	n, err := integer(number)
	if err != nil {
		return "", err
	}
	size := new(big.Int).Lsh(big.NewInt(1), uint(p.Addr().BitLen()-p.Bits()))
	at := big.NewInt(int64(n))
	if n < 0 {
		at.Add(at, size)
	}
	if at.Sign() < 0 || at.Cmp(size) >= 0 {
		return "", fmt.Errorf("%s has no address number %d", p, n)
	}
	at.Add(at, new(big.Int).SetBytes(p.Masked().Addr().AsSlice()))
	b := at.FillBytes(make([]byte, p.Addr().BitLen()/8))
	a, _ := netip.AddrFromSlice(b)
	return a.String(), nil
}
