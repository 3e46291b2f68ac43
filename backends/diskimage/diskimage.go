// Package diskimage keeps the base images of virtual machines: a folder of
// disks, with what is known of each beside it. No machine writes to one; each
// has a disk of its own over it.
package diskimage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"archetype/internal/fail"
	"archetype/lab"
)

// Errors that callers can tell apart.
var (
	ErrNotFound = errors.New("there is no such disk image")
	ErrInUse    = errors.New("the disk image is in use")
	ErrBad      = errors.New("the disk image is damaged or no disk")
)

// Image is a base image.
type Image struct {
	Name     string         `json:"name"` // its file's
	Kind     string         `json:"kind,omitempty"`
	Version  string         `json:"version,omitempty"`
	Format   string         `json:"format"`
	Size     int64          `json:"size"`         // bytes on this machine
	Virtual  int64          `json:"virtual_size"` // bytes that a guest sees
	Imported time.Time      `json:"imported,omitzero"`
	Source   string         `json:"source,omitempty"` // file it was taken from
	State    lab.ImageState `json:"state"`
	Problem  string         `json:"problem,omitempty"` // what is wrong with it
	Users    []string       `json:"used_by,omitempty"` // nodes, as LAB/NODE
}

// about is what is kept beside an image.
type about struct {
	Kind     string    `json:"kind,omitempty"`
	Version  string    `json:"version,omitempty"`
	Source   string    `json:"source,omitempty"`
	Imported time.Time `json:"imported"`
}

// Store is the folder of images and that of the nodes made from them.
type Store struct {
	Dir  string
	Labs string // folder of the nodes' own folders, by lab
	// Recognise finds kind and version by a file's name; both may be empty.
	Recognise func(file string) (kind, version string)
}

// aboutFile is where what is known of an image is kept.
func (s *Store) aboutFile(name string) string { return filepath.Join(s.Dir, "."+name+".json") }

// partial is what is being taken in, which is no image yet.
const partial = ".importing-"

// List lists all images by name, each with the nodes that have a disk over it.
func (s *Store) List(ctx context.Context) ([]Image, error) {
	all, err := s.known()
	if err != nil || len(all) == 0 {
		return nil, err
	}
	users := s.users(ctx)
	for i := range all {
		s.look(ctx, &all[i])
		all[i].Users = users[filepath.Join(s.Dir, all[i].Name)]
	}
	return all, nil
}

// known is what is noted of all images by name, without a look at the disks.
func (s *Store) known() ([]Image, error) {
	entries, err := os.ReadDir(s.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []Image
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") && e.Type().IsRegular() {
			out = append(out, s.noted(e.Name()))
		}
	}
	return out, nil
}

func (s *Store) noted(name string) Image {
	im := Image{Name: name}
	var a about
	if data, err := os.ReadFile(s.aboutFile(name)); err == nil {
		_ = json.Unmarshal(data, &a) // what cannot be read is not known
	}
	im.Kind, im.Version, im.Source, im.Imported = a.Kind, a.Version, a.Source, a.Imported
	if im.Kind == "" && s.Recognise != nil {
		im.Kind, im.Version = s.Recognise(name)
	}
	return im
}

// look adds what qemu-img says of the disk.
func (s *Store) look(ctx context.Context, im *Image) {
	im.State = lab.ImageSynced
	info, err := Inspect(ctx, filepath.Join(s.Dir, im.Name))
	if err != nil {
		im.State, im.Problem = lab.ImageFailed, err.Error()
	}
	im.Format, im.Virtual, im.Size = info.Format, info.Size, info.Actual
}

// Get finds an image by its name, with or without its ending.
func (s *Store) Get(ctx context.Context, name string) (Image, error) {
	all, err := s.List(ctx)
	if err != nil {
		return Image{}, err
	}
	var names []string
	for _, im := range all {
		if im.Name == name || strings.TrimSuffix(im.Name, filepath.Ext(im.Name)) == name {
			return im, nil
		}
		names = append(names, im.Name)
	}
	hint := "none has been imported"
	if near := lab.Closest(name, names); near != "" {
		hint = "did you mean " + near + "?"
	} else if len(names) > 0 {
		hint = "there is " + strings.Join(names, ", ")
	}
	return Image{}, fmt.Errorf("%s: %w (%s)", name, ErrNotFound, hint)
}

// Import is what is to be taken in.
type Import struct {
	File          string // of this machine: qcow2, vmdk or raw, told by what is in it
	Name          string // of the image; empty: the file's, ending in .qcow2
	Kind, Version string // empty: by the file's name
	Replace       bool   // an image of that name, unless a node uses it
}

