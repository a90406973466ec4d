package hcert

import (
	"bytes"
	"compress/flate"
	stdzlib "compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/adler32"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"ampoule/format"
)

// compress is the standard library's, another one than that under test.
func compress(t testing.TB, data []byte, level int) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := stdzlib.NewWriterLevel(&b, level)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// stream frames raw DEFLATE data.
func stream(deflated, plain []byte) []byte {
	return binary.BigEndian.AppendUint32(append([]byte{0x78, 0x9c}, deflated...), adler32.Checksum(plain))
}

// stored is one DEFLATE block without compression (RFC 1951 section 3.2.4).
func stored(final byte, data []byte) []byte {
	b := binary.LittleEndian.AppendUint16([]byte{final}, uint16(len(data)))
	return append(binary.LittleEndian.AppendUint16(b, ^uint16(len(data))), data...)
}

// mixed is data with repetitions and without.
func mixed(n int) []byte {
	b := make([]byte, n)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range b {
		b[i] = "ABC"[i%3]
		if i%1000 < 300 {
			b[i] = byte(random.Uint32())
		}
	}
	return b
}

func TestInflate(t *testing.T) {
	for size, plain := range map[string][]byte{
		"empty": {}, "one byte": {0}, "small": mixed(400), "large": mixed(20_000), "64 KiB": mixed(64 << 10), "64 KiB of zeros": make([]byte, 64<<10),
	} {
		for level := stdzlib.HuffmanOnly; level <= stdzlib.BestCompression; level++ {
			t.Run(fmt.Sprintf("%s, level %d", size, level), func(t *testing.T) {
				got, err := Inflate(compress(t, plain, level))
				if err != nil || !bytes.Equal(got, plain) {
					t.Errorf("%d bytes of %d, %v", len(got), len(plain), err)
				}
			})
		}
	}
	for _, tt := range []struct {
		name     string
		deflated []byte
		plain    string
	}{
		{"stored block", stored(1, []byte("abc")), "abc"},
		{"two stored blocks", append(stored(0, []byte("abc")), stored(1, []byte("def"))...), "abcdef"},
		{"empty stored blocks", slices.Concat(stored(0, nil), stored(0, nil), stored(1, nil)), ""},
		{"empty block of fixed codes", []byte{0x03, 0x00}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Inflate(stream(tt.deflated, []byte(tt.plain)))
			if err != nil || string(got) != tt.plain {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

func TestInflateWindows(t *testing.T) {
	plain := []byte("windows of every size")
	for cinfo := range 8 {
		t.Run(fmt.Sprint(256<<cinfo), func(t *testing.T) {
			data := compress(t, plain, 9)
			data[0] = byte(cinfo<<4 | 8)
			data[1] = byte((31 - uint(data[0])<<8%31) % 31)
			if got, err := Inflate(data); err != nil || !bytes.Equal(got, plain) {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

func TestInflateRefuses(t *testing.T) {
	good := compress(t, []byte("some text, some text"), 6)
	wrongSum := slices.Clone(good)
	wrongSum[len(wrongSum)-1] ^= 1
	header := func(cmf, flg byte) []byte { return append([]byte{cmf, flg}, good[2:]...) }
	for _, tt := range []struct {
		name string
		data []byte
		want format.Defect
	}{
		{"empty", nil, ErrZlibEmpty},
		{"one byte", good[:1], ErrZlibTruncated},
		{"header alone", good[:2], ErrZlibTruncated},
		{"header and zeros", append(slices.Clone(good[:2]), 0), ErrZlibTruncated},
		{"gzip", []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0}, ErrZlibHeader},
		{"raw DEFLATE", good[2:], ErrZlibHeader},
		{"not compressed", []byte{0xd2, 0x84, 0x43, 0xa1, 0x01, 0x26}, ErrZlibHeader},
		{"method 7", header(0x77, 0x09), ErrZlibHeader},
		{"window of 64 KiB", header(0x88, 0x1c), ErrZlibHeader},
		{"check bits wrong", header(0x78, 0x9d), ErrZlibHeader},
		{"dictionary", header(0x78, 0xbb), ErrZlibDictionary},
		{"dictionary, named", append([]byte{0x78, 0xbb, 1, 2, 3, 4}, good[2:]...), ErrZlibDictionary},
		{"block type 3", append([]byte{0x78, 0x9c, 0x07}, make([]byte, 8)...), ErrZlibCorrupt},
		{"stored lengths disagree", stream([]byte{1, 3, 0, 0, 0, 'a', 'b', 'c'}, nil), ErrZlibCorrupt},
		{"distance before the start", stream([]byte{0x03, 0x02, 0, 0, 0, 0}, nil), ErrZlibCorrupt},
		{"sum wrong", wrongSum, ErrZlibChecksum},
		{"sum of another text", append(slices.Clone(good[:len(good)-4]), 0, 0, 0, 1), ErrZlibChecksum},
		{"byte after", append(slices.Clone(good), 0), ErrZlibTrailing},
		{"stream after", append(slices.Clone(good), good...), ErrZlibTrailing},
		{"64 KiB and a byte", compress(t, make([]byte, 64<<10+1), 9), ErrInflatedTooLarge},
		{"64 KiB and a byte, stored", compress(t, mixed(64<<10+1), 0), ErrInflatedTooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Inflate(tt.data)
			if !errors.Is(err, tt.want) {
				t.Errorf("Inflate(%.60x) = %v, want %v", tt.data, err, tt.want)
			}
			if got != nil {
				t.Error("data beside the error")
			}
		})
	}
}

// TestInflateTruncated cuts streams of each block type at every byte.
func TestInflateTruncated(t *testing.T) {
	for name, data := range map[string][]byte{
		"stored":        compress(t, mixed(700), 0),
		"fixed codes":   compress(t, []byte("a short text, a short text"), 9),
		"dynamic codes": compress(t, bytes.Repeat(mixed(1500), 2), 9),
		"empty":         compress(t, nil, 9),
	} {
		t.Run(name, func(t *testing.T) {
			for n := 1; n < len(data); n++ {
				if got, err := Inflate(data[:n]); !errors.Is(err, ErrZlibTruncated) || got != nil {
					t.Fatalf("%d of %d bytes: %v", n, len(data), err)
				}
			}
		})
	}
}

// TestInflateCorrupt flips every bit: the result is never another text.
func TestInflateCorrupt(t *testing.T) {
	plain := mixed(1000)
	data := compress(t, plain, 9)
	for bit := range 8 * len(data) {
		changed := slices.Clone(data)
		changed[bit/8] ^= 1 << (bit % 8)
		got, err := Inflate(changed)
		// The compression level and a smaller window are only hints.
		if err == nil && !bytes.Equal(got, plain) {
			t.Fatalf("bit %d: another text", bit)
		}
		if err != nil && format.Reason(err, "") == "" {
			t.Fatalf("bit %d: %v has no reason", bit, err)
		}
	}
}

// allocated runs f once and returns the bytes it took from the heap.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestBomb unpacks 100 MB no further than the limit.
func TestBomb(t *testing.T) {
	// A flushed block stands by itself, so one is enough for all.
	var megabyte bytes.Buffer
	w, err := flate.NewWriter(&megabyte, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, 1_000_000)); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	bomb := stream(append(bytes.Repeat(megabyte.Bytes(), 100), 0x03, 0x00), nil)
	if n, err := io.Copy(io.Discard, flate.NewReader(bytes.NewReader(bomb[2:]))); n != 100_000_000 || err != nil {
		t.Fatalf("the bomb holds %d bytes, %v", n, err)
	}
	start := time.Now()
	n := allocated(func() { _, err = Inflate(bomb) })
	if !errors.Is(err, ErrInflatedTooLarge) {
		t.Errorf("Inflate = %v", err)
	}
	if n > 1<<20 {
		t.Errorf("%d bytes allocated", n)
	}
	if took := time.Since(start); took > time.Second { // some milliseconds even under the race detector
		t.Errorf("took %v", took)
	}
}

// TestInflatePooled shows that what one stream left behind is not seen by the
// next, and that results do not share the pool's memory.
func TestInflatePooled(t *testing.T) {
	first, err := Inflate(compress(t, []byte("first text"), 9))
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range [][]byte{compress(t, make([]byte, 70_000), 9), compress(t, mixed(600), 9)[:300]} {
		if _, err := Inflate(bad); err == nil {
			t.Fatal("accepted")
		}
		// A distance that reaches before the start must not find the old text.
		if _, err := Inflate(stream([]byte{0x03, 0x02, 0, 0, 0, 0}, nil)); !errors.Is(err, ErrZlibCorrupt) {
			t.Errorf("window of another stream: %v", err)
		}
		second, err := Inflate(compress(t, []byte("second"), 9))
		if err != nil || string(second) != "second" {
			t.Errorf("second: %q, %v", second, err)
		}
	}
	if string(first) != "first text" {
		t.Errorf("first became %q", first)
	}
}

// FuzzInflate compares with the standard library, and deflate with both.
func FuzzInflate(f *testing.F) {
	for _, level := range []int{0, 1, 9, stdzlib.HuffmanOnly} {
		f.Add(compress(f, mixed(300), level))
	}
	f.Add(compress(f, make([]byte, 64<<10), 9))
	f.Add(compress(f, make([]byte, 64<<10+1), 9))
	f.Add(stream(stored(1, []byte("abc")), []byte("abc")))
	f.Add(append(compress(f, nil, 9), 0))
	f.Add([]byte{0x78, 0xbb, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := Inflate(data)
		want, whole := standardInflate(data)
		switch {
		case err == nil && (!whole || !bytes.Equal(got, want)):
			t.Errorf("%d bytes; the standard library: %d, whole %v", len(got), len(want), whole)
		case err != nil && whole && len(want) <= maxInflated:
			t.Errorf("%v; the standard library reads %d bytes", err, len(want))
		}
		if len(data) > maxInflated {
			return
		}
		var out bytes.Buffer
		if err := deflate(&out, data); err != nil {
			t.Fatal(err)
		}
		packed := out.Bytes()
		if again, err := Inflate(packed); err != nil || !bytes.Equal(again, data) {
			t.Errorf("deflated and inflated: %v", err)
		}
		if again, whole := standardInflate(packed); !whole || !bytes.Equal(again, data) {
			t.Error("the standard library cannot read what deflate wrote")
		}
	})
}

// standardInflate reads at most one byte more than the limit. whole tells that
// there was one stream, without a dictionary, and nothing after it.
func standardInflate(data []byte) (plain []byte, whole bool) {
	in := bytes.NewReader(data)
	r, err := stdzlib.NewReader(in)
	if err != nil {
		return nil, false
	}
	buf := make([]byte, maxInflated+1)
	n := 0
	for n < len(buf) && err == nil {
		var k int
		k, err = r.Read(buf[n:])
		n += k
	}
	if n == len(buf) {
		return buf, true
	}
	return buf[:n], errors.Is(err, io.EOF) && in.Len() == 0
}
