package canvas

import "sort"

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

// wrap breaks rows that are far wider than the whole is high: nodes with one
// cable are stacked below what they hang on, others are broken in groups.
func (p *plan) wrap(adj [][]int) {
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
		broken := make([][]int, parts)
		for i, s := range r {
			part := i * parts / len(r)
			if k, n, ok := p.hangs(r, s, adj); ok {
				part = k * parts / n
			}
			broken[part] = append(broken[part], s)
		}
		for _, row := range broken {
			if len(row) > 0 {
				rows = append(rows, row)
				p.layer = append(p.layer, layer)
			}
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

// hangs reports whether a spot of a row hangs on one node only, as the k-th of
// the n that do so in that row. In a row that holds others it is never so.
func (p *plan) hangs(row []int, s int, adj [][]int) (k, n int, ok bool) {
	parent := adj[p.spots[s].node][0]
	for _, o := range row {
		ns := adj[p.spots[o].node]
		if len(ns) != 1 {
			return 0, 0, false
		}
		if ns[0] == parent {
			if o == s {
				k = n
			}
			n++
		}
	}
	return k, n, true
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
