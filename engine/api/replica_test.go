package api_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"archetype/engine/api"
	"archetype/lab"
)

// world makes snapshots that share what did not change, as the engine does.
type world struct {
	cur api.Snapshot
	seq uint64
	job int
}

func (w *world) step(t *rapid.T) {
	s := w.cur
	s.Rev++
	s.Labs = append([]*api.Lab(nil), s.Labs...)
	name := fmt.Sprintf("lab%d", rapid.IntRange(0, 3).Draw(t, "lab"))
	at := -1
	for i, l := range s.Labs {
		if l.Name == name {
			at = i
		}
	}
	switch what := rapid.IntRange(0, 4).Draw(t, "what"); {
	case at < 0:
		at = 0
		for at < len(s.Labs) && s.Labs[at].Name < name {
			at++
		}
		l := &api.Lab{Info: api.Info{Name: name}, Rev: s.Rev}
		s.Labs = append(s.Labs[:at], append([]*api.Lab{l}, s.Labs[at:]...)...)
	case what == 0:
		s.Labs = append(s.Labs[:at], s.Labs[at+1:]...)
	case what == 1: // another set of nodes, in another order
		l := *s.Labs[at]
		l.Rev, l.Nodes, l.Links = s.Rev, nil, nil
		for _, i := range rapid.Permutation([]int{0, 1, 2, 3, 4}).Draw(t, "order")[:rapid.IntRange(0, 5).Draw(t, "n")] {
			l.Nodes = append(l.Nodes, &api.Node{Name: fmt.Sprintf("n%d", i), Actual: lab.NodePending})
			l.Links = append(l.Links, &api.Link{A: fmt.Sprintf("n%d:eth1", i), B: fmt.Sprintf("x%d:eth1", i)})
		}
		s.Labs[at] = &l
	case what == 2 && len(s.Labs[at].Nodes) > 0: // one node moves
		l := *s.Labs[at]
		l.Rev, l.Nodes = s.Rev, append([]*api.Node(nil), l.Nodes...)
		i := rapid.IntRange(0, len(l.Nodes)-1).Draw(t, "node")
		n := *l.Nodes[i]
		n.Progress++
		l.Nodes[i] = &n
		s.Labs[at] = &l
	case what == 3:
		w.seq++
		s.Events = append(append([]*api.Event(nil), s.Events...), &api.Event{Seq: w.seq, Text: "x"})
	default:
		w.job++
		s.Jobs = append(append([]*api.Job(nil), s.Jobs...), &api.Job{ID: fmt.Sprint(w.job), State: lab.JobRunning})
	}
	w.cur = s
}

// A replica that is told every difference, over a wire and with steps left
// out at will, always equals the original.
func TestReplicaFollows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{}
		var last, replica *api.Snapshot
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			w.step(t)
			if rapid.Bool().Draw(t, "coalesced") {
				continue
			}
			cur := w.cur
			u := api.Diff(last, &cur)
			last = &cur
			if u == nil {
				continue
			}
			b, err := json.Marshal(u)
			if err != nil {
				t.Fatal(err)
			}
			var got api.Update
			if err := json.Unmarshal(b, &got); err != nil {
				t.Fatal(err)
			}
			replica = replica.Apply(&got)
			if a, b := text(replica), text(&cur); a != b {
				t.Fatalf("replica\n%s\noriginal\n%s", a, b)
			}
		}
	})
}

// text is a snapshot in words; that an empty list is nil or not is no matter.
func text(s *api.Snapshot) string {
	b, _ := json.Marshal(s)
	return strings.ReplaceAll(string(b), "[]", "null")
}

func TestNothingChangedIsNoUpdate(t *testing.T) {
	s := &api.Snapshot{Rev: 4, Labs: []*api.Lab{{Info: api.Info{Name: "a"}}}}
	if u := api.Diff(s, s); u != nil {
		t.Errorf("%+v", u)
	}
	later := *s
	later.Rev++
	if u := api.Diff(s, &later); u != nil {
		t.Errorf("a revision alone is told: %+v", u)
	}
}

func TestOneNodeChangedTellsOnlyThatNode(t *testing.T) {
	n1, n2 := &api.Node{Name: "n1"}, &api.Node{Name: "n2"}
	old := &api.Snapshot{Labs: []*api.Lab{{Info: api.Info{Name: "a"}, Nodes: []*api.Node{n1, n2}}}}
	moved := &api.Node{Name: "n2", Progress: 70}
	cur := &api.Snapshot{Rev: 1, Labs: []*api.Lab{{Info: api.Info{Name: "a"}, Nodes: []*api.Node{n1, moved}}}}
	u := api.Diff(old, cur)
	if len(u.Labs) != 1 || !reflect.DeepEqual(u.Labs[0].Nodes, []*api.Node{moved}) || u.Labs[0].Reordered {
		t.Errorf("%+v", u.Labs[0])
	}
	if got := old.Apply(u); got.Labs[0].Nodes[0] != n1 {
		t.Error("a node that did not change was replaced")
	}
}

func TestReplicaKeepsRunningJobs(t *testing.T) {
	s := &api.Snapshot{}
	running := &api.Job{ID: "long", State: lab.JobRunning}
	s = s.Apply(&api.Update{Jobs: []*api.Job{running}})
	for i := range 3 * api.KeepJobs {
		s = s.Apply(&api.Update{Jobs: []*api.Job{{ID: fmt.Sprint(i), State: lab.JobCompleted, Created: time.Unix(int64(1+i), 0)}}})
	}
	if len(s.Jobs) != api.KeepJobs || s.Jobs[0] != running {
		t.Errorf("%d jobs, first %+v", len(s.Jobs), s.Jobs[0])
	}
}
