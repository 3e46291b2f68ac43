package nsnet_test

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"archetype/backends"
	"archetype/backends/network/nsnet"
	"archetype/internal/nstest"
	"archetype/internal/packets"
)

// Who does not take what is captured is told how much was lost, also when
// nothing comes any more: each frame was either captured or counted.
func TestWhatACaptureLosesIsCounted(t *testing.T) {
	a, b := nstest.New(t), nstest.New(t)
	nstest.Cable(a, "eth1", "192.0.2.1/24", b, "eth1", "192.0.2.2/24", 1500)
	stream, err := nsnet.Ports{}.Capture(t.Context(), backends.Port{Attachment: a.Attachment("eth1")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stream.Close() }()
	const sent = 40000
	if err := blast(a, sent); err != nil {
		t.Fatal(err)
	}
	r, err := packets.NewReader(stream)
	if err != nil {
		t.Fatal(err)
	}
	seen, lost := 0, 0
	for seen+lost < sent {
		info, data, err := r.Frame()
		if err != nil {
			t.Fatalf("%d seen and %d lost of %d, and then %v", seen, lost, sent, err)
		}
		if len(data) == 0 {
			lost += info.Length
		} else {
			seen++
		}
	}
	if lost == 0 {
		t.Errorf("%d frames were kept for nobody", seen)
	}
}

// blast sends so many frames by a namespace's eth1.
func blast(n *nstest.NS, count int) error {
	l, err := n.LinkByName("eth1")
	if err != nil {
		return err
	}
	return n.Do(func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(fd) }()
		frame := make([]byte, 1000)
		copy(frame, []byte{255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 9, 0x88, 0xb5})
		to := &unix.SockaddrLinklayer{Ifindex: l.Attrs().Index, Halen: 6}
		for range count {
			if err := unix.Sendto(fd, frame, 0, to); err != nil && !errors.Is(err, unix.ENOBUFS) {
				return err
			}
		}
		return nil
	})
}
