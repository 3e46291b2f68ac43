//go:build !amd64 && !arm64

package stub

func runner() (code []byte, machine uint16) { return nil, 0 }
