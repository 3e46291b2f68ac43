package topology

import (
	"fmt"
	"slices"
)

// CheckNodeName says what is wrong with a name for a node.
func CheckNodeName(name string) error {
	if len(name) > maxHostName || !hostName.MatchString(name) {
		return fmt.Errorf("node name %q cannot be a host name: use up to %d letters, digits, '-', '_' and '.', beginning and ending with a letter or digit", name, maxHostName)
	}
	if slices.Contains(special, name) {
		return fmt.Errorf("node name %q has a meaning of its own in links", name)
	}
	return nil
}

// IsLabName reports whether a lab may be called so.
func IsLabName(name string) bool { return labName.MatchString(name) }

// CheckInterface returns the kernel's name of an interface of a node of the
// kind given, and says what is wrong with one that cannot be. kinds may be nil.
func CheckInterface(kinds Kinds, kind, ifc string) (string, error) {
	kernel := ifc
	if kinds != nil {
		var err error
		if kernel, err = kinds.Interface(kind, ifc); err != nil {
			return "", err
		}
	}
	if problem := interfaceName(kernel); problem != "" {
		return "", fmt.Errorf("interface name %q %s", kernel, problem)
	}
	return kernel, nil
}
