package custody_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ampoule/cert"
	"ampoule/format/uuid"
	"ampoule/internal/keys"
	"ampoule/internal/storetest"
	"ampoule/party/custody"
	"ampoule/party/issuer"
	"ampoule/party/verifier"
	"ampoule/thing"
)

const euRegister = "https://ec.europa.eu/health/documents/community-register/html/"

var (
	ipv    = thing.Product{Code: "EU/1/20/1528", System: euRegister}
	yellow = thing.Product{Code: "EU/1/20/1507", System: euRegister}
)

// give issues the certificate of a dose that was given at a facility on a day.
func (k *kit) give(n int, product thing.Product, lot, facility string, d int) string {
	k.t.Helper()
	record := storetest.Dose(n)
	record.Vaccination.Product.Code, record.Vaccination.Lot, record.Vaccination.Date = product.Code, lot, cert.Date(day(d).Format(time.DateOnly))
	o := storetest.Order(fmt.Sprint("order ", n), record)
	o.At = issuer.Place{Organisation: "moh", Facility: facility}
	r, err := k.desk.Registry.Issue(k.t.Context(), o)
	must(k.t, err)
	return r.Artefacts[0].Text
}

// authority speaks for a country, or in another role.
func authority(t *testing.T, role thing.Role, name, country string) *custody.Authority {
	t.Helper()
	sca, err := keys.NewSCA(keys.Participant{Country: country, Organization: "Specimen authority", Name: name}, day(1).AddDate(-1, 0, 0), nil)
	must(t, err)
	dsc, err := sca.IssueDSC(keys.DSCProfile{}, day(1).AddDate(0, -1, 0), nil)
	must(t, err)
	listed, err := thing.NewLotKey(role, name, "", dsc.Certificate().Raw)
	must(t, err)
	return &custody.Authority{Role: role, Name: name, Signer: dsc.Signer, KID: dsc.KID(), Listed: listed}
}

// advise verifies a certificate offline, with what a bundle of the service carries.
func (k *kit) advise(text string, lots *thing.LotList) verifier.Verdict {
	k.t.Helper()
	doubts, err := k.Doubts(k.t.Context(), lots, "XA")
	must(k.t, err)
	list, err := custody.DoseList(doubts, "XA")
	must(k.t, err)
	v := k.desk.Verifier(k.t, list)
	v.Lots = lots
	return *v.Verify(text)
}

// said reads the statements of the service as a verifier does that lists an authority.
func (k *kit) said(a *custody.Authority) *thing.LotList {
	k.t.Helper()
	lines, err := k.Lines(k.t.Context())
	must(k.t, err)
	list := new(thing.LotList)
	must(k.t, list.Add("service", lines, thing.LotKeys{a.Listed}, k.now))
	return list
}

