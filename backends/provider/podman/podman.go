// Package podman makes nodes of Podman's containers.
package podman

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/client"
	"golang.org/x/sys/unix"

	"archetype/backends"
	"archetype/backends/provider/dockerapi"
)

// Config is what the provider needs.
type Config struct {
	Host     string // endpoint; empty: as Podman's own command line finds it
	Run      string // folder for sockets and namespaces
	Labs     string // folder of the nodes' own folders
	Rootless bool   // links cannot be made: see Available
}

// Provider is Podman's, by the API that it shares with Docker.
type Provider struct {
	*dockerapi.Provider
	cfg Config
}

var _ backends.Provider = (*Provider)(nil)

// New makes the provider. Podman need not be there, nor is it asked.
func New(cfg Config) *Provider {
	p := &Provider{cfg: cfg}
	c := dockerapi.Config{Name: "podman", Run: cfg.Run, Labs: cfg.Labs,
		Connect: p.connect, Explain: explain, LocalNames: localNames, NameTaken: nameTaken, Amend: limits,
		Enter: freeNetworkSettings, Needed: needed, Bridge: bridge,
		Actions: map[events.Action]events.Action{"died": events.ActionDie, "remove": events.ActionDestroy}}
	if !systemd() { // which Podman leaves the health checks to
		c.Check = check
	}
	p.Provider = dockerapi.New(c)
	return p
}

// Config is what the provider was made with.
func (p *Provider) Config() Config { return p.cfg }

func (p *Provider) connect() (*client.Client, error) {
	return client.New(client.WithHost(p.endpoint().host))
}

// endpoint is where Podman is, and who says so.
type endpoint struct{ host, from string }

// endpoint finds Podman as its own command line does: the settings, then
// CONTAINER_HOST, then the usual place of the system's or of the user's own.
func (p *Provider) endpoint() endpoint {
	if p.cfg.Host != "" {
		return endpoint{p.cfg.Host, "settings"}
	}
	if h := os.Getenv("CONTAINER_HOST"); h != "" {
		return endpoint{h, "CONTAINER_HOST"}
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" && os.Geteuid() != 0 {
		return endpoint{"unix://" + dir + "/podman/podman.sock", "XDG_RUNTIME_DIR"}
	}
	return endpoint{"unix:///run/podman/podman.sock", "default"}
}

// patience is how long Podman may take to say that it is there.
const patience = 3 * time.Second

// Available asks Podman for its version, and whose it is.
func (p *Provider) Available(ctx context.Context) backends.Availability {
	e := p.endpoint()
	u, err := url.Parse(e.host)
	if err != nil || u.Scheme != "unix" {
		return backends.Availability{Reason: fmt.Sprintf("the endpoint %s (%s) is not on this machine", e.host, e.from),
			Fix: "links need the containers' network namespaces here: use a unix:// endpoint, or run this program on that machine"}
	}
	// A look at the socket costs nothing where Podman is not installed.
	if a := reachable(u.Path); a != nil {
		return *a
	}
	if p.cfg.Rootless || os.Geteuid() != 0 {
		return backends.Availability{Reason: "links move interfaces into Podman's namespaces, which needs root",
			Fix: "run the program as root with the system's Podman, or use the embedded provider (netns), which needs no root"}
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	engine, api, err := p.Version(ctx)
	if err != nil {
		return backends.Availability{Reason: fmt.Sprintf("Podman does not answer at %s: %v", e.host, err), Fix: "start its service (systemctl start podman.socket)"}
	}
	if rootless(u.Path) {
		return backends.Availability{Reason: fmt.Sprintf("the Podman at %s is a user's own (rootless): its containers cannot reach the program's folders, nor their links leave that user's namespace", e.host),
			Fix: "use the system's Podman (systemctl start podman.socket; unix:///run/podman/podman.sock), or the embedded provider (netns), which needs no root"}
	}
	return backends.Availability{OK: true, Detail: fmt.Sprintf("Podman %s, API %s, at %s", engine, api, e.host)}
}

func reachable(path string) *backends.Availability {
	err := syscall.Access(path, 6) // to read and write
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrPermission):
		return &backends.Availability{Reason: "no permission to use " + path, Fix: "run the program as root"}
	default:
		return &backends.Availability{Reason: "there is no Podman service at " + path,
			Fix: "install Podman and start its service (systemctl start podman.socket), or name its endpoint with CONTAINER_HOST, or podman.host in the settings"}
	}
}

// rootless reports whether the service that listens at the socket belongs to
// an ordinary user. (Podman would say so too, with much else that takes it
// seconds to find out.)
func rootless(socket string) bool {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return false // it is asked for more right away
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return false
	}
	var listener *unix.Ucred
	if err := raw.Control(func(fd uintptr) { listener, _ = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return false
	}
	return listener != nil && listener.Uid != 0
}

// localNames are the names under which an image may be on this machine: what
// was built or imported without a registry's name is "localhost/…" to Podman.
func localNames(name string) []string {
	first, _, ok := strings.Cut(name, "/")
	if ok && (strings.ContainsAny(first, ".:") || first == "localhost") {
		return nil
	}
	return []string{"localhost/" + name}
}

// nameTaken knows the words of the error, which is an internal one to Podman.
func nameTaken(err error) bool { return strings.Contains(err.Error(), "name is already in use") }

// needed knows the words of the error, as above.
func needed(err error) bool {
	return err != nil && strings.Contains(err.Error(), "has dependent containers")
}

// limits asks for no more open files and processes than this machine grants:
// Podman by itself asks for a million and fails where that is too much, and its
// own limit of processes may be as low as the kernel's default number of them.
func limits(req *client.ContainerCreateOptions) {
	for _, l := range []struct {
		name     string
		resource int
		most     uint64
	}{{"nofile", unix.RLIMIT_NOFILE, 1 << 20}, {"nproc", unix.RLIMIT_NPROC, 1 << 15}} {
		if slices.ContainsFunc(req.HostConfig.Ulimits, func(u *container.Ulimit) bool { return u.Name == l.name }) {
			continue
		}
		var have unix.Rlimit
		if unix.Getrlimit(l.resource, &have) != nil {
			continue
		}
		most := int64(min(have.Max, l.most))
		req.HostConfig.Ulimits = append(req.HostConfig.Ulimits, &container.Ulimit{Name: l.name, Soft: most, Hard: most})
	}
}

// explain adds advice to errors whose cause is known.
func explain(err error) error {
	text := err.Error()
	if strings.Contains(text, "unable to apply caps") || strings.Contains(text, "apply caps: operation not permitted") {
		return fmt.Errorf("the engine may not grant what the node asks for, as this machine itself lacks capabilities: set privileged: false and name those that the node needs with cap-add (%w)", err)
	}
	return err
}
