package cli

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/charmbracelet/colorprofile"
	"github.com/spf13/cobra"

	"archetype/backends/provider/netns/holder"
	"archetype/daemon"
	"archetype/engine/api"
	"archetype/internal/installed"
	"archetype/vendors"
)

// finding is one thing that doctor looked at.
type finding struct {
	Name     string `json:"name"`
	OK       bool   `json:"ok"`
	Required bool   `json:"required"` // without it no lab runs here
	Detail   string `json:"detail,omitempty"`
	Reason   string `json:"reason,omitempty"`
	Fix      string `json:"fix,omitempty"`
	// Needs is all that it needs of the machine, there or not.
	Needs []api.Need `json:"needs,omitempty"`
	pair  bool
}

// text is the line about it. Of a pair it is what it needs and which of that
// is missing: why, and what to do, is said with its two halves.
func (f finding) text() string {
	if !f.pair {
		return firstOf(f.Detail, f.Reason)
	}
	var need, miss []string
	for _, n := range f.Needs {
		switch {
		case n.Optional:
		case n.OK:
			need = append(need, n.Name)
		default:
			miss = append(miss, n.Name)
		}
	}
	if len(miss) > 0 {
		return "without " + strings.Join(miss, ", ")
	}
	return "needs " + strings.Join(need, ", ")
}

func (a *app) doctor() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what is available on this machine, and what is not and why",
		Args:  args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			all := a.examine(cmd.Context())
			failed := false
			for _, f := range all {
				failed = failed || (f.Required && !f.OK)
			}
			if asJSON {
				if err := a.json(all); err != nil {
					return err
				}
			} else {
				for _, f := range all {
					mark := "ok     "
					if !f.OK {
						mark = "missing"
					}
					fmt.Fprintf(a.out, "%s  %-23s %s\n", mark, f.Name, f.text())
					if !f.OK && f.Fix != "" && !f.pair {
						fmt.Fprintf(a.out, "%33s%s\n", "to do: ", f.Fix)
					}
				}
			}
			if failed {
				return codeError(exitFailed)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) examine(ctx context.Context) []finding {
	out := []finding{{Name: "archetype", OK: true, Detail: fmt.Sprintf("%s, %s/%s", Version, runtime.GOOS, runtime.GOARCH)}}
	av := daemon.Permitted(a.s)
	if av.OK {
		av = holder.Probe(a.s.Rootless)
	}
	embedded := finding{Name: "provider netns", OK: av.OK, Required: true, Detail: av.Detail, Reason: av.Reason, Fix: av.Fix}
	asked := a.backends(ctx, &embedded)
	out = append(out, embedded)
	if !a.s.Rootless {
		av := holder.Probe(true)
		out = append(out, finding{Name: "netns, rootless", OK: av.OK, Detail: av.Detail, Reason: av.Reason, Fix: av.Fix})
	}
	out = append(out, asked...)
	if kinds, _, err := vendors.Load(a.s.Vendors()); err == nil {
		for _, k := range kinds.Kinds() {
			if len(k.Embedded.Needs) == 0 {
				continue
			}
			f := finding{Name: "kind " + k.Name, OK: true, Detail: "installed"}
			for _, n := range k.Embedded.Needs {
				if !installed.Program(n.Path) {
					f.OK, f.Detail, f.Reason, f.Fix = false, "", n.Path+" is not installed", "install the package "+n.Package
				}
			}
			out = append(out, f)
		}
	}
	f := finding{Name: "folder for state", OK: true, Required: true, Detail: a.s.State}
	if err := os.MkdirAll(a.s.State, 0o700); err != nil {
		f = finding{Name: f.Name, Required: true, Reason: err.Error(), Fix: "set ARCHETYPE_HOME to a folder you can write to"}
	}
	out = append(out, f)
	if c, err := daemon.Running(ctx, a.s); err == nil {
		out = append(out, finding{Name: "engine", OK: true, Detail: fmt.Sprintf("runs, version %s, process %d", c.Version(), c.PID())})
		_ = c.Close()
	} else if !slices.ContainsFunc(asked, func(f finding) bool { return f.Name == "engine" }) {
		out = append(out, finding{Name: "engine", OK: true, Detail: "does not run; it is started when it is needed"})
	}
	detail := fmt.Sprintf("TERM=%s, %s, %s", os.Getenv("TERM"), colorprofile.Detect(os.Stdout, os.Environ()), charset())
	return append(out, finding{Name: "terminal", OK: true, Detail: detail})
}

// backends asks the engine for all but the embedded provider, which was tried
// already: of that, only what it needs.
func (a *app) backends(ctx context.Context, embedded *finding) []finding {
	var out []finding
	c, err := daemon.Connect(ctx, a.s)
	if err != nil {
		return []finding{{Name: "engine", Required: true, Reason: err.Error()}}
	}
	infos, err := c.Backends(ctx)
	snap, serr := c.Snapshot(ctx)
	_ = c.Close()
	if serr == nil && len(snap.Labs) == 0 {
		c.Settle(ctx)
	}
	if err != nil {
		return []finding{{Name: "engine", Required: true, Reason: err.Error()}}
	}
	for _, i := range infos {
		name := map[string]string{api.TypeOutside: "links "}[i.Type]
		if name == "" {
			name = i.Type + " "
		}
		f := finding{Name: name + i.Name, OK: i.OK, Detail: i.Detail, Reason: i.Reason, Fix: i.Fix, Needs: i.Needs}
		switch {
		case i.Type == api.TypeProvider && i.Name == "netns":
			embedded.Needs = i.Needs
			embedded.Detail += lacking(i.Needs)
			continue
		case i.Type == api.TypePair:
			f.pair = true
		case i.OK:
			f.Detail += lacking(i.Needs)
		}
		out = append(out, f)
	}
	return out
}

// lacking names what only parts of a backend need and is not there.
func lacking(needs []api.Need) string {
	var b strings.Builder
	for _, n := range needs {
		if n.Optional && !n.OK && n.Sort != api.NeedPackage {
			fmt.Fprintf(&b, "; without %s: %s", n.Name, n.Why)
		}
	}
	return b.String()
}

func charset() string {
	for _, v := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if s := os.Getenv(v); s != "" {
			if u := strings.ToUpper(s); strings.Contains(u, "UTF-8") || strings.Contains(u, "UTF8") {
				return "UTF-8"
			}
			return "ASCII (" + v + "=" + s + ")"
		}
	}
	return "ASCII (no LANG)"
}
