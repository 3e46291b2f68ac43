// Package podman makes nodes of Podman's containers.
package podman

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/client"
	"golang.org/x/sys/unix"

	"archetype/backends"
	"archetype/backends/provider/dockerapi"
	"archetype/backends/provider/endpoint"
)

// Config is what the provider needs.
type Config struct {
	Host     string // endpoint; empty: as Podman's own command line finds it
	Run      string // folder for sockets and namespaces
	Labs     string // folder of the nodes' own folders
	Rootless bool   // this process is in a user namespace, with the user's own Podman: see UserNamespace
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
		Enter: freeNetworkSettings, Needed: needed, Ending: ending, Bridge: bridge, RemoveNetwork: removeNetwork,
		Actions: map[events.Action]events.Action{"died": events.ActionDie, "remove": events.ActionDestroy}}
	if cfg.Rootless {
		c.Uncounted = !unifiedGroups() // a user's containers have none of their own
	} else { // nobody else reaches what is in a user's namespace
		c.Access = dockerapi.Firewall("FORWARD")
		c.Gone = remains
	}
	if !systemd() { // which Podman leaves the health checks to
		c.Check = check
	}
	p.Provider = dockerapi.New(c)
	return p
}

// Config is what the provider was made with.
func (p *Provider) Config() Config { return p.cfg }

func (p *Provider) connect() (*client.Client, error) {
	return dockerapi.Dial(p.endpoint().Host)
}

// endpoint finds Podman as its own command line does: the settings, then
// CONTAINER_HOST, then the usual place of the system's or of the user's own.
func (p *Provider) endpoint() endpoint.Endpoint {
	if p.cfg.Host != "" {
		return endpoint.Endpoint{Host: p.cfg.Host, From: "settings"}
	}
	if h := os.Getenv("CONTAINER_HOST"); h != "" {
		return endpoint.Endpoint{Host: h, From: "CONTAINER_HOST"}
	}
	if p.cfg.Rootless && userID() != 0 {
		return endpoint.Endpoint{Host: "unix://" + runtimeDir() + "/podman/podman.sock", From: "the user's own"}
	}
	return endpoint.Endpoint{Host: "unix:///run/podman/podman.sock", From: "default"}
}

// patience is how long Podman may take to say that it is there.
const patience = 3 * time.Second

// starting is how its service is started.
const starting = "systemctl start podman.socket; an ordinary user: systemctl --user start podman.socket, or podman system service --time=0 &"

var service = endpoint.Service{
	Name:    "Podman service",
	Install: "install Podman and start its service (" + starting + "), or name its endpoint with CONTAINER_HOST, or podman.host in the settings",
	Permit:  "run the program as root, or use a Podman of your own (systemctl --user start podman.socket)",
}

// Available asks Podman for its version, and whose it is.
func (p *Provider) Available(ctx context.Context) backends.Availability {
	e := p.endpoint()
	path, no := e.Path()
	if no == nil {
		no = service.Look(path)
	}
	if no != nil {
		return *no
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	engine, api, err := p.Version(ctx)
	if err != nil {
		return backends.Availability{Reason: fmt.Sprintf("Podman does not answer at %s: %v", e.Host, err),
			Fix: "start its service (" + starting + ")"}
	}
	detail := fmt.Sprintf("Podman %s, API %s, at %s", engine, api, e.Host)
	if joined(ctx, path) {
		if p.cfg.Rootless {
			detail += ", the user's own"
		}
		return backends.Availability{OK: true, Detail: detail}
	}
	return p.elsewhere(e)
}

// elsewhere says that the containers are in another user namespace than this
// process.
func (p *Provider) elsewhere(e endpoint.Endpoint) backends.Availability {
	if !p.cfg.Rootless {
		return backends.Availability{Reason: fmt.Sprintf("the Podman at %s is a user's own (rootless): its containers are in that user's namespace, where root's labs are not", e.Host),
			Fix: "run the program as that user, or use the system's Podman (systemctl start podman.socket; unix:///run/podman/podman.sock)"}
	}
	return backends.Availability{Reason: fmt.Sprintf("the Podman at %s has its containers in another user namespace than this user's labs, which were there before it", e.Host),
		Fix: "destroy the labs that are deployed, or leave the workbench where there are none: the next one is made in Podman's namespace (needs nsenter and unshare, package util-linux)"}
}

// here is an error where no link could ever reach a container that is started.
func (p *Provider) here(ctx context.Context) error {
	if !p.cfg.Rootless {
		return nil
	}
	e := p.endpoint()
	path, no := e.Path()
	if no != nil || joined(ctx, path) || ctx.Err() != nil || !awake(ctx, path, patience) {
		return nil // or there is nobody: whoever asks is told so
	}
	a := p.elsewhere(e)
	return fmt.Errorf("%s: %s (%w)", a.Reason, a.Fix, backends.ErrUnavailable)
}

// Start implements backends.Provider.
func (p *Provider) Start(ctx context.Context, ref backends.NodeRef) error {
	if err := p.here(ctx); err != nil {
		return fmt.Errorf("node %s: %w", ref.Node, err)
	}
	return p.Provider.Start(ctx, ref)
}

// Stage implements backends.Stager.
func (p *Provider) Stage(ctx context.Context, ref backends.NodeRef) (bool, error) {
	if err := p.here(ctx); err != nil {
		return false, fmt.Errorf("node %s: %w", ref.Node, err)
	}
	return p.Provider.Stage(ctx, ref)
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

// ending knows the words of the error, as above: one that has ended by itself is
// not to be stopped while Podman has not noted that yet.
func ending(err error) bool {
	return err != nil && strings.Contains(err.Error(), "container state improper")
}

// removeNetwork calls the network by its name: called by its ID, Podman removes
// also one that containers are in, which stay on a bridge that nobody knows
// and that has the subnet for ever.
func removeNetwork(ctx context.Context, cli *client.Client, network string) error {
	_, err := cli.NetworkRemove(ctx, network, client.NetworkRemoveOptions{})
	if err != nil && strings.Contains(err.Error(), "network is being used") { // an internal error to Podman
		return fmt.Errorf("%w (%w)", err, backends.ErrConflict)
	}
	return err
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
	if strings.Contains(text, "insufficient UIDs or GIDs") {
		return fmt.Errorf("the image has files of users that this user's containers have not: install newuidmap (package uidmap), give the user ranges in /etc/subuid and /etc/subgid, and run podman system migrate (%w)", err)
	}
	if strings.Contains(text, "slirp4netns") || strings.Contains(text, "pasta") || strings.Contains(text, "rootless netns") {
		return fmt.Errorf("an ordinary user's Podman has no network for containers here: install slirp4netns, which needs /dev/net/tun, or do without a management network (network-mode: none) (%w)", err)
	}
	return err
}
