package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"archetype/daemon"
	"archetype/engine/api"
	"archetype/store"
)

// store is what can be done with the file in which everything is kept.
func (a *app) store() *cobra.Command {
	cmd := &cobra.Command{Use: "store", Short: "Back up, restore, check or compact what is stored", Args: args(1, 0)}
	cmd.PersistentPreRunE = a.ownOnly
	cmd.AddCommand(
		&cobra.Command{
			Use: "backup [FILE]", Short: "Write a copy of what is stored, also while labs run", Args: args(0, 1),
			RunE: func(cmd *cobra.Command, args []string) error {
				file := store.BackupName(a.s.Database())
				if len(args) == 1 {
					file = args[0]
				}
				size, err := a.backup(cmd.Context(), file)
				if err == nil {
					fmt.Fprintf(a.out, "%s: %d KiB\n", file, size>>10)
				}
				return held(err)
			},
		},
		&cobra.Command{
			Use: "restore FILE", Short: "Put a backup in the place of what is stored; what runs is taken up again",
			Long: "The backup is checked first, and what was stored before is kept beside it. The engine\n" +
				"must not be running: labs go on without it. Afterwards the engine compares what the\n" +
				"backup says with what runs, and goes on from there.", Args: args(1, 1),
			RunE: func(_ *cobra.Command, args []string) error {
				kept, err := store.Restore(args[0], a.s.Database())
				if err != nil {
					return held(err)
				}
				fmt.Fprintf(a.out, "restored from %s\n", args[0])
				if kept != "" {
					fmt.Fprintf(a.out, "what was stored before is kept as %s\n", kept)
				}
				return nil
			},
		},
		&cobra.Command{
			Use: "check", Short: "Read everything that is stored and say what is wrong with it", Args: args(0, 0),
			RunE: func(cmd *cobra.Command, _ []string) error {
				notices, err := store.Verify(a.s.Database())
				if errors.Is(err, store.ErrLocked) { // the engine has it: a copy is as good
					var dir string
					if dir, err = os.MkdirTemp("", "archetype-check-"); err != nil {
						return err
					}
					defer func() { _ = os.RemoveAll(dir) }()
					file := filepath.Join(dir, "copy.db")
					if _, err = a.backup(cmd.Context(), file); err == nil {
						notices, err = store.Verify(file)
					}
				}
				switch {
				case errors.Is(err, os.ErrNotExist):
					fmt.Fprintln(a.out, "nothing is stored yet")
					return nil
				case err != nil:
					return held(err)
				}
				for _, n := range notices {
					fmt.Fprintln(a.out, n)
				}
				fmt.Fprintf(a.out, "%s: everything in it can be read and holds together\n", a.s.Database())
				return nil
			},
		},
		&cobra.Command{
			Use: "repair", Short: "Replace a damaged file by its newest good backup; what runs is taken up again", Args: args(0, 0),
			Long: "The backups that archetype store backup has written beside the file are tried, the\n" +
				"newest first. Where none is good, the file is put aside: the next start takes up\n" +
				"every lab that runs from what its nodes carry; of labs whose nodes are all\n" +
				"stopped and gone only their files are left. The damaged file is always kept.",
			RunE: func(*cobra.Command, []string) error {
				r, err := store.Repair(a.s.Database())
				if err != nil {
					return held(err)
				}
				a.showRepair(r)
				return nil
			},
		},
		&cobra.Command{
			Use: "compact", Short: "Give back the space of what was removed; the engine must not be running", Args: args(0, 0),
			RunE: func(*cobra.Command, []string) error {
				before, after, err := store.Compact(a.s.Database())
				if err == nil {
					fmt.Fprintf(a.out, "%d KiB before, %d KiB now\n", before>>10, after>>10)
				}
				return held(err)
			},
		})
	return cmd
}

func (a *app) showRepair(r *store.Repaired) {
	if r.Damage == nil {
		fmt.Fprintln(a.out, "nothing to repair")
		return
	}
	fmt.Fprintf(a.out, "damaged: %v\n", r.Damage)
	for _, b := range r.Unusable {
		fmt.Fprintf(a.out, "%s cannot be used either\n", b)
	}
	switch {
	case r.Whole:
		fmt.Fprintln(a.out, "nothing is lost: every record could be read, and was written anew")
	case r.Backup != "":
		fmt.Fprintf(a.out, "restored from %s\n", r.Backup)
	default:
		fmt.Fprintln(a.out, "there is no good backup: what runs is taken up by the next start, from what it carries")
	}
	if r.Kept != "" {
		fmt.Fprintf(a.out, "the damaged file is kept as %s\n", r.Kept)
	}
}

// backup has the engine write a copy or, where none runs, does so itself.
func (a *app) backup(ctx context.Context, file string) (int64, error) {
	file, err := filepath.Abs(file)
	if err != nil {
		return 0, err
	}
	if c, err := daemon.Running(ctx, a.s); err == nil {
		defer func() { _ = c.Close() }()
		b, err := c.Backup(ctx, api.BackupRequest{File: file})
		if err != nil {
			return 0, err
		}
		return b.Size, nil
	}
	if _, err := os.Stat(a.s.Database()); err != nil {
		return 0, err
	}
	st, err := store.Open(a.s.Database(), store.Options{})
	if err != nil {
		return 0, err
	}
	defer func() { _ = st.Close() }()
	return st.Backup(file)
}

// held explains a database that cannot be had.
func held(err error) error {
	switch {
	case errors.Is(err, store.ErrLocked):
		return &api.Error{Code: api.CodeConflict, Message: "the engine is running and holds what is stored",
			Hint: "archetype engine stop ends it; labs go on running, and the next verb starts it again"}
	case errors.Is(err, store.ErrCorrupt):
		return &api.Error{Code: api.CodeFailed, Message: err.Error(),
			Hint: "archetype store repair mends it, and so does the next verb that needs the engine; labs go on running"}
	case errors.Is(err, store.ErrNewer):
		return &api.Error{Code: api.CodeFailed, Message: err.Error(),
			Hint: "use that version, or go back with archetype store restore to a backup of this one; the file is kept"}
	}
	return err
}
