package dccfilter

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"testing"

	"ampoule/format/dccrevocation"
)

// hash returns the n-th hash of a series.
func hash(series string, n int) dccrevocation.Hash128 {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", series, n))
	return dccrevocation.Hash128(sum[:16])
}

func hashes(series string, n int) []dccrevocation.Hash128 {
	all := make([]dccrevocation.Hash128, n)
	for i := range all {
		all[i] = hash(series, i)
	}
	return all
}

// What was put in is found, before and after writing; of the rest no more than
// the rate.
func TestFilters(t *testing.T) {
	for _, kind := range []Kind{Bloom, VarHashList} {
		for _, rate := range []float64{1e-2, 1e-3, 1e-6, 1e-12} {
			for _, n := range []int{0, 1, 2, 7, 100, 256, 8192} {
				t.Run(fmt.Sprintf("%s %g %d", kind, rate, n), func(t *testing.T) {
					in := hashes("in", n)
					made, err := New(kind, rate, append(in, in...)) // twice is once
					if err != nil {
						t.Fatal(err)
					}
					data := made.Encode()
					read, err := Parse(kind, data)
					if err != nil {
						t.Fatal(err)
					}
					if !bytes.Equal(read.Encode(), data) || read.Len() != n {
						t.Errorf("%d elements, or other bytes", read.Len())
					}
					const asked = 4000
					found := 0
					for _, f := range []*Filter{made, read} {
						for i, h := range in {
							if !f.MightContain(h) {
								t.Fatalf("element %d is lost", i)
							}
						}
					}
					for i := range asked {
						if read.MightContain(hash("out", i)) {
							found++
						}
					}
					if most := 10 + 2*rate*asked; float64(found) > most || n == 0 && found > 0 {
						t.Errorf("%d of %d others are found", found, asked)
					}
				})
			}
		}
	}
}

// The prefixes that the reference loses: FF and a bit, down to all FF.
func TestHighPrefixes(t *testing.T) {
	var in []dccrevocation.Hash128
	for n := range 128 {
		h := hash("high", n)
		for i := range n % 16 {
			h[i] = 0xff
		}
		h[n%16] |= 0x80
		in = append(in, h)
	}
	f, err := New(VarHashList, 1e-6, in)
	if err != nil {
		t.Fatal(err)
	}
	// As the reference writes them: the shortest signed number, zeros before it.
	damaged := f.Encode()[:listHeader]
	for at := 0; at < len(f.records); at += f.size {
		record := f.records[at : at+f.size]
		short := record
		for len(short) > 1 && short[0] == 0xff && short[1] >= 0x80 {
			short = short[1:]
		}
		damaged = append(damaged, make([]byte, f.size-len(short))...)
		damaged = append(damaged, short...)
	}
	g, err := Parse(VarHashList, damaged)
	if err != nil {
		t.Fatal(err)
	}
	for i, h := range in {
		if !f.MightContain(h) || !g.MightContain(h) {
			t.Errorf("element %d: %v as written here, %v as by the reference", i, f.MightContain(h), g.MightContain(h))
		}
	}
}

// The indices are those of signed arithmetic in numbers of any length.
func TestIndices(t *testing.T) {
	for _, words := range []int{1, 2, 3, 29, 1000, 1 << 22} {
		f := &Filter{k: 40, words: make([]uint32, words)}
		h := hash("index", words)
		i := 0
		for got := range f.indices(h) {
			sum := sha256.Sum256(append(h[:], byte(i)))
			n := new(big.Int).SetBytes(sum[:])
			if sum[0]&0x80 != 0 {
				n.Sub(n, new(big.Int).Lsh(big.NewInt(1), 256))
			}
			if want := n.Mod(n, big.NewInt(int64(32*words))).Uint64(); got != want {
				t.Fatalf("%d words, index %d is %d, want %d", words, i, got, want)
			}
			i++
		}
		if i != 40 {
			t.Errorf("%d indices", i)
		}
	}
}

