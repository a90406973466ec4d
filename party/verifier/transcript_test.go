package verifier

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ampoule/format/cbor"
	"ampoule/format/cose"
	"ampoule/thing"
	"ampoule/trust"
)

var update = flag.Bool("update", false, "write the examples of docs/spec")

// recorder is the key that signs the transcripts of the tests.
func recorder() ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("recorder of transcripts"))
	return ed25519.NewKeyFromSeed(seed[:])
}

// record makes a transcript and reads it again.
func record(t testing.TB, v *Verifier, texts ...string) (*Verdict, *Transcript, []byte) {
	t.Helper()
	out, made := v.Record(Provenance{Salt: sha256.Sum256([]byte("salt")), Sources: []Source{{"bundle", sha256.Sum256([]byte("bundle"))}}}, texts...)
	data, err := made.Sign(nil, recorder())
	if err != nil {
		t.Fatalf("%s (%s): %v", out.Outcome, out.Reason, err)
	}
	read, err := ParseTranscript(data)
	if err != nil {
		t.Fatal(err)
	}
	return out, read, data
}

// TestTranscriptOfAttacks: every verdict of every attack can be written down, is reached
// again, with the code and without it, and tells nothing of the person.
func TestTranscriptOfAttacks(t *testing.T) {
	for i, a := range attacks {
		if testing.Short() && i%8 != 0 {
			continue
		}
		t.Run(a.name, func(t *testing.T) {
			n := newNet(t)
			text := a.text(n)
			n.at(n.Now().Truncate(time.Second))
			v := n.Verify(text)
			again, written, data := record(t, n.Verifier, text)
			if again.Outcome != v.Outcome || again.Reason != v.Reason || written.Outcome != v.Outcome {
				t.Errorf("%s (%s) when it is written down, and %s (%s)", again.Outcome, again.Reason, v.Outcome, v.Reason)
			}
			if found := written.Again(n.Verifier, nil, text); len(found) > 0 {
				t.Errorf("run again: %v", found)
			}
			for _, v := range []*Verifier{nil, n.Verifier} {
				if found := written.Derive(v); len(found) > 0 {
					t.Errorf("derived: %v", found)
				}
			}
			if bytes.Contains(bytes.ToUpper(data), []byte(secret)) {
				t.Error("personal data in a transcript")
			}
			if text = strings.TrimSpace(text); len(text) > 8 && bytes.Contains(data, []byte(text)) {
				t.Error("the code in a transcript")
			}
		})
	}
}

// TestTranscriptByLists: what status lists, lots, proofs, ages and other times do to a
// verdict is reached again.
func TestTranscriptByLists(t *testing.T) {
	type setting struct {
		name string
		make func(n *net) *Verifier
	}
	for _, s := range []setting{
		{"nothing", func(n *net) *Verifier { return n.Verifier }},
		{"a status list", func(n *net) *Verifier { n.Status = new(trust.Status); return n.Verifier }},
		{"a status scheme", func(n *net) *Verifier {
			n.alter(trust.ICVP, func(p *Policy) { p.StatusSchemes = map[string]string{"XXA": "list"} })
			return n.Verifier
		}},
		{"lots", func(n *net) *Verifier { n.Lots = new(thing.LotList); return n.Verifier }},
		{"too old", func(n *net) *Verifier { n.FreshUntil = noon; return n.Verifier }},
		{"another time", func(n *net) *Verifier {
			n.FreshUntil = noon.Add(time.Hour)
			return n.With(Options{At: noon.AddDate(0, 0, 21)})
		}},
		{"a proof", func(n *net) *Verifier { return n.With(Options{Proof: []byte{0x83, 1, 0, 0x80}}) }},
		{"part of a second", func(n *net) *Verifier { n.at(noon.Add(300 * time.Millisecond)); return n.Verifier }},
		{"rules", func(n *net) *Verifier { n.Rules = &Rules{Arrival: "XB", Region: "north"}; return n.Verifier }},
	} {
		t.Run(s.name, func(t *testing.T) {
			n := newNet(t)
			v := s.make(n)
			text := n.text(code{subclaim: -6, payload: icvp3()})
			_, written, _ := record(t, v, text)
			if found := written.Again(v, v.proof, text); len(found) > 0 {
				t.Errorf("run again: %v", found)
			}
			// By a clock that shows another time, the time of the transcript still counts.
			n.at(noon.AddDate(3, 0, 0))
			later := *v
			later.Now, later.wall = n.Now, time.Time{}
			if found := written.Again(&later, v.proof, text); len(found) > 0 {
				t.Errorf("run again after years: %v", found)
			}
			if found := written.Derive(v); len(found) > 0 {
				t.Errorf("derived: %v", found)
			}
			if v.proof != nil {
				if found := written.Again(v.With(Options{}), []byte{0x80}, text); len(found) == 0 || found[0].What != "code" {
					t.Errorf("another proof: %v", found)
				}
			}
		})
	}
}

