package coldchain

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// standard are the names that TermsOf must know.
var standard = []string{"refrigerated", "frozen", "ultra-cold", "controlled-temperature-chain", ShipperType1, ShipperType2}

func terms(t testing.TB, name string) Terms {
	t.Helper()
	got, ok := TermsOf(name)
	if !ok {
		t.Fatalf("no terms %q", name)
	}
	return got
}

func TestTermsKeepTheirNames(t *testing.T) {
	for _, name := range standard {
		want := terms(t, name)
		if err := want.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		data, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got Terms
		if err := json.Unmarshal(data, &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, want)
		}
	}
	data, _ := json.Marshal(Terms{Profile: Refrigerated, Rules: []Rule{Heat}, Door: &DoorOpen, Gap: Gap})
	if want := `{"profile":{"id":"refrigerated","low":2000,"high":8000},"rules":[{"id":"HEAT","op":"\u003e","limit":8000,"for":36000,"mode":"consecutive"}],"door":{"id":"DOOR","for":300},"gap":2700}`; string(data) != want {
		t.Errorf("%s", data)
	}
	if _, ok := TermsOf("tepid"); ok {
		t.Error("terms of a profile that there is not")
	}
	for name, bad := range map[string]Terms{
		"no gap": {}, "too many": {Gap: 1, Rules: make([]Rule, MaxRules+1)}, "no rule": {Gap: 1, Rules: []Rule{{ID: "X"}}},
		"twice": {Gap: 1, Rules: []Rule{Heat, Heat}}, "a limit of the same name": {Gap: 1, Rules: []Rule{Heat}, Door: &Limit{ID: "HEAT"}}, "no name": {Gap: 1, Power: &Limit{}},
	} {
		if err := bad.Check(); !errors.Is(err, ErrRule) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, text := range []string{`{"rules":[{"op":"="}]}`, `{"rules":[{"op":""}]}`, `{"rules":[{"mode":"sometimes"}]}`} {
		if err := json.Unmarshal([]byte(text), new(Terms)); !errors.Is(err, ErrRule) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestTemperatureEpisodes(t *testing.T) {
	freeze := Terms{Rules: []Rule{Freeze}, Gap: Gap}
	outside := Terms{Rules: Outside(Refrigerated), Gap: Gap}
	for _, tt := range []struct {
		name     string
		terms    Terms
		readings []Reading
		want     []Episode
	}{
		{"begins and recovers", freeze, every(-1, -1, -1, -1, -1, -1, 3, 3), []Episode{
			{Rule: "FRZE", Since: 0, At: 3600, Seconds: 3600, Extreme: -1_000},
			{Rule: "FRZE", Since: 0, At: 3600, Until: 5400, Seconds: 4500, Extreme: -1_000, End: EndRecovered}}},
		{"gets worse by a degree", freeze, every(-1, -1, -1, -1, -1, -1.5, -2, -2.5, -3.5), []Episode{
			{Rule: "FRZE", Since: 0, At: 3600, Seconds: 3600, Extreme: -1_000},
			{Rule: "FRZE", Since: 0, At: 3600, Seconds: 5400, Extreme: -2_000},
			{Rule: "FRZE", Since: 0, At: 3600, Seconds: 7200, Extreme: -3_500}}},
		{"a gap ends it", freeze, append(every(-1, -1, -1, -1, -1), Reading{3600 + 2701, -1_000}), []Episode{
			{Rule: "FRZE", Since: 0, At: 3600, Seconds: 3600, Extreme: -1_000},
			{Rule: "FRZE", Since: 0, At: 3600, Until: 3600, Seconds: 3600, Extreme: -1_000, End: EndGap}}},
		{"2,700 seconds are none", freeze, append(every(-1, -1, -1, -1, -1), Reading{3600 + 2700, -1_000}), []Episode{
			{Rule: "FRZE", Since: 0, At: 3600, Seconds: 3600, Extreme: -1_000}}},
		{"hourly", Terms{Rules: []Rule{Freeze}, Gap: GapOf(3600)}, []Reading{{0, -1_000}, {3600, -1_000}}, []Episode{
			{Rule: "FRZE", Since: 0, At: 3600, Seconds: 3600, Extreme: -1_000}}},
		{"one reading out of range is shown", outside, every(5, 8.1, 8, 2, 1.999), []Episode{
			{Rule: "OUT-HIGH", Since: 900, At: 900, Extreme: 8_100, Shown: true},
			{Rule: "OUT-HIGH", Since: 900, At: 900, Until: 1800, Extreme: 8_100, End: EndRecovered, Shown: true},
			{Rule: "OUT-LOW", Since: 3600, At: 3600, Extreme: 1_999, Shown: true}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var s State
			var got []Episode
			for _, x := range tt.readings {
				got = append(got, s.Temperature(&tt.terms, x)...)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("%+v\nwant %+v", got, tt.want)
			}
		})
	}
}

func TestDoorAndSupply(t *testing.T) {
	fridge := terms(t, "refrigerated")
	const door, supply = true, false
	at := func(interval int64, seconds ...int64) (all []Spent) {
		for i, s := range seconds {
			all = append(all, Spent{1_000_000 + int64(i)*interval, interval, s})
		}
		return all
	}
	for _, tt := range []struct {
		name  string
		door  bool
		spent []Spent
		want  []Episode
	}{
		{"five minutes of a quarter of an hour", door, at(900, 0, 300, 0), []Episode{
			{Rule: "DOOR", Since: 1_000_900, At: 1_000_900, Seconds: 300},
			{Rule: "DOOR", Since: 1_000_900, At: 1_000_900, Until: 1_001_800, Seconds: 300, End: EndRecovered}}},
		{"a second less", door, at(900, 0, 299, 0), nil},
		{"on both sides of an edge", door, at(900, 299, 299), nil},
		{"into the next interval", door, at(60, 60, 60, 60, 60, 30, 60, 60, 60, 60, 59, 60), nil},
		{"a busy morning", door, at(900, 120, 120, 120, 120, 120, 120), nil},
		{"minute by minute", door, at(60, 60, 60, 60, 60, 60), []Episode{{Rule: "DOOR", Since: 1_000_000, At: 1_000_240, Seconds: 300}}},
		{"no power for a day", supply, at(900, slices.Repeat([]int64{0}, 97)...), []Episode{{Rule: "POWR", Since: 1_000_000, At: 1_086_400, Seconds: 86400}}},
		{"a reading less", supply, at(900, slices.Repeat([]int64{0}, 96)...), nil},
		{"a second of power", supply, at(900, slices.Concat(slices.Repeat([]int64{0}, 50), []int64{1}, slices.Repeat([]int64{0}, 50))...), nil},
		{"a gap", supply, append(at(900, slices.Repeat([]int64{0}, 50)...), Spent{2_000_000, 900, 0}), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var s State
			var got []Episode
			for _, x := range tt.spent {
				if tt.door {
					got = append(got, s.Door(&fridge, x)...)
				} else {
					got = append(got, s.Supply(&fridge, x)...)
				}
			}
			got = slices.DeleteFunc(got, func(e Episode) bool { return e.Shown })
			if !slices.Equal(got, tt.want) {
				t.Errorf("%+v\nwant %+v", got, tt.want)
			}
		})
	}
	// Power that is away is shown at once, and its end.
	var shown []Episode
	var one State
	for i, seconds := range []int64{900, 0, 0, 900} {
		shown = append(shown, one.Supply(&fridge, Spent{int64(i) * 900, 900, seconds})...)
	}
	if want := []Episode{{Rule: "AWAY", Since: 900, At: 900, Shown: true}, {Rule: "AWAY", Since: 900, At: 900, Until: 2700, Seconds: 900, End: EndRecovered, Shown: true}}; !slices.Equal(shown, want) {
		t.Errorf("%+v", shown)
	}
	var s State
	if s.Door(&Terms{}, Spent{1, 900, 900}) != nil || s.Supply(&Terms{}, Spent{1, 900, 0}) != nil {
		t.Error("an alarm that the terms do not have")
	}
}

func TestLostAndChanged(t *testing.T) {
	fridge := terms(t, "refrigerated")
	broken := func() (s State) {
		for _, x := range every(-1, -1, -1, -1, -1) {
			s.Temperature(&fridge, x)
		}
		s.Door(&fridge, Spent{900, 900, 900})
		return s
	}
	s := broken()
	want := []Episode{
		{Rule: "FRZE", Since: 0, At: 3600, Until: 9000, Seconds: 3600, Extreme: -1_000, End: EndSensorLost},
		{Rule: "OUT-LOW", Since: 0, At: 0, Until: 9000, Seconds: 3600, Extreme: -1_000, End: EndSensorLost, Shown: true},
		{Rule: "DOOR", Since: 900, At: 900, Until: 9000, Seconds: 900, End: EndSensorLost},
	}
	if got := s.Lost(&fridge, 9000); !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
	if got := s.Lost(&fridge, 9900); got != nil {
		t.Errorf("ended twice: %+v", got)
	}
	if got := s.Temperature(&fridge, Reading{9900, 5_000}); got != nil {
		t.Errorf("recovered after it ended: %+v", got)
	}
	s = broken()
	if got := s.Changed(&fridge, 9000); len(got) != 3 || got[0].End != EndTerms || s != (State{}) {
		t.Errorf("%+v", got)
	}
	// What a shipper has borne is not undone by a lost sensor, and is told once.
	shipper := terms(t, ShipperType1)
	s = State{}
	var told []Episode
	for _, x := range every(repeat(31, 41)...) {
		told = append(told, s.Temperature(&shipper, x)...)
	}
	told = append(told, s.Lost(&shipper, 40_000)...)
	told = append(told, s.Temperature(&shipper, Reading{50_000, 39_000})...)
	told = append(told, s.Lost(&shipper, 60_000)...)
	told = slices.DeleteFunc(told, func(e Episode) bool { return e.Shown })
	if len(told) != 2 || told[0].Rule != "T1-30" || told[0].At != 36_000 || told[1].End != EndSensorLost {
		t.Errorf("%+v", told)
	}
}

// drawn gives readings with gaps and many crossings of every limit.
func drawn(t *rapid.T) (all []Reading) {
	at := int64(0)
	for range rapid.IntRange(0, 150).Draw(t, "count") {
		at += rapid.SampledFrom([]int64{300, 900, 900, 900, 3600}).Draw(t, "step")
		all = append(all, Reading{at, Temperature(rapid.SampledFrom([]int{-95_000, -70_000, -20_000, -3_000, -600, 5_000, 9_000, 31_000, 33_000, 46_000}).Draw(t, "t"))})
	}
	return all
}

// shorter makes the rules quick to break, so that drawn readings break them.
func shorter(t *rapid.T) Terms {
	s, _ := TermsOf(rapid.SampledFrom(standard).Draw(t, "terms"))
	for i := range s.Rules {
		s.Rules[i].For /= 10
	}
	return s
}

// TestStateGoesOn: a state that was kept as JSON at any reading goes on as if it had
// not been, and its alarms are those of the rules alone.
func TestStateGoesOn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		terms, readings := shorter(t), drawn(t)
		var whole, kept State
		var one, two, others, again []Episode
		appliance := Terms{Door: &DoorOpen, Power: &Limit{ID: "POWR", For: 3600}, Away: &PowerAway, Gap: Gap}
		cut := rapid.IntRange(0, len(readings)).Draw(t, "cut")
		for i, x := range readings {
			if i == cut {
				data, err := json.Marshal(kept)
				if err != nil || len(data) > 2048 {
					t.Fatalf("%d bytes, %v", len(data), err)
				}
				kept = State{}
				if err := json.Unmarshal(data, &kept); err != nil {
					t.Fatal(err)
				}
			}
			one = append(one, whole.Temperature(&terms, x)...)
			two = append(two, kept.Temperature(&terms, x)...)
			door := Spent{x.At, 900, rapid.SampledFrom([]int64{0, 30, 400, 900}).Draw(t, "door")}
			supply := Spent{x.At, 900, rapid.SampledFrom([]int64{0, 0, 0, 900}).Draw(t, "supply")}
			others = append(others, whole.Door(&appliance, door)...)
			others = append(others, whole.Supply(&appliance, supply)...)
			again = append(again, kept.Door(&appliance, door)...)
			again = append(again, kept.Supply(&appliance, supply)...)
		}
		if !slices.Equal(others, again) {
			t.Fatalf("%+v\nwithout a break %+v", again, others)
		}
		if !slices.Equal(one, two) {
			t.Fatalf("%+v\nwithout a break %+v", two, one)
		}
		for i := range terms.Rules {
			var began []Alarm
			for _, e := range one {
				if e.Rule == terms.Rules[i].ID && e.End == "" && !slices.ContainsFunc(began, func(a Alarm) bool { return a.Since == e.Since }) {
					began = append(began, Alarm{e.Rule, e.Since, e.At, e.Extreme})
				}
			}
			if want := Alarms(&terms.Rules[i], terms.Gap, readings); !slices.Equal(began, want) {
				t.Fatalf("%s: %v, want %v", terms.Rules[i].ID, began, want)
			}
		}
	})
}

