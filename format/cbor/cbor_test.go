package cbor

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math"
	"math/big"
	"runtime"
	"slices"
	"strings"
	"testing"

	"ampoule/format"

	fx "github.com/fxamacker/cbor/v2"
	"github.com/google/go-cmp/cmp"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// simple, undefined and tagged are how plain writes what Go has no type for.
type (
	simple    uint8
	undefined struct{}
	tagged    struct {
		Number  uint64
		Content any
	}
	pairs [][2]any
)

// plain turns an item into Go values that can be compared. Integers become
// int64 or, where they do not fit, *big.Int.
func plain(v Value) any {
	switch v.Kind() {
	case Uint, Negative:
		if n, ok := v.Int(); ok {
			return n
		}
		n := new(big.Int).SetUint64(v.node().num)
		if v.Kind() == Negative {
			n.Not(n)
		}
		return n
	case Bytes:
		b, _ := v.Bytes()
		return b
	case Text:
		s, _ := v.Text()
		return s
	case Array:
		a := []any{}
		for e := range v.Elements() {
			a = append(a, plain(e))
		}
		return a
	case Map:
		m := pairs{}
		for k, val := range v.Pairs() {
			m = append(m, [2]any{plain(k), plain(val)})
		}
		return m
	case Tag:
		n, inner, _ := v.Tag()
		return tagged{n, plain(inner)}
	case Bool:
		b, _ := v.Bool()
		return b
	case Null:
		return nil
	case Undefined:
		return undefined{}
	case Simple:
		return simple(v.node().num)
	case Float:
		f, _ := v.Float()
		return f
	}
	panic("no item")
}

var compareNumbers = cmp.Options{
	cmp.Comparer(func(a, b *big.Int) bool { return a.Cmp(b) == 0 }),
	// Bit by bit, but for NaN: a payload is no value.
	cmp.Comparer(func(a, b float64) bool {
		return math.Float64bits(a) == math.Float64bits(b) || math.IsNaN(a) && math.IsNaN(b)
	}),
}

func bigInt(s string) *big.Int {
	n, ok := new(big.Int).SetString(s, 0)
	if !ok {
		panic(s)
	}
	return n
}

type example struct {
	hex  string
	want any
}

