// Package dccfilter reads and writes the two filters in which the revocation
// distribution service of the EU DCC gateway hands its hashes out (a slice of
// type BLOOMFILTER or VARHASHLIST). Both answer "perhaps listed" or "certainly
// not listed": what one of them says must be confirmed by the full hash before
// anybody is refused.
//
// The forms are those that the reference programs write; their descriptions
// differ from them. Numbers are big-endian.
//
//	BLOOMFILTER                       VARHASHLIST
//	int16    version, 1               int16    version, 1
//	int8     k, hashes per element    float32  p
//	int8     hash function, 0         int32    n, records
//	float32  p, rate of false hits    int8     size, bytes of a record
//	int32    n, elements planned      n × size bytes, the first of each hash
//	int32    elements added
//	int32    length in words of 32 bits
//	words; bit 0 is the most significant
//
// Index i of an element is SHA-256(element || byte(i)), taken as a signed number,
// modulo the bits of the filter.
package dccfilter

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"sort"

	"ampoule/format"
	"ampoule/format/dccrevocation"
)

// The kinds of defect of a filter.
const (
	ErrKind      = format.Defect("unknown-filter-kind")
	ErrTruncated = format.Defect("truncated")
	ErrTrailing  = format.Defect("trailing-bytes")
	ErrVersion   = format.Defect("unknown-version")
	ErrHash      = format.Defect("unknown-hash-function")
	ErrField     = format.Defect("bad-field")
	ErrTooLarge  = format.Defect("filter-too-large")
)

// MaxBytes bounds a filter: four million hashes at a rate of 1e-12, or their
// prefixes in full. The service cuts its slices far below.
const MaxBytes = 64 << 20

// Kind is a type of filter, as the service's X-SLICE-FILTER-TYPE names it.
type Kind string

// The kinds.
const (
	Bloom       Kind = "BLOOMFILTER"
	VarHashList Kind = "VARHASHLIST"
)

const version = 1

// Filter is a set of hashes that may also find some that were never put in.
type Filter struct {
	Kind Kind
	Rate float32 // the rate of false hits that was asked for; nothing follows from it

	n int
	// Of a Bloom filter.
	k     int
	words []uint32
	// Of a list of prefixes.
	size    int
	records []byte // sorted
}

// Len returns the number of elements that were put in, as the filter says.
func (f *Filter) Len() int { return f.n }

// Parse reads a filter that fills data.
func Parse(kind Kind, data []byte) (*Filter, error) {
	if len(data) > MaxBytes {
		return nil, fmt.Errorf("filter: %d bytes: %w", len(data), ErrTooLarge)
	}
	switch kind {
	case Bloom:
		return parseBloom(data)
	case VarHashList:
		return parseVarHashList(data)
	}
	return nil, fmt.Errorf("filter: %.40q: %w", string(kind), ErrKind)
}

func header(data []byte, size int) error {
	if len(data) < size {
		return fmt.Errorf("filter: %d bytes: %w", len(data), ErrTruncated)
	}
	if v := binary.BigEndian.Uint16(data); v != version {
		return fmt.Errorf("filter: version %d: %w", v, ErrVersion)
	}
	return nil
}

// filled compares the announced length with what is there, before anything is
// allocated.
func filled(rest []byte, announced int64) error {
	switch {
	case int64(len(rest)) < announced:
		return fmt.Errorf("filter: %d bytes of %d: %w", len(rest), announced, ErrTruncated)
	case int64(len(rest)) > announced:
		return fmt.Errorf("filter: %d bytes, %d announced: %w", len(rest), announced, ErrTrailing)
	}
	return nil
}

const bloomHeader = 20

