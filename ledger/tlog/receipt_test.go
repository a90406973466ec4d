package tlog

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/cloudflare/circl/sign/mldsa/mldsa65"
	"github.com/fxamacker/cbor/v2"
	gocose "github.com/veraison/go-cose"

	ourcbor "ampoule/format/cbor"
	"ampoule/format/cose"
)

var update = flag.Bool("update", false, "write the examples of docs/spec")

// specimenBatch is a batch of which nobody is a part.
func specimenBatch(size int) *Tree {
	t := new(Tree)
	for i := range size {
		t.Append(LeafHash(fmt.Appendf(nil, "SPECIMEN DEMO %d", i)))
	}
	return t
}

func notary() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(seed("notary")) }

func leafOf(t testing.TB, batch *Tree, index uint64) Hash {
	t.Helper()
	leaf, err := batch.Node(0, index)
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

func batchPath(t testing.TB, batch *Tree, index uint64) *BatchPath {
	t.Helper()
	p, err := NewBatchPath(index, batch)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// inclusionProof is the proof of RFC 9942 section 5.2 as another CBOR library reads
// it.
type inclusionProof struct {
	_     struct{} `cbor:",toarray"`
	Size  uint64
	Index uint64
	Path  [][]byte
}

// TestBatchPath: each leaf of each class is found by its path and by no other, and
// the paths have the sizes that the design counts with.
func TestBatchPath(t *testing.T) {
	for _, depth := range []int{1, 2, 6, 8, 10, 14} {
		batch := specimenBatch(1 << depth)
		root := batch.Root()
		last := batch.Size() - 1
		for _, index := range []uint64{0, 1, last / 2, last} {
			p := batchPath(t, batch, index)
			leaf := leafOf(t, batch, index)
			data, err := p.Encode()
			if err != nil {
				t.Fatal(err)
			}
			var theirs inclusionProof
			if err := cbor.Unmarshal(data, &theirs); err != nil || theirs.Size != batch.Size() || theirs.Index != index || len(theirs.Path) != depth {
				t.Fatalf("others read %+v, %v", theirs, err)
			}
			again, err := ParseBatchPath(data)
			if err != nil {
				t.Fatal(err)
			}
			if err := again.Verify(leaf, root); err != nil {
				t.Error(err)
			}
			if err := again.Verify(leafOf(t, batch, index^1), root); !errors.Is(err, ErrRoot) {
				t.Error(err)
			}
			if depth == 14 && index == last && len(data) != 484 {
				t.Errorf("%d bytes of 2^14 leaves", len(data))
			}
		}
	}
	for _, size := range []int{0, 1, 3, 63} {
		if _, err := NewBatchPath(0, specimenBatch(size)); err == nil {
			t.Errorf("a batch of %d leaves", size)
		}
	}
	if _, err := (&BatchPath{Index: 4, Path: make([]Hash, 2)}).Encode(); !errors.Is(err, ErrBatchPath) {
		t.Error(err)
	}
	if _, err := (&BatchPath{Path: make([]Hash, 17)}).Root(Hash{}); !errors.Is(err, ErrBatchPath) {
		t.Error(err)
	}
}

// TestMutatedBatchPath: every flipped bit, every byte cut off and one byte more.
func TestMutatedBatchPath(t *testing.T) {
	for _, depth := range []int{1, 2, 3, 6} {
		batch := specimenBatch(1 << depth)
		for index := range batch.Size() {
			data, err := batchPath(t, batch, index).Encode()
			if err != nil {
				t.Fatal(err)
			}
			leaf := leafOf(t, batch, index)
			for _, changed := range mutations(data) {
				p, err := ParseBatchPath(changed)
				if err == nil && p.Verify(leaf, batch.Root()) == nil {
					t.Fatalf("leaf %d of %d: %x is accepted as well as %x", index, batch.Size(), changed, data)
				}
			}
		}
	}
}

func mutations(data []byte) (all [][]byte) {
	for bit := range 8 * len(data) {
		changed := bytes.Clone(data)
		changed[bit/8] ^= 1 << (bit % 8)
		all = append(all, changed)
	}
	for n := range data {
		all = append(all, data[:n])
	}
	return append(all, append(bytes.Clone(data), 0))
}

func TestParseBatchPath(t *testing.T) {
	h := make([]byte, HashSize)
	enc := func(v any) []byte {
		data, err := cbor.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	proof := func(size, index any, hashes ...any) []byte { return enc([]any{size, index, hashes}) }
	for _, c := range []struct {
		name string
		data []byte
		want error
	}{
		{"nothing", nil, ErrBatchPath},
		{"a map", enc(map[int]int{}), ErrBatchPath},
		{"two elements", enc([]any{2, 0}), ErrBatchPath},
		{"no hash", proof(1, 0), ErrBatchPath},
		{"a size that is not the path's", proof(3, 0, h, h), ErrBatchPath},
		{"a size that has the same shape", proof(4, 0, h), ErrBatchPath},
		{"index beyond size", proof(2, 2, h), ErrBatchPath},
		{"index below 0", proof(2, -1, h), ErrBatchPath},
		{"index beyond 63 bits", proof(2, uint64(1<<63), h), ErrBatchPath},
		{"a float", proof(2.0, 0, h), ErrBatchPath},
		{"a short hash", proof(2, 0, h[:31]), ErrBatchPath},
		{"a long hash", proof(2, 0, append(h, 0)), ErrBatchPath},
		{"a text", proof(2, 0, strings.Repeat("x", 32)), ErrBatchPath},
		{"a number that is not in its shortest form", append([]byte{0x83, 0x18, 2, 0, 0x81, 0x58, 32}, h...), ErrBatchPath},
		{"a length that is not told", append(append([]byte{0x83, 2, 0, 0x9f, 0x58, 32}, h...), 0xff), ErrBatchPath},
		{"17 hashes", proof(1<<17, 0, h, h, h, h, h, h, h, h, h, h, h, h, h, h, h, h, h), ErrBatchPath},
		{"too long", make([]byte, maxProof+1), ErrBatchPath},
		{"good", proof(4, 3, h, h), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := ParseBatchPath(c.data); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

func notaries(t testing.TB) map[string]crypto.Signer {
	t.Helper()
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, pq, err := mldsa65.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]crypto.Signer{"ES256": p256, "Ed25519": notary(), "ML-DSA-65": pq}
}

func TestReceipt(t *testing.T) {
	batch := specimenBatch(1 << 14)
	last := batch.Size() - 1
	leaf := leafOf(t, batch, last)
	for name, signer := range notaries(t) {
		t.Run(name, func(t *testing.T) {
			by, err := SignRoot(rand.Reader, signer, batch.Root())
			if err != nil {
				t.Fatal(err)
			}
			data, err := (&Receipt{by, batchPath(t, batch, last)}).Encode()
			if err != nil {
				t.Fatal(err)
			}
			r, err := ParseReceipt(data)
			if err != nil {
				t.Fatal(err)
			}
			root, err := r.Verify(leaf, signer.Public())
			if err != nil || root != batch.Root() {
				t.Errorf("%x, %v", root, err)
			}
			if _, err := r.Verify(leafOf(t, batch, 0), signer.Public()); !errors.Is(err, cose.ErrSignature) {
				t.Error(err)
			}
			if _, err := r.Verify(leaf, ed25519.NewKeyFromSeed(seed("another")).Public()); !errors.Is(err, ErrReceiptKey) {
				t.Error(err)
			}
			if _, err := r.Verify(leaf, "no key"); !errors.Is(err, cose.ErrKey) {
				t.Error(err)
			}
			minimum := 14*HashSize + len(by.Signature)
			t.Logf("%d bytes, %.3f of the %d of hashes and signature", len(data), float64(len(data))/float64(minimum), minimum)
			if ratio := float64(len(data)) / float64(minimum); len(data) != 517+len(by.Signature) && name != "ML-DSA-65" || ratio > 1.15 {
				t.Errorf("%d bytes, %.3f of the minimum", len(data), ratio)
			}
		})
	}
	if _, err := SignRoot(rand.Reader, mldsaSigner(t, "n").Signer, Hash{}); !errors.Is(err, cose.ErrKey) {
		t.Error(err)
	}
}

// TestReceiptAgainstOracle: another COSE library verifies the signature of a
// receipt, over the root that the proof leads to.
func TestReceiptAgainstOracle(t *testing.T) {
	batch := specimenBatch(64)
	key := notaries(t)["ES256"]
	by, err := SignRoot(rand.Reader, key, batch.Root())
	if err != nil {
		t.Fatal(err)
	}
	data, err := (&Receipt{by, batchPath(t, batch, 5)}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	var m gocose.Sign1Message
	if err := m.UnmarshalCBOR(data); err != nil {
		t.Fatal(err)
	}
	root := batch.Root()
	m.Payload = root[:]
	verifier, err := gocose.NewVerifier(gocose.AlgorithmES256, key.Public())
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Verify(nil, verifier); err != nil {
		t.Error(err)
	}
	if vds := m.Headers.Protected[int64(labelVDS)]; vds != int64(1) {
		t.Errorf("395: %v", vds)
	}
	m.Payload[0] ^= 1
	if m.Verify(nil, verifier) == nil {
		t.Error("another root is accepted")
	}
}

// TestMutatedReceipt: no bit of a receipt can change.
func TestMutatedReceipt(t *testing.T) {
	batch := specimenBatch(4)
	by, err := SignRoot(nil, notary(), batch.Root())
	if err != nil {
		t.Fatal(err)
	}
	for index := range batch.Size() {
		data, err := (&Receipt{by, batchPath(t, batch, index)}).Encode()
		if err != nil {
			t.Fatal(err)
		}
		leaf := leafOf(t, batch, index)
		for _, changed := range mutations(data) {
			r, err := ParseReceipt(changed)
			if err != nil {
				continue
			}
			if _, err := r.Verify(leaf, notary().Public()); err == nil {
				t.Fatalf("leaf %d: %x is accepted", index, changed)
			}
		}
	}
}

func TestParseReceipt(t *testing.T) {
	batch := specimenBatch(4)
	by, _ := SignRoot(nil, notary(), batch.Root())
	path := batchPath(t, batch, 1)
	proof, _ := path.Encode()
	good, _ := (&Receipt{by, path}).Encode()
	// parts of a receipt that are not as ours
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		t.Fatal(err)
	}
	build := func(tag uint64, protected, unprotected, payload any) []byte {
		p, err := mode.Marshal(protected)
		if err != nil {
			t.Fatal(err)
		}
		data, err := mode.Marshal(cbor.Tag{Number: tag, Content: []any{p, unprotected, payload, by.Signature}})
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	type m = map[int64]any
	kid := by.KID[:]
	vdp := m{396: m{-1: []any{proof}}}
	wide := append(bytes.Clone(good[:len(good)-66]), 0x59, 0, 64) // a longer head of the signature
	for _, c := range []struct {
		name string
		data []byte
		want error
	}{
		{"nothing", nil, ourcbor.ErrMalformed},
		{"too large", make([]byte, MaxReceipt+1), ErrReceiptSize},
		{"untagged", good[1:], ErrReceipt},
		{"another tag", build(98, m{1: -19, 4: kid, 395: 1}, vdp, nil), cose.ErrWrongTag},
		{"no structure", build(18, m{1: -19, 4: kid}, vdp, nil), ErrVDS},
		{"another structure", build(18, m{1: -19, 4: kid, 395: 2}, vdp, nil), ErrVDS},
		{"a structure in words", build(18, m{1: -19, 4: kid, 395: "RFC9162_SHA256"}, vdp, nil), ErrVDS},
		{"structure unprotected", build(18, m{1: -19, 4: kid}, m{395: 1, 396: vdp[396]}, nil), ErrVDS},
		{"no algorithm", build(18, m{4: kid, 395: 1}, vdp, nil), cose.ErrAlgNotAllowed},
		{"another algorithm", build(18, m{1: -8, 4: kid, 395: 1}, vdp, nil), cose.ErrAlgNotAllowed},
		{"no kid", build(18, m{1: -19, 395: 1}, vdp, nil), ErrReceipt},
		{"a long kid", build(18, m{1: -19, 4: make([]byte, 32), 395: 1}, vdp, nil), ErrReceipt},
		{"kid unprotected", build(18, m{1: -19, 395: 1}, m{4: kid, 396: vdp[396]}, nil), ErrReceipt},
		{"crit", build(18, m{1: -19, 2: []any{395}, 4: kid, 395: 1}, vdp, nil), cose.ErrCritical},
		{"a label more", build(18, m{1: -19, 3: 0, 4: kid, 395: 1}, vdp, nil), ErrReceipt},
		{"a label more, unprotected", build(18, m{1: -19, 4: kid, 395: 1}, m{33: 0, 396: vdp[396]}, nil), ErrReceipt},
		{"payload attached", build(18, m{1: -19, 4: kid, 395: 1}, vdp, make([]byte, 32)), ErrReceipt},
		{"no proofs", build(18, m{1: -19, 4: kid, 395: 1}, m{}, nil), ErrReceipt},
		{"a proof of consistency", build(18, m{1: -19, 4: kid, 395: 1}, m{396: m{-2: []any{proof}}}, nil), ErrReceipt},
		{"two proofs", build(18, m{1: -19, 4: kid, 395: 1}, m{396: m{-1: []any{proof, proof}}}, nil), ErrReceipt},
		{"a proof that is not in bytes", build(18, m{1: -19, 4: kid, 395: 1}, m{396: m{-1: []any{[]any{4, 1}}}}, nil), ourcbor.ErrDepth},
		{"a proof that is none", build(18, m{1: -19, 4: kid, 395: 1}, m{396: m{-1: []any{[]byte{0x80}}}}, nil), ErrBatchPath},
		{"a head that is too long", append(wide, by.Signature...), ErrReceipt},
		{"good", build(18, m{1: -19, 4: kid, 395: 1}, vdp, nil), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := ParseReceipt(c.data); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

func TestConsistencyReceipt(t *testing.T) {
	tree := newTestTree(104)
	root := func(size uint64) Hash { r, _ := TreeRoot(size, tree); return r }
	path, _ := ProveConsistency(20, 104, tree)
	by, err := SignRoot(nil, notary(), root(104))
	if err != nil {
		t.Fatal(err)
	}
	data, err := (&ConsistencyReceipt{by, 20, 104, path}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	r, err := ParseConsistencyReceipt(data)
	if err != nil {
		t.Fatal(err)
	}
	pub := notary().Public()
	if got, err := r.Verify(20, root(20), pub); err != nil || got != root(104) {
		t.Errorf("%x, %v", got, err)
	}
	if _, err := r.Verify(20, root(21), pub); !errors.Is(err, ErrRoot) {
		t.Error(err)
	}
	if _, err := r.Verify(21, root(21), pub); !errors.Is(err, ErrSize) {
		t.Error(err)
	}
	if _, err := r.Verify(20, root(20), notaries(t)["ES256"].Public()); !errors.Is(err, ErrReceiptKey) {
		t.Error(err)
	}
	// A log that forked after 20 leaves, by the same notary's older signature.
	fork, _ := SignRoot(nil, notary(), root(103))
	if _, err := (&ConsistencyReceipt{fork, 20, 104, path}).Verify(20, root(20), pub); !errors.Is(err, cose.ErrSignature) {
		t.Error(err)
	}
	if _, err := ParseReceipt(data); !errors.Is(err, ErrReceipt) {
		t.Error(err)
	}
	for _, bad := range []*ConsistencyReceipt{{by, 20, 20, nil}, {by, 0, 20, nil}, {by, 20, 104, path[1:]}} {
		if _, err := bad.Encode(); !errors.Is(err, ErrPathLength) {
			t.Error(err)
		}
	}
	if _, err := (&ConsistencyReceipt{by, 21, 20, nil}).Encode(); !errors.Is(err, ErrSize) {
		t.Error(err)
	}
	for _, changed := range mutations(data) {
		r, err := ParseConsistencyReceipt(changed)
		if err != nil {
			continue
		}
		// Sizes of the same shape are not covered: the root that comes out is.
		if got, err := r.Verify(20, root(20), pub); err == nil && got != root(104) {
			t.Fatalf("%x is accepted", changed)
		}
	}
}

// TestAttachReceipts: a signed message with receipts has its signature still, and
// gives the receipts back.
func TestAttachReceipts(t *testing.T) {
	key := notaries(t)["ES256"]
	message, err := cose.Sign(rand.Reader, key, []byte("kid"), []byte("payload"))
	if err != nil {
		t.Fatal(err)
	}
	batch := specimenBatch(64)
	by, _ := SignRoot(nil, notary(), batch.Root())
	receipt, _ := (&Receipt{by, batchPath(t, batch, 7)}).Encode()
	plain, _ := cose.Parse(message, ourcbor.DefaultLimits)
	for _, in := range [][]byte{
		message,
		message[1:], // untagged
		append([]byte{0xd8, 61}, message...),
		rebuilt(plain, map[int64]any{4: []byte("kid"), 1000: "text", -5: 1}),
	} {
		before, err := cose.Parse(in, ourcbor.DefaultLimits)
		if err != nil {
			t.Fatal(err)
		}
		if none, err := Receipts(before); err != nil || none != nil {
			t.Errorf("%x, %v", none, err)
		}
		out, err := AttachReceipts(in, receipt)
		if err != nil {
			t.Fatal(err)
		}
		if out, err = AttachReceipts(out, []byte{1}); err != nil {
			t.Fatal(err)
		}
		after, err := cose.Parse(out, ourcbor.DefaultLimits)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Receipts(after)
		if err != nil || len(got) != 2 || !bytes.Equal(got[0], receipt) || !bytes.Equal(got[1], []byte{1}) {
			t.Errorf("%x, %v", got, err)
		}
		if err := after.Verify(key.Public()); err != nil {
			t.Error(err)
		}
		if !bytes.Equal(after.Protected, before.Protected) || !bytes.Equal(after.Payload, before.Payload) || len(after.Tags) != len(before.Tags) ||
			after.Unprotected.Len() != before.Unprotected.Len()+1 {
			t.Error("something else has changed")
		}
		var theirs gocose.Sign1Message
		if len(before.Tags) == 1 {
			if err := theirs.UnmarshalCBOR(out); err != nil {
				t.Error(err)
			}
		}
	}
	for _, c := range []struct {
		name string
		data []byte
		add  [][]byte
		want error
	}{
		{"no message", []byte{1}, [][]byte{{1}}, cose.ErrNotSign1},
		{"no receipt", message, nil, ErrReceiptCount},
		{"nine", message, make([][]byte, 9), ErrReceiptCount},
		{"too large", message, [][]byte{make([]byte, MaxReceipt+1)}, ErrReceiptSize},
		{"receipts that are none", rebuilt(plain, map[int64]any{394: 1}), [][]byte{{1}}, ErrReceipt},
		{"an empty list", rebuilt(plain, map[int64]any{394: []any{}}), [][]byte{{1}}, ErrReceipt},
		{"a list of numbers", rebuilt(plain, map[int64]any{394: []any{1}}), [][]byte{{1}}, ErrReceipt},
		{"a long list", rebuilt(plain, map[int64]any{394: make([][]byte, 9)}), [][]byte{{1}}, ErrReceiptCount},
		{"a large receipt", rebuilt(plain, map[int64]any{394: [][]byte{make([]byte, MaxReceipt+1)}}), [][]byte{{1}}, ErrReceiptSize},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := AttachReceipts(c.data, c.add...); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
	detached := rebuilt(&cose.Sign1{Protected: plain.Protected, Signature: plain.Signature}, map[int64]any{})
	if out, err := AttachReceipts(detached, receipt); err != nil || !bytes.Contains(out, []byte{0xf6, 0x58, 64}) {
		t.Errorf("%x, %v", out, err)
	}
}

// rebuilt is a message with another unprotected header.
func rebuilt(m *cose.Sign1, unprotected map[int64]any) []byte {
	var payload any
	if m.Payload != nil {
		payload = m.Payload
	}
	data, err := cbor.Marshal(cbor.Tag{Number: 18, Content: []any{m.Protected, unprotected, payload, m.Signature}})
	if err != nil {
		panic(err)
	}
	return data
}

// TestExamples: the examples of docs/spec are what is written there, and are read.
func TestExamples(t *testing.T) {
	batch := specimenBatch(64)
	by, err := SignRoot(nil, notary(), batch.Root())
	if err != nil {
		t.Fatal(err)
	}
	path := batchPath(t, batch, 37)
	pathData, err := path.Encode()
	if err != nil {
		t.Fatal(err)
	}
	receipt, err := (&Receipt{by, path}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	root := batch.Root()
	leaf := leafOf(t, batch, 37)
	pub := notary().Public().(ed25519.PublicKey)
	for _, x := range []struct {
		file, spec string
		data       []byte
		quoted     [][]byte // stand in the text too
	}{
		{"batch-path.cbor", "landmark-path.md", pathData, [][]byte{leaf[:], root[:]}},
		{"receipt.cbor", "receipt.md", receipt, [][]byte{leaf[:], root[:], pub}},
	} {
		file := "../../docs/spec/examples/" + x.file
		if *update {
			if err := os.WriteFile(file, x.data, 0o644); err != nil {
				t.Fatal(err)
			}
			t.Logf("%s: %x", x.file, x.data)
			for _, q := range x.quoted {
				t.Logf("  %x", q)
			}
		}
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile("../../docs/spec/" + x.spec)
		if err != nil {
			t.Fatal(err)
		}
		plain := strings.Join(strings.Fields(string(text)), "")
		for _, q := range append(x.quoted, x.data) {
			if !strings.Contains(plain, hex.EncodeToString(q)) {
				t.Errorf("%s does not have %x", x.spec, q)
			}
		}
		if !bytes.Equal(got, x.data) {
			t.Errorf("%s is another one: go test ./ledger/tlog -run Examples -update -v", x.file)
		}
	}
	p, err := ParseBatchPath(pathData)
	if err != nil || p.Verify(leaf, root) != nil {
		t.Error(err)
	}
	r, err := ParseReceipt(receipt)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := r.Verify(leaf, pub); err != nil || got != root {
		t.Error(err)
	}
}

func FuzzParseBatchPath(f *testing.F) {
	data, _ := (&BatchPath{3, make([]Hash, 2)}).Encode()
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := ParseBatchPath(data)
		if err != nil {
			return
		}
		if again, err := p.Encode(); err != nil || !bytes.Equal(again, data) {
			t.Errorf("%x becomes %x, %v", data, again, err)
		}
		if _, err := p.Root(Hash{}); err != nil {
			t.Error(err)
		}
	})
}

func FuzzParseReceipt(f *testing.F) {
	batch := specimenBatch(4)
	by, _ := SignRoot(nil, notary(), batch.Root())
	data, _ := (&Receipt{by, &BatchPath{0, make([]Hash, 2)}}).Encode()
	f.Add(data)
	consistency, _ := (&ConsistencyReceipt{by, 3, 4, make([]Hash, 3)}).Encode()
	f.Add(consistency)
	f.Fuzz(func(t *testing.T, data []byte) {
		if r, err := ParseReceipt(data); err == nil {
			if again, err := r.Encode(); err != nil || !bytes.Equal(again, data) {
				t.Errorf("%x becomes %x, %v", data, again, err)
			}
		}
		if r, err := ParseConsistencyReceipt(data); err == nil {
			if again, err := r.Encode(); err != nil || !bytes.Equal(again, data) {
				t.Errorf("%x becomes %x, %v", data, again, err)
			}
			_, _ = r.Verify(r.Old, Hash{}, notary().Public())
		}
	})
}

func FuzzAttachReceipts(f *testing.F) {
	message, _ := cose.Sign(rand.Reader, notaries(f)["ES256"], []byte("kid"), []byte("payload"))
	f.Add(message)
	f.Fuzz(func(t *testing.T, data []byte) {
		out, err := AttachReceipts(data, []byte{7})
		if err != nil {
			return
		}
		before, err := cose.Parse(data, ourcbor.DefaultLimits)
		if err != nil {
			t.Fatal(err)
		}
		after, err := cose.Parse(out, ourcbor.Limits{Depth: 17, Items: 9000, Pairs: 257})
		if err != nil {
			t.Fatalf("%x becomes %x: %v", data, out, err)
		}
		if !bytes.Equal(before.AppendSigStructure(nil), after.AppendSigStructure(nil)) || !bytes.Equal(before.Signature, after.Signature) {
			t.Errorf("%x becomes %x", data, out)
		}
	})
}

// TestRootSignature: a signature over a root by itself, in one form.
func TestRootSignature(t *testing.T) {
	_, lattice, err := mldsa65.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	es, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	root := LeafHash([]byte("root"))
	for _, signer := range []crypto.Signer{notary(), es, lattice} {
		s, err := SignRoot(rand.Reader, signer, root)
		if err != nil {
			t.Fatal(err)
		}
		data := s.Encode()
		got, err := ParseRootSignature(data)
		if err != nil {
			t.Fatal(err)
		}
		if err := got.Verify(signer.Public(), root); err != nil || !bytes.Equal(got.Encode(), data) {
			t.Errorf("%s: %v", s.Alg, err)
		}
		if got.Verify(signer.Public(), Hash{1}) == nil {
			t.Errorf("%s: it is over another root", s.Alg)
		}
		receipt, err := (&Receipt{s, batchPath(t, specimenBatch(64), 1)}).Encode()
		if err != nil {
			t.Fatal(err)
		}
		for name, bad := range map[string][]byte{
			"nothing": nil, "cut off": data[:len(data)-1], "something after": append(bytes.Clone(data), 0), "a receipt": receipt,
			"another kid": bytes.Replace(data, []byte{0x04, 0x48}, []byte{0x04, 0x47}, 1),
		} {
			if _, err := ParseRootSignature(bad); err == nil {
				t.Errorf("%s, %s: taken", s.Alg, name)
			}
		}
	}
}

func FuzzParseRootSignature(f *testing.F) {
	s, err := SignRoot(rand.Reader, notary(), Hash{1})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(s.Encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		if s, err := ParseRootSignature(data); err == nil && !bytes.Equal(s.Encode(), data) {
			t.Errorf("%x encodes to %x", data, s.Encode())
		}
	})
}
