package coldchain

import "slices"

const (
	spikeWindow = 7 // readings: three before and three after, as Hampel's filter has it
	// spikeTimes is how many scaled median absolute deviations are too far: five, since
	// with Hampel's three a store with a door gives one a day.
	spikeTimes = 5
	scaleMAD   = 1.4826 // of the median absolute deviation to a standard deviation
	// spikeLeast is what is far at all: air at an open door goes up by a degree or two.
	spikeLeast Temperature = 3_000
)

// Spike finds a value that its neighbours on both sides do not know of: what holds
// kilograms of vaccine does not warm by degrees and cool again within minutes. Where the
// door was open it may have been the air. It is told three readings later.
type Spike struct {
	Window [spikeWindow]Reading
	Doors  [spikeWindow]bool
	N      int
}

// Next takes the next sample.
func (s *Spike) Next(x *Sample) (a Anomaly, found bool) {
	if s.N > 0 {
		last := s.Window[spikeWindow-1].At
		if x.At <= last {
			return a, false
		}
		if x.At-last > room(x) {
			s.N = 0
		}
	}
	copy(s.Window[:], s.Window[1:])
	copy(s.Doors[:], s.Doors[1:])
	s.Window[spikeWindow-1], s.Doors[spikeWindow-1] = Reading{x.At, x.T}, x.has(HasDoor) && x.Door > 0
	if s.N = min(s.N+1, spikeWindow); s.N < spikeWindow {
		return a, false
	}
	const middle = spikeWindow / 2
	at := s.Window[middle]
	if before, after := s.Window[middle-1].T, s.Window[middle+1].T; distance(at.T, before) < spikeLeast || distance(at.T, after) < spikeLeast {
		return a, false // seldom more is needed
	}
	if s.Doors[middle] || s.Doors[middle-1] {
		return a, false
	}
	var sorted [spikeWindow]Temperature
	for i, r := range s.Window {
		sorted[i] = r.T
	}
	slices.Sort(sorted[:])
	median := sorted[middle]
	for i, r := range s.Window {
		sorted[i] = distance(r.T, median)
	}
	slices.Sort(sorted[:])
	limit := max(float64(spikeLeast), spikeTimes*scaleMAD*float64(sorted[middle]))
	if d := distance(at.T, median); float64(d) > limit {
		return Anomaly{Reason: ReasonSpike, Since: at.At, At: x.At, Figures: []Figure{{"°C from the median", d.Degrees(), limit / 1000}}}, true
	}
	return a, false
}

func distance(a, b Temperature) Temperature { return max(a-b, b-a) }
