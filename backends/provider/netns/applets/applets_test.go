package applets

import (
	"bytes"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// inNetns runs f in a network namespace of its own, on a thread that ends
// with it.
func inNetns(t *testing.T, f func(ip func(args ...string) string, ping func(args ...string) (int, string))) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root to make a network namespace")
	}
	done := make(chan string, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread is thrown away
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- "no network namespace: " + err.Error()
			return
		}
		f(func(args ...string) string {
			var out, errOut bytes.Buffer
			if code := ipMain(args, &out, &errOut); code != 0 {
				return "code " + string(rune('0'+code%10)) + " " + errOut.String()
			}
			return out.String()
		}, func(args ...string) (int, string) {
			var out, errOut bytes.Buffer
			code := pingMain(args, &out, &errOut)
			return code, out.String() + errOut.String()
		})
		done <- ""
	}()
	if why := <-done; why != "" {
		t.Skip(why)
	}
}

func TestTools(t *testing.T) {
	inNetns(t, func(ip func(...string) string, ping func(...string) (int, string)) {
		for _, c := range []string{"link set lo up", "link add v1 type veth peer name v2", "link set v1 mtu 1400 address 02:00:00:00:00:01 up",
			"link set dev v2 up", "addr add 10.1.0.1/24 dev v1", "a add 2001:db8::1/64 dev v1 nodad", "route add default via 10.1.0.254",
			"route add 10.9.0.0/16 via 10.1.0.2 metric 7", "-6 route add default via 2001:db8::ff", "link add br0 type bridge", "link set v2 master br0"} {
			if got := ip(strings.Fields(c)...); got != "" {
				t.Errorf("ip %s: %s", c, got)
			}
		}
		for c, want := range map[string]string{
			"addr show v1": "inet 10.1.0.1/24", "-br addr": "10.1.0.1/24", "link show v1": "mtu 1400",
			"-6 addr show dev v1": "2001:db8::1/64", "route": "default via 10.1.0.254 dev v1", "r show": "10.9.0.0/16 via 10.1.0.2 dev v1",
			"-6 r": "default via 2001:db8::ff", "-br link": "02:00:00:00:00:01", "link show nothere": "Cannot find device",
			"route add nonsense": "not a prefix", "addr add 10.0.0.1/24": "dev NAME", "": "Usage", "frobnicate": "Usage", "link set v1 flying": "not known",
		} {
			if got := ip(strings.Fields(c)...); !strings.Contains(got, want) {
				t.Errorf("ip %s: %q has no %q", c, got, want)
			}
		}
		if got := ip("route", "del", "default"); got != "" {
			t.Errorf("route del: %s", got)
		}
		if code, out := ping("-c", "2", "-i", "0.01", "10.1.0.1"); code != 0 || !strings.Contains(out, "2 received, 0% packet loss") {
			t.Errorf("ping to itself: %d %s", code, out)
		}
		if code, out := ping("-c", "1", "2001:db8::1"); code != 0 || !strings.Contains(out, "1 received") {
			t.Errorf("ping over IPv6: %d %s", code, out)
		}
		if code, out := ping("-c", "1", "-W", "0.05", "10.1.0.77"); code != 1 || !strings.Contains(out, "100% packet loss") {
			t.Errorf("ping to nobody: %d %s", code, out)
		}
		if code, _ := ping("-c", "1", "no.such.host.invalid"); code != 2 {
			t.Errorf("ping to no name: %d", code)
		}
	})
}
