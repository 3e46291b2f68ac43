package gate

import (
	"encoding/binary"
	"os"
	"path/filepath"

	"archetype/backends/provider/netns/stub"
)

// The gate is an executable of one page: a Go program would take longer to
// start than all the rest of a container. Its parts have fixed places, which
// the code knows.
const (
	mainLen = 0x1a0 // more than the code has
	quitLen = 0x20

	quitAtImage = stub.CodeAt + mainLen // handler of signals
	actionAt    = 0x240                 // sigaction: handler, flags, restorer, mask
	pauseAt     = 0x260                 // timespec: seconds, nanoseconds
	addressLen  = 0x270
	messageLen  = 0x278
	addressAt   = 0x280 // sockaddr_un
	messageAt   = 0x2f0
	signalsAt   = 0x378 // bit n-1 for signal n
	imageLen    = 0x380
	answerAt    = 0x400 // read into: code, then text
	memoryLen   = answerAt + maxAnswer
	maxAnswer   = 4096
)

// notStarted is said when the kernel does not take the command that was found.
const notStarted = "archetype: the node's command cannot be started: it is for another processor, or its interpreter is missing\n"

// stopping are the signals that ask a process to end: HUP, INT, QUIT, TERM,
// and RTMIN+3, by which systemd is asked.
var stopping = []uint{1, 2, 3, 15, 37}

// image makes the executable.
func image() ([]byte, error) {
	gate, quit := code()
	if gate == nil {
		return nil, stub.ErrUnsupported
	}
	img := make([]byte, imageLen)
	copy(img[stub.CodeAt:], gate)
	copy(img[quitAtImage:], quit)
	le := binary.LittleEndian
	const restorer = 0x04000000 // SA_RESTORER, which this one needs not, but x86 wants
	le.PutUint64(img[actionAt:], stub.Base+quitAtImage)
	le.PutUint64(img[actionAt+8:], restorer)
	le.PutUint64(img[actionAt+16:], stub.Base+quitAtImage)
	le.PutUint64(img[pauseAt+8:], uint64(retry))
	path := Folder + "/" + Socket
	le.PutUint16(img[addressAt:], 1) // AF_UNIX
	copy(img[addressAt+2:], path)
	le.PutUint64(img[addressLen:], uint64(2+len(path)+1))
	copy(img[messageAt:signalsAt], notStarted)
	le.PutUint64(img[messageLen:], uint64(len(notStarted)))
	var signals uint64
	for _, s := range stopping {
		signals |= 1 << (s - 1)
	}
	le.PutUint64(img[signalsAt:], signals)
	return img, stub.Executable(img, memoryLen)
}

// Install writes the gate into the folder and returns its path.
func Install(folder string) (string, error) {
	img, err := image()
	if err != nil {
		return "", err
	}
	path := filepath.Join(folder, Program)
	if have, err := os.ReadFile(path); err == nil && string(have) == string(img) {
		return path, nil
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", err
	}
	out, err := os.CreateTemp(folder, "new-*")
	if err != nil {
		return "", err
	}
	defer os.Remove(out.Name()) // it has its name by then
	_, err = out.Write(img)
	if err == nil {
		err = out.Chmod(0o755)
	}
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(out.Name(), path)
	}
	return path, err
}
