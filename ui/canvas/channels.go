package canvas

import "sort"

// mostTracks is how many rows lie between two rows of boxes at most; beyond
// it, lines share them.
const mostTracks = 48

// channels gives each row its place and each bend its line between rows.
func (r *router) channels() {
	y := 0
	top := make([]int, len(r.rows))
	for row := range r.rows {
		top[row] = y
		lanes := r.lanes[row]
		for i := range lanes {
			l := &lanes[i]
			if l.turn {
				l.from, l.to = r.below[end{l.chain, 0}], r.below[end{l.chain, 1}]
			} else {
				l.from, l.to = r.below[end{l.chain, l.step}], r.above[end{l.chain, l.step}]
			}
		}
		tracks := assign(lanes)
		gap := max(2, r.lead+tracks+r.tail)
		if row == len(r.rows)-1 {
			gap = 0
			if tracks > 0 {
				gap = r.lead + tracks
			}
		}
		y += r.boxH + gap
	}
	r.h = y
	for i, sp := range r.spots {
		if sp.node >= 0 {
			r.boxes[sp.node] = rect{r.left[i], top[sp.row], sp.w, r.boxH}
		}
	}
	r.trace(top)
}

func span(l lane) (lo, hi int) { return min(l.from, l.to), max(l.from, l.to) }

// assign gives lanes that bend each a track of their own where their spans
// meet, and returns how many tracks there are.
func assign(lanes []lane) int {
	var order []int
	from := map[int]int{} // the lane that comes down in a column
	for i, l := range lanes {
		from[l.from] = i
		if l.turn {
			from[l.to] = i
		}
		if l.from != l.to {
			order = append(order, i)
		}
	}
	sort.SliceStable(order, func(a, b int) bool {
		la, lb := lanes[order[a]], lanes[order[b]]
		loA, hiA := span(la)
		loB, hiB := span(lb)
		// What goes left takes the upper tracks from the left, what goes
		// right from the right: so few lines cross.
		if (la.to > la.from) != (lb.to > lb.from) {
			return la.to < la.from
		}
		if la.to < la.from {
			return loA < loB
		}
		return hiA > hiB
	})
	// A line that comes down where another arrives must turn off above it.
	above := func(i int) (int, bool) {
		l := lanes[i]
		j, ok := from[l.to]
		return j, ok && !l.turn && j != i && lanes[j].from != lanes[j].to
	}
	done := make([]bool, len(lanes))
	var used [][][2]int
	for len(order) > 0 {
		next := 0
		for k, i := range order {
			if j, ok := above(i); !ok || done[j] {
				next = k
				break
			}
		}
		i := order[next]
		order = append(order[:next], order[next+1:]...)
		t := 0
		if j, ok := above(i); ok && done[j] {
			t = lanes[j].track + 1
		}
		lo, hi := span(lanes[i])
		for t < len(used) && !free(used[t], lo, hi) {
			t++
		}
		if t >= mostTracks {
			t = i % mostTracks
		}
		for t >= len(used) {
			used = append(used, nil)
		}
		used[t] = append(used[t], [2]int{lo, hi})
		lanes[i].track, done[i] = t, true
	}
	return len(used)
}

func free(spans [][2]int, lo, hi int) bool {
	for _, u := range spans {
		if lo <= u[1]+1 && u[0] <= hi+1 {
			return false
		}
	}
	return true
}

// trace writes down the corners of every link.
func (r *router) trace(top []int) {
	bends := map[end]lane{}
	for _, lanes := range r.lanes {
		for _, l := range lanes {
			bends[end{l.chain, l.step}] = l
		}
	}
	for pair, ci := range r.beside {
		a, b := pair[0], pair[1]
		y := top[r.spots[a].row] + r.boxH/3
		k := r.chains[ci].link
		r.flip[k] = r.spots[a].node != r.ends[k][0]
		r.paths[k] = []point{{r.left[a] + r.spots[a].w - 1, y}, {r.left[b], y}}
	}
	for ci, c := range r.chains {
		if r.paths[c.link] != nil {
			continue
		}
		a, b := c.spots[0], c.spots[len(c.spots)-1]
		r.flip[c.link] = r.spots[a].node != r.ends[c.link][0]
		bottom := top[r.spots[a].row] + r.boxH - 1
		if r.spots[a].row == r.spots[b].row {
			l := bends[end{ci, 0}]
			y := bottom + 1 + r.lead + l.track
			r.paths[c.link] = []point{{l.from, bottom}, {l.from, y}, {l.to, y}, {l.to, bottom}}
			continue
		}
		var path []point
		for i := 1; i < len(c.spots); i++ {
			l := bends[end{ci, i}]
			row := r.spots[c.spots[i-1]].row
			y1, y2 := top[row]+r.boxH-1, top[row+1]
			if i > 1 {
				y1 = top[row]
			}
			path = append(path, point{l.from, y1})
			if l.from != l.to {
				y := min(top[row]+r.boxH+r.lead+l.track, y2-1)
				path = append(path, point{l.from, y}, point{l.to, y})
			}
			path = append(path, point{l.to, y2})
		}
		r.paths[c.link] = path
	}
}
