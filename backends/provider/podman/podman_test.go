package podman_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"archetype/backends/provider/dockerapi/enginetest"
	"archetype/backends/provider/podman"
	"archetype/backends/provider/podman/podmantest"
	"archetype/internal/ownmachine"
)

func TestMain(m *testing.M) {
	os.Exit(ownmachine.Main(func() int { return podmantest.Main(m) }))
}

func TestContainers(t *testing.T) { enginetest.Run(t, &podmantest.Shared) }

// nobody is an ordinary user.
const nobody = 65534

// An ordinary user's own Podman cannot be used, and the user is told why and
// what can, whether by root or by the user.
func TestRootlessPodmanIsToldApart(t *testing.T) {
	if why := podmantest.Kind.Missing(); why != "" {
		t.Skip(why)
	}
	home, err := os.MkdirTemp("", "rl") // short: a socket lives in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(home) })
	if err := os.Chown(home, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(home, "s")
	service := exec.Command("podman", "system", "service", "--time=0", "unix://"+socket)
	service.Dir = home
	service.Env = []string{"HOME=" + home, "XDG_RUNTIME_DIR=" + home, "PATH=" + os.Getenv("PATH") + ":/usr/sbin:/sbin"}
	service.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}, Pdeathsig: syscall.SIGTERM}
	// A file: what the service leaves running keeps it open.
	log, err := os.Create(filepath.Join(home, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	service.Stdout, service.Stderr = log, log
	if err := service.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- service.Wait() }()
	t.Cleanup(func() {
		_ = service.Process.Signal(syscall.SIGTERM)
		if err := <-ended; err != nil {
			t.Log("it ended: ", err)
		}
		stopPause(home)
	})
	for late := time.After(time.Minute); ; {
		if c, err := net.Dial("unix", socket); err == nil {
			_ = c.Close()
			break
		}
		select {
		case err := <-ended:
			ended <- err
			said, _ := os.ReadFile(log.Name())
			t.Skipf("an ordinary user's Podman does not run here: %v: %s", err, said)
		case <-late:
			t.Fatal("it does not listen")
		case <-time.After(20 * time.Millisecond):
		}
	}
	p := podman.New(podman.Config{Host: "unix://" + socket, Run: t.TempDir(), Labs: t.TempDir()})
	defer func() { _ = p.Close() }()
	var last string
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		a := p.Available(t.Context())
		if last = a.Reason; strings.Contains(last, "a user's own (rootless)") {
			if a.OK || !strings.Contains(a.Fix, "unix:///run/podman/podman.sock") || !strings.Contains(a.Fix, "netns") {
				t.Errorf("%+v", a)
			}
			return
		}
	}
	t.Errorf("it says %q", last)
}

// stopPause ends the process that Podman leaves to hold the user's namespaces.
func stopPause(home string) {
	text, err := os.ReadFile(filepath.Join(home, "libpod", "tmp", "pause.pid"))
	if err != nil {
		return
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return
	}
	p, err := os.FindProcess(pid) // a handle, so that it is the very process that is looked at
	if err != nil {
		return
	}
	if st, err := os.Stat("/proc/" + strconv.Itoa(pid)); err == nil && st.Sys().(*syscall.Stat_t).Uid == nobody {
		_ = p.Kill()
	}
	_ = p.Release()
}
