package dockerapi

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/moby/client"

	"archetype/backends"
	"archetype/lab"
)

// placeFiles writes what the kind wants in the node where that is a folder of
// this machine, and returns the rest, which goes into the container itself. A
// startup configuration that the node has saved since is kept, unless it is
// another one now. What the topology binds there is never written over.
func (p *Provider) placeFiles(c backends.NodeConfig, changed bool) (map[string]string, error) {
	k := c.Kind
	files := map[string]string{}
	for _, o := range k.Options {
		if o.File != "" && o.Default == "true" {
			files[o.File] = o.Text
		}
	}
	if w := k.InterfaceWait; w.Script != "" && w.ScriptText != "" {
		files[w.Script] = w.ScriptText
	}
	config := c.Config
	if config == "" {
		config = k.StartupConfig.Default
	}
	if k.StartupConfig.Path != "" && !k.StartupConfig.Template && config != "" && !c.Node.SuppressConfig {
		files[k.StartupConfig.Path] = config
	}
	for target, text := range files {
		if bind, rest, ok := bound(c, target); ok {
			delete(files, target)
			if !brought(c, target) {
				if err := putInto(bind.Source, rest, text); err != nil {
					return nil, err
				}
			}
			continue
		}
		source, ok := p.mounted(c, target)
		if !ok {
			continue
		}
		delete(files, target)
		_, err := os.Stat(source)
		if err == nil && target == k.StartupConfig.Path && !changed && !c.Node.EnforceConfig {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(source), 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(source, []byte(text), mode(text)); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// bound is the topology's own bind that covers a path of the node, the nearest
// one, and what of the path is below it.
func bound(c backends.NodeConfig, target string) (bind lab.Bind, rest string, ok bool) {
	target = path.Clean(target)
	for _, b := range c.Node.Binds {
		m, err := lab.ParseBind(b)
		if err != nil || ok && len(m.Target) < len(bind.Target) {
			continue
		}
		below, within := strings.CutPrefix(target, strings.TrimSuffix(m.Target, "/")+"/")
		if m.Target == target || within {
			bind, rest, ok = m, below, true
			if m.Target == target {
				rest = ""
			}
		}
	}
	return bind, rest, ok
}

// brought reports whether a bind of the topology's brings the file at a path of
// the node, or keeps others from putting one there.
func brought(c backends.NodeConfig, target string) bool {
	bind, rest, ok := bound(c, target)
	if !ok || rest == "" {
		return ok
	}
	if slices.Contains(bind.Options, "ro") {
		return true
	}
	_, err := os.Lstat(filepath.Join(bind.Source, rest))
	return err == nil && (target != c.Kind.StartupConfig.Path || !c.Node.EnforceConfig)
}

// putInto writes a file into a folder of the machine that the node sees, and
// follows no link that the node has put there out of it.
func putInto(dir, name, text string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return root.WriteFile(name, []byte(text), mode(text))
}

// mode lets scripts be run.
func mode(text string) fs.FileMode {
	if strings.HasPrefix(text, "#!") {
		return 0o755
	}
	return 0o644
}

// mounted is where a path of the node is on this machine, when a mount of the
// kind's covers it.
func (p *Provider) mounted(c backends.NodeConfig, target string) (string, bool) {
	if _, _, ok := bound(c, target); ok {
		return "", false
	}
	for _, m := range c.Kind.Mounts {
		rest, ok := strings.CutPrefix(path.Clean(target), path.Clean(m.Target)+"/")
		if ok && !m.ReadOnly && !filepath.IsAbs(m.Source) {
			return filepath.Join(p.own(c.Ref), m.Source, rest), true
		}
	}
	return "", false
}

// copyFiles writes files into a container that does not run yet.
func copyFiles(ctx context.Context, cli *client.Client, id string, files map[string]string) error {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	seen := map[string]bool{"/": true, ".": true}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := folders(w, path.Dir(path.Clean(name)), seen); err != nil {
			return err
		}
		text := files[name]
		h := &tar.Header{Name: strings.TrimPrefix(path.Clean(name), "/"), Mode: int64(mode(text)), Size: int64(len(text)), Typeflag: tar.TypeReg}
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		if _, err := w.Write([]byte(text)); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	_, err := cli.CopyToContainer(ctx, id, client.CopyToContainerOptions{DestinationPath: "/", Content: &b})
	if err != nil {
		return fmt.Errorf("put files into the container: %w", err)
	}
	return nil
}

// folders adds the folders on the way to a file; those that exist stay.
func folders(w *tar.Writer, dir string, seen map[string]bool) error {
	if seen[dir] {
		return nil
	}
	seen[dir] = true
	if err := folders(w, path.Dir(dir), seen); err != nil {
		return err
	}
	return w.WriteHeader(&tar.Header{Name: strings.TrimPrefix(dir, "/") + "/", Mode: 0o755, Typeflag: tar.TypeDir})
}
