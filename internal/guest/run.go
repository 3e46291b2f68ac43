package guest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"archetype/internal/osthread"
)

// QEMU is the program that emulates a machine.
const QEMU = "qemu-system-x86_64"

// Command is what shall run in a guest, as its root.
type Command struct {
	Program string   // a static one of this machine
	Args    []string // without its name
	Env     []string
	Modules []string // of the kernel, loaded before it runs
	Files   []File   // what else the guest has
	Memory  int      // MiB; 0: 256
	// Patience is how long boot and program may take; 0: two minutes.
	Patience time.Duration
}

// Result is how it ended.
type Result struct {
	Code    int
	Output  []byte // of both its streams
	Console []byte // what the kernel and the guest's init said
}

// Run boots a guest, runs the command there and returns when the guest is off.
// A guest that did not get as far as the command's end fails the test.
func (k *Kernel) Run(t testing.TB, c Command) Result {
	t.Helper()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	files := append([]File{{Path: "/run-me/" + filepath.Base(c.Program), Mode: 0o755, Source: c.Program}, {Path: "/start-me", Mode: 0o755, Data: []byte(start(c))}}, c.Files...)
	if err := k.Initramfs(at("initramfs"), c.Modules, "/start-me\npoweroff -f\n", files...); err != nil {
		t.Fatal(err)
	}
	if c.Memory == 0 {
		c.Memory = 256
	}
	if c.Patience == 0 {
		c.Patience = 2 * time.Minute
	}
	ctx, cancel := context.WithTimeout(t.Context(), c.Patience)
	defer cancel()
	q := exec.CommandContext(ctx, QEMU, "-accel", "tcg", "-cpu", "max", "-m", strconv.Itoa(c.Memory), "-nodefaults", "-display", "none",
		"-no-reboot", "-nic", "none", "-kernel", k.Image, "-initrd", at("initramfs"), "-append", "console=ttyS0 panic=-1 quiet no_timer_check",
		"-serial", "file:"+at("console"), "-serial", "file:"+at("output"), "-serial", "file:"+at("code"))
	q.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var said bytes.Buffer
	q.Stdout, q.Stderr = &said, &said
	err := osthread.Start(q)
	if err == nil {
		err = q.Wait()
	}
	var r Result
	r.Console, _ = os.ReadFile(at("console"))
	r.Output, _ = os.ReadFile(at("output"))
	code, _ := os.ReadFile(at("code"))
	if err == nil {
		r.Code, err = strconv.Atoi(string(bytes.TrimSpace(code)))
	}
	if err != nil {
		t.Fatalf("the guest did not get to the end of %s: %v\n%s\nconsole:\n%s\noutput:\n%s", c.Program, err, said.Bytes(), r.Console, r.Output)
	}
	return r
}

// start is a script that runs the command with its output on the second serial
// line, and leaves its exit code on the third.
func start(c Command) string {
	var s strings.Builder
	s.WriteString("#!/bin/sh\nfor n in 1 2; do stty -F /dev/ttyS$n 115200 raw -echo; done\n")
	for _, e := range c.Env {
		name, value, _ := strings.Cut(e, "=")
		fmt.Fprintf(&s, "export %s=%s\n", name, Quote(value))
	}
	s.WriteString(Quote("/run-me/" + filepath.Base(c.Program)))
	for _, a := range c.Args {
		s.WriteString(" " + Quote(a))
	}
	s.WriteString(" </dev/null >/dev/ttyS1 2>&1\necho $? >/dev/ttyS2\n")
	return s.String()
}

// Quote makes one word of a text for a shell.
func Quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
