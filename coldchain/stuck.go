package coldchain

import "math"

const (
	// stuckChance is how seldom a run may be before it is told: once in a million. Of a
	// sensor of 35,000 readings a year that is one false word in thirty years, were its
	// readings independent.
	stuckChance = 1e-6
	// stuckTimes is how many times longer than any run before it has to be: readings
	// are not independent, and a still store in a cool night has long runs.
	stuckTimes = 3
	// stuckWarm is how many readings are seen before a device's own noise is known.
	stuckWarm = 96
	// stuckMost, in seconds, is told of whatever the device did before: no store keeps
	// to a tenth of a degree for two days.
	stuckMost = 48 * 3600
	// stuckMemory is over how many readings what was forgets itself: a week of 15
	// minutes.
	stuckMemory = 672
)

// Stuck finds a run of identical values that is longer than the device's own noise
// explains. How often a value follows itself is counted, and a run of n of them has the
// chance pⁿ.
type Stuck struct {
	Last    Reading
	Since   int64
	Run     int64   // of the value as it is
	Seen    int64   // readings
	Same    float64 // share of those that were as the one before
	Longest float64 // run that ended, forgotten slowly
	Told    bool
}

// Next takes the next sample.
func (s *Stuck) Next(x *Sample) (a Anomaly, found bool) {
	if s.Seen > 0 && x.At <= s.Last.At {
		return a, false
	}
	if s.Seen == 0 || x.T != s.Last.T || x.At-s.Last.At > room(x) {
		if s.Run > 0 && !s.Told {
			s.learn()
		}
		s.Since, s.Run, s.Told = x.At, 0, false
	} else {
		s.Run++
	}
	s.Seen, s.Last = s.Seen+1, Reading{x.At, x.T}
	if s.Told || s.Run < 8 {
		return a, false
	}
	limit := math.Inf(1)
	if s.Seen-s.Run > stuckWarm {
		p := min(max(s.Same, 0.05), 0.99)
		limit = max(math.Log(stuckChance)/math.Log(p), stuckTimes*s.Longest)
	}
	if x.Interval > 0 {
		limit = min(limit, float64(stuckMost/x.Interval))
	}
	if float64(s.Run) <= limit {
		return a, false
	}
	s.Told = true
	return Anomaly{Reason: ReasonStuck, Since: s.Since, At: x.At, Figures: []Figure{
		{"identical readings", float64(s.Run + 1), math.Round(limit)}, {"share identical before", s.Same, 1}}}, true
}

// learn takes in a run that ended: Run readings that were as the one before, and one
// that was not.
func (s *Stuck) learn() {
	weight := min(float64(s.Run+1)/min(float64(s.Seen), stuckMemory), 1)
	s.Same += (float64(s.Run)/float64(s.Run+1) - s.Same) * weight
	s.Longest = max(s.Longest*(1-float64(s.Run+1)/(4*stuckMemory)), float64(s.Run))
}
