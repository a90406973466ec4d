package verifier

import (
	"crypto/elliptic"
	"crypto/rand"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ampoule/cert"
	"ampoule/thing"
)

// lots makes a list of statements by a regulator and a participant of the
// network of the test.
func (n *net) lots(statements ...thing.LotStatement) *thing.LotList {
	n.t.Helper()
	s := mint(n.t, "XA", ecKey(n.t, elliptic.P256(), "lot authority of XXA"))
	var keys thing.LotKeys
	for _, role := range []thing.Role{thing.Regulator, thing.Participant} {
		k, err := thing.NewLotKey(role, "XXA", "", s.der)
		if err != nil {
			n.t.Fatal(err)
		}
		keys = append(keys, k)
	}
	var file []byte
	for _, statement := range statements {
		statement.Authority, statement.Issued, statement.Part = "XXA", noon.Add(-time.Minute), thing.All
		if statement.Role == "" {
			statement.Role = thing.Regulator
		}
		message, err := thing.SignLotStatement(rand.Reader, s.key, s.kid, &statement)
		if err != nil {
			n.t.Fatal(err)
		}
		file = thing.AppendLine(file, message)
	}
	list := new(thing.LotList)
	if err := list.Add("lots.txt", file, keys, noon); err != nil {
		n.t.Fatal(err)
	}
	for _, e := range list.Entries() {
		if e.Refused != nil {
			n.t.Fatal(e.Refused)
		}
	}
	return list
}

var yellowFever = thing.Product{Code: "YF-1", System: cert.SystemICVPProduct}

// specimenLot is the lot of the ordinary ICVP.
const specimenLot = secret + "-LOT"

func TestDose(t *testing.T) {
	recall := thing.LotStatement{Product: yellowFever, Lot: specimenLot, Value: thing.Recalled}
	in := func(country string, s thing.LotStatement) thing.LotStatement {
		s.Role, s.Country = thing.Participant, country
		return s
	}
	heat := in("XA", thing.LotStatement{Product: yellowFever, Lot: specimenLot, Value: thing.Heat})
	cleared := thing.LotStatement{Product: yellowFever, Lot: specimenLot, Value: thing.Unharmed, Measured: 9200}
	for _, c := range []struct {
		name   string
		code   code
		lots   []thing.LotStatement
		result Result
		advice Advice
	}{
		{"recalled", code{}, []thing.LotStatement{recall}, Fail, Advice{Concern, "recalled"}},
		{"cleared", code{}, []thing.LotStatement{cleared}, Pass, Advice{NoConcern, "measured"}},
		{"nothing said", code{}, nil, CannotTell, Advice{NotKnown, "no-statement"}},
		{"heat in the issuer's country", code{}, []thing.LotStatement{heat}, Fail, Advice{Concern, "heat"}},
		{"cleared in the issuer's country", code{}, []thing.LotStatement{in("XA", cleared)}, CannotTell, Advice{NotKnown, "place-not-known"}},
		{"no lot", code{subclaim: 1, payload: dcc("v", entryV())}, []thing.LotStatement{recall}, CannotTell, Advice{NotKnown, "no-lot"}},
		{"no dose", code{subclaim: 1, payload: dcc("t", entryT())}, []thing.LotStatement{recall}, NotApplicable, Advice{NotKnown, "no-dose"}},
	} {
		n := newNet(t)
		n.Lots = n.lots(c.lots...)
		v := n.Verify(n.text(c.code))
		checkVerdict(t, v)
		if v.Outcome != Valid || v.Check(StepDose).Result != c.result || v.Advice != c.advice || v.Check(StepDose).Reason != c.advice.Reason {
			t.Errorf("%s: %s, %v, %v", c.name, v.Outcome, v.Advice, v.Check(StepDose))
		}
	}

	n := newNet(t)
	n.Lots = n.lots(recall)
	stranger := code{signer: rogue(t)}
	if v := n.Verify(n.text(stranger)); v.Advice != (Advice{NotKnown, reasonNoSignature}) {
		t.Errorf("a stranger's certificate: %v", v.Advice)
	}
	if v := n.Verify("HC1:no certificate"); v.Advice != (Advice{NotKnown, "not-read"}) {
		t.Errorf("no certificate: %v", v.Advice)
	}
}

