package qr

import (
	"slices"
	"strings"

	"rsc.io/qr/coding"
)

// alphabet is the alphanumeric set, each character at its value
// (ISO/IEC 18004 clause 7.4.4, table 5).
const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"

// mode is one way of packing characters (ISO/IEC 18004 clause 7.3).
type mode int

const (
	numeric mode = iota
	alphanumeric
	binaryBytes
	modes
)

// sixths is the cost of one character in each mode, in sixths of a bit: three
// digits take 10 bits, two alphanumeric characters 11, a byte 8.
var sixths = [modes]int{20, 33, 48}

// countBits is the length of the character count by mode and class of versions:
// 1 to 9, 10 to 26, 27 to 40 (ISO/IEC 18004 clause 7.4.1, table 3).
var countBits = [modes][3]int{{10, 12, 14}, {9, 11, 13}, {8, 16, 16}}

// carries reports whether a mode can carry the byte.
func (m mode) carries(c byte) bool {
	switch m {
	case numeric:
		return '0' <= c && c <= '9'
	case alphanumeric:
		return strings.IndexByte(alphabet, c) >= 0
	}
	return true
}

func (m mode) carriesAll(text string) bool {
	for i := range len(text) {
		if !m.carries(text[i]) {
			return false
		}
	}
	return true
}

func (m mode) segment(text string) coding.Encoding {
	switch m {
	case numeric:
		return coding.Num(text)
	case alphanumeric:
		return coding.Alpha(text)
	}
	return coding.String(text)
}

// split packs text into segments for a class of versions.
//
// A text that one of the denser modes carries whole stays one segment: HCERT
// prescribes alphanumeric mode for its base45, and would gain little elsewhere.
// Any other text is cut where that saves bits: "shc:/" followed by digits
// becomes a byte segment and a numeric one, as SMART Health Cards prescribe.
func split(text string, class int) []coding.Encoding {
	for _, m := range []mode{numeric, alphanumeric} {
		if m.carriesAll(text) {
			return []coding.Encoding{m.segment(text)}
		}
	}

	// Shortest path over the characters: cost[m] is the price, in sixths of a
	// bit, of the text so far when its last character is in mode m, and
	// before[i][m] the mode of the character before it on that path.
	const never = 1 << 40
	var cost [modes]int
	before := make([][modes]mode, len(text))
	for m := range modes {
		cost[m] = 6 * (4 + countBits[m][class])
		if !m.carries(text[0]) {
			cost[m] = never
			continue
		}
		cost[m] += sixths[m]
	}
	for i := 1; i < len(text); i++ {
		var next [modes]int
		for m := range modes {
			next[m] = never
			if !m.carries(text[i]) {
				continue
			}
			for from := range modes {
				c := cost[from] + sixths[m]
				if from != m {
					// A segment ends on a whole bit, so what is pending is rounded up.
					c = (cost[from]+5)/6*6 + 6*(4+countBits[m][class]) + sixths[m]
				}
				if c < next[m] {
					next[m], before[i][m] = c, from
				}
			}
		}
		cost = next
	}

	last := binaryBytes
	for m := range modes {
		if cost[m] < cost[last] {
			last = m
		}
	}
	var segments []coding.Encoding
	end := len(text)
	for i, m := len(text)-1, last; i >= 0; i-- {
		from := before[i][m]
		if i == 0 || from != m {
			segments = append(segments, m.segment(text[i:end]))
			end = i
		}
		m = from
	}
	slices.Reverse(segments)
	return segments
}
