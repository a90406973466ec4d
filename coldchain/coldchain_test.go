package coldchain

import (
	"errors"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestTemperature(t *testing.T) {
	for degrees, want := range map[float64]string{8: "8", -0.5: "-0.5", 2.0004: "2", 2.0006: "2.001", -0.0004: "0", -21.25: "-21.25", -273.15: "-273.15"} {
		got, err := Celsius(degrees)
		if err != nil || got.String() != want {
			t.Errorf("%v: %s, %v; want %s", degrees, got, err, want)
		}
	}
	for _, degrees := range []float64{-273.16, 1000.1, math.NaN(), math.Inf(1), math.Inf(-1)} {
		if got, err := Celsius(degrees); !errors.Is(err, ErrTemperature) {
			t.Errorf("%v: %s, %v", degrees, got, err)
		}
	}
}

// every gives readings every 15 minutes from time zero.
func every(degrees ...float64) (all []Reading) {
	for i, d := range degrees {
		temperature, err := Celsius(d)
		if err != nil {
			panic(err)
		}
		all = append(all, Reading{int64(i) * 900, temperature})
	}
	return all
}

func repeat(d float64, n int) []float64 { return slices.Repeat([]float64{d}, n) }

func TestAlarms(t *testing.T) {
	for _, tt := range []struct {
		name     string
		rule     Rule
		readings []Reading
		want     []Alarm
	}{
		{"ten hours of heat", Heat, every(append([]float64{5}, repeat(8.1, 50)...)...), []Alarm{{"HEAT", 900, 900 + 36000, 8_100}}},
		{"a reading less", Heat, every(append([]float64{5}, repeat(8.1, 40)...)...), nil},
		{"8 °C is no heat", Heat, every(repeat(8, 60)...), nil},
		{"8.001 °C is", Heat, every(repeat(8.001, 41)...), []Alarm{{"HEAT", 0, 36000, 8_001}}},
		{"a good reading ends the run", Heat, every(slices.Concat(repeat(9, 39), []float64{8}, repeat(9, 39))...), nil},
		{"two runs, two alarms", Heat, every(slices.Concat(repeat(9, 41), []float64{8}, repeat(10, 41))...), []Alarm{{"HEAT", 0, 36000, 9_000}, {"HEAT", 42 * 900, 42*900 + 36000, 10_000}}},
		{"-0.5 °C freezes", Freeze, every(repeat(-0.5, 5)...), []Alarm{{"FRZE", 0, 3600, -500}}},
		{"-0.499 °C does not", Freeze, every(repeat(-0.499, 50)...), nil},
		{"the worst until then", Freeze, every(-1, -3, -2, -1, -1, -9), []Alarm{{"FRZE", 0, 3600, -3_000}}},
		{"a gap ends the run", Freeze, []Reading{{0, -1_000}, {900, -1_000}, {1800, -1_000}, {4600, -1_000}, {5500, -1_000}}, nil},
		{"thirty degrees, in parts", Type1[1], every(slices.Concat(repeat(31, 20), repeat(5, 10), repeat(30, 30))...), []Alarm{{"T1-30", 0, (20 + 10 + 20) * 900, 31_000}}},
		{"a time told twice", Freeze, []Reading{{0, -1_000}, {0, 5_000}, {900, -1_000}, {1800, -1_000}, {2700, -1_000}, {3600, -1_000}}, []Alarm{{"FRZE", 0, 3600, -1_000}}},
		{"nothing", Heat, nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Alarms(&tt.rule, 2700, tt.readings); !slices.Equal(got, tt.want) {
				t.Errorf("%+v, want %+v", got, tt.want)
			}
		})
	}
}

// TestWatchGoesOn: a watch that was kept in the middle gives what one gives that has
// seen it all; so late data need the readings since a kept one alone.
func TestWatchGoesOn(t *testing.T) {
	rules := append(append([]Rule{Heat, Freeze}, Type1...), Type2...)
	rapid.Check(t, func(t *rapid.T) {
		rule := rapid.SampledFrom(rules).Draw(t, "rule")
		rule.For /= int64(rapid.SampledFrom([]int{1, 10, 100}).Draw(t, "shorter"))
		var readings []Reading
		at := int64(0)
		for range rapid.IntRange(0, 200).Draw(t, "count") {
			at += rapid.Int64Range(1, 3600).Draw(t, "step")
			readings = append(readings, Reading{at, Temperature(rapid.SampledFrom([]int{-600, -500, 5000, 8000, 8001, 10000, 30000, 45000}).Draw(t, "t"))})
		}
		whole := Alarms(&rule, 2700, readings)
		cut := rapid.IntRange(0, len(readings)).Draw(t, "cut")
		var w Watch
		var parts []Alarm
		for i, x := range readings {
			if i == cut {
				kept := w
				w = kept
			}
			if a, raised := w.Next(&rule, 2700, x); raised {
				parts = append(parts, a)
			}
		}
		if !slices.Equal(parts, whole) {
			t.Fatalf("%v, want %v", parts, whole)
		}
		// By the definition, written once more.
		if got := naive(&rule, 2700, readings); !slices.Equal(got, whole) {
			t.Fatalf("the definition has %v, the watch %v", got, whole)
		}
	})
}