// TestOrderOfArrival: readings that come late are evaluated from the snapshot before
// them. In whatever order they come, the episodes end up the same.
func TestOrderOfArrival(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		terms, readings := shorter(t), drawn(t)
		arrived := rapid.Permutation(readings).Draw(t, "arrival")
		// What the receiving side does: it keeps the readings by their time and a
		// snapshot before each, and runs again from the first that is touched.
		type step struct {
			reading  Reading
			before   State
			episodes []Episode
		}
		var steps []step
		for _, x := range arrived {
			i, _ := slices.BinarySearchFunc(steps, x, func(s step, x Reading) int { return int(s.reading.At - x.At) })
			var from State
			if i < len(steps) {
				from = steps[i].before
			} else if i > 0 {
				from = steps[i-1].before
				from.Temperature(&terms, steps[i-1].reading)
			}
			steps = slices.Insert(steps, i, step{reading: x})
			for j := i; j < len(steps); j++ {
				steps[j].before = from
				steps[j].episodes = from.Temperature(&terms, steps[j].reading)
			}
		}
		var got, want []Episode
		for _, s := range steps {
			got = append(got, s.episodes...)
		}
		var s State
		for _, x := range readings {
			want = append(want, s.Temperature(&terms, x)...)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%+v\nin order %+v", got, want)
		}
	})
}

