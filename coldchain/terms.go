package coldchain

import (
	"fmt"
	"slices"
)

// Limit is an alarm by time alone.
type Limit struct {
	ID  string `json:"id"`
	For int64  `json:"for"` // seconds; 0: the first reading is enough
	// Shown is that it is put on the page and tells nobody.
	Shown bool `json:"shown,omitempty"`
}

// Terms are what the streams of an equipment are held against. A copy of them is kept
// with each alarm, as they were then.
type Terms struct {
	Profile Profile `json:"profile"`
	Rules   []Rule  `json:"rules"` // MaxRules at most count
	Door    *Limit  `json:"door,omitempty"`
	Power   *Limit  `json:"power,omitempty"`
	Away    *Limit  `json:"away,omitempty"` // of power too
	// Gap is in seconds: more than that between two readings counts for nothing and
	// ends a run, since what was in between is not known.
	Gap int64 `json:"gap"`
}

// Gap is three intervals of 15 minutes, in which DS01 has records: two may be lost
// without an alarm starting anew. No text of WHO fixes it.
const Gap = 3 * 900

// GapOf is the gap of an equipment with a reading in so many seconds. With less, every
// reading of an hourly logger would begin a run anew, and no alarm would ever be raised.
func GapOf(interval int64) int64 { return max(Gap, 3*interval) }

// Check reports whether a stream can be held against the terms. Those of [TermsOf] can;
// what an organisation sets itself is checked before it is kept.
func (t *Terms) Check() error {
	if len(t.Rules) > MaxRules {
		return fmt.Errorf("%d rules: %w", len(t.Rules), ErrRule)
	}
	if t.Gap <= 0 {
		return fmt.Errorf("a gap of %d s: %w", t.Gap, ErrRule)
	}
	ids := map[string]bool{}
	for _, r := range t.Rules {
		if r.ID == "" || ids[r.ID] || r.For < 0 || r.Op < Above || r.Op > Below || r.Mode < Consecutive || r.Mode > Cumulative {
			return fmt.Errorf("rule %q: %w", r.ID, ErrRule)
		}
		ids[r.ID] = true
	}
	for _, l := range []*Limit{t.Door, t.Power, t.Away} {
		if l != nil && (l.ID == "" || ids[l.ID] || l.For < 0) {
			return fmt.Errorf("limit %q: %w", l.ID, ErrRule)
		}
		if l != nil {
			ids[l.ID] = true
		}
	}
	return nil
}

// has reports whether a rule is one of the terms.
func (t *Terms) has(id string) bool {
	return slices.ContainsFunc(t.Rules, func(r Rule) bool { return r.ID == id })
}

// Outside are the rules by which any reading out of a profile is shown. They are no
// alarm: many a store is warm for minutes each time its door opens.
func Outside(p Profile) []Rule {
	return []Rule{
		{ID: "OUT-HIGH", Op: Above, Limit: p.High, Mode: Consecutive, Shown: true},
		{ID: "OUT-LOW", Op: Below, Limit: p.Low, Mode: Consecutive, Shown: true},
	}
}

// Excursion is the alarm of an organisation's own making: out of a profile for some
// seconds, in one run (HIGH, LOW) or all together (HIGH-SUM, LOW-SUM).
func Excursion(p Profile, seconds int64, mode Mode) []Rule {
	sum := ""
	if mode == Cumulative {
		sum = "-SUM"
	}
	return []Rule{
		{ID: "HIGH" + sum, Op: Above, Limit: p.High, For: seconds, Mode: mode},
		{ID: "LOW" + sum, Op: Below, Limit: p.Low, For: seconds, Mode: mode},
	}
}

// The names that [TermsOf] knows, beside those of the profiles.
const (
	ShipperType1 = "shipper-type-1"
	ShipperType2 = "shipper-type-2"
)

// TermsOf are the usual terms by the name of a profile, or of a shipper.
func TermsOf(profile string) (Terms, bool) {
	door, power, away := DoorOpen, NoPower, PowerAway
	t := Terms{Door: &door, Power: &power, Away: &away, Gap: Gap}
	switch profile {
	case Refrigerated.ID:
		t.Profile, t.Rules = Refrigerated, []Rule{Heat, Freeze}
	case Frozen.ID:
		t.Profile, t.Rules = Frozen, []Rule{FreezerHigh, FreezerLow}
	case UltraCold.ID:
		t.Profile, t.Rules = UltraCold, []Rule{UltraColdHigh, UltraColdLow}
	case ControlledTemperature.ID:
		// It is a chain without equipment: there is no door and no power.
		t.Profile, t.Rules = ControlledTemperature, CTC(40_000, 3)
		t.Door, t.Power, t.Away = nil, nil, nil
	case ShipperType1:
		t.Profile, t.Rules = Refrigerated, slices.Clone(Type1)
		t.Door, t.Power, t.Away = nil, nil, nil
	case ShipperType2:
		t.Profile, t.Rules = Refrigerated, slices.Clone(Type2)
		t.Door, t.Power, t.Away = nil, nil, nil
	default:
		return Terms{}, false
	}
	t.Rules = append(t.Rules, Outside(t.Profile)...)
	return t, true
}
