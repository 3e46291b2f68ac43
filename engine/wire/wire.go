// Package wire carries the engine's interface over a unix socket: HTTP with
// JSON for what is asked once, and framed streams for what goes on.
package wire

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"archetype/backends"
	"archetype/engine/api"
)

// Paths of the requests. A request's body and its answer are JSON.
const (
	pathPresence = "/v1/presence" // frames: the engine says hello, then why it cut another connection
	pathSnapshot = "/v1/snapshot"
	pathWatch    = "/v1/watch" // one update a line
	pathPlan     = "/v1/plan"
	pathDeploy   = "/v1/deploy"
	pathDestroy  = "/v1/destroy"
	pathNodes    = "/v1/nodes"
	pathLink     = "/v1/link"
	pathEdit     = "/v1/edit"
	pathImages   = "/v1/images"
	pathBackup   = "/v1/backup"
	pathStrays   = "/v1/strays"
	pathConfig   = "/v1/config"
	pathImpair   = "/v1/impair"
	pathNetwork  = "/v1/network"
	pathCancel   = "/v1/cancel"
	pathPolicy   = "/v1/policy"
	pathDrift    = "/v1/drift"
	pathStats    = "/v1/stats"
	pathTraffic  = "/v1/traffic"
	pathBackends = "/v1/backends"
	pathExec     = "/v1/exec"    // frames after the headers
	pathConsole  = "/v1/console" // likewise
	pathLogs     = "/v1/logs"    // bytes
	pathCapture  = "/v1/capture" // likewise
)

// headerOwner is who asks, for the jobs that come of it.
const headerOwner = "Archetype-Owner"

// ownName is what this process says of itself: user, verb and process ID.
func ownName() string {
	who, verb := "user "+strconv.Itoa(os.Getuid()), "workbench"
	if u, err := user.Current(); err == nil && u.Username != "" {
		who = u.Username
	}
	for _, arg := range os.Args[1:] {
		if strings.HasPrefix(arg, "-") {
			continue
		}
		if filepath.Base(arg) == arg && filepath.Ext(arg) == "" { // else a file to open
			verb = arg
		}
		break
	}
	return printable(fmt.Sprintf("%s, %s, process %d", who, verb, os.Getpid()))
}

// hello is what the engine says of itself.
type hello struct {
	Version string `json:"version"`
	PID     int    `json:"pid"`
}

type nameRequest struct {
	Name string `json:"name"`
}

type nodeRequest struct {
	Lab     string              `json:"lab"`
	Node    string              `json:"node"`
	Size    backends.Size       `json:"size,omitzero"`
	Log     backends.LogOptions `json:"log,omitzero"`
	Command []string            `json:"command,omitempty"`
	Env     []string            `json:"env,omitempty"`
	Dir     string              `json:"dir,omitempty"`
	User    string              `json:"user,omitempty"`
	Stdin   bool                `json:"stdin,omitempty"`
}

// The sorts of frames on an exec or a console: a byte for the sort, four for
// the length, most significant first, and the data.
const (
	frameIn     byte = iota + 1 // an empty one ends the input
	frameOut                    // also the output of a console
	frameErr                    // of a command
	frameResize                 // backends.Size
	frameEnd                    // exit code of a command as JSON; the end of a console
	frameFailed                 // api.Error
	frameHello                  // hello
)

// Bounds of what a client may send, in bytes. A deploy carries the client's
// environment, which the kernel lets have 2 MiB or more.
const (
	maxFrame   = 1 << 20
	maxRequest = 16 << 20
	maxHeader  = 64 << 10
)

type framer struct {
	mu sync.Mutex
	w  io.Writer
}

func (f *framer) frame(sort byte, data []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for first := true; first || len(data) > 0; first = false {
		n := min(len(data), maxFrame)
		head := binary.BigEndian.AppendUint32([]byte{sort}, uint32(n))
		if _, err := f.w.Write(append(head, data[:n]...)); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

func (f *framer) value(sort byte, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return f.frame(sort, b)
}

type frameStream struct {
	f    *framer
	sort byte
}

func (s frameStream) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := s.f.frame(s.sort, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

func readFrame(r io.Reader) (byte, []byte, error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > maxFrame {
		return 0, nil, fmt.Errorf("a frame of %d bytes", n)
	}
	data := make([]byte, n)
	if _, err := io.ReadFull(r, data); err != nil {
		return 0, nil, io.ErrUnexpectedEOF
	}
	return head[0], data, nil
}

// apiError is err as it can cross.
func apiError(err error) *api.Error {
	if e, ok := asError(err); ok {
		return e
	}
	return &api.Error{Code: api.CodeOf(err), Message: err.Error()}
}

func status(c api.Code) int {
	switch c {
	case api.CodeBadFile, api.CodeUsage:
		return http.StatusBadRequest
	case api.CodeNotFound:
		return http.StatusNotFound
	case api.CodeConflict:
		return http.StatusConflict
	case api.CodeUnavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}