func TestStateIsBounded(t *testing.T) {
	for _, text := range []string{`[]`, `{"runs":[{},{},{},{},{},{},{},{},{},{},{},{},{}]}`, `{"last":{"at":"x"}}`} {
		if err := json.Unmarshal([]byte(text), new(State)); !errors.Is(err, ErrState) {
			t.Errorf("%s: %v", text, err)
		}
	}
	fridge := terms(t, "refrigerated")
	var s State
	at := int64(0)
	if n := testing.AllocsPerRun(100, func() { at += 900; s.Temperature(&fridge, Reading{at, 5_000}) }); n > 0 {
		t.Errorf("%v allocations of a reading that changes nothing", n)
	}
}

func FuzzState(f *testing.F) {
	f.Add([]byte(`{"last":{"at":900,"t":-1000},"runs":[{"rule":"FRZE","in":true,"worst":-1000}],"door":{"seen":true,"last":900}}`))
	fridge, _ := TermsOf("refrigerated")
	f.Fuzz(func(t *testing.T, data []byte) {
		var s State
		if json.Unmarshal(data, &s) != nil {
			return
		}
		s.Temperature(&fridge, Reading{1_000_000, 9_000})
		s.Door(&fridge, Spent{1_000_000, 900, 900})
		s.Supply(&fridge, Spent{1_000_000, 900, 0})
		s.Lost(&fridge, 2_000_000)
		again, err := json.Marshal(s)
		var back State
		if err != nil || json.Unmarshal(again, &back) != nil {
			t.Fatalf("%s: %v", again, err)
		}
	})
}

