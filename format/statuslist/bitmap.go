package statuslist

import (
	"fmt"

	"ampoule/format"
)

// The kinds of defect of a list, whichever its form. Those of a compressed
// stream are format/deflate's, those of JSON strictjson's, of CBOR cbor's.
const (
	ErrBits     = format.Defect("bad-status-size")    // bits per entry: 1, 2, 4 or 8
	ErrEntries  = format.Defect("bad-list-length")    // none, too many, or not whole bytes
	ErrIndex    = format.Defect("index-out-of-range") // MUST be refused, never taken for valid
	ErrValue    = format.Defect("bad-status-value")   // more than fits an entry
	ErrZlib     = format.Defect("bad-zlib")           // a raw stream, or one with a dictionary
	ErrGzip     = format.Defect("bad-gzip")
	ErrChecksum = format.Defect("bad-checksum")          // Adler-32 or CRC-32 of what was inflated
	ErrEncoding = format.Defect("invalid-character")     // of base64url, or no multibase u
	ErrShape    = format.Defect("not-a-status-list")     // a member missing or of a wrong type
	ErrShort    = format.Defect("status-list-too-short") // fewer entries than hide a holder
)

// MaxBytes bounds a list when it is inflated: 2^28 entries of one bit, or 2^27 of
// our own two.
const MaxBytes = 32 << 20

// Status is the value of one entry.
type Status uint8

// The values of the registry (Token Status List section 7.1). The rest of 8 bits
// is reserved, but for 0x03 and 0x0C to 0x0F, which an application may define.
const (
	Valid     Status = 0
	Invalid   Status = 1 // revoked, annulled, taken back or cancelled: for good
	Suspended Status = 2 // temporarily invalid
	// Superseded is what Ampoule's own lists of two bits mean by the value that is
	// the application's: a corrected credential stands in its place.
	Superseded Status = 3
)

func (s Status) String() string {
	switch {
	case s == Valid:
		return "valid"
	case s == Invalid:
		return "invalid"
	case s == Suspended:
		return "suspended"
	case s == Superseded || s >= 0x0C && s <= 0x0F:
		return fmt.Sprintf("application-specific-%#02x", uint8(s))
	}
	return fmt.Sprintf("reserved-%#02x", uint8(s))
}

// Bitmap is a list of statuses of 1, 2, 4 or 8 bits each. It holds them in the
// order of the Token Status List, the first entry in the least significant bits
// of its byte; the Bitstring Status List has its first entry in the most
// significant ones. Only the two codecs know that there are two orders.
type Bitmap struct {
	bits int
	data []byte
}

// NewBitmap makes a list of valid entries. Entries that do not fill their last
// byte get company.
func NewBitmap(bits, entries int) (*Bitmap, error) {
	if !knownBits(bits) {
		return nil, fmt.Errorf("status list: %d bits: %w", bits, ErrBits)
	}
	per := 8 / bits
	if entries < 1 || entries > MaxBytes*per {
		return nil, fmt.Errorf("status list: %d entries: %w", entries, ErrEntries)
	}
	return &Bitmap{bits, make([]byte, (entries+per-1)/per)}, nil
}

func knownBits(n int) bool { return n == 1 || n == 2 || n == 4 || n == 8 }

// bitmapOf takes bytes in the order of the Token Status List.
func bitmapOf(bits int, data []byte) (*Bitmap, error) {
	switch {
	case !knownBits(bits):
		return nil, fmt.Errorf("status list: %d bits: %w", bits, ErrBits)
	case len(data) == 0 || len(data) > MaxBytes:
		return nil, fmt.Errorf("status list: %d bytes: %w", len(data), ErrEntries)
	}
	return &Bitmap{bits, data}, nil
}

// Bits returns the size of an entry.
func (b *Bitmap) Bits() int { return b.bits }

// Len returns the number of entries.
func (b *Bitmap) Len() int { return len(b.data) * (8 / b.bits) }

func (b *Bitmap) place(index int64) (at int64, shift uint, err error) {
	if index < 0 || index >= int64(b.Len()) {
		return 0, 0, fmt.Errorf("status list: index %d of %d: %w", index, b.Len(), ErrIndex)
	}
	per := int64(8 / b.bits)
	return index / per, uint(index%per) * uint(b.bits), nil
}

// Get returns one status. An index beyond the list is an error: "the Relying
// Party MUST reject" (section 8.3), never valid.
func (b *Bitmap) Get(index int64) (Status, error) {
	at, shift, err := b.place(index)
	if err != nil {
		return 0, err
	}
	return Status(b.data[at] >> shift & (1<<b.bits - 1)), nil
}

// Set changes one status.
func (b *Bitmap) Set(index int64, s Status) error {
	at, shift, err := b.place(index)
	if err != nil {
		return err
	}
	mask := byte(1<<b.bits - 1)
	if byte(s) > mask {
		return fmt.Errorf("status list: value %d in %d bits: %w", s, b.bits, ErrValue)
	}
	b.data[at] = b.data[at]&^(mask<<shift) | byte(s)<<shift
	return nil
}

// Counts returns how many entries have each value that occurs.
func (b *Bitmap) Counts() map[Status]int {
	var bytes [256]int
	for _, c := range b.data {
		bytes[c]++
	}
	counts := make(map[Status]int)
	for c, n := range bytes {
		if n == 0 {
			continue
		}
		for shift := 0; shift < 8; shift += b.bits {
			counts[Status(c>>shift&(1<<b.bits-1))] += n
		}
	}
	return counts
}

// reversed returns the bytes with the entries of each in the other order. The
// bits of one entry keep theirs.
func (b *Bitmap) reversed() []byte {
	var table [256]byte
	mask := 1<<b.bits - 1
	for c := range table {
		for shift := 0; shift < 8; shift += b.bits {
			table[c] |= byte(c >> shift & mask << (8 - b.bits - shift))
		}
	}
	out := make([]byte, len(b.data))
	for i, c := range b.data {
		out[i] = table[c]
	}
	return out
}
