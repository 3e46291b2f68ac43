package vendors

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
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
	for _, rule := range i.Names {
		if kernel, ok := rule.kernel(name); ok {
			if n, ok := number(i.Pattern, kernel); ok && i.Pattern != "" {
				if err := i.inRange(n); err != nil {
					return "", fmt.Errorf("no interface %q: its interfaces are %s", name, i.accepted())
				}
			}
			return kernel, nil
		}
	}
	if i.Any || i.Pattern == "" && i.KernelNames == "" {
		return name, nil
	}
	if name == i.Management && name != "" {
		return "", fmt.Errorf("%s is the management interface and takes no link", name)
	}
	if n, ok := number(i.Pattern, name); ok && i.Pattern != "" {
		return name, i.inRange(n)
	}
	if re := whole(i.KernelNames); re != nil && re.MatchString(name) {
		return name, nil
	}
	return "", fmt.Errorf("no interface %q: its interfaces are %s", name, i.accepted())
}

// Variable is what the kind's interface variable says for the interfaces
// given by the kernel's names; ok is false where the kind has none.
func (e InterfaceEnv) Variable(interfaces []string) (name, value string, ok bool) {
	if e.Name == "" {
		return "", "", false
	}
	parts := make([]string, len(interfaces))
	for i, kernel := range interfaces {
		parts[i] = strings.NewReplacer("{kernel}", kernel, "{path}", strings.ReplaceAll(kernel, "-", "/")).Replace(e.Each)
	}
	return e.Name, strings.Join(parts, e.Separator), true
}

// whole compiles an expression for a whole name; nil where there is none.
func whole(expr string) *regexp.Regexp {
	if expr == "" {
		return nil
	}
	if re, ok := compiled.Load(expr); ok {
		return re.(*regexp.Regexp)
	}
	re, err := regexp.Compile(`^(?:` + expr + `)$`)
	if err != nil {
		return nil
	}
	compiled.Store(expr, re)
	return re
}

// compiled keeps the expressions of kinds, of which there are few.
var compiled sync.Map

var placeholder = regexp.MustCompile(`\{([1-9])([+-][0-9]+)?\}`)

// kernel turns the device's name into the kernel's; ok is false where it is
// none of this rule's.
func (r InterfaceName) kernel(name string) (string, bool) {
	re := whole(r.Match)
	if re == nil {
		return "", false
	}
	m := re.FindStringSubmatch(name)
	if m == nil {
		return "", false
	}
	ok := true
	out := placeholder.ReplaceAllStringFunc(r.Kernel, func(s string) string {
		p := placeholder.FindStringSubmatch(s)
		group, _ := strconv.Atoi(p[1])
		if group >= len(m) {
			ok = false
			return ""
		}
		if p[2] == "" {
			return m[group]
		}
		n, err := strconv.Atoi(m[group])
		by, err2 := strconv.Atoi(p[2])
		if err != nil || err2 != nil || n+by < 0 {
			ok = false
		}
		return strconv.Itoa(n + by)
	})
	return out, ok
}

func (i Interfaces) inRange(n int) error {
	if n < i.First || (i.Max > 0 && n > i.Max) {
		return fmt.Errorf("interface number %d: its interfaces are %s", n, i.accepted())
	}
	return nil
}

func (i Interfaces) accepted() string {
	if i.Accepts != "" {
		return i.Accepts
	}
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