func TestRecordSize(t *testing.T) {
	for _, tc := range []struct {
		n, size int
		rate    float64
	}{{1, 3, 1e-6}, {128, 4, 1e-6}, {256, 4, 1e-6}, {4096, 4, 1e-6}, {65536, 5, 1e-6}, {256, 6, 1e-12}, {65536, 7, 1e-12}} {
		f, err := New(VarHashList, tc.rate, hashes("size", tc.n))
		if err != nil || f.size != tc.size {
			t.Errorf("%d at %g: %d bytes, want %d (%v)", tc.n, tc.rate, f.size, tc.size, err)
		}
	}
}

func TestRefused(t *testing.T) {
	bloom, _ := New(Bloom, 1e-6, hashes("in", 10))
	list, _ := New(VarHashList, 1e-6, hashes("in", 10))
	set := func(data []byte, at int, value ...byte) []byte {
		out := bytes.Clone(data)
		copy(out[at:], value)
		return out
	}
	huge := binary.BigEndian.AppendUint32(nil, 0x7fffffff)
	negative := binary.BigEndian.AppendUint32(nil, 0xffffffff)
	for _, tc := range []struct {
		name string
		kind Kind
		in   []byte
		want error
	}{
		{"another kind", "CUCKOO", bloom.Encode(), ErrKind},
		{"no bytes", Bloom, nil, ErrTruncated},
		{"version 2", Bloom, set(bloom.Encode(), 0, 0, 2), ErrVersion},
		{"no hashes", Bloom, set(bloom.Encode(), 2, 0), ErrField},
		{"128 hashes", Bloom, set(bloom.Encode(), 2, 128), ErrField},
		{"another hash function", Bloom, set(bloom.Encode(), 3, 1), ErrHash},
		{"huge length", Bloom, set(bloom.Encode(), 16, huge...), ErrTruncated},
		{"negative length", Bloom, set(bloom.Encode(), 16, negative...), ErrField},
		{"negative elements", Bloom, set(bloom.Encode(), 12, negative...), ErrField},
		{"cut", Bloom, bloom.Encode()[:40], ErrTruncated},
		{"a byte after", Bloom, append(bloom.Encode(), 0), ErrTrailing},
		{"too large", Bloom, make([]byte, MaxBytes+1), ErrTooLarge},
		{"no bytes", VarHashList, nil, ErrTruncated},
		{"version 0", VarHashList, set(list.Encode(), 0, 0, 0), ErrVersion},
		{"huge count", VarHashList, set(list.Encode(), 6, huge...), ErrTruncated},
		{"negative count", VarHashList, set(list.Encode(), 6, negative...), ErrField},
		{"records of 0 bytes", VarHashList, set(list.Encode(), 10, 0), ErrField},
		{"records of 17 bytes", VarHashList, set(list.Encode(), 10, 17), ErrField},
		{"fewer records", VarHashList, set(list.Encode(), 6, 0, 0, 0, 9), ErrTrailing},
		{"cut", VarHashList, list.Encode()[:20], ErrTruncated},
	} {
		t.Run(fmt.Sprint(tc.kind, " ", tc.name), func(t *testing.T) {
			if f, err := Parse(tc.kind, tc.in); !errors.Is(err, tc.want) {
				t.Errorf("%v, %v; want %v", f, err, tc.want)
			}
		})
	}
	for _, rate := range []float64{0, 1, -1, 2} {
		if _, err := New(Bloom, rate, nil); !errors.Is(err, ErrField) {
			t.Errorf("a rate of %g: %v", rate, err)
		}
	}
	if _, err := New("CUCKOO", 0.1, nil); !errors.Is(err, ErrKind) {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	for _, kind := range []Kind{Bloom, VarHashList} {
		for _, n := range []int{0, 1, 30} {
			made, err := New(kind, 1e-3, hashes("in", n))
			if err != nil {
				f.Fatal(err)
			}
			f.Add(made.Encode(), kind == Bloom)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, bloom bool) {
		kind := VarHashList
		if bloom {
			kind = Bloom
		}
		read, err := Parse(kind, data)
		if err != nil {
			return
		}
		for i := range 20 {
			h := hash("out", i)
			if read.MightContain(h) && (len(read.words) == 0 && read.n == 0) {
				t.Error("an empty filter has something")
			}
		}
		again, err := Parse(kind, read.Encode())
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again.records, read.records) || len(again.words) != len(read.words) {
			t.Error("written otherwise")
		}
	})
}
