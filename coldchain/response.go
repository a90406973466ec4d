package coldchain

import "math"

const (
	responseFor = 96 // samples of a window: a day of 15 minutes
	// responseDays are averaged before a device's own answer to its compressor is known.
	responseDays = 3
	// responseClear is the correlation below which there is an answer at all: an
	// ice-lined store has none that can be seen, and is not judged by it.
	responseClear = -0.4
	// responseNone is what is left of none: the correlation of 96 independent pairs is
	// within 0.2 of zero in 19 of 20 days.
	responseNone = -0.15
	// responseTwice is for how many days in a row it has to be gone.
	responseTwice = 2
)

// Response finds temperatures that no longer know of the compressor: where a store has
// shown for days that it cools when the compressor runs and warms when it rests, readings
// without a trace of that are not of this store. It is the correlation of how much the
// temperature changed with how long the compressor ran.
type Response struct {
	Last                 Reading
	N                    float64
	SX, SY, SXX, SYY, XY float64
	Since                int64
	Days                 int64 // with a correlation that was usual
	Usual                float64
	Missing              int64
	First                int64
}

// Next takes the next sample.
func (s *Response) Next(x *Sample) (a Anomaly, found bool) {
	if x.At <= s.Last.At {
		return a, false
	}
	last := s.Last
	s.Last = Reading{x.At, x.T}
	if last.At == 0 || x.At-last.At > room(x) || !x.has(HasCompressor) || x.Interval <= 0 || x.has(HasDoor) && x.Door > 0 {
		return a, false
	}
	if s.N == 0 {
		s.Since = x.At
	}
	on, change := float64(x.Compressor)/float64(x.Interval), (x.T - last.T).Degrees()
	s.N++
	s.SX, s.SY, s.SXX, s.SYY, s.XY = s.SX+on, s.SY+change, s.SXX+on*on, s.SYY+change*change, s.XY+on*change
	if s.N < responseFor {
		return a, false
	}
	vx, vy := s.SXX-s.SX*s.SX/s.N, s.SYY-s.SY*s.SY/s.N
	since, r := s.Since, (s.XY-s.SX*s.SY/s.N)/math.Sqrt(vx*vy)
	moved := vx/s.N > 0.01 // it ran and it rested
	s.N, s.SX, s.SY, s.SXX, s.SYY, s.XY = 0, 0, 0, 0, 0, 0
	switch {
	case !moved:
		s.Missing = 0
		return a, false
	case vy <= 0 || math.IsNaN(r): // still, whatever the compressor did
		r = 0
	}
	if s.Days >= responseDays && s.Usual <= responseClear && r > responseNone {
		if s.Missing++; s.Missing == 1 {
			s.First = since
		}
		if s.Missing != responseTwice {
			return a, false
		}
		return Anomaly{Reason: ReasonDeaf, Since: s.First, At: x.At, Figures: []Figure{
			{"correlation with the compressor", r, responseNone}, {"usual", s.Usual, responseClear}}}, true
	}
	s.Missing = 0
	s.Days++
	s.Usual += (r - s.Usual) / min(float64(s.Days), 7)
	return a, false
}
