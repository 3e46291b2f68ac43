package cli

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"archetype/engine/api"
	"archetype/lab"
)

// jobs lists what was asked for and how far it is, and cancels it.
func (a *app) jobs() *cobra.Command {
	var asJSON, running bool
	cmd := &cobra.Command{
		Use:   "jobs [LAB]",
		Short: "What was asked for: how far it is, who asked, why it failed",
		Long: "Lists the jobs that run and the latest that have ended, the oldest first.\n" +
			"Jobs of a lab that are about the same nodes or links come one after the other, in\n" +
			"the order they were asked for; a later one is queued. A later wish counts at once\n" +
			"all the same: stopping a node ends the waiting for its start. A job without\n" +
			"progress until its deadline fails. One that an engine has left unfinished is taken\n" +
			"up by the next, but for exec and save, which end with whoever waits for them.",
		Args:              args(0, 1),
		ValidArgsFunction: a.completeLabs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(e api.Engine) error {
				snap, err := e.Snapshot(cmd.Context())
				if err != nil {
					return err
				}
				list := []*api.Job{}
				for _, j := range snap.Jobs {
					if (len(args) == 0 || j.Lab == args[0]) && (!running || !j.State.Ended()) {
						list = append(list, j)
					}
				}
				if asJSON {
					return a.json(list)
				}
				return a.showJobs(list)
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	cmd.Flags().BoolVar(&running, "running", false, "only those that have not ended")
	cmd.AddCommand(&cobra.Command{
		Use:   "cancel JOB",
		Short: "Withdraw what a job still waits for; what has arrived stays",
		Args:  args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(e api.Engine) error { return a.cancelJob(cmd.Context(), e, args[0]) })
		},
	})
	return cmd
}

func (a *app) cancelJob(ctx context.Context, e api.Engine, id string) error {
	err := e.CancelJob(ctx, id)
	if api.CodeOf(err) == api.CodeNotFound {
		if snap, serr := e.Snapshot(ctx); serr == nil {
			for _, j := range snap.Jobs {
				if j.ID == id {
					return fmt.Errorf("job %s has ended already: %s", id, j.State)
				}
			}
		}
		return fmt.Errorf("no job %s; archetype jobs lists them", id)
	}
	return err
}

func (a *app) showJobs(list []*api.Job) error {
	if len(list) == 0 {
		fmt.Fprintln(a.out, "nothing was asked for")
		return nil
	}
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "JOB\tLAB\tWHAT\tSTATE\tSTEPS\tTOOK\tASKED BY\t")
	for _, j := range list {
		until, about := j.Ended, j.Error
		if !j.State.Ended() {
			until, about = time.Now(), j.Text
			if about != "" && j.State == lab.JobPending {
				about = "queued behind " + about
			} else if about != "" {
				about = "waits for " + about
			}
			if !j.Deadline.IsZero() {
				about = strings.TrimPrefix(about+"; given up at "+clock(j.Deadline)+" without progress", "; ")
			}
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d/%d\t%s\t%s\t\n", j.ID, j.Lab, strings.TrimSpace(string(j.Verb)+" "+j.Target), j.State,
			j.Done, j.Total, j.Took(until).Round(100*time.Millisecond), cmp.Or(j.Owner, "-"))
		if about != "" {
			fmt.Fprintf(w, "\t%s\n", about)
		}
	}
	return w.Flush()
}
