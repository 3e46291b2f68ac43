package nodeinit

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// start runs a program found in the PATH of its environment; the channel
// gives its end.
func (n *node) start(argv, env []string, dir string, files []*os.File, attr *syscall.SysProcAttr) (int, <-chan unix.WaitStatus, error) {
	path, err := lookPath(argv[0], env)
	if err != nil {
		return 0, nil, err
	}
	return n.reaper.Start(path, argv, &os.ProcAttr{Dir: dir, Env: env, Files: files, Sys: attr})
}

const (
	binFolder = "/run/archetype/bin"
	nodePath  = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/frr:" + binFolder
)

// lookPath finds a program in the PATH of the environment it will have.
func lookPath(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		if _, err := os.Stat(name); err != nil {
			return "", fmt.Errorf("%s: %w", name, exec.ErrNotFound)
		}
		return name, nil
	}
	path := nodePath
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			path = v
		}
	}
	for _, dir := range filepath.SplitList(path) {
		p := filepath.Join(dir, name)
		if st, err := os.Stat(p); err == nil && !st.IsDir() && st.Mode()&0o111 != 0 {
			return p, nil
		}
	}
	return "", fmt.Errorf("%s: %w", name, exec.ErrNotFound)
}
