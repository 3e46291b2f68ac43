package enginetest

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"archetype/backends"
)

func commands(b *bench) {
	ref := b.run(b.config("a", cmd("exec sleep 1000")))
	res, err := b.Exec(b.Context(), ref, backends.ExecRequest{Command: []string{"sh", "-c", "cat; echo $X >&2; pwd; exit 7"},
		Stdin: strings.NewReader("in"), Env: []string{"X=err"}, Dir: "/tmp"})
	if err != nil {
		b.Fatal(err)
	}
	if res.Code != 7 || string(res.Stdout) != "in/tmp\n" || string(res.Stderr) != "err\n" {
		b.Errorf("%d %q %q", res.Code, res.Stdout, res.Stderr)
	}
	if res, err = b.Exec(b.Context(), ref, backends.ExecRequest{Command: []string{"id", "-u"}, User: "user"}); err != nil || string(res.Stdout) != "1000\n" {
		b.Errorf("as another user: %q %v", res.Stdout, err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := b.Exec(ctx, ref, backends.ExecRequest{Command: []string{"sh", "-c", "echo on; sleep 1000"}, Stdout: w})
		done <- err
	}()
	if _, err := io.ReadFull(r, make([]byte, 3)); err != nil {
		b.Fatal(err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		b.Error("cancelled: ", err)
	}
}

// talk is a conversation with a node on its console.
type talk struct {
	*bench
	backends.Console
	got strings.Builder
}

func (b *bench) talk(ref backends.NodeRef, size backends.Size) *talk {
	b.Helper()
	con, err := b.Console(b.Context(), ref, size)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = con.Close() })
	return &talk{bench: b, Console: con}
}

// read reads until it has been said since the last time.
func (t *talk) read(until string) {
	t.Helper()
	defer time.AfterFunc(short, func() { _ = t.Close() }).Stop()
	buf := make([]byte, 1024)
	for !strings.Contains(t.got.String(), until) {
		n, err := t.Read(buf)
		t.got.Write(buf[:n])
		if err != nil {
			t.Fatalf("%v; it said %q", err, t.got.String())
		}
	}
	_, rest, _ := strings.Cut(t.got.String(), until) // may hold what is read for next
	t.got.Reset()
	t.got.WriteString(rest)
}

func (t *talk) say(text string) {
	t.Helper()
	if _, err := t.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

// Close ends the conversation, not the provider.
func (t *talk) Close() error { return t.Console.Close() }

func console(b *bench) {
	con := b.talk(b.run(b.config("a", cmd("exec sleep 1000"))), backends.Size{Cols: 77, Rows: 11})
	con.say("stty size\n")
	con.read("11 77")
	if err := con.Resize(backends.Size{Cols: 99, Rows: 33}); err != nil {
		b.Fatal(err)
	}
	con.say("stty size\n")
	con.read("33 99")
	con.say("exit\n")
	for {
		if _, err := con.Read(make([]byte, 1024)); err != nil {
			if !errors.Is(err, io.EOF) {
				b.Error("its end: ", err)
			}
			return
		}
	}
}

// attachedConsole: a kind whose console is that of its init. Two look at one
// terminal, and who leaves does not end it.
func attachedConsole(b *bench) {
	ref := b.run(b.config("a", func(c *backends.NodeConfig) {
		kind := *c.Kind
		kind.Console.Method = "attach"
		c.Kind, c.Node.Cmd = &kind, "sh"
	}))
	first := b.talk(ref, backends.Size{Cols: 77, Rows: 11})
	first.say("stty size; echo pid=$$\n")
	first.read("11 77")
	first.read("pid=1\r")
	second := b.talk(ref, backends.Size{Cols: 99, Rows: 33})
	second.say("stty size; echo for both\n")
	second.read("33 99")
	first.read("for both\r")
	if err := errors.Join(first.Close(), second.Close()); err != nil {
		b.Error(err)
	}
	third := b.talk(ref, backends.Size{Cols: 99, Rows: 33})
	third.say("echo still pid=$$\n")
	third.read("still pid=1\r")
}

func logsFollowOverRestarts(b *bench) {
	ref := b.run(b.config("a", cmd("echo boot; exec sleep 1000")))
	r, err := b.Logs(b.Context(), ref, backends.LogOptions{Follow: true})
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	lines := func(n int) {
		b.Helper()
		defer time.AfterFunc(short, func() { _ = r.Close() }).Stop()
		want := strings.Repeat("boot\n", n)
		buf := make([]byte, len(want))
		if _, err := io.ReadFull(r, buf); err != nil || string(buf) != want {
			b.Fatalf("%q %v", buf, err)
		}
	}
	lines(1)
	if err := b.Stop(b.Context(), ref, 0); err != nil {
		b.Fatal(err)
	}
	b.start(ref)
	lines(1)
	last, err := b.Logs(b.Context(), ref, backends.LogOptions{Lines: 1})
	if err != nil {
		b.Fatal(err)
	}
	defer last.Close()
	if all, err := io.ReadAll(last); err != nil || string(all) != "boot\n" {
		b.Errorf("the last line: %q %v", all, err)
	}
}

func stats(b *bench) {
	ref := b.run(b.config("a", cmd("exec sleep 1000")))
	list, err := b.Stats(b.Context(), b.lab)
	if err != nil {
		b.Fatal(err)
	}
	if len(list) != 1 || list[0].Ref != ref || list[0].CPU == 0 || list[0].Processes == 0 {
		b.Errorf("%+v", list)
	}
}
