package ovs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/cenkalti/rpc2"
	"github.com/cenkalti/rpc2/jsonrpc"
	"github.com/ovn-kubernetes/libovsdb/ovsdb"

	"archetype/backends"
	"archetype/internal/fail"
)

// database is the one that the switch keeps.
const database = "Open_vSwitch"

// session is one connection to ovsdb-server with a view that is exact: an
// update is in the view before the answer to the transaction that caused it.
// A connection that is lost is the end of its session and of its view.
type session struct {
	rpc  *rpc2.Client
	lost <-chan struct{}

	mu      sync.Mutex
	view    *view
	ready   bool // the view is whole
	early   []ovsdb.TableUpdates
	changed chan struct{} // closed at the next change of the view
	notify  func(map[end]bool)
}

// dial opens a session. Notify hears which ends an update was about; it must
// not wait for anything.
func dial(ctx context.Context, socket, owner string, notify func(map[end]bool)) (*session, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("ovsdb-server: %w: %w", backends.ErrUnavailable, err)
	}
	c := rpc2.NewClientWithCodec(jsonrpc.NewJSONCodec(conn))
	s := &session{rpc: c, lost: c.DisconnectNotify(), view: newView(owner), changed: make(chan struct{}), notify: notify}
	c.SetBlocking(true) // one message after the other, in their order
	c.Handle("echo", func(_ *rpc2.Client, args []any, reply *[]any) error {
		*reply = args
		return nil
	})
	c.Handle("update", func(_ *rpc2.Client, args []json.RawMessage, _ *[]any) error {
		var u ovsdb.TableUpdates
		if len(args) != 2 {
			return errors.New("an update has two parts")
		}
		if err := json.Unmarshal(args[1], &u); err != nil {
			return err
		}
		s.update(u)
		return nil
	})
	go c.Run()
	return s, nil
}

// follow fills the view and keeps it up to date.
func (s *session) follow(ctx context.Context) error {
	var all ovsdb.TableUpdates
	if err := s.call(ctx, "monitor", ovsdb.NewMonitorArgs(database, "archetype", monitored), &all); err != nil {
		return err
	}
	s.mu.Lock()
	s.view.apply(all)
	for _, u := range s.early {
		s.view.apply(u)
	}
	s.ready, s.early = true, nil
	root := s.view.root
	s.mu.Unlock()
	if root == "" {
		return fmt.Errorf("its database is empty: ovs-vswitchd has never run on it (%w)", backends.ErrUnavailable)
	}
	return nil
}

func (s *session) update(u ovsdb.TableUpdates) {
	s.mu.Lock()
	if !s.ready {
		s.early = append(s.early, u)
		s.mu.Unlock()
		return
	}
	about := s.view.apply(u)
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()
	if len(about) > 0 {
		s.notify(about)
	}
}

// see looks at the view.
func (s *session) see(look func(*view)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	look(s.view)
}

// until waits for the view to be as asked.
func (s *session) until(ctx context.Context, is func(*view) bool) error {
	for {
		s.mu.Lock()
		ok, changed := is(s.view), s.changed
		s.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-s.lost:
			return errLost
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

var errLost = fmt.Errorf("the connection to ovsdb-server was lost (%w)", backends.ErrUnavailable)

func (s *session) call(ctx context.Context, method string, args, reply any) error {
	err := s.rpc.CallWithContext(ctx, method, args, reply)
	select {
	case <-s.lost:
		return errLost
	default:
		return err
	}
}

// errStale is a transaction that was not carried out because somebody else
// changed the same bridge first.
var errStale = errors.New("the bridge was changed by somebody else")

// errRefused is a transaction with something in it that cannot be.
var errRefused = errors.New("ovsdb-server refuses")

// transact carries out all operations or none.
func (s *session) transact(ctx context.Context, ops []ovsdb.Operation) ([]ovsdb.OperationResult, error) {
	fail.Point("ovs.transact.before")
	defer fail.Point("ovs.transact.after")
	var results []ovsdb.OperationResult
	if err := s.call(ctx, "transact", ovsdb.NewTransactArgs(database, ops...), &results); err != nil {
		return nil, err
	}
	failed, err := ovsdb.CheckOperationResults(results, ops)
	if err == nil {
		return results, nil
	}
	for _, f := range failed {
		var timedOut *ovsdb.TimedOut
		if errors.As(f, &timedOut) {
			return nil, errStale
		}
		err = f
	}
	return nil, fmt.Errorf("%w: %w", errRefused, err)
}

func (s *session) schema(ctx context.Context) (ovsdb.DatabaseSchema, error) {
	var out ovsdb.DatabaseSchema
	err := s.call(ctx, "get_schema", ovsdb.NewGetSchemaArgs(database), &out)
	return out, err
}

func (s *session) close() { _ = s.rpc.Close() }
