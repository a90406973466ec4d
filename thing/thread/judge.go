package thread

import (
	"bytes"
	"fmt"
	"slices"

	"ampoule/coldchain"
	"ampoule/device"
	"ampoule/format/epcis"
	"ampoule/thing/trail"
)

// Fold folds the events of a thread into the trail of its lot. Locations are in the site
// that the thread says; amounts are in doses where the product says how many are in a
// pack.
func (t *Thread) Fold() (*trail.Trail, error) {
	var moves []trail.Move
	for i := range t.Events {
		e, err := t.Events[i].read()
		if err != nil {
			return nil, fmt.Errorf("event %d: %w", i, err)
		}
		moves = append(moves, trail.Moves(e)...)
	}
	if t.Product != nil {
		moves = trail.InDoses(moves, int64(t.Product.PerPack()))
	}
	at := t.places()
	return trail.Fold(t.Lot, moves, func(uri string) string {
		if p, ok := at[uri]; ok && p.Within != "" {
			return p.Within
		}
		return uri
	}), nil
}

// Follow is the way of the lot to the place.
func (t *Thread) Follow() ([]trail.Stay, error) {
	all, err := t.Fold()
	if err != nil {
		return nil, err
	}
	return all.Path(t.Place, t.Until), nil
}

// read reads an event as it was kept.
func (e *Event) read() (*epcis.Event, error) {
	return epcis.Kept{JSON: e.Event, Prefixes: e.Prefixes}.Event()
}

func (t *Thread) places() map[string]*Place {
	at := make(map[string]*Place, len(t.Places))
	for i := range t.Places {
		at[t.Places[i].URI] = &t.Places[i]
	}
	return at
}

// legsOf are the legs of a way, without what was measured on them.
func (t *Thread) legsOf(way []trail.Stay) []Leg {
	at := t.places()
	name := func(uri string) string {
		if p, ok := at[uri]; ok && p.Name != "" {
			return p.Name
		}
		return uri
	}
	legs := make([]Leg, len(way))
	for i, s := range way {
		l := Leg{Place: s.Place, Spot: s.Spot, Source: s.Source, Destination: s.Destination, Devices: s.Devices, From: s.From.UTC(), Until: s.Until.UTC(), Profile: coldchain.Refrigerated}
		spot := s.Spot
		switch {
		case s.Place == "":
			l.Where = name(s.Source) + " → " + name(s.Destination)
		case s.Spot != "":
			l.Where = name(s.Place) + ", " + name(s.Spot)
		default:
			l.Where, spot = name(s.Place), s.Place
		}
		if p, ok := at[spot]; ok && s.Place != "" {
			l.Equipment = p.Equipment
		}
		legs[i] = l
	}
	return legs
}

// Lay follows the events and puts down the legs of the way, for who adds to them what
// was measured.
func (t *Thread) Lay() error {
	way, err := t.Follow()
	t.Legs = t.legsOf(way)
	return err
}

// Judge assesses the goods by what was signed of their way.
func (t *Thread) Judge() (coldchain.Assessment, error) {
	path := make([]coldchain.Leg, len(t.Legs))
	for i := range t.Legs {
		leg, err := t.Legs[i].measured()
		if err != nil {
			return coldchain.Assessment{}, fmt.Errorf("leg %d: %w", i, err)
		}
		path[i] = leg
	}
	bearing := coldchain.Bearing{Storage: coldchain.Refrigerated}
	if t.Product != nil {
		bearing = t.Product.Bearing()
	}
	return coldchain.Assess(path, bearing), nil
}

// Readings are what was measured on a leg, as the goods are judged by it.
func (l *Leg) Readings() ([]coldchain.Reading, error) {
	leg, err := l.measured()
	return leg.Readings, err
}