func parseBloom(data []byte) (*Filter, error) {
	if err := header(data, bloomHeader); err != nil {
		return nil, err
	}
	f := &Filter{
		Kind: Bloom, k: int(int8(data[2])), Rate: math.Float32frombits(binary.BigEndian.Uint32(data[4:])),
		n: int(int32(binary.BigEndian.Uint32(data[12:]))),
	}
	length := int32(binary.BigEndian.Uint32(data[16:]))
	switch planned := int32(binary.BigEndian.Uint32(data[8:])); {
	case data[3] != 0:
		return nil, fmt.Errorf("filter: hash function %d: %w", data[3], ErrHash)
	case f.k < 1: // without a hash everything would be found
		return nil, fmt.Errorf("filter: %d hashes: %w", f.k, ErrField)
	case planned < 0 || f.n < 0 || length < 0:
		return nil, fmt.Errorf("filter: a number is negative: %w", ErrField)
	}
	rest := data[bloomHeader:]
	if err := filled(rest, 4*int64(length)); err != nil {
		return nil, err
	}
	f.words = make([]uint32, length)
	for i := range f.words {
		f.words[i] = binary.BigEndian.Uint32(rest[4*i:])
	}
	return f, nil
}

const listHeader = 11

func parseVarHashList(data []byte) (*Filter, error) {
	if err := header(data, listHeader); err != nil {
		return nil, err
	}
	f := &Filter{
		Kind: VarHashList, Rate: math.Float32frombits(binary.BigEndian.Uint32(data[2:])),
		n: int(int32(binary.BigEndian.Uint32(data[6:]))), size: int(data[10]),
	}
	if f.n < 0 || f.size > len(dccrevocation.Hash128{}) || f.size == 0 && f.n > 0 {
		return nil, fmt.Errorf("filter: %d records of %d bytes: %w", f.n, f.size, ErrField)
	}
	rest := data[listHeader:]
	if err := filled(rest, int64(f.n)*int64(f.size)); err != nil {
		return nil, err
	}
	f.setRecords(slices.Clone(rest))
	return f, nil
}

// setRecords keeps records in unsigned order. The reference sorts them as signed
// numbers, and then searches for unsigned ones.
func (f *Filter) setRecords(all []byte) {
	f.records = all
	sort.Sort((*byRecord)(f))
}

// byRecord sorts the records in place.
type byRecord Filter

func (b *byRecord) Len() int { return b.n }
func (b *byRecord) Less(i, j int) bool {
	return string(b.records[i*b.size:(i+1)*b.size]) < string(b.records[j*b.size:(j+1)*b.size])
}
func (b *byRecord) Swap(i, j int) {
	x, y := b.records[i*b.size:(i+1)*b.size], b.records[j*b.size:(j+1)*b.size]
	for n := range x {
		x[n], y[n] = y[n], x[n]
	}
}

// MightContain reports whether a hash may be in the set. It is never in one that
// says no; an empty filter always says no.
func (f *Filter) MightContain(h dccrevocation.Hash128) bool {
	if f.Kind == Bloom {
		return f.inBloom(h)
	}
	return f.inList(h)
}

func (f *Filter) inBloom(h dccrevocation.Hash128) bool {
	if len(f.words) == 0 {
		return false
	}
	for index := range f.indices(h) {
		if f.words[index/32]&(1<<31>>(index%32)) == 0 {
			return false
		}
	}
	return true
}

// indices yields the k bits of a hash.
func (f *Filter) indices(h dccrevocation.Hash128) func(yield func(uint64) bool) {
	m := 32 * uint64(len(f.words))
	// 2^256 mod m: what is to be taken off where the first bit makes it negative.
	_, whole := bits.Div64(1%m, 0, m) // 2^64 mod m
	whole = mulMod(whole, whole, m)
	whole = mulMod(whole, whole, m)
	return func(yield func(uint64) bool) {
		var element [len(h) + 1]byte
		copy(element[:], h[:])
		for i := range f.k {
			element[len(h)] = byte(i)
			sum := sha256.Sum256(element[:])
			var rest uint64
			for at := 0; at < len(sum); at += 8 {
				rest = bits.Rem64(rest, binary.BigEndian.Uint64(sum[at:]), m)
			}
			if sum[0]&0x80 != 0 {
				rest = (rest + m - whole) % m
			}
			if !yield(rest) {
				return
			}
		}
	}
}

