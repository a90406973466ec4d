package coldchain

// LeftAsDeclared is how many seconds are left at a time, of a holdover that was declared
// in seconds for when power was lost. The figure of an appliance is measured at the
// highest ambient temperature of its zone (WHO/PQS/E003), so that there usually are more.
func LeftAsDeclared(holdover, lost, now int64) int64 { return max(0, holdover-max(0, now-lost)) }

// MaxLeft is what is said where a store warms so slowly that no end is in sight.
const MaxLeft = 30 * 86400

// minRise is for how long the rise is measured before anything is said of it.
const minRise = 3600

// Rise is the warming of a store since its power was lost: a straight line by least
// squares. It is a value, bounded, and goes on. A line ends too late while ice melts, and
// too early after it, when warming slows down near the ambient; so what it says is an
// estimate that is made again with each reading.
type Rise struct {
	N                int64   `json:"n"`
	First            Reading `json:"first"`
	Last             Reading `json:"last"`
	SX, SY, SXX, SXY float64
}

// Next takes the next reading without power.
func (r *Rise) Next(x Reading) {
	if r.N > 0 && x.At <= r.Last.At {
		return
	}
	if r.N == 0 {
		r.First = x
	}
	s, y := float64(x.At-r.First.At), float64(x.T)
	r.N, r.SX, r.SY, r.SXX, r.SXY, r.Last = r.N+1, r.SX+s, r.SY+y, r.SXX+s*s, r.SXY+s*y, x
}

// Left estimates the seconds until a limit is reached, [MaxLeft] at most; not ok: it was
// measured for less than an hour.
func (r *Rise) Left(limit Temperature) (seconds int64, ok bool) {
	if r.N < 3 || r.Last.At-r.First.At < minRise {
		return 0, false
	}
	if r.Last.T >= limit {
		return 0, true
	}
	n := float64(r.N)
	slope := (n*r.SXY - r.SX*r.SY) / (n*r.SXX - r.SX*r.SX)
	if left := float64(limit-r.Last.T) / slope; slope > 0 && left < MaxLeft {
		return int64(left), true
	}
	return MaxLeft, true
}
