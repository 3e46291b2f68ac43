package main

import (
	"fmt"
	"os"
	"strings"
)

// shorten puts the short form of a file's table into another file.
func shorten(from, into string) error {
	if into == "" {
		return nil
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return write(into, short(string(data)))
}

// short is the table of a text with each pair in one cell, by provider and
// network: how many of its cases pass.
func short(text string) string {
	_, rest, _ := strings.Cut(text, tableBegins)
	table, _, _ := strings.Cut(rest, tableEnds)
	var pairs []string
	passed, cases := map[string]int{}, 0
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) < 2 || strings.HasPrefix(strings.TrimSpace(cells[0]), "---") {
			continue
		}
		if pairs == nil {
			pairs = cells
			continue
		}
		cases++
		for i, cell := range cells[:min(len(cells), len(pairs))] {
			if strings.TrimSpace(cell) == "pass" {
				passed[strings.TrimSpace(pairs[i])]++
			}
		}
	}
	if cases == 0 {
		return ""
	}
	var providers, networks []string
	seen := map[string]bool{}
	add := func(list *[]string, name string) {
		if !seen[name] {
			seen[name] = true
			*list = append(*list, name)
		}
	}
	for _, pair := range pairs[1:] {
		provider, network, _ := strings.Cut(strings.TrimSpace(pair), " × ")
		add(&providers, provider)
		add(&networks, network)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "| %d cases | %s |\n|%s\n", cases, strings.Join(networks, " | "), strings.Repeat(" --- |", len(networks)+1))
	for _, p := range providers {
		fmt.Fprintf(&b, "| %s |", p)
		for _, n := range networks {
			fmt.Fprintf(&b, " %d pass |", passed[p+" × "+n])
		}
		b.WriteByte('\n')
	}
	return b.String()
}
