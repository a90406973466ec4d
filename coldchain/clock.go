package coldchain

const (
	// clockAhead is by how many seconds a reading may be newer than the moment at which
	// it arrived: two clocks that are set by the network differ by seconds.
	clockAhead = 300
	// clockBehind is by how many seconds, beyond two intervals between deliveries, the
	// newest reading may be older than the moment at which it arrived.
	clockBehind = 900
	// A clock is behind where that goes on to within a minute, for sixteen deliveries in
	// a row: a device that was cut off catches up, and its distance shrinks.
	clockSteady = 60
	clockTimes  = 16
)

// Clock compares the newest reading of each delivery with when it arrived, by the clock
// of who receives. Nothing is put right by it: both times stay as they were.
type Clock struct {
	Seen     bool
	At       int64 // newest reading
	Received int64
	Ahead    bool  // it was told
	Steady   int64 // deliveries in a row that were as far behind
}

// Next takes the newest reading of the next delivery; interval is the usual one between
// deliveries, in seconds. A device that was cut off and sends what it kept has no fault:
// its readings go on from those before.
func (s *Clock) Next(at, received, interval int64) (a Anomaly, found bool) {
	last := *s
	s.Seen, s.At, s.Received = true, at, received
	switch ahead := at - received; {
	case ahead > clockAhead && !last.Ahead:
		s.Ahead = true
		return Anomaly{Reason: ReasonAhead, Since: at, At: received, Figures: []Figure{{"seconds ahead", float64(ahead), clockAhead}}}, true
	case ahead <= clockAhead:
		s.Ahead = false
	}
	if !last.Seen {
		return a, false
	}
	if at < last.At {
		s.Steady = 0
		return Anomaly{Reason: ReasonBack, Since: at, At: received, Figures: []Figure{{"seconds back", float64(last.At - at), 0}}}, true
	}
	lag, before := received-at, last.Received-last.At
	if lag <= 2*interval+clockBehind || max(lag-before, before-lag) > clockSteady {
		s.Steady = 0
		return a, false
	}
	if s.Steady++; s.Steady != clockTimes {
		return a, false
	}
	return Anomaly{Reason: ReasonBehind, Since: at, At: received, Figures: []Figure{{"seconds behind", float64(lag), float64(2*interval + clockBehind)}}}, true
}
