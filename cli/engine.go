package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"archetype/daemon"
	"archetype/engine/api"
)

// engine keeps the engine running without a screen; with the hidden flag it is
// what the holder starts.
func (a *app) engine() *cobra.Command {
	var serve bool
	cmd := &cobra.Command{
		Use:   daemon.EngineVerb,
		Short: "Keep the engine running without a screen, such as for systemd",
		Long: "The engine is started by itself when it is needed, and ends when there is neither a lab\n" +
			"nor a client. This keeps it running, starts it again if it ends, and writes its events.\n" +
			"Ended by ctrl+c or a signal, it leaves labs as they are.",
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if serve {
				return daemon.Serve(a.s, Version)
			}
			if err := daemon.Own(a.s); err != nil {
				return err
			}
			return a.keepEngine(cmd.Context())
		},
	}
	cmd.Flags().BoolVar(&serve, "serve", false, "serve until nobody needs the engine")
	_ = cmd.Flags().MarkHidden("serve")
	cmd.AddCommand(&cobra.Command{
		Use: "stop", Short: "End the engine; labs go on running, and the next verb starts it again", Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := daemon.Stop(cmd.Context(), a.s)
			if errors.Is(err, daemon.ErrNotRunning) {
				fmt.Fprintln(a.out, "the engine is not running")
				return nil
			}
			return err
		},
	})
	return cmd
}

// keepEngine stays connected to the engine, which ends with its last client,
// and writes what happens.
func (a *app) keepEngine(ctx context.Context) error {
	var seen uint64
	for wait := time.Second; ; wait = min(2*wait, 30*time.Second) {
		c, err := daemon.Connect(ctx, a.s)
		if err == nil {
			wait = time.Second
			seen, err = a.writeEvents(ctx, c, seen)
			_ = c.Close()
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			fmt.Fprintf(a.out, "error: %v; once more in %s\n", err, wait)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
	}
}

func (a *app) writeEvents(ctx context.Context, c api.Engine, seen uint64) (uint64, error) {
	updates, err := c.Watch(ctx)
	if err != nil {
		return seen, err
	}
	fmt.Fprintln(a.out, "info: the engine is running")
	for u := range updates {
		for _, ev := range u.Events {
			if ev.Seq <= seen {
				continue
			}
			seen = ev.Seq
			about := ev.Lab
			if ev.Node != "" {
				about += "/" + ev.Node
			}
			if about != "" {
				about += ": "
			}
			fmt.Fprintf(a.out, "%s: %s%s\n", ev.Level, about, ev.Text)
		}
	}
	return seen, nil
}
