package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"archetype/daemon"
	"archetype/engine/api"
	"archetype/settings"
	"archetype/ui"
)

// workbench opens the screen, and says at its end what goes on.
func (a *app) workbench(ctx context.Context, file string) error {
	if !isTerminal(os.Stdin) || !isTerminal(os.Stdout) {
		return usagef("the workbench needs a terminal; for scripts there is archetype deploy, see archetype --help")
	}
	if file != "" {
		var err error
		if file, err = filepath.Abs(file); err != nil {
			return err
		}
	}
	var last *daemon.Client
	chosen := *a.s // changed by the screen while the connection reads the other
	err := ui.Run(ctx, ui.Options{
		Connect: func(ctx context.Context) (api.Engine, error) {
			c, err := a.connect(ctx)
			if err != nil {
				return nil, err
			}
			last = c
			return c, nil
		},
		File: file, Env: environment(), Theme: a.s.Theme, ThemesDir: a.s.Themes(), ConfigsDir: a.s.Configs(), Glyphs: a.s.Glyphs,
		ConsoleKey: a.s.ConsoleKey, Version: Version, Choices: a.s.Choices, SettingsFile: a.s.File(), Folders: a.folders(),
		Save: func(key, value string) (settings.Choices, error) {
			err := chosen.Set(key, value)
			return chosen.Choices, err
		},
	})
	if last != nil {
		_ = last.Close()
	}
	if err != nil {
		return err
	}
	a.farewell()
	return nil
}

// demo opens the screen on a machine that is not there.
func (a *app) demo(ctx context.Context, file string) error {
	if !isTerminal(os.Stdin) || !isTerminal(os.Stdout) {
		return usagef("a demonstration needs a terminal")
	}
	if file != "" {
		var err error
		if file, err = filepath.Abs(file); err != nil {
			return err
		}
	}
	d, err := daemon.NewDemo(ctx, a.s, file)
	if err != nil {
		return err
	}
	defer d.End()
	return ui.Run(ctx, ui.Options{
		Connect: func(context.Context) (api.Engine, error) { return d, nil },
		File:    d.File, Env: environment(), Theme: a.s.Theme, ThemesDir: a.s.Themes(), ConfigsDir: a.s.Configs(), Glyphs: a.s.Glyphs,
		ConsoleKey: a.s.ConsoleKey, Version: Version + " (simulated)", Choices: a.s.Choices, SettingsFile: a.s.File(), Folders: a.folders(),
		Save: func(string, string) (settings.Choices, error) {
			return a.s.Choices, errors.New("a demonstration keeps no settings")
		},
	})
}

// folders are those of the program, for the settings to show.
func (a *app) folders() []ui.Folder {
	return []ui.Folder{
		{Name: "kinds", Path: a.s.Vendors(), About: "Files here add kinds of devices, or take the place of those that are built in."},
		{Name: "themes", Path: a.s.Themes(), About: "Files here add themes."},
		{Name: "disk images", Path: a.s.Images(), About: "What virtual machines are made from: archetype images import takes one in."},
		{Name: "nodes", Path: a.s.Labs(), About: "What nodes have written; a lab's part goes when it is destroyed."},
	}
}

// farewell says what goes on running.
func (a *app) farewell() {
	ctx := context.Background()
	c, err := daemon.Running(ctx, a.s)
	if err != nil {
		return
	}
	snap, err := c.Snapshot(ctx)
	_ = c.Close()
	switch {
	case err != nil:
	case len(snap.Labs) == 0:
		c.Settle(ctx)
	default:
		for _, l := range snap.Labs {
			nodes, links := counts(l)
			fmt.Fprintf(a.out, "%s goes on running: %s nodes, %s links up. %s destroy %s ends it.\n", l.Name, nodes, links, called(), l.Name)
		}
	}
}

// called is how the user has called this program, for what can be typed next.
func called() string {
	if strings.Contains(os.Args[0], "/") {
		return os.Args[0]
	}
	return "archetype"
}
