package custody

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"ampoule/coldchain"
	"ampoule/thing"
	"ampoule/thing/trail"
	"ampoule/thing/vaccine"
)

// sites are the locations of one question, by their URI: nil for one that nobody
// registered.
type sites struct {
	c     *Custody
	ctx   context.Context
	known map[string]*Location
	err   error
}

func (c *Custody) sites(ctx context.Context) *sites {
	return &sites{c, ctx, map[string]*Location{}, nil}
}

// find returns a location, or nil where nobody registered it.
func (s *sites) find(uri string) *Location {
	if l, ok := s.known[uri]; ok || uri == "" {
		return l
	}
	l, err := s.c.Stock.Location(s.ctx, uri)
	if err != nil && !errors.Is(err, ErrNoLocation) {
		s.err = errors.Join(s.err, err)
	}
	s.known[uri] = l
	return l
}

// within is the site that a location is in.
func (s *sites) within(uri string) string {
	if l := s.find(uri); l != nil && l.Within != "" {
		return l.Within
	}
	return uri
}

// name is what people call a location.
func (s *sites) name(uri string) string {
	if l := s.find(uri); l != nil && l.Name != "" {
		return l.Name
	}
	return uri
}

// Trail says where a lot was and is, as far as anybody told. It is the service's view:
// who may see which part of it is asked elsewhere. Amounts are in doses where the
// catalogue knows how many are in a pack, and in packs otherwise.
func (c *Custody) Trail(ctx context.Context, lot string) (*trail.Trail, error) {
	t, _, err := c.follow(ctx, lot)
	return t, err
}

func (c *Custody) follow(ctx context.Context, lot string) (*trail.Trail, *sites, error) {
	moves, err := c.Events.Moves(ctx, lot)
	if err != nil {
		return nil, nil, err
	}
	at := c.sites(ctx)
	if v := c.vaccineOf(lot); v != nil {
		moves = trail.InDoses(moves, int64(v.PerPack()))
	}
	t := trail.Fold(lot, moves, at.within)
	return t, at, at.err
}

// Known is what is known of a lot at a place: the path on which it came there, and what
// that did to it.
type Known struct {
	Lot     string
	Place   string
	Vaccine *vaccine.Vaccine // nil: the catalogue does not have it
	Balance trail.Balance
	Path    []trail.Stay
	Names   []string // what people call each stay of the path
	coldchain.Assessment
}

// Assess says what is known at a time of a lot at a place. What stood where nobody
// measured, and what no catalogue describes, is not known and never sound.
func (c *Custody) Assess(ctx context.Context, lot, place string, at time.Time) (*Known, error) {
	t, sites, err := c.follow(ctx, lot)
	if err != nil {
		return nil, err
	}
	return c.assess(ctx, t, sites, place, at)
}

func (c *Custody) assess(ctx context.Context, t *trail.Trail, sites *sites, place string, at time.Time) (*Known, error) {
	path := t.Path(place, at)
	legs, err := c.legs(ctx, sites, path)
	if err != nil {
		return nil, err
	}
	return judge(t, place, path, legs, c.vaccineOf(t.Lot)), sites.err
}

// judge holds a path against what a product bears; nil: nobody says.
func judge(t *trail.Trail, place string, path []trail.Stay, legs []coldchain.Leg, v *vaccine.Vaccine) *Known {
	k := &Known{Lot: t.Lot, Place: place, Vaccine: v, Balance: t.Places[place], Path: path}
	for i := range legs {
		k.Names = append(k.Names, legs[i].Where)
	}
	bearing := coldchain.Bearing{Storage: coldchain.Refrigerated}
	if v != nil {
		bearing = v.Bearing()
	}
	k.Assessment = coldchain.Assess(legs, bearing)
	return k
}

// vaccineOf is the product of a lot, by the code in the lot's name.
func (c *Custody) vaccineOf(lot string) *vaccine.Vaccine {
	if c.Catalogue == nil {
		return nil
	}
	return vaccineIn(c.Catalogue(), lot)
}

func vaccineIn(catalogue *vaccine.Catalogue, lot string) *vaccine.Vaccine {
	system, code, _, ok := trail.ParseLotName(lot)
	if !ok {
		return nil
	}
	return catalogue.Find(thing.Product{Code: code, System: system})
}

// legs are what was measured along a path.
func (c *Custody) legs(ctx context.Context, sites *sites, path []trail.Stay) ([]coldchain.Leg, error) {
	var legs []coldchain.Leg
	for i := range path {
		leg, err := c.leg(ctx, sites, &path[i])
		if err != nil {
			return nil, err
		}
		legs = append(legs, leg)
	}
	return legs, nil
}

// watched is what measured during a stay: the devices that travelled along, or the
// equipment in which it stood, and where that is.
func (s *sites) watched(stay *trail.Stay) (devices []string, in *Location) {
	if stay.Place == "" {
		return stay.Devices, nil
	}
	if in = s.find(stay.Spot); stay.Spot == "" {
		in = s.find(stay.Place)
	}
	if in == nil || in.Equipment == "" {
		return nil, nil
	}
	return nil, in
}

// leg is what was measured during a stay.
func (c *Custody) leg(ctx context.Context, sites *sites, s *trail.Stay) (coldchain.Leg, error) {
	leg := coldchain.Leg{From: s.From.Unix(), Until: s.Until.Unix()}
	var measured []Readings
	if c.Fridges != nil {
		devices, in := sites.watched(s)
		for _, device := range devices {
			r, err := c.Fridges.ByDevice(ctx, device, leg.From, leg.Until)
			if err != nil {
				return leg, fmt.Errorf("readings of %s: %w", device, err)
			}
			measured = append(measured, r)
		}
		if in != nil {
			r, err := c.Fridges.InEquipment(ctx, in.Equipment, leg.From, leg.Until)
			if err != nil {
				return leg, fmt.Errorf("readings in %s: %w", in.URI, err)
			}
			measured = append(measured, r)
		}
	}
	switch {
	case s.Place == "":
		leg.Where = sites.name(s.Source) + " → " + sites.name(s.Destination)
	case s.Spot != "":
		leg.Where = sites.name(s.Place) + ", " + sites.name(s.Spot)
	default:
		leg.Where = sites.name(s.Place)
	}
	for _, r := range measured {
		if len(r.Readings) == 0 {
			continue
		}
		if len(leg.Readings) == 0 {
			leg.Level = r.Level
		}
		leg.Readings = append(leg.Readings, r.Readings...)
		leg.Gap, leg.Level = max(leg.Gap, r.Gap), min(leg.Level, r.Level)
	}
	if len(measured) > 1 {
		slices.SortStableFunc(leg.Readings, func(a, b coldchain.Reading) int { return int(a.At - b.At) })
	}
	return leg, nil
}
