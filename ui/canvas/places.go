package canvas

// places gives every spot of width w its centre: near what it is joined to,
// in the order of its row, with a gap between.
func (p *plan) places(width func(node int) int, gap func(a, b int) int) {
	sep := func(a, b int) float64 {
		return float64(p.spots[a].w+p.spots[b].w)/2 + float64(gap(a, b))
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
