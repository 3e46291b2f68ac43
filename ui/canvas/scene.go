package canvas

// Level is how closely the scene is looked at.
type Level int

// The levels, from far to near.
const (
	Overview Level = iota // a cell per node
	Compact               // a node's name, without a frame
	Normal                // a box with the node's name
	Detail                // and kind, state and the interfaces' names
)

// String is the level's name, for the user.
func (l Level) String() string { return [...]string{"overview", "compact", "normal", "detail"}[l] }

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

	lines  [][]int         // in the overview: nodes whose names stand in one line, or none of them
	circle bool            // in the overview: nodes stand around, names outside
	track  bool            // in the overview: a line or ring, whose names leave its lines free
	hidden map[[2]int]bool // in the overview: rows between which links are left out
}

// manner is how a level draws: in rows and columns.
type manner struct {
	boxH int
	lead int  // rows below a box before lines may bend
	tail int  // and above the next one
	gap  int  // columns between neighbours
	slot int  // columns a line takes at a box, at least
	tags bool // every line has the interface's name beside it
}

var manners = map[Level]manner{
	Compact: {boxH: 1, lead: 0, tail: 1, gap: 2, slot: 2},
	Normal:  {boxH: 3, lead: 1, tail: 1, gap: 4, slot: 2},
	Detail:  {boxH: 4, lead: 1, tail: 1, gap: 6, slot: 2, tags: true},
}

// scene gives the plan its sizes at a level: label is how wide a node's text
// is, and tag how wide the name of a link's interface at that node.
func (p *plan) scene(level Level, label func(node int) int, tag func(link, node int) int) *scene {
	s := &scene{level: level, boxes: make([]rect, p.nodes), paths: make([][]point, len(p.ends)), flip: make([]bool, len(p.ends))}
	r := &router{plan: p, scene: s, manner: manners[level], tag: tag}
	r.attach()
	p.places(func(n int) int { return max(label(n), r.portsWidth(p.of[n])) }, r.between)
	r.columns()
	r.ports()
	r.channels()
	return s
}

// router turns chains of spots into lines of right angles.
type router struct {
	*plan
	*scene
	manner
	tag          func(link, node int) int
	left         []int   // by spot: its first column
	down, up     [][]end // by spot: the lines that leave it downwards and upwards
	beside       map[[2]int]int
	below, above map[end]int // the column of each of them
	lanes        [][]lane    // by the row they are below
}

// end is where a piece of a chain leaves a spot: the piece before the step-th
// spot of the chain. A chain within one row has the pieces 0 and 1.
type end struct{ chain, step int }

// lane is a piece of a link between two rows, or below one.
type lane struct {
	chain, step int
	from, to    int // columns
	turn        bool
	track       int
}

func (r *router) centre(s int) int { return r.left[s] + r.spots[s].w/2 }

// columns rounds the places to columns.
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
		if sp.node < 0 {
			r.left[i] |= 1 // see ports
		}
		r.w = max(r.w, r.left[i]+sp.w+1)
	}
	// Rounding may have pushed neighbours together.
	for _, row := range r.rows {
		for i := 1; i < len(row); i++ {
			a, b := row[i-1], row[i]
			least := r.left[a] + r.spots[a].w + 1
			if r.left[b] < least {
				r.left[b] = least
				if r.spots[b].node < 0 {
					r.left[b] |= 1
				}
			}
			r.w = max(r.w, r.left[b]+r.spots[b].w+1)
		}
	}
}
