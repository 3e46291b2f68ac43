package canvas

import (
	"fmt"
	"strings"
	"testing"

	"archetype/engine/api"
	"archetype/lab"
	"archetype/themes"
)

func canvasOf(t testing.TB, l *api.Lab, w, h int) *Model {
	t.Helper()
	th, err := themes.Load("dark", "")
	if err != nil {
		t.Fatal(err)
	}
	m := New(th, themes.UTF8)
	m.Resize(w, h)
	m.SetLab(l)
	return m
}

// Whatever the topology, no box covers another, every line ends at the boxes
// it joins, and none runs through a third.
func TestLayoutsAreSound(t *testing.T) {
	for name, l := range samples() {
		m := canvasOf(t, l, 80, 24)
		for _, level := range []Level{Overview, Compact, Normal, Detail} {
			s := m.scene(level)
			at := map[point]int{}
			for i, b := range s.boxes {
				if b.x < 0 || b.y < 0 || b.x+b.w > s.w || b.y+b.h > s.h {
					t.Errorf("%s %d: box %d is outside of the scene: %+v in %dx%d", name, level, i, b, s.w, s.h)
				}
				for y := b.y; y < b.y+b.h; y++ {
					for x := b.x; x < b.x+b.w; x++ {
						if j, taken := at[point{x, y}]; taken {
							t.Fatalf("%s %d: %s covers %s", name, level, l.Nodes[i].Name, l.Nodes[j].Name)
						}
						at[point{x, y}] = i
					}
				}
			}
			if level != Overview {
				soundLines(t, name, l, m, s, at)
			}
		}
	}
}

func soundLines(t *testing.T, name string, l *api.Lab, m *Model, s *scene, at map[point]int) {
	for i, path := range s.paths {
		k := l.Links[i]
		if len(path) < 2 {
			t.Fatalf("%s: %s -- %s has no line", name, k.A, k.B)
		}
		a, b := m.index[nodeOf(k.A)], m.index[nodeOf(k.B)]
		if s.flip[i] {
			a, b = b, a
		}
		if got, ok := at[path[0]]; !ok || got != a {
			t.Errorf("%s: the line of %s -- %s does not begin at its box", name, k.A, k.B)
		}
		if got, ok := at[path[len(path)-1]]; !ok || got != b {
			t.Errorf("%s: the line of %s -- %s does not end at its box", name, k.A, k.B)
		}
		for j := 1; j < len(path); j++ {
			p, q := path[j-1], path[j]
			if p.x != q.x && p.y != q.y {
				t.Errorf("%s: a slanted line", name)
			}
			for p != q {
				if n, ok := at[p]; ok && n != a && n != b {
					t.Errorf("%s: the line of %s -- %s runs through %s", name, k.A, k.B, l.Nodes[n].Name)
					break
				}
				p.x += sign(q.x - p.x)
				p.y += sign(q.y - p.y)
			}
		}
	}
}

func sign(x int) int {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return -1
	}
	return 0
}

func TestNamesAreWholeInNormalZoom(t *testing.T) {
	for name, l := range samples() {
		m := canvasOf(t, l, 80, 24)
		m.level = Normal
		all := m.scene(Normal)
		m.Resize(all.w+2, all.h+2) // all of it is in sight
		m.level = Normal
		m.centre()
		m.fresh = false
		text := plainText(m)
		for _, n := range l.Nodes {
			if !strings.Contains(text, "● "+n.Name+" ") {
				t.Errorf("%s: the name of %s is not to be read", name, n.Name)
			}
		}
	}
}

func TestEveryNodeIsReachedByKeys(t *testing.T) {
	for name, l := range samples() {
		m := canvasOf(t, l, 80, 24)
		if len(l.Nodes) > 60 {
			continue
		}
		seen := map[string]bool{m.Selected(): true}
		queue := []string{m.Selected()}
		for len(queue) > 0 {
			at := queue[0]
			queue = queue[1:]
			for _, d := range []Direction{Left, Right, Up, Down} {
				m.Select(at)
				m.Move(d)
				if !seen[m.Selected()] {
					seen[m.Selected()] = true
					queue = append(queue, m.Selected())
				}
			}
		}
		if len(seen) != len(l.Nodes) {
			t.Errorf("%s: keys reach %d of %d nodes", name, len(seen), len(l.Nodes))
		}
	}
}

