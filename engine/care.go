package engine

import (
	"context"
	"path/filepath"

	"archetype/engine/api"
)

var _ api.Caretaker = (*Engine)(nil)

// Backup implements api.Caretaker.
func (e *Engine) Backup(_ context.Context, req api.BackupRequest) (*api.Backup, error) {
	if !filepath.IsAbs(req.File) {
		return nil, api.Errorf(api.CodeUsage, "%s is no absolute path", req.File)
	}
	n, err := e.opt.Store.Backup(req.File)
	if err != nil {
		return nil, api.Errorf(api.CodeFailed, "backup: %s", reason(err))
	}
	return &api.Backup{File: req.File, Size: n}, nil
}
