package serialline_test

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // it is what the guest has
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"archetype/backends/provider/logfile"
	"archetype/backends/provider/serialline"
	"archetype/internal/guest"
	"archetype/internal/osthread"
)

// TestBothWaysAtOnce types at a device while that says all it can: every byte
// of both is there once. An emulator that waits for whoever is on its line
// would have some of its own in the record twice.
func TestBothWaysAtOnce(t *testing.T) {
	k := guest.Find(t)
	dir, err := os.MkdirTemp("", "line") // short, for the socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	at := func(name string) string { return filepath.Join(dir, name) }
	const typed = 6000
	init := fmt.Sprintf(`dmesg -n 1
stty -F /dev/ttyS0 raw -echo
(dd bs=1 count=%d </dev/ttyS0 2>/dev/null | md5sum >/tmp/sum; touch /tmp/done) &
echo "guest: begins"
n=0
while [ ! -e /tmp/done ]; do n=$((n+1)); echo "line $n abcdefghijklmnopqrstuvwxyz0123456789"; done
echo "guest: $(cat /tmp/sum)"
echo "guest: ends"
poweroff -f
`, typed)
	if err := k.Initramfs(at("initramfs"), nil, init); err != nil {
		t.Fatal(err)
	}
	q := exec.Command(guest.QEMU, "-accel", "tcg", "-cpu", "max", "-m", "256", "-nodefaults", "-display", "none", "-no-reboot", "-nic", "none",
		"-kernel", k.Image, "-initrd", at("initramfs"), "-append", "console=ttyS0 panic=-1 quiet no_timer_check",
		"-chardev", "socket,id=line,path="+at("socket")+",server=on,wait=off,logappend=on,logfile="+at(serialline.Record), "-serial", "chardev:line")
	q.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var said bytes.Buffer
	q.Stderr = &said
	if err := osthread.Start(q); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = q.Wait()
		close(ended)
	}()
	t.Cleanup(func() { _ = q.Process.Kill() })
	logs, err := logfile.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = logs.Close() })
	l := serialline.New(logs, dir, at("socket"))
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	awaitText(ctx, t, at(serialline.Record), "guest: begins")
	c, err := l.Console(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	var all []byte
	for len(all) < typed {
		text := fmt.Appendf(nil, "%d and so on\r", len(all))
		text = text[:min(len(text), typed-len(all))]
		all = append(all, text...)
		if _, err := c.Write(text); err != nil {
			t.Fatalf("after %d bytes: %v\n%s", len(all), err, said.Bytes())
		}
	}
	select {
	case <-ended:
	case <-ctx.Done():
		t.Fatal("the guest did not end; it has not had all that was typed")
	}
	record, err := os.ReadFile(at(serialline.Record))
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("guest: %x", md5.Sum(all)); !bytes.Contains(record, []byte(want)) { //nolint:gosec // see above
		t.Errorf("what the guest had is not what was typed; the record ends with %q", record[max(0, len(record)-200):])
	}
	_, lines, _ := strings.Cut(strings.ReplaceAll(string(record), "\r", ""), "guest: begins\n")
	lines, _, _ = strings.Cut(lines, "guest: ")
	n, wrong := 0, 0
	for line := range strings.Lines(lines) {
		if n++; line != fmt.Sprintf("line %d abcdefghijklmnopqrstuvwxyz0123456789\n", n) {
			if wrong++; wrong < 5 {
				t.Errorf("line %d of the record: %q", n, line)
			}
		}
	}
	if n < 100 {
		t.Errorf("the guest said %d lines while %d bytes were typed: that is no test", n, typed)
	}
}

// TestTakesNothing: not even between its connection and the first byte can an
// emulator get rid of anything over the way in.
func TestTakesNothing(t *testing.T) {
	dir, err := os.MkdirTemp("", "line")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "socket")
	emulator, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = emulator.Close() })
	const times = 300
	heard := make(chan string, 1)
	go func() {
		defer close(heard)
		var all []byte
		for range times {
			c, err := emulator.Accept()
			if err != nil {
				return
			}
			if _, err := c.Write([]byte("said")); !errors.Is(err, syscall.EPIPE) {
				t.Errorf("after %d bytes it was taken: %v", len(all), err)
			}
			text, _ := io.ReadAll(c)
			all = append(all, text...)
			_ = c.Close()
		}
		heard <- string(all)
	}()
	l := serialline.New(nil, dir, socket)
	for range times {
		if err := l.Say([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if got := <-heard; got != strings.Repeat("x", times) {
		t.Errorf("%d bytes arrived: %q", len(got), got)
	}
}

// awaitText waits until a file that grows has a text.
func awaitText(ctx context.Context, t *testing.T, file, text string) {
	t.Helper()
	for tick := time.NewTicker(20 * time.Millisecond); ; {
		if data, _ := os.ReadFile(file); strings.Contains(string(data), text) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			data, _ := os.ReadFile(file)
			t.Fatalf("%q was never said, but %q", text, data)
		}
	}
}
