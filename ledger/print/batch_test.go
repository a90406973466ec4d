package print

import (
	"bytes"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"ampoule/ledger/tlog"
)

// leavesOf makes n leaves that are different for each salt.
func leavesOf(salt string, n int) []Leaf {
	out := make([]Leaf, n)
	for i := range out {
		out[i] = sha256.Sum256(fmt.Appendf(nil, "%s %d", salt, i))
	}
	return out
}

// stream gives the same random bytes whenever it is made of the same text.
func stream(text string) io.Reader {
	var all []byte
	for i := range 2 * MaxBatch {
		sum := sha256.Sum256(fmt.Appendf(nil, "%s, block %d", text, i))
		all = append(all, sum[:]...)
	}
	return bytes.NewReader(all)
}

func closeOne(t testing.TB, leaves []Leaf, random io.Reader) *Batch {
	t.Helper()
	batches, err := Close(leaves, random)
	if err != nil || len(batches) != 1 {
		t.Fatalf("%d batches, %v", len(batches), err)
	}
	return batches[0]
}

// TestClose: batches have the size of a class and every leaf, each with its path.
func TestClose(t *testing.T) {
	for _, tt := range []struct {
		leaves int
		sizes  []int
	}{
		{0, nil}, {1, []int{64}}, {63, []int{64}}, {64, []int{64}}, {65, []int{256}}, {1000, []int{1024}}, {5000, []int{16384}},
		{16384, []int{16384}}, {16385, []int{16384, 64}},
	} {
		t.Run(fmt.Sprint(tt.leaves), func(t *testing.T) {
			leaves := leavesOf("specimen", tt.leaves)
			before := slices.Clone(leaves)
			batches, err := Close(leaves, rand.Reader)
			if err != nil || !slices.Equal(leaves, before) {
				t.Fatalf("%v, or what was given is changed", err)
			}
			var sizes []int
			for _, b := range batches {
				sizes = append(sizes, b.Size())
				again, err := Open(b.Bytes())
				if err != nil || again.Root() != b.Root() {
					t.Errorf("it does not read back: %v", err)
				}
			}
			if !slices.Equal(sizes, tt.sizes) {
				t.Fatalf("sizes %v, want %v", sizes, tt.sizes)
			}
			for i := 0; i < len(leaves); i += 1 + len(leaves)/7 {
				b := batches[i/MaxBatch]
				path, err := b.Path(leaves[i])
				if err != nil {
					t.Fatal(err)
				}
				if path.Size() != uint64(b.Size()) {
					t.Errorf("a path in a tree of %d", path.Size())
				}
				if err := path.Verify(leaves[i].Hash(), b.Root()); err != nil {
					t.Error(err)
				}
				if err := path.Verify(leavesOf("other", 1)[0].Hash(), b.Root()); !errors.Is(err, tlog.ErrRoot) {
					t.Errorf("another leaf: %v", err)
				}
			}
			if len(batches) > 0 {
				if _, err := batches[0].Path(Leaf{}); !errors.Is(err, ErrNoLeaf) {
					t.Errorf("a leaf of no batch: %v", err)
				}
			}
		})
	}
}

// TestCloseDeterministic: the same leaves and random bytes make the same batch,
// whatever the order in which they came; other random bytes make another.
func TestCloseDeterministic(t *testing.T) {
	leaves := leavesOf("specimen", 40)
	first := closeOne(t, leaves, stream("a"))
	turned := slices.Clone(leaves)
	slices.Reverse(turned)
	if b := closeOne(t, turned, stream("a")); b.Root() != first.Root() {
		t.Error("the order of coming shows")
	}
	if b := closeOne(t, leaves, stream("b")); b.Root() == first.Root() {
		t.Error("the decoys are not random")
	}
	if b := closeOne(t, append(leaves, leaves...), stream("a")); b.Root() != first.Root() {
		t.Error("a leaf that comes twice counts twice")
	}
	if _, err := Close(leaves, bytes.NewReader(make([]byte, 40))); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("too few random bytes: %v", err)
	}
	if _, err := Close(leaves, bytes.NewReader(make([]byte, 32*64))); !errors.Is(err, ErrOrder) {
		t.Errorf("random bytes that repeat themselves: %v", err)
	}
}