// TestTranscriptCaught: what is not as it was is found, and named.
func TestTranscriptCaught(t *testing.T) {
	n := newNet(t)
	text := n.text(code{subclaim: -6, payload: icvp3()})
	_, written, data := record(t, n.Verifier, text)
	what := func(found []Difference) string {
		var names []string
		for _, d := range found {
			names = append(names, d.What)
		}
		return strings.Join(names, " ")
	}
	n.only(trust.ICVP, "XXB", n.dsc)
	changed := func(f func(x *Transcript)) *Transcript { x := *written; f(&x); return &x }
	for _, c := range []struct {
		name, want string
		found      []Difference
	}{
		{"another code", "code", written.Again(n.Verifier, nil, text+"A")},
		{"a second code", "code", written.Again(n.Verifier, nil, text, text)},
		{"another issuer's list", "issuer", written.Again(n.Verifier, nil, text)},
		{"another time", "key-validity outcome", changed(func(x *Transcript) {
			x.At = dies.AddDate(0, 0, 1)
			x.Clock, x.Issuer.Participant = x.At, "XXB"
		}).Again(n.Verifier, nil, text)},
		{"the same sources", "", written.Held(written.Sources)},
		{"another bundle", "source", written.Held([]Source{{"bundle", sha256.Sum256([]byte("another"))}})},
		{"no bundle", "source", written.Held(nil)},
		{"one more", "source", written.Held(append(written.Sources[:1:1], Source{Kind: "status"}))},
		{"another outcome", "outcome", changed(func(x *Transcript) { x.Outcome = Revoked }).Derive(n.Verifier)},
		{"another reason", "outcome", changed(func(x *Transcript) { x.Reason = "revoked" }).Derive(nil)},
		{"an all-clear", "advice", changed(func(x *Transcript) { x.Advice.Value = NoConcern }).Derive(nil)},
		{"a waived signature", "required", changed(func(x *Transcript) { x.Required[StepSignature] = false }).Derive(n.Verifier)},
		{"a check that nobody asked for", "outcome required", changed(func(x *Transcript) { x.Required[StepStatus] = true }).Derive(n.Verifier)},
	} {
		if got := what(c.found); got != c.want {
			t.Errorf("%s: %q, want %q: %v", c.name, got, c.want, c.found)
		}
	}
	// One bit anywhere.
	for i := range data {
		for bit := range 8 {
			broken := bytes.Clone(data)
			broken[i] ^= 1 << bit
			if _, err := ParseTranscript(broken); err == nil {
				t.Fatalf("byte %d, bit %d: taken", i, bit)
			}
		}
	}
}

