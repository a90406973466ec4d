package coldchain

import (
	"math"
	"slices"
)

// Outcome is what a path did to goods.
type Outcome string

// The outcomes.
const (
	Sound    Outcome = "sound"  // nothing harmed them where it was measured
	Heated   Outcome = "heat"   // the product's budget is used up
	Froze    Outcome = "freeze" // frozen, and the product does not bear it
	NotKnown Outcome = "not-known"
)

// Why an outcome is not known.
const (
	WhyUnmeasured  = "not-measured"                 // at no time
	WhySensitivity = "freeze-sensitivity-not-known" // frozen, and nobody says whether that harms
	WhyNoBudget    = "no-stability-budget"          // out of its storage range, and nobody says for how long it bears that
)

// Leg is where goods were for a time: in a store, or on their way.
type Leg struct {
	Where       string // name, as findings have it
	From, Until int64  // seconds since 1970
	// Readings are of what they stood in, in the order of their times: those of the leg
	// and the ones just before and after it. None: it was not measured.
	Readings []Reading
	Gap      int64 // seconds: more between two readings is not measured
	Level    uint8 // the least assurance of the readings (device.Level)
}

// Bearing is what a product bears.
type Bearing struct {
	Storage Profile // where it is kept
	Budget  *Budget // nil: nobody says how long it bears to be out of it
	// FreezeHarms and FreezeKnown: whether freezing spoils it, and whether anybody says.
	FreezeHarms, FreezeKnown bool
	VVM                      VVM     // 0: none
	Activation               float64 // ΔH/R in kelvin; 0: [Activation]
}

// Unknown is a part of a path that nobody measured.
type Unknown struct {
	Where string `json:"where"`
	From  int64  `json:"from"`
	Until int64  `json:"until"`
}

// Assessment is what is known of goods by their path. Times are in seconds.
type Assessment struct {
	Outcome Outcome `json:"outcome"`
	Why     string  `json:"why,omitempty"`
	// At is when they were harmed first, and Where; 0: not.
	At    int64  `json:"at,omitempty"`
	Where string `json:"where,omitempty"`
	// Share of the budget that is used, in millionths.
	Share    int64       `json:"share"`
	Spent    []int64     `json:"spent,omitempty"` // seconds in each band of the budget
	Outside  int64       `json:"outside"`         // time out of the storage range, as far as it was measured
	Frozen   int64       `json:"frozen"`          // when they froze; 0: not
	Warmest  Temperature `json:"warmest"`         // of what was measured
	Coldest  Temperature `json:"coldest"`
	MKT      *float64    `json:"mkt,omitempty"` // mean kinetic temperature in degrees Celsius; nil: not measured
	VVM      *float64    `json:"vvm,omitempty"` // which part of a monitor's life has gone; nil: it has none
	Whole    int64       `json:"whole"`         // the path
	Measured int64       `json:"measured"`      // of it
	Unknown  []Unknown   `json:"unknown"`
	Level    uint8       `json:"level"` // the least along the path; 0 where a part was not measured
}

// Assess goes along a path, leg by leg in the order of time, and says what it did to a
// product. What nobody measured is named, and never taken for held; a budget is counted
// over all legs together.
func Assess(path []Leg, b Bearing) Assessment {
	a := Assessment{Outcome: Sound, Warmest: math.MinInt32, Coldest: math.MaxInt32, Level: math.MaxUint8}
	var spent [MaxBands]int64
	at := map[Temperature]int64{}
	harmed := func(o Outcome, when int64, where string) {
		if a.At == 0 || when < a.At {
			a.Outcome, a.At, a.Where = o, when, where
		}
	}
	for i := range path {
		leg := &path[i]
		a.Whole += max(0, leg.Until-leg.From)
		var freezing Watch
		known := leg.From // until when it is known
		for k, x := range leg.Readings {
			from, until := max(x.At, leg.From), leg.Until
			if k+1 < len(leg.Readings) {
				until = min(leg.Readings[k+1].At, leg.Until)
			}
			inside := x.At >= leg.From && x.At < leg.Until
			if inside || k+1 < len(leg.Readings) && leg.Readings[k+1].At > leg.From && x.At < leg.From {
				a.Warmest, a.Coldest = max(a.Warmest, x.T), min(a.Coldest, x.T)
			}
			if inside {
				if _, frozen := freezing.Next(&Freeze, leg.Gap, x); frozen && a.Frozen == 0 {
					a.Frozen = x.At
					if b.FreezeKnown && b.FreezeHarms {
						harmed(Froze, x.At, leg.Where)
					}
				}
			}
			// The time until the next reading counts at this temperature; the last reading of a
			// leg says nothing of what comes after.
			if k+1 == len(leg.Readings) || leg.Readings[k+1].At-x.At > leg.Gap || until <= from {
				continue
			}
			if from > known {
				a.Unknown = append(a.Unknown, Unknown{leg.Where, known, from})
			}
			known = until
			d := until - from
			a.Measured += d
			at[x.T] += d
			if !b.Storage.Holds(x.T) {
				a.Outside += d
			}
			if b.Budget == nil {
				continue
			}
			if band := b.Budget.band(x.T); band >= 0 {
				left := Whole - share(b.Budget, &spent)
				spent[band] += d
				if left > 0 && share(b.Budget, &spent) >= Whole {
					harmed(Heated, from+usedUp(left, b.Budget.Bands[band].Seconds, d), leg.Where)
				}
			}
		}
		if known < leg.Until {
			a.Unknown = append(a.Unknown, Unknown{leg.Where, known, leg.Until})
			a.Level = 0
		}
		a.Level = min(a.Level, leg.Level)
	}
	if len(a.Unknown) > 0 || len(path) == 0 {
		a.Level = 0
	}
	if b.Budget != nil {
		a.Share, a.Spent = share(b.Budget, &spent), slices.Clone(spent[:len(b.Budget.Bands)])
	}
	a.weigh(at, b)
	if a.At == 0 {
		switch {
		case a.Measured == 0:
			a.Outcome, a.Why = NotKnown, WhyUnmeasured
		case a.Frozen != 0 && !b.FreezeKnown:
			a.Outcome, a.Why = NotKnown, WhySensitivity
		case b.Budget == nil && a.Warmest > b.Storage.High:
			a.Outcome, a.Why = NotKnown, WhyNoBudget
		}
	}
	return a
}

// weigh makes the means of the times at each temperature.
func (a *Assessment) weigh(at map[Temperature]int64, b Bearing) {
	if a.Measured == 0 {
		a.Warmest, a.Coldest = 0, 0
		return
	}
	stays := make([]Stay, 0, len(at))
	for t, seconds := range at {
		stays = append(stays, Stay{t, seconds})
	}
	// In one order, so that the sums are the same each time.
	slices.SortFunc(stays, func(a, b Stay) int { return int(a.T) - int(b.T) })
	activation := b.Activation
	if activation == 0 {
		activation = Activation
	}
	if mkt, err := MKT(stays, activation); err == nil {
		a.MKT = &mkt
	}
	if b.VVM != 0 {
		if used, err := b.VVM.Used(stays); err == nil {
			a.VVM = &used
		}
	}
}

// share is [Use.Share] of times that were added up elsewhere.
func share(b *Budget, spent *[MaxBands]int64) int64 {
	u := Use{Spent: *spent}
	return u.Share(b)
}

// usedUp is after how many of d seconds in a band the rest of a budget is gone.
func usedUp(left, allowed, d int64) int64 {
	if allowed <= 0 {
		return 0
	}
	return min(d, (left*allowed+Whole-1)/Whole)
}
