package nodeinit

import (
	"bytes"
	"testing"
)

// Whatever comes as frames from a node: each is what its head says and no
// larger than the bound, and what was read is what is written again.
func FuzzFrames(f *testing.F) {
	var b bytes.Buffer
	w := NewFrameWriter(&b)
	_ = w.Frame(FrameStdin, []byte("ls\n"))
	_ = w.JSON(FrameResize, Size{80, 24})
	_ = w.Frame(FrameExit, []byte("0"))
	f.Add(b.Bytes())
	f.Add([]byte{FrameStdout, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		r, again := bytes.NewReader(data), &bytes.Buffer{}
		w := NewFrameWriter(again)
		for {
			before := len(data) - r.Len()
			sort, body, err := ReadFrame(r)
			if err != nil {
				return
			}
			if len(body) > maxFrame || w.Frame(sort, body) != nil || !bytes.Equal(again.Bytes(), data[:before+5+len(body)]) {
				t.Fatalf("a frame of %d bytes: %x", len(body), again.Bytes())
			}
		}
	})
}