func TestClickFindsWhatIsDrawn(t *testing.T) {
	m := canvasOf(t, labOf(quickstart...), 100, 30)
	s := m.scene(m.level)
	for i, b := range s.boxes {
		if n, _ := m.Hit(b.x-m.ox+1, b.y-m.oy+1); n != m.lab.Nodes[i].Name {
			t.Errorf("in the box of %s is %q", m.lab.Nodes[i].Name, n)
		}
	}
	p := s.paths[0]
	if _, k := m.Hit(p[0].x-m.ox, p[0].y-m.oy+1); k != m.lab.Links[0].ID() {
		t.Errorf("on the first link is %q", k)
	}
}

func TestStatesShow(t *testing.T) {
	l := labOf("a-b")
	l.Nodes[0].Actual, l.Nodes[0].Progress = lab.NodeStarting, 70
	l.Links[0].Actual = lab.LinkDown
	text := plainText(canvasOf(t, l, 80, 24))
	if !strings.Contains(text, "◐ a 70%") || !strings.Contains(text, "┊") {
		t.Errorf("booting node and cut link:\n%s", text)
	}
	plain := canvasOf(t, l, 80, 24)
	plain.glyphs = themes.Plain
	for _, r := range plainText(plain) {
		if r > 127 {
			t.Errorf("%q in ASCII", r)
		}
	}
}

// A link that leaves the lab has no line: its node says that it has one, and
// how it is.
func TestLinksThatLeaveShow(t *testing.T) {
	l := labOf("a-b")
	for _, level := range []Level{Detail, Normal} {
		m := canvasOf(t, l, 80, 24)
		m.level = level
		if text := plainText(m); strings.Contains(text, "↥") {
			t.Errorf("a mark without such a link:\n%s", text)
		}
	}
	l.Links = append(l.Links, &api.Link{A: "a:eth9", B: "host:eth9", Actual: lab.LinkUp, Carrier: lab.CarrierOn, Outside: lab.OutsideHost})
	for _, level := range []Level{Detail, Normal, Compact, Overview} {
		m := canvasOf(t, l, 80, 24)
		m.level = level
		if text := plainText(m); (level == Detail || level == Normal) != (strings.Count(text, "↥") == 1) {
			t.Errorf("level %v:\n%s", level, text)
		}
		if role, ok := m.roleOf("a", leaves); !ok || role != themes.Good {
			t.Errorf("%v, %v", role, ok)
		}
	}
	m := canvasOf(t, l, 80, 24)
	l.Links[1].Actual = lab.LinkError
	if role, _ := m.roleOf("a", leaves); role != themes.Bad {
		t.Errorf("in error: %v", role)
	}
}

// A change of state does not lay out anew.
func TestLayoutStays(t *testing.T) {
	l := clos(2, 4, 2)
	m := canvasOf(t, l, 80, 24)
	before := m.plan
	moved := *l
	moved.Nodes = append([]*api.Node(nil), l.Nodes...)
	n := *l.Nodes[3]
	n.Actual = lab.NodeError
	moved.Nodes[3] = &n
	m.SetLab(&moved)
	if m.plan != before {
		t.Error("laid out anew for a change of state")
	}
}

// Who comes back to a lab finds it as it was looked at, and a larger terminal
// shows it in the middle.
func TestLookStays(t *testing.T) {
	a, b := clos(4, 8, 3), ring(6)
	a.Name, b.Name = "a", "b"
	m := canvasOf(t, a, 80, 24)
	m.level, m.auto = Normal, false
	m.Select("host9")
	m.Pan(7, 3)
	x, y := m.ox, m.oy
	m.SetLab(b)
	if m.ox == x && m.oy == y {
		t.Error("another lab is looked at like the first")
	}
	m.SetLab(a)
	if m.ox != x || m.oy != y || m.level != Normal || m.Selected() != "host9" {
		t.Errorf("came back to %d,%d %s %s", m.ox, m.oy, m.level, m.Selected())
	}
	s := m.scene(Normal)
	m.Resize(s.w+40, s.h+10)
	if m.ox != -20 || m.oy != -5 {
		t.Errorf("not in the middle: %d,%d", m.ox, m.oy)
	}
}

func BenchmarkFrame(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			l := ring(n)
			m := canvasOf(b, l, 160, 50)
			for b.Loop() {
				m.fresh = false
				m.Lines()
			}
		})
	}
}

func BenchmarkLayout(b *testing.B) {
	for _, l := range []*api.Lab{clos(2, 4, 1), clos(4, 24, 3), clos(8, 90, 10)} {
		b.Run(fmt.Sprint(len(l.Nodes)), func(b *testing.B) {
			for b.Loop() {
				canvasOf(b, l, 160, 50).Lines()
			}
		})
	}
}

func leaves(k *api.Link) bool { return k.Outside != "" }
