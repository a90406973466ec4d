package coldchain

import "slices"

const (
	copiedBlock = 32 // readings: eight hours of 15 minutes
	// copiedBlocks are kept: about 32 days of 15 minutes.
	copiedBlocks = 96
	// copiedChanges is how often the value changes in a block that says anything. With
	// two ways to go each time that is a chance of 2^-16 for two blocks, and of less
	// than 1 in 600 for all that are kept; a second block in a row makes it certain.
	copiedChanges = 16
	// copiedValues is how many values there are in it at least: a thermostat whose
	// sensor tells half degrees goes round the same four.
	copiedValues = 6
	copiedFactor = 0x9E3779B97F4A7C15 // odd, so that nothing of a power is lost
)

// Copied finds readings that were there before: the values of any 32 readings in a row
// are compared, by a rolling fingerprint, with the blocks of 32 that were kept. A copy of
// 64 or more readings has a whole block in it, wherever it starts.
type Copied struct {
	Window [copiedBlock]Temperature
	N      int64 // readings
	Hash   uint64
	Blocks [copiedBlocks]uint64 // 0: none
	Ends   [copiedBlocks]int64  // times of their last readings
	Next1  int64                // block to be overwritten
	Last   int64
	Told   int64 // N at which it was told
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
		if s.Told > 0 && s.N-s.Told < 2*copiedBlocks {
			s.Told = s.N
			break
		}
		s.Told = s.N
		a, found = Anomaly{Reason: ReasonCopied, Since: x.At - copiedBlock*x.Interval, At: x.At, Figures: []Figure{
			{"readings as before", copiedBlock, copiedBlock}, {"hours before", float64(x.At-s.Ends[i]) / 3600, 0}}}, true
		break
	}
	if s.N%copiedBlock == 0 {
		s.Blocks[s.Next1], s.Ends[s.Next1] = s.Hash, x.At
		s.Next1 = (s.Next1 + 1) % copiedBlocks
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
