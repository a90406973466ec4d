package coldchain_test

import (
	"encoding/json"
	"slices"
	"testing"
	"unsafe"

	"ampoule/coldchain"
	"ampoule/coldchain/simulation"
)

const (
	start = 1_700_006_400 // midnight
	day   = 86400
)

// TestAnomalies: each has one unit that must show it and, beside it, units that come
// near and must not.
func TestAnomalies(t *testing.T) {
	fault := func(kind simulation.FaultKind, size float64, seconds int64) []simulation.Fault {
		return []simulation.Fault{{Kind: kind, At: start + 10*day + 3600, Seconds: seconds, Size: size}}
	}
	for _, tt := range []struct {
		name   string
		kind   simulation.Kind
		faults []simulation.Fault
		want   []string
	}{
		{"sound, mains", simulation.Mains, nil, nil},
		{"sound, ice", simulation.IceLined, nil, nil},
		{"sound, freezer", simulation.Freezer, nil, nil},
		{"stuck", simulation.Mains, fault(simulation.Stuck, 0, 2*day), []string{coldchain.ReasonStuck}},
		{"stuck for 75 minutes", simulation.Mains, fault(simulation.Stuck, 0, 4500), nil},
		{"spikes", simulation.IceLined, fault(simulation.Spiked, 0, day), []string{coldchain.ReasonSpike}},
		{"spikes of two degrees", simulation.IceLined, fault(simulation.Spiked, 2, day), nil},
		{"drifts", simulation.IceLined, fault(simulation.Drifting, 0.2, 0), []string{coldchain.ReasonDrift}},
		{"drifts in a tenth of the time", simulation.IceLined, fault(simulation.Drifting, 0.01, 0), nil},
		{"leaks", simulation.Mains, fault(simulation.Leak, 0.1, 5*day), []string{coldchain.ReasonWeak}},
		{"compressor fails", simulation.Mains, fault(simulation.CompressorFails, 0, day), []string{coldchain.ReasonIdle}},
		{"power is cut: no fault of the compressor", simulation.Mains, fault(simulation.PowerCut, 0, 6*3600), nil},
		{"drawn", simulation.IceLined, fault(simulation.Drawn, 0, 5*day), []string{coldchain.ReasonSmooth}},
		{"stuck, while the compressor runs", simulation.Mains, fault(simulation.Stuck, 0, 5*day), []string{coldchain.ReasonStuck, coldchain.ReasonDeaf}},
		{"the day before again", simulation.Mains, fault(simulation.Replayed, 0, 2*day), []string{coldchain.ReasonCopied}},
		{"a gap", simulation.Mains, fault(simulation.Gap, 0, 2*day), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u := simulation.New(7, simulation.Config{Kind: tt.kind, Start: start, Faults: tt.faults})
			var w coldchain.Watcher
			said := map[string]bool{}
			for {
				x := u.Next()
				if x.Real > start+17*day {
					break
				}
				if x.Missing {
					continue
				}
				for _, a := range w.Next(&x.Sample) {
					if len(tt.faults) == 0 || x.Real < tt.faults[0].At {
						t.Errorf("without a fault: %s", &a)
					}
					if a.Since > a.At || a.At != x.At || len(a.Figures) == 0 {
						t.Errorf("%+v", a)
					}
					said[a.Reason] = true
				}
			}
			for _, reason := range tt.want {
				if !said[reason] {
					t.Errorf("nothing of %s; said %v", reason, said)
				}
			}
			if len(tt.want) == 0 && len(said) > 0 {
				t.Errorf("said %v", said)
			}
		})
	}
}

// TestWatcherGoesOn: one that was kept as JSON at any time says the same, and is bounded
// whatever it saw.
func TestWatcherGoesOn(t *testing.T) {
	if size := unsafe.Sizeof(coldchain.Watcher{}); size > 4096 {
		t.Errorf("%d bytes", size)
	}
	config := simulation.Config{Start: start, Faults: []simulation.Fault{{Kind: simulation.Stuck, At: start + 3*day, Seconds: day}, {Kind: simulation.Replayed, At: start + 6*day, Seconds: 2 * day}}}
	u := simulation.New(3, config)
	var whole, kept coldchain.Watcher
	var one, two []string
	for i := range 12 * 96 {
		if i%37 == 0 {
			data, err := json.Marshal(kept)
			if err != nil || len(data) > 8192 {
				t.Fatalf("%d bytes, %v", len(data), err)
			}
			kept = coldchain.Watcher{}
			if err := json.Unmarshal(data, &kept); err != nil {
				t.Fatal(err)
			}
		}
		x := u.Next()
		for _, a := range whole.Next(&x.Sample) {
			one = append(one, a.String())
		}
		for _, a := range kept.Next(&x.Sample) {
			two = append(two, a.String())
		}
	}
	if !slices.Equal(one, two) || len(one) == 0 {
		t.Errorf("%q\nwithout a break %q", two, one)
	}
	x := u.Next()
	if n := testing.AllocsPerRun(200, func() { x.At += 900; whole.Next(&x.Sample) }); n > 0.1 {
		t.Errorf("%v allocations of a sample", n)
	}
}

