package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// rest wants the labs to come to rest, and all to be true and well then.
func (o *torture) rest(t *testing.T) {
	o.note("rest")
	if o.lost { // what ran of labs that were forgotten with it, or that an older backup does not know
		for _, l := range o.labs { // until then all that is called theirs may be
			if o.w.run("inspect", l.name).code == 0 {
				o.w.run(o.deployWords(l)...)
			}
		}
		if r := o.w.run("gc", "--remove"); r.code != 0 {
			t.Errorf("at rest: %s", r)
		}
	}
	for _, l := range o.labs {
		if o.w.run("drift", "policy", l.name, "enforce").code == 0 { // some were to be left alone
			o.w.run("drift", "fix", l.name)
		}
	}
	for _, l := range o.labs {
		o.settle(t, l.name)
		if t.Failed() {
			return
		}
	}
	o.w.await("one engine and one holder to be left", func() bool {
		return len(o.w.find("", process.serves)) <= 1 && len(o.w.find("", process.holds)) <= 1
	})
	o.audit(t)
	if o.random.IntN(2) == 0 {
		for _, l := range o.labs {
			o.note("deploy %s at rest", l.name)
			o.deploy(t, l)
			if t.Failed() {
				return
			}
		}
		o.audit(t)
	}
	if o.random.IntN(2) == 0 {
		o.destroyAll(t)
		o.lost, o.p.forgotten = false, false
		var now []string
		if !became(func() bool { now = o.p.portrait(); return slices.Equal(now, o.before) }) {
			t.Errorf("the machine after destroy has more and has less than before:\n%s", difference(now, o.before))
		}
	}
	o.rests++
}

// settle waits until a lab is as it is wished, and compares it to the machine.
func (o *torture) settle(t *testing.T, name string) {
	w := o.w
	if !became(func() bool {
		r := w.run("inspect", name, "--json")
		if r.code != 0 {
			return true
		}
		l := &inspectJSON{}
		w.decode(r.out, l)
		return l.rests() && !w.works(name)
	}) {
		t.Fatalf("%s does not come to rest: %s\n%s\n%s", name, w.run("inspect", name), w.run("jobs", name), o.seen())
	}
	if w.run("inspect", name).code == 0 {
		o.p.mustAgree(t, name)
	}
}

// audit wants all labs together to be what is there, and nothing else.
func (o *torture) audit(t *testing.T) {
	t.Helper()
	var bad []string
	if !became(func() bool { bad = o.amiss(); return len(bad) == 0 }) {
		t.Errorf("at rest:\n%s\n%s\n%s", strings.Join(bad, "\n"), o.w.run("inspect", "--json"), o.seen())
	}
}

// amiss is what does not belong to a machine whose labs rest.
func (o *torture) amiss() (bad []string) {
	w := o.w
	known := map[string]bool{}
	var labs []*inspectJSON
	for _, l := range o.labs {
		if w.run("inspect", l.name).code != 0 {
			continue
		}
		is := w.inspect(l.name)
		labs = append(labs, is)
		for _, n := range is.Nodes {
			known[n.Identifier], known[l.name+"/"+n.Name] = true, true
		}
		for _, d := range []driftJSON{w.drift(l.name)} {
			for _, x := range slices.Concat(d.Nodes, d.Links) {
				bad = append(bad, fmt.Sprintf("%s: %s drifted: %s", l.name, x.Name, x.What))
			}
		}
	}
	for _, name := range o.p.owns() {
		if !known[name] {
			bad = append(bad, name+" is no node's")
		}
	}
	for _, l := range o.labs {
		for node, pids := range w.inits(l.name) {
			if !known[l.name+"/"+node] || len(pids) != 1 {
				bad = append(bad, fmt.Sprintf("%s/%s has the inits %v", l.name, node, pids))
			}
		}
	}
	if r := w.run("gc", "--json"); r.code != 0 || strings.TrimSpace(r.out) != "[]" {
		bad = append(bad, r.String())
	}
	if r := w.run("store", "check"); r.code != 0 {
		bad = append(bad, r.String())
	}
	if len(bad) > 0 {
		return bad // frames take long where they do not come
	}
	return o.p.wired(labs)
}

// deploy has a lab as its file says, and wants its cables to carry.
func (o *torture) deploy(t *testing.T, l *randomLab) {
	w := o.w
	if r := w.run(o.deployWords(l)...); r.code != 0 {
		t.Fatalf("at rest: %s\n%s\n%s", r, w.run("inspect", l.name), l.text)
	}
	o.settle(t, l.name)
	is := w.inspect(l.name)
	o.addressed(t, is, l)
	for i, k := range l.links {
		if at := is.link(k[0], k[1]); at.Actual != "up" {
			t.Errorf("%s: %s -- %s is not up after its file was deployed: %+v\n%s", l.name, k[0], k[1], at, l.text)
			continue
		}
		from := endOf(k[0])
		if endOf(k[1]) == "sw" || is.node(from).Provider == "libvirt" || is.node(endOf(k[1])).Provider == "libvirt" {
			continue
		}
		if to := fmt.Sprintf("10.1.%d.2", i); !became(func() bool { return w.ping(l.name, from, to) }) {
			t.Errorf("%s: %s does not reach %s\n%s\n%s", l.name, from, to, l.text, o.seen())
		}
	}
}

// addressed wants the interfaces of nodes to have the addresses of the file and
// no other.
func (o *torture) addressed(t *testing.T, is *inspectJSON, l *randomLab) {
	t.Helper()
	for i, k := range l.links {
		for host, end := range k {
			n := is.node(endOf(end))
			if n.Provider == "libvirt" || n.Actual != "running" {
				continue
			}
			var want []string
			if n.Name != "sw" {
				want = []string{fmt.Sprintf("10.1.%d.%d/24", i, host+1)}
			}
			ifs, _ := interfacesOf(fmt.Sprintf("/proc/%d/ns/net", n.PID))
			at := slices.IndexFunc(ifs, func(i iface) bool { return n.Name+":"+i.name == end })
			if at < 0 || !slices.Equal(ifs[at].addresses, want) {
				t.Errorf("%s: %s is to have %v: %v\n%s", l.name, end, want, ifs, l.text)
			}
		}
	}
}

// seen is the portrait without files, and with the namespaces that only a
// mount or an open file of a process keeps.
func (o *torture) seen() string {
	is := slices.DeleteFunc(o.p.portrait(), func(s string) bool {
		return strings.HasPrefix(s, "file ") || strings.HasPrefix(s, "namespace ")
	})
	paths, _ := filepath.Glob("/proc/[0-9]*/ns/net")
	kept, _ := filepath.Glob(filepath.Join(o.w.home, "*/*/*/*/*/*/ns-*"))
	paths = append(paths, kept...)
	open, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, path := range open {
		if to, _ := os.Readlink(path); strings.HasPrefix(to, "net:[") {
			paths = append(paths, path)
		}
	}
	in, at := inNamespaces(paths)
	for i := range in {
		is = append(is, at[i]+": "+in[i])
	}
	return strings.Join(is, "\n")
}

func (o *torture) destroyAll(t *testing.T) {
	w := o.w
	o.note("destroy all")
	for _, l := range o.labs {
		if r := w.run("destroy", l.name, "--yes"); r.code != 0 && !strings.Contains(r.err, "no lab") {
			t.Errorf("%s", r)
		}
	}
	w.await("no process to be left", func() bool { return len(w.processes()) == 0 })
}