// TestFrozenFridge is a refrigerator that freezes on day 12. Of an IPV lot the doses that
// were given from it afterwards are in doubt, of a yellow fever lot beside it none, and of
// the same IPV lot elsewhere none. All certificates stay valid.
func TestFrozenFridge(t *testing.T) {
	k := newKit(t)
	k.deliver(ipvLot)
	k.deliver(yellowLot)
	k.cold.hold("depot-cold", 1, 6, 5_000)
	k.cold.hold("south-cold", 5, 20, 4_000)
	k.cold.hold("north-cold", 5, 12, 5_000)
	k.cold.hold("north-cold", 12, 13, -3_000)
	k.cold.hold("north-cold", 13, 20, 5_000)
	certificates := map[string]string{
		"before":       k.give(1, ipv, "SPEC-IPV", "north", 11),
		"after":        k.give(2, ipv, "SPEC-IPV", "north", 15),
		"written else": k.give(3, ipv, "spec ipv", "north", 16),
		"yellow fever": k.give(4, yellow, "SPEC-YF", "north", 15),
		"elsewhere":    k.give(5, ipv, "SPEC-IPV", "south", 15),
		"another lot":  k.give(6, ipv, "SPEC-IPV-2", "north", 15),
	}
	look := func(lots *thing.LotList, inDoubt ...string) {
		t.Helper()
		for name, text := range certificates {
			want := thing.NotKnown
			for _, d := range inDoubt {
				if d == name {
					want = thing.Concern
				}
			}
			v := k.advise(text, lots)
			if v.Outcome != verifier.Valid || thing.AdviceValue(v.Advice.Value) != want {
				t.Errorf("%s: %s, advice %+v, want %s", name, v.Outcome, v.Advice, want)
			}
		}
	}
	look(nil)
	changed, err := k.Sweep(t.Context())
	must(t, err)
	if len(changed) != 1 || changed[0].Site != north || changed[0].Value != thing.Freeze || changed[0].Where != "North, fridge" || !changed[0].Stands {
		t.Fatalf("%+v", changed)
	}
	look(nil, "after", "written else")

	// The country says so of its place, for certificates of others. Once is enough.
	country := authority(t, thing.Participant, "XAA", "XA")
	for i, want := range []int{2, 0} { // one for each code of the product
		if made, err := k.Speak(t.Context(), country); err != nil || made != want {
			t.Errorf("round %d: %d statements, %v", i, made, err)
		}
	}
	lots := k.said(country)
	look(lots, "after", "written else")
	other := thing.Dose{Products: []thing.Product{ipv, {Code: "10", System: "http://hl7.org/fhir/sid/cvx"}}, Lot: "SPEC/IPV", Country: "XA", Centre: "north", Given: "2026-10-13"}
	if a := lots.Advise(other); a.Value != thing.Concern || a.Reason != thing.ReasonFrozen {
		t.Errorf("another issuer's dose from there: %+v", a)
	}
	other.Centre = ""
	if a := lots.Advise(other); a.Value != thing.NotKnown || a.Reason != thing.ReasonPlace {
		t.Errorf("another issuer's dose from somewhere in the country: %+v", a)
	}
	// Another country's participant cannot say it: not of this place.
	if made, err := k.Speak(t.Context(), authority(t, thing.Participant, "XBB", "XB")); err != nil || made != 0 {
		t.Errorf("another country made %d statements, %v", made, err)
	}

	// Late readings: the refrigerator was empty, and the sensor on the bank of ice.
	delete(k.cold, "north-cold")
	k.cold.hold("north-cold", 5, 20, 5_000)
	if changed, err = k.Sweep(t.Context(), "north-cold"); err != nil || len(changed) != 1 || changed[0].Stands || changed[0].Why != "late-data" {
		t.Errorf("%+v, %v", changed, err)
	}
	k.now = k.now.Add(time.Minute)
	if made, err := k.Speak(t.Context(), country); err != nil || made != 2 {
		t.Errorf("%d withdrawals, %v", made, err)
	}
	look(k.said(country))
}

// TestHeatedLot is a lot whose budget is used up on the way through several places.
func TestHeatedLot(t *testing.T) {
	k := newKit(t)
	k.deliver(yellowLot)
	k.cold.hold("depot-cold", 1, 3, 5_000)
	k.cold.hold("depot-cold", 3, 4, 12_000) // half of 48 hours
	k.cold.hold("depot-cold", 4, 6, 5_000)
	k.cold.hold("north-cold", 5, 20, 5_000)
	k.cold.hold("south-cold", 5, 8, 5_000)
	k.cold.hold("south-cold", 8, 10, 15_000) // and more than the rest
	k.cold.hold("south-cold", 10, 20, 5_000)
	before, after, north := k.give(1, yellow, "SPEC-YF", "south", 8), k.give(2, yellow, "SPEC-YF", "south", 9), k.give(3, yellow, "SPEC-YF", "north", 15)
	changed, err := k.Sweep(t.Context())
	must(t, err)
	if len(changed) != 1 || changed[0].Value != thing.Heat || !changed[0].From.Equal(day(9)) || changed[0].Site != south {
		t.Fatalf("%+v", changed)
	}
	for text, want := range map[string]thing.AdviceValue{before: thing.NotKnown, after: thing.Concern, north: thing.NotKnown} {
		if v := k.advise(text, nil); v.Outcome != verifier.Valid || thing.AdviceValue(v.Advice.Value) != want {
			t.Errorf("%s, advice %+v, want %s", v.Outcome, v.Advice, want)
		}
	}
}

