package tlog

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"pgregory.net/rapid"
)

// testRegistry has the rows i/001, i/003, i/005 and so on; those between are absent.
func testRegistry(t testing.TB, rows int) *Registry {
	t.Helper()
	r, err := NewRegistry(func(yield func(k, v []byte) bool) {
		for i := range rows {
			if !yield(testRowKey(2*i+1), testRowValue(2*i+1)) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func testRowKey(i int) []byte   { return fmt.Appendf(nil, "i/%06d", i) }
func testRowValue(i int) []byte { return fmt.Appendf(nil, "value %d", i) }

// TestRegistry proves each row and each gap of registries of every size up to 70.
func TestRegistry(t *testing.T) {
	for rows := range 70 {
		r := testRegistry(t, rows)
		root := r.Root()
		for i := range 2*rows + 2 {
			key, value := testRowKey(i), testRowValue(i)
			there := i%2 == 1 && i < 2*rows
			present, errPresent := r.Prove(key)
			absent, errAbsent := r.ProveAbsence(key)
			if there != (errPresent == nil) || there != errors.Is(errAbsent, ErrRowExists) || there == errors.Is(errPresent, ErrNoRow) || there == (errAbsent == nil) {
				t.Fatalf("%d rows, %s: %v, %v", rows, key, errPresent, errAbsent)
			}
			if there {
				data, err := present.Encode()
				if err != nil {
					t.Fatal(err)
				}
				again, err := ParseRowProof(data)
				if err != nil {
					t.Fatal(err)
				}
				if err := again.Verify(key, value, root); err != nil {
					t.Fatalf("%d rows, %s: %v", rows, key, err)
				}
				if err := again.Verify(key, testRowValue(i+2), root); !errors.Is(err, ErrRoot) {
					t.Fatalf("%d rows, %s with another value: %v", rows, key, err)
				}
				if err := again.Verify(testRowKey(i+1), value, root); !errors.Is(err, ErrRoot) {
					t.Fatalf("%d rows, %s with another key: %v", rows, key, err)
				}
				leaf := RowHash(key, value)
				if err := proof.VerifyInclusion(rfc6962.DefaultHasher, again.Index, again.Size, leaf[:], slicesOf(again.Path), root[:]); err != nil {
					t.Fatal("others say", err)
				}
				continue
			}
			data, err := absent.Encode()
			if err != nil {
				t.Fatal(err)
			}
			again, err := ParseAbsenceProof(data)
			if err != nil {
				t.Fatal(err)
			}
			if err := again.Verify(key, root); err != nil {
				t.Fatalf("%d rows, %s: %v", rows, key, err)
			}
			// It says nothing of the keys beside it, nor under another root.
			for _, other := range []int{i - 1, i + 1} {
				if other > 0 && other < 2*rows && again.Verify(testRowKey(other), root) == nil {
					t.Fatalf("%d rows, %s: %s is there and proven absent", rows, key, testRowKey(other))
				}
			}
			if err := again.Verify(key, Hash{1}); !errors.Is(err, ErrRoot) {
				t.Fatalf("%d rows, %s: %v", rows, key, err)
			}
		}
	}
}

// TestAbsenceIsSound builds absence proofs of all pairs of real rows, under all
// sizes and places that could be claimed: only neighbours pass, and the ends.
func TestAbsenceIsSound(t *testing.T) {
	tried := 0
	for rows := 1; rows <= 12; rows++ {
		r := testRegistry(t, rows)
		root := r.Root()
		for left := -1; left < rows; left++ {
			for right := left + 1; right <= rows; right++ {
				p := new(AbsenceProof)
				if left >= 0 {
					p.Before, _ = r.neighbour(left)
				}
				if right < rows {
					p.After, _ = r.neighbour(right)
				}
				for size := range uint64(26) {
					for index := range size + 1 {
						p.Size, p.Index = size, index
						tried++
						// A key right of the left one, or left of the right one.
						for _, key := range [][]byte{testRowKey(2*left + 2), testRowKey(2 * right)} {
							err := p.Verify(key, root)
							if err == nil && right != left+1 {
								t.Fatalf("%d rows: none between %d and %d, by size %d, index %d", rows, left, right, size, index)
							}
							if size == uint64(rows) && index == uint64(right) && right == left+1 && err != nil {
								t.Fatalf("%d rows: between %d and %d: %v", rows, left, right, err)
							}
						}
					}
				}
			}
		}
	}
	if tried < 100_000 {
		t.Errorf("only %d claims", tried)
	}
}

// TestMutatedRowProofs: whatever is still accepted of a changed proof says something
// true.
func TestMutatedRowProofs(t *testing.T) {
	r := testRegistry(t, 6)
	root := r.Root()
	for i := range 14 {
		if p, err := r.Prove(testRowKey(i)); err == nil {
			data, _ := p.Encode()
			for _, changed := range mutations(data) {
				p, err := ParseRowProof(changed)
				if err != nil {
					continue
				}
				for j := range 14 {
					if j != i && p.Verify(testRowKey(j), testRowValue(j), root) == nil {
						t.Fatalf("%x proves row %d", changed, j)
					}
				}
			}
			continue
		}
		p, err := r.ProveAbsence(testRowKey(i))
		if err != nil {
			t.Fatal(err)
		}
		data, _ := p.Encode()
		for _, changed := range mutations(data) {
			p, err := ParseAbsenceProof(changed)
			if err != nil {
				continue
			}
			for j := 1; j < 12; j += 2 {
				if p.Verify(testRowKey(j), root) == nil {
					t.Fatalf("%x proves that row %d is absent", changed, j)
				}
			}
		}
	}
}

// TestAbsenceSize holds the size that the design counts with: two paths of 10^5
// rows.
func TestAbsenceSize(t *testing.T) {
	if testing.Short() {
		t.Skip("a large registry")
	}
	r := testRegistry(t, 100_000)
	p, err := r.ProveAbsence(testRowKey(100_000))
	if err != nil {
		t.Fatal(err)
	}
	data, err := p.Encode()
	if err != nil || len(data) > 1300 {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	t.Logf("%d bytes", len(data))
}

func TestRegistryRefuses(t *testing.T) {
	rows := func(keys ...string) error {
		_, err := NewRegistry(func(yield func(k, v []byte) bool) {
			for _, k := range keys {
				if !yield([]byte(k), nil) {
					return
				}
			}
		})
		return err
	}
	r := testRegistry(t, 5)
	good, _ := r.ProveAbsence(testRowKey(4))
	change := func(edit func(p *AbsenceProof)) error {
		before, after := *good.Before, *good.After
		p := &AbsenceProof{good.Size, good.Index, &before, &after}
		edit(p)
		return p.Verify(testRowKey(4), r.Root())
	}
	_, errProve := r.ProveAbsence(nil)
	_, errEncode := (&RowProof{Size: 5, Index: 1}).Encode()
	_, errIndex := (&RowProof{Size: 5, Index: 5}).Encode()
	_, errAbsence := (&AbsenceProof{Size: 1}).Encode()
	for _, c := range []struct {
		name string
		got  error
		want error
	}{
		{"rows out of order", rows("b", "a"), ErrRowOrder},
		{"a row twice", rows("a", "a"), ErrRowOrder},
		{"empty key", rows(""), ErrRowKey},
		{"long key", rows(string(make([]byte, MaxRowKey+1))), ErrRowKey},
		{"longest key", rows(string(make([]byte, MaxRowKey))), nil},
		{"absence of nothing", errProve, ErrRowKey},
		{"row proof too short", errEncode, ErrPathLength},
		{"row proof beyond", errIndex, ErrIndex},
		{"absence without neighbour", errAbsence, ErrRowProof},
		{"verify an empty key", good.Verify(nil, r.Root()), ErrRowKey},
		{"row without key", (&RowProof{Size: 1}).Verify(nil, nil, Hash{}), ErrRowKey},
		{"no left neighbour", change(func(p *AbsenceProof) { p.Before = nil }), ErrRowProof},
		{"no right neighbour", change(func(p *AbsenceProof) { p.After = nil }), ErrRowProof},
		{"left neighbour where none is", change(func(p *AbsenceProof) { p.Index = 0 }), ErrRowProof},
		{"right neighbour where none is", change(func(p *AbsenceProof) { p.Index = 5 }), ErrRowProof},
		{"index beyond", change(func(p *AbsenceProof) { p.Index = 6 }), ErrRowProof},
		{"left neighbour not left", change(func(p *AbsenceProof) { p.Before = p.After }), ErrAdjacent},
		{"right neighbour not right", change(func(p *AbsenceProof) { p.After = p.Before }), ErrAdjacent},
		{"a neighbour with an empty key", change(func(p *AbsenceProof) { p.Before.Key = nil }), ErrRowKey},
		{"a path too short", change(func(p *AbsenceProof) { p.After.Path = p.After.Path[1:] }), ErrPathLength},
		{"another value", change(func(p *AbsenceProof) { p.After.ValueHash[0] ^= 1 }), ErrRoot},
		{"another key", change(func(p *AbsenceProof) { p.Before.Key = []byte("a") }), ErrRoot},
		{"empty, another root", (&AbsenceProof{}).Verify([]byte("a"), Hash{}), ErrRoot},
		{"empty", (&AbsenceProof{}).Verify([]byte("a"), EmptyRoot()), nil},
		{"unchanged", change(func(*AbsenceProof) {}), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !errors.Is(c.got, c.want) {
				t.Errorf("%v, want %v", c.got, c.want)
			}
		})
	}
}

// TestRowHash holds the encoding of a row.
func TestRowHash(t *testing.T) {
	value := sha256.Sum256([]byte("value"))
	row, err := cbor.Marshal([][]byte{[]byte("key"), value[:]})
	if err != nil {
		t.Fatal(err)
	}
	if RowHash([]byte("key"), []byte("value")) != LeafHash(row) {
		t.Error("another encoding")
	}
}

// TestAppHash holds the bytes that validators hash, made here by hand.
func TestAppHash(t *testing.T) {
	s := AppState{LogSize: 7, LogRoot: Hash{1}, RegistryRoot: Hash{2}, ChangeChain: Hash{3}, ParamsHash: Hash{4}, AppVersion: 5}
	b := []byte("ampoule/app-hash/v1\n")
	b = binary.BigEndian.AppendUint64(b, 7)
	for i := byte(1); i <= 4; i++ {
		b = append(append(b, i), make([]byte, 31)...)
	}
	b = binary.BigEndian.AppendUint64(b, 5)
	if s.Hash() != sha256.Sum256(b) {
		t.Error("another application hash")
	}
	h := s.Hash()
	if got := hex.EncodeToString(h[:]); got != "ecb34ed3f343609d6292873e1d9536946a6b928a2de137fca08aa2e94614553d" {
		t.Errorf("%s: no release may change this", got)
	}

	changes := []Change{{[]byte("a"), []byte("1")}, {[]byte("b"), nil}, {[]byte("c"), []byte{}}}
	next, err := NextChange(Hash{9}, changes)
	if err != nil {
		t.Fatal(err)
	}
	set, err := cbor.Marshal([][]any{{[]byte("a"), []byte("1")}, {[]byte("b"), nil}, {[]byte("c"), []byte{}}})
	if err != nil {
		t.Fatal(err)
	}
	if next != sha256.Sum256(slices.Concat([]byte("ampoule/changes/v1\n"), append([]byte{9}, make([]byte, 31)...), set)) {
		t.Error("another chain")
	}
	if same, err := NextChange(Hash{9}, nil); err != nil || same != (Hash{9}) {
		t.Errorf("%x, %v", same, err)
	}
	for _, c := range []struct {
		name    string
		changes []Change
		want    error
	}{
		{"out of order", []Change{{Key: []byte("b")}, {Key: []byte("a")}}, ErrRowOrder},
		{"twice", []Change{{Key: []byte("a")}, {Key: []byte("a")}}, ErrRowOrder},
		{"no key", []Change{{}}, ErrRowKey},
	} {
		if _, err := NextChange(Hash{}, c.changes); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestAppHashDiffers: each field counts.
func TestAppHashDiffers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hash := func(name string) Hash {
			return Hash(rapid.SliceOfN(rapid.Byte(), HashSize, HashSize).Draw(t, name))
		}
		draw := func(n string) AppState {
			return AppState{rapid.Uint64().Draw(t, n), hash(n), hash(n), hash(n), hash(n), rapid.Uint64().Draw(t, n)}
		}
		a, b := draw("a"), draw("b")
		if (a == b) != (a.Hash() == b.Hash()) {
			t.Error("two states with one hash")
		}
	})
}

func FuzzParseRowProof(f *testing.F) {
	r := testRegistry(f, 5)
	p, _ := r.Prove(testRowKey(3))
	data, _ := p.Encode()
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := ParseRowProof(data)
		if err != nil {
			return
		}
		if again, err := p.Encode(); err != nil || !bytes.Equal(again, data) {
			t.Errorf("%x becomes %x, %v", data, again, err)
		}
	})
}

func FuzzParseAbsenceProof(f *testing.F) {
	r := testRegistry(f, 5)
	for _, i := range []int{0, 4, 12} {
		p, _ := r.ProveAbsence(testRowKey(i))
		data, _ := p.Encode()
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := ParseAbsenceProof(data)
		if err != nil {
			return
		}
		if again, err := p.Encode(); err != nil || !bytes.Equal(again, data) {
			t.Errorf("%x becomes %x, %v", data, again, err)
		}
		for i := 1; i < 10; i += 2 {
			if p.Verify(testRowKey(i), r.Root()) == nil {
				t.Errorf("%x proves that row %d is absent", data, i)
			}
		}
	})
}
