package fleet

import (
	"context"
	"errors"
	"slices"

	"ampoule/coldchain"
	"ampoule/device"
)

// Inside is what was measured around goods.
type Inside struct {
	Readings []coldchain.Reading // in the order of their times
	Gap      int64               // seconds: more between two of them is not measured
	Level    device.Level        // the least of them
}

// Inside is the worst that was measured in a piece of equipment where vaccines are, from
// one time until another, and for a gap before and after. Where several sensors measure,
// each time has the one that is furthest from the middle of the range: goods stood
// nobody knows beside which.
func (f *Fleet) Inside(ctx context.Context, id ID, from, until int64) (Inside, error) {
	e, err := f.Book.Equipment(ctx, id)
	if errors.Is(err, ErrNoEquipment) {
		return Inside{}, nil
	}
	if err != nil {
		return Inside{}, err
	}
	devices, err := f.Book.DevicesIn(ctx, id)
	if err != nil {
		return Inside{}, err
	}
	profile := e.TermsAt(until).Profile
	return f.inside(ctx, devices, from, until, profile, func(d *Device, s *Stream, at int64) bool { return d.In(s.Sensor, at) == id })
}

// Along is what a device measured that travelled with goods; nothing of one that is not
// known.
func (f *Fleet) Along(ctx context.Context, name device.Name, from, until int64) (Inside, error) {
	d, err := f.Book.DeviceNamed(ctx, name)
	if errors.Is(err, ErrNoDevice) {
		return Inside{}, nil
	}
	if err != nil {
		return Inside{}, err
	}
	return f.inside(ctx, []Device{*d}, from, until, coldchain.Refrigerated, func(_ *Device, s *Stream, _ int64) bool { return s.Sensor != freezerSensor })
}

func (f *Fleet) inside(ctx context.Context, devices []Device, from, until int64, profile coldchain.Profile, counts func(*Device, *Stream, int64) bool) (Inside, error) {
	out := Inside{Gap: coldchain.Gap, Level: device.LevelAttested}
	var all []coldchain.Measured
	n := 0
	for i := range devices {
		d := &devices[i]
		streams, err := f.Book.StreamsOf(ctx, d.ID)
		if err != nil {
			return Inside{}, err
		}
		for k := range streams {
			s := &streams[k]
			if s.Quantity != device.Temperature {
				continue
			}
			gap := int64(coldchain.Gap)
			if s.Interval > 0 {
				gap = max(gap, coldchain.GapOf(s.Interval))
			}
			// By the clock of the device, which may have been wrong by days.
			first, last := from-gap-slack(d), until+gap+slack(d)
			blocks, err := f.Book.Blocks(ctx, s.N, first, last)
			if err != nil {
				return Inside{}, err
			}
			readings, err := readingsOf(blocks, first, last)
			if err != nil {
				return Inside{}, err
			}
			some := false
			for _, r := range readings {
				at := d.Corrected(r.At)
				if at < from-gap || at > until+gap || !counts(d, s, r.At) {
					continue
				}
				all, some = append(all, coldchain.Measured{Reading: coldchain.Reading{At: at, T: coldchain.Temperature(r.Value)}, Sensor: n}), true
			}
			if !some {
				continue
			}
			n++
			out.Gap = max(out.Gap, gap)
			for j := range blocks {
				if blocks[j].Origin != Forked {
					out.Level = min(out.Level, blocks[j].Level)
				}
			}
		}
	}
	if len(all) == 0 {
		return Inside{Gap: out.Gap}, nil
	}
	out.Readings = coldchain.Worst(all, profile, out.Gap)
	return out, nil
}

// Watch is a device that measured around goods: which of its sensors, and when, in
// seconds of its own clock.
type Watch struct {
	Device *Device
	Level  device.Level // the least of the readings
	Counts []Count
}

// Count is a sensor that was with the goods for a time.
type Count struct {
	Sensor      string
	Gap         int64 // seconds: more between two readings is not measured
	From, Until int64 // Until 0: it is there
}

// Beside are the devices whose readings [Fleet.Inside] goes by, for a piece of equipment
// at the actor's place, with the range that it is held to. What is open of their readings
// is sealed first, so that all of it is signed.
func (f *Fleet) Beside(ctx context.Context, by Actor, id ID, from, until int64) ([]Watch, coldchain.Profile, error) {
	e, err := f.equipment1(ctx, by, id)
	if err != nil {
		return nil, coldchain.Profile{}, err
	}
	devices, err := f.Book.DevicesIn(ctx, id)
	if err != nil {
		return nil, coldchain.Profile{}, err
	}
	out, err := f.around(ctx, devices, from, until, func(d *Device, sensor string) (counts [][2]int64) {
		edges := []int64{0}
		for _, s := range d.Stays {
			edges = append(edges, s.From, s.Until)
		}
		slices.Sort(edges)
		edges = slices.Compact(edges)
		for i, at := range edges {
			if d.In(sensor, at) != id {
				continue
			}
			end := int64(0)
			if i+1 < len(edges) {
				end = edges[i+1]
			}
			counts = append(counts, [2]int64{at, end})
		}
		return counts
	})
	return out, e.TermsAt(until).Profile, err
}

// Travelled is the device whose readings [Fleet.Along] goes by, where it is at the
// actor's place.
func (f *Fleet) Travelled(ctx context.Context, by Actor, name device.Name, from, until int64) ([]Watch, error) {
	d, err := f.Book.DeviceNamed(ctx, name)
	if err == nil && !by.Within.Holds(d.Place) {
		err = ErrNoDevice
	}
	if err != nil {
		return nil, err
	}
	return f.around(ctx, []Device{*d}, from, until, func(_ *Device, sensor string) [][2]int64 {
		if sensor == freezerSensor {
			return nil
		}
		return [][2]int64{{0, 0}}
	})
}

func (f *Fleet) around(ctx context.Context, devices []Device, from, until int64, when func(d *Device, sensor string) [][2]int64) (out []Watch, err error) {
	for i := range devices {
		d := &devices[i]
		if err := f.sealOf(ctx, d.ID); err != nil {
			return nil, err
		}
		streams, err := f.Book.StreamsOf(ctx, d.ID)
		if err != nil {
			return nil, err
		}
		w := Watch{Device: d, Level: device.LevelAttested}
		some := false
		for k := range streams {
			s := &streams[k]
			if s.Quantity != device.Temperature {
				continue
			}
			gap := int64(coldchain.Gap)
			if s.Interval > 0 {
				gap = max(gap, coldchain.GapOf(s.Interval))
			}
			blocks, err := f.Book.Blocks(ctx, s.N, from-gap-slack(d), until+gap+slack(d))
			if err != nil {
				return nil, err
			}
			if len(blocks) == 0 {
				continue
			}
			for _, c := range when(d, s.Sensor) {
				w.Counts = append(w.Counts, Count{s.Sensor, gap, c[0], c[1]})
				some = true
			}
			for j := range blocks {
				if blocks[j].Origin != Forked {
					w.Level = min(w.Level, blocks[j].Level)
				}
			}
		}
		if some {
			out = append(out, w)
		}
	}
	return out, nil
}

// slack is by how much the clock of a device was ever wrong.
func slack(d *Device) (most int64) {
	for _, c := range d.Corrections {
		most = max(most, c.Offset, -c.Offset)
	}
	return most
}
