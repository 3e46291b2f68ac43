package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"archetype/backends"
	"archetype/backends/privilege"
	"archetype/backends/provider/netns/holder"
	"archetype/backends/provider/podman"
	"archetype/engine/api"
	"archetype/engine/wire"
	"archetype/settings"
)

// EngineVerb and ServeFlag start the program as the engine's process.
const (
	EngineVerb = "engine"
	ServeFlag  = "--serve"
)

// Client is a connection to the engine, and to what holds it.
type Client struct {
	*wire.Client
	holder holder.Config
	// Began is when the engine was started for this client; zero: it ran already.
	Began time.Time
}

// Connect finds the running engine or starts one.
func Connect(ctx context.Context, s *settings.Settings) (*Client, error) {
	// An ordinary user's containers can be wired only from where they are.
	cfg := holder.Config{Dir: s.Run(), Rootless: s.Rootless, Log: s.Log(),
		Join: func() (string, error) { return podman.UserNamespace(ctx, podmanConfig(s)) }}
	var last error
	for range 5 { // each of the two processes may be about to end just now
		c, err := wire.Dial(ctx, s.Socket())
		if err == nil {
			return &Client{Client: c, holder: cfg}, nil
		}
		if !absent(err) || s.Guest() {
			return nil, unreached(s, err)
		}
		began := time.Now()
		if c, last = start(ctx, s, cfg); last == nil {
			return &Client{Client: c, holder: cfg, Began: began}, nil
		}
		if !errors.Is(last, backends.ErrNotFound) && !absent(last) {
			return nil, last
		}
	}
	return nil, api.Errorf(api.CodeLost, "the engine cannot be reached: %v", last)
}

// unreached says why the engine at a place of its own cannot be used.
func unreached(s *settings.Settings, err error) error {
	switch {
	case !s.Guest():
		return err
	case errors.Is(err, syscall.EACCES), api.CodeOf(err) == api.CodeLost && !errors.Is(err, syscall.ENOENT) && !errors.Is(err, syscall.ECONNREFUSED):
		return &api.Error{Code: api.CodeUnavailable, Message: "the engine at " + s.Socket() + " does not answer this user: " + err.Error(),
			Hint: "whom it belongs to lets in the members of one group, engine.group in the settings"}
	case absent(err):
		return &api.Error{Code: api.CodeUnavailable, Message: "no engine serves at " + s.Socket(),
			Hint: "whom its folder belongs to starts it: archetype engine"}
	}
	return err
}

func absent(err error) bool {
	return errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE) || api.CodeOf(err) == api.CodeLost
}

// start makes an engine run and connects to it once it serves. An error that
// wraps backends.ErrNotFound means that it went away again: try once more.
func start(ctx context.Context, s *settings.Settings, cfg holder.Config) (*wire.Client, error) {
	if err := os.MkdirAll(s.Run(), 0o700); err != nil {
		return nil, err
	}
	if err := permitted(s); err != nil {
		return nil, err
	}
	h, err := holder.Ensure(ctx, cfg)
	if err != nil {
		if errors.Is(err, backends.ErrUnavailable) {
			return nil, &api.Error{Code: api.CodeUnavailable, Message: err.Error(), Hint: "archetype doctor says more"}
		}
		return nil, err
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	said := int64(0)
	if st, err := os.Stat(s.Log()); err == nil {
		said = st.Size()
	}
	env := append(os.Environ(), s.Environment()...)
	pid, started, err := h.StartEngine(ctx, []string{exe, EngineVerb, ServeFlag}, env, s.Log())
	if err != nil {
		return nil, err
	}
	for wait := time.Millisecond; ; wait = min(wait+wait/4, 20*time.Millisecond) {
		c, err := wire.Dial(ctx, s.Socket())
		if err == nil {
			return c, nil
		}
		info, ierr := h.Info(ctx)
		if ierr != nil || info.Engine != pid {
			if !started {
				return nil, fmt.Errorf("the engine has just ended: %w", backends.ErrNotFound)
			}
			return nil, ended(s.Log(), said)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(wait):
		}
	}
}

// Permitted says whether the machine lets this user hold labs at all, which
// without root only the holder's own start can tell.
func Permitted(s *settings.Settings) backends.Availability {
	fine := backends.Availability{OK: true}
	if s.Rootless {
		return fine
	}
	return backends.Allowed(fine, privilege.Table{}.Of(backends.RoleProvider, "netns", fine, false))
}

func permitted(s *settings.Settings) error {
	if a := Permitted(s); !a.OK {
		return &api.Error{Code: api.CodeUnavailable, Message: "labs cannot be held here: " + a.Reason, Hint: a.Fix}
	}
	return nil
}

// ended explains an engine that ended at its start by what it said.
func ended(log string, from int64) error {
	b, err := os.ReadFile(log)
	if err != nil || int64(len(b)) < from {
		return api.Errorf(api.CodeFailed, "the engine ended at its start")
	}
	lines := strings.Split(strings.TrimSpace(string(b[from:])), "\n")
	e := api.Errorf(api.CodeFailed, "the engine ended at its start: %s", lines[len(lines)-1])
	e.Hint = "more is in " + log
	return e
}

// Settle waits a moment for the engine and the holder to end, if they have
// nothing left to do, so that a verb that removed the last lab leaves no
// process behind. Call it after Close.
func (c *Client) Settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	h, err := holder.Connect(ctx, c.holder)
	if err != nil {
		return
	}
	_ = h.Wait(ctx)
}

// Running connects to the engine if it runs, and starts nothing.
func Running(ctx context.Context, s *settings.Settings) (*Client, error) {
	c, err := wire.Dial(ctx, s.Socket())
	if err != nil {
		return nil, err
	}
	return &Client{Client: c, holder: holder.Config{Dir: s.Run(), Rootless: s.Rootless}}, nil
}
