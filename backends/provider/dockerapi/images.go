package dockerapi

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/moby/moby/api/pkg/authconfig"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/jsonstream"
	"github.com/moby/moby/api/types/registry"
	"github.com/moby/moby/client"

	"archetype/backends"
)

// image is what a node's container is made from.
type image struct {
	id     string
	name   string // the engine's
	config *container.Config
}

// image finds the node's image, pulling it where the policy wants that.
func (p *Provider) image(ctx context.Context, c backends.NodeConfig) (*image, error) {
	name := imageName(c)
	if name == "" {
		return nil, fmt.Errorf("kind %s names no image: give the node one (%w)", c.Node.Kind, backends.ErrNoImage)
	}
	policy := strings.ToLower(c.Node.Container.PullPolicy)
	if policy != "always" {
		im, err := p.inspectImage(ctx, name)
		if err == nil || !cerrdefs.IsNotFound(err) {
			return im, err
		}
		if policy == "never" {
			return nil, fmt.Errorf("image %s is not on this machine, and image-pull-policy is Never: pull or load it, then start the node (%w)", name, backends.ErrNoImage)
		}
	}
	if err := p.Pull(ctx, name, c.Progress); err != nil {
		return nil, err
	}
	return p.inspectImage(ctx, name)
}

func (p *Provider) inspectImage(ctx context.Context, name string) (*image, error) {
	cli, err := p.Client()
	if err != nil {
		return nil, err
	}
	res, err := cli.ImageInspect(ctx, name)
	if p.cfg.LocalNames != nil && cerrdefs.IsNotFound(err) {
		for _, other := range p.cfg.LocalNames(name) {
			if have, oerr := cli.ImageInspect(ctx, other); oerr == nil {
				res, err, name = have, nil, other
				break
			}
		}
	}
	if err != nil {
		return nil, err
	}
	im := &image{id: res.ID, name: name, config: &container.Config{}}
	if res.Config != nil {
		im.config.Entrypoint, im.config.Cmd = res.Config.Entrypoint, res.Config.Cmd
	}
	return im, nil
}

// pull is one that is under way, however many wait for it.
type pull struct {
	done chan struct{}
	err  error

	mu      sync.Mutex
	percent int
	text    string
	wake    []func(int, string)
}

// Pull fetches an image. Whoever gives up leaves the pull to the others who
// wait for it, and to whoever tries again.
func (p *Provider) Pull(ctx context.Context, name string, progress func(percent int, text string)) error {
	cli, err := p.Client()
	if err != nil {
		return err
	}
	p.mu.Lock()
	job := p.images[name]
	if job == nil {
		job = &pull{done: make(chan struct{}), text: "pulling " + name}
		p.images[name] = job
		// Bounded by its progress alone: see run.
		go func() {
			job.err = job.run(cli, name)
			p.mu.Lock()
			delete(p.images, name)
			p.mu.Unlock()
			close(job.done)
		}()
	}
	p.mu.Unlock()
	if progress != nil {
		job.listen(progress)
	}
	select {
	case <-job.done:
		return p.fail("", job.err)
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", job.now(), ctx.Err())
	}
}

func (j *pull) now() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text
}

func (j *pull) listen(f func(int, string)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.wake = append(j.wake, f)
	f(j.percent, j.text)
}

func (j *pull) tell(percent int, text string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if percent == j.percent && text == j.text {
		return
	}
	j.percent, j.text = percent, text
	for _, f := range j.wake {
		f(percent, text)
	}
}

// stalled is how long a pull may say nothing.
const stalled = 2 * time.Minute

