package canvas

// A track of names longer than usual is no wider than this, in cells.
const usualName, trackWidth = 8, 76

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
// even number of rows, so that its ends meet at the left. Rows of long names
// are shorter: longest is how long they are.
func (p *plan) wind(line []int, closed bool, longest int) {
	p.track = true
	n := len(line)
	rows, width := 1, n
	step := 1
	if closed {
		step = 2
	}
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
	for most := max(1+step/2, trackWidth/(longest+4)); width > most && longest > usualName; {
		rows += step
		if width = (n + rows - 1) / rows; closed {
			width = (n-2+rows-1)/rows + 1
		}
	}
	p.bend(line, closed, rows, width)
}

// bend puts a line into rows of a width.
func (p *plan) bend(line []int, closed bool, rows, width int) {
	n := len(line)
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

// columns gives the spots of a track the places they were laid out in.
func (p *plan) columns(gap func(a, b int) int) {
	widest, space, last := 0, 0, 0.0
	for _, s := range p.spots {
		widest = max(widest, s.w)
		last = max(last, s.col)
	}
	for _, row := range p.rows {
		for i := 1; i < len(row); i++ {
			space = max(space, gap(row[i-1], row[i]))
		}
	}
	for _, c := range p.chains {
		for _, k := range c.spots {
			p.spots[k].x = (p.spots[k].col - last/2) * float64(widest+space)
		}
	}
}
