package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"ampoule/device"
)

// Bounds of sealing.
const (
	// sealAfter is how long readings stay open where there are not enough of them.
	sealAfter = 48 * time.Hour
	// sealStreams is how many streams a round seals.
	sealStreams = 128
	sealMost    = 4096 // readings of one segment
)

// Seal puts open readings into segments signed by this service: those of streams that
// have [device.SealSize] of them, or some that have waited for long. It reports whether
// there may be more. A round that is broken off leaves them open, and is made again.
//
// Readings keep the level at which they came: the signature says since when they have
// not been changed, and nothing of who measured them. Where two readings are of one
// time, the first to come is in one segment and the other, where it differs, in a second:
// nothing that came is dropped.
func (f *Fleet) Seal(ctx context.Context) (more bool, err error) {
	f.start()
	f.round.Lock()
	defer f.round.Unlock()
	if err := f.load(ctx); err != nil {
		return false, err
	}
	streams, err := f.Book.Unsealed(ctx, device.SealSize, f.Now().Add(-sealAfter), sealStreams)
	if err != nil || len(streams) == 0 {
		return false, err
	}
	var all []Sealing
	for i := range streams {
		one, err := f.seal(ctx, &streams[i])
		if errors.Is(err, ErrPacked) {
			continue // said when it was evaluated; it stays as it is
		}
		if err != nil {
			return false, fmt.Errorf("sealing stream %d: %w", streams[i].N, err)
		}
		all = append(all, *one)
	}
	if len(all) == 0 {
		return false, nil
	}
	if err := f.sealed(ctx, all); err != nil {
		return false, err
	}
	return len(streams) == sealStreams, nil
}

// sealOf seals what is open of a device's readings, however few there are, as far as it
// was evaluated.
func (f *Fleet) sealOf(ctx context.Context, id device.ID) error {
	f.start()
	f.round.Lock()
	defer f.round.Unlock()
	if err := f.load(ctx); err != nil {
		return err
	}
	streams, err := f.Book.StreamsOf(ctx, id)
	if err != nil {
		return err
	}
	var all []Sealing
	for i := range streams {
		if streams[i].Open == 0 {
			continue
		}
		one, err := f.seal(ctx, &streams[i])
		if errors.Is(err, ErrPacked) {
			continue // as in Seal
		}
		if err != nil {
			return fmt.Errorf("sealing stream %d: %w", streams[i].N, err)
		}
		if len(one.Sealed) > 0 {
			all = append(all, *one)
		}
	}
	return f.sealed(ctx, all)
}

// sealed writes what was sealed. The caller holds round.
func (f *Fleet) sealed(ctx context.Context, all []Sealing) error {
	if len(all) == 0 {
		return nil
	}
	if err := f.Book.Seal(ctx, all); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range all {
		if w := f.streams[all[i].Stream.N]; w != nil {
			w.stream.Sealed, w.stream.Open, w.stream.Opened = all[i].Stream.Sealed, all[i].Stream.Open, all[i].Stream.Opened
		}
	}
	return nil
}

// seal makes the segments of a stream's open readings.
func (f *Fleet) seal(ctx context.Context, s *Stream) (*Sealing, error) {
	blocks, err := f.Book.OpenBlocks(ctx, s.N, f.cursor)
	if err != nil {
		return nil, err
	}
	out := &Sealing{}
	// Those that came at one level: a segment has one.
	for _, level := range []device.Level{device.LevelFile, device.LevelToken, device.LevelMutual} {
		var kept, rest []device.Reading
		var received time.Time
		for i := range blocks {
			if blocks[i].Level != level {
				continue
			}
			if kept, err = blocks[i].Readings(kept); err != nil {
				return nil, err
			}
			received = blocks[i].Received
			out.Replaced = append(out.Replaced, blocks[i].N)
			s.Open -= int64(blocks[i].Count)
		}
		slices.SortStableFunc(kept, byTime)
		for len(kept) > 0 {
			kept, rest = once(kept)
			for part := range slices.Chunk(kept, sealMost) {
				b, err := f.segment(s, part)
				if err != nil {
					return nil, err
				}
				b.Level, b.Received = level, received
				out.Sealed = append(out.Sealed, *b)
			}
			kept = rest
		}
	}
	if s.Open = max(s.Open, 0); s.Open > 0 {
		s.Opened = f.Now() // what came meanwhile
	} else {
		s.Opened = time.Time{}
	}
	out.Stream = *s
	return out, nil
}

// once parts readings in the order of their times into the first of each time, and those
// that say something else of it.
func once(all []device.Reading) (first, rest []device.Reading) {
	for _, r := range all {
		switch n := len(first); {
		case n == 0 || first[n-1].At != r.At:
			first = append(first, r)
		case first[n-1].Value != r.Value && (len(rest) == 0 || rest[len(rest)-1] != r):
			rest = append(rest, r)
		}
	}
	return first, rest
}

// segment signs readings as the next of a stream.
func (f *Fleet) segment(s *Stream, readings []device.Reading) (*Block, error) {
	g := device.Segment{
		Device: s.Device, Stream: s.number(), Quantity: s.Quantity, Seq: s.Sealed.Seq + 1, Prev: s.Sealed.Hash,
		Interval: usual(readings, s.Interval), Clock: device.ClockFree, Readings: readings,
	}
	data, err := g.Sign(f.Rand, f.Signer)
	if err != nil {
		return nil, err
	}
	s.Sealed = g.Head()
	b := &Block{Stream: s.N, Origin: Sealed, Seq: g.Seq, Hash: g.Hash, Data: data}
	b.measure(readings)
	return b, nil
}

// usual is the distance that most readings have, so that the others cost the bytes.
func usual(readings []device.Reading, stated int64) int64 {
	counts := make(map[int64]int)
	best := stated
	for i := 1; i < len(readings); i++ {
		d := readings[i].At - readings[i-1].At
		if counts[d]++; counts[d] > counts[best] {
			best = d
		}
	}
	return best
}
