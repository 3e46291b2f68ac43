// Package docker makes nodes of Docker's containers.
package docker

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/client"

	"archetype/backends"
	"archetype/backends/provider/dockerapi"
	"archetype/backends/provider/endpoint"
)

// Config is what the provider needs.
type Config struct {
	Host     string // endpoint; empty: as Docker's own command line finds it
	Run      string // folder for sockets and namespaces
	Labs     string // folder of the nodes' own folders
	Rootless bool   // links cannot be made: see Available
}

// Provider is Docker's.
type Provider struct {
	*dockerapi.Provider
	cfg Config
}

var _ backends.Provider = (*Provider)(nil)

// New makes the provider. Docker need not be there, nor is it asked.
func New(cfg Config) *Provider {
	p := &Provider{cfg: cfg}
	p.Provider = dockerapi.New(dockerapi.Config{Name: "docker", Run: cfg.Run, Labs: cfg.Labs,
		Connect: p.connect, Explain: explain, Lost: lost, Access: dockerapi.Firewall("DOCKER-USER"), Open: p.open})
	return p
}

// open has Docker since 28 leave alone what comes to a container from elsewhere
// for a port that is not published: by itself it drops that before any rule of
// ours.
func (p *Provider) open(ctx context.Context) (map[string]string, error) {
	_, api, err := p.Version(ctx)
	if err != nil || olderThan(api, "1.48") {
		return map[string]string{}, err
	}
	const mode, open = "com.docker.network.bridge.gateway_mode_", "nat-unprotected"
	return map[string]string{mode + "ipv4": open, mode + "ipv6": open}, nil
}

// Config is what the provider was made with.
func (p *Provider) Config() Config { return p.cfg }

func (p *Provider) connect() (*client.Client, error) {
	e, err := p.endpoint()
	if err != nil {
		return nil, err
	}
	var opts []client.Opt
	if v := os.Getenv("DOCKER_API_VERSION"); v != "" {
		opts = append(opts, client.WithAPIVersion(v))
	}
	return dockerapi.Dial(e.Host, opts...)
}

// patience is how long Docker may take to say that it is there.
const patience = 3 * time.Second

var service = endpoint.Service{
	Name:    "Docker engine",
	Install: "install and start Docker, or name its endpoint with DOCKER_HOST, a Docker context, or docker.host in the settings",
	Permit:  "run the program as root, or join the group that owns the socket (usermod -aG docker $USER) for its images and use the embedded provider for links",
}

// Available asks Docker for its version.
func (p *Provider) Available(ctx context.Context) backends.Availability {
	e, err := p.endpoint()
	if err != nil {
		return backends.Availability{Reason: err.Error(), Fix: "correct the endpoint, or remove it to use the usual one"}
	}
	path, no := e.Path()
	if no == nil {
		no = service.Look(path)
	}
	if no != nil {
		return *no
	}
	if p.cfg.Rootless || os.Geteuid() != 0 {
		return backends.Availability{Reason: "links move interfaces into Docker's namespaces, which needs root",
			Fix: "run the program as root, use a Podman of your own (podman system service), or the embedded provider (netns)", Absent: true}
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	engine, api, err := p.Version(ctx)
	if err != nil {
		return backends.Availability{Reason: fmt.Sprintf("Docker does not answer at %s: %v", e.Host, err), Fix: "start the Docker engine (systemctl start docker)"}
	}
	if olderThan(api, client.MinAPIVersion) {
		return backends.Availability{Reason: fmt.Sprintf("Docker %s at %s speaks API %s only, and %s is the oldest that is understood", engine, e.Host, api, client.MinAPIVersion),
			Fix: "install a newer Docker engine (19.03 or later)"}
	}
	return backends.Availability{OK: true, Detail: fmt.Sprintf("Docker %s, API %s, at %s", engine, api, e.Host)}
}

// olderThan compares versions of the API; one that cannot be read is not.
func olderThan(version, than string) bool {
	var a, b [2]int
	if _, err := fmt.Sscanf(version, "%d.%d", &a[0], &a[1]); err != nil {
		return false
	}
	if _, err := fmt.Sscanf(than, "%d.%d", &b[0], &b[1]); err != nil {
		return false
	}
	return slices.Compare(a[:], b[:]) < 0
}

// lost recognizes what Docker 20.10 says of a container for ever after it was
// killed in the middle of its start: its containerd has it already.
func lost(err error) bool {
	text := err.Error()
	return strings.Contains(text, "task ") && strings.HasSuffix(text, ": already exists")
}

// explain adds advice to errors whose cause is known.
func explain(err error) error {
	text := err.Error()
	if strings.Contains(text, "unable to apply caps") || strings.Contains(text, "apply caps: operation not permitted") {
		return fmt.Errorf("the engine may not grant what the node asks for, as this machine itself lacks capabilities: set privileged: false and name those that the node needs with cap-add (%w)", err)
	}
	return err
}