// examples are those of RFC 8949 appendix A, all of them, in its order.
var examples = []example{
	{"00", int64(0)},
	{"01", int64(1)},
	{"0a", int64(10)},
	{"17", int64(23)},
	{"1818", int64(24)},
	{"1819", int64(25)},
	{"1864", int64(100)},
	{"1903e8", int64(1000)},
	{"1a000f4240", int64(1000000)},
	{"1b000000e8d4a51000", int64(1000000000000)},
	{"1bffffffffffffffff", bigInt("18446744073709551615")},
	{"c249010000000000000000", tagged{2, []byte{1, 0, 0, 0, 0, 0, 0, 0, 0}}},
	{"3bffffffffffffffff", bigInt("-18446744073709551616")},
	{"c349010000000000000000", tagged{3, []byte{1, 0, 0, 0, 0, 0, 0, 0, 0}}},
	{"20", int64(-1)},
	{"29", int64(-10)},
	{"3863", int64(-100)},
	{"3903e7", int64(-1000)},
	{"f90000", 0.0},
	{"f98000", math.Copysign(0, -1)},
	{"f93c00", 1.0},
	{"fb3ff199999999999a", 1.1},
	{"f93e00", 1.5},
	{"f97bff", 65504.0},
	{"fa47c35000", 100000.0},
	{"fa7f7fffff", 3.4028234663852886e+38},
	{"fb7e37e43c8800759c", 1.0e+300},
	{"f90001", 5.960464477539063e-8},
	{"f90400", 0.00006103515625},
	{"f9c400", -4.0},
	{"fbc010666666666666", -4.1},
	{"f97c00", math.Inf(1)},
	{"f97e00", math.NaN()},
	{"f9fc00", math.Inf(-1)},
	{"fa7f800000", math.Inf(1)},
	{"fa7fc00000", math.NaN()},
	{"faff800000", math.Inf(-1)},
	{"fb7ff0000000000000", math.Inf(1)},
	{"fb7ff8000000000000", math.NaN()},
	{"fbfff0000000000000", math.Inf(-1)},
	{"f4", false},
	{"f5", true},
	{"f6", nil},
	{"f7", undefined{}},
	{"f0", simple(16)},
	{"f8ff", simple(255)},
	{"c074323031332d30332d32315432303a30343a30305a", tagged{0, "2013-03-21T20:04:00Z"}},
	{"c11a514b67b0", tagged{1, int64(1363896240)}},
	{"c1fb41d452d9ec200000", tagged{1, 1363896240.5}},
	{"d74401020304", tagged{23, []byte{1, 2, 3, 4}}},
	{"d818456449455446", tagged{24, []byte("dIETF")}},
	{"d82076687474703a2f2f7777772e6578616d706c652e636f6d", tagged{32, "http://www.example.com"}},
	{"40", []byte{}},
	{"4401020304", []byte{1, 2, 3, 4}},
	{"60", ""},
	{"6161", "a"},
	{"6449455446", "IETF"},
	{"62225c", "\"\\"},
	{"62c3bc", "ü"},
	{"63e6b0b4", "水"},
	{"64f0908591", "𐅑"},
	{"80", []any{}},
	{"83010203", []any{int64(1), int64(2), int64(3)}},
	{"8301820203820405", []any{int64(1), []any{int64(2), int64(3)}, []any{int64(4), int64(5)}}},
	{"98190102030405060708090a0b0c0d0e0f101112131415161718181819", oneTo25},
	{"a0", pairs{}},
	{"a201020304", pairs{{int64(1), int64(2)}, {int64(3), int64(4)}}},
	{"a26161016162820203", pairs{{"a", int64(1)}, {"b", []any{int64(2), int64(3)}}}},
	{"826161a161626163", []any{"a", pairs{{"b", "c"}}}},
	{"a56161614161626142616361436164614461656145", pairs{{"a", "A"}, {"b", "B"}, {"c", "C"}, {"d", "D"}, {"e", "E"}}},
	{"5f42010243030405ff", []byte{1, 2, 3, 4, 5}},
	{"7f657374726561646d696e67ff", "streaming"},
	{"9fff", []any{}},
	{"9f018202039f0405ffff", []any{int64(1), []any{int64(2), int64(3)}, []any{int64(4), int64(5)}}},
	{"9f01820203820405ff", []any{int64(1), []any{int64(2), int64(3)}, []any{int64(4), int64(5)}}},
	{"83018202039f0405ff", []any{int64(1), []any{int64(2), int64(3)}, []any{int64(4), int64(5)}}},
	{"83019f0203ff820405", []any{int64(1), []any{int64(2), int64(3)}, []any{int64(4), int64(5)}}},
	{"9f0102030405060708090a0b0c0d0e0f101112131415161718181819ff", oneTo25},
	{"bf61610161629f0203ffff", pairs{{"a", int64(1)}, {"b", []any{int64(2), int64(3)}}}},
	{"826161bf61626163ff", []any{"a", pairs{{"b", "c"}}}},
	{"bf6346756ef563416d7421ff", pairs{{"Fun", true}, {"Amt", int64(-2)}}},
}

var oneTo25 = func() (a []any) {
	for i := int64(1); i <= 25; i++ {
		a = append(a, i)
	}
	return a
}()

func TestParseExamples(t *testing.T) {
	for _, tt := range examples {
		t.Run(tt.hex, func(t *testing.T) {
			data := unhex(t, tt.hex)
			v, err := Parse(data, DefaultLimits)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, plain(v), compareNumbers); diff != "" {
				t.Errorf("value (-want +got):\n%s", diff)
			}
			if !bytes.Equal(v.Encoded(), data) {
				t.Errorf("Encoded = %x", v.Encoded())
			}
		})
	}
}