// Import takes a disk in: a copy as qcow2, checked, which stands on its own.
func (s *Store) Import(ctx context.Context, in Import) (Image, error) {
	st, err := os.Stat(in.File)
	if err != nil {
		return Image{}, err
	}
	if !st.Mode().IsRegular() {
		return Image{}, fmt.Errorf("%s is not a file", in.File)
	}
	info, err := Inspect(ctx, in.File)
	if err != nil {
		return Image{}, err
	}
	switch info.Format {
	case "qcow2", "vmdk":
		if err := Check(ctx, in.File); err != nil {
			return Image{}, err
		}
	case "raw":
		if err := bootable(in.File); err != nil {
			return Image{}, err
		}
	default:
		return Image{}, fmt.Errorf("%s is of format %s, which is not taken in: qcow2, vmdk and raw are; convert it with qemu-img convert (%w)", in.File, info.Format, ErrBad)
	}
	if err := selfContained(ctx, in.File, info); err != nil {
		return Image{}, err
	}
	a := about{Kind: in.Kind, Version: in.Version, Source: in.File, Imported: time.Now().UTC().Truncate(time.Second)}
	if a.Kind == "" && s.Recognise != nil {
		kind, version := s.Recognise(filepath.Base(in.File))
		a.Kind = kind
		if a.Version == "" {
			a.Version = version
		}
	}
	name := in.Name
	if name == "" {
		base := filepath.Base(in.File)
		switch strings.ToLower(filepath.Ext(base)) {
		case ".qcow2", ".vmdk", ".img", ".raw":
			base = strings.TrimSuffix(base, filepath.Ext(base))
		}
		name = base
	}
	if filepath.Ext(name) != ".qcow2" {
		name += ".qcow2"
	}
	if strings.HasPrefix(name, ".") || strings.ContainsAny(name, "/\x00") {
		return Image{}, fmt.Errorf("%q cannot be the name of an image", name)
	}
	to := filepath.Join(s.Dir, name)
	if _, err := os.Stat(to); err == nil {
		if !in.Replace {
			return Image{}, fmt.Errorf("there is an image %s already: give this one another name, or remove that one first", name)
		}
		if err := s.free(ctx, to, name); err != nil {
			return Image{}, err
		}
	}
	if err := os.MkdirAll(s.Dir, 0o711); err != nil {
		return Image{}, err
	}
	if err := room(s.Dir, info.Actual); err != nil {
		return Image{}, err
	}
	tmp := filepath.Join(s.Dir, partial+name)
	defer func() { _ = os.Remove(tmp) }()
	if err := Run(ctx, "convert", "-f", info.Format, "-O", "qcow2", in.File, tmp); err != nil {
		return Image{}, fmt.Errorf("%s cannot be taken in: %w (%w)", in.File, err, ErrBad)
	}
	if err := Check(ctx, tmp); err != nil {
		return Image{}, err
	}
	data, err := json.Marshal(a)
	if err != nil {
		return Image{}, err
	}
	if err := errors.Join(os.Chmod(tmp, 0o444), os.WriteFile(s.aboutFile(name), data, 0o600)); err != nil {
		return Image{}, err
	}
	if err := fail.Around("image.import", func() error { return os.Rename(tmp, to) }); err != nil {
		return Image{}, err
	}
	return s.Get(ctx, name)
}

// bootable refuses files that are no disks: what qemu-img knows no other name
// for is "raw", also a picture.
func bootable(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	head := make([]byte, 4096)
	n, _ := f.Read(head)
	mbr := n >= 512 && head[510] == 0x55 && head[511] == 0xaa
	gpt := n >= 520 && string(head[512:520]) == "EFI PART"
	ext := n >= 1082 && head[1080] == 0x53 && head[1081] == 0xef // a file system without a table
	if mbr || gpt || ext {
		return nil
	}
	return fmt.Errorf("%s is no disk: it is neither qcow2 nor vmdk, and has no partition table (%w)", file, ErrBad)
}

// Check has qemu-img look through a disk.
func Check(ctx context.Context, file string) error {
	info, err := Inspect(ctx, file)
	if err != nil {
		return err
	}
	if info.Size == 0 {
		return fmt.Errorf("%s is empty (%w)", file, ErrBad)
	}
	if info.Format == "raw" {
		return bootable(file)
	}
	out, err := exec.CommandContext(ctx, "qemu-img", "check", "-U", file).CombinedOutput()
	var exit *exec.ExitError
	const leaks, unsupported = 3, 63 // lost space does no harm; some formats cannot be checked
	if err == nil || errors.As(err, &exit) && (exit.ExitCode() == leaks || exit.ExitCode() == unsupported) {
		return nil
	}
	said, more := strings.TrimSpace(string(out)), ""
	if first, _, ok := strings.Cut(said, "\n"); ok {
		said, more = first, " and more"
	}
	return fmt.Errorf("%s: qemu-img check: %s%s (%w)", file, said, more, ErrBad)
}

