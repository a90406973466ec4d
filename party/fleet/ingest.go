package fleet

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"ampoule/device"
	"ampoule/format"
)

// Why something of a delivery is refused; the rest of it is kept.
const (
	ReasonDenied    format.Defect = "device-denied"
	ReasonTime      format.Defect = "time-out-of-range"
	ReasonOrder     format.Defect = "readings-not-in-order"
	ReasonSignature format.Defect = "segment-signature"
	ReasonKey       format.Defect = "segment-key" // none of the device's
)

// The times that a reading may have: none of a clock that was never set at all is
// beyond them.
const (
	earliest = 1
	latest   = 4102444800 // 2100
)

// Ingest takes a delivery in.
//
// Everything that a receipt counts as stored or repeated is on the disk when it returns:
// who sent it need not keep it any longer. What it says of alarms comes after, and
// without it: see [Fleet.Evaluate].
func (f *Fleet) Ingest(ctx context.Context, d *Delivery) (r Receipt, err error) {
	f.start()
	now := f.Now()
	var add Addition
	kept := false
	heard := make(map[device.ID]bool) // for the first time since it was claimed or enrolled
	refuse := func(path string, reason format.Defect) {
		if len(r.Refused) < maxRefused {
			r.Refused = append(r.Refused, format.Finding{Path: path, Reason: reason})
		}
	}

	// Step 1: readings that nobody has signed, from those who may speak for the device.
	about := make(map[device.Name]*Description, len(d.Describes))
	for i := range d.Describes {
		about[d.Describes[i].Device] = &d.Describes[i]
	}
	var wishes []wish
	var takes []take
	for i := range d.Series {
		s := &d.Series[i]
		path := "series[" + strconv.Itoa(i) + "]"
		if len(s.Readings) == 0 {
			continue
		}
		k, err := f.find(ctx, &d.Source, s.Device, about[s.Device])
		if errors.Is(err, ErrNoDevice) {
			refuse(path, ErrNoDevice)
			continue
		}
		if errors.Is(err, ErrAnnounced) {
			refuse(path, ErrAnnounced)
			continue
		}
		if err != nil {
			return Receipt{}, err
		}
		level, may := d.Source.speaks(k.Device)
		if !may || !k.State.Heard() {
			refuse(path, ReasonDenied)
			continue
		}
		readings := s.Readings
		if at := slices.IndexFunc(readings, func(x device.Reading) bool { return x.At < earliest || x.At > latest }); at >= 0 {
			refuse(path+".readings["+strconv.Itoa(at)+"]", ReasonTime)
			continue
		}
		if !slices.IsSortedFunc(readings, byTime) {
			readings = slices.Clone(readings)
			slices.SortStableFunc(readings, byTime)
		}
		if k.State == device.Claimed || k.State == device.Enrolled {
			heard[k.ID] = true
		}
		wishes = append(wishes, wish{of: k, sensor: s.Sensor, quantity: s.Quantity, interval: s.Interval})
		takes = append(takes, take{level, readings})
	}
	if err := f.grant(ctx, wishes); err != nil {
		return Receipt{}, err
	}
	for i, t := range takes {
		for part := range slices.Chunk(t.readings, maxBlock) {
			add.Blocks = append(add.Blocks, OpenBlock(wishes[i].stream.N, t.level, now, part))
		}
	}

	// Step 2: what a device has signed. Whoever carries it, the signature says whose it is.
	if len(d.Segments) > 0 {
		finish, err := f.segments(ctx, d, now, &add, &r, heard, refuse)
		defer func() { finish(kept) }()
		if err != nil {
			return Receipt{}, err
		}
	}

	// Step 3: keep it, all or nothing of it.
	plain := d.Key == "" && len(d.Segments) == 0 && len(d.Notes) == 0 && len(add.Blocks) > 0
	add.Raw = f.raw(d, now, plain, len(r.Refused) > 0 || len(d.Findings) > 0)
	if len(add.Blocks) == 0 && add.Raw == nil {
		return r, nil
	}
	repeated, err := f.Book.Append(ctx, &add)
	if err != nil {
		return Receipt{}, err
	}
	kept = !repeated
	for _, b := range add.Blocks {
		if repeated {
			r.Repeated += b.Count
		} else if b.Origin != Forked {
			r.Stored += b.Count
		}
	}

	// Step 4: who is heard is active.
	for id := range heard {
		if err := f.active(ctx, id, now); err != nil {
			f.Log.Error("a device was heard, and could not be called active", "device", id.String(), "error", err.Error())
		}
	}

	// Step 5: it is held against the rules soon.
	select {
	case f.arrived <- struct{}{}:
	default: // it will be in any case
	}
	return r, nil
}