func TestImpossibleHoldover(t *testing.T) {
	// without gives samples without power: degrees, and hours of holdover.
	without := func(said ...[2]float64) (all []coldchain.Sample) {
		for i, s := range said {
			all = append(all, coldchain.Sample{At: int64(i) * 3600, Interval: 3600, Has: coldchain.HasTemperature | coldchain.HasSupply | coldchain.HasHoldover,
				T: coldchain.Temperature(s[0] * 1000), Holdover: int64(s[1] * 3600)})
		}
		return all
	}
	falling := func(by float64) (said [][2]float64) {
		for i := range 30 {
			said = append(said, [2]float64{5, 90 - float64(i)*by})
		}
		return said
	}
	for _, tt := range []struct {
		name    string
		samples []coldchain.Sample
		want    int
	}{
		{"an hour goes in an hour", without(falling(1)...), 0},
		{"a third of an hour, in a cool place", without(falling(0.34)...), 0},
		{"it stays", without(falling(0)...), 1},
		{"it grows", without(falling(-1)...), 1},
		{"warm for an hour while it would hold", without([2]float64{5, 20}, [2]float64{9, 19}, [2]float64{10, 18}), 1},
		{"warm when it is used up", without([2]float64{5, 2}, [2]float64{9, 1}, [2]float64{10, 0}), 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var r coldchain.Reserve
			n := 0
			for i := range tt.samples {
				if a, found := r.Next(&tt.samples[i]); found {
					n++
					if a.Reason != coldchain.ReasonHoldover {
						t.Error(a.Reason)
					}
				}
			}
			if n != tt.want {
				t.Errorf("said %d times", n)
			}
		})
	}
}

func TestClock(t *testing.T) {
	// Deliveries every 15 minutes: by how much the device's time is off.
	off := func(seconds ...int64) (all [][2]int64) {
		for i, s := range seconds {
			real := start + int64(i)*900
			all = append(all, [2]int64{real + s, real + 20})
		}
		return all
	}
	backlog := off(0, 0)
	for i := range int64(30) { // what was kept while it was cut off comes in order, a day late, and catches up
		backlog = append(backlog, [2]int64{start + 1800 + i*3600, start + day + i*900})
	}
	for _, tt := range []struct {
		name       string
		deliveries [][2]int64
		want       []string
	}{
		{"right", off(0, 1, -1, 0), nil},
		{"five minutes ahead", off(0, 319, 0), nil},
		{"more, told once", off(0, 321, 400, 321), []string{coldchain.ReasonAhead}},
		{"a day back", off(0, 0, -day, -day), []string{coldchain.ReasonBack}},
		{"an hour behind, always", off(slices.Repeat([]int64{-3600}, 30)...), []string{coldchain.ReasonBehind}},
		{"it catches up", backlog, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var c coldchain.Clock
			var said []string
			for _, d := range tt.deliveries {
				if a, found := c.Next(d[0], d[1], 900); found {
					said = append(said, a.Reason)
				}
			}
			if !slices.Equal(said, tt.want) {
				t.Errorf("said %v", said)
			}
		})
	}
}

func TestPairAndShares(t *testing.T) {
	with := func(faults ...simulation.Fault) (found bool) {
		one := simulation.New(5, simulation.Config{Start: start, Doors: -1, Faults: faults})
		other := simulation.New(5, simulation.Config{Start: start, Doors: -1, Noise: 0.06})
		var p coldchain.Pair
		for range 20 * 96 {
			a, b := one.Next(), other.Next()
			_, is := p.Next(a.At, a.T, b.T)
			found = found || is
		}
		return found
	}
	if with() || !with(simulation.Fault{Kind: simulation.Drifting, At: start + 8*day, Size: 0.1}) {
		t.Error("two sensors of one store")
	}
	var a, b, c coldchain.Watcher
	one, other := simulation.New(1, simulation.Config{Start: start}), simulation.New(2, simulation.Config{Start: start})
	for range 5 * 96 {
		x, y := one.Next(), other.Next()
		a.Next(&x.Sample)
		b.Next(&x.Sample)
		c.Next(&y.Sample)
	}
	if same, others := a.Copied.Shares(&b.Copied), a.Copied.Shares(&c.Copied); same != 15 || others != 0 {
		t.Errorf("%d blocks of a copy, %d of another", same, others)
	}
}

func BenchmarkWatcher(b *testing.B) {
	u := simulation.New(1, simulation.Config{Start: start})
	var samples []coldchain.Sample
	for range 96 {
		samples = append(samples, u.Next().Sample)
	}
	var w coldchain.Watcher
	b.ReportAllocs()
	for i := range b.N {
		x := samples[i%96]
		x.At = start + int64(i)*900
		w.Next(&x)
	}
}
