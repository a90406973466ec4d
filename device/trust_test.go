package device

import (
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func n(v int64) *int64 { return &v }

func observed() *Observed {
	return &Observed{
		Expected: 1440, Received: 1440, Segments: 24, ClockOffset: n(-20), LongestSame: n(3600), Steepest: n(-400),
		Neighbour: n(-200), SinceCalibration: n(100 * 86400),
	}
}

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Observed)
		want   string // the checks that do not pass
	}{
		{"all is well", func(*Observed) {}, ""},
		{"a tenth is missing", func(o *Observed) { o.Received = 1296 }, "continuity fail"},
		{"a twentieth is missing", func(o *Observed) { o.Received = 1368 }, ""},
		{"more than expected", func(o *Observed) { o.Received = 9999 }, ""},
		{"nothing came", func(o *Observed) { o.Received = 0 }, "continuity fail"},
		{"nothing was expected", func(o *Observed) { o.Expected = 0 }, "continuity unknown"},
		{"one is missing in the chain", func(o *Observed) { o.Unlinked = 1 }, "chain fail"},
		{"unsigned", func(o *Observed) { o.Segments = 0 }, "chain unknown"},
		{"five minutes off", func(o *Observed) { o.ClockOffset = n(-300) }, ""},
		{"more", func(o *Observed) { o.ClockOffset = n(-301) }, "clock fail"},
		{"the least number there is", func(o *Observed) { o.ClockOffset = n(math.MinInt64) }, "clock fail"},
		{"stuck", func(o *Observed) { o.LongestSame = n(6*3600 + 1) }, "stuck fail"},
		{"a jump", func(o *Observed) { o.Steepest = n(-5001) }, "rate fail"},
		{"unlike its neighbour", func(o *Observed) { o.Neighbour = n(1001) }, "neighbours fail"},
		{"alone", func(o *Observed) { o.Neighbour = nil }, "neighbours unknown"},
		{"calibrated long ago", func(o *Observed) { o.SinceCalibration = n(366 * 86400) }, "calibration fail"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := observed()
			c.change(o)
			checks := DefaultLimits.Judge(o)
			var got []string
			for _, j := range checks {
				if j.Answer != Yes {
					got = append(got, j.Name+" "+string(j.Answer))
				}
			}
			if strings.Join(got, ", ") != c.want || len(checks) != 7 {
				t.Errorf("%v", checks)
			}
		})
	}
}

func TestTrust(t *testing.T) {
	good := DefaultLimits.Judge(observed())
	bad := DefaultLimits.Judge(&Observed{Expected: 100, Segments: 1, Unlinked: 1, ClockOffset: n(9999), LongestSame: n(86400), Steepest: n(99999), Neighbour: n(9999), SinceCalibration: n(1 << 40)})
	var r Reputation
	if r.Mean() != 5000 {
		t.Errorf("nothing known: %d", r.Mean())
	}
	for range 90 {
		r = r.After(1, good)
	}
	if r.Mean() < 9900 {
		t.Errorf("three good months: %d", r.Mean())
	}
	for level, want := range []int64{5000, 6500, 8000, 9500, r.Mean()} {
		if got := NewTrust(r, good, Level(level)); got.Score != want || got.Mean != r.Mean() || len(got.Checks) != 7 {
			t.Errorf("level %d: %+v", level, got)
		}
	}
	week := r
	for range 7 {
		week = week.After(1, bad)
	}
	if week.Mean() > 9000 || week.Mean() < 7000 {
		t.Errorf("a bad week after three good months: %d", week.Mean())
	}
	// A month of silence halves what was known; nothing is left after years.
	if half := r.After(30, nil); half.For < r.For*49/100 || half.For > r.For*51/100 {
		t.Errorf("%d of %d after 30 days", half.For, r.For)
	}
	if r.After(forgotten, nil) != (Reputation{}) || r.After(1<<40, nil) != (Reputation{}) {
		t.Error("something is left after years")
	}
	if got := good[0].String(); got != "continuity: pass, 10000 of at least 9500 ten-thousandths, weight 3" {
		t.Error(got)
	}
	if got := DefaultLimits.Judge(&Observed{})[1].String(); got != "chain: unknown (at most 0 segments, weight 5)" {
		t.Error(got)
	}
}

// TestTrustOrder: a check that fails instead of passing never helps.
func TestTrustOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := Reputation{rapid.Int64Range(0, maxEvidence).Draw(t, "for"), rapid.Int64Range(0, maxEvidence).Draw(t, "against")}
		checks := DefaultLimits.Judge(observed())
		worse := slices.Clone(checks)
		worse[rapid.IntRange(0, len(worse)-1).Draw(t, "which")].Answer = No
		days := rapid.IntRange(0, 4000).Draw(t, "days")
		a, b := r.After(days, checks).Mean(), r.After(days, worse).Mean()
		if b > a || a < 0 || a > 10_000 {
			t.Fatalf("%d with all, %d with one less", a, b)
		}
	})
}
