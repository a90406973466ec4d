package coldchain

const (
	// idleFor is in seconds: longer than the pause of a compressor in a cool place, and
	// of a defrost.
	idleFor = 3 * 3600
	// idleRise is by how much a store has to have warmed meanwhile: an ice-lined one
	// may rest for long while its ice lasts.
	idleRise Temperature = 1_000
	// idleTimes is how many times longer than any pause before it the pause has to be.
	idleTimes = 2
	// idleLong is too long for any, in seconds, where it is warmer outside.
	idleLong = 24 * 3600
)

// Idle finds a compressor that does not run while there is power and the store warms up,
// hours before the alarm for heat.
type Idle struct {
	In    bool
	Since int64
	Last  int64
	First Temperature
	Told  bool
	Usual int64 // the longest pause after which the compressor ran again
}

// Next takes the next sample.
func (s *Idle) Next(x *Sample) (a Anomaly, found bool) {
	if !x.has(HasCompressor|HasSupply|HasTemperature) || x.At <= s.Last {
		return a, false
	}
	late := x.At-s.Last > room(x)
	s.Last = x.At
	if x.Compressor > 0 && s.In && !late && !s.Told {
		s.Usual = max(s.Usual, x.At-s.Since)
	}
	if x.Compressor > 0 || x.Supply < x.Interval || late {
		*s = Idle{Last: x.At, Usual: s.Usual}
	}
	if x.Compressor > 0 || x.Supply < x.Interval {
		return a, false
	}
	if !s.In {
		s.In, s.Since, s.First = true, x.At, x.T
	}
	idle, rise := x.At-s.Since, x.T-s.First
	warm := !x.has(HasAmbient) || x.Ambient > x.T+10_000
	limit := max(idleFor, idleTimes*s.Usual)
	if s.Told || !(idle >= limit && rise >= idleRise || idle >= max(limit, idleLong) && warm) {
		return a, false
	}
	s.Told = true
	return Anomaly{Reason: ReasonIdle, Since: s.Since, At: x.At, Figures: []Figure{
		{"hours idle with power", float64(idle) / 3600, float64(limit) / 3600}, {"°C warmer", rise.Degrees(), idleRise.Degrees()}}}, true
}
