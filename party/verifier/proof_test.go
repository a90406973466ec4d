package verifier

import (
	"crypto/rand"
	"slices"
	"testing"

	"ampoule/format/cbor"
	"ampoule/format/cose"
	"ampoule/ledger/print"
	"ampoule/ledger/tlog"
)

// leafOf makes the fingerprint of an HCERT.
func leafOf(t testing.TB, message []byte) print.Leaf {
	t.Helper()
	m, err := cose.Parse(message, cbor.Limits{Depth: 16, Items: 4096, Pairs: 64})
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := print.OfSign1(m)
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

func landmarksOf(t testing.TB, roots ...tlog.Hash) *print.Landmarks {
	t.Helper()
	data, err := print.EncodeLandmarks(roots)
	if err != nil {
		t.Fatal(err)
	}
	l := new(print.Landmarks)
	if err := l.Add(data); err != nil {
		t.Fatal(err)
	}
	return l
}

// TestProof: a path counts for the certificate whose fingerprint it begins at, under
// a landmark that is loaded. One that leads elsewhere proves nothing and refuses
// nobody; one that is no path is a false proof.
func TestProof(t *testing.T) {
	n := newNet(t)
	dcc := code{subclaim: 1, payload: dcc("v", entryV())}
	message, another := n.cose(dcc), n.cose(dcc)
	leaf := leafOf(t, message)
	batches, err := print.Close([]print.Leaf{leaf, leafOf(t, another)}, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	path := func(l print.Leaf) []byte {
		t.Helper()
		p, err := batches[0].Path(l)
		if err != nil {
			t.Fatal(err)
		}
		data, err := p.Encode()
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	good, other := path(leaf), path(leafOf(t, another))
	known := landmarksOf(t, tlog.Hash{1}, batches[0].Root())
	// One bit of the path changed: it is a path, and leads elsewhere.
	bent := slices.Clone(good)
	bent[len(bent)-1] ^= 1
	forged := code{subclaim: 1, payload: dcc.payload, sign: func(toSign []byte) []byte { return make([]byte, 64) }}

	for _, tt := range []struct {
		name      string
		text      string
		proof     []byte
		landmarks *print.Landmarks
		result    Result
		reason    string
		outcome   Outcome
	}{
		{"none carried", pack(t, message), nil, known, NotApplicable, "none-carried", Valid},
		{"under a landmark", pack(t, message), good, known, Pass, "under-a-landmark", Valid},
		{"no landmarks", pack(t, message), good, nil, CannotTell, "no-landmarks", Valid},
		{"landmarks of others", pack(t, message), good, landmarksOf(t, tlog.Hash{1}), CannotTell, "landmark-not-known", Valid},
		{"the path of another", pack(t, message), other, known, CannotTell, "landmark-not-known", Valid},
		{"a bit changed", pack(t, message), bent, known, CannotTell, "landmark-not-known", Valid},
		{"cut off", pack(t, message), good[:len(good)-1], known, Fail, "malformed-batch-path", ProofInvalid},
		{"empty", pack(t, message), []byte{}, known, Fail, "malformed-batch-path", ProofInvalid},
		{"a text", pack(t, message), []byte("proof"), known, Fail, "malformed-batch-path", ProofInvalid},
		{"no signature fits", n.text(forged), good, known, NotChecked, "no-signature", BadSignature},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := n.Verifier
			v.Landmarks = tt.landmarks
			got := v.With(Options{Proof: tt.proof}).Verify(tt.text)
			checkVerdict(t, got)
			if c := got.Checks[StepProof]; c.Result != tt.result || c.Reason != tt.reason || got.Outcome != tt.outcome {
				t.Errorf("%s %s, and %s (%s)", c.Result, c.Reason, got.Outcome, got.Reason)
			}
		})
	}
	// A proof that a policy asks for must be there.
	v := n.Verifier
	v.Landmarks = landmarksOf(t, tlog.Hash{1})
	n.alter("DCC", func(p *Policy) { p.Required[StepProof] = true })
	v.Policies = n.Policies
	if got := v.With(Options{Proof: good}).Verify(pack(t, message)); got.Outcome != Unknown || got.Decided != StepProof {
		t.Errorf("required: %s", got.Outcome)
	}
}
