// Package ui is the workbench: the screen on which a lab comes alive. It
// knows the engine's snapshots and commands, and nothing below them.
package ui

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"

	"archetype/engine/api"
	"archetype/internal/keys"
	"archetype/settings"
	"archetype/themes"
)

// Options is what the workbench is opened with.
type Options struct {
	Connect    func(context.Context) (api.Engine, error)
	File       string            // topology file to open, absolute; may be empty
	Env        map[string]string // for its variables
	Theme      string            // auto, or a theme's name
	ThemesDir  string
	ConfigsDir string // where configurations of nodes are kept
	Glyphs     string // auto, utf8 or ascii
	ConsoleKey string // leaves a console, such as ctrl+]
	// Choices are what the user has chosen, to be changed in the settings;
	// Save keeps one and returns all. SettingsFile is where they are.
	Choices      settings.Choices
	Save         func(key, value string) (settings.Choices, error)
	SettingsFile string
	Folders      []Folder // that the settings show, besides those that are chosen there
	Version      string
}

// Run shows the workbench until the user leaves it. Labs go on running.
func Run(ctx context.Context, opt Options) error {
	m, err := newModel(ctx, opt)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p := tea.NewProgram(m, tea.WithContext(ctx))
	m.send = p.Send
	m.rest.program = p
	go m.guard(func() { pump(ctx, opt.Connect, p.Send) })
	go quitWithTerminal(ctx, p)
	_, err = p.Run()
	m.closeAll()
	if m.crash != nil {
		return m.crash.report()
	}
	if errors.Is(err, tea.ErrInterrupted) || (errors.Is(err, tea.ErrProgramKilled) && ctx.Err() != nil) {
		return nil
	}
	return err
}

// What the pump tells the screen.
type (
	connectedMsg struct{ engine api.Engine }
	snapshotMsg  struct{ snap *api.Snapshot }
	lostMsg      struct{ err error }
)

// frameTime is how often the screen is told of changes at most.
const frameTime = 40 * time.Millisecond

// pump connects, follows the engine, and does so again when it is lost.
func pump(ctx context.Context, connect func(context.Context) (api.Engine, error), send func(tea.Msg)) {
	for wait := 200 * time.Millisecond; ctx.Err() == nil; wait = min(2*wait, 5*time.Second) {
		e, err := connect(ctx)
		if err == nil {
			send(connectedMsg{e})
			if follow(ctx, e, send) {
				wait = 100 * time.Millisecond
			}
			err = errors.New("the engine has ended")
			_ = e.Close()
		}
		if ctx.Err() != nil {
			return
		}
		send(lostMsg{err})
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

// follow hands on each state of the engine; what comes within one frame is
// handed on as one. It reports whether there was any.
func follow(ctx context.Context, e api.Engine, send func(tea.Msg)) bool {
	updates, err := e.Watch(ctx)
	if err != nil {
		return false
	}
	var mu sync.Mutex
	var snap *api.Snapshot
	wake, done := make(chan struct{}, 1), make(chan struct{})
	go func() {
		defer close(done)
		guarded(send, func() {
			for range wake {
				mu.Lock()
				s := snap
				mu.Unlock()
				send(snapshotMsg{s})
				time.Sleep(frameTime)
			}
		})
	}()
	for u := range updates {
		mu.Lock()
		snap = snap.Apply(u)
		mu.Unlock()
		select {
		case wake <- struct{}{}:
		default: // the one that waits will show this, too
		}
	}
	close(wake)
	<-done
	return snap != nil
}

func newModel(ctx context.Context, opt Options) (*Model, error) {
	m := &Model{ctx: ctx, opt: opt, glyphs: themes.GlyphsFor(opt.Glyphs), focus: paneTopology, marks: map[string]bool{}, mine: map[string]bool{}}
	m.send = func(tea.Msg) {}
	name := opt.Theme
	if name == "" || name == "auto" {
		name, m.autoTheme = "dark", true
	}
	t, err := themes.Load(name, opt.ThemesDir)
	if err != nil {
		return nil, err
	}
	if opt.ConsoleKey == "" {
		opt.ConsoleKey = "ctrl+]"
	}
	if m.prefix, err = keys.Parse(opt.ConsoleKey); err != nil {
		return nil, err
	}
	m.opt.ConsoleKey = opt.ConsoleKey
	if os.Getenv("NO_COLOR") != "" {
		m.autoTheme, m.colourless, t = false, true, t.Plain()
	}
	m.setTheme(t)
	return m, nil
}
