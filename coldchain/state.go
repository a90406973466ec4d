package coldchain

import (
	"encoding/json"
	"errors"
	"fmt"
)

// MaxRules is how many rules a stream may be held against at once.
const MaxRules = 12

// ErrState is what is no kept state.
var ErrState = errors.New("no state of a stream")

// Why an episode ended.
const (
	EndRecovered  = "recovered"     // a reading was within the limit
	EndGap        = "gap"           // nothing was measured for longer than Terms.Gap: what was then is not known
	EndSensorLost = "sensor-lost"   // the sensor was given up
	EndTerms      = "terms-changed" // the equipment is held against other terms from here on
)

// Spent is for how many seconds of an interval something was so: a door open, power
// there. A reading tells the sum and not how it lies in the interval.
type Spent struct {
	At       int64 // of the reading, by the device's clock
	Interval int64 // seconds that it is about; not above 0: as many as since the reading before
	Seconds  int64
}

// Episode is a rule that was broken, from the first reading until a good one. Rule and
// Since name it, whenever it is looked at.
type Episode struct {
	Rule    string      `json:"rule"`
	Since   int64       `json:"since"` // the first reading
	At      int64       `json:"at"`    // the reading with which it was certain
	Until   int64       `json:"until,omitempty"`
	Seconds int64       `json:"seconds"` // that were counted
	Extreme Temperature `json:"extreme"` // the worst so far; 0 of a door and of power
	End     string      `json:"end,omitempty"`
	Shown   bool        `json:"shown,omitempty"` // as [Rule.Shown]
}

// worsening is by how much a temperature gets worse before an episode is told again.
// A finer step would tell of every reading while a store warms up.
const worsening Temperature = 1_000

// State is what the past of one stream comes to. It is a value: a copy is a snapshot,
// from which late readings are evaluated again. It goes on from its JSON, and is
// bounded by MaxRules however long the past is.
type State struct {
	seen  bool
	last  Reading
	runs  [MaxRules]run
	door  spell
	power spell
	away  spell
}

// run is where one rule stands: a [Watch] without what all of them share.
type run struct {
	Rule   string      `json:"rule"`
	Since  int64       `json:"since,omitempty"`
	At     int64       `json:"at,omitempty"`
	Total  int64       `json:"total,omitempty"`
	Worst  Temperature `json:"worst,omitempty"`
	Told   Temperature `json:"told,omitempty"`
	In     bool        `json:"in,omitempty"`
	Raised bool        `json:"raised,omitempty"`
	Over   bool        `json:"over,omitempty"` // a cumulative rule that was raised and ended: it is told no more
}

// spell is where a door or a supply stands.
type spell struct {
	Seen   bool  `json:"seen,omitempty"`
	Last   int64 `json:"last,omitempty"`
	Since  int64 `json:"since,omitempty"`
	At     int64 `json:"at,omitempty"`
	Total  int64 `json:"total,omitempty"`
	In     bool  `json:"in,omitempty"`
	Raised bool  `json:"raised,omitempty"`
}

// Last is the time of the last reading that was taken, of any of the three kinds; 0:
// there was none.
func (s *State) Last() int64 { return max(s.last.At, s.door.Last, s.power.Last, s.away.Last) }

// Temperature takes the next reading, and returns what began to be certain, got worse
// or ended with it. A reading that is not after the last one is passed over: it has to
// be evaluated from a snapshot before it.
func (s *State) Temperature(t *Terms, x Reading) (changed []Episode) {
	if s.seen && x.At <= s.last.At {
		return nil
	}
	gap := s.seen && x.At-s.last.At > t.Gap
	for i := range t.Rules {
		rule := &t.Rules[i]
		r := s.run(i, t)
		if r == nil {
			break
		}
		before := *r
		w := Watch{Seen: s.seen, Last: s.last, Since: r.Since, Total: r.Total, Worst: r.Worst, In: r.In, Raised: r.Raised}
		alarm, raised := w.Next(rule, t.Gap, x)
		if before.Raised && (!w.In || w.Since != before.Since) {
			e := before.episode(rule.Shown)
			e.Until, e.End = x.At, EndRecovered
			if gap {
				e.Until, e.End = s.last.At, EndGap
			}
			changed = append(changed, e)
		}
		r.Since, r.Total, r.Worst, r.In, r.Raised = w.Since, w.Total, w.Worst, w.In, w.Raised
		switch {
		case raised:
			r.At, r.Told = alarm.At, w.Worst
			changed = append(changed, r.episode(rule.Shown))
		case r.Raised && !r.Over && max(r.Worst-r.Told, r.Told-r.Worst) >= worsening:
			r.Told = r.Worst
			changed = append(changed, r.episode(rule.Shown))
		}
	}
	s.seen, s.last = true, x
	return changed
}

func (r *run) episode(shown bool) Episode {
	return Episode{Rule: r.Rule, Since: r.Since, At: r.At, Seconds: r.Total, Extreme: r.Worst, Shown: shown}
}

