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

// plan is a layout without sizes: rows of spots, and links between them.
type plan struct {
	nodes  int
	ends   [][2]int // of links, as indices of nodes
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
		part := &plan{nodes: p.nodes, ends: p.ends, rowOf: p.rowOf, of: p.of}
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
		p.wind(line, closed)
		return
	}
	p.layers(members, adj)
	// Once in whole layers, so that a layer that must be broken is broken
	// between groups; then again in the rows it became.
	p.passages(members)
	p.sweep()
	p.strip()
	p.wrap()
	p.passages(members)
	p.sweep()
}

// strip takes the points of passage out again.
func (p *plan) strip() {
	p.chains = nil
	n := 0
	for ; n < len(p.spots) && p.spots[n].node >= 0; n++ {
		p.spots[n].next, p.spots[n].prev = nil, nil
	}
	p.spots = p.spots[:n]
	for i, r := range p.rows {
		keep := r[:0]
		for _, s := range r {
			if s < n {
				keep = append(keep, s)
			}
		}
		p.rows[i] = keep
	}
}

// lineOf returns the members in the order of the line or ring they form, nil
// when they form none.
func lineOf(members []int, adj [][]int) (line []int, closed bool) {
	if len(members) < 3 {
		return nil, false
	}
	start, ends := members[0], 0
	for _, m := range members {
		switch {
		case len(adj[m]) == 1:
			if ends == 0 {
				start = m
			}
			ends++
		case len(adj[m]) != 2 || adj[m][0] == adj[m][1]:
			return nil, false
		}
	}
	if ends == 0 && len(members) < 4 {
		return nil, false // a triangle looks best as one
	}
	line = []int{start}
	before, at := -1, start
	for len(line) < len(members) {
		next := adj[at][0]
		if next == before && len(adj[at]) > 1 {
			next = adj[at][1]
		}
		line = append(line, next)
		before, at = at, next
	}
	return line, ends == 0
}

// wind lays a line or a ring out in rows that go to and fro. A ring has an
// even number of rows, so that its ends meet at the left.
func (p *plan) wind(line []int, closed bool) {
	p.track = true
	n := len(line)
	rows, width := 1, n
	switch {
	case closed && n <= 16:
		rows, width = 2, (n+1)/2
	case closed:
		for rows = 2; rows*rows*5/2 < n; rows += 2 { // a cell is higher than wide
		}
		width = (n-2+rows-1)/rows + 1
	case n > 8:
		for rows = 2; rows*rows*5/2 < n; rows++ {
		}
		width = (n + rows - 1) / rows
	}
	p.rows = make([][]int, rows)
	for i, next := 0, 0; i < rows; i++ {
		take := width
		if closed && rows > 2 && i > 0 && i < rows-1 {
			take-- // the way back passes at the left
		}
		take = min(take, n-next)
		if i == rows-1 {
			take = n - next
		}
		for j := range take {
			node := line[next+j]
			p.rowOf[node] = i
			p.addNode(node)
			col := float64(j)
			if i%2 == 1 {
				col = float64(width - 1 - j)
				if closed && i == rows-1 && take > 1 { // from the right end to the left
					col = float64(width-1) * (1 - float64(j)/float64(take-1))
				}
			} else if closed && i > 0 {
				col++
			}
			p.spots[p.of[node]].col = col
		}
		next += take
		if i%2 == 1 {
			row := p.rows[i]
			for a, b := 0, len(row)-1; a < b; a, b = a+1, b-1 {
				row[a], row[b] = row[b], row[a]
			}
		}
	}
	p.layer = make([]int, rows)
	for i := range p.layer {
		p.layer[i] = i
	}
	p.passagesAt(line, true)
	p.neighbours()
}

func (p *plan) addNode(n int) {
	p.of[n] = len(p.spots)
	p.spots = append(p.spots, spot{node: n, row: p.rowOf[n]})
	p.rows[p.rowOf[n]] = append(p.rows[p.rowOf[n]], p.of[n])
}

