package e2e

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// The contracts of drift --json and jobs --json.
type (
	driftJSON struct {
		Lab, Policy  string
		Nodes, Links []driftItemJSON
	}
	driftItemJSON struct {
		Name, What string
		Held, Left bool
	}
	jobJSON struct {
		ID, Lab, Verb, State, Error, Owner string
	}
)

func (w *world) drift(lab string) driftJSON {
	w.Helper()
	var list []driftJSON
	if err := json.Unmarshal([]byte(w.ok("drift", lab, "--json")), &list); err != nil || len(list) != 1 {
		w.Fatalf("%v, %v", list, err)
	}
	return list[0]
}

func (w *world) jobs(ok func(jobJSON) bool) (jobJSON, bool) {
	w.Helper()
	var list []jobJSON
	if err := json.Unmarshal([]byte(w.ok("jobs", "--json")), &list); err != nil {
		w.Fatal(err)
	}
	slices.Reverse(list)
	at := slices.IndexFunc(list, ok)
	if at < 0 {
		return jobJSON{}, false
	}
	return list[at], true
}

// TestDriftAndJobsByVerbs: a node that dies is left alone where the policy says
// so, over the engine's death too, until a verb sets it right. A command that
// runs when the engine is killed is a failed job of the next one; a deploy and
// a destruction go on.
func TestDriftAndJobsByVerbs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, asUser)
	w.vendor("wordless.yaml", strings.Replace(standIn("wordless", "[]", "config_extract: {method: command, command: [sleep, '1000']}\n"),
		"readiness: {probe: log, pattern: '^Router is up$', timeout: 60s}", "readiness: {probe: none}", 1))
	file := w.file("ring.clab.yml", strings.Replace(ring("ring", 8), "    n0: {}\n", "    n0: {}\n    mute: {kind: wordless}\n", 1))
	w.code(2, "deploy", file, "--drift", "pray")
	deploy := w.begin("deploy", file, "--drift", "report")
	moment := 1 + rand.IntN(6)
	w.await("the middle of the deploy", func() bool { return len(w.inits("ring")) >= moment })
	w.strike(w.engine())
	<-deploy.end //nolint:errcheck // that it lost its engine is no matter here
	w.await("the deploy to have gone on", func() bool {
		j, ok := w.jobs(func(j jobJSON) bool { return j.Verb == "deploy" })
		return ok && j.State == "completed"
	})
	w.consistent("ring")

	pid := w.inspect("ring").node("n1").PID
	w.kill(pid)
	w.await("its drift", func() bool {
		d := w.drift("ring")
		return d.Policy == "report" && len(d.Nodes) == 1 && d.Nodes[0].Name == "n1" && d.Nodes[0].Held && strings.Contains(d.Nodes[0].What, "ended by itself")
	})
	w.strike(w.engine())
	w.ok("drift", "leave", "ring", "n1")
	if d := w.drift("ring"); len(d.Nodes) != 1 || !d.Nodes[0].Left || w.inspect("ring").node("n1").Actual != "stopped" {
		t.Errorf("it is not left alone: %+v", d)
	}
	w.ok("drift", "fix", "ring", "n1")
	if d := w.drift("ring"); len(d.Nodes) != 0 {
		t.Errorf("set right there is %+v", d)
	}
	w.consistent("ring")
	w.sh("ring", "n3", "ip link delete eth1")
	w.await("the link's drift", func() bool {
		d := w.drift("ring")
		return len(d.Links) == 1 && d.Links[0].Name == "n3:eth1 -- n4:eth2" && d.Links[0].Held
	})
	if l := w.inspect("ring"); l.Links[3].Actual != "down" || l.Links[3].Desired != "up" || l.Lab.State != "running" {
		t.Errorf("left alone it is %+v in a lab that is %s", l.Links[3], l.Lab.State)
	}
	w.ok("drift", "fix", "ring", "n3:eth1", "n4:eth2")
	w.consistent("ring")
	w.ok("drift", "policy", "ring", "enforce")
	pid = w.inspect("ring").node("n2").PID
	w.kill(pid)
	w.await("n2 to be started again", func() bool {
		n := w.inspect("ring").node("n2")
		return n.Actual == "running" && n.PID != pid
	})

	exec := w.begin("exec", "ring", "n0", "--", "sleep", "1000")
	save := w.begin("save", "ring", "mute")
	running := func(j jobJSON) bool {
		return j.Verb == "exec" && j.State == "running" && strings.Contains(j.Owner, "exec")
	}
	w.await("both commands to be jobs", func() bool {
		_, exec := w.jobs(running)
		_, save := w.jobs(func(j jobJSON) bool { return j.Verb == "save" && j.State == "running" })
		return exec && save
	})
	w.strike(w.engine())
	<-exec.end //nolint:errcheck // as above
	<-save.end //nolint:errcheck // as above
	for _, verb := range []string{"exec", "save"} {
		if j, ok := w.jobs(func(j jobJSON) bool { return j.Verb == verb }); !ok || j.State != "failed" || !strings.Contains(j.Error, "the engine that ran it ended") {
			t.Errorf("the job of %s is %+v", verb, j)
		}
	}

	destroy := w.begin("destroy", "ring", "--yes")
	w.await("the middle of the destruction", func() bool { return len(w.inits("ring")) < 9 })
	if pid := w.engine(); pid != 0 {
		w.strike(pid)
	}
	<-destroy.end //nolint:errcheck // as above
	w.await("the destruction to have gone on", func() bool {
		j, ok := w.jobs(func(j jobJSON) bool { return j.Verb == "destroy" })
		return ok && j.State == "completed" && !strings.Contains(w.ok("inspect", "--json"), `"ring"`)
	})
}
