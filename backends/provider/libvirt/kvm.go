package libvirt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// QEMU is the emulator's program.
const qemuProgram = "qemu-system-x86_64"

// A machine that only ends itself may take as long as trial, and not much
// longer on /dev/kvm than emulated.
const (
	trial  = 10 * time.Second
	slower = 10 // times
	sure   = time.Second
)

// accelerator knows whether guests run on /dev/kvm: there are machines that
// have one on which every guest hangs, crawls, or finds no processor.
type accelerator struct {
	cache string // file that remembers

	mu   sync.Mutex
	have *verdict
}

type verdict struct {
	Boot string `json:"boot"` // of this machine, and what was tried there
	OK   bool   `json:"ok"`
	Why  string `json:"why,omitempty"`
}

// works reports whether it does and if not, why. The first answer takes up to
// a few seconds; it holds until the machine is started anew.
func (a *accelerator) works(ctx context.Context) (bool, string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	dev, err := os.Stat("/dev/kvm")
	if err != nil {
		return false, "there is no /dev/kvm"
	}
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	boot := strings.TrimSpace(string(id)) + " " + dev.ModTime().String()
	if a.have == nil {
		if data, err := os.ReadFile(a.cache); err == nil {
			v := &verdict{}
			if json.Unmarshal(data, v) == nil {
				a.have = v
			}
		}
	}
	if a.have != nil && a.have.Boot == boot {
		return a.have.OK, a.have.Why
	}
	err = tryKVM(ctx)
	if ctx.Err() != nil {
		return false, "it could not be tried"
	}
	a.have = &verdict{Boot: boot, OK: err == nil}
	if err != nil {
		a.have.Why = err.Error()
	}
	if data, err := json.Marshal(a.have); err == nil && os.MkdirAll(filepath.Dir(a.cache), 0o700) == nil {
		_ = os.WriteFile(a.cache, data, 0o600)
	}
	return a.have.OK, a.have.Why
}

// sector is a boot sector that tells QEMU to exit: mov dx,0xf4; mov al,0x10;
// out dx,al; hlt.
var sector = []byte{0xba, 0xf4, 0x00, 0xb0, 0x10, 0xee, 0xf4}

const exitCode = 0x10<<1 | 1

// tryKVM runs a guest on the processor that machines get.
func tryKVM(ctx context.Context) error {
	disk, err := os.CreateTemp("", "archetype-kvm")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(disk.Name()) }()
	image := make([]byte, 512)
	copy(image, sector)
	image[510], image[511] = 0x55, 0xaa
	_, err = disk.Write(image)
	if err := errors.Join(err, disk.Close()); err != nil {
		return err
	}
	emulated, err := try(ctx, trial, disk.Name(), "-accel", "tcg")
	if err != nil {
		return fmt.Errorf("an emulated guest: %w", err)
	}
	most := min(trial, slower*emulated+sure)
	_, err = try(ctx, most, disk.Name(), "-accel", "kvm", "-cpu", "host")
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("a guest on /dev/kvm hung for %s; emulated, it took %s", most.Round(time.Millisecond), emulated.Round(time.Millisecond))
	}
	if err != nil {
		return fmt.Errorf("a guest on /dev/kvm: %w", err)
	}
	return nil
}

// try boots a guest that ends itself and says how long that took.
func try(ctx context.Context, most time.Duration, disk string, how ...string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	begin := time.Now()
	out, err := exec.CommandContext(ctx, qemuProgram, append(how, "-m", "16", "-nodefaults", "-display", "none", "-no-reboot",
		"-device", "isa-debug-exit,iobase=0xf4,iosize=1", "-drive", "format=raw,if=ide,file="+disk)...).CombinedOutput()
	took := time.Since(begin)
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return took, ctx.Err()
	case errors.As(err, &exit) && exit.ExitCode() == exitCode:
		return took, nil
	case err == nil:
		return took, errors.New("it ended otherwise than it should")
	}
	return took, fmt.Errorf("%w: %s", err, strings.TrimSpace(string(out)))
}
