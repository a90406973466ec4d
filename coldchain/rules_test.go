package coldchain

import (
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestSilence(t *testing.T) {
	for _, tt := range []struct {
		received, expected, now, since int64
		silent                         bool
	}{
		{1000, 900, 1000 + 2700, 0, false}, {1000, 900, 1000 + 2701, 1900, true},
		{1000, 900, 1000 + 1_000_000, 1900, true}, {1000, 900, 0, 0, false}, {1000, 0, 1_000_000, 0, false},
	} {
		if since, silent := Silence(tt.received, tt.expected, tt.now); since != tt.since || silent != tt.silent {
			t.Errorf("%+v: %d, %v", tt, since, silent)
		}
	}
}

func TestCoverage(t *testing.T) {
	readings := []Reading{{0, 0}, {900, 0}, {1800, 0}, {9000, 0}, {9900, 0}}
	for _, tt := range []struct{ from, until, want int64 }{
		{0, 9900, 2700}, {450, 9450, 1350 + 450}, {1800, 9000, 0}, {-5000, 20_000, 2700}, {950, 960, 10}, {9900, 9900, 0},
	} {
		if got := Coverage(readings, 2700, tt.from, tt.until); got != tt.want {
			t.Errorf("%+v: %d", tt, got)
		}
	}
	if Coverage(nil, 2700, 0, 1) != 0 {
		t.Error("coverage by nothing")
	}
}

func TestBudget(t *testing.T) {
	// As of a product that bears 120 hours up to 25 °C, and 12 up to 40.
	budget := Budget{Bands: []Band{{8_000, 120 * 3600}, {25_000, 12 * 3600}, {40_000, 0}}, FreezeSensitive: true}
	if err := budget.Check(); err != nil {
		t.Fatal(err)
	}
	use := func(readings []Reading) (u Use) {
		for _, x := range readings {
			u.Next(&budget, Gap, x)
		}
		return u
	}
	for _, tt := range []struct {
		name      string
		readings  []Reading
		share     int64
		exhausted int64
		frozen    bool
	}{
		{"held", every(repeat(8, 100)...), 0, 0, false},
		{"an hour of 120", every(repeat(9, 5)...), 8_334, 0, false},
		{"all of it", every(repeat(9, 481)...), Whole, 480 * 900, false},
		{"half and half", every(slices.Concat(repeat(9, 240), repeat(26, 25))...), Whole, 264 * 900, false},
		{"above what it bears at all", every(41, 41), Whole, 900, false},
		{"frozen", every(repeat(-1, 5)...), 0, 0, true},
		{"nothing is known", []Reading{{0, 9_000}, {100_000, 9_000}}, 0, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u := use(tt.readings)
			if got := u.Share(&budget); got != tt.share || u.Exhausted != tt.exhausted || u.Frozen != tt.frozen {
				t.Errorf("%d millionths, exhausted at %d, frozen %v", got, u.Exhausted, u.Frozen)
			}
		})
	}
	if u := use([]Reading{{0, 9_000}, {900, 5_000}, {100_000, 9_000}}); u.Measured != 900 || u.Unmeasured() != 99_100 || u.Warmest != 9_000 || u.Coldest != 5_000 {
		t.Errorf("%+v", u)
	}
	for _, bad := range []Budget{{}, {Bands: []Band{{8_000, -1}}}, {Bands: []Band{{8_000, 1}, {8_000, 1}}}, {Bands: make([]Band, 9)}} {
		if err := bad.Check(); !errors.Is(err, ErrBudget) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		readings := drawn(t)
		u := use(readings)
		if len(readings) > 0 && u.Measured != Coverage(readings, Gap, readings[0].At, readings[len(readings)-1].At) {
			t.Fatalf("%d measured", u.Measured)
		}
		if (u.Share(&budget) >= Whole) != (u.Exhausted > 0) {
			t.Fatalf("%d used, exhausted at %d", u.Share(&budget), u.Exhausted)
		}
	})
}

func TestOpenVial(t *testing.T) {
	const opened, hour, day = 1_000_000, 3600, 86400
	for _, tt := range []struct {
		name string
		v    OpenVial
		at   int64
		why  string
	}{
		{"six hours", OpenVial{Opened: opened, Reconstituted: true}, opened + 6*hour, DiscardHours},
		{"the session ends before", OpenVial{Opened: opened, Reconstituted: true, SessionEnd: opened + 3*hour}, opened + 3*hour, DiscardSession},
		{"the session ends after", OpenVial{Opened: opened, Reconstituted: true, SessionEnd: opened + 8*hour}, opened + 6*hour, DiscardHours},
		{"28 days", OpenVial{Opened: opened, Days: true, SessionEnd: opened + hour}, opened + 28*day, DiscardDays},
		{"28 days are for what is liquid", OpenVial{Opened: opened, Days: true, Reconstituted: true}, opened + 6*hour, DiscardHours},
		{"not allowed by its label", OpenVial{Opened: opened}, opened + 6*hour, DiscardHours},
		{"two hours by its label", OpenVial{Opened: opened, Label: 2 * hour}, opened + 2*hour, DiscardHours},
		{"it expires", OpenVial{Opened: opened, Days: true, Expiry: opened + day}, opened + day, DiscardExpiry},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if at, why := tt.v.Discard(); at != tt.at || why != tt.why {
				t.Errorf("%d %s", at-opened, why)
			}
		})
	}
}

func TestHoldover(t *testing.T) {
	if got := LeftAsDeclared(86400, 1000, 1000+80_000); got != 6400 {
		t.Error(got)
	}
	if got := LeftAsDeclared(86400, 1000, 1_000_000); got != 0 {
		t.Error(got)
	}
	left := func(readings ...Reading) (int64, bool) {
		var r Rise
		for _, x := range readings {
			r.Next(x)
		}
		return r.Left(8_000)
	}
	if _, ok := left(every(4, 5, 6)...); ok {
		t.Error("a rise in half an hour")
	}
	if got, ok := left(every(4, 4.5, 5, 5.5, 6)...); !ok || got != 3600 {
		t.Errorf("%d, %v", got, ok)
	}
	if got, _ := left(every(4, 4, 4, 4, 4)...); got != MaxLeft {
		t.Error(got)
	}
	if got, _ := left(every(8, 7, 8, 8, 8)...); got != 0 {
		t.Error(got)
	}
}
