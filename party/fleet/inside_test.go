package fleet_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"ampoule/coldchain"
	"ampoule/device"
	"ampoule/party/fleet"
)

// TestInside: of two loggers in one fridge each time has the worse, a device that was
// elsewhere says nothing of it, and what one of them lost is the other's.
func TestInside(t *testing.T) {
	k := newKit(t)
	e := k.equipment("fridge")
	other := k.equipment("other")
	k.deliver(k.logger("1", e), every(0, 5, 9, 4, 5))
	k.deliver(k.logger("2", e), every(5, 4, 4, -1, 5))
	k.deliver(k.logger("3", other), every(0, 20, 20, 20, 20))
	at := func(minute int) int64 { return day.Unix() + int64(minute)*60 }
	got, err := k.Inside(t.Context(), e.ID, at(0), at(50))
	must(t, err)
	want := []coldchain.Reading{
		{At: at(0), T: 5000}, {At: at(5), T: 4000}, {At: at(15), T: 9000}, {At: at(20), T: 9000}, {At: at(30), T: 4000}, {At: at(35), T: -1000}, {At: at(45), T: -1000}, {At: at(50), T: 5000},
	}
	if diff := cmp.Diff(want, got.Readings); diff != "" || got.Level != device.LevelToken || got.Gap < coldchain.Gap {
		t.Errorf("%s, level %d, gap %d", diff, got.Level, got.Gap)
	}
	for name, ask := range map[string]func() (fleet.Inside, error){
		"before all": func() (fleet.Inside, error) { return k.Inside(t.Context(), e.ID, at(-5000), at(-4000)) },
		"of none":    func() (fleet.Inside, error) { return k.Inside(t.Context(), "none", at(0), at(50)) },
		"no such name": func() (fleet.Inside, error) {
			return k.Along(t.Context(), device.Name{Scheme: device.GIAI, Value: "9521321X"}, at(0), at(50))
		},
	} {
		if got, err := ask(); err != nil || len(got.Readings) != 0 || got.Level != 0 {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}
