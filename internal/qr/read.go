package qr

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/makiuchi-d/gozxing"

	"ampoule/format"
)

// Defects of a picture to be read.
const (
	ErrNotPicture format.Defect = "not-a-picture"     // the bytes start like none of PNG, JPEG and GIF
	ErrTooLarge   format.Defect = "picture-too-large" // the file, its pixels or the memory to decode it are over the limit
	ErrNoCode     format.Defect = "no-code-found"     // the picture is sound, and no symbol in it could be decoded
	ErrUnreadable format.Defect = "unreadable"        // the picture is damaged
	ErrIncomplete format.Defect = "code-incomplete"   // a text spread over several symbols, not all of them in the picture
)

// Limits of the work that Read puts into one picture. They are counted in
// pixels and attempts, not in seconds: a slow machine must not find less.
const (
	maxWork     = 7 * MaxPixels // pixels looked at, over all views
	maxAttempts = 600           // finder triples tried, over all views
	furtherView = 2             // views looked at after the first success
)

// view is one way to look at a picture.
type view struct {
	scale  int  // above 1: enlarged so many times; below -1: shrunk
	smooth bool // single wrong dots removed
	invert bool // light on dark
	global bool // one threshold for the whole picture
}

// Read returns the texts of the QR symbols in a PNG, JPEG or GIF (of an animated
// one, in the first picture), each once, from top to bottom and left to right.
//
// Byte segments are returned as they are, UTF-8 or not, unless the symbol names
// another character set (ECI); kanji come back as UTF-8. A text that was spread
// over several symbols (structured append) is put together.
//
// Symbols may be turned, mirrored, light on dark, small, or seen at a slant.
// Read looks at the picture in several ways, cheap ones first, and stops at the
// first that leaves nothing unread. When it cannot return a text the error wraps
// ErrNotPicture, ErrTooLarge, ErrNoCode, ErrUnreadable or ErrIncomplete.
func Read(data []byte) (texts []string, err error) {
	// The library below, a port from Java, was not written against hostile
	// pictures: what is an exception there is an index out of range here. Such a
	// picture must cost its sender an error, not everybody the process.
	defer func() {
		if r := recover(); r != nil {
			texts, err = nil, fmt.Errorf("qr: reading failed: %v: %w", r, ErrUnreadable)
		}
	}()
	picture, err := open(data)
	if err != nil {
		return nil, err
	}
	return read(picture)
}

// read looks for symbols in a decoded picture.
func read(picture grey) ([]string, error) {
	s := search{work: maxWork, attempts: maxAttempts}
	further := furtherView
	for _, v := range views(picture.width * picture.height) {
		unread := s.look(picture, v)
		if len(s.found) == 0 {
			continue
		}
		// Something was read. What else looked like a symbol may come out in
		// another view; but text and tables look like one, too, so not for long.
		if !unread || further == 0 {
			break
		}
		further--
	}
	return s.texts()
}

// views lists the ways to look at a picture of so many pixels, cheap and likely
// ones first.
func views(pixels int) []view {
	var list []view
	// A photo has far more pixels than its symbol needs; fewer are faster, and
	// averaging them takes the noise away. down is the scale with about a
	// million pixels left.
	down := 1
	for pixels/(down*down) > 3<<19 {
		down++
	}
	if down > 1 {
		list = append(list, view{scale: -down}, view{scale: -down, global: true})
	}
	list = append(list, view{}, view{global: true})
	if pixels <= 1<<18 {
		// At 1 or 2 pixels a module the centres cannot be placed well enough.
		list = append(list, view{scale: 3, global: true}, view{scale: 2})
	}
	inverted := 0
	if down > 1 {
		inverted = -down
	}
	list = append(list,
		view{scale: inverted, invert: true},
		view{scale: inverted, invert: true, global: true},
		view{scale: inverted, smooth: true},
		view{scale: inverted, smooth: true, global: true},
	)
	for _, k := range []int{2, 3, 4, 6} {
		if k != down && pixels/(k*k) >= 1<<12 {
			list = append(list, view{scale: -k}, view{scale: -k, global: true})
		}
	}
	list = append(list, view{scale: -2, smooth: true, global: true})
	if pixels <= 1<<18 {
		list = append(list, view{scale: 3, invert: true, global: true})
	}
	if down > 1 {
		list = append(list, view{invert: true}, view{smooth: true})
	}
	return list
}

