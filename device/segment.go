package device

import (
	"crypto"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"

	"ampoule/format"
	"ampoule/format/cbor"
	"ampoule/format/cose"
	"ampoule/format/oid"
)

// The kinds of defect of what this package reads, besides those of [cbor] and
// [cose].
const (
	ErrRange    format.Defect = "out-of-range"
	ErrSize     format.Defect = "too-large"
	ErrTimes    format.Defect = "times-not-ascending"
	ErrReadings format.Defect = "bad-readings"
	ErrQuantity format.Defect = "unknown-quantity"
)

// Bounds of a segment.
const (
	MaxSegment  = 64 << 10 // bytes
	MaxReadings = 16384

	// SealSize is at how many readings a segment is worth closing: one costs some 160
	// bytes by itself, which is less than a byte for each of so many.
	SealSize = 240

	// MaxTime is the last second of the year 9999.
	MaxTime = 253402300799

	maxID = oid.MaxOctets
)

// Hash is a SHA-256.
type Hash = [sha256.Size]byte

// Clock is what the times of a segment rest on.
type Clock uint8

// The clocks.
const (
	ClockUnset Clock = iota // never set: times count from the start of the device
	ClockFree               // was set once, and runs by itself
	ClockSet                // follows a source of time
)

func (c Clock) String() string {
	if int(c) < len(clockNames) {
		return clockNames[c]
	}
	return fmt.Sprintf("clock %d", uint8(c))
}

var clockNames = [...]string{"unset", "free", "set"}

// quantities are the codes of a segment: a quantity is known by its place, from 1.
var quantities = [...]Quantity{Temperature, Humidity, Door, Compressor, Supply, Holdover, Battery, Ambient}

// Segment is one signed batch of readings of one stream (docs/spec/segment.md).
//
//	Segment = #6.18([                        ;; COSE_Sign1
//	    protected:   bstr .cbor {1: alg, 4: kid},   ;; ES256 or Ed25519
//	    unprotected: {},
//	    payload:     bstr .cbor [
//	        device:   bstr,           ;; object identifier, DER content octets
//	        stream:   uint,           ;; which of its sensors
//	        quantity: 1..8,
//	        seq:      uint,           ;; +1 per segment, from 1
//	        prev:     bstr .size 32,  ;; SHA-256 of the COSE_Sign1 before; zeros for the first
//	        start:    uint,           ;; time of the first reading, seconds
//	        interval: uint,           ;; seconds between readings; 0: none is kept
//	        step:     uint,           ;; every value is a multiple of it
//	        clock:    0..2,
//	        times:    bstr,           ;; empty: at every interval; else what each distance differs from it
//	        values:   bstr            ;; in steps; the first, then differences
//	    ],
//	    signature:   bstr .size 64
//	])
//	times, values = varints, least significant group first, of zigzag numbers
//	kid           = first 8 bytes of the thumbprint of the key (RFC 9679)
//
// A chain is the segments of one stream by one signer: the device, or a gateway that
// seals what came to it unsigned.
type Segment struct {
	Device   ID
	Stream   uint64
	Quantity Quantity
	Seq      uint64
	Prev     Hash
	Start    int64 // of the first reading
	Interval int64
	Clock    Clock
	Readings []Reading // one at least, in the order of their times

	// Step is in what the values are counted; Sign chooses it.
	Step  int32
	Count int // of readings

	envelope      // Algorithm, KeyID, Hash
	times, values []byte
}

// End is the time of the last reading.
func (s *Segment) End() int64 {
	if n := len(s.Readings); n > 0 {
		return s.Readings[n-1].At
	}
	return s.Start
}

// Sign makes the segment of s.Readings. It sets what follows from them and from the
// key: Start, Step, Count, Algorithm, KeyID and Hash, so that the next segment can
// follow.
func (s *Segment) Sign(random io.Reader, signer crypto.Signer) ([]byte, error) {
	s.Step, s.Count = commonStep(s.Readings), len(s.Readings)
	if s.Count > 0 {
		s.Start = s.Readings[0].At
	}
	payload, err := s.encode()
	if err != nil {
		return nil, fmt.Errorf("segment: %w", err)
	}
	out, err := s.seal(random, signer, payload)
	if err != nil {
		return nil, fmt.Errorf("segment: %w", err)
	}
	if len(out) > MaxSegment {
		return nil, fmt.Errorf("segment: %d bytes: %w", len(out), ErrSize)
	}
	s.Hash = sha256.Sum256(out)
	return out, nil
}

