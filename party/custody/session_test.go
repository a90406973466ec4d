package custody_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"slices"
	"testing"
	"time"

	"ampoule/party/custody"
	"ampoule/thing"
	"ampoule/thing/trail"
	"ampoule/trust"
)

func clerk(facility string) custody.Actor {
	return custody.Actor{ID: "u-clerk", Within: custody.Place{Organisation: "moh", Facility: facility}}
}

// reasons are those that refuse, and then those that only tell.
func reasons(f *custody.Fitness) (refuse, tell []string) {
	for _, x := range f.Findings {
		switch {
		case x.Refuses:
			refuse = append(refuse, x.Reason)
		default:
			tell = append(tell, x.Reason+" "+x.Why)
		}
	}
	return refuse, tell
}

// TestFitness: one vial at each of two clinics, after one refrigerator froze.
func TestFitness(t *testing.T) {
	k := newKit(t)
	k.deliver(ipvLot)
	k.deliver(yellowLot)
	k.cold.hold("depot-cold", 1, 6, 5_000)
	k.cold.hold("south-cold", 5, 20, 4_000)
	k.cold.hold("north-cold", 5, 12, 5_000)
	k.cold.hold("north-cold", 12, 13, -3_000)
	k.cold.hold("north-cold", 13, 20, 5_000)
	ipv := thing.Product{Code: "09521321123458", System: "https://id.gs1.org/01"}
	for _, c := range []struct {
		name         string
		facility     string
		w            custody.Wanted
		refuse, tell []string
	}{
		{"sound", "south", custody.Wanted{Lot: ipvLot, Expiry: "2027-01-31"}, nil, nil},
		{"by what is printed on it", "south", custody.Wanted{Product: ipv, Number: "spec-ipv", Expiry: "2027-01-31", Location: southCold}, nil, nil},
		{"frozen", "north", custody.Wanted{Lot: ipvLot, Expiry: "2027-01-31"}, []string{"freeze"}, nil},
		{"frozen, and bears it", "north", custody.Wanted{Lot: yellowLot, Expiry: "2027-01-31"}, nil, nil},
		{"its last day", "south", custody.Wanted{Lot: ipvLot, Expiry: "2026-10-20"}, nil, nil},
		{"the day after", "south", custody.Wanted{Lot: ipvLot, Expiry: "2026-10-19"}, []string{"expired"}, nil},
		{"without an expiry", "south", custody.Wanted{Lot: ipvLot}, nil, []string{"not-known expiry-not-told"}},
		{"never delivered", "south", custody.Wanted{Product: ipv, Number: "OTHER", Expiry: "2027-01-31"}, nil, []string{"not-here ", "not-known not-measured"}},
		{"of no product", "south", custody.Wanted{Product: thing.Product{Code: "X", System: "urn:x"}, Number: "1", Expiry: "2027-01-31"}, nil,
			[]string{"not-here ", "not-known not-measured", "not-known product-not-in-catalogue"}},
	} {
		f, err := k.Fitness(t.Context(), clerk(c.facility), c.w)
		must(t, err)
		refuse, tell := reasons(f)
		if !slices.Equal(refuse, c.refuse) || !slices.Equal(tell, c.tell) || f.Fit() != (len(c.refuse) == 0) {
			t.Errorf("%s: %q refuse, %q tell", c.name, refuse, tell)
		}
	}
	for _, c := range []struct {
		by   custody.Actor
		w    custody.Wanted
		want error
	}{
		{clerk(""), custody.Wanted{Lot: ipvLot}, custody.ErrWhichLocation},
		{clerk("nowhere"), custody.Wanted{Lot: ipvLot}, custody.ErrWhichLocation},
		{clerk("north"), custody.Wanted{Lot: ipvLot, Location: south}, custody.ErrNoLocation},
		{clerk("north"), custody.Wanted{Lot: "urn:x"}, custody.ErrLot},
		{clerk("north"), custody.Wanted{Lot: ipvLot, Number: "OTHER"}, custody.ErrLot},
		{clerk("north"), custody.Wanted{Number: "SPEC-IPV"}, custody.ErrLot},
		{clerk("north"), custody.Wanted{Lot: ipvLot, Expiry: "2026-13-01"}, custody.ErrLot},
	} {
		if _, err := k.Fitness(t.Context(), c.by, c.w); !errors.Is(err, c.want) {
			t.Errorf("%+v: %v", c.w, err)
		}
	}
}

