package print

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/cloudflare/circl/sign/mldsa/mldsa44"

	"ampoule/format/cbor"
	"ampoule/format/cose"
	"ampoule/format/hcert"
	"ampoule/ledger/state"
	"ampoule/ledger/tlog"
)

const loggedExample = "../../docs/spec/examples/logged.json"

// loggedVectors are what docs/spec/examples/logged.json has: the batch of
// fingerprints.json in a log of three entries.
type loggedVectors struct {
	Root        string `json:"root"`
	Entry       string `json:"entry"`        // the transaction fp.batch
	LogProof    string `json:"log_proof"`    // tlog-proof, with the entry as its extra data
	Policy      string `json:"policy"`       // tlog-policy
	Notary      string `json:"notary"`       // COSE_Key
	By          string `json:"by"`           // the notary's signature over the root
	Receipt     string `json:"receipt"`      // of the first certificate
	Code        string `json:"code"`         // the receipt as the text of a code
	WithReceipt string `json:"with_receipt"` // the first certificate, with the receipt in header 394
	Ledger      string `json:"ledger"`       // what a bundle carries
}

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	data, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func readVectors(t testing.TB, name string, into any) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestExampleLogged: each file of the example shows what it says it shows.
func TestExampleLogged(t *testing.T) {
	if *update {
		makeLoggedExample(t)
	}
	var batch vectors
	readVectors(t, example, &batch)
	var v loggedVectors
	readVectors(t, loggedExample, &v)
	root := tlog.Hash(unhex(t, v.Root))
	if v.Root != batch.Root {
		t.Error("another batch")
	}
	_, leaf, _, _ := leafOf(t, batch.Certificates[0].Text)

	policy, err := tlog.ParsePolicy([]byte(v.Policy))
	if err != nil {
		t.Fatal(err)
	}
	proof, err := tlog.ParseLogProof([]byte(v.LogProof))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := proof.Verify(tlog.LeafHash(proof.Extra), policy); err != nil || hex.EncodeToString(proof.Extra) != v.Entry || proof.Index != 2 {
		t.Errorf("log proof of entry %d: %v", proof.Index, err)
	}
	tx, err := state.ParseTx(proof.Extra)
	if err != nil {
		t.Fatal(err)
	}
	if b, ok := tx.Body.(*state.Batch); !ok || b.Root != root {
		t.Errorf("the entry is %s", tx.Body.Kind())
	}

	key, err := cbor.Parse(unhex(t, v.Notary), cbor.DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	notary, err := cose.ReadKey(key)
	if err != nil {
		t.Fatal(err)
	}
	by, err := tlog.ParseRootSignature(unhex(t, v.By))
	if err != nil {
		t.Fatal(err)
	}
	if err := by.Verify(notary, root); err != nil {
		t.Error(err)
	}
	receipt, err := tlog.ParseReceipt(unhex(t, v.Receipt))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := receipt.Verify(leaf.Hash(), notary); err != nil || got != root {
		t.Errorf("receipt: %v", err)
	}
	if v.Code != "AP1:"+hcert.EncodeBase45(unhex(t, v.Receipt)) {
		t.Error("the code is of another receipt")
	}
	m, err := hcert.Decode(v.WithReceipt, hcert.Strict)
	if err != nil {
		t.Fatal(err)
	}
	carried, err := tlog.Receipts(m.Sign1)
	if err != nil || len(carried) != 1 || hex.EncodeToString(carried[0]) != v.Receipt {
		t.Errorf("%d receipts, %v", len(carried), err)
	}
	if again, err := OfSign1(m.Sign1); err != nil || again != leaf {
		t.Errorf("the leaf has changed: %v", err)
	}
	l, err := ParseLedger(unhex(t, v.Ledger))
	if err != nil {
		t.Fatal(err)
	}
	if l.Places[root] != 2 || l.Size() != 3 || string(l.Policy) != v.Policy || !bytes.Equal(l.Checkpoint, proof.Checkpoint) || len(l.Notary(by.KID)) != 1 {
		t.Errorf("%+v", l)
	}
}

// makeLoggedExample writes the file. Its keys and signatures are other ones each time.
func makeLoggedExample(t *testing.T) {
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var batch vectors
	readVectors(t, example, &batch)
	root := tlog.Hash(unhex(t, batch.Root))
	oid := func(dotted string) state.OID {
		o, err := state.ParseOID(dotted)
		check(err)
		return o
	}
	_, issuer, err := ed25519.GenerateKey(rand.Reader)
	check(err)
	tx := &state.Tx{Chain: tlog.Hash{}, Actor: oid("2.999.3.1"), Seq: 1, ValidUntil: 10_000, Body: &state.Batch{
		Root: root, Class: 6, Schema: oid("2.999.6.1"), Issuer: oid("2.999.3.1"), Epoch: 1,
	}}
	entry, err := tx.Sign(rand.Reader, issuer)
	check(err)
	tree := new(tlog.Tree)
	for n := range 2 {
		tree.Append(tlog.LeafHash(fmt.Appendf(nil, "SPECIMEN DEMO %d", n)))
	}
	tree.Append(tlog.LeafHash(entry))

	_, log, err := ed25519.GenerateKey(rand.Reader)
	check(err)
	origin, err := tlog.NewNoteSigner("oid/2.999.1.1", tlog.Ed25519Note, log)
	check(err)
	_, lattice, err := mldsa44.GenerateKey(rand.Reader)
	check(err)
	cosigner, err := tlog.NewNoteSigner("oid/2.999.2.1", tlog.MLDSA44Cosignature, lattice)
	check(err)
	note, err := (&tlog.Checkpoint{Origin: "oid/2.999.1.1", Size: tree.Size(), Root: tree.Root()}).Note()
	check(err)
	check(origin.Sign(rand.Reader, note, 0))
	check(cosigner.Sign(rand.Reader, note, 1793536215)) // 2026-11-01T12:30:15Z
	path, err := tlog.ProveInclusion(2, 3, tree)
	check(err)
	proof, err := (&tlog.LogProof{Extra: entry, Index: 2, Path: path, Checkpoint: note.Encode()}).Encode()
	check(err)

	notary := newKey(t, elliptic.P256())
	by, err := tlog.SignRoot(rand.Reader, notary, root)
	check(err)
	way, err := tlog.ParseBatchPath(unhex(t, batch.Certificates[0].Path))
	check(err)
	receipt, err := (&tlog.Receipt{By: by, Path: way}).Encode()
	check(err)
	message, err := hcert.COSE(batch.Certificates[0].Text, hcert.Strict)
	check(err)
	message, err = tlog.AttachReceipts(message, receipt)
	check(err)
	with, err := hcert.EncodeCOSE(message)
	check(err)
	key, err := cose.AppendKey(nil, notary.Public())
	check(err)
	policy := fmt.Sprintf("log %s\nwitness one %s\nquorum one\n", origin.Key, cosigner.Key)
	document, err := (&Ledger{
		Policy: []byte(policy), Checkpoint: note.Encode(), Notaries: []crypto.PublicKey{notary.Public()}, Places: map[tlog.Hash]uint64{root: 2},
	}).Encode()
	check(err)
	data, err := json.MarshalIndent(loggedVectors{
		Root: batch.Root, Entry: hex.EncodeToString(entry), LogProof: string(proof), Policy: policy, Notary: hex.EncodeToString(key),
		By: hex.EncodeToString(by.Encode()), Receipt: hex.EncodeToString(receipt), Code: "AP1:" + hcert.EncodeBase45(receipt),
		WithReceipt: with, Ledger: hex.EncodeToString(document),
	}, "", "  ")
	check(err)
	check(os.WriteFile(loggedExample, append(data, '\n'), 0o644))
}