func (j *pull) run(cli *client.Client, name string) error {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	t := time.AfterFunc(stalled, func() { cancel(fmt.Errorf("nothing came for %s", stalled)) })
	defer t.Stop()
	resp, err := cli.ImagePull(ctx, name, client.ImagePullOptions{RegistryAuth: credentials(name)})
	if err == nil {
		defer resp.Close()
		layers := map[string]jsonstream.Progress{}
		for m, merr := range resp.JSONMessages(ctx) {
			t.Reset(stalled)
			if merr != nil {
				err = merr
				break
			}
			if m.Error != nil {
				err = m.Error
				break
			}
			if m.Progress != nil && m.Progress.Total > 0 && m.Status == "Downloading" {
				layers[m.ID] = *m.Progress
			} else if l, ok := layers[m.ID]; ok && (m.Status == "Download complete" || m.Status == "Pull complete") {
				l.Current = l.Total
				layers[m.ID] = l
			}
			var have, all int64
			for _, l := range layers {
				have, all = have+l.Current, all+l.Total
			}
			percent := 0
			if all > 0 {
				percent = int(have * 100 / all)
			}
			j.tell(percent, fmt.Sprintf("pulling %s: %d %%", name, percent))
		}
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if err != nil {
		return fmt.Errorf("image %s is not on this machine and cannot be pulled: %w; check its name, or pull or load it by hand, then start the node (%w)",
			name, err, backends.ErrNoImage)
	}
	return nil
}

// credentials are the user's own for the registry that a name leads to, as
// the engine's command line stores them in plain files. Helpers that keep them
// elsewhere are not asked.
func credentials(name string) string {
	ref, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return ""
	}
	server := reference.Domain(ref)
	keys := []string{server, "https://" + server}
	if server == "docker.io" {
		keys = append(keys, "https://index.docker.io/v1/")
	}
	b, err := os.ReadFile(filepath.Join(ConfigDir(), "config.json"))
	if err != nil {
		return ""
	}
	var file struct {
		Auths map[string]struct{ Auth, IdentityToken string } `json:"auths"`
	}
	if json.Unmarshal(b, &file) != nil {
		return ""
	}
	for _, key := range keys {
		a, ok := file.Auths[key]
		if !ok {
			continue
		}
		plain, err := base64.StdEncoding.DecodeString(a.Auth)
		if err != nil {
			return ""
		}
		user, password, _ := strings.Cut(string(plain), ":")
		auth, err := authconfig.Encode(registry.AuthConfig{Username: user, Password: password,
			IdentityToken: a.IdentityToken, ServerAddress: key})
		if err != nil {
			return ""
		}
		return auth
	}
	return ""
}

// ConfigDir is the folder of the configuration of Docker's command line.
func ConfigDir() string {
	if dir := os.Getenv("DOCKER_CONFIG"); dir != "" {
		return dir
	}
	home, _ := os.UserHomeDir()
	return filepath.Join(home, ".docker")
}

// Images lists the images of this machine.
func (p *Provider) Images(ctx context.Context) ([]backends.Image, error) {
	cli, err := p.Client()
	if err != nil {
		return nil, err
	}
	list, err := cli.ImageList(ctx, client.ImageListOptions{})
	if err != nil {
		return nil, p.fail("list images", err)
	}
	var out []backends.Image
	for _, s := range list.Items {
		im := backends.Image{ID: s.ID, Size: s.Size, Created: time.Unix(s.Created, 0)}
		names := slices.DeleteFunc(s.RepoTags, func(n string) bool { return n == "<none>:<none>" })
		if len(names) == 0 {
			out = append(out, im)
		}
		for _, name := range names {
			im.Name = name
			out = append(out, im)
		}
	}
	slices.SortFunc(out, func(a, b backends.Image) int { return strings.Compare(a.Name+a.ID, b.Name+b.ID) })
	return out, nil
}

// Import makes an image from a root file system.
func (p *Provider) Import(ctx context.Context, name string, archive io.Reader) error {
	cli, err := p.Client()
	if err != nil {
		return err
	}
	res, err := cli.ImageImport(ctx, client.ImageImportSource{Source: archive, SourceName: "-"}, name, client.ImageImportOptions{})
	if err != nil {
		return p.fail("import "+name, err)
	}
	defer res.Close()
	_, err = said(res)
	return p.fail("import "+name, err)
}

// Load takes in the images of an archive.
func (p *Provider) Load(ctx context.Context, archive io.Reader) ([]string, error) {
	cli, err := p.Client()
	if err != nil {
		return nil, err
	}
	res, err := cli.ImageLoad(ctx, archive)
	if err != nil {
		return nil, p.fail("load", err)
	}
	defer res.Close()
	lines, err := said(res)
	var names []string
	for _, l := range lines {
		for _, prefix := range []string{"Loaded image: ", "Loaded image ID: "} {
			if rest, ok := strings.CutPrefix(l, prefix); ok {
				names = append(names, rest)
			}
		}
	}
	return names, p.fail("load", err)
}

// said reads a stream of messages to its end.
func said(r io.Reader) ([]string, error) {
	var out []string
	for d := json.NewDecoder(r); ; {
		var m jsonstream.Message
		if err := d.Decode(&m); errors.Is(err, io.EOF) {
			return out, nil
		} else if err != nil {
			return out, err
		}
		if m.Error != nil {
			return out, m.Error
		}
		out = append(out, strings.TrimSpace(m.Stream+m.Status))
	}
}

// RemoveImage removes a name and, with its last one, the image.
func (p *Provider) RemoveImage(ctx context.Context, name string) error {
	cli, err := p.Client()
	if err != nil {
		return err
	}
	_, err = cli.ImageRemove(ctx, name, client.ImageRemoveOptions{PruneChildren: true})
	if cerrdefs.IsNotFound(err) {
		return nil
	}
	return p.fail("remove image "+name, err)
}
