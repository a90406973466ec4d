package device

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"math/big"
	"runtime"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	gocose "github.com/veraison/go-cose"
	"pgregory.net/rapid"

	"ampoule/format/cbor"
	"ampoule/format/cose"
	"ampoule/format/oid"
)

func id(t testing.TB, dotted string) ID {
	t.Helper()
	o, err := oid.Parse(dotted)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

const specimenDevice = "2.25.329800735698586629295641978511506172918.4.1"

// edKey makes the same Ed25519 key of the same number, ecKey a new P-256 key.
func edKey(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

func ecKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// minutes gives n readings of a fridge, a minute apart: around 5 °C, in hundredths.
func minutes(n int) []Reading {
	all := make([]Reading, n)
	for i := range all {
		all[i] = Reading{At: 1767225600 + 60*int64(i), Value: int32(5000 + 10*math.Round(80*math.Sin(float64(i)/20)))}
	}
	return all
}

func segment(t testing.TB, readings []Reading) *Segment {
	return &Segment{Device: id(t, specimenDevice), Stream: 1, Quantity: Temperature, Seq: 1, Interval: 60, Clock: ClockSet, Readings: readings}
}

func signed(t testing.TB, s *Segment, signer crypto.Signer) []byte {
	t.Helper()
	data, err := s.Sign(rand.Reader, signer)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestSegment(t *testing.T) {
	ec := ecKey(t)
	for _, c := range []struct {
		name     string
		signer   crypto.Signer
		change   func(*Segment)
		step     int32
		readings []Reading
	}{
		{"hundredths", edKey(1), nil, 10, minutes(240)},
		{"P-256", ec, nil, 10, minutes(20)},
		{"one", edKey(1), nil, 4990, []Reading{{0, 4990}}},
		{"nothing but zeros", edKey(1), nil, 1, []Reading{{0, 0}, {60, 0}}},
		{"the extremes", edKey(1), nil, 1, []Reading{{0, math.MinInt32}, {60, math.MaxInt32}, {120, math.MinInt32}}},
		{"the least value alone", edKey(1), nil, 1 << 30, []Reading{{0, math.MinInt32}}},
		{"below zero", edKey(1), nil, 500, []Reading{{0, -500}, {60, -20000}}},
		{"irregular", edKey(1), nil, 1, []Reading{{5, 1}, {65, 2}, {70, 3}, {130, 4}, {MaxTime, 5}}},
		{"without an interval", edKey(1), func(s *Segment) { s.Interval = 0 }, 1, []Reading{{5, 1}, {6, 2}}},
		{"door", edKey(1), func(s *Segment) { s.Quantity, s.Stream, s.Clock = Door, math.MaxInt64, ClockUnset }, 30, []Reading{{0, 0}, {900, 30}}},
		{"the most", edKey(1), nil, 10, minutes(MaxReadings)},
		{"later", edKey(1), func(s *Segment) { s.Seq, s.Prev = math.MaxInt64, Hash{1} }, 7, []Reading{{0, 7}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := segment(t, c.readings)
			if c.change != nil {
				c.change(s)
			}
			data := signed(t, s, c.signer)
			got, err := ParseSegment(data)
			if err != nil {
				t.Fatal(err)
			}
			if err := got.Verify(c.signer.Public()); err != nil {
				t.Error(err)
			}
			if got.Verify(edKey(9).Public()) == nil {
				t.Error("another key verifies")
			}
			kid, err := KeyID(c.signer.Public())
			if err != nil || !bytes.Equal(got.KeyID, kid) || got.Hash != sha256.Sum256(data) || got.Hash != s.Hash || got.Step != c.step || got.Count != len(c.readings) || got.End() != c.readings[len(c.readings)-1].At {
				t.Errorf("%x %x, step %d, %d readings until %d, %v", got.KeyID, got.Hash, got.Step, got.Count, got.End(), err)
			}
			if !slices.Equal(got.Readings, c.readings) || got.Device != s.Device || got.Stream != s.Stream || got.Quantity != s.Quantity || got.Seq != s.Seq || got.Prev != s.Prev || got.Interval != s.Interval || got.Clock != s.Clock || got.Start != c.readings[0].At {
				t.Errorf("comes back as %+v", got)
			}
			var scanned []Reading
			if _, err := ScanSegment(data, func(r Reading) { scanned = append(scanned, r) }); err != nil || !slices.Equal(scanned, c.readings) {
				t.Errorf("scanned: %v, %v", scanned, err)
			}
			// Another's COSE reads and verifies it too.
			var other gocose.Sign1Message
			if err := other.UnmarshalCBOR(data); err != nil {
				t.Fatal(err)
			}
			alg := gocose.AlgorithmES256
			if got.Algorithm == cose.Ed25519 {
				return // go-cose has EdDSA by its older number alone
			}
			verifier, err := gocose.NewVerifier(alg, c.signer.Public())
			if err != nil {
				t.Fatal(err)
			}
			if err := other.Verify(nil, verifier); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestSignRefuses(t *testing.T) {
	ok := []Reading{{0, 1}, {60, 2}}
	for name, c := range map[string]struct {
		change func(*Segment)
		want   error
	}{
		"no device":         {func(s *Segment) { s.Device = "" }, oid.Err},
		"no quantity":       {func(s *Segment) { s.Quantity = "" }, ErrQuantity},
		"seq 0":             {func(s *Segment) { s.Seq = 0 }, ErrRange},
		"a first with prev": {func(s *Segment) { s.Prev[31] = 1 }, ErrRange},
		"a second without":  {func(s *Segment) { s.Seq = 2 }, ErrRange},
		"a stream too far":  {func(s *Segment) { s.Stream = 1 << 63 }, ErrRange},
		"clock 3":           {func(s *Segment) { s.Clock = 3 }, ErrRange},
		"interval below 0":  {func(s *Segment) { s.Interval = -1 }, ErrRange},
		"none":              {func(s *Segment) { s.Readings = nil }, ErrReadings},
		"too many":          {func(s *Segment) { s.Readings = minutes(MaxReadings + 1) }, ErrReadings},
		"a time twice":      {func(s *Segment) { s.Readings = []Reading{{0, 1}, {0, 1}} }, ErrTimes},
		"before 1970":       {func(s *Segment) { s.Readings = []Reading{{-1, 1}} }, ErrRange},
		"after 9999":        {func(s *Segment) { s.Readings = []Reading{{MaxTime + 1, 1}} }, ErrRange},
		"too large": {func(s *Segment) {
			s.Readings = nil
			for i := range int64(MaxReadings) {
				s.Readings = append(s.Readings, Reading{i * 60, int32(math.MaxInt32 * (1 - 2*(i%2)))})
			}
			s.Readings[0].Value--
		}, ErrSize},
	} {
		t.Run(name, func(t *testing.T) {
			s := segment(t, ok)
			c.change(s)
			if _, err := s.Sign(rand.Reader, edKey(1)); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := segment(t, ok).Sign(rand.Reader, p384); !errors.Is(err, cose.ErrKey) {
		t.Errorf("P-384: %v", err)
	}
}

// raw is a payload before it is written, so that a test can write another one.
type raw struct {
	device, prev, times, values                      []byte
	stream, quantity, seq, start, interval, step, ck int64
}

func (p raw) bytes() []byte {
	b := cbor.AppendBytes(cbor.AppendArray(nil, 11), p.device)
	b = cbor.AppendInt(cbor.AppendInt(cbor.AppendInt(b, p.stream), p.quantity), p.seq)
	b = cbor.AppendBytes(b, p.prev)
	for _, n := range []int64{p.start, p.interval, p.step, p.ck} {
		b = cbor.AppendInt(b, n)
	}
	return cbor.AppendBytes(cbor.AppendBytes(b, p.times), p.values)
}

func sealed(t testing.TB, payload []byte) []byte {
	t.Helper()
	key := edKey(1)
	kid, err := KeyID(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	protected := appendHeader(nil, cose.Ed25519, kid)
	signature, err := cose.SignDetached(nil, key, protected, payload)
	if err != nil {
		t.Fatal(err)
	}
	return around(protected, payload, signature)
}

func around(protected, payload, signature []byte) []byte {
	return (&envelope{protected: protected, payload: payload, signature: signature}).append(nil)
}

func TestParseSegmentRefuses(t *testing.T) {
	good := raw{device: []byte(id(t, specimenDevice)), prev: make([]byte, 32), stream: 1, quantity: 1, seq: 1, start: 60, interval: 60, step: 10, ck: 2, values: []byte{2, 2}}
	if _, err := ParseSegment(sealed(t, good.bytes())); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*raw)
		want   error
	}{
		"no device":                 {func(p *raw) { p.device = nil }, oid.Err},
		"a long device":             {func(p *raw) { p.device = bytes.Repeat([]byte{1}, 41) }, ErrRange},
		"a padded device":           {func(p *raw) { p.device = []byte{0x80, 1} }, oid.Err},
		"stream below 0":            {func(p *raw) { p.stream = -1 }, cbor.ErrMalformed},
		"quantity 0":                {func(p *raw) { p.quantity = 0 }, ErrQuantity},
		"quantity 9":                {func(p *raw) { p.quantity = 9 }, ErrQuantity},
		"seq 0":                     {func(p *raw) { p.seq = 0 }, ErrRange},
		"prev of 31":                {func(p *raw) { p.prev = make([]byte, 31) }, ErrRange},
		"first with prev":           {func(p *raw) { p.prev[0] = 1 }, ErrRange},
		"second without":            {func(p *raw) { p.seq = 2 }, ErrRange},
		"start after 9999":          {func(p *raw) { p.start = MaxTime + 1 }, ErrRange},
		"end after 9999":            {func(p *raw) { p.start = MaxTime - 59 }, ErrRange},
		"step 0":                    {func(p *raw) { p.step = 0 }, ErrRange},
		"step beyond 32 bits":       {func(p *raw) { p.step = 1 << 31 }, ErrRange},
		"clock 3":                   {func(p *raw) { p.ck = 3 }, ErrRange},
		"no values":                 {func(p *raw) { p.values = nil }, ErrReadings},
		"an open value":             {func(p *raw) { p.values = []byte{2, 0x82} }, ErrReadings},
		"a padded value":            {func(p *raw) { p.values = []byte{0x82, 0} }, ErrReadings},
		"a value beyond 64 bits":    {func(p *raw) { p.values = append(bytes.Repeat([]byte{0xff}, 10), 1) }, ErrReadings},
		"a value beyond 32 bits":    {func(p *raw) { p.step, p.values = math.MaxInt32, []byte{4} }, ErrRange},
		"values that overflow":      {func(p *raw) { p.values = bytes.Repeat([]byte{0xfe, 0xff, 0xff, 0xff, 0x0f}, 3) }, ErrRange},
		"no interval, no times":     {func(p *raw) { p.interval = 0 }, ErrTimes},
		"a time twice":              {func(p *raw) { p.times = []byte{0x77} }, ErrTimes},
		"a time too far":            {func(p *raw) { p.times = []byte{0x80, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f} }, ErrReadings},
		"times that are needless":   {func(p *raw) { p.times = []byte{0} }, cose.ErrNotDeterministic},
		"more times than values":    {func(p *raw) { p.times = []byte{2, 2} }, ErrReadings},
		"fewer times than values":   {func(p *raw) { p.times, p.values = []byte{2}, []byte{2, 2, 2} }, ErrReadings},
		"too many readings":         {func(p *raw) { p.values = make([]byte, MaxReadings+1) }, ErrReadings},
		"more than a segment holds": {func(p *raw) { p.values = make([]byte, MaxSegment) }, ErrSize},
	} {
		t.Run(name, func(t *testing.T) {
			p := good
			p.prev = slices.Clone(good.prev)
			c.change(&p)
			data := sealed(t, p.bytes())
			if s, err := ParseSegment(data); !errors.Is(err, c.want) {
				t.Errorf("%+v, %v; want %v", s, err, c.want)
			}
			if _, err := ScanSegment(data, func(Reading) {}); !errors.Is(err, c.want) {
				t.Errorf("scanned: %v; want %v", err, c.want)
			}
		})
	}
	// Of the message: another form of each part.
	payload := good.bytes()
	whole := sealed(t, payload)
	long := append([]byte{0x98, 11}, payload[1:]...)
	for name, c := range map[string]struct {
		data []byte
		want error
	}{
		"nothing":               {nil, cbor.ErrMalformed},
		"a byte more":           {append(slices.Clone(whole), 0), cbor.ErrTrailing},
		"without its tag":       {whole[1:], cbor.ErrMalformed},
		"tagged as a CWT":       {append([]byte{0xd8, 61}, whole...), cbor.ErrMalformed},
		"a long head":           {sealed(t, long), cbor.ErrMalformed},
		"twelve elements":       {sealed(t, append(append([]byte{0x8c}, payload[1:]...), 0)), ErrRange},
		"an element more":       {sealed(t, append(slices.Clone(payload), 0)), cbor.ErrTrailing},
		"ten elements":          {sealed(t, append([]byte{0x8a}, payload[1:]...)), ErrRange},
		"ML-DSA-65":             {around(appendHeader(nil, cose.MLDSA65, make([]byte, 8)), payload, make([]byte, 64)), cose.ErrAlgNotAllowed},
		"kid of 7":              {around(appendHeader(nil, cose.ES256, make([]byte, 7)), payload, make([]byte, 64)), cose.ErrHeader},
		"signature of 63":       {around(appendHeader(nil, cose.ES256, make([]byte, 8)), payload, make([]byte, 63)), cose.ErrSignature},
		"crit":                  {around([]byte{0xa3, 1, 0x26, 2, 0x81, 1, 4, 0x48, 0, 0, 0, 0, 0, 0, 0, 0}, payload, make([]byte, 64)), cbor.ErrMalformed},
		"an unprotected header": {bytes.Replace(whole, []byte{0xa0}, []byte{0xa1, 1, 0x32}, 1), cbor.ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			if s, err := ParseSegment(c.data); !errors.Is(err, c.want) {
				t.Errorf("%+v, %v; want %v", s, err, c.want)
			}
		})
	}
}

// TestEveryBit: no bit of a segment can change without being noticed.
func TestEveryBit(t *testing.T) {
	key := edKey(1)
	data := signed(t, segment(t, minutes(30)), key)
	for i := range 8 * len(data) {
		other := slices.Clone(data)
		other[i/8] ^= 1 << (i % 8)
		s, err := ParseSegment(other)
		if err != nil {
			continue
		}
		if s.Verify(key.Public()) == nil {
			t.Errorf("bit %d of byte %d", i%8, i/8)
		}
	}
}

// TestOneSignature: of the two signatures that anybody can make of one under ES256,
// the lesser is written, and the other refused.
func TestOneSignature(t *testing.T) {
	key := ecKey(t)
	for range 20 {
		data := signed(t, segment(t, minutes(3)), key)
		s, err := ParseSegment(data)
		if err != nil || s.Verify(key.Public()) != nil {
			t.Fatal(err)
		}
		other := slices.Clone(data)
		half := other[len(other)-32:]
		new(big.Int).Sub(order, new(big.Int).SetBytes(half)).FillBytes(half)
		e := envelope{Algorithm: s.Algorithm, protected: s.protected, payload: s.payload, signature: other[len(other)-64:]}
		if e.verify(key.Public()) != nil {
			t.Fatal("the other one is no signature")
		}
		if _, err := ParseSegment(other); !errors.Is(err, cose.ErrSignature) {
			t.Errorf("the greater one: %v", err)
		}
	}
}

func TestSegmentComesBack(t *testing.T) {
	device := id(t, specimenDevice)
	rapid.Check(t, func(rt *rapid.T) {
		s := &Segment{
			Device: device, Stream: rapid.Uint64Range(0, math.MaxInt64).Draw(rt, "stream"),
			Quantity: rapid.SampledFrom(quantities[:]).Draw(rt, "quantity"),
			Seq:      1, Interval: rapid.Int64Range(0, 4000).Draw(rt, "interval"),
			Clock: Clock(rapid.IntRange(0, 2).Draw(rt, "clock")),
		}
		at := rapid.Int64Range(0, 1<<33).Draw(rt, "start")
		step := rapid.Int32Range(1, 500).Draw(rt, "step")
		for range rapid.IntRange(1, 50).Draw(rt, "count") {
			s.Readings = append(s.Readings, Reading{at, step * rapid.Int32Range(-4_000_000, 4_000_000).Draw(rt, "value")})
			at += rapid.OneOf(rapid.Just(max(s.Interval, 1)), rapid.Int64Range(1, 100_000)).Draw(rt, "distance")
		}
		data := signed(t, s, edKey(1))
		got, err := ParseSegment(data)
		if err != nil {
			rt.Fatal(err)
		}
		if !slices.Equal(got.Readings, s.Readings) || got.Step%step != 0 && slices.ContainsFunc(s.Readings, func(r Reading) bool { return r.Value != 0 }) {
			rt.Fatalf("step %d of %d, %v", got.Step, step, got.Readings)
		}
		if again, err := got.encode(); err != nil || !bytes.Equal(again, got.payload) {
			rt.Fatalf("%x, %v", again, err)
		}
	})
}

func TestFollow(t *testing.T) {
	chain := make([]*Segment, 4)
	var head Head
	for i := range chain {
		s := segment(t, minutes(2))
		s.Seq, s.Prev = head.Seq+1, head.Hash
		data := signed(t, s, edKey(1))
		parsed, err := ParseSegment(data)
		if err != nil {
			t.Fatal(err)
		}
		if got := head.Follow(parsed); got != Linked {
			t.Fatalf("segment %d: %s", i, got)
		}
		chain[i], head = parsed, parsed.Head()
	}
	other := segment(t, minutes(3))
	signed(t, other, edKey(1))
	third := segment(t, minutes(3))
	third.Seq, third.Prev = 3, Hash{1}
	signed(t, third, edKey(1))
	for name, c := range map[string]struct {
		head Head
		s    *Segment
		want Link
	}{
		"one is missing":             {chain[0].Head(), chain[2], Missing},
		"all before are missing":     {Head{}, chain[2], Missing},
		"of another one before":      {chain[1].Head(), third, Broken},
		"another of the same number": {chain[0].Head(), other, Forked},
		"the head again":             {chain[1].Head(), chain[1], Old},
		"one before the head":        {chain[1].Head(), chain[0], Old},
	} {
		if got := c.head.Follow(c.s); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	for l, want := range []string{"linked", "missing", "broken", "forked", "old"} {
		if got := Link(l).String(); got != want {
			t.Errorf("%d: %s", l, got)
		}
	}
}

// TestSegmentSize: what a reading costs at rest, and what one a minute costs a day.
func TestSegmentSize(t *testing.T) {
	for _, n := range []int{15, 60, 240, 1440} {
		data := signed(t, segment(t, minutes(n)), edKey(1))
		each := float64(len(data)) / float64(n)
		t.Logf("%d readings: %d bytes, %.2f each; a day at one a minute: %d signatures, %d bytes", n, len(data), each, 1440/n, 1440/n*len(data))
		if n >= SealSize && each > 2 {
			t.Errorf("%d readings: %.2f bytes each", n, each)
		}
	}
}

// TestSegmentMemory: what checking takes beside the segment itself does not grow with
// its readings, but for the copy of it that the signature is checked over.
func TestSegmentMemory(t *testing.T) {
	key := ecKey(t)
	for _, n := range []int{60, 240, 1440} {
		data := signed(t, segment(t, minutes(n)), key)
		var before, after runtime.MemStats
		const rounds = 64
		runtime.GC()
		runtime.ReadMemStats(&before)
		for range rounds {
			var least, most int32 = math.MaxInt32, math.MinInt32
			s, err := ScanSegment(data, func(r Reading) { least, most = min(least, r.Value), max(most, r.Value) })
			if err != nil || s.Verify(key.Public()) != nil || least > most {
				t.Fatal(err)
			}
		}
		runtime.ReadMemStats(&after)
		each := (after.TotalAlloc - before.TotalAlloc) / rounds
		t.Logf("%d readings, %d bytes: %d bytes allocated in %d pieces", n, len(data), each, (after.Mallocs-before.Mallocs)/rounds)
		if each > 16<<10 {
			t.Errorf("%d readings: %d bytes", n, each)
		}
	}
}

func FuzzParseSegment(f *testing.F) {
	f.Add(signed(f, segment(f, minutes(5)), edKey(1)))
	f.Add(signed(f, segment(f, []Reading{{5, 1}, {65, 2}, {70, 3}}), edKey(1)))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := ParseSegment(data)
		scanned, err2 := ScanSegment(data, func(Reading) {})
		if (err == nil) != (err2 == nil) {
			t.Fatalf("%v, scanned %v", err, err2)
		}
		if err != nil {
			return
		}
		if diff := cmp.Diff(s.Head(), scanned.Head()); diff != "" {
			t.Error(diff)
		}
		// Whatever is taken is in its one form.
		payload, err := s.encode()
		if err != nil || !bytes.Equal(around(appendHeader(nil, s.Algorithm, s.KeyID), payload, s.signature), data) {
			t.Errorf("%x becomes %x, %v", data, payload, err)
		}
		_ = s.Verify(edKey(1).Public())
	})
}

// BenchmarkSegment has the whole way of 60 readings beside the bare check of the
// signature and decoding that it cannot do without; the ratio is that of a/b.
func BenchmarkSegment(b *testing.B) {
	key := ecKey(b)
	for _, n := range []int{60, 240} {
		data := signed(b, segment(b, minutes(n)), key)
		s, err := ParseSegment(data)
		if err != nil {
			b.Fatal(err)
		}
		digest := sha256.Sum256(data)
		der, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("parse-%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ParseSegment(data); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("whole-%d", n), func(b *testing.B) {
			b.ReportAllocs()
			head := Head{}
			for b.Loop() {
				s, err := ParseSegment(data)
				if err != nil || head.Follow(s) != Linked || s.Verify(key.Public()) != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("bare-%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				readings := make([]Reading, 0, n)
				if err := s.walk(func(r Reading) { readings = append(readings, r) }); err != nil {
					b.Fatal(err)
				}
				digest := sha256.Sum256(data)
				if !ecdsa.VerifyASN1(&key.PublicKey, digest[:], der) {
					b.Fatal("signature")
				}
			}
		})
	}
}
