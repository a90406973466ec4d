package simulation

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"runtime"
	"testing"

	"ampoule/coldchain"
)

const (
	start = 1_700_006_400 // midnight
	day   = 86400
)

// TestSameSeedSameSamples: what a seed gives is written down, so that a run can be made
// again elsewhere and later.
func TestSameSeedSameSamples(t *testing.T) {
	sum := func(seed uint64) string {
		h := sha256.New()
		for _, kind := range []Kind{Mains, IceLined, Freezer, UltraCold, Shipper} {
			u := New(seed, Config{Kind: kind, Start: start, Faults: []Fault{{Kind: Replayed, At: start + 2*day, Seconds: day}, {Kind: Spiked, At: start + 4*day}}})
			for range 5 * 96 {
				fmt.Fprintln(h, u.Next())
			}
		}
		return hex.EncodeToString(h.Sum(nil)[:8])
	}
	if got := sum(1); runtime.GOARCH == "amd64" && got != "7367d5f5a456a1c4" {
		t.Errorf("seed 1 gives %s", got)
	}
	if sum(1) == sum(2) {
		t.Error("a seed is not what tells units apart")
	}
}

// TestSoundStores stay in their range, in the shade and in the heat.
func TestSoundStores(t *testing.T) {
	for _, tt := range []struct {
		kind    Kind
		profile coldchain.Profile
	}{{Mains, coldchain.Refrigerated}, {IceLined, coldchain.Refrigerated}, {Freezer, coldchain.Frozen}, {UltraCold, coldchain.UltraCold}} {
		for _, ambient := range []float64{20, 32} {
			for seed := range uint64(20) {
				u := New(seed, Config{Kind: tt.kind, Start: start, Ambient: ambient, Doors: -1})
				for range 10 * 96 {
					if s := u.Next(); !tt.profile.Holds(s.True) {
						t.Fatalf("kind %d, seed %d, %v °C outside: %s", tt.kind, seed, ambient, s.True)
					}
				}
			}
		}
	}
}

// TestFaults: each does what it says, when it says, and no more.
func TestFaults(t *testing.T) {
	const begins, lasts = start + 3*day, 2 * day
	for _, tt := range []struct {
		kind  FaultKind
		store Kind
		shows func(during []Sample) bool
	}{
		{CompressorFails, Mains, func(all []Sample) bool {
			return all[90].True > 15_000 && all[90].Compressor == 0 && all[90].Supply == 900
		}},
		{CompressorFails, IceLined, func(all []Sample) bool {
			return all[20].True < 8_000 && all[90].Holdover < all[10].Holdover
		}},
		{PowerCut, Mains, func(all []Sample) bool { return all[90].True > 15_000 && all[90].Supply == 0 }},
		{Freezing, Mains, func(all []Sample) bool { return all[90].True < -1_000 }},
		{Freezing, IceLined, func(all []Sample) bool { return all[90].True < -1_000 }},
		{DoorOpen, Mains, func(all []Sample) bool { return all[90].True > 15_000 && all[90].Door == 900 }},
		{Stuck, Mains, func(all []Sample) bool { return all[5].T == all[90].T && all[5].T == all[50].T }},
		{Drifting, Mains, func(all []Sample) bool {
			return math.Abs(float64(all[190].T-all[190].True)) > 200 && math.Abs(float64(all[0].T-all[0].True)) < 250
		}},
		{Dead, Mains, func(all []Sample) bool { return all[5].Has&coldchain.HasTemperature == 0 && !all[5].Missing }},
		{Gap, Mains, func(all []Sample) bool { return all[5].Missing }},
		{ClockJump, Mains, func(all []Sample) bool { return all[5].At == all[5].Real-86400 }},
		{ClockDrift, Mains, func(all []Sample) bool { return all[96].At == all[96].Real+600 }},
		{Replayed, Mains, func(all []Sample) bool { return all[5].T == all[5+96].T && all[6].T == all[6+96].T }},
	} {
		t.Run(fmt.Sprintf("%s %d", tt.kind, tt.store), func(t *testing.T) {
			fault := Config{Kind: tt.store, Start: start, Faults: []Fault{{Kind: tt.kind, At: begins, Seconds: lasts}}}
			u, sound := New(4, fault), New(4, Config{Kind: tt.store, Start: start})
			var during []Sample
			for {
				s, other := u.Next(), sound.Next()
				if s.Real > begins+lasts {
					break
				}
				if s.Real > begins {
					during = append(during, s)
				} else if s != other {
					t.Fatalf("%+v before it began; without it %+v", s, other)
				}
			}
			if !tt.shows(during) {
				t.Errorf("it does not show")
			}
		})
	}
}

// TestShipper: cold packs hold for days and are used up.
func TestShipper(t *testing.T) {
	u := New(1, Config{Kind: Shipper, Start: start, Doors: -1})
	held := 0
	for range 10 * 96 {
		if s := u.Next(); s.True < 10_000 {
			held++
		} else if s.Has&coldchain.HasSupply != 0 {
			t.Fatal("a shipper with power")
		}
	}
	if days := float64(held) / 96; days < 1 || days > 5 {
		t.Errorf("%.1f days", days)
	}
}

func TestNormal(t *testing.T) {
	s := newSource(1)
	var sum, squares float64
	const n = 200_000
	for range n {
		v := s.normal()
		sum += v
		squares += v * v
	}
	if mean, variance := sum/n, squares/n; math.Abs(mean) > 0.01 || math.Abs(variance-1) > 0.02 {
		t.Errorf("mean %v, variance %v", mean, variance)
	}
}

func BenchmarkNext(b *testing.B) {
	u := New(1, Config{Start: start})
	b.ReportAllocs()
	for range b.N {
		u.Next()
	}
}
