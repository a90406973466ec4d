package bundle

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"ampoule/format/cbor"
)

func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = r.Read(b)
	return b
}

func TestDelta(t *testing.T) {
	old := noise(1, 200_000)
	insert := func(at int, b []byte) []byte { return slices.Concat(old[:at], b, old[at:]) }
	for _, c := range []struct {
		name     string
		from, to []byte
		most     int // bytes of the delta
	}{
		{"the same", old, old, 120},
		{"from nothing", nil, old, len(old) + 120},
		{"to nothing", old, nil, 120},
		{"a hash more", old, insert(77_777, noise(2, 16)), 160},
		{"at the front", old, insert(0, noise(3, 100)), 240},
		{"at the end", old, insert(len(old), noise(3, 100)), 240},
		{"cut", old, slices.Concat(old[:1000], old[150_000:]), 160},
		{"turned round", old, slices.Concat(old[100_000:], old[:100_000]), 180},
		{"a hundred hashes more", old, func() []byte {
			to := old
			for i := range 100 {
				at := i * 2000
				to = slices.Concat(to[:at], noise(uint64(100+i), 16), to[at:])
			}
			return to
		}(), 100 * 40},
		{"something else", old, noise(9, 100_000), 100_200},
		{"short", []byte("short"), []byte("shorter"), 150},
		{"all alike", make([]byte, 100_000), make([]byte, 90_000), 150},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, err := Delta(c.from, c.to)
			if err != nil {
				t.Fatal(err)
			}
			if !IsDelta(d) || len(d) > c.most {
				t.Errorf("%d bytes, want %d at most", len(d), c.most)
			}
			got, err := Apply(c.from, d)
			if err != nil || !bytes.Equal(got, c.to) {
				t.Errorf("another file, %v", err)
			}
			if _, err := Apply(append(bytes.Clone(c.from), 1), d); !errors.Is(err, ErrDeltaBase) {
				t.Errorf("from another file: %v", err)
			}
		})
	}
	if _, err := Delta(nil, make([]byte, MaxSize+1)); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
}

func TestBadDeltas(t *testing.T) {
	from := []byte("what is kept")
	digest := func(b []byte) []byte { d := sha256.Sum256(b); return d[:] }
	build := func(version, size int64, to []byte, pieces ...[]byte) []byte {
		d := cbor.AppendInt(cbor.AppendText(cbor.AppendArray(nil, 6), deltaType), version)
		d = cbor.AppendInt(cbor.AppendBytes(cbor.AppendBytes(d, digest(from)), digest(to)), size)
		return append(cbor.AppendArray(d, len(pieces)), slices.Concat(pieces...)...)
	}
	copied := func(offset, length int64) []byte {
		return cbor.AppendInt(cbor.AppendInt(cbor.AppendArray(nil, 2), offset), length)
	}
	literal := func(s string) []byte { return cbor.AppendBytes(nil, []byte(s)) }
	if got, err := Apply(from, build(1, 8, []byte("what was"), copied(0, 5), literal("was"))); err != nil || string(got) != "what was" {
		t.Fatalf("%q %v", got, err)
	}
	for _, c := range []struct {
		name  string
		delta []byte
		want  error
	}{
		{"empty", nil, ErrNotDelta},
		{"a bundle", sealed(t, bare(t)), ErrNotDelta},
		{"another version", build(2, 0, nil), ErrVersion},
		{"cut", build(1, 8, []byte("what was"), literal("what was"))[:90], cbor.ErrMalformed},
		{"longer than it says", build(1, 3, []byte("what"), literal("what")), ErrDelta},
		{"shorter than it says", build(1, 8, []byte("what was"), literal("what")), ErrDelta},
		{"larger than a bundle", build(1, MaxSize+1, nil), ErrDelta},
		{"a negative size", build(1, -1, nil), ErrDelta},
		{"behind the end", build(1, 4, []byte("what"), copied(9, 4)), ErrDelta},
		{"before the beginning", build(1, 4, []byte("what"), copied(-1, 4)), ErrDelta},
		{"a length that overflows", build(1, 4, []byte("what"), copied(1, 1<<62)), ErrDelta},
		{"a piece of three", build(1, 4, []byte("what"), append(cbor.AppendArray(nil, 3), 0, 4, 0)), ErrDelta},
		{"a piece of text", build(1, 4, []byte("what"), cbor.AppendText(nil, "what")), ErrDelta},
		{"other bytes", build(1, 4, []byte("what"), literal("that")), ErrDelta},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := Apply(from, c.delta); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

func FuzzApply(f *testing.F) {
	from := noise(1, 500)
	d, err := Delta(from, slices.Concat(from[:100], []byte("specimen"), from[200:]))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(from, d)
	f.Fuzz(func(t *testing.T, from, delta []byte) {
		if out, err := Apply(from, delta); err == nil && len(out) > MaxSize {
			t.Error("too large")
		}
		made, err := Delta(from, delta)
		if err != nil {
			t.Fatal(err)
		}
		if out, err := Apply(from, made); err != nil || !bytes.Equal(out, delta) {
			t.Errorf("another file: %v", err)
		}
	})
}
