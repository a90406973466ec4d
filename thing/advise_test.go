package thing

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"ampoule/cert"
	"ampoule/format/cbor"
	"ampoule/format/fhir"
)

// known makes a list of these statements, believed one and all.
func known(statements ...*LotStatement) *LotList {
	l := new(LotList)
	for i, s := range statements {
		l.entries = append(l.entries, &LotEntry{SignedLot: SignedLot{Statement: s, ID: StatementID{byte(i + 1), 1}}})
	}
	l.settle()
	return l
}

func lotDose(changes ...func(*Dose)) Dose {
	d := Dose{Products: []Product{icvp("YF-1")}, Disease: "yellow-fever", Lot: "ab12C", Country: "XA", Centre: "Specimen centre", Given: "2026-02-20"}
	for _, change := range changes {
		change(&d)
	}
	return d
}

func valued(v Value, changes ...func(*LotStatement)) *LotStatement {
	return recall(append([]func(*LotStatement){func(s *LotStatement) {
		s.Value = v
		switch v {
		case Unharmed:
			s.Measured = 9200
		case ExpiresOn:
			s.Expiry = "2026-02-19"
		}
	}}, changes...)...)
}

func TestAdvise(t *testing.T) {
	in := func(country, centre string) func(*LotStatement) {
		return func(s *LotStatement) { s.Country, s.Centre = country, centre }
	}
	some := func(s *LotStatement) { s.Part = Some }
	during := func(from, until string) func(*LotStatement) {
		return func(s *LotStatement) { s.From, s.Until = from, until }
	}
	ofPolio := func(s *LotStatement) { s.Product = icvp("PV-1") }
	polio := func(name string) func(*Dose) {
		return func(d *Dose) { d.Products, d.Disease, d.Name = []Product{icvp("PV-1")}, "polio", name }
	}
	country := func(c string, assumed bool) func(*Dose) {
		return func(d *Dose) { d.Country, d.Assumed = c, assumed }
	}
	given := func(day string) func(*Dose) { return func(d *Dose) { d.Given = day } }
	expiry := func(day string) func(*LotStatement) { return func(s *LotStatement) { s.Expiry = day } }

	for _, c := range []struct {
		name   string
		list   []*LotStatement
		dose   Dose
		value  AdviceValue
		reason string
	}{
		{"recalled", []*LotStatement{recall()}, lotDose(), Concern, ReasonRecalled},
		{"nothing is known", nil, lotDose(), NotKnown, ReasonNoStatement},
		{"no lot", []*LotStatement{recall()}, lotDose(func(d *Dose) { d.Lot = "-" }), NotKnown, ReasonNoLot},
		{"another lot", []*LotStatement{recall()}, lotDose(func(d *Dose) { d.Lot = "AB13C" }), NotKnown, ReasonNoStatement},
		{"another product", []*LotStatement{recall(ofPolio)}, lotDose(), NotKnown, ReasonNoStatement},
		{"another code system", []*LotStatement{recall()}, lotDose(func(d *Dose) { d.Products = []Product{{"YF-1", fhir.SystemCVX}} }), NotKnown, ReasonNotMapped},
		{"no code", []*LotStatement{recall()}, lotDose(func(d *Dose) { d.Products = nil }), NotKnown, ReasonNotMapped},
		{"any of the codes", []*LotStatement{recall()}, lotDose(func(d *Dose) { d.Products = []Product{{"184", fhir.SystemCVX}, icvp("YF-1")} }), Concern, ReasonRecalled},

		{"some of the lot", []*LotStatement{recall(some)}, lotDose(), NotKnown, ReasonPart},
		{"some of the lot cleared", []*LotStatement{valued(Unharmed, some)}, lotDose(), NotKnown, ReasonPart},
		{"some recalled, all cleared", []*LotStatement{recall(some), valued(Unharmed)}, lotDose(), NotKnown, ReasonPart},
		{"some cleared, all cleared", []*LotStatement{valued(Unharmed, some), valued(Unharmed)}, lotDose(), NoConcern, ReasonMeasured},

		{"in the country", []*LotStatement{recall(in("XA", ""))}, lotDose(), Concern, ReasonRecalled},
		{"three letters", []*LotStatement{recall(in("AT", ""))}, lotDose(country("AUT", false)), Concern, ReasonRecalled},
		{"elsewhere", []*LotStatement{recall(in("XB", ""))}, lotDose(), NotKnown, ReasonNotCovered},
		{"nobody knows where", []*LotStatement{recall(in("XB", ""))}, lotDose(country("", false)), NotKnown, ReasonPlace},
		{"code of no country", []*LotStatement{recall(in("XB", ""))}, lotDose(country("XXB", false)), NotKnown, ReasonPlace},
		{"the issuer's country", []*LotStatement{recall(in("XA", ""))}, lotDose(country("XA", true)), Concern, ReasonRecalled},
		{"not the issuer's country", []*LotStatement{recall(in("XB", ""))}, lotDose(country("XA", true)), NotKnown, ReasonPlace},
		{"cleared in the issuer's country", []*LotStatement{valued(Unharmed, in("XA", ""))}, lotDose(country("XA", true)), NotKnown, ReasonPlace},
		{"cleared in the country", []*LotStatement{valued(Unharmed, in("XA", ""))}, lotDose(), NoConcern, ReasonMeasured},
		{"cleared elsewhere", []*LotStatement{valued(Unharmed, in("XB", ""))}, lotDose(), NotKnown, ReasonNotCovered},
		{"at the centre", []*LotStatement{recall(in("XA", "specimen  Centre"))}, lotDose(), Concern, ReasonRecalled},
		{"at another centre, or another spelling", []*LotStatement{recall(in("XA", "Centre 7"))}, lotDose(), NotKnown, ReasonPlace},

		{"in the period", []*LotStatement{recall(during("2026-02-20", "2026-02-20"))}, lotDose(), Concern, ReasonRecalled},
		{"before the period", []*LotStatement{recall(during("2026-02-21", ""))}, lotDose(), NotKnown, ReasonNotCovered},
		{"after the period", []*LotStatement{recall(during("", "2026-02-19"))}, lotDose(), NotKnown, ReasonNotCovered},
		{"no day", []*LotStatement{recall(during("", "2026-02-19"))}, lotDose(given("2026-02")), NotKnown, ReasonDate},

		{"expired when given", []*LotStatement{valued(ExpiresOn)}, lotDose(), Concern, ReasonExpired},
		{"given on the last day", []*LotStatement{valued(ExpiresOn, expiry("2026-02-20"))}, lotDose(), NotKnown, ReasonInDate},
		{"expired since", []*LotStatement{valued(ExpiresOn, expiry("2026-02-21"))}, lotDose(), NotKnown, ReasonInDate},
		{"expired since, and cleared", []*LotStatement{valued(ExpiresOn, expiry("2026-02-21")), valued(Unharmed)}, lotDose(), NoConcern, ReasonMeasured},
		{"expiry, no day", []*LotStatement{valued(ExpiresOn), valued(Unharmed)}, lotDose(given("")), NotKnown, ReasonDate},

		{"frozen yellow fever", []*LotStatement{valued(Freeze)}, lotDose(), NotKnown, ReasonStoodFreeze},
		{"frozen yellow fever, cleared", []*LotStatement{valued(Freeze), valued(Unharmed)}, lotDose(), NoConcern, ReasonMeasured},
		{"frozen inactivated polio", []*LotStatement{valued(Freeze, ofPolio)}, lotDose(polio("Polio vaccine, inactivated (fictitious)")), Concern, ReasonFrozen},
		{"frozen oral polio", []*LotStatement{valued(Freeze, ofPolio)}, lotDose(polio("Polio Vaccine - Oral (fictitious)")), NotKnown, ReasonStoodFreeze},
		{"frozen polio of either kind", []*LotStatement{valued(Freeze, ofPolio), valued(Unharmed, ofPolio)}, lotDose(polio("")), NotKnown, ReasonSensitivity},
		{"heated yellow fever", []*LotStatement{valued(Heat)}, lotDose(), Concern, ReasonHeat},
		{"spoiled", []*LotStatement{valued(Spoiled)}, lotDose(), Concern, ReasonSpoiled},

		{"cleared", []*LotStatement{valued(Unharmed)}, lotDose(), NoConcern, ReasonMeasured},
		{"cleared, and recalled", []*LotStatement{valued(Unharmed), recall()}, lotDose(), Concern, ReasonRecalled},
		{"the gravest is told", []*LotStatement{valued(Heat), valued(ExpiresOn), recall()}, lotDose(), Concern, ReasonRecalled},
	} {
		got := known(c.list...).Advise(c.dose)
		if got.Value != c.value || got.Reason != c.reason {
			t.Errorf("%s: %v, want %s %s", c.name, got, c.value, c.reason)
		}
	}
	if got := known(valued(Unharmed)).Advise(lotDose()).Detail; got != "regulator XXA: no-concern, 92 % of the path measured" {
		t.Errorf("detail %q", got)
	}
}