// TestRecall follows a lot from the works to the certificates; the counts are what was
// told and issued.
func TestRecall(t *testing.T) {
	k := newKit(t)
	k.deliver(ipvLot)
	k.tell(day(6), "moh", ipvLot, 20, "OBSERVE", "shipping", `"readPoint":{"id":"`+southCold+`"},"destinationList":[{"type":"location","destination":"`+north+`"}]`)
	k.tell(day(7), "moh", ipvLot, 3, "DELETE", "destroying", `"bizLocation":{"id":"`+northCold+`"}`)
	var certificates []string
	for n := range 7 {
		certificates = append(certificates, k.give(n, ipv, "SPEC-IPV", []string{"north", "south"}[n%2], 8+n))
	}
	k.give(50, yellow, "SPEC-IPV", "north", 8) // another product whose lot has that number
	r, err := k.Recall(t.Context(), custody.Actor{ID: "regulator"}, ipv, "SPEC IPV")
	must(t, err)
	if r.Doses != 7 || r.Certificates != 14 || r.ByFormat["eu-dcc"] != 7 || r.OnTheWay != 200 || len(r.Lots) != 1 {
		t.Errorf("%+v", r)
	}
	var places []string
	for _, p := range r.Places {
		places = append(places, fmt.Sprintf("%s %d here, %d gone, %d doses", p.Name, p.Here, p.Gone, p.Doses))
	}
	want := []string{"Depot 0 here, 0 gone, 0 doses", "North 470 here, 30 gone, 4 doses", "South 300 here, 0 gone, 3 doses", "Specimen works 0 here, 0 gone, 0 doses"}
	if diff := cmp.Diff(want, places); diff != "" {
		t.Error(diff)
	}
	// Who is bound to a place sees it alone, and how many there are in all.
	mine := custody.Actor{ID: "clerk", Within: custody.Place{Organisation: "moh", Facility: "south"}}
	if r, err = k.Recall(t.Context(), mine, ipv, "SPEC-IPV"); err != nil || len(r.Places) != 1 || r.Places[0].Name != "South" || r.Doses != 7 {
		t.Errorf("%+v, %v", r, err)
	}
	records := map[uuid.UUID]bool{}
	must(t, k.Records(t.Context(), mine, ipv, "SPEC-IPV", func(id uuid.UUID, _ custody.Place) error {
		if records[id] {
			t.Error("a record twice")
		}
		records[id] = true
		return nil
	}))
	if len(records) != 3 {
		t.Errorf("%d records at that place", len(records))
	}

	// A regulator recalls the lot: every certificate of it shows that, whoever issued it,
	// and nothing else does.
	regulator := authority(t, thing.Regulator, "SPECREG", "XA")
	_, err = k.Say(t.Context(), regulator, thing.LotStatement{Product: ipv, Lot: "SPEC-IPV", Part: thing.All, Value: thing.Recalled})
	must(t, err)
	lots := k.said(regulator)
	for i, text := range certificates {
		if v := k.advise(text, lots); v.Outcome != verifier.Valid || v.Advice.Value != verifier.AdviceValue(thing.Concern) {
			t.Errorf("certificate %d: %s, %+v", i, v.Outcome, v.Advice)
		}
	}
	doubts, err := k.Doubts(t.Context(), lots, "XA")
	must(t, err)
	if len(doubts) != 14 || doubts[0].Reason != thing.ReasonRecalled {
		t.Errorf("%d are in doubt: %+v", len(doubts), doubts)
	}
	foreign := thing.Dose{Products: []thing.Product{ipv}, Lot: "Spec-Ipv", Country: "XB", Given: "2025-01-01"}
	if a := lots.Advise(foreign); a.Reason != thing.ReasonRecalled {
		t.Errorf("another country's dose of it: %+v", a)
	}
	// What is not the authority's to say is not signed.
	for value, want := range map[thing.Value]error{thing.Freeze: thing.ErrNotItsValue} {
		if _, err := k.Say(t.Context(), regulator, thing.LotStatement{Product: ipv, Lot: "SPEC-IPV", Part: thing.All, Value: value}); !errors.Is(err, want) {
			t.Errorf("%s: %v", value, err)
		}
	}
	if _, err := k.Say(t.Context(), nil, thing.LotStatement{}); !errors.Is(err, custody.ErrNoAuthority) {
		t.Error(err)
	}
	// Nothing in what is published tells a person.
	lines, err := k.Lines(t.Context())
	must(t, err)
	for _, word := range append(storetest.Families, storetest.Documents) {
		if strings.Contains(string(lines), word) {
			t.Errorf("%s stands in a statement", word)
		}
	}
}
