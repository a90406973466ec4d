package coldchain

// NoPower is the alarm of a day without power (WHO/PQS/E006/DS01, ALRM).
var NoPower = Limit{ID: "POWR", For: 24 * 3600}

// PowerAway is shown from the first reading without power, of a night of a solar one
// too: from then on the store lives on its holdover.
var PowerAway = Limit{ID: "AWAY", Shown: true}

// Supply takes for how long there was power. A run of readings without any breaks the
// rule; the first of them starts the clock, as with a temperature.
func (s *State) Supply(t *Terms, x Spent) (changed []Episode) {
	for _, p := range [...]struct {
		*spell
		limit *Limit
	}{{&s.power, t.Power}, {&s.away, t.Away}} {
		if p.limit == nil {
			continue
		}
		seconds := int64(0)
		if p.In && x.At-p.Last <= t.Gap {
			seconds = x.At - p.Last
		}
		changed = append(changed, p.next(p.limit, t.Gap, x.At, x.Seconds <= 0, seconds, true)...)
	}
	return changed
}
