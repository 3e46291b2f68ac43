//go:build !fault

package ui

func (m *Model) fault(string) {}
