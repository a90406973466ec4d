package qr

import (
	"cmp"
	"math"
	"slices"

	"github.com/makiuchi-d/gozxing"
)

// Limits of the search in one view. A picture can be tiled with finder
// patterns, and every three of them could be a symbol.
const (
	maxCandidates = 1 << 14 // places where a pattern was seen
	maxFinders    = 60      // the best of them, combined by threes
	maxTriples    = 120     // the best combinations, sampled
)

// finder is one of the three concentric squares that mark the corners of a
// symbol (ISO/IEC 18004 clause 6.3.3).
type finder struct {
	x, y   float64 // centre, in pixels
	module float64 // pixels a module, measured along a row
	seen   int     // rows that crossed it
}

// triple is three finders that may be the corners of one symbol.
type triple struct {
	corner, right, below int     // indexes: upper left, upper right, lower left
	flaw                 float64 // how far from an isosceles right triangle, 0 best
}

// finders returns what looks like a finder pattern, best first.
func finders(m *gozxing.BitMatrix) []finder {
	width, height := m.GetWidth(), m.GetHeight()

	// The inner square is 3 modules high, so every second row meets it even at 1
	// pixel a module; large pictures are skimmed.
	step := 1
	if width*height > 1<<20 {
		step = 2
	}
	if width*height > 4<<20 {
		step = 3
	}

	var found []finder
	type cell struct{ x, y int }
	const grid = 4
	at := make(map[cell]int)
	add := func(f finder) {
		cx, cy := int(f.x)/grid, int(f.y)/grid
		reach := 1 + int(f.module)/grid
		if reach > 4 {
			reach = 4
		}
		for dy := -reach; dy <= reach; dy++ {
			for dx := -reach; dx <= reach; dx++ {
				i, ok := at[cell{cx + dx, cy + dy}]
				if !ok {
					continue
				}
				o := &found[i]
				if math.Abs(o.x-f.x) > max(o.module, 1) || math.Abs(o.y-f.y) > max(o.module, 1) ||
					math.Abs(o.module-f.module) > max(1, o.module/2) {
					continue
				}
				n := float64(o.seen)
				o.x, o.y, o.module = (o.x*n+f.x)/(n+1), (o.y*n+f.y)/(n+1), (o.module*n+f.module)/(n+1)
				o.seen++
				return
			}
		}
		if len(found) < maxCandidates {
			at[cell{cx, cy}] = len(found)
			found = append(found, f)
		}
	}

	for y := 0; y < height; y += step {
		// The lengths of the last five runs, the newest last.
		var runs [5]int
		dark := false
		length := 0
		for x := 0; x <= width; x++ {
			// One light pixel is imagined right of the picture, so that a symbol
			// without a quiet zone is still seen to end.
			d := x < width && m.Get(x, y)
			if d == dark && x < width {
				length++
				continue
			}
			copy(runs[:], runs[1:])
			runs[4] = length
			if dark && finderLike(runs) {
				centre := float64(x-runs[4]-runs[3]) - float64(runs[2])/2
				if f, ok := crossCheck(m, centre, y, runs); ok {
					add(f)
				}
			}
			dark, length = d, 1
		}
	}

	// A true pattern is crossed by about three modules' worth of rows; specks
	// and letters by one or two.
	score := func(f finder) float64 {
		return min(1, float64(f.seen*step)/(2.5*f.module)) * math.Sqrt(float64(f.seen))
	}
	slices.SortStableFunc(found, func(a, b finder) int { return cmp.Compare(score(b), score(a)) })
	return found[:min(len(found), maxFinders)]
}

// finderLike reports whether five runs are near 1:1:3:1:1.
func finderLike(runs [5]int) bool {
	total := 0
	for _, r := range runs {
		if r == 0 {
			return false
		}
		total += r
	}
	if total < 7 {
		return false
	}
	module := float64(total) / 7
	// Half a module of tolerance, and always half a pixel: at 1 to 2 pixels a
	// module the grid alone moves edges by that much.
	slack := max(module/2, 0.6)
	for i, r := range runs {
		want, s := module, slack
		if i == 2 {
			want, s = 3*module, 3*slack
		}
		if math.Abs(want-float64(r)) >= s {
			return false
		}
	}
	return true
}

// crossCheck tells whether the pattern seen in row y is one in the column and
// again in the row through its centre.
func crossCheck(m *gozxing.BitMatrix, x float64, y int, seen [5]int) (finder, bool) {
	total := seen[0] + seen[1] + seen[2] + seen[3] + seen[4]
	cy, column, ok := through(m, int(x), y, 0, 1, total)
	if !ok {
		return finder{}, false
	}
	cx, line, ok := through(m, int(x), int(cy), 1, 0, total)
	if !ok {
		return finder{}, false
	}
	// Perspective squeezes one way, but not by more than this.
	if column > 2*line || line > 2*column {
		return finder{}, false
	}
	return finder{x: cx, y: cy, module: float64(line+column) / 14, seen: 1}, true
}

