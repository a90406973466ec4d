package coldchain

const (
	// reserveFor is in seconds: over a whole day without power the warmth of noon and
	// the cool of night even out.
	reserveFor = 86400
	// reserveShare is how much of that time a holdover has to have lost at least. It
	// is counted for the ambient temperature as it is, and may fall slowly; it does not
	// stay.
	reserveShare = 4
	// reserveWarm is for how long a store may be out of its range while its appliance
	// says that it would hold, in seconds.
	reserveWarm = 3600
)

// Reserve finds a holdover that cannot be: one that does not fall in a day without power,
// or that is still left while the store has been too warm for an hour without it.
type Reserve struct {
	In     bool
	Since  int64
	First  int64 // holdover
	Warm   int64 // since; 0: it is not
	Told   bool
	LastAt int64
}

// Next takes the next sample.
func (s *Reserve) Next(x *Sample) (a Anomaly, found bool) {
	if !x.has(HasSupply | HasHoldover) {
		return a, false
	}
	if x.Supply > 0 || x.At <= s.LastAt || x.At-s.LastAt > room(x) {
		*s = Reserve{LastAt: x.At}
	}
	s.LastAt = x.At
	if x.Supply > 0 {
		return a, false
	}
	if !s.In {
		s.In, s.Since, s.First = true, x.At, x.Holdover
	}
	if x.T <= Refrigerated.High {
		s.Warm = 0
	} else if s.Warm == 0 {
		s.Warm = x.At
	}
	if s.Told {
		return a, false
	}
	without, lost := x.At-s.Since, s.First-x.Holdover
	switch {
	case s.Warm > 0 && x.At-s.Warm >= reserveWarm && x.Holdover > reserveWarm:
		a = Anomaly{Reason: ReasonHoldover, Since: s.Warm, At: x.At, Figures: []Figure{
			{"hours left as it says", float64(x.Holdover) / 3600, 0}, {"°C", x.T.Degrees(), Refrigerated.High.Degrees()}}}
	case without >= reserveFor && lost < without/reserveShare && x.Holdover > 0:
		a = Anomaly{Reason: ReasonHoldover, Since: s.Since, At: x.At, Figures: []Figure{
			{"hours of holdover gone", float64(lost) / 3600, float64(without) / reserveShare / 3600}, {"hours without power", float64(without) / 3600, reserveFor / 3600}}}
	default:
		return a, false
	}
	s.Told = true
	return a, true
}
