package dockerapi

import (
	"context"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync/atomic"

	"github.com/moby/moby/client"

	"archetype/internal/fail"
)

// Dial makes a client. Where a test asks for it, every request that changes
// something can be the program's last: before the engine hears of it, and
// before the program hears of its end.
func Dial(host string, opts ...client.Opt) (*client.Client, error) {
	opts = append([]client.Opt{client.WithHost(host)}, opts...)
	if path, ok := strings.CutPrefix(host, "unix://"); ok && fail.Watched() {
		opts = append(opts, client.WithDialContext(func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			conn, err := d.DialContext(ctx, "unix", path)
			if err != nil {
				return nil, err
			}
			return &placed{UnixConn: conn.(*net.UnixConn)}, nil
		}))
	}
	return client.New(opts...)
}

// placed is a connection that sees the requests go by.
type placed struct {
	*net.UnixConn
	under atomic.Pointer[string] // the change that is not answered yet
}

// particular is what differs in the path from one container to another.
var particular = regexp.MustCompile(`^/v[0-9.]+|/[0-9a-f]{12,}|/clab-[^/]*|\?.*`)

func (c *placed) Write(b []byte) (int, error) {
	method, rest, _ := strings.Cut(string(b[:min(len(b), 300)]), " ")
	if method == http.MethodPost || method == http.MethodPut || method == http.MethodDelete {
		path, _, _ := strings.Cut(rest, " ")
		what := "engine." + strings.ToLower(method) + strings.ReplaceAll(particular.ReplaceAllString(path, ""), "/", ".")
		fail.Point(what + ".before")
		c.under.Store(&what)
	}
	return c.UnixConn.Write(b)
}

func (c *placed) Read(b []byte) (int, error) {
	n, err := c.UnixConn.Read(b)
	if n > 0 {
		if what := c.under.Swap(nil); what != nil {
			fail.Point(*what + ".after")
		}
	}
	return n, err
}
