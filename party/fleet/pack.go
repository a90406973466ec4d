package fleet

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"ampoule/device"
	"ampoule/format"
)

// ErrPacked is a block that cannot be read, although it could when it was kept.
const ErrPacked format.Defect = "damaged-block"

// pack writes readings that are not signed yet: varints of what each time and value
// differs from the one before, the first from zero.
func pack(dst []byte, readings []device.Reading) []byte {
	var last device.Reading
	for _, r := range readings {
		dst = binary.AppendVarint(dst, r.At-last.At)
		dst = binary.AppendVarint(dst, int64(r.Value)-int64(last.Value))
		last = r
	}
	return dst
}

// unpack reads what [pack] has written.
func unpack(dst []device.Reading, data []byte) ([]device.Reading, error) {
	var at, value int64
	for len(data) > 0 {
		dt, n := binary.Varint(data)
		if n <= 0 {
			return nil, fmt.Errorf("open block: %w", ErrPacked)
		}
		dv, m := binary.Varint(data[n:])
		if m <= 0 {
			return nil, fmt.Errorf("open block: %w", ErrPacked)
		}
		at, value, data = at+dt, value+dv, data[n+m:]
		if value < math.MinInt32 || value > math.MaxInt32 {
			return nil, fmt.Errorf("open block: %w", ErrPacked)
		}
		dst = append(dst, device.Reading{At: at, Value: int32(value)})
	}
	return dst, nil
}

// Readings are those of a block, in the order of their times.
func (b *Block) Readings(dst []device.Reading) ([]device.Reading, error) {
	if b.Origin == Open {
		return unpack(dst, b.Data)
	}
	s, err := device.ParseSegment(b.Data)
	if err != nil {
		return nil, fmt.Errorf("block %d: %w: %w", b.N, ErrPacked, err)
	}
	return append(dst, s.Readings...), nil
}

// OpenBlock makes an open block of readings, which are in the order of their times.
func OpenBlock(stream int64, level device.Level, received time.Time, readings []device.Reading) Block {
	b := Block{Stream: stream, Origin: Open, Level: level, Received: received, Data: pack(nil, readings)}
	b.measure(readings)
	return b
}

// measure sets what a block says of its readings.
func (b *Block) measure(readings []device.Reading) {
	b.Count = len(readings)
	b.First, b.Last = readings[0].At, readings[len(readings)-1].At
	b.Low, b.High = readings[0].Value, readings[0].Value
	for _, r := range readings {
		b.Low, b.High = min(b.Low, r.Value), max(b.High, r.Value)
	}
}