// TestSession: what a session tells leaves the stock of its place, dose by dose.
func TestSession(t *testing.T) {
	k := newKit(t)
	k.deliver(ipvLot)
	by := clerk("south")
	balance := func() trail.Balance {
		t.Helper()
		known, err := k.Assess(t.Context(), ipvLot, south, k.now)
		must(t, err)
		return known.Balance
	}
	s, _, err := k.Open(t.Context(), by, custody.Opening{Wanted: custody.Wanted{Lot: ipvLot, Expiry: "2027-01-31", Location: southCold}})
	must(t, err)
	if s.Doses != 10 || s.Number != "SPEC-IPV" || !s.Discard.Equal(k.now.Add(6*time.Hour)) || s.Place.Facility != "south" {
		t.Errorf("%+v", s)
	}
	if b := balance(); b != (trail.Balance{Here: 500, Known: true}) {
		t.Errorf("an opened vial has gone: %+v", b)
	}
	if _, err := k.Waste(t.Context(), by, s.ID, 1, 2, "broken"); err != nil {
		t.Fatal(err)
	}
	if b := balance(); b != (trail.Balance{Here: 498, Gone: 2, Known: true}) {
		t.Errorf("after two were broken: %+v", b)
	}
	for _, c := range []struct {
		name string
		do   func() error
		want error
	}{
		{"the version before", func() error { _, err := k.Waste(t.Context(), by, s.ID, 1, 1, "broken"); return err }, custody.ErrConflict},
		{"more than is in it", func() error { _, err := k.Waste(t.Context(), by, s.ID, 2, 9, "broken"); return err }, custody.ErrDoses},
		{"none", func() error { _, err := k.Waste(t.Context(), by, s.ID, 2, 0, "broken"); return err }, custody.ErrDoses},
		{"a reason of their own", func() error { _, err := k.Waste(t.Context(), by, s.ID, 2, 1, "dropped"); return err }, custody.ErrReason},
		{"at another place", func() error { _, err := k.Waste(t.Context(), clerk("north"), s.ID, 2, 1, "broken"); return err }, custody.ErrNoSession},
		{"more given than is in it", func() error {
			_, err := k.End(t.Context(), by, s.ID, 2, custody.Closing{Unrecorded: 5, Left: 4})
			return err
		}, custody.ErrDoses},
	} {
		if err := c.do(); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	k.now = k.now.Add(7 * time.Hour)
	f, err := k.SessionFitness(t.Context(), by, s)
	must(t, err)
	if refuse, _ := reasons(f); !slices.Equal(refuse, []string{"vial-past-discard"}) {
		t.Errorf("after seven hours: %q", refuse)
	}
	ended, err := k.End(t.Context(), by, s.ID, 2, custody.Closing{Unrecorded: 5})
	must(t, err)
	if ended.Rest() != 0 || ended.Wasted != 5 || ended.Ended.IsZero() {
		t.Errorf("%+v", ended)
	}
	if b := balance(); b != (trail.Balance{Here: 490, Given: 5, Gone: 5, Known: true}) {
		t.Errorf("at the end: %+v", b)
	}
	if _, err := k.End(t.Context(), by, s.ID, 3, custody.Closing{}); !errors.Is(err, custody.ErrEnded) {
		t.Errorf("twice: %v", err)
	}
	if all, err := k.Imbalances(t.Context(), by); err != nil || len(all) != 0 {
		t.Errorf("%+v, %v", all, err)
	}
	// What is given of a lot that never came in such numbers does not add up.
	s, _, err = k.Open(t.Context(), by, custody.Opening{Wanted: custody.Wanted{Lot: ipvLot, Expiry: "2027-01-31"}, Doses: 600})
	must(t, err)
	_, err = k.End(t.Context(), by, s.ID, 1, custody.Closing{Unrecorded: 600})
	must(t, err)
	all, err := k.Imbalances(t.Context(), by)
	must(t, err)
	if len(all) != 1 || all[0].Kind != trail.TooFew || all[0].Expected != 600 || all[0].Found != 490 || all[0].Lot != ipvLot {
		t.Errorf("%+v", all)
	}
	if all, err := k.Imbalances(t.Context(), clerk("north")); err != nil || len(all) != 0 {
		t.Errorf("told at another place: %+v, %v", all, err)
	}
}

// TestOverride: what is unfit is opened by who answers for it, and the audit log has it.
func TestOverride(t *testing.T) {
	k := newKit(t)
	k.deliver(ipvLot)
	by := clerk("south")
	o := custody.Opening{Wanted: custody.Wanted{Lot: ipvLot, Expiry: "2026-10-01"}}
	if s, f, err := k.Open(t.Context(), by, o); !errors.Is(err, custody.ErrUnfit) || s != nil || f.Fit() {
		t.Errorf("%+v, %v", s, err)
	}
	o.Override = "because"
	if _, _, err := k.Open(t.Context(), by, o); !errors.Is(err, custody.ErrReason) {
		t.Error(err)
	}
	o.Override = "outbreak"
	s, _, err := k.Open(t.Context(), by, o)
	must(t, err)
	if s.Override == nil || s.Override.By != "u-clerk" || !slices.Equal(s.Override.Against, []string{"expired"}) || !s.Discard.After(k.now) {
		t.Errorf("%+v", s)
	}
	open, err := k.Sessions(t.Context(), by, true, "", 10)
	must(t, err)
	if len(open) != 1 || open[0].Override == nil {
		t.Errorf("%+v", open)
	}
	// A lot that is recalled.
	k.Lots = func() *thing.LotList { return recall(t, "SPEC-IPV") }
	f, err := k.Fitness(t.Context(), by, custody.Wanted{Lot: ipvLot, Expiry: "2027-01-31"})
	must(t, err)
	if refuse, _ := reasons(f); !slices.Equal(refuse, []string{"recalled"}) {
		t.Errorf("%q, %+v", refuse, f.Advice)
	}
	f, err = k.Fitness(t.Context(), by, custody.Wanted{Lot: yellowLot, Expiry: "2027-01-31"})
	must(t, err)
	if !f.Fit() {
		t.Errorf("another lot: %+v", f.Findings)
	}
}

// recall is a list on which a regulator recalls a lot of the IPV.
func recall(t *testing.T, lot string) *thing.LotList {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Specimen regulator"}, NotBefore: day(1), NotAfter: day(1).AddDate(1, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	trusted, err := thing.NewLotKey(thing.Regulator, "SPECIMEN", "", der)
	must(t, err)
	message, err := thing.SignLotStatement(rand.Reader, key, []byte(trust.DeriveKeyID(der)), &thing.LotStatement{
		Role: thing.Regulator, Authority: "SPECIMEN", Product: thing.Product{Code: "09521321123458", System: "https://id.gs1.org/01"},
		Lot: lot, Value: thing.Recalled, Part: thing.All, Issued: day(10),
	})
	must(t, err)
	list := new(thing.LotList)
	must(t, list.Add("test", thing.AppendLine(nil, message), thing.LotKeys{trusted}, day(20)))
	return list
}