func mulMod(a, b, m uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return bits.Rem64(hi, lo, m)
}

func (f *Filter) inList(h dccrevocation.Hash128) bool {
	if f.n == 0 {
		return false
	}
	record := h[:f.size]
	if f.has(record) {
		return true
	}
	// The reference writes a record as the shortest signed number, padded with
	// zeros to its size: FF 80 4E is written as 00 80 4E, which its reader does not
	// find again. So a record beginning in such bytes is looked for in that form.
	var padded dccrevocation.Hash128
	lead := 0
	for lead < f.size-1 && record[lead] == 0xff && record[lead+1] >= 0x80 {
		lead++
	}
	if lead == 0 {
		return false
	}
	copy(padded[lead:], record[lead:])
	return f.has(padded[:f.size])
}

func (f *Filter) has(record []byte) bool {
	i := sort.Search(f.n, func(i int) bool { return string(f.records[i*f.size:(i+1)*f.size]) >= string(record) })
	return i < f.n && string(f.records[i*f.size:(i+1)*f.size]) == string(record)
}

// New makes a filter of the hashes that finds others at no more than the rate. A
// Bloom filter has as few bits as that takes; a list has records of
// ceil((log2 n + log2 1/rate) / 8) bytes, in unsigned order and full width.
func New(kind Kind, rate float64, hashes []dccrevocation.Hash128) (*Filter, error) {
	if !(rate > 0 && rate < 1) {
		return nil, fmt.Errorf("filter: a rate of %g: %w", rate, ErrField)
	}
	// As one hash twice would count twice.
	hashes = slices.Clone(hashes)
	slices.SortFunc(hashes, func(a, b dccrevocation.Hash128) int { return slices.Compare(a[:], b[:]) })
	hashes = slices.Compact(hashes)
	n := len(hashes)
	f := &Filter{Kind: kind, Rate: float32(rate), n: n}
	switch kind {
	case Bloom:
		words := math.Ceil(float64(n) * -math.Log(rate) / (math.Ln2 * math.Ln2) / 32)
		if words > (MaxBytes-bloomHeader)/4 {
			return nil, fmt.Errorf("filter: %d hashes at %g: %w", n, rate, ErrTooLarge)
		}
		f.words, f.k = make([]uint32, int(words)), 1
		if n > 0 {
			f.k = min(max(int(math.Round(words*32/float64(n)*math.Ln2)), 1), math.MaxInt8)
		}
		for _, h := range hashes {
			for index := range f.indices(h) {
				f.words[index/32] |= 1 << 31 >> (index % 32)
			}
		}
	case VarHashList:
		f.size = 1
		if n > 0 {
			f.size = min(max(int(math.Ceil((math.Log2(float64(n))-math.Log2(rate))/8)), 1), len(dccrevocation.Hash128{}))
		}
		if n > (MaxBytes-listHeader)/f.size {
			return nil, fmt.Errorf("filter: %d hashes: %w", n, ErrTooLarge)
		}
		for _, h := range hashes {
			f.records = append(f.records, h[:f.size]...)
		}
	default:
		return nil, fmt.Errorf("filter: %.40q: %w", string(kind), ErrKind)
	}
	return f, nil
}

// Encode writes the filter.
func (f *Filter) Encode() []byte {
	out := binary.BigEndian.AppendUint16(nil, version)
	if f.Kind == Bloom {
		out = append(out, byte(f.k), 0)
		out = binary.BigEndian.AppendUint32(out, math.Float32bits(f.Rate))
		out = binary.BigEndian.AppendUint32(out, uint32(f.n))
		out = binary.BigEndian.AppendUint32(out, uint32(f.n))
		out = binary.BigEndian.AppendUint32(out, uint32(len(f.words)))
		for _, w := range f.words {
			out = binary.BigEndian.AppendUint32(out, w)
		}
		return out
	}
	out = binary.BigEndian.AppendUint32(out, math.Float32bits(f.Rate))
	out = binary.BigEndian.AppendUint32(out, uint32(f.n))
	return append(append(out, byte(f.size)), f.records...)
}
