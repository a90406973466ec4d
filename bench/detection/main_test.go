package main

import (
	"testing"

	"ampoule/coldchain/simulation"
)

// TestDetection is the table in small: the same seed gives the same units, so that a
// change which finds less, or says more without a fault, shows here.
func TestDetection(t *testing.T) {
	const units, days = 24, 20
	found := map[simulation.FaultKind]int{}
	table, _ := run(1, units, days)
	falsely := 0
	for i, outcomes := range table {
		s := sum(outcomes)
		falsely += s.false
		if i < len(rows) {
			found[rows[i].fault.Kind] = s.found
		}
	}
	for _, kind := range simulation.FaultKinds() {
		if least, ok := atLeast[kind]; !ok || found[kind] < least {
			t.Errorf("%s: %d found of %d, want %d", kind, found[kind], units, least)
		}
	}
	if falsely > atMost {
		t.Errorf("%d false alarms, want %d at most", falsely, atMost)
	}
}

// What is found of 24 units each, a fifth of which tell their temperature alone.
var atLeast = map[simulation.FaultKind]int{
	simulation.CompressorFails: 23,
	simulation.Leak:            23,
	simulation.Freezing:        24,
	simulation.PowerCut:        23,
	simulation.DoorOpen:        21,
	simulation.Stuck:           24,
	simulation.Spiked:          24,
	simulation.Drifting:        23,
	simulation.Dead:            24,
	simulation.Gap:             24,
	simulation.ClockJump:       24,
	simulation.ClockDrift:      24,
	simulation.Drawn:           24,
	simulation.Replayed:        20,
}

// In 3,840 days without a fault.
const atMost = 4