// take is readings of a series that are to be kept, at their level.
type take struct {
	level    device.Level
	readings []device.Reading
}

// The bounds of what is kept as one.
const (
	maxRefused = 1000
	maxBlock   = 4096 // readings of an open block
)

func byTime(a, b device.Reading) int {
	switch {
	case a.At < b.At:
		return -1
	case a.At > b.At:
		return 1
	}
	return 0
}

// raw is what is kept of the message itself. One that says nothing but its readings is
// known again by them; all others are by a digest.
func (f *Fleet) raw(d *Delivery, now time.Time, plain, refused bool) *Raw {
	if d.Raw == nil {
		return nil
	}
	raw := &Raw{Media: d.Media, Supplier: d.account(), Until: now.Add(max(f.KeepRaw, keepDigest))}
	// What was not taken of it is nowhere else, and its sender will not send it again.
	if f.KeepRaw > 0 || refused {
		raw.Body = d.Raw
	}
	if plain && !refused {
		if raw.Body == nil {
			return nil
		}
		return raw
	}
	h := sha256.New()
	for _, part := range [][]byte{[]byte(d.account()), []byte(d.Key), d.Raw} {
		_ = binary.Write(h, binary.BigEndian, uint64(len(part)))
		h.Write(part)
	}
	h.Sum(raw.Digest[:0])
	return raw
}

// keepDigest is how long a message is known again at least, and kept of which something
// was refused: DS01 lets a supplier try for a day.
const keepDigest = 7 * 24 * time.Hour

