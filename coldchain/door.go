package coldchain

// DoorOpen is the alarm of a door or lid that is open without a break (WHO/PQS/E006/DS01,
// ALRM).
var DoorOpen = Limit{ID: "DOOR", For: 5 * 60}

// Door takes for how long a door was open. The seconds of an interval are taken for one
// opening, the worse of what they can mean; it goes on into the next interval where the
// door was open all the time. Two parts on both sides of an edge are not put together:
// a busy morning has many of them, and what is missed so was shut within ten minutes.
func (s *State) Door(t *Terms, x Spent) []Episode {
	if t.Door == nil {
		return nil
	}
	if x.Interval <= 0 && s.door.Seen {
		x.Interval = x.At - s.door.Last
	}
	return s.door.next(t.Door, t.Gap, x.At, x.Seconds > 0, x.Seconds, x.Interval > 0 && x.Seconds >= x.Interval)
}
