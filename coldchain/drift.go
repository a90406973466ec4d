package coldchain

import "math"

// A day's mean of what a simple model leaves unexplained is held against the days before
// by a cumulative sum (Page, 1954), which finds small shifts that last.
const (
	// cusumBase is how many days are taken for what is usual.
	cusumBase = 6
	// cusumSlack is half of the shift that is looked for, in standard deviations, and
	// cusumLimit what the sum may come to. Of independent normal days 0.75 and 6 give a
	// false word in some ten thousand days; the deviation of six days is a poor one, so
	// that it has a floor at each use.
	cusumSlack = 0.75
	cusumLimit = 6.0
)

// Cusum is a cumulative sum to both sides.
type Cusum struct {
	N        int64
	Mean, M2 float64 // of the base (Welford)
	Up, Down float64 // in deviations
	Since    int64   // when the sum that is larger was last zero
}

// next takes the value of a day that began at a time. It returns by how much the last
// days are off the base, in the value's unit, and the sum; after it was found the base
// is made anew.
func (s *Cusum) next(at int64, v, floor float64) (shift, sum float64, since int64, found bool) {
	if s.N < cusumBase {
		s.N++
		d := v - s.Mean
		s.Mean += d / float64(s.N)
		s.M2 += d * (v - s.Mean)
		s.Since = at
		return 0, 0, 0, false
	}
	z := (v - s.Mean) / max(math.Sqrt(s.M2/(cusumBase-1)), floor)
	s.Up, s.Down = max(0, s.Up+z-cusumSlack), max(0, s.Down-z-cusumSlack)
	if s.Up == 0 && s.Down == 0 {
		s.Since = at
	}
	if sum = max(s.Up, s.Down); sum < cusumLimit {
		return 0, sum, 0, false
	}
	shift, since = v-s.Mean, s.Since
	*s = Cusum{}
	return shift, sum, since, true
}

const (
	// driftLag, in seconds, is within how long a store follows its surroundings. Small
	// ice-lined refrigerators take one to three hours; of a day's mean it matters little.
	driftLag = 2 * 3600
	// driftQuiet is for how long after its door was open a store is not looked at, in
	// seconds: doors are opened by day, when it is warm, and their warmth would be taken
	// for that of the surroundings.
	driftQuiet = 2 * 3600
	// driftFloor is the least deviation of a day's residual, in °C: below it a door more
	// or less on a day would be a shift.
	driftFloor = 0.15
	// weakFloor is that of the logarithm of a compressor's work: 6 %.
	weakFloor = 0.06
	// driftWhole is the share of a day that was measured, with power, for it to count.
	driftWhole = 0.8
)

// Drift holds a store against a model of one node: its temperature, once it has followed
// its surroundings, is
//
//	T = a + b·TAMB,
//
// with b near 0 where a thermostat holds it and up to 0.3 where ice does; and what its
// compressor has to do grows with the difference to its surroundings,
//
//	share of time on = κ·(TAMB - T).
//
// a and b are fitted over the first days. A shift of T beyond the model, without the
// compressor doing more, is of the sensor, or somebody turned the dial; a growing κ is a
// leak, a worn compressor or a door that does not shut. Without TAMB b is 0, and κ is
// not looked at.
type Drift struct {
	Start, Last int64
	Ambient     float64 // as the store has followed it
	Following   bool
	Opened      int64 // when the door was open last
	// Sums of the day, and of the first days for the fit; N are those without a door.
	Seen, N, ST, SA, On, Possible float64
	FN, FT, FA, FAA, FAT          float64
	B                             float64
	Outage                        int64 // days to come that are not judged
	Shift, Work                   Cusum
}