// TestDoseNeverDecides: with every lot of the tests recalled, every attack and
// every good certificate meets the outcome it met without, even under a policy
// that would ask for the dose.
func TestDoseNeverDecides(t *testing.T) {
	concerns := 0
	for _, a := range attacks {
		n := newNet(t)
		text := a.text(n)
		want := n.Verify(text)
		var recalls []thing.LotStatement
		for _, lot := range []string{specimenLot, secret} {
			for _, product := range []string{"YF-1", "PV-1"} {
				recalls = append(recalls, thing.LotStatement{Product: thing.Product{Code: product, System: cert.SystemICVPProduct}, Lot: lot, Value: thing.Recalled})
			}
		}
		n.Lots = n.lots(recalls...)
		for domain := range n.Policies {
			p := n.Policies[domain]
			p.Required[StepDose] = true
			n.Policies[domain] = p
		}
		got := n.Verify(text)
		if got.Advice.Value == Concern {
			concerns++
		}
		got.Advice, got.Checks[StepDose] = want.Advice, want.Checks[StepDose]
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s:\n%s", a.name, diff)
		}
	}
	if concerns < 10 {
		t.Errorf("only %d concerns: the test shows nothing", concerns)
	}
}

// TestEarlierDoses: a concern about one dose is one about the certificate, and
// all must be cleared for no concern.
func TestEarlierDoses(t *testing.T) {
	n := newNet(t)
	cvx := thing.Product{Code: "37", System: "http://hl7.org/fhir/sid/cvx"}
	state := func(lot string, value thing.Value, measured int) thing.LotStatement {
		return thing.LotStatement{Product: cvx, Lot: lot, Value: value, Measured: measured}
	}
	n.Lots = n.lots(state("A", thing.Recalled, 0), state("B", thing.Unharmed, 10000), state("C", thing.Unharmed, 5000))
	given := func(lot string) *cert.Vaccination {
		return &cert.Vaccination{Vaccine: cert.Code{Code: cvx.Code, System: cvx.System}, Lot: lot, Date: "2026-02-20"}
	}
	for _, c := range []struct {
		lot, earlier string
		want         Advice
	}{
		{"B", "C", Advice{NoConcern, "measured"}},
		{"B", "A", Advice{Concern, "recalled"}},
		{"A", "B", Advice{Concern, "recalled"}},
		{"B", "D", Advice{NotKnown, "no-statement"}},
		{"B", "", Advice{NotKnown, "no-lot"}},
	} {
		record := &cert.Certificate{Vaccination: given(c.lot), Earlier: []cert.Event{{Vaccination: given(c.earlier)}, {Test: new(cert.Test)}}}
		out := new(Verdict)
		n.checkDose(out, &certificate{record: record, key: n.enlist("SHC", "XXA", n.dsc)})
		if out.Advice != c.want {
			t.Errorf("%s after %s: %v, want %v", c.lot, c.earlier, out.Advice, c.want)
		}
	}
}

// TestDoseByConcept: a statement names the product by another code. One of the
// same meaning finds it, and nothing less does.
func TestDoseByConcept(t *testing.T) {
	const other = "urn:specimen:products"
	for equivalence, want := range map[string]Advice{
		"equivalent": {Concern, "recalled"},
		"wider":      {NotKnown, "product-not-mapped"},
		"narrower":   {NotKnown, "product-not-mapped"},
		"relatedto":  {NotKnown, "product-not-mapped"},
	} {
		n := newNet(t)
		n.Lots = n.lots(thing.LotStatement{Product: thing.Product{Code: "Z9", System: other}, Lot: specimenLot, Value: thing.Recalled})
		if v := n.Verify(n.text(code{})); v.Advice != (Advice{NotKnown, "product-not-mapped"}) {
			t.Errorf("without a map: %v", v.Advice)
		}
		n.Concepts = new(cert.ConceptMaps)
		table := "source_system,source_code,target_system,target_code,equivalence\n" + cert.SystemICVPProduct + ",YF-1," + other + ",Z9," + equivalence + "\n"
		if err := n.Concepts.Add("map.csv", []byte(table)); err != nil {
			t.Fatal(err)
		}
		if v := n.Verify(n.text(code{})); v.Outcome != Valid || v.Advice != want {
			t.Errorf("%s: %v, want %v", equivalence, v.Advice, want)
		}
	}
}