// TestAdviseClaimsNoMore: whatever is said, no-concern needs an all-clear of the
// whole lot, and a statement more never turns a concern into anything else.
func TestAdviseClaimsNoMore(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	pick := func(from ...string) string { return from[random.IntN(len(from))] }
	for range 20000 {
		statements := make([]*LotStatement, 1+random.IntN(5))
		for i := range statements {
			statements[i] = valued(values[random.IntN(6)], func(s *LotStatement) {
				s.Part = Part(pick("all", "some"))
				s.Country = pick("", "XA", "XB")
				s.From = pick("", "2026-02-20", "2026-02-21")
				s.Product = icvp(pick("YF-1", "PV-1"))
			})
		}
		d := lotDose(func(d *Dose) { d.Country, d.Given = pick("", "XA", "XXA"), pick("", "2026-02-20") })
		before, after := known(statements[1:]...).Advise(d), known(statements...).Advise(d)
		if before.Value == Concern && after.Value != Concern {
			t.Fatalf("%v, then %v", before, after)
		}
		covers := func(s *LotStatement) bool {
			return s.Value == Unharmed && s.Part == All && s.Product == d.Products[0] && (s.Country == "" || s.Country == d.Country) && s.From <= d.Given
		}
		if after.Value == NoConcern && !slices.ContainsFunc(statements, covers) {
			t.Fatalf("%v rests on nothing", after)
		}
	}
}