// commonStep is the largest number of which all values are multiples.
func commonStep(readings []Reading) int32 {
	var step int64
	for _, r := range readings {
		for a := int64(r.Value); a != 0; {
			step, a = a, step%a
		}
	}
	if step < 0 {
		step = -step
	}
	// One value of -2^31 alone has a step that does not fit: half of it does.
	if step > math.MaxInt32 {
		step /= 2
	}
	return int32(max(step, 1))
}

// encode writes the payload.
func (s *Segment) encode() ([]byte, error) {
	code := slices.Index(quantities[:], s.Quantity) + 1
	first := s.Seq == 1
	switch {
	case s.Device.Check() != nil:
		return nil, s.Device.Check()
	case code == 0:
		return nil, fmt.Errorf("%.40q: %w", s.Quantity, ErrQuantity)
	case s.Stream > math.MaxInt64, s.Seq < 1, s.Seq > math.MaxInt64, first != (s.Prev == Hash{}), s.Clock > ClockSet, s.Interval < 0, s.Interval > MaxTime:
		return nil, ErrRange
	case len(s.Readings) == 0, len(s.Readings) > MaxReadings:
		return nil, fmt.Errorf("%d readings: %w", len(s.Readings), ErrReadings)
	case s.Readings[0].At < 0, s.Readings[len(s.Readings)-1].At > MaxTime:
		return nil, fmt.Errorf("times: %w", ErrRange)
	}
	var times []byte
	for i := 1; i < len(s.Readings); i++ {
		distance := s.Readings[i].At - s.Readings[i-1].At
		if distance <= 0 {
			return nil, fmt.Errorf("reading %d: %w", i, ErrTimes)
		}
		if times == nil && distance == s.Interval {
			continue
		}
		if times == nil {
			times = make([]byte, i-1, len(s.Readings)+8) // those before differ by nothing
		}
		times = binary.AppendVarint(times, distance-s.Interval)
	}
	values := make([]byte, 0, len(s.Readings)+8)
	var before int64
	for _, r := range s.Readings {
		v := int64(r.Value / s.Step)
		values = binary.AppendVarint(values, v-before)
		before = v
	}
	b := cbor.AppendArray(make([]byte, 0, len(times)+len(values)+120), 11)
	b = cbor.AppendBytes(b, []byte(s.Device))
	b = cbor.AppendInt(b, int64(s.Stream))
	b = cbor.AppendInt(b, int64(code))
	b = cbor.AppendInt(b, int64(s.Seq))
	b = cbor.AppendBytes(b, s.Prev[:])
	b = cbor.AppendInt(b, s.Readings[0].At)
	b = cbor.AppendInt(b, s.Interval)
	b = cbor.AppendInt(b, int64(s.Step))
	b = cbor.AppendInt(b, int64(s.Clock))
	b = cbor.AppendBytes(b, times)
	return cbor.AppendBytes(b, values), nil
}

// ParseSegment reads one segment that fills data, which it goes on to use and which
// must not change. The signature is not looked at: see [Segment.Verify].
func ParseSegment(data []byte) (*Segment, error) {
	s := new(Segment)
	if err := s.parse(data); err != nil {
		return nil, err
	}
	s.Readings = make([]Reading, 0, s.Count)
	if err := s.walk(func(r Reading) { s.Readings = append(s.Readings, r) }); err != nil {
		return nil, err
	}
	return s, nil
}

// ScanSegment is [ParseSegment] without the readings, each of which it hands over once
// instead: what it holds at a time does not grow with their number. Those that were
// handed over before an error are of no segment.
func ScanSegment(data []byte, each func(Reading)) (*Segment, error) {
	s := new(Segment)
	if err := s.parse(data); err != nil {
		return nil, err
	}
	return s, s.walk(each)
}

