package topology

import (
	"slices"
	"strings"

	"archetype/lab"
)

// stages reads a level's stages.
func (r *reader) stages(d *definition, f field, what string) {
	v := f.value
	if v.form == formNull {
		return
	}
	if v.form != formMap {
		r.errorAt(v.line, v.column, "", "%s must be a map, this is %s", what, v.form)
		return
	}
	names := stageNames()
	for _, sf := range v.fields {
		stage := lab.Stage(sf.name)
		if !stage.Valid() {
			hint := didYouMean(lab.Closest(sf.name, names))
			if hint == "" {
				hint = "the stages are " + strings.Join(names, ", ")
			}
			r.errorAt(sf.line, sf.column, hint, "%s: unknown stage %q", what, sf.name)
			continue
		}
		plan := lab.StagePlan{Stage: stage}
		at := what + ": " + sf.name
		r.fields(sf.value, at, stageConstructs, map[string]func(field){
			"wait-for": func(f field) {
				for _, item := range r.maps(f.value, at+": wait-for") {
					if w, ok := r.waitFor(item, at+": wait-for"); ok {
						plan.WaitFor = append(plan.WaitFor, w)
						d.waits = append(d.waits, wait{w, item})
					}
				}
			},
			"exec": func(f field) {
				for _, item := range r.maps(f.value, at+": exec") {
					if e, ok := r.stageExec(item, at+": exec"); ok {
						plan.Exec = append(plan.Exec, e)
					}
				}
			},
		})
		d.stages[stage] = plan
	}
}

func (r *reader) waitFor(v *value, what string) (lab.WaitFor, bool) {
	var w lab.WaitFor
	before := r.fails
	stage := oneOf(stageNames()...)
	r.fields(v, what, waitConstructs, map[string]func(field){
		"node": func(f field) { w.Node = r.str(f.value, what+": node") },
		"stage": func(f field) {
			s, _ := stage(r, f.value, what+": stage").(string)
			w.Stage = lab.Stage(s)
		},
	})
	if r.fails == before && (w.Node == "" || w.Stage == "") {
		r.errorAt(v.line, v.column, "", "%s needs node and stage", what)
	}
	return w, r.fails == before
}

func stageNames() []string {
	var out []string
	for _, s := range lab.Stages() {
		out = append(out, string(s))
	}
	return out
}

func (r *reader) stageExec(v *value, what string) (lab.StageExec, bool) {
	var e lab.StageExec
	before := r.fails
	r.fields(v, what, stageExecConstructs, map[string]func(field){
		"command": func(f field) { e.Command = r.str(f.value, what+": command") },
		"target":  func(f field) { e.OnHost = oneOf("container", "host")(r, f.value, what+": target") == "host" },
		"phase":   func(f field) { e.OnExit = oneOf("on-enter", "on-exit")(r, f.value, what+": phase") == "on-exit" },
	})
	if r.fails == before && e.Command == "" {
		r.errorAt(v.line, v.column, "", "%s needs a command", what)
	}
	return e, r.fails == before
}

// stagePlans adds the levels' stages up: what is waited for once, commands as
// often as they are written.
func (r *reader) stagePlans(l levels, replace func(string) string) []lab.StagePlan {
	var out []lab.StagePlan
	for _, stage := range lab.Stages() {
		sum := lab.StagePlan{Stage: stage}
		for _, d := range l {
			for _, w := range d.stages[stage].WaitFor {
				if !slices.Contains(sum.WaitFor, w) {
					sum.WaitFor = append(sum.WaitFor, w)
				}
			}
			for _, e := range d.stages[stage].Exec {
				e.Command = replace(e.Command)
				sum.Exec = append(sum.Exec, e)
			}
		}
		if len(sum.WaitFor) > 0 || len(sum.Exec) > 0 {
			out = append(out, sum)
		}
	}
	return out
}

// checkWaits looks whether the nodes waited for are there, and whether
// anything would wait for itself.
func (r *reader) checkWaits(t *lab.Topology, waits []wait) {
	names := make([]string, len(t.Nodes))
	known := map[string]bool{}
	for i, n := range t.Nodes {
		names[i], known[n.Name] = n.Name, true
	}
	for _, w := range waits {
		if !known[w.Node] && !r.broken[w.Node] {
			r.errorAt(w.at.line, w.at.column, didYouMean(lab.Closest(w.Node, names)), "wait-for: unknown node %q", w.Node)
		}
	}
	if cycle := waitCycle(t); len(cycle) > 0 {
		for _, w := range waits { // its place: where one of the circle is waited for
			if slices.Contains(cycle, w.WaitFor) {
				r.errorAt(w.at.line, w.at.column, "", "wait-for goes round in a circle: %s", showCycle(cycle))
				return
			}
		}
	}
}

func showCycle(c []lab.WaitFor) string {
	parts := make([]string, 0, len(c)+1)
	for _, w := range append(c, c[0]) {
		parts = append(parts, w.Node+" "+string(w.Stage))
	}
	return strings.Join(parts, " waits for ")
}

// waitCycle finds a circle of stages, each waiting for the next. A stage also
// comes after the node's own earlier ones.
func waitCycle(t *lab.Topology) []lab.WaitFor {
	after := map[lab.WaitFor][]lab.WaitFor{}
	for _, n := range t.Nodes {
		for i, s := range lab.Stages() {
			if i > 0 && s != lab.StageExit {
				after[lab.WaitFor{Node: n.Name, Stage: s}] = []lab.WaitFor{{Node: n.Name, Stage: lab.Stages()[i-1]}}
			}
		}
		for _, p := range n.Stages {
			k := lab.WaitFor{Node: n.Name, Stage: p.Stage}
			after[k] = append(after[k], p.WaitFor...)
		}
	}
	const open, done = 1, 2
	seen := map[lab.WaitFor]int{}
	var path []lab.WaitFor
	var visit func(lab.WaitFor) []lab.WaitFor
	visit = func(w lab.WaitFor) []lab.WaitFor {
		switch seen[w] {
		case done:
			return nil
		case open:
			return slices.Clone(path[slices.Index(path, w):])
		}
		seen[w] = open
		path = append(path, w)
		for _, next := range after[w] {
			if c := visit(next); c != nil {
				return c
			}
		}
		path = path[:len(path)-1]
		seen[w] = done
		return nil
	}
	for _, n := range t.Nodes {
		for _, s := range lab.Stages() {
			if c := visit(lab.WaitFor{Node: n.Name, Stage: s}); c != nil {
				return c
			}
		}
	}
	return nil
}
