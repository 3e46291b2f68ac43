package stub_test

import (
	"bytes"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"

	"archetype/backends/provider/netns/stub"
)

func start(t *testing.T, calls []stub.Call) (string, error) {
	t.Helper()
	f, err := stub.File(calls)
	if err != nil {
		t.Skip(err)
	}
	defer f.Close()
	var out bytes.Buffer
	cmd := exec.Command("/proc/self/fd/3", "one", "two")
	cmd.ExtraFiles = []*os.File{f}
	cmd.Stdout = &out
	err = cmd.Run()
	return out.String(), err
}

func say(s string) stub.Call {
	return stub.Call{Nr: unix.SYS_WRITE, Args: []any{1, s, len(s)}, Op: stub.Must}
}

func TestCallsComeInOrderUntilOneFails(t *testing.T) {
	out, err := start(t, []stub.Call{say("a"),
		{Nr: unix.SYS_CLOSE, Args: []any{77}, Op: stub.Try}, say("b"),
		{Nr: unix.SYS_CLOSE, Args: []any{77}, Op: stub.Must, Fail: "no descriptor 77"}, say("c")})
	var exit *exec.ExitError
	if out != "abno descriptor 77" || !asExit(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("%q, %v", out, err)
	}
}

func TestExitIfLooksAtMemoryThatCallsWrite(t *testing.T) {
	zero, told := make([]byte, 8), make([]byte, 8)
	out, err := start(t, []stub.Call{
		{Op: stub.ExitIf, Args: []any{zero}}, say("a"),
		{Nr: unix.SYS_GETRANDOM, Args: []any{told, 8, 0}, Op: stub.Must},
		{Op: stub.ExitIf, Args: []any{zero}}, say("b"),
		{Nr: unix.SYS_GETCWD, Args: []any{told, 8}, Op: stub.Try}, // may be too long
		{Nr: unix.SYS_PIPE2, Args: []any{told, 0}, Op: stub.Must}, // 3 or more: not zero
		{Op: stub.ExitIf, Args: []any{stub.Part{Of: told, At: 4}}}, say("c")})
	if out != "ab" || err != nil {
		t.Errorf("%q, %v", out, err)
	}
}

func TestBecomesAnotherProgramWithItsArguments(t *testing.T) {
	echo, err := exec.LookPath("echo")
	if err != nil {
		t.Skip(err)
	}
	out, err := start(t, []stub.Call{{Nr: unix.SYS_EXECVEAT, Args: []any{unix.AT_FDCWD, echo, 0, 0, 0}, Op: stub.Become}})
	if out != "one two\n" || err != nil {
		t.Errorf("%q, %v", out, err)
	}
}

func asExit(err error, to **exec.ExitError) bool {
	e, ok := err.(*exec.ExitError) //nolint:errorlint // exec returns it as it is
	*to = e
	return ok
}
