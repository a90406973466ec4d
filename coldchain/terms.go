package coldchain

import "slices"

// Limit is an alarm by time alone.
type Limit struct {
	ID  string `json:"id"`
	For int64  `json:"for"` // seconds; 0: the first reading is enough
	// Shown is that it is put on the page and tells nobody.
	Shown bool `json:"shown,omitempty"`
}

// Alarms of an appliance that are no temperature (DS01, ALRM): a door or lid open
// without a break, and no power.
var (
	DoorOpen = Limit{ID: "DOOR", For: 5 * 60}
	NoPower  = Limit{ID: "POWR", For: 24 * 3600}
)

// PowerAway is shown from the first reading without power, of a night of a solar one
// too: from then on the store lives on its holdover.
var PowerAway = Limit{ID: "AWAY", Shown: true}

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
