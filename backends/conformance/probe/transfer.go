package probe

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"time"
)

// sink takes transfers and answers each with the checksum of what came.
func sink(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer func() { _ = c.Close() }()
			sum := sha256.New()
			if _, err := io.Copy(sum, c); err == nil {
				_, _ = c.Write(sum.Sum(nil))
			}
		}()
	}
}

// transfer sends that many bytes, each run others, and compares checksums.
func transfer(to string, size int64) (int64, error) {
	c, err := net.DialTimeout("tcp", net.JoinHostPort(to, strconv.Itoa(tcpPort)), 10*time.Second)
	if err != nil {
		return 0, err
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(maxWait)); err != nil {
		return 0, err
	}
	var seed [32]byte
	for i := range seed {
		seed[i] = byte(rand.Uint32())
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(c, sum), io.LimitReader(rand.NewChaCha8(seed), size))
	if err != nil {
		return n, err
	}
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return n, errors.New("not TCP")
	}
	if err := tcp.CloseWrite(); err != nil {
		return n, err
	}
	far, err := io.ReadAll(io.LimitReader(c, sha256.Size))
	if err != nil {
		return n, err
	}
	if !bytes.Equal(far, sum.Sum(nil)) {
		return n, fmt.Errorf("%d bytes arrived as others than were sent", n)
	}
	return n, nil
}
