package main

import (
	"slices"

	"ampoule/coldchain"
	"ampoule/coldchain/simulation"
)

// row is a fault, for how long it lasts, and the words that are for it.
type row struct {
	fault simulation.Fault
	words []string
}

const hour = 3600

var rows = []row{
	{simulation.Fault{Kind: simulation.CompressorFails, Seconds: 4 * 24 * hour}, []string{"HEAT", "FREEZER-HIGH", coldchain.ReasonIdle}},
	{simulation.Fault{Kind: simulation.Leak}, []string{"HEAT", "FREEZER-HIGH", coldchain.ReasonWeak}},
	{simulation.Fault{Kind: simulation.Freezing, Seconds: 2 * 24 * hour}, []string{"FRZE", "FREEZER-LOW"}},
	{simulation.Fault{Kind: simulation.PowerCut, Seconds: 36 * hour}, []string{"POWR", "HEAT", "FREEZER-HIGH"}},
	{simulation.Fault{Kind: simulation.DoorOpen, Seconds: 2 * hour}, []string{"DOOR"}},
	{simulation.Fault{Kind: simulation.Stuck}, []string{coldchain.ReasonStuck, coldchain.ReasonDeaf}},
	{simulation.Fault{Kind: simulation.Spiked, Seconds: 24 * hour}, []string{coldchain.ReasonSpike}},
	{simulation.Fault{Kind: simulation.Drifting}, []string{coldchain.ReasonDrift}},
	{simulation.Fault{Kind: simulation.Dead, Seconds: 24 * hour}, []string{lost}},
	{simulation.Fault{Kind: simulation.Gap, Seconds: 24 * hour}, []string{silent}},
	{simulation.Fault{Kind: simulation.ClockJump, Seconds: 24 * hour}, []string{coldchain.ReasonBack, coldchain.ReasonAhead}},
	{simulation.Fault{Kind: simulation.ClockDrift}, []string{coldchain.ReasonAhead, coldchain.ReasonBehind}},
	{simulation.Fault{Kind: simulation.Drawn}, []string{coldchain.ReasonSmooth, coldchain.ReasonDeaf}},
	{simulation.Fault{Kind: simulation.Replayed, Seconds: 3 * 24 * hour}, []string{coldchain.ReasonCopied, coldchain.ReasonDeaf}},
}

// What the receiving side says of itself.
const (
	silent = "silence"
	lost   = "sensor-lost"
)

// excursion are the rules that the true temperature can be held against.
var excursion = map[string]bool{"HEAT": true, "FRZE": true, "FREEZER-HIGH": true, "FREEZER-LOW": true}

// outcome is what was said of one unit.
type outcome struct {
	by      string // the word that found the fault first
	delay   int64
	falsely map[string]int
	sound   float64 // days without a fault
	samples int64
}

// judge runs one unit. Row len(rows) has no fault.
func judge(seed uint64, number, unit, days int) (o outcome) {
	const start = 1_700_000_000 / 86400 * 86400
	kind := []simulation.Kind{simulation.Mains, simulation.IceLined, simulation.Freezer}[unit%3]
	// Faults begin at any hour of the eleventh day.
	begins := start + 10*86400 + int64(unit)*7919%86400
	// Sound units are no ideal ones: sensors differ, clinics are busy, power fails for
	// an hour or two, packets are lost; every fifth is a logger of temperature alone.
	n := unit / 3
	config := simulation.Config{Kind: kind, Start: start, Ambient: 20 + float64(n%13),
		Step: []float64{0.1, 0.1, 0.5, 0.02}[n%4], Noise: []float64{0.03, 0.06, 0.12}[n%3], Doors: []float64{0.5, 1.5, 4}[n%3],
		Faults: []simulation.Fault{
			{Kind: simulation.PowerCut, At: start + 3*86400 + int64(n%24)*hour, Seconds: int64(1+n%2) * hour},
			{Kind: simulation.PowerCut, At: start + 8*86400 + int64(n%24)*hour, Seconds: hour},
			{Kind: simulation.Gap, At: start + 6*86400 + int64(n%24)*hour, Seconds: hour / 2},
		}}
	alone := n%5 == 4
	end := start + int64(days)*86400
	until := end
	fault := row{}
	if number < len(rows) {
		fault = rows[number]
		fault.fault.At = begins
		config.Faults = append(config.Faults, fault.fault)
		if fault.fault.Seconds > 0 {
			until = min(end, begins+fault.fault.Seconds+86400)
		}
		o.sound = 10
	} else {
		begins, until = end, end
		o.sound = float64(days)
	}
	profile := "refrigerated"
	if kind == simulation.Freezer {
		profile = "frozen"
	}
	terms, _ := coldchain.TermsOf(profile)
	var now simulation.Sample
	say := func(word string, at int64) {
		switch {
		case at < begins && excursion[word] && !terms.Profile.Holds(now.True):
			// It is so: a store may be too warm in a hot place without any fault.
		case at < begins:
			if o.falsely == nil {
				o.falsely = map[string]int{}
			}
			o.falsely[word]++
		case o.by == "" && at <= until && slices.Contains(fault.words, word):
			o.by, o.delay = word, at-begins
		}
	}
	var state coldchain.State
	var watcher coldchain.Watcher
	var clock coldchain.Clock
	var heard, measured int64 = start, start
	told := map[string]bool{}
	u := simulation.New(seed<<32^uint64(number)<<24^uint64(unit), config)
	for {
		s := u.Next()
		if s.Real > end {
			return o
		}
		now = s
		o.samples++
		// Before it is known what comes: the receiver's clock goes on by itself.
		for word, last := range map[string]int64{silent: heard, lost: measured} {
			if _, is := coldchain.Silence(last, s.Interval, s.Real); is && !told[word] {
				told[word] = true
				say(word, s.Real)
			} else if !is {
				told[word] = false
			}
		}
		if s.Missing {
			continue
		}
		heard = s.Real
		if alone {
			s.Has &= coldchain.HasTemperature
		}
		if s.Has&coldchain.HasTemperature != 0 {
			measured = s.Real
			episodes(state.Temperature(&terms, coldchain.Reading{At: s.At, T: s.T}), s.Real, say)
		}
		if s.Has&coldchain.HasDoor != 0 {
			episodes(state.Door(&terms, coldchain.Spent{At: s.At, Interval: s.Interval, Seconds: s.Door}), s.Real, say)
			episodes(state.Supply(&terms, coldchain.Spent{At: s.At, Interval: s.Interval, Seconds: s.Supply}), s.Real, say)
		}
		for _, a := range watcher.Next(&s.Sample) {
			say(a.Reason, s.Real)
		}
		if a, is := clock.Next(s.At, s.Real, s.Interval); is {
			say(a.Reason, s.Real)
		}
	}
}

func episodes(all []coldchain.Episode, at int64, say func(string, int64)) {
	for _, e := range all {
		if e.End == "" && !e.Shown {
			say(e.Rule, at)
		}
	}
}