// appendPlain encodes what plain can return, as far as there are Append
// functions for it.
func appendPlain(dst []byte, val any) ([]byte, bool) {
	ok := true
	all := func(values ...any) {
		for _, v := range values {
			var this bool
			dst, this = appendPlain(dst, v)
			ok = ok && this
		}
	}
	switch x := val.(type) {
	case int64:
		dst = AppendInt(dst, x)
	case []byte:
		dst = AppendBytes(dst, x)
	case string:
		dst = AppendText(dst, x)
	case nil:
		dst = AppendNull(dst)
	case []any:
		dst = AppendArray(dst, len(x))
		all(x...)
	case pairs:
		dst = AppendMap(dst, len(x))
		for _, p := range x {
			all(p[0], p[1])
		}
	case tagged:
		dst = AppendTag(dst, x.Number)
		all(x.Content)
	default:
		return dst, false
	}
	return dst, ok
}

// TestAppendExamples writes every example whose types can be written, and gets
// the example back where it is in the deterministic encoding. The examples of
// indefinite length come last.
func TestAppendExamples(t *testing.T) {
	firstIndefinite := slices.IndexFunc(examples, func(e example) bool { return e.hex == "5f42010243030405ff" })
	written := 0
	for i, tt := range examples {
		data := unhex(t, tt.hex)
		got, ok := appendPlain(nil, tt.want)
		if !ok {
			continue
		}
		written++
		t.Run(tt.hex, func(t *testing.T) {
			if i >= firstIndefinite {
				v, err := Parse(got, DefaultLimits)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tt.want, plain(v), compareNumbers); diff != "" {
					t.Error(diff)
				}
				return
			}
			if !bytes.Equal(got, data) {
				t.Errorf("got %x", got)
			}
		})
	}
	if written != 50 {
		t.Errorf("%d examples were written, want 50", written)
	}
}

func TestAppendHeads(t *testing.T) {
	for _, tt := range []struct {
		name string
		got  []byte
		hex  string
	}{
		{"23", AppendInt(nil, 23), "17"},
		{"24", AppendInt(nil, 24), "1818"},
		{"255", AppendInt(nil, 255), "18ff"},
		{"256", AppendInt(nil, 256), "190100"},
		{"65535", AppendInt(nil, 65535), "19ffff"},
		{"65536", AppendInt(nil, 65536), "1a00010000"},
		{"2^32-1", AppendInt(nil, 1<<32-1), "1affffffff"},
		{"2^32", AppendInt(nil, 1<<32), "1b0000000100000000"},
		{"most", AppendInt(nil, math.MaxInt64), "1b7fffffffffffffff"},
		{"least", AppendInt(nil, math.MinInt64), "3b7fffffffffffffff"},
		{"-24", AppendInt(nil, -24), "37"},
		{"-25", AppendInt(nil, -25), "3818"},
		{"head of bytes", AppendBytesHead(nil, 300), "59012c"},
		{"array", AppendArray(nil, 24), "9818"},
		{"map", AppendMap(nil, 23), "b7"},
		{"tag", AppendTag(nil, math.MaxUint64), "dbffffffffffffffff"},
		{"after others", AppendText([]byte{1}, "é"), "0162c3a9"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := hex.EncodeToString(tt.got); got != tt.hex {
				t.Errorf("got %s, want %s", got, tt.hex)
			}
		})
	}
}

// deep is n arrays, maps and tags around an integer.
func deep(n int) []byte {
	var b []byte
	for i := range n {
		switch i % 3 {
		case 0:
			b = AppendArray(b, 1)
		case 1:
			b = AppendInt(AppendMap(b, 1), 0)
		case 2:
			b = AppendTag(b, 99)
		}
	}
	return AppendInt(b, 0)
}

func TestParseRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, hex string
		want      format.Defect
	}{
		{"nothing", "", ErrMalformed},
		{"break alone", "ff", ErrMalformed},
		{"break in an array", "81ff", ErrMalformed},
		{"break as a value", "a101ff", ErrMalformed},
		{"break between key and value", "bf01ff", ErrMalformed},
		{"break in a tag", "c1ff", ErrMalformed},
		{"break missing", "9f01", ErrMalformed},
		{"text in chunks of bytes", "7f4161ff", ErrMalformed},
		{"bytes in chunks of text", "5f6161ff", ErrMalformed},
		{"chunk an integer", "5f00ff", ErrMalformed},
		{"chunk indefinite", "5f5f4100ffff", ErrMalformed},
		{"chunk cut", "5f4200ff", ErrMalformed},
		{"chunk huge", "5f5b4000000000000000ff", ErrMalformed},
		{"indefinite integer", "1f", ErrMalformed},
		{"indefinite negative", "3f", ErrMalformed},
		{"indefinite tag", "df00", ErrMalformed},
		{"simple value 0 in two bytes", "f800", ErrMalformed},
		{"simple value 31 in two bytes", "f81f", ErrMalformed},
		{"false in two bytes", "f814", ErrMalformed},
		{"key twice", "a201000100", ErrDuplicateKey},
		{"key twice, longer", "a20100180100", ErrDuplicateKey},
		{"key twice, longest", "a201001b000000000000000100", ErrDuplicateKey},
		{"key twice, negative", "a22000380000", ErrDuplicateKey},
		{"key twice, not side by side", "a3010002000100", ErrDuplicateKey},
		{"text key twice", "a2616100616100", ErrDuplicateKey},
		{"text key twice, chunked", "a2616100 7f6161ff 00", ErrDuplicateKey},
		{"text key twice, chunked twice", "a2 626162 00 7f61616162ff 00", ErrDuplicateKey},
		{"bytes key twice", "a2416100 5f4161ff00", ErrDuplicateKey},
		{"float key twice", "a2 f93c00 00 fa3f800000 00", ErrDuplicateKey},
		{"NaN key twice", "a2 f97e00 00 f97e00 00", ErrDuplicateKey},
		{"true twice", "a2f500f500", ErrDuplicateKey},
		{"null twice", "a2f600f600", ErrDuplicateKey},
		{"simple key twice", "a2f000f000", ErrDuplicateKey},
		{"array key twice", "a2810100 811801 00", ErrDuplicateKey},
		{"array key twice, indefinite", "a2810100 9f01ff 00", ErrDuplicateKey},
		{"map key twice", "a2a1010200 bf180102ff 00", ErrDuplicateKey},
		{"tag key twice", "a2c10100 d8011801 00", ErrDuplicateKey},
		{"key twice, indefinite map", "bf01000100ff", ErrDuplicateKey},
		{"key twice, inside", "81a1 00 a201000100", ErrDuplicateKey},
		{"invalid UTF-8", "61ff", ErrUTF8},
		{"cut UTF-8", "62e6b0", ErrUTF8},
		{"surrogate", "63eda080", ErrUTF8},
		{"overlong", "62c080", ErrUTF8},
		{"invalid UTF-8 in a chunk", "7f61ffff", ErrUTF8},
		// RFC 8949 section 3.2.3: a character cannot be split between chunks.
		{"character in two chunks", "7f61c361bcff", ErrUTF8},
		{"invalid UTF-8 in a key", "a161ff00", ErrUTF8},
		{"integer after the item", "0000", ErrTrailing},
		{"break after the item", "00ff", ErrTrailing},
		{"array one short", "8100ff", ErrTrailing},
	} {
		t.Run(tt.name, func(t *testing.T) {
			refused(t, unhex(t, tt.hex), DefaultLimits, tt.want)
		})
	}
	for major := range 8 {
		for info := 28; info <= 30; info++ {
			t.Run(fmt.Sprintf("major %d info %d", major, info), func(t *testing.T) {
				data := append([]byte{byte(major<<5 | info)}, make([]byte, 32)...)
				refused(t, data, DefaultLimits, ErrMalformed)
			})
		}
	}
}

func refused(t *testing.T, data []byte, lim Limits, want error) {
	t.Helper()
	v, err := Parse(data, lim)
	if !errors.Is(err, want) {
		t.Errorf("Parse(%.40x) = %v, want %v", data, err, want)
	}
	if v.Exists() {
		t.Error("an item beside the error")
	}
}

// TestParseTruncated cuts every example everywhere: a prefix of an item is
// never an item.
func TestParseTruncated(t *testing.T) {
	for _, tt := range examples {
		t.Run(tt.hex, func(t *testing.T) {
			data := unhex(t, tt.hex)
			for n := range data {
				refused(t, data[:n], DefaultLimits, ErrMalformed)
			}
		})
	}
}

