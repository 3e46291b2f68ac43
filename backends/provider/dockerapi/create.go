package dockerapi

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"archetype/backends"
)

// Create makes the node's container, its namespace and its place at the gate.
// A container that was made from another configuration is replaced, unless it
// runs: then the next Create after its end does so.
func (p *Provider) Create(ctx context.Context, c backends.NodeConfig) error {
	n := p.node(c.Ref)
	n.Lock()
	defer n.Unlock()
	return p.fail("node "+c.Ref.Node, p.create(ctx, n, c))
}

func (p *Provider) create(ctx context.Context, n *node, c backends.NodeConfig) error {
	if c.Kind.Foreign {
		return p.join(ctx, n, c)
	}
	cli, err := p.Client()
	if err != nil {
		return err
	}
	image, err := p.image(ctx, c)
	if err != nil {
		return err
	}
	management, err := p.management(ctx, c)
	if err != nil {
		return err
	}
	m, err := p.made(n, c, management)
	if err != nil {
		return err
	}
	req, err := p.request(c, image.config, management, m)
	if err != nil {
		return err
	}
	req.Config.Image = image.name
	hash := identity(req, c, image.id)
	req.Config.Env = append(labelVariables(req.Config.Labels), req.Config.Env...)
	req.Config.Labels[labelHash] = hash
	if err := p.choose(ctx, cli, n, c, management, &req); err != nil {
		return err
	}
	if p.cfg.Amend != nil {
		p.cfg.Amend(&req)
	}
	n.goes(false)
	if err := p.serve(n); err != nil {
		return err
	}
	before := n.known()
	if !c.Staged || sharesNetwork(string(req.HostConfig.NetworkMode)) {
		if err := n.place.Make(); err != nil {
			return fmt.Errorf("%w (moving interfaces between namespaces needs root)", err)
		}
	}
	k := kept{Container: req.Name, ID: before.ID, Labels: c.Labels, Interfaces: interfaces(c), Management: management,
		Console: c.Kind.Console, Config: configHash(c), Index: m.Vars.Index + 1, Made: m}
	if req.NetworkingConfig != nil {
		k.Endpoint = req.NetworkingConfig.EndpointsConfig[management]
	}
	files, err := p.placeFiles(c, before.Config != k.Config)
	if err == nil {
		err = p.place(n, c, m, before.Config != k.Config)
	}
	if err != nil {
		return err
	}
	if before.ID != "" && before.Container != req.Name { // the file's prefix changed
		if _, err := cli.ContainerRemove(ctx, before.ID, removal); err != nil && !cerrdefs.IsNotFound(err) {
			return err
		}
	}
	if err := renamed(ctx, cli, before.ID, req.Name); err != nil {
		return err
	}
	id, found, err := p.ensure(ctx, cli, req, c.Ref, &before)
	if err != nil {
		return err
	}
	n.runs = found == foundRunning
	if found != foundNone && before.Endpoint != nil { // it has what it was made with
		k.Endpoint = before.Endpoint
	}
	k.ID, k.Staged = id, c.Staged && !n.runs || before.staged(id)
	if found == foundNone && len(files) > 0 {
		if err := copyFiles(ctx, cli, id, files); err != nil {
			_, rerr := cli.ContainerRemove(ctx, id, removal) // else the next try would take it for whole
			return errors.Join(err, rerr)
		}
	}
	return n.note(k)
}

// renamed gives a node's container its name again, which somebody has taken from
// it: under another it would stay beside the one that is made. Where it has been
// made already, the old one goes.
func renamed(ctx context.Context, cli *client.Client, id, name string) error {
	if id == "" {
		return nil
	}
	at, err := cli.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if cerrdefs.IsNotFound(err) || err == nil && strings.TrimPrefix(at.Container.Name, "/") == name {
		return nil
	}
	if err == nil {
		_, err = cli.ContainerRename(ctx, id, client.ContainerRenameOptions{NewName: name})
	}
	if err != nil && !cerrdefs.IsNotFound(err) {
		if _, ierr := cli.ContainerInspect(ctx, name, client.ContainerInspectOptions{}); ierr != nil {
			return err
		}
		_, err = cli.ContainerRemove(ctx, id, removal)
	}
	if cerrdefs.IsNotFound(err) {
		return nil
	}
	return err
}

// Rewire notes the node's links. A start that finds the gate closed waits for
// these from then on, and the interfaces have the addresses of these.
func (p *Provider) Rewire(_ context.Context, c backends.NodeConfig) error {
	n := p.node(c.Ref)
	n.Lock()
	defer n.Unlock()
	before := n.known()
	k := before
	k.Labels, k.Interfaces, k.Made.Vars.Interfaces = c.Labels, interfaces(c), varsOf(c)
	if before.ID == "" || reflect.DeepEqual(k, before) {
		return nil
	}
	return p.fail("node "+c.Ref.Node, n.note(k))
}

var removal = client.ContainerRemoveOptions{Force: true, RemoveVolumes: true}

// found is what there was of a container that is to be made.
type found int

const (
	foundNone found = iota // it was made now
	foundMade
	foundRunning
)

// ensure makes the container, or finds that it exists already and is whole.
func (p *Provider) ensure(ctx context.Context, cli *client.Client, req client.ContainerCreateOptions, ref backends.NodeRef, before *kept) (id string, was found, err error) {
	for range 2 {
		res, err := cli.ContainerCreate(ctx, req)
		if err == nil {
			return res.ID, foundNone, nil
		}
		if !cerrdefs.IsConflict(err) && (p.cfg.NameTaken == nil || !p.cfg.NameTaken(err)) {
			return "", foundNone, err
		}
		have, ierr := cli.ContainerInspect(ctx, req.Name, client.ContainerInspectOptions{})
		if ierr != nil {
			return "", foundNone, errors.Join(err, ierr)
		}
		at := have.Container
		l := at.Config.Labels
		if l[labelHome] != p.home() || l[labelLab] != ref.Lab || l[labelNode] != ref.Node {
			return "", foundNone, fmt.Errorf("a container named %s exists that this lab did not make: remove it (%s rm -f %s), or give the lab another name or prefix (%w)",
				req.Name, p.cfg.Name, req.Name, backends.ErrConflict)
		}
		switch {
		case at.State != nil && at.State.Running && !restarting(at.State) && !before.staged(at.ID):
			return at.ID, foundRunning, nil
		case before.whole(&at) && l[labelHash] == req.Config.Labels[labelHash]:
			return at.ID, foundMade, nil
		}
		if _, err := cli.ContainerRemove(ctx, at.ID, removal); err != nil && !cerrdefs.IsNotFound(err) {
			return "", foundNone, err
		}
	}
	return "", foundNone, fmt.Errorf("container %s comes back whenever it is removed (%w)", req.Name, backends.ErrConflict)
}

// identity tells whether a container is made from the same as another. What
// changes with the rest of the lab, names of other nodes above all, is no
// reason to make a node anew and lose what is in it.
func identity(req client.ContainerCreateOptions, c backends.NodeConfig, imageID string) string {
	cfg, host := *req.Config, *req.HostConfig
	cfg.Labels, host.ExtraHosts = maps.Clone(c.Node.Labels), nil
	b, _ := json.Marshal(struct {
		Config  *container.Config
		Host    *container.HostConfig
		Net     any
		Image   string
		Startup string
	}{&cfg, &host, req.NetworkingConfig, imageID, configHash(c)})
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:12])
}

// configHash identifies a startup configuration.
func configHash(c backends.NodeConfig) string {
	sum := sha256.Sum256([]byte(c.Config))
	return hex.EncodeToString(sum[:8])
}