// Remove removes an image that no node uses.
func (s *Store) Remove(ctx context.Context, name string) error {
	im, err := s.Get(ctx, name)
	if err != nil {
		return err
	}
	path := filepath.Join(s.Dir, im.Name)
	if err := s.free(ctx, path, im.Name); err != nil {
		return err
	}
	return fail.Around("image.remove", func() error {
		if err := os.Remove(path); err != nil {
			return err
		}
		err := os.Remove(s.aboutFile(im.Name))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
}

func (s *Store) free(ctx context.Context, path, name string) error {
	if users := s.users(ctx)[path]; len(users) > 0 {
		return fmt.Errorf("%s: %w: by %s; destroy what uses it first", name, ErrInUse, strings.Join(users, ", "))
	}
	return nil
}

// users are the nodes whose disk lies over each file: the disks themselves
// say so, whether anybody runs them or not.
func (s *Store) users(ctx context.Context) map[string][]string {
	out := map[string][]string{}
	disks, _ := filepath.Glob(filepath.Join(s.Labs, "*", "*", "disk.qcow2"))
	for _, d := range disks {
		info, err := Inspect(ctx, d)
		if err != nil || info.Base == "" {
			continue
		}
		node := filepath.Dir(d)
		out[info.Base] = append(out[info.Base], filepath.Base(filepath.Dir(node))+"/"+filepath.Base(node))
	}
	for _, list := range out {
		slices.Sort(list)
	}
	return out
}

// Find finds the file for what a topology calls a node's image: a path, the
// name of an image with or without its ending, or NAME:VERSION where an image
// of the kind has that version. Without a name it is the newest of the kind.
func (s *Store) Find(ctx context.Context, kind, image, beside string) (string, error) {
	var tried []string
	if image != "" {
		tried = []string{image}
		if !filepath.IsAbs(image) {
			tried = []string{filepath.Join(s.Dir, image), filepath.Join(beside, image), filepath.Join(s.Dir, image+".qcow2")}
		}
		for _, path := range tried {
			if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() {
				return path, nil
			}
		}
	}
	all, err := s.known()
	if err != nil {
		return "", err
	}
	slices.SortStableFunc(all, func(a, b Image) int { return b.Imported.Compare(a.Imported) })
	_, version, _ := strings.Cut(filepath.Base(image), ":")
	for _, im := range all {
		if im.Kind != kind || image != "" && (version == "" || im.Version != version) {
			continue
		}
		if s.look(ctx, &im); im.State == lab.ImageSynced {
			return filepath.Join(s.Dir, im.Name), nil
		}
	}
	if image == "" {
		return "", fmt.Errorf("kind %s needs a disk image and none of it has been imported: `archetype images import FILE` takes one in (%w)", kind, ErrNotFound)
	}
	return "", fmt.Errorf("there is no disk image %s (looked for %s): `archetype images import FILE` takes one in (%w)", image, strings.Join(tried, ", "), ErrNotFound)
}

// Info is what qemu-img says of a disk.
type Info struct {
	Format string `json:"format"`
	Size   int64  `json:"virtual-size"` // bytes
	Actual int64  `json:"actual-size"`  // bytes
	Base   string `json:"full-backing-filename"`

	Specific struct {
		Data struct {
			File    string `json:"data-file"`
			Extents []struct {
				File string `json:"filename"`
			} `json:"extents"`
		} `json:"data"`
	} `json:"format-specific"`
}

// selfContained refuses a disk that is made of files which are not beside it:
// one that is handed on could have any file of this machine in it.
func selfContained(ctx context.Context, file string, info Info) error {
	parts := []string{info.Base, info.Specific.Data.File}
	for _, e := range info.Specific.Data.Extents {
		parts = append(parts, e.File)
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(file))
	if err != nil {
		return err
	}
	for _, part := range parts {
		if part == "" || part == file {
			continue
		}
		where, err := filepath.EvalSymlinks(part)
		if err != nil {
			return fmt.Errorf("%s is only a part of a disk, and the rest is not there: %w (%w)", file, err, ErrBad)
		}
		if filepath.Dir(where) != dir {
			return fmt.Errorf("%s has the disk of another folder in it, %s: put them together, or convert it with qemu-img convert (%w)", file, part, ErrBad)
		}
		if part == info.Base {
			base, err := Inspect(ctx, part)
			if err == nil {
				err = selfContained(ctx, part, base)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// Inspect asks qemu-img about a disk. ErrBad: it makes nothing of the file.
func Inspect(ctx context.Context, file string) (Info, error) {
	var i Info
	if _, err := os.Stat(file); err != nil {
		return i, err
	}
	if _, err := exec.LookPath("qemu-img"); err != nil {
		return i, errors.New("there is no qemu-img: install qemu-utils")
	}
	// It may be in use: nothing is changed.
	out, err := exec.CommandContext(ctx, "qemu-img", "info", "-U", "--output=json", file).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return i, fmt.Errorf("%s: %s (%w)", file, strings.TrimSpace(string(exit.Stderr)), ErrBad)
		}
		return i, err
	}
	return i, json.Unmarshal(out, &i)
}

// Run runs a command of qemu-img.
func Run(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, "qemu-img", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("qemu-img %s: %w: %s", args[0], err, strings.TrimSpace(string(out)))
	}
	return nil
}