// naive looks back from each reading at all before it.
func naive(r *Rule, gap int64, readings []Reading) (all []Alarm) {
	raisedFor := int64(-1)
	for i, x := range readings {
		var total, since int64
		worst, counts := x.T, false
		if r.Mode == Cumulative {
			for j := 0; j <= i; j++ {
				if !r.breached(readings[j].T) {
					continue
				}
				if !counts {
					counts, since, worst = true, readings[j].At, readings[j].T
				}
				worst = worse(r, worst, readings[j].T)
				if j < i && readings[j+1].At-readings[j].At <= gap {
					total += readings[j+1].At - readings[j].At
				}
			}
			if counts && total >= r.For && raisedFor < 0 {
				raisedFor = since
				all = append(all, Alarm{r.ID, since, x.At, worst})
			}
			continue
		}
		for j := i; j >= 0 && r.breached(readings[j].T) && (j == i || readings[j+1].At-readings[j].At <= gap); j-- {
			counts, since, worst = true, readings[j].At, worse(r, worst, readings[j].T)
		}
		if counts && x.At-since >= r.For && raisedFor != since {
			raisedFor = since
			all = append(all, Alarm{r.ID, since, x.At, worst})
		}
	}
	return all
}

func worse(r *Rule, a, b Temperature) Temperature {
	if r.Op == AtLeast || r.Op == Above {
		return max(a, b)
	}
	return min(a, b)
}

func TestMKT(t *testing.T) {
	hour := func(degrees ...float64) (s []Stay) {
		for _, r := range every(degrees...) {
			s = append(s, Stay{r.T, 3600})
		}
		return s
	}
	for _, tt := range []struct {
		stays []Stay
		want  float64
	}{
		{hour(5), 5}, {hour(5, 5, 5), 5}, {hour(2, 8), 5.536424509}, {hour(-0.6, 1, 4, 4.2), 2.400313238},
		{hour(-80), -80}, // no term of the sum vanishes
	} {
		if got, err := MKT(tt.stays, Activation); err != nil || math.Abs(got-tt.want) > 1e-6 {
			t.Errorf("%v: %v, %v; want %v", tt.stays, got, err, tt.want)
		}
	}
	for _, stays := range [][]Stay{nil, {{5_000, 0}}, {{AbsoluteZero, 60}}, {{5_000, -1}}} {
		if got, err := MKT(stays, Activation); !errors.Is(err, ErrNothing) {
			t.Errorf("%v: %v, %v", stays, got, err)
		}
	}
	for _, activation := range []float64{0, -1, math.NaN(), math.Inf(1)} {
		if got, err := MKT([]Stay{{5_000, 1}}, activation); !errors.Is(err, ErrActivation) {
			t.Errorf("ΔH/R of %v: %v, %v", activation, got, err)
		}
	}
	// It is not below the mean, and within what was measured.
	rapid.Check(t, func(t *rapid.T) {
		var stays []Stay
		low, high := Temperature(math.MaxInt32), Temperature(math.MinInt32)
		var sum, weight float64
		for range rapid.IntRange(1, 50).Draw(t, "count") {
			s := Stay{Temperature(rapid.Int32Range(-90_000, 60_000).Draw(t, "t")), rapid.Int64Range(1, 1e6).Draw(t, "s")}
			stays = append(stays, s)
			low, high = min(low, s.T), max(high, s.T)
			sum += s.T.Degrees() * float64(s.Seconds)
			weight += float64(s.Seconds)
		}
		got, err := MKT(stays, Activation)
		if err != nil || got < low.Degrees()-1e-6 || got > high.Degrees()+1e-6 || got < sum/weight-1e-6 {
			t.Fatalf("%v: %v, %v", stays, got, err)
		}
	})
}

func TestVVM(t *testing.T) {
	for _, tt := range []struct {
		v     VVM
		stays []Stay
		want  float64
	}{
		{VVM2, []Stay{{37_000, 48 * 3600}}, 1}, {VVM30, []Stay{{37_000, 30 * 86400}}, 1},
		{VVM14, []Stay{{25_000, 90 * 86400}}, 1}, // within a day of what WHO gives
		{VVM2, []Stay{{5_000, 225 * 86400}}, 1},
		{VVM7, nil, 0},
	} {
		if got, err := tt.v.Used(tt.stays); err != nil || math.Abs(got-tt.want) > 0.01 {
			t.Errorf("VVM%d %v: %v, %v; want %v", tt.v, tt.stays, got, err, tt.want)
		}
	}
	if _, err := VVM(5).Used(nil); !errors.Is(err, ErrVVM) {
		t.Error(err)
	}
	if _, err := VVM7.Used([]Stay{{AbsoluteZero, 1}}); !errors.Is(err, ErrNothing) {
		t.Error(err)
	}
}

func TestProfiles(t *testing.T) {
	for _, tt := range []struct {
		p    Profile
		t    Temperature
		want bool
	}{
		{Refrigerated, 2_000, true}, {Refrigerated, 8_000, true}, {Refrigerated, 1_999, false}, {Refrigerated, 8_001, false},
		{Frozen, -15_000, true}, {Frozen, -14_999, false}, {UltraCold, -60_000, true}, {UltraCold, -90_001, false},
	} {
		if got := tt.p.Holds(tt.t); got != tt.want {
			t.Errorf("%s at %s: %v", tt.p.ID, tt.t, got)
		}
	}
}
