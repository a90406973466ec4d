// Package uuid has the identifiers of records.
package uuid

import (
	"encoding/hex"
	"fmt"
	"io"
	"time"

	"ampoule/format"
)

// UUID is of version 7 (RFC 9562 section 5.7): they sort by the time at which they were
// made. The twelve bits after the millisecond are its fraction (section 6.2, method 3), so
// that those of one process sort as made.
type UUID [16]byte

// New makes an identifier.
func New(now time.Time, random io.Reader) (UUID, error) {
	var id UUID
	if _, err := io.ReadFull(random, id[8:]); err != nil {
		return UUID{}, fmt.Errorf("identifier: %w", err)
	}
	ms := now.UnixMilli()
	for i := range 6 {
		id[i] = byte(ms >> (40 - 8*i))
	}
	fraction := now.Nanosecond() % 1e6 << 12 / 1e6
	id[6], id[7] = 0x70|byte(fraction>>8), byte(fraction) // version 7
	id[8] = id[8]&0x3f | 0x80                             // variant 10
	return id, nil
}

// String returns the usual form of a UUID.
func (id UUID) String() string {
	h := hex.EncodeToString(id[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// Parse reads the usual form of a UUID.
func Parse(text string) (UUID, error) {
	var id UUID
	if len(text) != 36 || text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-' {
		return UUID{}, fmt.Errorf("identifier: %w", format.BadValue)
	}
	if _, err := hex.Decode(id[:], []byte(text[:8]+text[9:13]+text[14:18]+text[19:23]+text[24:])); err != nil {
		return UUID{}, fmt.Errorf("identifier: %w", format.BadValue)
	}
	return id, nil
}
