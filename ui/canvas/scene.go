package canvas

import (
	"sort"
)

// Level is how closely the scene is looked at.
type Level int

// The levels, from far to near.
const (
	Overview Level = iota // a cell per node
	Normal                // a box with the node's name
	Detail                // and kind, state and the interfaces' names
)

type point struct{ x, y int }

type rect struct{ x, y, w, h int }

func (r rect) has(x, y int) bool { return x >= r.x && x < r.x+r.w && y >= r.y && y < r.y+r.h }

// scene is a plan in columns and rows of the screen.
type scene struct {
	level Level
	w, h  int
	boxes []rect    // by node
	paths [][]point // by link: corners of its line, from one end to the other
	flip  []bool    // by link: the path begins at end B
}

const maxTracks = 12

func (p *plan) scene(level Level, width func(node int) int) *scene {
	s := &scene{level: level, boxes: make([]rect, p.nodes), paths: make([][]point, len(p.ends)), flip: make([]bool, len(p.ends))}
	boxH, minGap, gap := 3, 2, 4
	if level == Detail {
		boxH, minGap, gap = 4, 4, 8
	}
	p.places(width, gap)
	r := &router{plan: p, scene: s, boxH: boxH, minGap: minGap}
	r.columns()
	r.ports()
	r.channels()
	return s
}

// router turns chains of spots into lines of right angles.
type router struct {
	*plan
	*scene
	boxH, minGap int
	left         []int // by spot: its first column
	below, above map[[2]int]int
	lanes        [][]lane // by the row they are below
}

// lane is a piece of a link between two rows, or below one.
type lane struct {
	chain, step int
	from, to    int // columns
	turn        bool
	track       int
}

func (r *router) columns() {
	low := 0.0
	for i, sp := range r.spots {
		if x := sp.x - float64(sp.w)/2; i == 0 || x < low {
			low = x
		}
	}
	r.left = make([]int, len(r.spots))
	for i, sp := range r.spots {
		r.left[i] = int(sp.x-float64(sp.w)/2-low+0.5) + 1
		r.w = max(r.w, r.left[i]+sp.w+1)
	}
	// Rounding may have pushed neighbours together.
	for _, row := range r.rows {
		for i := 1; i < len(row); i++ {
			a, b := row[i-1], row[i]
			r.left[b] = max(r.left[b], r.left[a]+r.spots[a].w+1)
			r.w = max(r.w, r.left[b]+r.spots[b].w+1)
		}
	}
}

func (r *router) centre(s int) int { return r.left[s] + r.spots[s].w/2 }

// side reports whether a chain is a straight line between two neighbours of
// one row.
func (r *router) side(c chain, taken map[[2]int]bool) bool {
	a, b := c.spots[0], c.spots[len(c.spots)-1]
	if r.spots[a].row != r.spots[b].row {
		return false
	}
	row := r.rows[r.spots[a].row]
	for i := 1; i < len(row); i++ {
		if (row[i-1] == a && row[i] == b) || (row[i-1] == b && row[i] == a) {
			k := [2]int{row[i-1], row[i]}
			if !taken[k] {
				taken[k] = true
				return true
			}
		}
	}
	return false
}

// ports gives every link its columns at the bottoms and tops of boxes, in
// the order of where it goes.
func (r *router) ports() {
	r.below, r.above = map[[2]int]int{}, map[[2]int]int{}
	type end struct{ chain, step, towards int }
	down, up := make([][]end, len(r.spots)), make([][]end, len(r.spots))
	taken := map[[2]int]bool{}
	r.lanes = make([][]lane, len(r.rows))
	for ci, c := range r.chains {
		a, b := c.spots[0], c.spots[len(c.spots)-1]
		if r.spots[a].row == r.spots[b].row {
			if r.side(c, taken) {
				r.paths[c.link] = []point{{-1, -1}} // drawn once the rows are known
				continue
			}
			down[a] = append(down[a], end{ci, 0, r.centre(b)})
			down[b] = append(down[b], end{ci, 1, r.centre(a)})
			row := r.spots[a].row
			r.lanes[row] = append(r.lanes[row], lane{chain: ci, turn: true})
			continue
		}
		for i := 1; i < len(c.spots); i++ {
			s, t := c.spots[i-1], c.spots[i]
			down[s] = append(down[s], end{ci, i, r.centre(t)})
			up[t] = append(up[t], end{ci, i, r.centre(s)})
			row := r.spots[s].row
			r.lanes[row] = append(r.lanes[row], lane{chain: ci, step: i})
		}
	}
	spread := func(lists [][]end, out map[[2]int]int) {
		for s, ends := range lists {
			sort.SliceStable(ends, func(i, j int) bool { return ends[i].towards < ends[j].towards })
			room := max(1, r.spots[s].w-2)
			first := r.left[s] + (r.spots[s].w-room)/2
			for i, e := range ends {
				x := first + (2*i+1)*room/(2*len(ends))
				if len(ends) == 1 && e.towards >= first && e.towards < first+room {
					x = e.towards // a straight line
				}
				out[[2]int{e.chain, e.step*len(r.spots) + s}] = x
			}
		}
	}
	spread(down, r.below)
	spread(up, r.above)
	r.straighten(func(s int) int { return len(down[s]) }, func(s int) int { return len(up[s]) })
}

