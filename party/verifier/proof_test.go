package verifier

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"slices"
	"strings"
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

// specimenLog is a ledger document whose log has entries, and some of the roots.
func specimenLog(t testing.TB, places map[tlog.Hash]uint64, notaries ...crypto.PublicKey) *print.Ledger {
	t.Helper()
	_, log, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := tlog.NewNoteSigner("oid/2.999.1.1", tlog.Ed25519Note, log)
	if err != nil {
		t.Fatal(err)
	}
	note, err := (&tlog.Checkpoint{Origin: "oid/2.999.1.1", Size: 10, Root: tlog.Hash{1}}).Note()
	if err != nil {
		t.Fatal(err)
	}
	if err := signer.Sign(rand.Reader, note, 0); err != nil {
		t.Fatal(err)
	}
	data, err := (&print.Ledger{Checkpoint: note.Encode(), Notaries: notaries, Places: places}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	l, err := print.ParseLedger(data)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestReceipt: a receipt counts by the key of a notary that the bundle names, carried
// in the certificate or beside it. One of a notary that is named and that does not
// verify refuses the certificate.
func TestReceipt(t *testing.T) {
	n := newNet(t)
	dcc := code{subclaim: 1, payload: dcc("v", entryV())}
	message, another := n.cose(dcc), n.cose(dcc)
	batches, err := print.Close([]print.Leaf{leafOf(t, message), leafOf(t, another)}, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	batch := batches[0]
	key := func() *ecdsa.PrivateKey {
		t.Helper()
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	notary, stranger := key(), key()
	path := func(l print.Leaf) *tlog.BatchPath {
		t.Helper()
		p, err := batch.Path(l)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	receipt := func(by crypto.Signer, l print.Leaf) []byte {
		t.Helper()
		s, err := tlog.SignRoot(rand.Reader, by, batch.Root())
		if err != nil {
			t.Fatal(err)
		}
		data, err := (&tlog.Receipt{By: s, Path: path(l)}).Encode()
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	with := func(receipts ...[]byte) string {
		t.Helper()
		m, err := tlog.AttachReceipts(message, receipts...)
		if err != nil {
			t.Fatal(err)
		}
		return pack(t, m)
	}
	plain := pack(t, message)
	good, unknown, others := receipt(notary, leafOf(t, message)), receipt(stranger, leafOf(t, message)), receipt(notary, leafOf(t, another))
	changed := slices.Clone(good)
	changed[len(changed)-1] ^= 1
	foreign := bytes.Replace(good, []byte{0x19, 0x01, 0x8b, 0x01}, []byte{0x19, 0x01, 0x8b, 0x02}, 1) // vds 2
	bare, err := path(leafOf(t, message)).Encode()
	if err != nil {
		t.Fatal(err)
	}
	named := specimenLog(t, nil, stranger.Public(), notary.Public())
	named2 := specimenLog(t, nil, notary.Public())
	placed := specimenLog(t, map[tlog.Hash]uint64{batch.Root(): 7}, notary.Public())
	nowhere := specimenLog(t, map[tlog.Hash]uint64{{1}: 7})
	root := landmarksOf(t, batch.Root())

	for _, tt := range []struct {
		name      string
		text      string
		proof     []byte
		ledger    *print.Ledger
		landmarks *print.Landmarks
		result    Result
		reason    string
		detail    string
		outcome   Outcome
	}{
		{"beside", plain, good, named, nil, Pass, "notary-receipt", "a notary of the log", Valid},
		{"beside, as a code", plain, []byte(ProofText(good) + "\n"), named, nil, Pass, "notary-receipt", "a notary of the log", Valid},
		{"a path as a code", plain, []byte(ProofText(bare)), placed, nil, Pass, "logged", "", Valid},
		{"a code that is cut off", plain, []byte(ProofText(good)[:40]), named, nil, Fail, "", "", ProofInvalid},
		{"a code of nothing", plain, []byte("AP1:"), named, nil, Fail, "", "", ProofInvalid},
		{"no base45", plain, []byte("AP1:abc"), named, nil, Fail, "malformed-batch-path", "", ProofInvalid},
		{"carried", with(good), nil, named, nil, Pass, "notary-receipt", "a notary of the log", Valid},
		{"carried, of nobody known", with(good), nil, nil, nil, CannotTell, "notary-not-known", "", Valid},
		{"carried, of another's log", with(good), nil, nowhere, nil, CannotTell, "notary-not-known", "", Valid},
		{"of a stranger, under a landmark", with(unknown), nil, named2, root, Pass, "under-a-landmark", "no log was asked", Valid},
		{"of a stranger and of the notary", with(unknown, good), nil, named2, nil, Pass, "notary-receipt", "", Valid},
		{"under a landmark and signed", with(good), nil, named, root, Pass, "under-a-landmark", "a notary's receipt says the same", Valid},
		{"in its place", with(good), nil, placed, root, Pass, "logged", "entry 7 of the log oid/2.999.1.1", Valid},
		{"a path to a place", plain, bare, placed, nil, Pass, "logged", "entry 7 of the log oid/2.999.1.1", Valid},
		{"a path to no place", plain, bare, nowhere, nil, CannotTell, "no-landmarks", "", Valid},
		{"a path beside a receipt", with(unknown), bare, named2, root, Pass, "under-a-landmark", "", Valid},
		{"changed", with(changed), nil, named, nil, Fail, "receipt-does-not-verify", "", ProofInvalid},
		{"changed, in its place", with(changed), nil, placed, root, Fail, "receipt-does-not-verify", "", ProofInvalid},
		{"changed, after a good one", with(good, changed), nil, named, nil, Fail, "receipt-does-not-verify", "", ProofInvalid},
		{"changed, beside", plain, changed, named, nil, Fail, "receipt-does-not-verify", "", ProofInvalid},
		{"of another certificate", with(others), nil, named, nil, Fail, "receipt-does-not-verify", "", ProofInvalid},
		{"of another kind of log", with(foreign), nil, named, nil, CannotTell, "receipt-of-another-kind", "", Valid},
		{"no receipt", with([]byte{0xd2, 0x80}), nil, named, nil, Fail, "", "", ProofInvalid},
		{"a path in the header", with(bare), nil, placed, nil, Pass, "logged", "", Valid},
		{"cut off", plain, good[:len(good)-1], named, nil, Fail, "", "", ProofInvalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := n.Verifier
			v.Landmarks, v.Ledgers = tt.landmarks, nil
			if tt.ledger != nil {
				v.Ledgers = []*print.Ledger{tt.ledger}
			}
			got := v.With(Options{Proof: tt.proof}).Verify(tt.text)
			checkVerdict(t, got)
			c := got.Checks[StepProof]
			if c.Result != tt.result || tt.reason != "" && c.Reason != tt.reason || !strings.Contains(c.Detail, tt.detail) || got.Outcome != tt.outcome {
				t.Errorf("%s %s (%s), and %s (%s)", c.Result, c.Reason, c.Detail, got.Outcome, got.Reason)
			}
		})
	}
	// Without a signature of the issuer nothing else is asked.
	forged := code{subclaim: 1, payload: dcc.payload, sign: func(toSign []byte) []byte { return make([]byte, 64) }}
	v := n.Verifier
	v.Ledgers = []*print.Ledger{placed}
	if got := v.With(Options{Proof: good}).Verify(n.text(forged)); got.Checks[StepProof].Result != NotChecked {
		t.Errorf("%+v", got.Checks[StepProof])
	}
}
