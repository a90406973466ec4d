package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"ampoule/device"
	"ampoule/format/gs1"
	"ampoule/internal/access"
	"ampoule/internal/config"
	"ampoule/internal/httpapi"
	"ampoule/internal/store"
	"ampoule/party/custody"
	"ampoule/party/fleet"
	"ampoule/thing"
	"ampoule/thing/vaccine"
)

// goodsNode is the goods of a server, and what is known of them.
type goodsNode struct {
	*custody.Custody
	policy    *access.Policy
	file      string // of the catalogue of products; "": there is none
	catalogue atomic.Pointer[vaccine.Catalogue]
	lots      atomic.Pointer[thing.LotList]
}

// openGoods opens the goods of a store.
func openGoods(c *config.Config, s *store.Store, f *fleetNode, policy *access.Policy, log *slog.Logger) (*goodsNode, error) {
	g := &goodsNode{policy: policy, file: c.Custody.Products}
	if err := g.read(); err != nil {
		return nil, err
	}
	g.Custody = &custody.Custody{
		Events: s.Goods(), Stock: s.Goods(), Fridges: fridges{f.Fleet}, Catalogue: g.catalogue.Load, Lots: g.lots.Load, Now: time.Now, Log: log,
	}
	return g, nil
}

// read reads the catalogue of products: in our own form, or WHO's list as a table.
func (g *goodsNode) read() error {
	if g.file == "" {
		return nil
	}
	data, err := readInput(g.file, nil)
	if err != nil {
		return usageError("custody.products: %w", err)
	}
	var read *vaccine.Catalogue
	if json.Valid(data) {
		read, err = vaccine.Parse(data)
	} else {
		read, _, err = vaccine.ParseWHO(data) // what it does not say of a product is not known of it
	}
	if err != nil {
		return usageError("custody.products: %s: %w", g.file, err)
	}
	g.catalogue.Store(read)
	return nil
}

// show puts stock on the pages, with what the verifier believes of lots.
func (g *goodsNode) show(p *httpapi.Page) {
	if g == nil {
		return
	}
	g.lots.Store(p.Verifier.Lots)
	p.Stocking = &httpapi.Stocking{Custody: g.Custody, Policy: g.policy}
}

// fridges is the fleet as custody sees it.
type fridges struct{ *fleet.Fleet }

// InEquipment implements [custody.Fridges].
func (f fridges) InEquipment(ctx context.Context, equipment string, from, until int64) (custody.Readings, error) {
	in, err := f.Inside(ctx, fleet.ID(equipment), from, until)
	return readingsOf(in), err
}

// ByDevice implements [custody.Fridges]. Events name a device by its GIAI, as a Digital
// Link or an EPC URN.
func (f fridges) ByDevice(ctx context.Context, name string, from, until int64) (custody.Readings, error) {
	var key gs1.Key
	if strings.HasPrefix(name, "urn:epc:") {
		u, err := gs1.ParseURN(name)
		if err != nil {
			return custody.Readings{}, nil
		}
		key = u.Key
	} else {
		d, err := gs1.ParseDigitalLink(name)
		if err != nil {
			return custody.Readings{}, nil
		}
		key = d.Key
	}
	n, err := device.NewName(device.GIAI, key.Value)
	if key.AI != "8004" || err != nil {
		return custody.Readings{}, nil
	}
	in, err := f.Along(ctx, n, from, until)
	return readingsOf(in), err
}

func readingsOf(in fleet.Inside) custody.Readings {
	return custody.Readings{Readings: in.Readings, Gap: in.Gap, Level: uint8(in.Level)}
}
