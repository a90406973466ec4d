package custody_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ampoule/coldchain"
	"ampoule/internal/storetest"
	"ampoule/party/custody"
	"ampoule/thing"
	"ampoule/thing/vaccine"
)

// asked is a prover that tells what it was asked for.
type asked []string

func (a *asked) InEquipment(_ context.Context, equipment string, from, until int64) ([]custody.Evidence, error) {
	*a = append(*a, equipment)
	return []custody.Evidence{{Device: equipment, From: from, Until: until, Segments: 1, Faults: []string{}}}, nil
}

func (a *asked) ByDevice(ctx context.Context, name string, from, until int64) ([]custody.Evidence, error) {
	return a.InEquipment(ctx, name, from, until)
}

// changedTo is a catalogue in which a text of the products is another.
func changedTo(t *testing.T, old, new string, n int) *vaccine.Catalogue {
	t.Helper()
	if !strings.Contains(products, old) {
		t.Fatalf("%s is not in the products", old)
	}
	c, err := vaccine.Parse([]byte(strings.Replace(products, old, new, n)))
	must(t, err)
	return c
}

// TestReassess: 24 hours at 10 °C in a clinic on day 12, and 12 on day 14, are within the
// budget of 48. By one of 30 the doses given there from day 14 on are in doubt, by one of
// 12 those from day 12 on; a budget that is raised clears them. Nothing is written.
func TestReassess(t *testing.T) {
	k := newKit(t)
	k.deliver(ipvLot)
	k.deliver(yellowLot)
	k.cold.hold("depot-cold", 1, 6, 5_000)
	k.cold.hold("south-cold", 5, 20, 4_000)
	k.cold.hold("north-cold", 5, 12, 5_000)
	k.cold.hold("north-cold", 12, 13, 10_000)
	k.cold.hold("north-cold", 13, 14, 5_000)
	for at := day(14).Unix(); at < day(15).Unix(); at += 900 {
		degrees := coldchain.Temperature(10_000)
		if at >= day(14).Add(12*time.Hour).Unix() {
			degrees = 5_000
		}
		k.cold["north-cold"] = append(k.cold["north-cold"], coldchain.Reading{At: at, T: degrees})
	}
	k.cold.hold("north-cold", 15, 20, 5_000)
	k.give(1, ipv, "SPEC-IPV", "north", 11)
	k.give(2, ipv, "SPEC-IPV", "north", 12)
	k.give(3, ipv, "spec ipv", "north", 16)
	k.give(4, yellow, "SPEC-YF", "north", 16)
	k.give(5, ipv, "SPEC-IPV", "south", 16)
	moh := custody.Actor{ID: "specimen.manager", Within: custody.Place{Organisation: "moh"}}
	var proven asked
	k.Prove = func() custody.Prover { proven = nil; return &proven }
	ipvOf := func(hours string) *vaccine.Catalogue {
		return changedTo(t, `"seconds": 172800}], "freezeSensitive": true`, `"seconds": `+hours+`}], "freezeSensitive": true`, 1)
	}
	ask := func(by custody.Actor, next *vaccine.Catalogue) *custody.Reassessed {
		t.Helper()
		out, err := k.Reassess(t.Context(), by, next)
		must(t, err)
		return out
	}

	// The same catalogue, and one that says nothing of it: nothing moves, nothing is proven.
	for _, next := range []*vaccine.Catalogue{k.Catalogue(), changedTo(t, "Specimen IPV", "Another name", 1)} {
		if out := ask(moh, next); len(out.Moves) != 0 || out.Judged != 6 || proven != nil {
			t.Errorf("%+v, proven %v", out, proven)
		}
	}

	out := ask(moh, ipvOf("108000"))
	if len(out.Moves) != 1 {
		t.Fatalf("%+v", out)
	}
	m := out.Moves[0]
	want := custody.Move{
		Lot: ipvLot, Number: "SPEC-IPV", Product: "Specimen IPV", Site: north, Name: "North", At: custody.Place{Organisation: "moh", Facility: "north"},
		Before:  custody.Judged{Outcome: "sound", Share: 750_000, Bands: []custody.JudgedBand{{Above: 8_000, Minutes: 36 * 60, Budget: 48 * 60}}},
		After:   custody.Judged{Concern: thing.Heat, From: day(14).Add(6 * time.Hour), Where: "North, fridge", Outcome: "heat", Share: 1_200_000, Bands: []custody.JudgedBand{{Above: 8_000, Minutes: 36 * 60, Budget: 30 * 60}}},
		Doubted: custody.Affected{Doses: 1, Certificates: 2, ByFormat: map[string]int{"eu-dcc": 1, "shc": 1}}, Cleared: custody.Affected{ByFormat: map[string]int{}},
	}
	want.Proof = m.Proof // of which the next lines speak
	if diff := cmp.Diff(want, m); diff != "" {
		t.Error(diff)
	}
	if len(m.Proof) == 0 || !strings.Contains(strings.Join(proven, " "), "north-cold") || !strings.Contains(strings.Join(proven, " "), "depot-cold") || strings.Contains(strings.Join(proven, " "), "south") {
		t.Errorf("proven: %v", proven)
	}
	text, err := json.Marshal(out)
	must(t, err)
	for _, w := range append(storetest.Families, storetest.Documents) {
		if strings.Contains(strings.ReplaceAll(string(text), "Specimen IPV", ""), w) {
			t.Errorf("%s stands in the answer", w)
		}
	}
	if concerns, err := k.Stock.Concerns(t.Context(), ""); err != nil || len(concerns) != 0 {
		t.Errorf("written: %+v, %v", concerns, err)
	}

	// Who sees the other clinic alone is told of nothing.
	if out := ask(custody.Actor{Within: custody.Place{Organisation: "moh", Facility: "south"}}, ipvOf("108000")); len(out.Moves) != 0 || out.Judged != 2 {
		t.Errorf("in the south: %+v", out)
	}
	if out := ask(custody.Actor{Within: custody.Place{Organisation: "other"}}, ipvOf("108000")); len(out.Moves) != 0 || out.Judged != 0 {
		t.Errorf("elsewhere: %+v", out)
	}

	// From a smaller budget back: the earlier day is cleared, and the later one stays.
	small := ipvOf("43200")
	k.Catalogue = func() *vaccine.Catalogue { return small }
	if changed, err := k.Sweep(t.Context()); err != nil || len(changed) != 1 || !changed[0].From.Equal(day(12).Add(12*time.Hour)) {
		t.Fatalf("%+v, %v", changed, err)
	}
	out = ask(moh, ipvOf("108000"))
	if len(out.Moves) != 1 || out.Moves[0].Cleared.Doses != 1 || out.Moves[0].Doubted.Doses != 0 || out.Moves[0].Before.Concern != thing.Heat {
		t.Errorf("%+v", out)
	}
	out = ask(moh, ipvOf("259200"))
	if len(out.Moves) != 1 || out.Moves[0].Cleared.Doses != 2 || out.Moves[0].After.Concern != "" {
		t.Errorf("%+v", out)
	}
	// And applied: the sweep under the other catalogue finds the same.
	k.Catalogue = func() *vaccine.Catalogue { return ipvOf("259200") }
	if changed, err := k.Sweep(t.Context()); err != nil || len(changed) != 1 || changed[0].Stands {
		t.Errorf("%+v, %v", changed, err)
	}
}
