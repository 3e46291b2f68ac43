// Package fetched finds what scripts/test-setup fetched for the tests.
package fetched

import (
	"errors"
	"os"
	"path/filepath"
)

// Dir is the folder of that name among what was fetched, there or not.
func Dir(name string) (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, ".build", name), nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("not within the sources")
		}
		dir = up
	}
}
