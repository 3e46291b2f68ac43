package ovs

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"archetype/backends"
)

// full is a view of a bridge whose tags are all taken but for some.
func full(free ...int) *view {
	v := newView("me")
	v.root = "root"
	b := &bridgeRow{uuid: "b", name: "arch0", datapath: "netdev", ids: map[string]string{idOwner: "shared"}}
	for tag := firstTag; tag <= lastTag; tag++ {
		id := fmt.Sprint("p", tag)
		v.ports[id] = &portRow{uuid: id, name: id, tag: tag}
		b.ports = append(b.ports, id)
	}
	for _, tag := range free {
		v.ports[fmt.Sprint("p", tag)].tag = 0
	}
	v.bridges["b"] = b
	return v
}

func TestTagsRunOut(t *testing.T) {
	for mode, lab := range map[string]string{"mode: dedicated": "", "split": "lab"} {
		p := newPlan(full(), "arch0", lab)
		a, b := p.port(end{"lab", "a:eth1"}, "oa"), p.port(end{"lab", "b:eth1"}, "ob")
		err := p.join(a, b, "a|b")
		var exhausted *ExhaustedError
		if !errors.As(err, &exhausted) || !errors.Is(err, backends.ErrUnavailable) || !strings.Contains(err.Error(), mode) {
			t.Errorf("%v", err)
		}
		if ops := p.operations("me", "netdev"); len(ops) != 0 {
			t.Errorf("a request that failed makes %v", ops)
		}
	}
}

// A link needs one tag; cutting it one more, which joining gives back.
func TestTagsComeBack(t *testing.T) {
	p := newPlan(full(77, 99), "arch0", "")
	a, b := p.port(end{"lab", "a:eth1"}, "oa"), p.port(end{"lab", "b:eth1"}, "ob")
	c, d := p.port(end{"lab", "c:eth1"}, "oc"), p.port(end{"lab", "d:eth1"}, "od")
	if err := errors.Join(p.join(a, b, "a|b"), p.join(c, d, "c|d")); err != nil {
		t.Fatal(err)
	}
	if a.tag != 77 || b.tag != 77 || c.tag != 99 || d.tag != 99 {
		t.Errorf("tags %d %d, %d %d", a.tag, b.tag, c.tag, d.tag)
	}
	if err := p.isolate(a, "a|b"); err == nil {
		t.Errorf("isolated on tag %d, which another has", a.tag)
	}
	p.remove(end{"lab", "c:eth1"})
	p.remove(end{"lab", "d:eth1"})
	if err := errors.Join(p.isolate(a, "a|b"), p.isolate(b, "a|b")); err != nil || a.tag == b.tag {
		t.Errorf("cut: tags %d and %d, %v", a.tag, b.tag, err)
	}
	if err := p.join(a, b, "a|b"); err != nil || a.tag != b.tag {
		t.Errorf("joined again: tags %d and %d, %v", a.tag, b.tag, err)
	}
	if _, err := p.free(); err != nil {
		t.Error("joining gave no tag back: ", err)
	}
}
