// Command sshserver stands in, in guests of tests alone, for a device's SSH: it
// lets one user in by a password and runs commands in the guest's shell.
package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"

	"golang.org/x/crypto/ssh"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: sshserver ADDRESS USER PASSWORD")
		os.Exit(2)
	}
	fmt.Println("ssh server:", serve(os.Args[1], os.Args[2], os.Args[3]))
}

func serve(address, user, password string) error {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		return err
	}
	cfg := &ssh.ServerConfig{PasswordCallback: func(c ssh.ConnMetadata, given []byte) (*ssh.Permissions, error) {
		if c.User() == user && string(given) == password {
			return nil, nil
		}
		return nil, errors.New("wrong user or password")
	}}
	cfg.AddHostKey(signer)
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go connection(c, cfg)
	}
}

func connection(c net.Conn, cfg *ssh.ServerConfig) {
	_, channels, requests, err := ssh.NewServerConn(c, cfg)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for n := range channels {
		if n.ChannelType() != "session" {
			_ = n.Reject(ssh.UnknownChannelType, "only sessions")
			continue
		}
		ch, reqs, err := n.Accept()
		if err != nil {
			return
		}
		go session(ch, reqs)
	}
}

// session runs the one command that is asked for.
func session(ch ssh.Channel, reqs <-chan *ssh.Request) {
	for r := range reqs {
		var exe struct{ Command string }
		if r.Type != "exec" || ssh.Unmarshal(r.Payload, &exe) != nil {
			_ = r.Reply(false, nil)
			continue
		}
		_ = r.Reply(true, nil)
		cmd := exec.Command("sh", "-c", exe.Command) //nolint:gosec // that is what it is for
		cmd.Stdout, cmd.Stderr = ch, ch.Stderr()
		in, err := cmd.StdinPipe()
		if err == nil {
			go func() {
				buf := make([]byte, 4096)
				for {
					n, err := ch.Read(buf)
					if _, werr := in.Write(buf[:n]); err != nil || werr != nil {
						_ = in.Close()
						return
					}
				}
			}()
			err = cmd.Run()
		}
		code := uint32(0)
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			code = uint32(exit.ExitCode()) //nolint:gosec // a shell's
		} else if err != nil {
			code = 255
		}
		_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{code}))
		_ = ch.Close()
	}
}
