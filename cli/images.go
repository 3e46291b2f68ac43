package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"archetype/backends/diskimage"
	"archetype/engine/api"
	"archetype/lab"
	"archetype/vendors"
)

// images is what can be done with the base images of virtual machines.
func (a *app) images() *cobra.Command {
	cmd := &cobra.Command{Use: "images", Short: "List, import, check or remove disk images of virtual machines",
		Long: "A virtual machine's disk lies over a base image, which no machine writes to. Images are kept in\n" +
			"the program's own folder; a node names one by its file's name, or as NAME:VERSION, or not at\n" +
			"all, which takes the one of its kind that was imported last. Images of containers are the\n" +
			"container engine's (docker images).", Args: args(1, 0)}
	cmd.PersistentPreRunE = a.ownOnly
	cmd.AddCommand(a.imagesList(), a.imagesImport(), a.imagesCheck(), a.imagesRemove())
	return cmd
}

// imageStore is the folder of images, with the kinds that recognise them.
func (a *app) imageStore() (*diskimage.Store, *vendors.Registry, error) {
	kinds, diags, err := vendors.Load(a.s.Vendors())
	if err != nil {
		return nil, nil, err
	}
	showDiagnostics(os.Stderr, diags)
	return &diskimage.Store{Dir: a.s.Images(), Labs: a.s.Labs(), Recognise: kinds.Recognised}, kinds, nil
}

func (a *app) imagesList() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{Use: "list", Aliases: []string{"ls"}, Short: "List the images, and which nodes use them", Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, _, err := a.imageStore()
			if err != nil {
				return err
			}
			all, err := s.List(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return a.json(list(all, func(i diskimage.Image) diskimage.Image { return i }))
			}
			if len(all) == 0 {
				fmt.Fprintln(a.out, "No disk image has been imported. Take one in with: archetype images import FILE")
				return nil
			}
			rows := [][]string{{"IMAGE", "KIND", "VERSION", "STATE", "SIZE", "DISK", "USED BY"}}
			for _, i := range all {
				rows = append(rows, []string{i.Name, firstOf(i.Kind, "unknown"), i.Version, string(i.State), mib(i.Size), mib(i.Virtual),
					firstOf(i.Problem, strings.Join(i.Users, ", "))})
			}
			a.table(rows)
			return nil
		}}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func mib(n int64) string { return fmt.Sprintf("%.1fMiB", float64(n)/(1<<20)) }

func (a *app) imagesImport() *cobra.Command {
	var in diskimage.Import
	cmd := &cobra.Command{Use: "import FILE", Short: "Take a disk in: qcow2, vmdk or raw",
		Long: "The disk is copied as qcow2 and checked; the file stays as it is. Kind and version are recognised\n" +
			"by the file's name, as its maker gives it, unless they are said.",
		Example: "archetype images import vEOS-lab-4.28.3M.vmdk\narchetype images import disk.img --kind generic_vm --version 12", Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, kinds, err := a.imageStore()
			if err != nil {
				return err
			}
			if in.Kind != "" {
				k, ok := kinds.Kind(in.Kind)
				if !ok {
					hint := ""
					if near := lab.Closest(in.Kind, kinds.Names()); near != "" {
						hint = "; did you mean " + near + "?"
					}
					return usagef("there is no kind %q%s", in.Kind, hint)
				}
				if k.VM == nil {
					return usagef("kind %s does not run as a virtual machine: its vendor file has no part vm", k.Name)
				}
				in.Kind = k.Name
			}
			if in.File, err = filepath.Abs(args[0]); err != nil {
				return err
			}
			if _, err := os.Stat(in.File); err != nil {
				return usagef("no disk image %s", args[0])
			}
			im, err := s.Import(cmd.Context(), in)
			if err != nil {
				return err
			}
			fmt.Fprintf(a.out, "%s: %s, %s, a disk of %s\n", im.Name, kindOf(im), mib(im.Size), mib(im.Virtual))
			if im.Kind == "" {
				fmt.Fprintf(a.out, "no kind is recognised by the name: give nodes image: %s, or import it again with --kind\n", im.Name)
			}
			return nil
		}}
	cmd.Flags().StringVar(&in.Kind, "kind", "", "the kind of device, where its name does not tell")
	cmd.Flags().StringVar(&in.Version, "version", "", "its version")
	cmd.Flags().StringVar(&in.Name, "name", "", "the image's name, instead of the file's")
	cmd.Flags().BoolVar(&in.Replace, "replace", false, "take the place of an image of that name, unless a node uses it")
	return cmd
}

func kindOf(im diskimage.Image) string {
	if im.Kind == "" {
		return "of no known kind"
	}
	return strings.TrimSpace(im.Kind + " " + im.Version)
}

func (a *app) imagesCheck() *cobra.Command {
	return &cobra.Command{Use: "check [IMAGE|FILE...]", Short: "Look through images for damage; without a name through all", Args: args(0, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, _, err := a.imageStore()
			if err != nil {
				return err
			}
			files, err := checkable(cmd.Context(), s, args)
			if err != nil {
				return err
			}
			bad := 0
			for _, f := range files {
				if err := diskimage.Check(cmd.Context(), f); err != nil {
					bad++
					fmt.Fprintf(a.out, "%s: %v\n", filepath.Base(f), err)
					continue
				}
				fmt.Fprintf(a.out, "%s: good\n", filepath.Base(f))
			}
			if bad > 0 {
				return codeError(exitFailed)
			}
			return nil
		}}
}

// checkable are the files meant by names of images, or by paths.
func checkable(ctx context.Context, s *diskimage.Store, names []string) ([]string, error) {
	var out []string
	if len(names) == 0 {
		all, err := s.List(ctx)
		for _, im := range all {
			out = append(out, filepath.Join(s.Dir, im.Name))
		}
		return out, err
	}
	for _, name := range names {
		im, err := s.Get(ctx, name)
		switch {
		case err == nil:
			out = append(out, filepath.Join(s.Dir, im.Name))
		case fileThere(name):
			out = append(out, name)
		default:
			return nil, imageError(err)
		}
	}
	return out, nil
}

func fileThere(name string) bool {
	st, err := os.Stat(name)
	return err == nil && st.Mode().IsRegular()
}

func (a *app) imagesRemove() *cobra.Command {
	return &cobra.Command{Use: "rm IMAGE...", Aliases: []string{"remove"}, Short: "Remove images that no node uses", Args: args(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, _, err := a.imageStore()
			if err != nil {
				return err
			}
			for _, name := range args {
				if err := s.Remove(cmd.Context(), name); err != nil {
					return imageError(err)
				}
				fmt.Fprintf(a.out, "%s removed\n", name)
			}
			return nil
		}}
}

func imageError(err error) error {
	switch {
	case errors.Is(err, diskimage.ErrInUse):
		return api.Errorf(api.CodeConflict, "%v", err)
	case errors.Is(err, diskimage.ErrNotFound):
		return api.Errorf(api.CodeNotFound, "%v", err)
	}
	return err
}
