package coldchain

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// steady returns readings of one temperature from one time up to another, both included.
func steady(step, from, until int64, t Temperature) (out []Reading) {
	for at := from; at <= until; at += step {
		out = append(out, Reading{at, t})
	}
	return out
}

func TestAssess(t *testing.T) {
	const hour, day = 3600, 86400
	budget := &Budget{Bands: []Band{{Above: 8_000, Seconds: 48 * hour}, {Above: 25_000, Seconds: 12 * hour}}}
	ipv := Bearing{Storage: Refrigerated, Budget: budget, FreezeHarms: true, FreezeKnown: true}
	yellow := Bearing{Storage: Refrigerated, Budget: budget, FreezeKnown: true}
	nobody := Bearing{Storage: Refrigerated}
	leg := func(where string, from, until int64, readings ...[]Reading) Leg {
		return Leg{where, from, until, slices.Concat(readings...), Gap, 3}
	}
	cold := func(from, until int64) []Reading { return steady(900, from, until, 5_000) }
	frozen := leg("store", 0, day, cold(0, 12*hour), steady(900, 12*hour+900, 14*hour, -2_000), cold(14*hour+900, day))
	for _, c := range []struct {
		name    string
		path    []Leg
		bearing Bearing
		want    Assessment // without means
	}{
		{"sound", []Leg{leg("store", 0, day, cold(-900, day+900))}, ipv,
			Assessment{Outcome: Sound, Warmest: 5_000, Coldest: 5_000, Whole: day, Measured: day, Level: 3}},
		{"frozen, and it harms", []Leg{frozen}, ipv,
			Assessment{Outcome: Froze, At: 13*hour + 900, Where: "store", Frozen: 13*hour + 900, Outside: 2 * hour, Warmest: 5_000, Coldest: -2_000, Whole: day, Measured: day, Level: 3}},
		{"frozen, and it does not harm", []Leg{frozen}, yellow,
			Assessment{Outcome: Sound, Frozen: 13*hour + 900, Outside: 2 * hour, Warmest: 5_000, Coldest: -2_000, Whole: day, Measured: day, Level: 3}},
		{"frozen, and nobody knows", []Leg{frozen}, nobody,
			Assessment{Outcome: NotKnown, Why: WhySensitivity, Frozen: 13*hour + 900, Outside: 2 * hour, Warmest: 5_000, Coldest: -2_000, Whole: day, Measured: day, Level: 3}},
		{"warm within its budget", []Leg{leg("store", 0, day, steady(900, 0, day, 10_000))}, yellow,
			Assessment{Outcome: Sound, Share: Whole / 2, Outside: day, Warmest: 10_000, Coldest: 10_000, Whole: day, Measured: day, Level: 3}},
		{"warm, and no budget is known", []Leg{leg("store", 0, day, steady(900, 0, day, 10_000))}, nobody,
			Assessment{Outcome: NotKnown, Why: WhyNoBudget, Outside: day, Warmest: 10_000, Coldest: 10_000, Whole: day, Measured: day, Level: 3}},
		// Half of the budget in the store, a quarter on the way, and the rest within three
		// hours at 30 °C.
		{"the budget is used up over all legs", []Leg{
			leg("store", 0, day, steady(900, 0, day, 10_000)),
			leg("van", day, day+12*hour, steady(900, day, day+12*hour, 10_000)),
			leg("clinic", day+12*hour, 2*day, steady(900, day+12*hour, 2*day, 30_000)),
		}, yellow, Assessment{Outcome: Heated, At: day + 15*hour, Where: "clinic", Share: Whole + 750_000, Outside: 2 * day, Warmest: 30_000, Coldest: 10_000, Whole: 2 * day, Measured: 2 * day, Level: 3}},
		{"a gap", []Leg{leg("store", 0, day, cold(0, 6*hour), cold(18*hour, day))}, ipv,
			Assessment{Outcome: Sound, Warmest: 5_000, Coldest: 5_000, Whole: day, Measured: 12 * hour, Unknown: []Unknown{{"store", 6 * hour, 18 * hour}}}},
		{"a leg without readings", []Leg{leg("store", 0, day, cold(0, day)), leg("van", day, 2*day)}, ipv,
			Assessment{Outcome: Sound, Warmest: 5_000, Coldest: 5_000, Whole: 2 * day, Measured: day, Unknown: []Unknown{{"van", day, 2 * day}}}},
		{"nothing was measured", []Leg{leg("van", 0, day)}, ipv,
			Assessment{Outcome: NotKnown, Why: WhyUnmeasured, Whole: day, Unknown: []Unknown{{"van", 0, day}}}},
		{"no path", nil, ipv, Assessment{Outcome: NotKnown, Why: WhyUnmeasured}},
		// It froze in the store before the lot came and after it went.
		{"what was before and after does not count", []Leg{leg("store", 10*hour, 20*hour, steady(900, 0, 9*hour, -5_000), cold(10*hour, 20*hour), steady(900, 20*hour+900, day, -5_000))}, ipv,
			Assessment{Outcome: Sound, Warmest: 5_000, Coldest: 5_000, Whole: 10 * hour, Measured: 10 * hour, Level: 3}},
		{"the least level counts", []Leg{leg("store", 0, day, cold(0, day)), {"clinic", day, 2 * day, cold(day, 2*day), Gap, 1}}, ipv,
			Assessment{Outcome: Sound, Warmest: 5_000, Coldest: 5_000, Whole: 2 * day, Measured: 2 * day, Level: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := Assess(c.path, c.bearing)
			if (got.MKT != nil) != (got.Measured > 0) {
				t.Errorf("MKT %v of %d seconds", got.MKT, got.Measured)
			}
			// What is used of the bands makes the share.
			switch {
			case c.bearing.Budget == nil && got.Spent != nil:
				t.Errorf("spent %v of no budget", got.Spent)
			case c.bearing.Budget != nil:
				var spent [MaxBands]int64
				copy(spent[:], got.Spent)
				if len(got.Spent) != len(c.bearing.Budget.Bands) || share(c.bearing.Budget, &spent) != got.Share {
					t.Errorf("spent %v, share %d", got.Spent, got.Share)
				}
			}
			got.MKT, got.Spent = nil, nil
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	monitored := ipv
	monitored.VVM = VVM7
	a := Assess([]Leg{leg("store", 0, 7*day, steady(900, 0, 7*day, 37_000))}, monitored)
	if a.VVM == nil || *a.VVM < 0.999 || *a.VVM > 1.001 || *a.MKT < 36.999 || *a.MKT > 37.001 {
		t.Errorf("a week at 37 °C: VVM %v, MKT %v", a.VVM, a.MKT)
	}
}
