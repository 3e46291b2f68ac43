package store

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
)

// Every value is stored behind a checksum over it and its key: the file's own
// checksums cover its head only, and a record with a bit turned must not be
// taken for the truth.

const sealSize = 4

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(k, data []byte) uint32 {
	return crc32.Update(crc32.Checksum(k, castagnoli), castagnoli, data)
}

func seal(k, data []byte) []byte {
	return append(binary.BigEndian.AppendUint32(make([]byte, 0, sealSize+len(data)), checksum(k, data)), data...)
}

func unseal(k, v []byte) ([]byte, error) {
	if len(v) < sealSize || binary.BigEndian.Uint32(v) != checksum(k, v[sealSize:]) {
		return nil, fmt.Errorf("%w: record %q has changed since it was written", ErrCorrupt, k)
	}
	return v[sealSize:], nil
}

// decode reads a record as put wrote it.
func decode(k, v []byte, to any) error {
	data, err := unseal(k, v)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, to); err != nil {
		return fmt.Errorf("%w: record %q: %w", ErrCorrupt, k, err)
	}
	return nil
}
