package device

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"math"

	"ampoule/format/cbor"
)

// Item is one item of evidence, as it stands there.
type Item struct {
	Kind string // header, certificate, stream, segment, statement, correction, location, anchor, seal
	// Content is what a certificate, segment, statement or seal carries; of the others it is
	// the item itself, in CBOR. It is good until the next item is read.
	Content []byte
}

var itemKinds = [...]string{"header", "certificate", "stream", "segment", "statement", "correction", "location", "anchor", "seal"}

// ScanEvidence hands over the items of evidence, one after the other, until its end or the
// first error. Nothing is verified: that is for [VerifyEvidence].
func ScanEvidence(r io.Reader, each func(Item) error) error {
	in, sum, buf := bufio.NewReaderSize(r, 64<<10), sha256.New(), []byte(nil)
	for n := 0; ; n++ {
		if _, err := in.Peek(1); err == io.EOF && n > 0 {
			return nil
		}
		data, err := readItem(in, &buf, sum)
		if err != nil {
			return fmt.Errorf("evidence: item %d: %w", n, err)
		}
		c := reader{rest: data}
		c.array("item", 2, 6)
		kind := c.number("kind", 0, itemSeal)
		if c.err == nil && (n == 0) != (kind == itemHeader) {
			c.fail("kind", ErrEvidence)
		}
		if c.err != nil {
			return fmt.Errorf("evidence: item %d: %w", n, c.err)
		}
		content := data
		switch kind {
		case itemCertificate, itemSegment, itemStatement, itemSeal:
			if content = c.bytes("content", maxItem); c.end("item") != nil {
				return fmt.Errorf("evidence: item %d: %w", n, c.err)
			}
		default:
			if _, err := cbor.Parse(data, itemLimits); err != nil {
				return fmt.Errorf("evidence: item %d: %w", n, err)
			}
		}
		if err := each(Item{itemKinds[kind], content}); err != nil {
			return err
		}
	}
}

var itemLimits = cbor.Limits{Depth: 4, Items: 4096, Pairs: 1}

// StreamsIn are the streams that evidence names, of which nothing is verified.
func StreamsIn(r io.Reader) (all []Chain, err error) {
	err = ScanEvidence(r, func(i Item) error {
		if i.Kind != "stream" {
			return nil
		}
		c := reader{rest: i.Content}
		c.array("item", 4, 4)
		c.number("kind", itemStream, itemStream)
		s := Chain{Stream: c.number("stream", 0, math.MaxInt64), Sensor: c.text("sensor", maxText), Quantity: quantities[c.number("quantity", 1, uint64(len(quantities)))-1]}
		if len(all) == maxList {
			c.fail("streams", ErrSize)
		}
		all = append(all, s)
		return c.end("item")
	})
	return all, err
}