// measured is a leg with its readings. In a piece of equipment all sensors are taken
// together, since nobody knows beside which the goods stood; of devices that travel each
// is taken alone.
func (l *Leg) measured() (coldchain.Leg, error) {
	leg := coldchain.Leg{Where: l.Where, From: l.From.Unix(), Until: l.Until.Unix()}
	var groups [][]Watch
	if l.Place == "" {
		for i := range l.Watches {
			groups = append(groups, l.Watches[i:i+1])
		}
	} else {
		groups = [][]Watch{l.Watches}
	}
	for _, g := range groups {
		gap, level := int64(coldchain.Gap), uint8(device.LevelAttested)
		var all []coldchain.Measured
		sensors := 0
		for i := range g {
			some, n, most, err := g[i].samples(leg.From, leg.Until, sensors)
			if err != nil {
				return leg, err
			}
			if n == 0 {
				continue
			}
			all, sensors = append(all, some...), sensors+n
			gap, level = max(gap, most), min(level, g[i].Level)
		}
		readings := coldchain.Worst(all, l.Profile, gap)
		if len(readings) == 0 {
			continue
		}
		if len(leg.Readings) == 0 {
			leg.Level = level
		}
		leg.Readings = append(leg.Readings, readings...)
		leg.Gap, leg.Level = max(leg.Gap, gap), min(leg.Level, level)
	}
	slices.SortStableFunc(leg.Readings, func(a, b coldchain.Reading) int { return int(a.At - b.At) })
	return leg, nil
}

// samples are what the sensors of a device measured that were with the goods, from one
// time until another and for a gap before and after. first is the number of the first
// sensor; n of them have readings.
func (w *Watch) samples(from, until int64, first int) (out []coldchain.Measured, n int, gap int64, err error) {
	sensors, err := w.sensors()
	if err != nil {
		return nil, 0, 0, err
	}
	for _, s := range sensors {
		slices.SortStableFunc(s.readings, func(a, b device.Reading) int { return int(a.At - b.At) })
		some := false
		last := int64(-1 << 62)
		for _, r := range s.readings {
			if r.At == last {
				continue // the first that came of one time counts
			}
			last = r.At
			i := slices.IndexFunc(w.Counts, func(c Count) bool {
				return c.Sensor == s.name && r.At >= c.From && (c.Until == 0 || r.At < c.Until)
			})
			at := w.corrected(r.At)
			if i < 0 || at < from-w.Counts[i].Gap || at > until+w.Counts[i].Gap {
				continue
			}
			some, gap = true, max(gap, w.Counts[i].Gap)
			out = append(out, coldchain.Measured{Reading: coldchain.Reading{At: at, T: coldchain.Temperature(r.Value)}, Sensor: first + n})
		}
		if some {
			n++
		}
	}
	return out, n, gap, nil
}

func (w *Watch) corrected(at int64) int64 {
	for _, c := range w.Corrections {
		if at >= c.From && (c.Until == 0 || at < c.Until) {
			return at + c.Offset
		}
	}
	return at
}

// sensor is what one sensor of a device measured, in the order of its segments.
type sensor struct {
	name     string
	readings []device.Reading
}

// sensors are those of temperature, from the segments as they were signed.
func (w *Watch) sensors() (all []*sensor, err error) {
	streams, err := device.StreamsIn(bytes.NewReader(w.Evidence))
	if err != nil {
		return nil, err
	}
	byName, byStream := map[string]*sensor{}, map[uint64]*sensor{}
	for _, s := range streams {
		if s.Quantity != device.Temperature {
			continue
		}
		x := byName[s.Sensor]
		if x == nil {
			x = &sensor{name: s.Sensor}
			byName[s.Sensor] = x
			all = append(all, x)
		}
		byStream[s.Stream] = x
	}
	err = device.ScanEvidence(bytes.NewReader(w.Evidence), func(i device.Item) error {
		if i.Kind != "segment" {
			return nil
		}
		var some []device.Reading
		s, err := device.ScanSegment(i.Content, func(r device.Reading) { some = append(some, r) })
		if err != nil {
			return err
		}
		if x := byStream[s.Stream]; x != nil && s.Quantity == device.Temperature {
			x.readings = append(x.readings, some...)
		}
		return nil
	})
	return all, err
}
