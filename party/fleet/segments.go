package fleet

import (
	"fmt"

	"ampoule/format"
	"ampoule/format/cbor"
)

// The media types of segments: one (RFC 9052 section 2), or a sequence (RFC 8742).
const (
	MediaSegment  = `application/cose; cose-type="cose-sign1"`
	MediaSegments = "application/cbor-seq"
)

// Bounds of a message of segments.
const (
	MaxSegments     = 1000
	MaxSegmentBytes = 1 << 20 // of all together
)

// Why a message of segments cannot be read.
const (
	ErrSegments     format.Defect = "no-segments"
	ErrManySegments format.Defect = "too-many-segments"
)

// FromSegments takes a message of segments apart. What is in them is for [device] to
// read and verify.
func FromSegments(source Source, body []byte) (*Delivery, error) {
	if len(body) == 0 || len(body) > MaxSegmentBytes {
		return nil, fmt.Errorf("segments: %d bytes: %w", len(body), ErrSegments)
	}
	// A sequence between the bytes of an array without a length is that array. A break
	// among the items ends it early, and what follows then is too much.
	array := make([]byte, 0, len(body)+2)
	array = append(append(append(array, 0x9f), body...), 0xff)
	v, err := cbor.Parse(array, cbor.Limits{Depth: 16, Items: 100 * MaxSegments, Pairs: 64})
	if err != nil {
		return nil, fmt.Errorf("segments: %w", err)
	}
	if v.Len() > MaxSegments {
		return nil, fmt.Errorf("segments: %d: %w", v.Len(), ErrManySegments)
	}
	d := &Delivery{Source: source, Raw: body, Media: MediaSegments}
	for item := range v.Elements() {
		d.Segments = append(d.Segments, item.Encoded())
	}
	return d, nil
}
