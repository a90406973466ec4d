package qr

import (
	"math/bits"
	"sync"

	"rsc.io/qr/coding"
)

// masks is the number of data masks (ISO/IEC 18004 clause 7.8.2, table 10).
const masks = 8

// maskRows returns every mask as rows of version 40, whose upper left corner is
// the mask of any smaller version.
var maskRows = sync.OnceValue(func() *[masks][177]row {
	var all [masks][177]row
	for m := range all {
		for y := range all[m] {
			for x := range 177 {
				all[m][y].put(x, coding.Mask(m).Invert(y, x))
			}
		}
	}
	return &all
})

// chooseMask replaces mask 0, which the symbol was laid out with, by the mask
// with the lowest penalty; the lower number wins a tie.
func (s *Symbol) chooseMask(sheet *layout) {
	all := maskRows()
	best := -1
	var winner []row
	trial := make([]row, len(s.rows))
	spare := make([]row, len(s.rows))
	columns := make([]row, len(s.rows))
	for m := range masks {
		for y := range trial {
			for i := range trial[y] {
				trial[y][i] = s.rows[y][i] ^ (all[0][y][i]^all[m][y][i])&sheet.data[y][i]
			}
		}
		putFormat(trial, s.level, m)
		transpose(columns, trial)
		p := penalty(trial, columns)
		if best < 0 || p < best {
			best, s.mask, winner = p, m, trial
			trial, spare = spare, trial
		}
	}
	s.rows = winner
}

// putFormat writes both copies of the format information: level, mask and
// their BCH(15,5) code (ISO/IEC 18004 clause 7.9).
func putFormat(rows []row, level Level, mask int) {
	// Table 12: L is 01, M 00, Q 11 and H 10.
	f := (int(level)^1)<<3 | mask
	rest := f << 10
	for i := 14; i >= 10; i-- {
		if rest&(1<<i) != 0 {
			rest ^= 0x537 << (i - 10)
		}
	}
	f = (f<<10 | rest) ^ 0x5412

	n := len(rows)
	for i := range 15 {
		dark := f&(1<<i) != 0
		switch { // around the upper left finder pattern, skipping the timing patterns
		case i < 6:
			rows[i].put(8, dark)
		case i < 8:
			rows[i+1].put(8, dark)
		case i == 8:
			rows[8].put(7, dark)
		default:
			rows[8].put(14-i, dark)
		}
		if i < 8 { // split between the other two
			rows[8].put(n-1-i, dark)
		} else {
			rows[n-15+i].put(8, dark)
		}
	}
}

// transpose sets to to the columns of from.
func transpose(to, from []row) {
	clear(to)
	for y := range from {
		word, bit := y>>6, uint64(1)<<(63-y&63)
		for i, w := range from[y] {
			for w != 0 {
				x := bits.LeadingZeros64(w)
				w &^= 1 << (63 - x)
				to[64*i+x][word] |= bit
			}
		}
	}
}

// penalty scores a masked symbol by the four rules of ISO/IEC 18004 clause
// 7.8.3, table 11; columns is rows transposed. Lower is easier to scan.
func penalty(rows, columns []row) int {
	n := len(rows)
	total, dark := 0, 0
	for i := range rows {
		total += linePenalty(&rows[i], n) + linePenalty(&columns[i], n)
		for _, w := range rows[i] {
			dark += bits.OnesCount64(w)
		}
	}

	// Rule 2: 3 points for each block of 2x2 modules of one colour.
	valid := ones(n - 1)
	for y := range n - 1 {
		a, b := &rows[y], &rows[y+1]
		a1, b1 := a.left(1), b.left(1)
		for i := range a {
			same := ^(a[i] ^ b[i]) & ^(a[i] ^ a1[i]) & ^(a[i] ^ b1[i])
			total += 3 * bits.OnesCount64(same&valid[i])
		}
	}

	// Rule 4: 10 points for each full 5 % that the dark share is away from half.
	off := 20*dark - 10*n*n
	if off < 0 {
		off = -off
	}
	return total + 10*(off/(n*n))
}

// linePenalty scores one row or column of n modules by rules 1 and 3.
func linePenalty(r *row, n int) int {
	total := 0
	r1, r2, r3, r4, r5, r6 := r.left(1), r.left(2), r.left(3), r.left(4), r.left(5), r.left(6)
	fives, elevens := ones(n-4), ones(n-10)

	// Rule 1: a run of k >= 5 modules of one colour costs 3 + (k-5). Five in a
	// line start at k-4 places, so that is the number of places plus 2 per run.
	var five, light, core row
	for i := range r {
		dark := r[i] & r1[i] & r2[i] & r3[i]
		light[i] = ^(r[i] | r1[i] | r2[i] | r3[i])
		five[i] = (dark&r4[i] | light[i]&^r4[i]) & fives[i]
		core[i] = r[i] &^ r1[i] & r2[i] & r3[i] & r4[i] &^ r5[i] & r6[i]
		total += bits.OnesCount64(five[i])
	}
	// A light and a dark run can touch: places of different colours side by side
	// never do, because a run of k has k-4 places and the next starts 4 later.
	next := five.left(1)
	for i := range five {
		total += 2 * bits.OnesCount64(five[i]&^next[i]) // the last place of each run
	}

	// Rule 3: 40 points for each 1:1:3:1:1 with four light modules before or
	// after it, which a reader could take for a finder pattern.
	coreLater, lightLater := core.left(4), light.left(7)
	for i := range core {
		total += 40 * (bits.OnesCount64(light[i]&coreLater[i]&elevens[i]) + bits.OnesCount64(core[i]&lightLater[i]&elevens[i]))
	}
	return total
}

// left returns the row moved k modules, 0 < k < 64, to the left.
func (r *row) left(k int) row {
	return row{r[0]<<k | r[1]>>(64-k), r[1]<<k | r[2]>>(64-k), r[2] << k}
}

// ones returns a row whose first n modules are set.
func ones(n int) (r row) {
	for i := range r {
		switch have := n - 64*i; {
		case have >= 64:
			r[i] = ^uint64(0)
		case have > 0:
			r[i] = ^uint64(0) << (64 - have)
		}
	}
	return r
}