// search is what was found so far and the work that is left.
type search struct {
	work, attempts int
	found          []place
}

// place is a symbol and where in the picture it was, in pixels.
type place struct {
	part
	x, y float64
}

// look reads what one view shows. It reports whether something that looked like
// a symbol stayed unread.
func (s *search) look(picture grey, v view) (unread bool) {
	cost := picture.width * picture.height
	scale := 1.0
	switch {
	case v.scale > 1:
		cost *= v.scale * v.scale
		scale = float64(v.scale)
	case v.scale < -1:
		cost = cost/4 + cost/(v.scale*v.scale) // shrinking reads everything, once and fast
		scale = -1 / float64(v.scale)
	}
	if v.smooth {
		cost *= 2
	}
	if cost > s.work || s.attempts <= 0 {
		return false
	}
	s.work -= cost

	g := picture
	switch {
	case v.scale > 1:
		g = g.enlarge(v.scale)
	case v.scale < -1:
		g = g.shrink(-v.scale)
	}
	if g.width < sizeOf(minVersion) || g.height < sizeOf(minVersion) {
		return false
	}
	if v.invert {
		g = g.inverted()
	}
	if v.smooth {
		g = g.smooth()
	}
	split := g.local
	if v.global {
		split = g.global
	}
	bits, err := split()
	if err != nil {
		return false
	}
	return s.scan(bits, scale)
}

// scan decodes the symbols in a black and white picture.
func (s *search) scan(bits *gozxing.BitMatrix, scale float64) (unread bool) {
	all := finders(bits)
	used := make([]bool, len(all))
	for _, t := range triples(all) {
		if used[t.corner] || used[t.right] || used[t.below] {
			continue // a finder belongs to one symbol
		}
		if s.attempts == 0 {
			break
		}
		s.attempts--
		p, ok := decodeTriple(bits, all, t)
		if !ok {
			continue
		}
		used[t.corner], used[t.right], used[t.below] = true, true, true
		s.add(place{p, all[t.corner].x / scale, all[t.corner].y / scale})
	}

	// Three regular finders that nothing was decoded from.
	for _, t := range triples(all) {
		if !used[t.corner] && !used[t.right] && !used[t.below] && t.flaw < 0.3 &&
			min(all[t.corner].seen, all[t.right].seen, all[t.below].seen) >= 2 {
			return true
		}
	}
	return false
}

// add keeps what was read unless it is known already.
func (s *search) add(p place) {
	if p.text == "" && p.count == 0 {
		return
	}
	for _, have := range s.found {
		if have.part == p.part {
			return
		}
	}
	s.found = append(s.found, p)
}

// texts puts the parts of spread texts together and everything in order.
func (s *search) texts() ([]string, error) {
	if len(s.found) == 0 {
		return nil, fmt.Errorf("qr: %w", ErrNoCode)
	}
	slices.SortStableFunc(s.found, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.y, b.y), cmp.Compare(a.x, b.x), cmp.Compare(a.text, b.text))
	})
	type set struct{ count, parity int }
	done := make(map[set]bool)
	var texts []string
	missing := false
	for _, p := range s.found {
		if p.count == 0 {
			texts = append(texts, p.text)
			continue
		}
		key := set{p.count, p.parity}
		if done[key] {
			continue
		}
		done[key] = true
		joined, ok := s.join(key.count, key.parity)
		if !ok {
			missing = true
			continue
		}
		texts = append(texts, joined)
	}
	if len(texts) == 0 && missing {
		return nil, fmt.Errorf("qr: %w", ErrIncomplete)
	}
	return texts, nil
}

// join puts the symbols of one text together. The parity is the exclusive-or of
// all its bytes (ISO/IEC 18004 clause 8.3), which tells two texts apart that
// are in one picture; it cannot be recomputed where characters were converted,
// so it serves as a label only.
func (s *search) join(count, parity int) (string, bool) {
	text := ""
	for i := range count {
		j := slices.IndexFunc(s.found, func(p place) bool {
			return p.count == count && p.parity == parity && p.index == i
		})
		if j < 0 {
			return "", false
		}
		text += s.found[j].text
	}
	return text, true
}