func TestParseAccepts(t *testing.T) {
	for _, tt := range []struct {
		name, hex string
		want      any
	}{
		{"integer and float as keys", "a2 01 00 f93c00 00", pairs{{int64(1), int64(0)}, {1.0, int64(0)}}},
		{"zeros of both signs as keys", "a2 f90000 00 f98000 00", pairs{{0.0, int64(0)}, {math.Copysign(0, -1), int64(0)}}},
		{"text and bytes as keys", "a2 6161 00 4161 00", pairs{{"a", int64(0)}, {[]byte("a"), int64(0)}}},
		{"1 and -2 as keys", "a2 01 00 21 00", pairs{{int64(1), int64(0)}, {int64(-2), int64(0)}}},
		{"false and simple value 0 as keys", "a2 f4 00 e0 00", pairs{{false, int64(0)}, {simple(0), int64(0)}}},
		{"arrays as keys", "a2 8101 00 820101 00", pairs{{[]any{int64(1)}, int64(0)}, {[]any{int64(1), int64(1)}, int64(0)}}},
		{"tags as keys", "a2 c101 00 c201 00", pairs{{tagged{1, int64(1)}, int64(0)}, {tagged{2, int64(1)}, int64(0)}}},
		{"same key, other map", "82a10100a10100", []any{pairs{{int64(1), int64(0)}}, pairs{{int64(1), int64(0)}}}},
		{"same value twice", "a2 01 07 02 07", pairs{{int64(1), int64(7)}, {int64(2), int64(7)}}},
		{"chunks, none", "7fff", ""},
		{"chunks, empty", "5f404040ff", []byte{}},
		{"NUL in text", "6100", "\x00"},
		{"least integer", "3b7fffffffffffffff", int64(math.MinInt64)},
		{"below the least", "3b8000000000000000", bigInt("-9223372036854775809")},
		{"above the most", "1b8000000000000000", bigInt("9223372036854775808")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v, err := Parse(unhex(t, tt.hex), DefaultLimits)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, plain(v), compareNumbers); diff != "" {
				t.Errorf("value (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	mapOf := func(n int, indefinite bool) []byte {
		b := AppendMap(nil, n)
		if indefinite {
			b = []byte{0xbf}
		}
		for i := range n {
			b = AppendNull(AppendInt(b, int64(i)))
		}
		if indefinite {
			b = append(b, 0xff)
		}
		return b
	}
	arrayOf := func(n int) []byte { return append(AppendArray(nil, n), make([]byte, n)...) }
	tags := func(n int) []byte { return append(bytes.Repeat([]byte{0xc1}, n), 0) }
	for _, tt := range []struct {
		name string
		data []byte
		lim  Limits
		want error
	}{
		{"depth 16", deep(16), DefaultLimits, nil},
		{"depth 17", deep(17), DefaultLimits, ErrDepth},
		{"16 empty arrays", bytes.Repeat([]byte{0x9f}, 16), DefaultLimits, ErrMalformed},
		{"17 unfinished arrays", bytes.Repeat([]byte{0x9f}, 17), DefaultLimits, ErrDepth},
		{"200,000 arrays", bytes.Repeat([]byte{0x81}, 200_000), DefaultLimits, ErrDepth},
		{"16 tags", tags(16), DefaultLimits, nil},
		{"17 tags", tags(17), DefaultLimits, ErrDepth},
		{"depth in a key", append(AppendMap(nil, 1), append(deep(16), 0)...), DefaultLimits, ErrDepth},
		{"no depth, scalar", []byte{0}, Limits{Depth: 0, Items: 1}, nil},
		{"no depth, empty array", []byte{0x80}, Limits{Depth: 0, Items: 1}, ErrDepth},
		{"256 pairs", mapOf(256, false), DefaultLimits, nil},
		{"257 pairs", mapOf(257, false), DefaultLimits, ErrTooManyItems},
		{"256 pairs, indefinite", mapOf(256, true), DefaultLimits, nil},
		{"257 pairs, indefinite", mapOf(257, true), DefaultLimits, ErrTooManyItems},
		{"8192 items", arrayOf(8191), DefaultLimits, nil},
		{"8193 items", arrayOf(8192), DefaultLimits, ErrTooManyItems},
		{"3 items", mapOf(1, false), Limits{Depth: 1, Items: 3, Pairs: 1}, nil},
		{"3 items of 2", mapOf(1, false), Limits{Depth: 1, Items: 2, Pairs: 1}, ErrTooManyItems},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.want != nil {
				refused(t, tt.data, tt.lim, tt.want)
				return
			}
			if _, err := Parse(tt.data, tt.lim); err != nil {
				t.Error(err)
			}
		})
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

// TestClaimedLengths shows that no length is believed before its bytes are
// there.
func TestClaimedLengths(t *testing.T) {
	for _, tt := range []struct{ name, hex string }{
		{"bytes", "5b4000000000000000"},
		{"text", "7b4000000000000000"},
		{"array", "9b4000000000000000"},
		{"map", "bb4000000000000000"},
		{"bytes of 2^64-1", "5bffffffffffffffff"},
		{"array of 2^63", "9b8000000000000000"},
		{"map of 2^63", "bb8000000000000000"},
		{"array of 2^32", "9affffffff00"},
		{"map of 2^31", "ba800000000000"},
		{"map of one pair more", "a3000001010200"[:12]},
		{"nested", "9a00ffffff9a00ffffff9a00ffffff"},
		{"chunk", "5f5b4000000000000000"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			data := unhex(t, tt.hex)
			if n := allocated(func() { refused(t, data, DefaultLimits, ErrMalformed) }); n > 16<<10 {
				t.Errorf("%d bytes allocated", n)
			}
		})
	}
}

// TestMemory holds the promise of DefaultLimits on inputs that make the tree
// as large as it gets.
func TestMemory(t *testing.T) {
	full := append(AppendArray(nil, 64<<10-4), make([]byte, 64<<10-4)...)
	chunks := append([]byte{0x5f}, bytes.Repeat([]byte{0x40}, 64<<10)...)
	for name, data := range map[string][]byte{
		"items":          full,
		"open arrays":    bytes.Repeat([]byte{0x9f}, 64<<10),
		"chunks":         append(chunks, 0xff),
		"chunks of text": append(append([]byte{0x7f}, bytes.Repeat([]byte("\x61a"), 32<<10)...), 0xff),
	} {
		t.Run(name, func(t *testing.T) {
			if n := allocated(func() { Parse(data, DefaultLimits) }); n > 2<<20 {
				t.Errorf("%d bytes allocated", n)
			}
		})
	}
}

// TestHalf decodes every half-precision float and compares with the formula
// that RFC 8949 appendix D derives it from, by way of another library.
func TestHalf(t *testing.T) {
	mode, err := fx.DecOptions{}.DecMode()
	if err != nil {
		t.Fatal(err)
	}
	for h := range 1 << 16 {
		data := []byte{0xf9, byte(h >> 8), byte(h)}
		v, err := Parse(data, DefaultLimits)
		if err != nil {
			t.Fatal(err)
		}
		got, ok := v.Float()
		var want float64
		if err := mode.Unmarshal(data, &want); err != nil {
			t.Fatal(err)
		}
		if !ok || math.Float64bits(got) != math.Float64bits(want) && !(math.IsNaN(got) && math.IsNaN(want)) {
			t.Fatalf("%04x is %v, want %v", h, got, want)
		}
	}
}

func TestAppendJSON(t *testing.T) {
	for _, tt := range []struct{ name, hex, want string }{
		{"integer", "1903e8", `1000`},
		{"negative", "3903e7", `-1000`},
		{"largest", "1bffffffffffffffff", `18446744073709551615`},
		{"smallest", "3bffffffffffffffff", `-18446744073709551616`},
		{"one above the smallest", "3bfffffffffffffffe", `-18446744073709551615`},
		{"text", "63e6b0b4", `"水"`},
		{"text, quoted", "63225c0a", `"\"\\\n"`},
		{"bytes", "4401020304", `"h'01020304'"`},
		{"empty", "8380a060", `[[],{},""]`},
		{"map", "a26161016162820203", `{"a":1,"b":[2,3]}`},
		{"integer keys", "a2200104f6", `{"-1":1,"4":null}`},
		{"key of bytes", "a1410100", `{"\"h'01'\"":0}`},
		{"key an array", "a1811801f5", `{"h'811801'":true}`},
		{"key a map", "a1a0f4", `{"h'a0'":false}`},
		{"key tagged", "a1c10100", `{"h'c101'":0}`},
		{"tags", "c1c201", `1`},
		{"floats", "85f93e00f98000f97c00f97e00fb7e37e43c8800759c", `[1.5,-0,null,null,1e+300]`},
		{"simple values", "84f6f7f0f8ff", `[null,null,16,255]`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v, err := Parse(unhex(t, tt.hex), DefaultLimits)
			if err != nil {
				t.Fatal(err)
			}
			got := string(v.AppendJSON(nil))
			if got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if !json.Valid([]byte(got)) {
				t.Error("not JSON")
			}
			if got := string(v.AppendJSON([]byte("x"))); got != "x"+tt.want {
				t.Errorf("appended: %s", got)
			}
		})
	}
	if got := string(Value{}.AppendJSON(nil)); got != "null" {
		t.Errorf("nothing is %s", got)
	}
}