// layers finds each node's row. Nodes with one cable are the bottom, and the
// others stand as high as they are far from it; where there are none, the
// nodes with the most cables are the top.
func (p *plan) layers(members []int, adj [][]int) {
	dist := make(map[int]int, len(members))
	var queue []int
	leaves := 0
	most := 0
	for _, m := range members {
		most = max(most, degree(adj[m]))
		if degree(adj[m]) == 1 {
			leaves++
		}
	}
	fromBottom := leaves > 0 && len(members) > 2
	for _, m := range members {
		d := degree(adj[m])
		if (fromBottom && d == 1) || (!fromBottom && d == most) {
			dist[m] = 0
			queue = append(queue, m)
		}
	}
	if !fromBottom && len(queue) == len(members) { // all alike: begin at one
		clear(dist)
		queue = members[:1:1]
		dist[members[0]] = 0
	}
	deepest := 0
	for i := 0; i < len(queue); i++ {
		for _, k := range adj[queue[i]] {
			if _, ok := dist[k]; !ok {
				dist[k] = dist[queue[i]] + 1
				deepest = max(deepest, dist[k])
				queue = append(queue, k)
			}
		}
	}
	for _, m := range members {
		p.rowOf[m] = dist[m]
		if fromBottom {
			p.rowOf[m] = deepest - dist[m]
		}
	}
	p.rows = make([][]int, deepest+1)
	for _, m := range members {
		p.addNode(m)
	}
}

func degree(neighbours []int) int {
	seen := map[int]bool{}
	for _, n := range neighbours {
		seen[n] = true
	}
	return len(seen)
}

// wrap breaks rows that are far wider than the whole is high.
func (p *plan) wrap() {
	total := 0
	for _, r := range p.rows {
		total += len(r)
	}
	limit := 8
	for limit*limit < 3*total {
		limit++
	}
	var rows [][]int
	p.layer = nil
	for layer, r := range p.rows {
		parts := (len(r) + limit - 1) / limit
		for i := range parts {
			lo, hi := i*len(r)/parts, (i+1)*len(r)/parts
			rows = append(rows, append([]int(nil), r[lo:hi]...))
			p.layer = append(p.layer, layer)
		}
	}
	p.rows = rows
	for i, r := range rows {
		for _, s := range r {
			p.spots[s].row = i
			p.rowOf[p.spots[s].node] = i
		}
	}
}

func (p *plan) passages(members []int) { p.passagesAt(members, false) }

