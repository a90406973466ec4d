package hcert

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/adler32"
	"io"
	"sync"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zlib"
)

// inflater holds what one decompression needs. A new one costs 41 KB of
// garbage, so they are pooled.
type inflater struct {
	in    bytes.Reader
	flate io.ReadCloser
	out   [maxInflated + 1]byte
}

// compressed are buffers for what base45 yields.
var compressed = sync.Pool{New: func() any { return new([2 * MaxText / 3]byte) }}

var inflaters = sync.Pool{New: func() any {
	f := new(inflater)
	f.flate = flate.NewReader(&f.in)
	return f
}}

// Inflate decodes a zlib stream (RFC 1950) that fills data. At most
// maxInflated bytes come out, whatever the stream asks for.
func Inflate(data []byte) ([]byte, error) {
	s, err := inflate(data)
	if err != nil {
		return nil, err
	}
	return []byte(s), nil
}

func inflate(data []byte) (string, error) {
	switch {
	case len(data) == 0:
		return "", fmt.Errorf("zlib: %w", ErrZlibEmpty)
	case len(data) < 2:
		return "", fmt.Errorf("zlib: %w", ErrZlibTruncated)
	}
	// RFC 1950 section 2.2: CM 8, CINFO at most 7, FCHECK makes the two bytes a
	// multiple of 31, FDICT announces a dictionary that both sides know.
	cmf, flg := data[0], data[1]
	if cmf&0x0f != 8 || cmf>>4 > 7 || (uint(cmf)<<8|uint(flg))%31 != 0 {
		return "", fmt.Errorf("zlib: header %02x%02x: %w", cmf, flg, ErrZlibHeader)
	}
	if flg&0x20 != 0 {
		return "", fmt.Errorf("zlib: %w", ErrZlibDictionary)
	}

	f := inflaters.Get().(*inflater)
	defer inflaters.Put(f)
	f.in.Reset(data[2:])
	if err := f.flate.(flate.Resetter).Reset(&f.in, nil); err != nil {
		return "", fmt.Errorf("zlib: %w", err)
	}
	n, err := io.ReadFull(f.flate, f.out[:])
	switch {
	case err == nil: // the buffer is one byte larger than what is allowed
		return "", fmt.Errorf("zlib: more than %d bytes: %w", maxInflated, ErrInflatedTooLarge)
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) && f.in.Len() >= 4:
		// ReadFull turns the regular end of the stream into ErrUnexpectedEOF, and so
		// does flate for a stream that is cut; only the first leaves bytes over.
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "", fmt.Errorf("zlib: %w", ErrZlibTruncated)
	default:
		return "", fmt.Errorf("zlib: %v: %w", err, ErrZlibCorrupt)
	}
	var sum [4]byte
	if _, err := io.ReadFull(&f.in, sum[:]); err != nil {
		return "", fmt.Errorf("zlib: no checksum: %w", ErrZlibTruncated)
	}
	if binary.BigEndian.Uint32(sum[:]) != adler32.Checksum(f.out[:n]) {
		return "", fmt.Errorf("zlib: %w", ErrZlibChecksum)
	}
	if f.in.Len() > 0 {
		return "", fmt.Errorf("zlib: %d bytes after the stream: %w", f.in.Len(), ErrZlibTrailing)
	}
	return string(f.out[:n]), nil
}

// Two levels, because a level 9 writer costs 40 times a level 1 writer and
// saves nothing on a certificate of one dose.
var deflaters = map[int]*sync.Pool{
	zlib.BestSpeed:       deflaterPool(zlib.BestSpeed),
	zlib.BestCompression: deflaterPool(zlib.BestCompression),
}

func deflaterPool(level int) *sync.Pool {
	return &sync.Pool{New: func() any {
		w, err := zlib.NewWriterLevel(io.Discard, level)
		if err != nil {
			panic(err) // the levels are constants
		}
		return w
	}}
}

// bestSpeedLimit is the length from which better compression may spare a QR
// version (measured on certificates of one dose: nothing below).
const bestSpeedLimit = 500

// deflate appends the zlib stream of data to out.
func deflate(out *bytes.Buffer, data []byte) error {
	level := zlib.BestSpeed
	if len(data) > bestSpeedLimit {
		level = zlib.BestCompression
	}
	w := deflaters[level].Get().(*zlib.Writer)
	defer deflaters[level].Put(w)
	w.Reset(out)
	if _, err := w.Write(data); err != nil {
		return fmt.Errorf("zlib: %w", err)
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("zlib: %w", err)
	}
	return nil
}
