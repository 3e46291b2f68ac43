package canvas

import (
	"sort"
	"strings"

	"archetype/engine/api"
)

// spot is a place in a row of the layout: a node, or a point that a link
// passes through on its way over the row.
type spot struct {
	node int // index of a node, -1 for a point of passage
	row  int
	col  float64 // in a track: its column
	x    float64 // centre, in columns of the scene
	w    int     // columns it takes
	next []int   // spots it is joined to in the row below
	prev []int   // and in the row above
}

// chain is a link as it was laid out: the spots it passes from end to end.
// Both ends may be in one row.
type chain struct {
	link  int
	spots []int
}

// noLinks is the layer of what is joined to nothing.
const noLinks = 1 << 20

// plan is a layout without sizes: rows of spots, and links between them.
type plan struct {
	nodes  int
	ends   [][2]int // of links, as indices of nodes
	adj    [][]int  // neighbours of each node
	names  []int    // how long each node's name is
	rowOf  []int    // of nodes
	rows   [][]int  // spots of each row, in order
	spots  []spot
	chains []chain
	of     []int // spot of each node
	layer  []int // of rows: wide layers take several
	track  bool  // columns are given
}

// newPlan lays a lab out: in layers where it has a top and a bottom, as a
// race track where it is a ring. It is the same every time.
func newPlan(l *api.Lab) *plan {
	p := &plan{nodes: len(l.Nodes)}
	index := make(map[string]int, len(l.Nodes))
	for i, n := range l.Nodes {
		index[n.Name] = i
		p.names = append(p.names, len(n.Name))
	}
	for _, k := range l.Links {
		a, okA := index[nodeOf(k.A)]
		b, okB := index[nodeOf(k.B)]
		if !okA || !okB {
			a, b = -1, -1
		}
		p.ends = append(p.ends, [2]int{a, b})
	}
	adj := make([][]int, p.nodes)
	for _, e := range p.ends {
		if e[0] >= 0 && e[0] != e[1] {
			adj[e[0]] = append(adj[e[0]], e[1])
			adj[e[1]] = append(adj[e[1]], e[0])
		}
	}
	p.adj = adj
	p.rowOf = make([]int, p.nodes)
	p.of = make([]int, p.nodes)
	for i := range p.of {
		p.of[i] = -1
	}
	var parts []*plan
	var single []int
	for _, members := range components(adj) {
		if len(members) == 1 {
			single = append(single, members[0])
			continue
		}
		part := &plan{nodes: p.nodes, ends: p.ends, names: p.names, rowOf: p.rowOf, of: p.of}
		part.component(members, adj)
		parts = append(parts, part)
	}
	p.track = len(parts) == 1 && parts[0].track
	p.join(parts, single)
	return p
}

func nodeOf(endpoint string) string {
	name, _, _ := strings.Cut(endpoint, ":")
	return name
}

func interfaceOf(endpoint string) string {
	_, name, _ := strings.Cut(endpoint, ":")
	return name
}

// components finds what hangs together, each part in the order of the file.
func components(adj [][]int) [][]int {
	seen := make([]bool, len(adj))
	var out [][]int
	for i := range adj {
		if seen[i] {
			continue
		}
		seen[i] = true
		part := []int{i}
		for j := 0; j < len(part); j++ {
			for _, k := range adj[part[j]] {
				if !seen[k] {
					seen[k] = true
					part = append(part, k)
				}
			}
		}
		sort.Ints(part)
		out = append(out, part)
	}
	return out
}

func (p *plan) component(members []int, adj [][]int) {
	if line, closed := lineOf(members, adj); line != nil {
		longest := 0
		for _, n := range line {
			longest = max(longest, p.names[n])
		}
		p.wind(line, closed, longest)
		return
	}
	p.layers(members, adj)
	// Once in whole layers, so that a layer that must be broken is broken
	// between groups; then again in the rows it became.
	p.passages(members)
	p.sweep()
	p.strip()
	p.wrap(adj)
	p.passages(members)
	p.sweep()
}

func (p *plan) addNode(n int) {
	p.of[n] = len(p.spots)
	p.spots = append(p.spots, spot{node: n, row: p.rowOf[n]})
	p.rows[p.rowOf[n]] = append(p.rows[p.rowOf[n]], p.of[n])
}

func (p *plan) neighbours() {
	for _, c := range p.chains {
		for i := 1; i < len(c.spots); i++ {
			a, b := c.spots[i-1], c.spots[i]
			if p.spots[a].row < p.spots[b].row {
				p.spots[a].next = append(p.spots[a].next, b)
				p.spots[b].prev = append(p.spots[b].prev, a)
			}
		}
	}
}

// join puts the parts side by side, the largest first, and what has no link
// in rows below.
func (p *plan) join(parts []*plan, single []int) {
	sort.SliceStable(parts, func(a, b int) bool { return len(parts[a].spots) > len(parts[b].spots) })
	for _, part := range parts {
		base := len(p.spots)
		for i := range part.spots {
			s := part.spots[i]
			s.next, s.prev = shifted(s.next, base), shifted(s.prev, base)
			if s.node >= 0 {
				p.of[s.node] = base + i
			}
			p.spots = append(p.spots, s)
		}
		for r, row := range part.rows {
			if r == len(p.rows) {
				p.rows = append(p.rows, nil)
				p.layer = append(p.layer, part.layer[r])
			}
			p.rows[r] = append(p.rows[r], shifted(row, base)...)
		}
		for _, c := range part.chains {
			p.chains = append(p.chains, chain{c.link, shifted(c.spots, base)})
		}
	}
	width := 8
	for _, r := range p.rows {
		width = max(width, len(r))
	}
	for width*width < len(single) {
		width++
	}
	for i, n := range single {
		if i%width == 0 {
			p.rows = append(p.rows, nil)
			p.layer = append(p.layer, noLinks)
		}
		p.rowOf[n] = len(p.rows) - 1
		p.addNode(n)
	}
}

func shifted(in []int, by int) []int {
	out := make([]int, len(in))
	for i, v := range in {
		out[i] = v + by
	}
	return out
}
