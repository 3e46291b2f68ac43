package canvas

import (
	"math"
	"sort"
)

// The most that layers and nodes are drawn apart in the overview, where there
// is room, and the width from which on a name counts as long.
const (
	layersApart = 12
	nodesApart  = 6
	longName    = 24
)

// overview places every node in a cell of its own, layer by layer, and takes
// the view as far as that helps: what is drawn wide has names, and lines that
// can be told apart.
func (p *plan) overview(w, h int) *scene {
	name := 0
	for _, n := range p.names {
		name = max(name, min(n, longName))
	}
	s := &scene{level: Overview, boxes: make([]rect, p.nodes), paths: make([][]point, len(p.ends)), flip: make([]bool, len(p.ends))}
	if p.track {
		return p.overviewTrack(s, w, h, name)
	}
	var layers [][]int
	for i, row := range p.rows {
		if i == 0 || p.layer[i] != p.layer[i-1] {
			layers = append(layers, nil)
		}
		for _, sp := range row {
			if n := p.spots[sp].node; n >= 0 {
				layers[len(layers)-1] = append(layers[len(layers)-1], n)
			}
		}
	}
	if p.among(layers) && p.overviewCircle(s, w, h, name) {
		return s
	}
	w = max(w-2, 20)
	perRow := w / 2
	rows, widest := 0, 0
	parts := make([]int, len(layers))
	for i, l := range layers {
		parts[i] = p.stacked(l, perRow, h/2)
		rows += parts[i]
		widest = max(widest, (len(l)+parts[i]-1)/parts[i])
	}
	within := 1 // between the rows of a layer
	if 2*rows+2*len(layers) <= h {
		within = 2
	}
	between := within
	if gaps := len(layers) - 1; gaps > 0 {
		spare := h - 2 - within*(rows-len(layers)) // a row for names above and below
		between = max(1, min(layersApart, spare/gaps))
	}
	span := min(w, max(2*widest, widest*max(nodesApart, name+2)))
	span -= span % widest // evenly
	y := 0
	for i, l := range layers {
		if i > 0 {
			y += between
		}
		parts := parts[i]
		if parts > 1 || p.folded(l) {
			p.byAbove(s, l)
		}
		cols := (len(l) + parts - 1) / parts
		lines := make([][]int, parts)
		for j, n := range l { // what hangs together stands together: column by column
			at := j % parts
			s.boxes[n] = rect{1 + (2*(j/parts)+1)*span/(2*cols), y + at*within, 1, 1}
			lines[at] = append(lines[at], n)
		}
		s.lines = append(s.lines, lines...)
		y += (parts - 1) * within
	}
	s.w, s.h = span+2, y+1
	return s
}

// stacked is in how many rows a layer stands: as few as it needs or, where as
// many nodes hang on each of those above, one below the other.
func (p *plan) stacked(l []int, perRow, most int) int {
	parts := max(1, (len(l)+perRow-1)/perRow)
	if parts == 1 {
		return 1
	}
	hang := map[int]int{}
	for _, n := range l {
		if len(p.adj[n]) != 1 {
			return parts
		}
		hang[p.adj[n][0]]++
	}
	each := hang[p.adj[l[0]][0]]
	for _, n := range hang {
		if n != each {
			return parts
		}
	}
	if each < parts || each > most {
		return parts
	}
	return each
}

// folded reports whether a layer was laid out in several rows.
func (p *plan) folded(l []int) bool {
	for _, n := range l {
		if p.rowOf[n] != p.rowOf[l[0]] {
			return true
		}
	}
	return false
}

// byAbove orders a layer by where the nodes are that it hangs on.
func (p *plan) byAbove(s *scene, l []int) {
	key := make(map[int]float64, len(l))
	for _, n := range l {
		sum, count := 0, 0
		for _, k := range p.adj[n] {
			if b := s.boxes[k]; b.w > 0 {
				sum += b.x
				count++
			}
		}
		if count > 0 {
			key[n] = float64(sum) / float64(count)
		}
	}
	sort.SliceStable(l, func(a, b int) bool { return key[l[a]] < key[l[b]] })
}

// among reports whether so many links join nodes of one layer that they would
// lie over each other in a line.
func (p *plan) among(layers [][]int) bool {
	layer, at := make([]int, p.nodes), make([]int, p.nodes)
	for i, l := range layers {
		for j, n := range l {
			layer[n], at[n] = i, j
		}
	}
	same, all := 0, 0
	for _, e := range p.ends {
		if e[0] < 0 || e[0] == e[1] {
			continue
		}
		all++
		if layer[e[0]] == layer[e[1]] && abs(at[e[0]]-at[e[1]]) > 1 {
			same++
		}
	}
	return 3*same > all
}

// overviewCircle places what is joined to everything around a circle, names
// outside, and what has no link in rows below; false where that has no room.
func (p *plan) overviewCircle(s *scene, w, h, name int) bool {
	var round, single []int
	for n := range p.nodes {
		if p.layer[p.rowOf[n]] == noLinks {
			single = append(single, n)
		} else {
			round = append(round, n)
		}
	}
	perRow := max(1, (w-2)/(name+3))
	below := 0
	if len(single) > 0 {
		below = 1 + (len(single)+perRow-1)/perRow
	}
	ry := (h - 3 - below) / 2
	margin := name + 3
	rx := min((w-2*margin-1)/2, ry*5/2)
	if rx < 4 || ry < 2 || len(round) > 3*ry {
		return false
	}
	taken := map[point]bool{}
	for i, n := range round {
		sin, cos := math.Sincos(2*math.Pi*float64(i)/float64(len(round)) - math.Pi/2)
		at := point{margin + rx + int(math.Round(float64(rx)*cos)), ry + int(math.Round(float64(ry)*sin))}
		if taken[at] {
			return false
		}
		taken[at] = true
		s.boxes[n] = rect{at.x, at.y, 1, 1}
	}
	s.circle = true
	s.w, s.h = 2*(rx+margin)+1, 2*ry+1+below
	for i, n := range single {
		s.boxes[n] = rect{1 + i%perRow*(name+3), 2*ry + 2 + i/perRow, 1, 1}
		s.w = max(s.w, s.boxes[n].x+name+3)
	}
	return true
}

// overviewTrack keeps the rows of a line or ring, apart so far that names stand
// between them where there is room.
func (p *plan) overviewTrack(s *scene, w, h, name int) *scene {
	s.track = true
	pitch := 1
	for pitch < 4 && (len(p.rows)-1)*(pitch+1)+1 <= h-2 {
		pitch++
	}
	last := 0.0
	for _, sp := range p.spots {
		last = max(last, sp.col)
	}
	step := max(4, name+2)
	for step > 2 && int(last)*step+name+3 > w {
		step--
	}
	for r, row := range p.rows {
		var line []int
		for i, sp := range row {
			spot := p.spots[sp]
			if spot.node < 0 {
				continue
			}
			x := int(spot.col*float64(step) + 0.5)
			if p.layer[r] == noLinks { // without links
				x = step * i
			}
			s.boxes[spot.node] = rect{1 + x, spot.row * pitch, 1, 1}
			s.w = max(s.w, x+3)
			line = append(line, spot.node)
		}
		s.lines = append(s.lines, line)
	}
	s.h = (len(p.rows)-1)*pitch + 1
	return s
}
