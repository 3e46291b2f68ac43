package cli

import (
	"errors"
	"fmt"
	"io"
	"os"

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
			show, err := a.packetSink(file)
			if err == nil {
				err = eachPacket(stream, count, show)
			}
			if cmd.Context().Err() != nil { // interrupted, which is how a capture ends
				return nil
			}
			return err
		},
	}
	cmd.Flags().StringVarP(&file, "write", "w", "", "write to `FILE` instead of showing them; - is the output")
	cmd.Flags().IntVarP(&count, "count", "c", 0, "end after `N` packets")
	return cmd
}

// packetSink is what is done with each packet.
func (a *app) packetSink(file string) (func(*packets.Packet) error, error) {
	switch file {
	case "":
		return func(p *packets.Packet) error { _, err := fmt.Fprintln(a.out, p); return err }, nil
	case "-":
		w, err := packets.NewWriter(os.Stdout)
		return w.Write, err
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	w, err := packets.NewWriter(f) // each packet is one write; the process's end closes it
	return w.Write, err
}

func eachPacket(stream io.Reader, count int, show func(*packets.Packet) error) error {
	r, err := packets.NewReader(stream)
	if err != nil {
		return ended(err)
	}
	for n := 0; count == 0 || n < count; n++ {
		p, err := r.Next()
		if err != nil {
			return ended(err)
		}
		if err := show(p); err != nil {
			return err
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
