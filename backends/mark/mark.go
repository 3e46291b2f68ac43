// Package mark is how an interface on a machine says that it is ours: its alias.
package mark

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// Mark is what an interface says of itself.
type Mark struct {
	Use string // a word that tells its use; empty for a node's end of a link
	// Owner is the Archetype that it belongs to, where others may have theirs
	// beside it. In a namespace that only one has it is empty, and so it is in
	// the marks of versions that did not name it.
	Owner string
	Lab   string
	ID    string // of what it stands for in the lab
}

const head = "archetype"

// String is the alias: archetype[-use][@owner]:lab:id.
func (m Mark) String() string {
	s := head
	if m.Use != "" {
		s += "-" + m.Use
	}
	if m.Owner != "" {
		s += "@" + m.Owner
	}
	return s + ":" + m.Lab + ":" + m.ID
}

// Of is the mark of a node's end of a link.
func Of(owner, labName, id string) Mark { return Mark{Owner: owner, Lab: labName, ID: id} }

// Parse reads an alias; it is not ok when that is no mark of ours.
func Parse(alias string) (m Mark, ok bool) {
	first, rest, ok := strings.Cut(alias, ":")
	if !ok {
		return Mark{}, false
	}
	if m.Lab, m.ID, ok = strings.Cut(rest, ":"); !ok {
		return Mark{}, false
	}
	first, m.Owner, _ = strings.Cut(first, "@")
	first, m.Use, _ = strings.Cut(first, "-")
	if first != head {
		return Mark{}, false
	}
	return m, true
}

// trial begins the names of interfaces by which it is tried what a kernel can
// do. They belong to no lab, and one that a killed engine left is in nobody's
// way.
const trial = head + "-"

// Trial is the name of such an interface; what is at most 5 characters long.
func Trial(what string) string { return trial + what }

// IsTrial reports whether an interface of that name is one.
func IsTrial(name string) bool { return strings.HasPrefix(name, trial) }

// Admits reports whether what bears the mark may be the owner's.
func (m Mark) Admits(owner string) bool { return m.Owner == "" || m.Owner == owner }

// Owner is the short name of the Archetype whose folder is given.
func Owner(folder string) string {
	sum := sha256.Sum256([]byte(folder))
	return hex.EncodeToString(sum[:4])
}