// TestAppendJSONSize keeps maps inside keys of maps from doubling the output
// with every level.
func TestAppendJSONSize(t *testing.T) {
	data := AppendText(nil, strings.Repeat(`"`, 1000))
	for range 16 {
		data = AppendNull(append(AppendMap(nil, 1), data...))
	}
	v, err := Parse(data, DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(v.AppendJSON(nil)); n > 8*len(data) {
		t.Errorf("%d bytes of JSON from %d bytes", n, len(data))
	}
}

func TestValue(t *testing.T) {
	v, err := Parse(unhex(t, "a7 6161 01 6162 82 02 03 01 6178 20 4179 63 6e696c f6 6175 f7 6174 c1c2 f5"), DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	if v.Len() != 7 || v.Kind() != Map || !v.Exists() || v.IsNull() {
		t.Errorf("Len %d, Kind %v, Exists %v, IsNull %v", v.Len(), v.Kind(), v.Exists(), v.IsNull())
	}
	if n, ok := v.Get("a").Int(); !ok || n != 1 {
		t.Errorf("a = %d, %v", n, ok)
	}
	b := v.Get("b")
	if n, ok := b.Index(1).Int(); !ok || n != 3 || b.Len() != 2 {
		t.Errorf("b[1] = %d, %v", n, ok)
	}
	for _, i := range []int{-1, 2} {
		if b.Index(i).Exists() {
			t.Errorf("b[%d] exists", i)
		}
	}
	if s, ok := v.GetInt(1).Text(); !ok || s != "x" {
		t.Errorf("1 = %q, %v", s, ok)
	}
	if s, ok := v.GetInt(-1).ByteString(); !ok || s != "y" {
		t.Errorf("-1 = %q, %v", s, ok)
	}
	if !v.Get("nil").IsNull() || !v.Get("nil").Exists() || !v.Get("u").IsNull() {
		t.Error("null is not there")
	}
	if val, ok := v.Get("t").Untagged().Bool(); !ok || !val {
		t.Errorf("t = %v, %v", val, ok)
	}
	if _, ok := v.Get("t").Bool(); ok {
		t.Error("a tag was taken for its content")
	}
	if number, inner, ok := v.Get("t").Tag(); !ok || number != 1 || inner.Kind() != Tag {
		t.Errorf("t is tag %d around %v", number, inner.Kind())
	}
	if got := v.Get("b").Encoded(); !bytes.Equal(got, []byte{0x82, 2, 3}) {
		t.Errorf("b was received as %x", got)
	}
	first := func(seq iter.Seq2[Value, Value]) (n int) {
		for range seq {
			n++
			break
		}
		return n
	}
	if first(v.Pairs()) != 1 {
		t.Error("no pair")
	}
	for e := range b.Elements() {
		if n, _ := e.Int(); n != 2 {
			t.Errorf("first element %d", n)
		}
		break
	}

	copied, _ := v.GetInt(-1).Bytes()
	copied[0] = 0
	if s, _ := v.GetInt(-1).ByteString(); s != "y" {
		t.Error("a caller changed the document")
	}
}

// TestParseCopies shows that the caller may reuse its buffer.
func TestParseCopies(t *testing.T) {
	data := []byte{0x61, 'a'}
	v, err := Parse(data, DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	data[1] = 'b'
	if s, _ := v.Text(); s != "a" {
		t.Errorf("text %q", s)
	}
}

// TestWrongKind asks every item of every kind, and the missing one, for what
// it is not.
func TestWrongKind(t *testing.T) {
	kinds := map[Kind]string{
		Missing: "", Uint: "07", Negative: "20", Bytes: "4101", Text: "6161", Array: "8101", Map: "a161610f",
		Tag: "c101", Bool: "f5", Null: "f6", Undefined: "f7", Simple: "f0", Float: "f93c00",
	}
	if len(kinds) != len(kindNames) {
		t.Fatalf("%d kinds of %d", len(kinds), len(kindNames))
	}
	names := make(map[string]bool)
	for kind := range maps.Keys(kinds) {
		names[kind.String()] = true
		t.Run(kind.String(), func(t *testing.T) {
			var v Value
			if kind != Missing {
				var err error
				if v, err = Parse(unhex(t, kinds[kind]), DefaultLimits); err != nil {
					t.Fatal(err)
				}
			}
			if v.Kind() != kind || v.Exists() != (kind != Missing) {
				t.Errorf("Kind = %v, Exists = %v", v.Kind(), v.Exists())
			}
			answers := make(map[string]bool)
			n, isInt := v.Int()
			answers["Int"] = isInt || n != 0
			f, isFloat := v.Float()
			answers["Float"] = isFloat || f != 0
			b, isBool := v.Bool()
			answers["Bool"] = isBool || b
			s, isText := v.Text()
			answers["Text"] = isText || s != ""
			raw, isBytes := v.Bytes()
			answers["Bytes"] = isBytes || raw != nil
			s, isBytes = v.ByteString()
			answers["ByteString"] = isBytes || s != ""
			number, inner, isTag := v.Tag()
			answers["Tag"] = isTag || number != 0 || inner.Exists()
			answers["Len"] = v.Len() != 0
			answers["Index"] = v.Index(0).Exists()
			for range v.Elements() {
				answers["Elements"] = true
			}
			for range v.Pairs() {
				answers["Pairs"] = true
			}
			answers["Get"] = v.Get("a").Exists()
			answers["GetInt"] = v.GetInt(7).Exists()
			answers["IsNull"] = v.IsNull()
			answers["Encoded"] = v.Encoded() != nil
			answers["Untagged"] = v.Untagged() != v
			for name, got := range answers {
				if !got {
					delete(answers, name)
				}
			}
			want := map[string]bool{"Encoded": true}
			for _, name := range map[Kind][]string{
				Uint: {"Int"}, Negative: {"Int"}, Bytes: {"Bytes", "ByteString"}, Text: {"Text"},
				Array: {"Len", "Index", "Elements"}, Map: {"Len", "Pairs", "Get"}, Tag: {"Tag", "Untagged"},
				Bool: {"Bool"}, Null: {"IsNull"}, Undefined: {"IsNull"}, Float: {"Float"},
			}[kind] {
				want[name] = true
			}
			if kind == Missing {
				delete(want, "Encoded")
			}
			if diff := cmp.Diff(want, answers); diff != "" {
				t.Errorf("methods that answered (-want +got):\n%s", diff)
			}
		})
	}
	if len(names) != len(kinds) {
		t.Error("two kinds have one name")
	}
	for _, data := range []string{"1b8000000000000000", "3b8000000000000000"} {
		v, err := Parse(unhex(t, data), DefaultLimits)
		if err != nil {
			t.Fatal(err)
		}
		if n, ok := v.Int(); ok || n != 0 {
			t.Errorf("%s as int64 is %d, %v", data, n, ok)
		}
	}
}