func TestFreezeHarm(t *testing.T) {
	cvx := func(codes ...string) (d Dose) {
		for _, c := range codes {
			d.Products = append(d.Products, Product{c, fhir.SystemCVX})
		}
		return d
	}
	for _, c := range []struct {
		name string
		dose Dose
		want Harm
	}{
		{"CVX yellow fever", cvx("37"), NotHarmed},
		{"CVX IPV", cvx("10"), Harmed},
		{"CVX bivalent OPV", cvx("178"), NotHarmed},
		{"CVX polio of any kind", cvx("89"), HarmNotKnown},
		{"CVX hepatitis B", cvx("08"), Harmed},
		{"CVX mRNA", cvx("208"), HarmNotKnown},
		{"codes that disagree", cvx("10", "02", "10"), HarmNotKnown},
		{"the same code of another system", Dose{Products: []Product{{"10", "other"}}}, HarmNotKnown},
		{"WHO id, inactivated", Dose{Products: []Product{icvp("PolioVaccineInactivatedIProduct0123")}, Disease: "polio"}, Harmed},
		{"WHO id, oral", Dose{Products: []Product{icvp("PolioVaccineOralOPVBivalProduct0123")}}, NotHarmed},
		{"disease by ICD-11", Dose{Disease: "1D47"}, NotHarmed},
		{"polio", Dose{Disease: cert.DiseasePolio}, HarmNotKnown},
		{"both kinds in a name", Dose{Name: "polio, oral or inactivated"}, HarmNotKnown},
		{"nothing", Dose{}, HarmNotKnown},
	} {
		if got := FreezeHarm(c.dose); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	for product := range cert.DemoCatalogue().Products() {
		if FreezeHarm(Dose{Name: product.Display, Disease: product.Disease}) == HarmNotKnown {
			t.Errorf("%s: not known", product.ID)
		}
	}
}

func TestLotList(t *testing.T) {
	regulator, maker := newSigner(t, "XA"), newSigner(t, "")
	keys := LotKeys{regulator.as(t, Regulator, "XXA", ""), maker.as(t, Manufacturer, "ORG-1", "")}
	file := func(lines ...[]byte) []byte {
		data := []byte("# statements\r\n\n")
		for _, l := range lines {
			data = AppendLine(data, l)
		}
		return data
	}
	id := func(message []byte) StatementID {
		s, err := ParseLotStatement(message)
		if err != nil {
			t.Fatal(err)
		}
		return s.ID
	}
	later := func(s *LotStatement) { s.Issued = s.Issued.Add(time.Minute) }
	withdrawal := func(of []byte) func(*LotStatement) {
		return func(s *LotStatement) { later(s); s.Value, s.Withdraws = Withdrawn, id(of) }
	}
	byMaker := func(s *LotStatement) { s.Role, s.Authority = Manufacturer, "ORG-1" }

	recalled := regulator.sign(t, recall())
	cleared := regulator.sign(t, valued(Unharmed, later))
	for _, c := range []struct {
		name   string
		file   []byte
		reason string
		states string // of the entries: b, w, s, r
	}{
		{"one", file(recalled), ReasonRecalled, "b"},
		{"twice", file(recalled, regulator.sign(t, recall())), ReasonRecalled, "bs"},
		{"withdrawn", file(recalled, regulator.sign(t, recall(withdrawal(recalled)))), ReasonNoStatement, "wb"},
		{"withdrawn before", file(regulator.sign(t, recall(withdrawal(recalled))), recalled), ReasonNoStatement, "bw"},
		{"withdrawn by another", file(recalled, maker.sign(t, recall(byMaker, withdrawal(recalled)))), ReasonRecalled, "bb"},
		{"withdrawn by a stranger", file(recalled, maker.sign(t, recall(withdrawal(recalled)))), ReasonRecalled, "br"},
		{"a later all-clear does not lift a recall", file(recalled, cleared), ReasonRecalled, "bb"},
		{"an all-clear that withdraws it does", file(recalled, regulator.sign(t, valued(Unharmed, later, func(s *LotStatement) { s.Withdraws = id(recalled) }))), ReasonMeasured, "wb"},
		{"a later expiry", file(regulator.sign(t, valued(ExpiresOn)), regulator.sign(t, valued(ExpiresOn, later, func(s *LotStatement) { s.Expiry = "2027-01-01" }))), ReasonInDate, "sb"},
		{"a stranger first", file(maker.sign(t, recall()), recalled), ReasonRecalled, "rb"},
		{"nothing", file(), ReasonNoStatement, ""},
	} {
		l := new(LotList)
		if err := l.Add("lots.txt", c.file, keys, noon); err != nil {
			t.Fatal(err)
		}
		if got := l.Advise(lotDose()); got.Reason != c.reason {
			t.Errorf("%s: %v, want %s", c.name, got, c.reason)
		}
		states := ""
		for _, e := range l.Entries() {
			switch {
			case e.Refused != nil:
				states += "r"
			case e.Withdrawn:
				states += "w"
			case e.Superseded:
				states += "s"
			default:
				states += "b"
			}
		}
		if states != c.states {
			t.Errorf("%s: %s, want %s", c.name, states, c.states)
		}
	}

	for name, c := range map[string]struct {
		data string
		want error
	}{
		"no base64":    {"?", ErrLine},
		"no statement": {"AAAA", cbor.ErrTrailing},
		"line too far": {strings.TrimSpace(string(AppendLine(nil, recalled))) + "!", ErrLine},
	} {
		l := new(LotList)
		if err := l.Add("lots.txt", []byte(c.data), keys, noon); !errors.Is(err, c.want) || len(l.Entries()) != 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}
