package vendors

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Interface returns the kernel's name for an interface that a topology calls
// by the device's own name or by the kernel's. The error says what the kind
// accepts.
func (r *Registry) Interface(kind, name string) (string, error) {
	k, ok := r.Kind(kind)
	if !ok {
		return "", fmt.Errorf("unknown kind %q", kind)
	}
	return k.Interfaces.Kernel(name)
}

// Kernel returns the kernel's name of an interface, see Registry.Interface.
func (i Interfaces) Kernel(name string) (string, error) {
	if i.Alias != "" {
		if n, ok := number(i.Alias, name); ok {
			if err := i.inRange(n); err != nil {
				return "", err
			}
			return strings.Replace(i.Pattern, "{n}", strconv.Itoa(n), 1), nil
		}
	}
	if i.Pattern == "" || i.Any {
		return name, nil
	}
	if n, ok := number(i.Pattern, name); ok {
		if name == i.Management {
			return "", fmt.Errorf("%s is the management interface and takes no link", name)
		}
		return name, i.inRange(n)
	}
	return "", fmt.Errorf("no interface %q: its interfaces are %s", name, i.accepted())
}

func (i Interfaces) inRange(n int) error {
	if n < i.First || (i.Max > 0 && n > i.Max) {
		return fmt.Errorf("interface number %d: its interfaces are %s", n, i.accepted())
	}
	return nil
}

func (i Interfaces) accepted() string {
	show := func(pattern string) string {
		s := strings.Replace(pattern, "{n}", strconv.Itoa(i.First), 1)
		if i.Max > 0 {
			return s + " to " + strings.Replace(pattern, "{n}", strconv.Itoa(i.Max), 1)
		}
		return s + " and up"
	}
	if i.Alias != "" {
		return show(i.Pattern) + " or " + show(i.Alias)
	}
	return show(i.Pattern)
}

var digits = regexp.MustCompile(`^(0|[1-9][0-9]{0,5})$`)

// number reads the {n} of a pattern out of a name.
func number(pattern, name string) (int, bool) {
	pre, post, _ := strings.Cut(pattern, "{n}")
	if len(name) < len(pre)+len(post) || !strings.HasPrefix(name, pre) || !strings.HasSuffix(name, post) {
		return 0, false
	}
	s := name[len(pre) : len(name)-len(post)]
	if !digits.MatchString(s) {
		return 0, false
	}
	n, err := strconv.Atoi(s)
	return n, err == nil
}