// Next takes the next sample.
func (s *Drift) Next(x *Sample) (a Anomaly, found bool) {
	if s.Start != 0 && x.At <= s.Last {
		return a, false
	}
	if s.Start == 0 {
		s.Start = x.At
	}
	if x.At-s.Start >= 86400 {
		a, found = s.day(x)
		s.Start = x.At
		s.Seen, s.N, s.ST, s.SA, s.On, s.Possible = 0, 0, 0, 0, 0, 0
	}
	step := x.At - s.Last
	s.Last = x.At
	if x.has(HasAmbient) {
		if !s.Following || step > 4*driftLag {
			s.Ambient, s.Following = x.Ambient.Degrees(), true
		}
		s.Ambient += (x.Ambient.Degrees() - s.Ambient) * min(1, float64(step)/driftLag)
	}
	if x.has(HasSupply) && x.Supply < x.Interval/2 {
		s.Outage = max(s.Outage, 2) // the day after it makes up for it
	}
	if x.has(HasDoor) && x.Door > 0 {
		s.Opened = x.At
	}
	s.Seen++
	if x.has(HasCompressor) {
		s.On += float64(x.Compressor)
		s.Possible += float64(x.Interval)
	}
	if x.At-s.Opened < driftQuiet {
		return a, found
	}
	t := x.T.Degrees()
	s.N, s.ST, s.SA = s.N+1, s.ST+t, s.SA+s.Ambient
	if s.Shift.N < cusumBase && s.Following {
		s.FN, s.FT, s.FA, s.FAA, s.FAT = s.FN+1, s.FT+t, s.FA+s.Ambient, s.FAA+s.Ambient*s.Ambient, s.FAT+s.Ambient*t
	}
	return a, found
}

func (s *Drift) day(x *Sample) (a Anomaly, found bool) {
	if s.Outage > 0 {
		s.Outage--
		return a, false
	}
	if x.Interval > 0 && s.Seen*float64(x.Interval) < driftWhole*86400 || s.N < 12 {
		return a, false
	}
	t, ambient := s.ST/s.N, s.SA/s.N
	if s.Following && s.Shift.N < cusumBase {
		if v := s.FAA - s.FA*s.FA/s.FN; v > s.FN { // an ambient that moved by a degree at least
			s.B = min(max((s.FAT-s.FA*s.FT/s.FN)/v, 0), 0.5)
		}
	}
	residual := t
	if s.Following {
		residual -= s.B * (ambient - 25) // any constant would do: it is in the base
	}
	if s.Possible > 0 && s.Following && ambient > t+5 && s.On > 0 && s.On < 0.97*s.Possible {
		work := math.Log(s.On / s.Possible / (ambient - t))
		if shift, sum, since, is := s.Work.next(s.Start, work, weakFloor); is && shift > 0 {
			a, found = Anomaly{Reason: ReasonWeak, Since: since, At: x.At, Figures: []Figure{
				{"times the work for a degree", math.Exp(shift), 1}, {"cumulative sum", sum, cusumLimit}}}, true
		}
	}
	if shift, sum, since, is := s.Shift.next(s.Start, residual, driftFloor); is {
		s.FN, s.FT, s.FA, s.FAA, s.FAT = 0, 0, 0, 0, 0
		if !found {
			a, found = Anomaly{Reason: ReasonDrift, Since: since, At: x.At, Figures: []Figure{
				{"°C beyond the model", shift, driftFloor}, {"cumulative sum", sum, cusumLimit}}}, true
		}
	}
	return a, found
}

// pairFloor is the least deviation of a day's difference of two sensors in one store,
// in °C.
const pairFloor = 0.1

// Pair holds two sensors of one store against each other: their difference has its own
// base, since one stands higher than the other, and is then to stay.
type Pair struct {
	Start, Last int64
	N, Sum      float64
	Days        Cusum
}

// Next takes the next two readings of one time.
func (s *Pair) Next(at int64, one, other Temperature) (a Anomaly, found bool) {
	if s.Start != 0 && at <= s.Last {
		return a, false
	}
	if s.Start == 0 {
		s.Start = at
	}
	if at-s.Start >= 86400 {
		if s.N >= 20 {
			if shift, sum, since, is := s.Days.next(s.Start, s.Sum/s.N, pairFloor); is {
				a, found = Anomaly{Reason: ReasonPair, Since: since, At: at, Figures: []Figure{
					{"°C of shift", shift, pairFloor}, {"cumulative sum", sum, cusumLimit}}}, true
			}
		}
		s.Start, s.N, s.Sum = at, 0, 0
	}
	s.Last, s.N, s.Sum = at, s.N+1, s.Sum+(one-other).Degrees()
	return a, found
}