// TestOrder: where a leaf stands says nothing of when it came, and decoys stand
// between leaves: what came first is in the first half about as often as not.
func TestOrder(t *testing.T) {
	const rounds = 400
	low, between := 0, 0
	for n := range rounds {
		leaves := leavesOf(fmt.Sprint("round ", n), 32)
		b := closeOne(t, leaves, rand.Reader)
		at, _ := b.Find(leaves[0])
		if at < b.Size()/2 {
			low++
		}
		last, _ := b.Find(leaves[31])
		if at-last != 1 && last-at != 1 {
			between++
		}
	}
	// 400 throws of a coin: five standard deviations are 50.
	if low < rounds/2-50 || low > rounds/2+50 {
		t.Errorf("the first leaf stood low %d times of %d", low, rounds)
	}
	if between < rounds*9/10 {
		t.Errorf("two leaves stood apart %d times of %d", between, rounds)
	}
}

// TestUnlinkable: who knows everything that was signed, the keys, and the whole
// batch, and lacks the signatures, finds no leaf with it.
func TestUnlinkable(t *testing.T) {
	key := newKey(t, elliptic.P256())
	var leaves []Leaf
	var signed, known [][]byte // messages; keys of HMAC that come to mind
	known = append(known, nil, []byte("kid-8--x"), make([]byte, 32), key.X.FillBytes(make([]byte, 32)))
	for n := range 48 {
		m := sign1(t, key, fmt.Sprint("SPECIMEN DEMO ", n))
		leaf, err := OfSign1(m)
		if err != nil {
			t.Fatal(err)
		}
		leaves = append(leaves, leaf)
		message := m.AppendSigStructure(nil)
		digest := sha256.Sum256(message)
		// A fresh signature of the same key over the same bytes is another.
		again := sign1(t, key, fmt.Sprint("SPECIMEN DEMO ", n))
		// What revocation lists show of a signature is no key of it either.
		mark := sha256.Sum256(m.Signature[:32])
		signed = append(signed, message, digest[:], m.Payload)
		known = append(known, digest[:], again.Signature[:32], mark[:], mark[:16])
	}
	b := closeOne(t, leaves, rand.Reader)
	for _, message := range signed {
		for _, secret := range known {
			if at, found := b.Find(hmacOf(secret, message)); found {
				t.Fatalf("leaf %d was found without its signature", at)
			}
		}
		if _, found := b.Find(sha256.Sum256(message)); found {
			t.Fatal("a leaf is a bare hash")
		}
	}
	// And with a signature it is found.
	if _, found := b.Find(leaves[7]); !found {
		t.Error("the scan would find nothing at all")
	}
}

func TestOpen(t *testing.T) {
	data := closeOne(t, leavesOf("specimen", 50), rand.Reader).Bytes()
	swapped := slices.Concat(data[32:64], data[:32], data[64:])
	for name, tt := range map[string]struct {
		data []byte
		want error
	}{
		"empty":          {nil, ErrSize},
		"half a leaf":    {data[:len(data)-16], ErrSize},
		"a leaf missing": {data[32:], ErrSize},
		"out of order":   {swapped, ErrOrder},
		"a leaf twice":   {slices.Concat(data[:32], data[:32], data[64:]), ErrOrder},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Open(tt.data); !errors.Is(err, tt.want) {
				t.Errorf("%v, want %v", err, tt.want)
			}
		})
	}
}

func FuzzOpen(f *testing.F) {
	batches, err := Close(leavesOf("specimen", 3), stream("seed"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(batches[0].Bytes())
	f.Add(make([]byte, 64*32))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := Open(data)
		if err == nil && !bytes.Equal(b.Bytes(), data) {
			t.Error("it does not write back what was read")
		}
	})
}

func BenchmarkClose(b *testing.B) {
	leaves := leavesOf("specimen", 10_000)
	for b.Loop() {
		batches, err := Close(leaves, rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		batches[0].Root()
	}
}
