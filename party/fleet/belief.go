package fleet

import (
	"context"
	"math"
	"slices"

	"ampoule/coldchain"
	"ampoule/device"
)

// beliefDays is what the belief in a device rests on. What is before fades, and is gone
// after as many days again.
const beliefDays = 30

const daySeconds = 86400

// Belief is how far a device is believed, and why: the checks of each of the last days,
// and what its readings show that a sound sensor in a sound store does not do. It is
// computed from what is kept, and from nothing else: who asks again gets the same.
type Belief struct {
	device.Trust
	Anomalies []coldchain.Anomaly
}

// Believe tells how far a device is believed.
func (f *Fleet) Believe(ctx context.Context, by Actor, id device.ID) (*Belief, error) {
	d, err := f.Device(ctx, by, id)
	if err != nil {
		return nil, err
	}
	streams, err := f.Book.StreamsOf(ctx, id)
	if err != nil {
		return nil, err
	}
	until := f.Now().Unix()
	from := until - beliefDays*daySeconds
	b := &Belief{}
	// Step 1: the temperature of what it watches, which all of it is about.
	at := slices.IndexFunc(streams, func(s Stream) bool { return s.Quantity == device.Temperature && s.Sensor != freezerSensor })
	if at < 0 {
		b.Trust = device.NewTrust(device.Reputation{}, device.DefaultLimits.Judge(&device.Observed{}), device.LevelFile)
		return b, nil
	}
	s := &streams[at]
	blocks, err := f.Book.Blocks(ctx, s.N, from, math.MaxInt64)
	if err != nil {
		return nil, err
	}
	readings, err := readingsOf(blocks, from, math.MaxInt64)
	if err != nil {
		return nil, err
	}
	beside, err := f.beside(ctx, d, s, from, until)
	if err != nil {
		return nil, err
	}
	// Step 2: each day's checks, the oldest first.
	var r device.Reputation
	var checks []device.Judged
	for begin := from; begin < until; begin += daySeconds {
		o := observe(d, s, blocks, readings, beside, begin, begin+daySeconds)
		if o == nil {
			continue // before its first reading there is nothing to believe or not
		}
		checks = device.DefaultLimits.Judge(o)
		r = r.After(1, checks)
	}
	level := device.LevelAttested
	for i := range blocks {
		level = min(level, blocks[i].Level)
	}
	if len(blocks) == 0 {
		level = device.LevelFile
		checks = device.DefaultLimits.Judge(&device.Observed{Expected: 1})
	}
	b.Trust = device.NewTrust(r, checks, level)
	// Step 3: what does not look like a sensor in a store.
	b.Anomalies, err = f.anomalies(ctx, streams, s, readings, from)
	return b, err
}

// observe is what was seen of a stream on one day; nil: it had not begun.
func observe(d *Device, s *Stream, blocks []Block, readings, beside []device.Reading, from, until int64) *device.Observed {
	if len(readings) == 0 || readings[0].At >= until {
		return nil
	}
	o := &device.Observed{}
	day := within(readings, from, until)
	if interval := s.Interval; interval > 0 {
		o.Expected = (until - max(from, readings[0].At)) / interval
	}
	o.Received = int64(len(day))
	// The least time from a reading to its arrival: what was held back tells nothing of the
	// clock, what came at once does.
	lag := int64(math.MaxInt64)
	for i := range blocks {
		b := &blocks[i]
		if b.Last < from || b.Last >= until {
			continue
		}
		switch {
		case b.Origin == Forked || b.Origin == Own && b.Level < device.LevelSigned:
			o.Unlinked++
		case b.Origin == Own:
			o.Segments++
		}
		lag = min(lag, b.Received.Unix()-d.Corrected(b.Last))
	}
	if lag < daySeconds {
		o.ClockOffset = &lag
	}
	if len(day) > 1 {
		var same, steepest int64
		since := day[0].At
		for i := 1; i < len(day); i++ {
			a, b := day[i-1], day[i]
			if a.Value != b.Value {
				since = b.At
			}
			same = max(same, b.At-since)
			change := int64(b.Value) - int64(a.Value)
			steepest = max(steepest, max(change, -change)*60/max(b.At-a.At, 60))
		}
		o.LongestSame, o.Steepest = &same, &steepest
	}
	if other := within(beside, from, until); len(day) > 0 && len(other) > 0 {
		if n, ok := apart(day, other); ok {
			o.Neighbour = &n
		}
	}
	for _, c := range d.Calibrations {
		if c.At.Unix() <= until {
			age := until - c.At.Unix()
			o.SinceCalibration = &age
		}
	}
	return o
}

