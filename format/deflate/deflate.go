// Package deflate reads and writes raw DEFLATE streams (RFC 1951), as they
// stand in JSON Web Signatures and encrypted files with "zip":"DEF". The reader
// is for streams that an outsider made: it stops at a limit, and the stream must
// end exactly where its data ends.
package deflate

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"ampoule/format"

	"github.com/klauspost/compress/flate"
)

// The defects of a stream.
const (
	ErrEmpty     = format.Defect("empty")
	ErrTruncated = format.Defect("truncated")
	ErrCorrupt   = format.Defect("corrupt")
	ErrTrailing  = format.Defect("trailing-bytes")
	ErrTooLarge  = format.Defect("inflated-too-large")
)

// inflater holds what one decompression needs. A new one costs 41 KB of
// garbage, so they are pooled.
type inflater struct {
	in    bytes.Reader // a ByteReader: flate takes no byte more than it needs
	flate io.ReadCloser
	out   [8 << 10]byte // what most streams fit into
}

var inflaters = sync.Pool{New: func() any {
	f := new(inflater)
	f.flate = flate.NewReader(&f.in)
	return f
}}

// Inflate decodes a stream that fills data. At most the given number of bytes
// come out, whatever the stream asks for, and memory grows with what comes out.
func Inflate(data []byte, most int) ([]byte, error) {
	if len(data) == 0 {
		return nil, fmt.Errorf("DEFLATE: %w", ErrEmpty)
	}
	f := inflaters.Get().(*inflater)
	defer inflaters.Put(f)
	f.in.Reset(data)
	if err := f.flate.(flate.Resetter).Reset(&f.in, nil); err != nil {
		return nil, fmt.Errorf("DEFLATE: %w", err)
	}
	// One byte more than the limit shows that there is more.
	out := f.out[:0:min(len(f.out), most+1)]
	for {
		if len(out) == cap(out) {
			out = append(make([]byte, 0, min(2*cap(out), most+1)), out...)
		}
		n, err := f.flate.Read(out[len(out):cap(out)])
		out = out[:len(out)+n]
		switch {
		case len(out) > most:
			return nil, fmt.Errorf("DEFLATE: more than %d bytes: %w", most, ErrTooLarge)
		case err == nil:
		case errors.Is(err, io.EOF):
			if f.in.Len() > 0 {
				return nil, fmt.Errorf("DEFLATE: %d bytes after the stream: %w", f.in.Len(), ErrTrailing)
			}
			return bytes.Clone(out), nil
		case errors.Is(err, io.ErrUnexpectedEOF):
			return nil, fmt.Errorf("DEFLATE: %w", ErrTruncated)
		default:
			return nil, fmt.Errorf("DEFLATE: %v: %w", err, ErrCorrupt)
		}
	}
}

var deflaters = sync.Pool{New: func() any {
	w, err := flate.NewWriter(io.Discard, flate.BestCompression)
	if err != nil {
		panic(err) // the level is a constant
	}
	return w
}}

// Deflate returns the stream of data, at the best compression: what uses it has
// to fit into a QR code.
func Deflate(data []byte) ([]byte, error) {
	w := deflaters.Get().(*flate.Writer)
	defer deflaters.Put(w)
	var out bytes.Buffer
	w.Reset(&out)
	if _, err := w.Write(data); err != nil {
		return nil, fmt.Errorf("DEFLATE: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("DEFLATE: %w", err)
	}
	return out.Bytes(), nil
}