// parse reads all but the readings, which it counts.
func (s *Segment) parse(data []byte) error {
	if len(data) > MaxSegment {
		return fmt.Errorf("segment: %d bytes: %w", len(data), ErrSize)
	}
	if err := s.open(data); err != nil {
		return fmt.Errorf("segment: %w", err)
	}
	r := reader{rest: s.payload}
	if r.array("payload", 11, 11); r.err == nil {
		s.Device = r.id("device")
		s.Stream = r.number("stream", 0, math.MaxInt64)
		code := r.number("quantity", 0, math.MaxInt64)
		if r.err == nil && (code < 1 || code > uint64(len(quantities))) {
			r.fail("quantity", ErrQuantity)
		}
		if r.err == nil {
			s.Quantity = quantities[code-1]
		}
		s.Seq = r.number("seq", 1, math.MaxInt64)
		s.Prev = r.hash("prev")
		if (s.Seq == 1) != (s.Prev == Hash{}) {
			r.fail("prev", ErrRange)
		}
		s.Start = int64(r.number("start", 0, MaxTime))
		s.Interval = int64(r.number("interval", 0, MaxTime))
		s.Step = int32(r.number("step", 1, math.MaxInt32))
		s.Clock = Clock(r.number("clock", 0, uint64(ClockSet)))
		s.times = r.bytes("times", MaxSegment)
		s.values = r.bytes("values", MaxSegment)
	}
	if err := r.end("payload"); err != nil {
		return fmt.Errorf("segment: %w", err)
	}
	for _, b := range s.values {
		s.Count += int(^b >> 7) // the last byte of a varint has no high bit
	}
	if s.Count < 1 || s.Count > MaxReadings {
		return fmt.Errorf("segment: %d readings: %w", s.Count, ErrReadings)
	}
	s.Hash = sha256.Sum256(data)
	return nil
}

// walk reads the times and the values, of which there are s.Count.
func (s *Segment) walk(each func(Reading)) error {
	at, value, step := s.Start, int64(0), int64(s.Step)
	times, values := s.times, s.values
	irregular := false
	for i := range s.Count {
		if i > 0 {
			at += s.Interval
			if len(s.times) > 0 {
				d, n := varint(times)
				// Both numbers are far from where a sum of two overflows.
				if n == 0 || d < -MaxTime || d > MaxTime {
					return fmt.Errorf("segment: time %d: %w", i, ErrReadings)
				}
				times, at, irregular = times[n:], at+d, irregular || d != 0
				if d <= -s.Interval {
					return fmt.Errorf("segment: reading %d: %w", i, ErrTimes)
				}
			} else if s.Interval == 0 {
				return fmt.Errorf("segment: reading %d: %w", i, ErrTimes)
			}
			if at > MaxTime {
				return fmt.Errorf("segment: time %d: %w", i, ErrRange)
			}
		}
		d, n := varint(values)
		if n == 0 || d < -1<<33 || d > 1<<33 {
			return fmt.Errorf("segment: value %d: %w", i, ErrReadings)
		}
		values = values[n:]
		value += d
		v := value * step
		// The bounds of d and of value before keep the product within 64 bits.
		if value < math.MinInt32 || value > math.MaxInt32 || v < math.MinInt32 || v > math.MaxInt32 {
			return fmt.Errorf("segment: value %d: %w", i, ErrRange)
		}
		each(Reading{At: at, Value: int32(v)})
	}
	switch {
	case len(values) > 0, len(times) > 0:
		return fmt.Errorf("segment: %d and %d bytes beyond the last reading: %w", len(times), len(values), ErrReadings)
	case len(s.times) > 0 && !irregular:
		return fmt.Errorf("segment: times that are at every interval: %w", cose.ErrNotDeterministic)
	}
	return nil
}

// varint reads a zigzag number in its shortest form; n is 0 where there is none.
func varint(b []byte) (v int64, n int) {
	if len(b) > 0 && b[0] < 0x80 {
		return int64(b[0]>>1) ^ -int64(b[0]&1), 1
	}
	v, n = binary.Varint(b)
	if n <= 0 || b[n-1] == 0 {
		return 0, 0
	}
	return v, n
}

// Verify checks the signature under a key that the caller found by KeyID, among those
// of who must have signed.
func (s *Segment) Verify(pub crypto.PublicKey) error {
	if err := s.verify(pub); err != nil {
		return fmt.Errorf("segment %d of stream %d: %w", s.Seq, s.Stream, err)
	}
	return nil
}

// Known reports whether a quantity is one of ours.
func (q Quantity) Known() bool { return slices.Contains(quantities[:], q) }