// straighten moves a lone port under the one it goes to, where the box is
// wide enough.
func (r *router) straighten(downs, ups func(s int) int) {
	for ci, c := range r.chains {
		for i := 1; i < len(c.spots); i++ {
			s, t := c.spots[i-1], c.spots[i]
			if r.spots[s].row == r.spots[t].row {
				continue
			}
			ka, kb := [2]int{ci, i*len(r.spots) + s}, [2]int{ci, i*len(r.spots) + t}
			a, b := r.below[ka], r.above[kb]
			inside := func(s, x int) bool {
				return r.spots[s].w > 2 && x > r.left[s] && x < r.left[s]+r.spots[s].w-1
			}
			switch {
			case a == b:
			case downs(s) == 1 && inside(s, b):
				r.below[ka] = b
			case ups(t) == 1 && inside(t, a):
				r.above[kb] = a
			}
		}
	}
}

// channels gives each row its place and each bend its line between rows.
func (r *router) channels() {
	y := 0
	top := make([]int, len(r.rows))
	for row := range r.rows {
		top[row] = y
		lanes := r.lanes[row]
		for i := range lanes {
			l := &lanes[i]
			c := r.chains[l.chain]
			if l.turn {
				a, b := c.spots[0], c.spots[len(c.spots)-1]
				l.from, l.to = r.below[[2]int{l.chain, a}], r.below[[2]int{l.chain, len(r.spots) + b}]
			} else {
				s, t := c.spots[l.step-1], c.spots[l.step]
				l.from = r.below[[2]int{l.chain, l.step*len(r.spots) + s}]
				l.to = r.above[[2]int{l.chain, l.step*len(r.spots) + t}]
			}
		}
		tracks := assign(lanes)
		gap := max(r.minGap, tracks+1)
		if row == len(r.rows)-1 {
			gap = 0
			if tracks > 0 {
				gap = tracks
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

// assign gives lanes that bend each a track of their own where their spans
// meet, and returns how many tracks there are.
func assign(lanes []lane) int {
	order := make([]int, 0, len(lanes))
	for i := range lanes {
		if lanes[i].from != lanes[i].to {
			order = append(order, i)
		}
	}
	span := func(l lane) (int, int) { return min(l.from, l.to), max(l.from, l.to) }
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
	var used [][][2]int
	for _, i := range order {
		lo, hi := span(lanes[i])
		t := 0
		for ; t < len(used); t++ {
			free := true
			for _, u := range used[t] {
				if lo <= u[1]+1 && u[0] <= hi+1 {
					free = false
					break
				}
			}
			if free {
				break
			}
		}
		if t >= maxTracks {
			t = i % maxTracks
		}
		if t == len(used) {
			used = append(used, nil)
		}
		used[t] = append(used[t], [2]int{lo, hi})
		lanes[i].track = t
	}
	return len(used)
}

// trace writes down the corners of every link.
func (r *router) trace(top []int) {
	bends := map[[2]int]lane{}
	for _, lanes := range r.lanes {
		for _, l := range lanes {
			bends[[2]int{l.chain, l.step}] = l
		}
	}
	for ci, c := range r.chains {
		a, b := c.spots[0], c.spots[len(c.spots)-1]
		r.flip[c.link] = r.spots[a].node != r.ends[c.link][0]
		rowA := r.spots[a].row
		bottom := top[rowA] + r.boxH - 1
		if rowA == r.spots[b].row {
			if r.paths[c.link] != nil {
				x1, x2 := r.left[a]+r.spots[a].w-1, r.left[b]
				if r.left[a] > r.left[b] {
					x1, x2 = r.left[a], r.left[b]+r.spots[b].w-1
				}
				y := top[rowA] + 1
				r.paths[c.link] = []point{{x1, y}, {x2, y}}
				continue
			}
			l := bends[[2]int{ci, 0}]
			y := bottom + 1 + l.track
			r.paths[c.link] = []point{{l.from, bottom}, {l.from, y}, {l.to, y}, {l.to, bottom}}
			continue
		}
		var path []point
		for i := 1; i < len(c.spots); i++ {
			l := bends[[2]int{ci, i}]
			row := r.spots[c.spots[i-1]].row
			y1, y2 := top[row]+r.boxH-1, top[row+1]
			if i > 1 {
				y1 = top[row]
			}
			path = append(path, point{l.from, y1})
			if l.from != l.to {
				y := min(top[row]+r.boxH+l.track, y2-1)
				path = append(path, point{l.from, y}, point{l.to, y})
			}
			path = append(path, point{l.to, y2})
		}
		r.paths[c.link] = path
	}
}