// run is that of the i-th rule; nil: there are more rules than MaxRules.
func (s *State) run(i int, t *Terms) *run {
	if i >= MaxRules {
		return nil
	}
	id := t.Rules[i].ID
	if s.runs[i].Rule == id {
		return &s.runs[i]
	}
	for j := range s.runs {
		if s.runs[j].Rule == id {
			s.runs[i], s.runs[j] = s.runs[j], s.runs[i]
			return &s.runs[i]
		}
	}
	for j := range s.runs { // what stands here moves to a place that no rule needs
		if s.runs[j].Rule == "" || !t.has(s.runs[j].Rule) {
			s.runs[j] = s.runs[i]
			break
		}
	}
	s.runs[i] = run{Rule: id}
	return &s.runs[i]
}

// next takes a reading by which it was so, for some seconds more, and to the end of the
// interval or not.
func (p *spell) next(l *Limit, gap, at int64, so bool, seconds int64, whole bool) (changed []Episode) {
	if p.Seen && at <= p.Last {
		return nil
	}
	late := p.Seen && at-p.Last > gap
	if p.Raised && (!so || late) {
		e := p.episode(l)
		e.Until, e.End = at, EndRecovered
		if late {
			e.Until, e.End = p.Last, EndGap
		}
		changed = append(changed, e)
	}
	if !so || late {
		*p = spell{}
	}
	p.Seen, p.Last = true, at
	if !so {
		return changed
	}
	if !p.In {
		p.In, p.Since = true, at
	}
	p.Total += seconds
	if !p.Raised && p.Total >= l.For {
		p.Raised, p.At = true, at
		return append(changed, p.episode(l))
	}
	if !whole && !p.Raised {
		*p = spell{Seen: true, Last: at}
	}
	return changed
}

func (p *spell) episode(l *Limit) Episode {
	return Episode{Rule: l.ID, Since: p.Since, At: p.At, Seconds: p.Total, Shown: l.Shown}
}

// Lost ends what goes on: the sensor was given up at a time, and will tell neither that
// all is well again nor that it is not. What a cumulative rule has counted stays.
func (s *State) Lost(t *Terms, at int64) []Episode { return s.end(t, at, EndSensorLost) }

// Changed ends what goes on since other terms count from a time on, and forgets what
// was counted under the old ones.
func (s *State) Changed(old *Terms, at int64) []Episode {
	ended := s.end(old, at, EndTerms)
	*s = State{}
	return ended
}

func (s *State) end(t *Terms, at int64, why string) (ended []Episode) {
	for i := range t.Rules {
		r := s.run(i, t)
		if r == nil {
			break
		}
		if r.Raised && !r.Over {
			e := r.episode(t.Rules[i].Shown)
			e.Until, e.End = max(at, s.last.At), why
			ended = append(ended, e)
		}
		if t.Rules[i].Mode == Consecutive {
			*r = run{Rule: r.Rule}
		} else {
			r.Over = r.Raised
		}
	}
	for _, p := range []struct {
		*spell
		limit *Limit
	}{{&s.door, t.Door}, {&s.power, t.Power}, {&s.away, t.Away}} {
		if p.limit != nil && p.Raised {
			e := p.episode(p.limit)
			e.Until, e.End = max(at, p.Last), why
			ended = append(ended, e)
		}
		*p.spell = spell{Seen: p.Seen, Last: p.Last}
	}
	return ended
}

// kept is the JSON of a State.
type kept struct {
	Last  *Reading `json:"last,omitempty"`
	Runs  []run    `json:"runs,omitempty"` // those that have something to say
	Door  *spell   `json:"door,omitempty"`
	Power *spell   `json:"power,omitempty"`
	Away  *spell   `json:"away,omitempty"`
}

// MarshalJSON writes what is needed to go on.
func (s State) MarshalJSON() ([]byte, error) {
	var k kept
	if s.seen {
		k.Last = &s.last
	}
	for _, r := range s.runs {
		if r != (run{Rule: r.Rule}) {
			k.Runs = append(k.Runs, r)
		}
	}
	if s.door != (spell{}) {
		k.Door = &s.door
	}
	if s.power != (spell{}) {
		k.Power = &s.power
	}
	if s.away != (spell{}) {
		k.Away = &s.away
	}
	return json.Marshal(k)
}

// UnmarshalJSON reads it.
func (s *State) UnmarshalJSON(data []byte) error {
	var k kept
	if err := json.Unmarshal(data, &k); err != nil {
		return fmt.Errorf("%w: %w", ErrState, err)
	}
	if len(k.Runs) > MaxRules {
		return fmt.Errorf("%d rules: %w", len(k.Runs), ErrState)
	}
	*s = State{}
	if k.Last != nil {
		s.seen, s.last = true, *k.Last
	}
	copy(s.runs[:], k.Runs)
	if k.Door != nil {
		s.door = *k.Door
	}
	if k.Power != nil {
		s.power = *k.Power
	}
	if k.Away != nil {
		s.away = *k.Away
	}
	return nil
}