func BenchmarkTemperature(b *testing.B) {
	fridge := terms(b, "refrigerated")
	var s State
	b.ReportAllocs()
	for i := range b.N {
		s.Temperature(&fridge, Reading{int64(i+1) * 900, 5_000})
	}
}

// TestStandardTerms: the first alarm of each profile, to the reading, with one reading
// every 15 minutes.
func TestStandardTerms(t *testing.T) {
	for _, tt := range []struct {
		profile string
		degrees float64
		rule    string
		at      int64 // -1: none in 100 hours
	}{
		{"refrigerated", 8.1, "HEAT", 36_000}, {"refrigerated", 8, "", -1}, {"refrigerated", -0.5, "FRZE", 3600}, {"refrigerated", -0.4, "", -1},
		{"frozen", -14.9, "FREEZER-HIGH", 3600}, {"frozen", -15, "", -1}, {"frozen", -25.1, "FREEZER-LOW", 3600},
		{"ultra-cold", -59.9, "ULTRA-HIGH", 900}, {"ultra-cold", -60, "", -1}, {"ultra-cold", -90.1, "ULTRA-LOW", 900},
		{"controlled-temperature-chain", 40.1, "CTC-PEAK", 0}, {"controlled-temperature-chain", 40, "CTC-DAYS", 3 * 86400}, {"controlled-temperature-chain", 8, "", -1}, {"controlled-temperature-chain", -0.5, "CTC-FRZ", 3600},
		{ShipperType1, 45, "T1-45", 3600}, {ShipperType1, 30, "T1-30", 36_000}, {ShipperType1, 29.9, "", -1}, {ShipperType1, -0.5, "T1-FRZ", 3600},
		{ShipperType2, 45, "T2-45", 3600}, {ShipperType2, 30, "T2-30", 36_000}, {ShipperType2, 10, "T2-10", 72_000}, {ShipperType2, -10, "", -1},
	} {
		t.Run(tt.profile+" "+Temperature(tt.degrees*1000).String(), func(t *testing.T) {
			held := terms(t, tt.profile)
			var s State
			rule, at := "", int64(-1)
			for _, x := range every(repeat(tt.degrees, 401)...) {
				for _, e := range s.Temperature(&held, x) {
					if !e.Shown && at < 0 {
						rule, at = e.Rule, e.At
					}
				}
			}
			if rule != tt.rule || at != tt.at {
				t.Errorf("%q at %d", rule, at)
			}
		})
	}
	mine := Terms{Profile: Frozen, Rules: slices.Concat(Excursion(Frozen, 1800, Consecutive), Excursion(Frozen, 3600, Cumulative)), Gap: Gap}
	if err := mine.Check(); err != nil {
		t.Error(err)
	}
	var s State
	var said []string
	for _, x := range every(-10, -20, -10, -10, -10, -20) {
		for _, e := range s.Temperature(&mine, x) {
			said = append(said, e.Rule+e.End)
		}
	}
	if want := []string{"HIGH", "HIGHrecovered", "HIGH-SUM"}; !slices.Equal(said, want) {
		t.Errorf("%q", said)
	}
}
