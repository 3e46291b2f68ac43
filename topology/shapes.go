package topology

import (
	"fmt"
	"regexp"
	"strings"
)

// Shape is a form in which a lab can be made from a few numbers.
type Shape struct {
	Name, About string
	Numbers     []Number
	make        func(s *sketch, n []int)
}

// Number is one that a shape asks for, and how large it may be.
type Number struct {
	Name                 string
	Default, Least, Most int
}

// maxShape is how many nodes a lab has at most that is made from numbers.
const maxShape = 5000

var kindName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)

// Shapes are all that there are.
func Shapes() []Shape {
	nodes := func(is, least, most int) []Number { return []Number{{"nodes", is, least, most}} }
	return []Shape{
		{"line", "one node after the other", nodes(3, 1, 1000), func(s *sketch, n []int) {
			for i := 1; i <= n[0]; i++ {
				s.node("n", i)
				if i > 1 {
					s.link(fmt.Sprintf("n%d", i-1), fmt.Sprintf("n%d", i))
				}
			}
		}},
		{"ring", "a line whose ends are joined", nodes(4, 3, 1000), func(s *sketch, n []int) {
			for i := 1; i <= n[0]; i++ {
				s.node("n", i)
			}
			for i := 1; i <= n[0]; i++ {
				s.link(fmt.Sprintf("n%d", i), fmt.Sprintf("n%d", i%n[0]+1))
			}
		}},
		{"star", "one node in the middle, joined to all others", []Number{{"around", 5, 1, 1000}}, func(s *sketch, n []int) {
			s.add("hub", s.kind)
			for i := 1; i <= n[0]; i++ {
				s.link("hub", s.node("n", i))
			}
		}},
		{"mesh", "each node joined to each other", nodes(4, 2, 60), func(s *sketch, n []int) {
			for i := 1; i <= n[0]; i++ {
				s.node("n", i)
				for j := 1; j < i; j++ {
					s.link(fmt.Sprintf("n%d", j), fmt.Sprintf("n%d", i))
				}
			}
		}},
		{"clos", "a fabric: each leaf joined to each spine, hosts below", []Number{{"spines", 2, 1, 64}, {"leaves", 4, 1, 200}, {"hosts a leaf", 1, 0, 100}}, func(s *sketch, n []int) {
			for i := 1; i <= n[0]; i++ {
				s.node("spine", i)
			}
			for i := 1; i <= n[1]; i++ {
				leaf := s.node("leaf", i)
				for j := 1; j <= n[0]; j++ {
					s.link(fmt.Sprintf("spine%d", j), leaf)
				}
			}
			for i := range n[1] * n[2] {
				host := fmt.Sprintf("host%d", i+1)
				s.add(host, "linux")
				s.link(fmt.Sprintf("leaf%d", i/n[2]+1), host)
			}
		}},
		{"tree", "each node joined to those below it", []Number{{"levels", 3, 1, 8}, {"below each", 2, 1, 20}}, func(s *sketch, n []int) {
			at, from := 1, 1
			s.node("n", 1)
			for range n[0] - 1 {
				last := at
				for ; from <= last && at <= maxShape; from++ {
					for range n[1] {
						at++
						s.link(fmt.Sprintf("n%d", from), s.node("n", at))
					}
				}
			}
		}},
	}
}

// ShapeNamed finds one by its name.
func ShapeNamed(name string) (Shape, bool) {
	for _, s := range Shapes() {
		if s.Name == name {
			return s, true
		}
	}
	return Shape{}, false
}

// File is a topology file of the shape: a lab of that name, whose nodes are of
// that kind, but for hosts. Their interfaces are eth1, eth2 and so on.
func (s Shape) File(name, kind string, numbers []int) ([]byte, error) {
	switch {
	case !IsLabName(name):
		return nil, fmt.Errorf("a lab cannot be called %q: use letters, digits, '-', '_' and '.', beginning and ending with a letter or digit", name)
	case !kindName.MatchString(kind):
		return nil, fmt.Errorf("%q is no kind", kind)
	case len(numbers) != len(s.Numbers):
		return nil, fmt.Errorf("a %s takes %d numbers, and %d were given", s.Name, len(s.Numbers), len(numbers))
	}
	for i, n := range s.Numbers {
		if numbers[i] < n.Least || numbers[i] > n.Most {
			return nil, fmt.Errorf("%s: from %d to %d, not %d", n.Name, n.Least, n.Most, numbers[i])
		}
	}
	sk := &sketch{kind: kind, used: map[string]int{}}
	s.make(sk, numbers)
	if sk.count > maxShape {
		return nil, fmt.Errorf("that is more than %d nodes", maxShape)
	}
	text := fmt.Sprintf("name: %s\ntopology:\n  nodes:\n%s", name, sk.nodes.String())
	if sk.links.Len() > 0 {
		text += "  links:\n" + sk.links.String()
	}
	return []byte(text), nil
}

// sketch is a file that is being written.
type sketch struct {
	kind         string
	count        int
	used         map[string]int // interfaces, by node
	nodes, links strings.Builder
}

func (s *sketch) add(name, kind string) {
	s.count++
	fmt.Fprintf(&s.nodes, "    %s: {kind: %s}\n", name, kind)
}

// node adds the i-th of those that are called so, and returns its name.
func (s *sketch) node(prefix string, i int) string {
	name := fmt.Sprintf("%s%d", prefix, i)
	s.add(name, s.kind)
	return name
}

func (s *sketch) link(a, b string) {
	s.used[a]++
	ia := s.used[a]
	s.used[b]++
	fmt.Fprintf(&s.links, "    - endpoints: [\"%s:eth%d\", \"%s:eth%d\"]\n", a, ia, b, s.used[b])
}