// TestTranscriptRefuses: nothing gets into a transcript that is no word.
func TestTranscriptRefuses(t *testing.T) {
	n := newNet(t)
	_, written, _ := record(t, n.Verifier, n.text(code{subclaim: -6, payload: icvp3()}))
	for name, change := range map[string]func(x *Transcript){
		"a name as a reason":      func(x *Transcript) { x.Checks[StepSchema].Reason = "SPECIMEN DEMO" },
		"a detail":                func(x *Transcript) { x.Checks[StepSchema].Detail = "n: conforms" },
		"an invented outcome":     func(x *Transcript) { x.Outcome = "good" },
		"an invented answer":      func(x *Transcript) { x.Checks[StepRead].Result = "maybe" },
		"a part of a second":      func(x *Transcript) { x.At = x.At.Add(1) },
		"a time before all times": func(x *Transcript) { x.Read = time.Time{} },
		"no edition":              func(x *Transcript) { x.Edition = 0 },
		"an advice":               func(x *Transcript) { x.Advice.Value = "perhaps" },
		"a source of no kind":     func(x *Transcript) { x.Sources = []Source{{}} },
		"too many sources":        func(x *Transcript) { x.Sources = make([]Source, MaxSources+1) },
		"a format in words":       func(x *Transcript) { x.Format = "of SPECIMEN" },
		"a key that did not sign": func(x *Transcript) { x.Checks[StepSignature].Result = Fail },
	} {
		x := *written
		change(&x)
		if _, err := x.Sign(nil, recorder()); !errors.Is(err, ErrTranscript) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := written.Sign(nil, ecKeySigner{}); !errors.Is(err, cose.ErrKey) {
		t.Errorf("a key of no kind: %v", err)
	}
}

// ecKeySigner has a key that our own data are not signed with.
type ecKeySigner struct{ crypto.Signer }

func (ecKeySigner) Public() crypto.PublicKey { return "none" }

// TestTranscriptSalt: two transcripts of one code have nothing in common but the answer.
func TestTranscriptSalt(t *testing.T) {
	n := newNet(t)
	text := n.text(code{subclaim: -6, payload: icvp3()})
	_, a := n.Record(Provenance{Salt: [32]byte{1}}, text)
	_, b := n.Record(Provenance{Salt: [32]byte{2}}, text)
	if a.Code == b.Code {
		t.Error("the same commitment under two salts")
	}
	if again := commitment([32]byte{1}, nil, []string{" " + text + "\n"}); again != a.Code {
		t.Error("white space around a code makes it another")
	}
	if other := commitment([32]byte{1}, []byte{1}, []string{text}); other == a.Code {
		t.Error("a proof makes no difference")
	}
}

// TestTranscriptNames: whatever a trust list calls a participant, there is a transcript.
func TestTranscriptNames(t *testing.T) {
	for _, name := range []string{strings.Repeat("é", 300), "XX\u202eA", "X\x00\xffA", strings.Repeat("\u202e", 100)} {
		n := newNet(t)
		n.only(trust.ICVP, name, n.dsc)
		text := n.text(code{subclaim: -6, payload: icvp3()})
		v, written, _ := record(t, n.Verifier, text)
		if v.Outcome != Valid || written.Issuer.Participant == "" || len(written.Again(n.Verifier, nil, text)) > 0 {
			t.Errorf("%q: %s, %+v", name, v.Outcome, written.Issuer)
		}
	}
}

func TestTranscriptExample(t *testing.T) {
	n := newNet(t)
	n.Lots = new(thing.LotList)
	made := &Transcript{
		Edition: 1, At: noon, Clock: noon, Read: noon.Add(-time.Minute), Sources: []Source{{"bundle", sha256.Sum256([]byte("bundle"))}},
		Salt: sha256.Sum256([]byte("salt")), Code: commitment(sha256.Sum256([]byte("salt")), nil, []string{"HC1:SPECIMEN"}),
		Format: "icvp", Issuer: Issuer{"XXA", "0011223344556677"}, Required: DefaultPolicy(trust.ICVP).Required,
		Outcome: Valid, Reason: "all-required-checks-passed", Advice: Advice{Concern, thing.ReasonRecalled},
	}
	for s, c := range [steps]Check{
		{Result: Pass, Reason: "hcert"}, {Result: Pass, Reason: "conforms"}, {Result: Pass, Reason: "found"}, {Result: Pass, Reason: "verified"},
		{Result: Pass, Reason: "within-validity"}, {Result: Pass, Reason: "no-expiry"}, {Result: Pass, Reason: "conforms"}, {Result: NotChecked, Reason: "no-status-list"},
		{Result: Fail, Reason: thing.ReasonRecalled}, {Result: NotApplicable, Reason: reasonNoProof}, {Result: Pass, Reason: "satisfied"}, {Result: NotApplicable, Reason: "no-protocol"},
	} {
		c.Name = stepNames[s]
		made.Checks[s] = c
	}
	data, err := made.Sign(nil, recorder())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("..", "..", "docs", "spec", "examples", "verdict.transcript")
	if *update {
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(kept, data) {
		t.Error("the example is another; run with -update")
	}
	read, err := ParseTranscript(kept)
	if err != nil {
		t.Fatal(err)
	}
	if found := read.Derive(n.Verifier); len(found) > 0 {
		t.Error(found)
	}
}

// FuzzParseTranscript: what is read is written as it was, and nothing panics. The
// payload is signed here, so that the fuzzer gets behind the signature.
func FuzzParseTranscript(f *testing.F) {
	n := newNet(f)
	_, written, data := record(f, n.Verifier, n.text(code{subclaim: -6, payload: icvp3()}))
	payload, err := written.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(payload)
	f.Add(data)
	f.Add(cbor.AppendInt(cbor.AppendInt(cbor.AppendMap(nil, 1), 1), 2))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = ParseTranscript(data)
		signed, err := cose.SignSingle(nil, data, recorder())
		if err != nil {
			t.Skip()
		}
		x, err := ParseTranscript(signed)
		if err != nil {
			return
		}
		again, err := x.encode()
		if err != nil || !bytes.Equal(again, data) {
			t.Fatalf("%x, written again %x: %v", data, again, err)
		}
		x.Derive(nil)
		x.Derive(n.Verifier)
	})
}
