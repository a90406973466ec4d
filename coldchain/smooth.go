package coldchain

const (
	smoothFor = 86400 // seconds of a window
	// smoothRange is in quanta: what moves less than ten of the device's own steps in a
	// day is still, not smooth.
	smoothRange = 10
	// smoothTurns is how often a real store's temperature turns in a day at least:
	// compressor and noise turn it dozens of times, a drawn curve twice.
	smoothTurns = 6
	// smoothDays are needed one after the other, since the day of an outage and the
	// recovery from it is smooth too.
	smoothDays = 2
)

// Smooth finds curves that were drawn and not measured: they move, up and down, but
// never tremble.
type Smooth struct {
	Start  Reading
	Last   Temperature
	At     int64
	Low    Temperature
	High   Temperature
	Step   Temperature // the least that two readings were apart, ever; 0: not known
	N      int64
	Turns  int64
	Up     int64 // quanta
	Down   int64
	Rising bool
	Outage bool // power was away, or the compressor at rest: then it may be smooth
	Days   int64
	Since  int64
}

// Next takes the next sample.
func (s *Smooth) Next(x *Sample) (a Anomaly, found bool) {
	if s.N > 0 && x.At <= s.At {
		return a, false
	}
	if s.N > 0 && x.At-s.Start.At >= smoothFor {
		found = s.day(x, &a)
		s.N = 0
	}
	if s.N == 0 {
		s.Start, s.Low, s.High = Reading{x.At, x.T}, x.T, x.T
		s.Turns, s.Up, s.Down, s.Outage = 0, 0, 0, false
	} else if d := x.T - s.Last; d != 0 {
		if size := max(d, -d); s.Step == 0 || size < s.Step {
			s.Step = size
		}
		if rising := d > 0; rising != s.Rising {
			s.Rising = rising
			s.Turns++
		}
		if d > 0 {
			s.Up += int64(d)
		} else {
			s.Down -= int64(d)
		}
	}
	if x.has(HasSupply) && x.Supply < x.Interval {
		s.Outage = true
	}
	s.N++
	s.At, s.Last, s.Low, s.High = x.At, x.T, min(s.Low, x.T), max(s.High, x.T)
	return a, found
}

// day ends a window.
func (s *Smooth) day(x *Sample, a *Anomaly) bool {
	least := smoothRange * int64(s.Step)
	whole := x.Interval <= 0 || s.N*x.Interval >= smoothFor*8/10
	if !whole || s.N < 48 || s.Step == 0 || s.Outage || s.Up < least || s.Down < least || s.Turns > smoothTurns {
		s.Days = 0
		return false
	}
	if s.Days++; s.Days == 1 {
		s.Since = s.Start.At
	}
	if s.Days != smoothDays {
		return false
	}
	*a = Anomaly{Reason: ReasonSmooth, Since: s.Since, At: x.At, Figures: []Figure{
		{"turns in a day", float64(s.Turns), smoothTurns}, {"°C of range", (s.High - s.Low).Degrees(), float64(least) / 1000}}}
	return true
}