// through measures the five runs through a dark pixel in direction (dx, dy), and
// returns the centre of the middle one along that direction and their total.
func through(m *gozxing.BitMatrix, x, y, dx, dy, limit int) (centre float64, total int, ok bool) {
	width, height := m.GetWidth(), m.GetHeight()
	// run counts pixels of one colour from (px, py) on; the outside is light.
	run := func(px, py, sx, sy int, dark bool) int {
		n := 0
		for n <= 2*limit {
			inside := px >= 0 && py >= 0 && px < width && py < height
			if !inside || m.Get(px, py) != dark {
				break
			}
			n, px, py = n+1, px+sx, py+sy
		}
		return n
	}
	if x < 0 || y < 0 || x >= width || y >= height || !m.Get(x, y) {
		return 0, 0, false
	}
	var runs [5]int
	back := run(x, y, -dx, -dy, true)
	runs[1] = run(x-back*dx, y-back*dy, -dx, -dy, false)
	runs[0] = run(x-(back+runs[1])*dx, y-(back+runs[1])*dy, -dx, -dy, true)
	ahead := run(x+dx, y+dy, dx, dy, true)
	runs[3] = run(x+(1+ahead)*dx, y+(1+ahead)*dy, dx, dy, false)
	runs[4] = run(x+(1+ahead+runs[3])*dx, y+(1+ahead+runs[3])*dy, dx, dy, true)
	runs[2] = back + ahead
	if !finderLike(runs) {
		return 0, 0, false
	}
	start := x*dx + y*dy
	middle := float64(start) + 0.5 + float64(ahead-back+1)/2
	return middle, runs[0] + runs[1] + runs[2] + runs[3] + runs[4], true
}

// triples combines finders by threes, the most regular first.
func triples(all []finder) []triple {
	var found []triple
	for i := range all {
		for j := i + 1; j < len(all); j++ {
			if !alike(all[i], all[j]) {
				continue
			}
			for k := j + 1; k < len(all); k++ {
				if !alike(all[i], all[k]) || !alike(all[j], all[k]) {
					continue
				}
				if t, ok := combine(all, i, j, k); ok {
					found = append(found, t)
				}
			}
		}
	}
	slices.SortStableFunc(found, func(a, b triple) int { return cmp.Compare(a.flaw, b.flaw) })
	return found[:min(len(found), maxTriples)]
}

// alike reports whether two finders may belong to one symbol by their size.
func alike(a, b finder) bool {
	return max(a.module, b.module) <= 1.6*min(a.module, b.module)+0.5
}

// combine orders three finders into corner, right and below, and tells whether
// their distances allow a symbol.
func combine(all []finder, i, j, k int) (triple, bool) {
	square := func(a, b int) float64 {
		dx, dy := all[a].x-all[b].x, all[a].y-all[b].y
		return dx*dx + dy*dy
	}
	// The corner lies opposite the longest side.
	a, b, c := i, j, k
	if square(i, j) >= square(j, k) && square(i, j) >= square(i, k) {
		a, b, c = k, i, j
	} else if square(i, k) >= square(j, k) {
		a, b, c = j, i, k
	}
	ab, ac, bc := square(a, b), square(a, c), square(b, c)
	module := (all[a].module + all[b].module + all[c].module) / 3

	// Centres are 14 modules apart in version 1 and 170 in version 40. A row
	// crosses a turned symbol slantwise, which makes modules look up to 1.42 as
	// wide.
	for _, side := range []float64{ab, ac} {
		if d := math.Sqrt(side) / module; d < 14*0.55 || d > 170*1.6 {
			return triple{}, false
		}
	}
	ratio := math.Sqrt(max(ab, ac) / min(ab, ac))
	right := math.Abs(bc-ab-ac) / (2 * math.Sqrt(ab*ac)) // the cosine of the angle at the corner
	if ratio > 1.5 || right > 0.4 {
		return triple{}, false
	}
	spread := max(all[a].module, all[b].module, all[c].module)/min(all[a].module, all[b].module, all[c].module) - 1
	t := triple{corner: a, right: b, below: c, flaw: (ratio - 1) + right + spread/2}

	// With rows counted downwards, right and below turn clockwise.
	cross := (all[b].x-all[a].x)*(all[c].y-all[a].y) - (all[b].y-all[a].y)*(all[c].x-all[a].x)
	if cross < 0 {
		t.right, t.below = c, b
	}
	return t, true
}
