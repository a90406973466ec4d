package fleet

import (
	"context"
	"crypto/x509"
	"io"
	"math"
	"slices"
	"strings"

	"ampoule/coldchain"
	"ampoule/device"
)

// Glance is how a piece of equipment stands now.
type Glance struct {
	*Equipment
	// Streams are those that are in it now, those of temperature first.
	Streams []Stream
	// Standing are its alarms that go on.
	Standing []Alarm
}

// Watching is what stands at the actor's place, with how it stands: so many after one of
// them, by identifier.
func (f *Fleet) Watching(ctx context.Context, by Actor, after ID, limit int) ([]Glance, error) {
	equipment, err := f.Book.EquipmentAfter(ctx, by.Within, after, limit)
	if err != nil || len(equipment) == 0 {
		return nil, err
	}
	at := make(map[ID]*Glance, len(equipment))
	out := make([]Glance, len(equipment))
	for i := range equipment {
		out[i] = Glance{Equipment: &equipment[i]}
		at[equipment[i].ID] = &out[i]
	}
	// Between the first and the last may be that of other places.
	first, last := equipment[0].ID, equipment[len(equipment)-1].ID
	standing, err := f.Book.StandingIn(ctx, first, last)
	if err != nil {
		return nil, err
	}
	for _, a := range standing {
		if g := at[a.Equipment]; g != nil {
			g.Standing = append(g.Standing, a)
		}
	}
	now := f.Now().Unix()
	err = f.Book.EachStreamIn(ctx, first, last, func(s *Stream, d *Device) error {
		if g := at[d.In(s.Sensor, now)]; g != nil {
			g.Streams = append(g.Streams, *s)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i := range out {
		slices.SortStableFunc(out[i].Streams, func(a, b Stream) int { return rankOf(a) - rankOf(b) })
	}
	return out, nil
}

// rankOf puts the temperature of the vaccine before others.
func rankOf(s Stream) int {
	switch {
	case s.Quantity == device.Temperature:
		return 0
	case s.Quantity == device.Ambient:
		return 1
	}
	return 2
}

// Look returns one piece of equipment at the actor's place, with how it stands.
func (f *Fleet) Look(ctx context.Context, by Actor, id ID) (*Glance, error) {
	e, err := f.equipment1(ctx, by, id)
	if err != nil {
		return nil, err
	}
	g := &Glance{Equipment: e}
	devices, err := f.Book.DevicesIn(ctx, id)
	if err != nil {
		return nil, err
	}
	now := f.Now().Unix()
	for i := range devices {
		streams, err := f.Book.StreamsOf(ctx, devices[i].ID)
		if err != nil {
			return nil, err
		}
		for _, s := range streams {
			if devices[i].In(s.Sensor, now) == id {
				g.Streams = append(g.Streams, s)
			}
		}
	}
	slices.SortStableFunc(g.Streams, func(a, b Stream) int { return rankOf(a) - rankOf(b) })
	alarms, err := f.Book.AlarmsIn(ctx, id, math.MaxInt64, math.MaxInt64)
	if err != nil {
		return nil, err
	}
	for _, a := range alarms {
		if a.State == Standing {
			g.Standing = append(g.Standing, a)
		}
	}
	slices.SortFunc(g.Standing, func(a, b Alarm) int { return strings.Compare(string(b.ID), string(a.ID)) })
	return g, nil
}

// Bucket is some readings on a chart: the least and the greatest, never a mean, so that
// no breach is out of sight at any zoom.
type Bucket struct {
	At, Last  int64 // the first and the last reading
	Low, High int32
}

// Line is a stream on a chart.
type Line struct {
	Stream
	Buckets []Bucket
	// Measured is for how many seconds it was measured, and Inside for how many of them it
	// was within the profile.
	Measured, Inside int64
	// Level is the least of its readings'.
	Level device.Level
}

// Chart is what was measured in a piece of equipment, at most so many buckets a stream.
func (f *Fleet) Chart(ctx context.Context, by Actor, id ID, from, until int64, points int) (*Equipment, []Line, []Alarm, error) {
	e, err := f.equipment1(ctx, by, id)
	if err != nil {
		return nil, nil, nil, err
	}
	devices, err := f.Book.DevicesIn(ctx, id)
	if err != nil {
		return nil, nil, nil, err
	}
	var lines []Line
	for i := range devices {
		some, err := f.lines(ctx, e, &devices[i], from, until, points)
		if err != nil {
			return nil, nil, nil, err
		}
		lines = append(lines, some...)
	}
	slices.SortStableFunc(lines, func(a, b Line) int { return rankOf(a.Stream) - rankOf(b.Stream) })
	alarms, err := f.Book.AlarmsIn(ctx, id, from, until)
	return e, lines, alarms, err
}

func (f *Fleet) lines(ctx context.Context, e *Equipment, d *Device, from, until int64, points int) (out []Line, err error) {
	if !slices.ContainsFunc(d.Stays, func(s Stay) bool { return s.Equipment == e.ID }) {
		return nil, nil
	}
	streams, err := f.Book.StreamsOf(ctx, d.ID)
	if err != nil {
		return nil, err
	}
	for _, s := range streams {
		blocks, err := f.Book.Blocks(ctx, s.N, from, until)
		if err != nil {
			return nil, err
		}
		readings, err := readingsOf(blocks, from, until)
		if err != nil {
			return nil, err
		}
		readings = slices.DeleteFunc(readings, func(r device.Reading) bool { return d.In(s.Sensor, r.At) != e.ID })
		if len(readings) == 0 {
			continue
		}
		l := Line{Stream: s, Buckets: Decimate(readings, from, until, points), Level: device.LevelAttested}
		for i := range blocks {
			l.Level = min(l.Level, blocks[i].Level)
		}
		terms := e.termsOf(&s, until)
		for i := 1; i < len(readings); i++ {
			if step := readings[i].At - readings[i-1].At; step <= terms.Gap {
				l.Measured += step
				if terms.Profile.Holds(coldchain.Temperature(readings[i-1].Value)) {
					l.Inside += step
				}
			}
		}
		out = append(out, l)
	}
	return out, nil
}

// Decimate puts readings, in the order of their times, into at most so many buckets of
// one width. What was the least and the greatest of all is that of the buckets.
func Decimate(readings []device.Reading, from, until int64, points int) []Bucket {
	if len(readings) <= points {
		out := make([]Bucket, len(readings))
		for i, r := range readings {
			out[i] = Bucket{r.At, r.At, r.Value, r.Value}
		}
		return out
	}
	from, until = max(from, readings[0].At), min(until, readings[len(readings)-1].At)
	width := (until-from)/int64(points) + 1
	out := make([]Bucket, 0, points)
	end := int64(math.MinInt64)
	for _, r := range readings {
		if r.At >= end {
			out = append(out, Bucket{r.At, r.At, r.Value, r.Value})
			end = from + ((r.At-from)/width+1)*width
			continue
		}
		b := &out[len(out)-1]
		b.Last, b.Low, b.High = r.At, min(b.Low, r.Value), max(b.High, r.Value)
	}
	return out
}

// Evidence writes what is kept of a device, as it was signed, for others to check without
// this service: see [device.VerifyEvidence]. certificates are those of the service's key
// and of the authorities above all keys, in DER. logged returns the transaction by which
// a window was anchored and its proof, or nil where it is not; nil: nothing is.
func (f *Fleet) Evidence(ctx context.Context, by Actor, id device.ID, from, until int64, certificates [][]byte, logged func(context.Context, *Window) (message, proof []byte, err error), w io.Writer) error {
	f.start()
	d, err := f.Device(ctx, by, id)
	if err != nil {
		return err
	}
	streams, err := f.Book.StreamsOf(ctx, id)
	if err != nil {
		return err
	}
	e := device.NewEvidence(w, id, d.Names, f.Now())
	for _, der := range certificates {
		e.Certificate(der)
	}
	for _, k := range d.Keys {
		if len(k.Certificate) > 0 {
			e.Certificate(k.Certificate)
		}
	}
	for _, s := range streams {
		e.Stream(s.number(), s.Sensor, s.Quantity)
		if own := s.own(); own != s.number() {
			e.Stream(own, s.Sensor, s.Quantity)
		}
	}
	numbers := make(map[int64]device.Hash)
	for _, s := range streams {
		for _, o := range []Origin{Sealed, Own, Forked} {
			for seq := uint64(1); ; {
				page, err := f.Book.Segments(ctx, s.N, o, seq, chainPage)
				if err != nil {
					return err
				}
				for i := range page {
					if page[i].Last >= from && page[i].First <= until {
						e.Segment(page[i].Data)
						numbers[page[i].N] = page[i].Hash
					}
				}
				if len(page) < chainPage {
					break
				}
				seq = page[len(page)-1].Seq + 1
			}
		}
	}
	for _, s := range streams {
		alarms, err := f.Book.AlarmsOf(ctx, s.N, math.MinInt64)
		if err != nil {
			return err
		}
		for _, a := range alarms {
			versions, err := f.Book.Versions(ctx, a.ID)
			if err != nil {
				return err
			}
			for _, v := range versions {
				e.Statement(v)
			}
		}
	}
	for _, s := range d.Stays {
		e.Location(device.Location{Since: s.From, Until: s.Until, Place: d.Place.Organisation + "/" + d.Place.Facility, Equipment: string(s.Equipment)})
	}
	if logged != nil {
		if err := f.anchors(ctx, e, numbers, logged); err != nil {
			return err
		}
	}
	return e.Seal(f.Rand, f.Signer)
}

// anchors adds the proofs of segments, by their numbers in the store.
func (f *Fleet) anchors(ctx context.Context, e *device.EvidenceWriter, numbers map[int64]device.Hash, logged func(context.Context, *Window) (message, proof []byte, err error)) error {
	for after := int64(0); ; {
		windows, err := f.Book.Windows(ctx, after, 100)
		if err != nil {
			return err
		}
		for i := range windows {
			w := &windows[i]
			of := make(map[device.Hash]bool)
			for n, h := range numbers {
				if n > w.After && n <= w.Last {
					of[h] = true
				}
			}
			if len(of) == 0 {
				continue
			}
			message, proof, err := logged(ctx, w)
			if err != nil {
				return err
			}
			hashes, _, _, err := f.Book.Leaves(ctx, w.After, w.Last, maxSegments)
			if err != nil {
				return err
			}
			// Where segments were deleted since, the tree cannot be made again.
			if proof == nil || int64(len(hashes)) != w.Segments {
				continue
			}
			for _, a := range w.anchors(hashes, of, message, proof) {
				e.Anchor(a)
			}
		}
		if len(windows) < 100 {
			return nil
		}
		after = windows[len(windows)-1].N
	}
}

// Certify gives a device a certificate for a key of its own, and remembers the key. What
// it had before goes on to count until it ends.
func (f *Fleet) Certify(ctx context.Context, id device.ID, c *x509.Certificate, by string) error {
	kid, err := device.KeyID(c.PublicKey)
	if err != nil {
		return err
	}
	d, err := f.Book.Device(ctx, id)
	if err != nil {
		return err
	}
	_, err = f.change(ctx, Actor{ID: by, Within: d.Place}, id, func(d *Device) error {
		if len(d.Keys) >= maxKeys {
			d.Keys = slices.Delete(d.Keys, 0, 1)
		}
		d.Keys = append(d.Keys, Key{KID: kid, Public: c.RawSubjectPublicKeyInfo, Certificate: c.Raw, From: f.Now()})
		d.Claim = nil
		if d.State == device.Claimed {
			d.State = device.Enrolled
			d.Steps = append(d.Steps, Step{State: device.Enrolled, At: f.Now(), By: by})
		}
		return nil
	})
	return err
}

const maxKeys = 32
