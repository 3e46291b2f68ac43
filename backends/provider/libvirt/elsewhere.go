package libvirt

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
)

// host is the machine of a qemu+ssh URI, empty for this one.
func (c *connection) host() *url.URL {
	u, err := url.Parse(c.uri)
	if err != nil || !strings.HasSuffix(u.Scheme, "+ssh") {
		return nil
	}
	return u
}

// sshTo are ssh's words for a command at a URI's machine, whose shell reads it.
func sshTo(u *url.URL, command string) []string {
	args := []string{"-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10"}
	if u.Port() != "" {
		args = append(args, "-p", u.Port())
	}
	if u.User.Username() != "" {
		args = append(args, "-l", u.User.Username())
	}
	q := u.Query() // as libvirt's own programs take them
	if key := q.Get("keyfile"); key != "" {
		args = append(args, "-i", key)
	}
	if file := q.Get("known_hosts"); file != "" {
		args = append(args, "-o", "UserKnownHostsFile="+file)
	}
	if q.Get("no_verify") == "1" {
		args = append(args, "-o", "StrictHostKeyChecking=no")
	}
	return append(args, "--", u.Hostname(), command)
}

// quoted is a word as a shell takes it.
func quoted(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }

// same checks that a libvirt reached by SSH is where this program is: its
// machines' disks are files here, and their interfaces taps. Once it is known
// of a connection it is not asked again.
func (c *connection) same(ctx context.Context, folder string) error {
	u := c.host()
	if u == nil {
		return nil
	}
	lv, err := c.session()
	if err != nil {
		return err
	}
	c.mu.Lock()
	known := c.proven == lv
	c.mu.Unlock()
	if known {
		return nil
	}
	if err := c.compare(ctx, u, folder); err != nil {
		return err
	}
	c.mu.Lock()
	c.proven = lv
	c.mu.Unlock()
	return nil
}

var errUnclear = errors.New("uname, cat, readlink and stat are asked there")

var fileNumber = regexp.MustCompile(`^\d+:\d+$`)

// compare looks from there and from here at the machine, its network and its files.
func (c *connection) compare(ctx context.Context, u *url.URL, folder string) error {
	ctx, cancel := context.WithTimeout(ctx, 3*patience)
	defer cancel()
	ask := "uname -n; cat /proc/sys/kernel/random/boot_id; readlink /proc/self/ns/net; stat -L -c %d:%i " + quoted(folder) + " 2>&1"
	out, err := exec.CommandContext(ctx, "ssh", sshTo(u, ask)...).Output()
	there := strings.Split(strings.TrimSpace(string(out)), "\n")
	const lines = 4
	if len(there) < lines {
		return fmt.Errorf("whether libvirt at %s is on this machine cannot be found out: its shell says %q (%w)", c.uri, out, errors.Join(errUnclear, err))
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return err
	}
	network, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		return err
	}
	var st syscall.Stat_t
	if err := syscall.Stat(folder, &st); err != nil {
		return err
	}
	files := fmt.Sprintf("%d:%d", st.Dev, st.Ino)
	switch seen := there[lines-1]; {
	case there[1] != strings.TrimSpace(string(boot)):
		return fmt.Errorf("libvirt at %s is on another machine (%s)", c.uri, there[0])
	case there[2] != network:
		return fmt.Errorf("libvirt at %s is in another network of this machine: the taps that are made here are not there", c.uri)
	case fileNumber.MatchString(seen) && seen != files || strings.Contains(seen, "No such file"):
		return fmt.Errorf("libvirt at %s sees other files than this program: its %s is another", c.uri, folder)
	}
	return nil // a user there may not be permitted to look at the folder
}
