package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"time"

	"archetype/backends/provider/netns/holder"
	"archetype/engine/api"
	"archetype/settings"
)

// ErrNotRunning says that there is no engine to be ended.
var ErrNotRunning = errors.New("the engine is not running")

// Own refuses what is for the engine's own user to do.
func Own(s *settings.Settings) error {
	if s.Guest() {
		return &api.Error{Code: api.CodeUnavailable, Message: "the engine at " + s.Socket() + " is somebody else's",
			Hint: "this is for the user that it belongs to"}
	}
	return nil
}

// Stop ends the engine and waits until it has let go of what it holds. Labs go
// on running.
func Stop(ctx context.Context, s *settings.Settings) error {
	if err := Own(s); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	h, err := holder.Connect(ctx, holder.Config{Dir: s.Run(), Rootless: s.Rootless})
	if errors.Is(err, fs.ErrPermission) { // it may well run
		return err
	}
	if ctx.Err() != nil { // it is there, and takes no question
		return errors.New("the process that holds the nodes does not answer")
	}
	if err != nil {
		return ErrNotRunning
	}
	info, err := h.Info(ctx)
	if err != nil || info.Engine == 0 {
		return ErrNotRunning
	}
	pid := info.Engine
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		return fmt.Errorf("the engine, process %d, cannot be ended: %w", pid, err)
	}
	for {
		info, err := h.Info(ctx)
		if err != nil || info.Engine != pid {
			return nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("the engine, process %d, does not end", pid)
		}
	}
}
