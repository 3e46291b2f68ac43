package cli

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"archetype/lab"
	"archetype/topology"
)

// newLab writes a topology file of a shape.
func (a *app) newLab() *cobra.Command {
	var name, kind, file string
	var about []string
	for _, s := range topology.Shapes() {
		var numbers []string
		for _, n := range s.Numbers {
			numbers = append(numbers, fmt.Sprintf("%s (%d)", n.Name, n.Default))
		}
		about = append(about, fmt.Sprintf("  %-5s %s: %s", s.Name, s.About, strings.Join(numbers, ", ")))
	}
	cmd := &cobra.Command{Use: "new SHAPE [NUMBER...]", Short: "Write a topology file: a ring, a fabric and other shapes",
		Long:    "The shapes, each with its numbers and what they are where none is given:\n\n" + strings.Join(about, "\n"),
		Example: "archetype new clos 2 4 1 --kind frr --name fabric\narchetype new ring 20 -o ring.clab.yml",
		Args:    args(1, -1),
		RunE: func(_ *cobra.Command, args []string) error {
			s, ok := topology.ShapeNamed(args[0])
			if !ok {
				return usagef("there is no shape %q; %s", args[0], near(args[0]))
			}
			numbers := make([]int, len(s.Numbers))
			for i, n := range s.Numbers {
				numbers[i] = n.Default
			}
			if len(args)-1 > len(numbers) {
				return usagef("a %s takes at most %d numbers", s.Name, len(numbers))
			}
			for i, text := range args[1:] {
				n, err := strconv.Atoi(text)
				if err != nil {
					return usagef("%s: %q is no number", s.Numbers[i].Name, text)
				}
				numbers[i] = n
			}
			if name == "" {
				name = s.Name
			}
			text, err := s.File(name, kind, numbers)
			if err != nil {
				return usageError{err}
			}
			if file == "" {
				file = name + ".clab.yml"
			}
			if file == "-" {
				_, err := a.out.Write(text)
				return err
			}
			f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
			if err != nil {
				return err
			}
			if _, err = f.Write(text); err != nil {
				f.Close()
				return err
			}
			fmt.Fprintf(a.out, "%s\n", file)
			return f.Close()
		}}
	cmd.Flags().StringVar(&kind, "kind", "linux", "what kind of device its nodes are; hosts of a fabric are linux")
	cmd.Flags().StringVar(&name, "name", "", "what the lab is called (default: as its shape)")
	cmd.Flags().StringVarP(&file, "output", "o", "", "file to write, - for the screen (default: NAME.clab.yml); it must not be there yet")
	return cmd
}

func near(name string) string {
	var all []string
	for _, s := range topology.Shapes() {
		all = append(all, s.Name)
	}
	if like := lab.Closest(name, all); like != "" {
		return "did you mean " + like + "?"
	}
	return "there are " + strings.Join(all, ", ")
}
