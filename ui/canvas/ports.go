package canvas

import "sort"

// attach notes which lines leave which spot, and where lanes are needed.
func (r *router) attach() {
	r.down, r.up = make([][]end, len(r.spots)), make([][]end, len(r.spots))
	r.lanes = make([][]lane, len(r.rows))
	r.beside = map[[2]int]int{}
	for ci, c := range r.chains {
		a, b := c.spots[0], c.spots[len(c.spots)-1]
		if r.spots[a].row == r.spots[b].row {
			if pair, ok := r.neighboursInRow(a, b); ok {
				if _, taken := r.beside[pair]; !taken {
					r.beside[pair] = ci
					continue
				}
			}
			r.down[a] = append(r.down[a], end{ci, 0})
			r.down[b] = append(r.down[b], end{ci, 1})
			row := r.spots[a].row
			r.lanes[row] = append(r.lanes[row], lane{chain: ci, turn: true})
			continue
		}
		for i := 1; i < len(c.spots); i++ {
			s, t := c.spots[i-1], c.spots[i]
			r.down[s] = append(r.down[s], end{ci, i})
			r.up[t] = append(r.up[t], end{ci, i})
			row := r.spots[s].row
			r.lanes[row] = append(r.lanes[row], lane{chain: ci, step: i})
		}
	}
}

// neighboursInRow returns two spots of a row from left to right, if nothing
// is between them.
func (r *router) neighboursInRow(a, b int) (pair [2]int, ok bool) {
	row := r.rows[r.spots[a].row]
	for i := 1; i < len(row); i++ {
		if (row[i-1] == a && row[i] == b) || (row[i-1] == b && row[i] == a) {
			return [2]int{row[i-1], row[i]}, true
		}
	}
	return pair, false
}

// slotOf is how many columns a line takes at a spot: itself, the name beside
// it, and one to spare so that it can be on an even or an odd column.
func (r *router) slotOf(s int, e end) int {
	if n := r.spots[s].node; r.tags && n >= 0 {
		return max(r.slot, r.tag(r.chains[e.chain].link, n)+3)
	}
	return r.slot
}

// portsWidth is how wide a box must be for all its lines.
func (r *router) portsWidth(s int) int {
	sum := func(ends []end) int {
		w := 2
		for _, e := range ends {
			w += r.slotOf(s, e)
		}
		return w
	}
	if len(r.down[s])+len(r.up[s]) == 0 {
		return 0
	}
	return max(sum(r.down[s]), sum(r.up[s]))
}

// between is the gap between two neighbours of a row: where a link joins
// them, the names of its interfaces stand in it.
func (r *router) between(a, b int) int {
	if r.spots[a].node < 0 || r.spots[b].node < 0 {
		return 1 // a line that passes by
	}
	ci, ok := r.beside[[2]int{a, b}]
	if !ok || !r.tags {
		return r.gap
	}
	k := r.chains[ci].link
	return max(r.gap, r.tag(k, r.spots[a].node)+r.tag(k, r.spots[b].node)+3)
}

// goal is the column that a line from a spot would like to be in.
func (r *router) goal(s int, e end) int {
	spots := r.chains[e.chain].spots
	if r.spots[spots[0]].row == r.spots[spots[len(spots)-1]].row {
		return r.centre(spots[1-e.step])
	}
	if spots[e.step] == s {
		return r.centre(spots[e.step-1])
	}
	return r.centre(spots[e.step])
}

// ports gives every line its column at the bottoms and tops of boxes, in the
// order of where it goes. What leaves a box downwards is in even columns and
// what comes in from above in odd ones: so no two lines share a column
// between two rows, and where lines touch, they cross.
func (r *router) ports() {
	r.below, r.above = map[end]int{}, map[end]int{}
	spread := func(lists [][]end, out map[end]int, parity int) {
		for s, ends := range lists {
			if len(ends) == 0 {
				continue
			}
			if r.spots[s].node < 0 {
				for _, e := range ends {
					out[e] = r.left[s]
				}
				continue
			}
			goal := make(map[end]int, len(ends))
			used := 0
			for _, e := range ends {
				goal[e] = r.goal(s, e)
				used += r.slotOf(s, e)
			}
			sort.SliceStable(ends, func(i, j int) bool { return goal[ends[i]] < goal[ends[j]] })
			spare := max(0, r.spots[s].w-2-used)
			x := r.left[s] + 1
			for i, e := range ends {
				share := spare * (2*i + 1) / (2 * len(ends)) // spread over the box
				at := x + share
				if c := r.centre(s); len(ends) == 1 && c+r.slotOf(s, e)-2 < r.left[s]+r.spots[s].w {
					at = c
				}
				if at&1 != parity {
					at++
				}
				out[e] = min(at, r.left[s]+r.spots[s].w-2)
				x += r.slotOf(s, e)
			}
		}
	}
	spread(r.down, r.below, 0)
	spread(r.up, r.above, 1)
	r.straighten()
}

// straighten moves a line's end under or over its other end, where the box
// is wide enough and the order of its lines stays.
func (r *router) straighten() {
	fits := func(s int, ends []end, at map[end]int, e end, x int) bool {
		if r.spots[s].node < 0 || x <= r.left[s] || x+r.slotOf(s, e)-2 >= r.left[s]+r.spots[s].w {
			return false
		}
		for i, o := range ends {
			if o != e {
				continue
			}
			if i > 0 && at[ends[i-1]]+r.slotOf(s, ends[i-1])-1 > x {
				return false
			}
			return i+1 == len(ends) || x+r.slotOf(s, e)-1 <= at[ends[i+1]]
		}
		return false
	}
	for ci, c := range r.chains {
		for i := 1; i < len(c.spots); i++ {
			s, t := c.spots[i-1], c.spots[i]
			if r.spots[s].row == r.spots[t].row {
				continue
			}
			e := end{ci, i}
			a, b := r.below[e], r.above[e]
			switch {
			case a == b:
			case fits(s, r.down[s], r.below, e, b):
				r.below[e] = b
			case fits(t, r.up[t], r.above, e, a):
				r.above[e] = a
			}
		}
	}
}