// within are the readings from a time until before another.
func within(all []device.Reading, from, until int64) []device.Reading {
	first, _ := slices.BinarySearchFunc(all, from, func(r device.Reading, t int64) int { return byTime(r, device.Reading{At: t}) })
	last, _ := slices.BinarySearchFunc(all, until, func(r device.Reading, t int64) int { return byTime(r, device.Reading{At: t}) })
	return all[first:last]
}

// apart is the median of what readings differ from those of another at nearly the same
// time.
func apart(a, b []device.Reading) (int64, bool) {
	const near = 900
	var all []int64
	j := 0
	for _, x := range a {
		for j+1 < len(b) && b[j+1].At <= x.At {
			j++
		}
		if d := b[j].At - x.At; d <= near && d >= -near {
			all = append(all, int64(x.Value)-int64(b[j].Value))
		}
	}
	if len(all) == 0 {
		return 0, false
	}
	slices.Sort(all)
	return all[len(all)/2], true
}

// beside are the readings of another device in the same equipment, if there is one.
func (f *Fleet) beside(ctx context.Context, d *Device, s *Stream, from, until int64) ([]device.Reading, error) {
	here := d.In(s.Sensor, until)
	if here == "" {
		return nil, nil
	}
	others, err := f.Book.DevicesIn(ctx, here)
	if err != nil {
		return nil, err
	}
	for i := range others {
		if others[i].ID == d.ID || len(others[i].Stays) == 0 {
			continue
		}
		streams, err := f.Book.StreamsOf(ctx, others[i].ID)
		if err != nil {
			return nil, err
		}
		for _, o := range streams {
			if o.Quantity == device.Temperature && others[i].In(o.Sensor, until) == here {
				return f.readings(ctx, o.N, from, until)
			}
		}
	}
	return nil, nil
}

// maxAnomalies bounds what is listed.
const maxAnomalies = 200

// anomalies are those of the temperature of a device, seen with all else that it tells.
func (f *Fleet) anomalies(ctx context.Context, streams []Stream, s *Stream, readings []device.Reading, from int64) ([]coldchain.Anomaly, error) {
	samples := make([]coldchain.Sample, len(readings))
	for i, r := range readings {
		samples[i] = coldchain.Sample{At: r.At, Interval: s.Interval, Has: coldchain.HasTemperature, T: coldchain.Temperature(r.Value)}
	}
	for _, other := range streams {
		var put func(*coldchain.Sample, int32)
		switch {
		case other.Quantity == device.Ambient:
			put = func(x *coldchain.Sample, v int32) {
				x.Has, x.Ambient = x.Has|coldchain.HasAmbient, coldchain.Temperature(v)
			}
		case other.Quantity == device.Compressor && other.Sensor != "CMPR2":
			put = func(x *coldchain.Sample, v int32) { x.Has, x.Compressor = x.Has|coldchain.HasCompressor, int64(v) }
		case other.Quantity == device.Door && other.Sensor != "DORF":
			put = func(x *coldchain.Sample, v int32) { x.Has, x.Door = x.Has|coldchain.HasDoor, int64(v) }
		case other.Quantity == device.Supply:
			put = func(x *coldchain.Sample, v int32) { x.Has, x.Supply = x.Has|coldchain.HasSupply, int64(v) }
		case other.Quantity == device.Holdover:
			put = func(x *coldchain.Sample, v int32) {
				x.Has, x.Holdover = x.Has|coldchain.HasHoldover, int64(v)*daySeconds/1000
			}
		default:
			continue
		}
		all, err := f.readings(ctx, other.N, from, math.MaxInt64)
		if err != nil {
			return nil, err
		}
		j := 0
		for _, r := range all {
			for j < len(samples) && samples[j].At < r.At {
				j++
			}
			if j < len(samples) && samples[j].At == r.At {
				put(&samples[j], r.Value)
			}
		}
	}
	var w coldchain.Watcher
	out := []coldchain.Anomaly{}
	for i := range samples {
		for _, a := range w.Next(&samples[i]) {
			if len(out) < maxAnomalies {
				out = append(out, a)
			}
		}
	}
	return out, nil
}
