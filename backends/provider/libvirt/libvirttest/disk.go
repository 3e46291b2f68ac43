package libvirttest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/fat16"

	"archetype/internal/guest"
)

// SSHServer is a program for guests that lets one user in; see its folder.
func SSHServer(t testing.TB) guest.File {
	t.Helper()
	program := filepath.Join(t.TempDir(), "sshserver")
	build := exec.Command("go", "build", "-o", program, "archetype/backends/provider/libvirt/libvirttest/sshserver")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build of the SSH server for guests: %v: %s", err, out)
	}
	return guest.File{Path: "/usr/sbin/sshserver", Mode: 0o755, Source: program}
}

// Disk writes the system to a raw disk that UEFI boots from: a file system
// with kernel, initramfs, and what the firmware's shell is to start.
func (s System) Disk(t testing.TB, to string) {
	t.Helper()
	const size = 48 << 20
	script := "@echo -off\r\nfs0:\r\nvmlinuz.efi initrd=\\initramfs console=ttyS0 panic=-1 quiet no_timer_check\r\n"
	err := func() (err error) {
		disk, err := file.CreateFromPath(to, size)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, disk.Close()) }()
		fs, err := fat16.Create(disk, size, 0, 512, "SYSTEM", true)
		if err != nil {
			return err
		}
		for name, from := range map[string]string{"vmlinuz.efi": s.Kernel, "initramfs": s.Initrd, "startup.nsh": ""} {
			data := []byte(script)
			if from != "" {
				if data, err = os.ReadFile(from); err != nil {
					return err
				}
			}
			f, err := fs.OpenFile(name, os.O_CREATE|os.O_RDWR)
			if err != nil {
				return err
			}
			_, err = f.Write(data)
			if err := errors.Join(err, f.Close()); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		return nil
	}()
	if err != nil {
		t.Fatal(err)
	}
}
