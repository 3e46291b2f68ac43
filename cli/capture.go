package cli

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/gopacket/gopacket"
	"github.com/spf13/cobra"

	"archetype/engine/api"
	"archetype/internal/packets"
	"archetype/lab"
)

// capture shows what passes an end of a link.
func (a *app) capture() *cobra.Command {
	var file string
	var count int
	cmd := &cobra.Command{
		Use:   "capture LAB NODE:INTERFACE",
		Short: "Show the packets that pass an end of a link, or write them to a file",
		Long: "Both ways, as the node sees them. The file is in pcap's format; - writes it to the output, for example\n" +
			"for: archetype capture LAB NODE:INTERFACE -w - | wireshark -k -i -",
		Args: args(2, 2), ValidArgsFunction: a.completeLabs,
		RunE: func(cmd *cobra.Command, args []string) error {
			end, err := lab.ParseEndpoint(args[1])
			if err != nil {
				return usagef("%v", err)
			}
			c, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer func() { _ = c.Close() }()
			stream, err := c.Capture(cmd.Context(), api.CaptureRequest{Lab: args[0], End: end})
			if err != nil {
				return err
			}
			defer func() { _ = stream.Close() }()
			var t tally
			sink, err := a.sink(file)
			if err == nil {
				err = t.each(stream, count, sink)
			}
			if cmd.Context().Err() != nil { // interrupted, which is how a capture ends
				err = nil
			}
			fmt.Fprintln(os.Stderr, t)
			return err
		},
	}
	cmd.Flags().StringVarP(&file, "write", "w", "", "write to `FILE` instead of showing them; - is the output")
	cmd.Flags().IntVarP(&count, "count", "c", 0, "end after `N` packets")
	return cmd
}

// sink is what is done with each frame.
type sink func(gopacket.CaptureInfo, []byte) error

func (a *app) sink(file string) (sink, error) {
	out := os.Stdout
	switch file {
	case "":
		return func(info gopacket.CaptureInfo, data []byte) error {
			_, err := fmt.Fprintln(a.out, packets.Of(info, data))
			return err
		}, nil
	case "-":
	default:
		f, err := os.OpenFile(file, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, err
		}
		out = f // each frame is one write; the process's end closes it
	}
	w, err := packets.NewWriter(out)
	if err != nil {
		return nil, err
	}
	return func(info gopacket.CaptureInfo, data []byte) error {
		if len(data) == 0 { // what it stands for is nothing that others read
			return nil
		}
		return w.Frame(info, data)
	}, nil
}

// tally counts what was captured.
type tally struct{ frames, lost int }

func (t tally) String() string {
	if t.lost == 0 {
		return fmt.Sprintf("%s, none lost", plural(t.frames, "packet"))
	}
	return fmt.Sprintf("%s, and %d lost: more came than could be taken", plural(t.frames, "packet"), t.lost)
}

// each has something done with every frame, until there are count.
func (t *tally) each(stream io.Reader, count int, do sink) error {
	r, err := packets.NewReader(stream)
	if err != nil {
		return ended(err)
	}
	for count == 0 || t.frames < count {
		info, data, err := r.Frame()
		if err != nil {
			return ended(err)
		}
		if err := do(info, data); err != nil {
			return err
		}
		if len(data) > 0 {
			t.frames++
		} else {
			t.lost += info.Length
		}
	}
	return nil
}

// ended says why there is nothing more.
func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return errors.New("the capture has ended: the interface went down, or away")
	}
	return err
}
