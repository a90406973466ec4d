package coldchain

import "slices"

const (
	copiedBlock = 32 // readings: eight hours of 15 minutes
	// copiedBlocks are kept: about 32 days of 15 minutes.
	copiedBlocks = 96
	// copiedChanges is how often the value changes in a block that says anything. With
	// two ways to go each time, that is a chance of 2^-16 that two blocks are the same,
	// which among all that are kept would happen; two of them in a row never do.
	copiedChanges = 16
	// copiedValues is how many values there are in it at least: a thermostat whose
	// sensor tells half degrees goes round the same three.
	copiedValues = 4
	// copiedAgain is for how many readings nothing was as before until it is told again.
	copiedAgain  = 192
	copiedFactor = 0x9E3779B97F4A7C15 // odd, so that nothing of a power is lost
)

// Copied finds readings that were there before: the values of any 32 readings in a row
// are compared, by a rolling fingerprint, with the blocks of 32 that were kept. It takes
// two blocks one after the other: a copy of 95 or more readings has them, wherever it
// starts.
type Copied struct {
	Window [copiedBlock]Temperature
	N      int64 // readings
	Hash   uint64
	Blocks [copiedBlocks]uint64 // 0: none
	Ends   [copiedBlocks]int64  // times of their last readings
	Slot   int64                // block to be overwritten
	Last   int64
	Match  int64 // block that was found last
	At     int64 // N at which it was
	Told   int64 // N of the last that was as before
}

// copiedOut is the factor of the value that leaves the window.
var copiedOut = func() uint64 {
	f := uint64(1)
	for range copiedBlock {
		f *= copiedFactor
	}
	return f
}()

// Next takes the next sample.
func (s *Copied) Next(x *Sample) (a Anomaly, found bool) {
	if s.N > 0 && x.At <= s.Last {
		return a, false
	}
	s.Last = x.At
	at := s.N % copiedBlock
	s.Hash = s.Hash*copiedFactor + mix(x.T) - mix(s.Window[at])*copiedOut
	if s.N < copiedBlock {
		s.Hash += mix(0) * copiedOut // nothing has left yet
	}
	s.Window[at] = x.T
	s.N++
	if s.N < copiedBlock {
		return a, false
	}
	for i, hash := range s.Blocks {
		if hash != s.Hash || s.Ends[i] == 0 || s.changes() < copiedChanges || s.values() < copiedValues {
			continue
		}
		second := s.At > 0 && s.N-s.At == copiedBlock && int64(i) == (s.Match+1)%copiedBlocks
		s.Match, s.At = int64(i), s.N
		if !second {
			break
		}
		last := s.Told
		if s.Told = s.N; last > 0 && s.N-last < copiedAgain {
			break
		}
		a, found = Anomaly{Reason: ReasonCopied, Since: x.At - 2*copiedBlock*x.Interval, At: x.At, Figures: []Figure{
			{"readings as before", 2 * copiedBlock, 2 * copiedBlock}, {"hours before", float64(x.At-s.Ends[i]) / 3600, 0}}}, true
		break
	}
	// By the time and not by the count, so that the blocks of two sensors compare.
	if x.At/max(x.Interval, 1)%copiedBlock == 0 {
		s.Blocks[s.Slot], s.Ends[s.Slot] = s.Hash, x.At
		s.Slot = (s.Slot + 1) % copiedBlocks
	}
	return a, found
}

// mix spreads a value over a word (the finaliser of SplitMix64).
func mix(t Temperature) uint64 {
	z := uint64(uint32(t)) + copiedFactor
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

func (s *Copied) changes() (n int) {
	for i := range int64(copiedBlock - 1) {
		if s.Window[(s.N+i)%copiedBlock] != s.Window[(s.N+i+1)%copiedBlock] {
			n++
		}
	}
	return n
}

// values counts the different ones, up to what is asked for.
func (s *Copied) values() int {
	var seen [copiedValues]Temperature
	n := 0
	for _, t := range s.Window {
		if !slices.Contains(seen[:n], t) {
			if seen[n], n = t, n+1; n == copiedValues {
				break
			}
		}
	}
	return n
}

// Shares is how many blocks two sensors have in common that ended at the same times: one
// of them was copied from the other, unless both are still.
func (s *Copied) Shares(o *Copied) (n int) {
	for i, hash := range s.Blocks {
		for j := range o.Blocks {
			if s.Ends[i] != 0 && s.Ends[i] == o.Ends[j] && hash == o.Blocks[j] {
				n++
			}
		}
	}
	return n
}