// passagesAt gives links that pass over rows a place in each of them.
func (p *plan) passagesAt(members []int, left bool) {
	mine := make(map[int]bool, len(members))
	for _, m := range members {
		mine[m] = true
	}
	for i, e := range p.ends {
		if e[0] < 0 || e[0] == e[1] || !mine[e[0]] {
			continue
		}
		a, b := e[0], e[1]
		if p.rowOf[a] > p.rowOf[b] {
			a, b = b, a
		}
		c := chain{link: i, spots: []int{p.of[a]}}
		for r := p.rowOf[a] + 1; r < p.rowOf[b]; r++ {
			s := len(p.spots)
			p.spots = append(p.spots, spot{node: -1, row: r})
			if left {
				p.rows[r] = append([]int{s}, p.rows[r]...)
			} else {
				p.rows[r] = append(p.rows[r], s)
			}
			c.spots = append(c.spots, s)
		}
		c.spots = append(c.spots, p.of[b])
		p.chains = append(p.chains, c)
	}
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

// sweep orders each row by the places of what it is joined to, down and up
// again, and keeps the order with the fewest crossings.
func (p *plan) sweep() {
	p.neighbours()
	pos := make([]int, len(p.spots))
	place := func() {
		for _, r := range p.rows {
			for i, s := range r {
				pos[s] = i
			}
		}
	}
	place()
	best, fewest := p.order(), p.crossings(pos)
	for round := 0; round < 12 && fewest > 0; round++ {
		for i := range p.rows {
			r, from := i, func(s *spot) []int { return s.prev }
			if round%2 == 1 {
				r, from = len(p.rows)-1-i, func(s *spot) []int { return s.next }
			}
			key := make(map[int]float64, len(p.rows[r]))
			for j, s := range p.rows[r] {
				key[s] = float64(j)
				if n := from(&p.spots[s]); len(n) > 0 {
					sum := 0
					for _, k := range n {
						sum += pos[k]
					}
					// Rows differ in length: compare places by their share.
					width := len(p.rows[p.spots[n[0]].row])
					key[s] = (float64(sum)/float64(len(n)) + 0.5) / float64(width) * float64(len(p.rows[r]))
				}
			}
			sort.SliceStable(p.rows[r], func(a, b int) bool { return key[p.rows[r][a]] < key[p.rows[r][b]] })
			for j, s := range p.rows[r] {
				pos[s] = j
			}
		}
		if c := p.crossings(pos); c < fewest {
			best, fewest = p.order(), c
		}
	}
	p.rows = best
}

func (p *plan) order() [][]int {
	out := make([][]int, len(p.rows))
	for i, r := range p.rows {
		out[i] = append([]int(nil), r...)
	}
	return out
}

// crossings counts links that cross between neighbouring rows, up to a bound
// beyond which it does not matter.
func (p *plan) crossings(pos []int) int {
	const enough = 1 << 20
	n := 0
	for _, row := range p.rows {
		var ends [][2]int
		for _, s := range row {
			for _, t := range p.spots[s].next {
				ends = append(ends, [2]int{pos[s], pos[t]})
			}
		}
		if len(ends) > 2000 {
			continue
		}
		for i, a := range ends {
			for _, b := range ends[:i] {
				if (a[0]-b[0])*(a[1]-b[1]) < 0 {
					n++
				}
			}
		}
		if n > enough {
			return n
		}
	}
	return n
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
			p.layer = append(p.layer, 1<<20)
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

// places gives every spot of width w its centre: near what it is joined to,
// in the order of its row, with a gap between.
func (p *plan) places(width func(node int) int, gap int) {
	sep := func(a, b int) float64 {
		return float64(p.spots[a].w+p.spots[b].w)/2 + float64(gap)
	}
	for i := range p.spots {
		p.spots[i].w = 1
		if n := p.spots[i].node; n >= 0 {
			p.spots[i].w = width(n)
		}
	}
	for _, row := range p.rows {
		x := 0.0
		for i, s := range row {
			if i > 0 {
				x += sep(row[i-1], s)
			}
			p.spots[s].x = x
		}
		for _, s := range row { // centred
			p.spots[s].x -= x / 2
		}
	}
	if p.track {
		p.columns(gap)
		return
	}
	for round := range 24 {
		for i := range p.rows {
			r := i
			if round%2 == 1 {
				r = len(p.rows) - 1 - i
			}
			p.settle(p.rows[r], sep)
		}
	}
}

// columns gives the spots of a track the places they were laid out in.
func (p *plan) columns(gap int) {
	pitch, last := 1, 0.0
	for _, s := range p.spots {
		pitch = max(pitch, s.w+gap)
		last = max(last, s.col)
	}
	for _, c := range p.chains {
		for _, k := range c.spots {
			p.spots[k].x = (p.spots[k].col - last/2) * float64(pitch)
		}
	}
}

// settle moves the spots of a row to where they would like to be, as nearly
// as their order and the gaps allow: an isotonic regression.
func (p *plan) settle(row []int, sep func(a, b int) float64) {
	type block struct {
		sum  float64
		n    float64
		from int
	}
	offset := make([]float64, len(row))
	var blocks []block
	for i, s := range row {
		if i > 0 {
			offset[i] = offset[i-1] + sep(row[i-1], s)
		}
		sp := &p.spots[s]
		want, n := 0.0, 0
		for _, list := range [][]int{sp.prev, sp.next} {
			for _, k := range list {
				want += p.spots[k].x
				n++
			}
		}
		if n == 0 {
			want, n = sp.x, 1
		}
		b := block{want/float64(n) - offset[i], 1, i}
		for len(blocks) > 0 && blocks[len(blocks)-1].sum/blocks[len(blocks)-1].n >= b.sum/b.n {
			last := blocks[len(blocks)-1]
			blocks = blocks[:len(blocks)-1]
			b = block{last.sum + b.sum, last.n + b.n, last.from}
		}
		blocks = append(blocks, b)
	}
	for i, b := range blocks {
		to := len(row)
		if i+1 < len(blocks) {
			to = blocks[i+1].from
		}
		for j := b.from; j < to; j++ {
			p.spots[row[j]].x = b.sum/b.n + offset[j]
		}
	}
}