// segments takes signed segments in. Those of one stream wait for each other until
// finish is called, which is told whether they were kept.
func (f *Fleet) segments(ctx context.Context, d *Delivery, now time.Time, add *Addition, r *Receipt, heard map[device.ID]bool, refuse func(string, format.Defect)) (finish func(kept bool), err error) {
	var locked []int
	heads := make(map[*Stream]*Advance)
	finish = func(kept bool) {
		for s, h := range heads {
			if kept {
				s.Own = h.Own
			}
		}
		for _, n := range locked {
			f.chains[n].Unlock()
		}
	}
	// Step 1: read them, and check the signatures, without a lock.
	type signed struct {
		*device.Segment
		k      *known
		stream *Stream
		data   []byte
		path   string
	}
	var all []signed
	for i, data := range d.Segments {
		path := "segments[" + strconv.Itoa(i) + "]"
		s, err := device.ParseSegment(data)
		if err != nil {
			refuse(path, format.Defect(format.Reason(err, "bad-segment")))
			continue
		}
		k, err := f.byID(ctx, s.Device)
		if errors.Is(err, ErrNoDevice) {
			refuse(path, ErrNoDevice)
			continue
		}
		if err != nil {
			return finish, err
		}
		if !k.State.Heard() {
			refuse(path, ReasonDenied)
			continue
		}
		key := k.Device.Key(s.KeyID, now)
		if key == nil {
			refuse(path, ReasonKey)
			continue
		}
		if err := s.Verify(k.public[string(key.KID)]); err != nil {
			refuse(path, ReasonSignature)
			continue
		}
		if last := s.Readings[len(s.Readings)-1].At; s.Start < earliest || last > latest {
			refuse(path, ReasonTime)
			continue
		}
		stream, err := f.stream(ctx, k, strconv.FormatUint(s.Stream, 10), s.Quantity, s.Interval)
		if err != nil {
			return finish, err
		}
		if k.State == device.Claimed || k.State == device.Enrolled {
			heard[k.ID] = true
		}
		all = append(all, signed{s, k, stream, data, path})
	}
	// Step 2: their streams, one after the other in one order, so that no two wait for each
	// other.
	var stripes []int
	for _, s := range all {
		if n := int(s.stream.N % int64(len(f.chains))); !slices.Contains(stripes, n) {
			stripes = append(stripes, n)
		}
	}
	slices.Sort(stripes)
	for _, n := range stripes {
		f.chains[n].Lock()
		locked = append(locked, n)
	}
	// Step 3: how each goes on from what is there.
	slices.SortStableFunc(all, func(a, b signed) int {
		if a.stream != b.stream {
			return int(a.stream.N - b.stream.N)
		}
		return int(min(max(int64(a.Seq)-int64(b.Seq), -1), 1))
	})
	for _, s := range all {
		level := device.LevelToken
		if d.Source.Device == s.Device {
			level = min(d.Source.Level, device.LevelMutual)
		}
		top := device.LevelSigned
		if now.Before(s.k.Attested) {
			top = device.LevelAttested
		}
		block := Block{
			Stream: s.stream.N, Origin: Own, Seq: s.Seq, Level: level, Received: now, Hash: s.Hash, Data: s.data,
		}
		block.measure(s.Readings)
		there, err := f.there(ctx, s.stream, s.Seq, add)
		if err != nil {
			return finish, err
		}
		if there != nil && *there == s.Hash {
			r.Repeated += len(s.Readings)
			continue
		}
		if there != nil {
			block.Origin = Forked
			add.Blocks = append(add.Blocks, block)
			continue
		}
		own := s.stream.Own
		if h := heads[s.stream]; h != nil {
			own = h.Own
		}
		// One that follows by its number and names another before it was changed after it was
		// signed, or what it follows was. Both are kept, and neither this one nor what follows
		// is called unbroken.
		if own.Follow(s.Segment) != device.Linked {
			s.stream.ahead = true
		} else {
			block.Level = max(level, top)
			next, err := f.advance(ctx, s.stream, s.Head(), top)
			if err != nil {
				return finish, err
			}
			next.Since = s.Seq + 1 // it has its level itself
			if h := heads[s.stream]; h != nil && h.Since <= h.Own.Seq {
				next.Since = h.Since
			}
			heads[s.stream] = next
		}
		add.Blocks = append(add.Blocks, block)
	}
	for stream, h := range heads {
		h.Stream = stream.N
		add.Heads = append(add.Heads, *h)
	}
	return finish, nil
}

// there is the hash of the segment of a sequence number that is kept, or is about to be.
func (f *Fleet) there(ctx context.Context, s *Stream, seq uint64, add *Addition) (*device.Hash, error) {
	for i := range add.Blocks {
		if b := &add.Blocks[i]; b.Stream == s.N && b.Origin == Own && b.Seq == seq {
			return &b.Hash, nil
		}
	}
	if seq == s.Own.Seq {
		return &s.Own.Hash, nil
	}
	if seq > s.Own.Seq && !s.ahead {
		return nil, nil
	}
	found, err := f.Book.Segments(ctx, s.N, Own, seq, 1)
	if err != nil || len(found) == 0 || found[0].Seq != seq {
		return nil, err
	}
	return &found[0].Hash, nil
}

// advance goes on from a new head over segments that came before it.
func (f *Fleet) advance(ctx context.Context, s *Stream, head device.Head, level device.Level) (*Advance, error) {
	for s.ahead {
		found, err := f.Book.Segments(ctx, s.N, Own, head.Seq+1, chainPage)
		if err != nil {
			return nil, err
		}
		for i := range found {
			next, err := device.ParseSegment(found[i].Data)
			if err != nil {
				return nil, fmt.Errorf("segment %d of stream %d: %w", found[i].Seq, s.N, err)
			}
			if head.Follow(next) != device.Linked {
				return &Advance{Own: head, Level: level}, nil
			}
			head = next.Head()
		}
		s.ahead = len(found) == chainPage
	}
	return &Advance{Own: head, Level: level}, nil
}

// chainPage is how many segments of a chain are read at once.
const chainPage = 256
