package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"ampoule/bundle"
	"ampoule/device"
	"ampoule/internal/access"
	"ampoule/internal/config"
	"ampoule/internal/httpapi"
	"ampoule/internal/keys"
	"ampoule/party/custody"
	"ampoule/party/fleet"
	"ampoule/party/verifier"
	"ampoule/thing"
	"ampoule/thing/vaccine"
	"ampoule/trust"
)

// goodsNode is the goods of a server: where vaccines are and were, and what is held
// against them.
type goodsNode struct {
	*custody.Custody
	settings  *config.Config
	catalogue *vaccine.Catalogue
	authority *custody.Authority // in whose name it speaks of lots; nil: of none
	listed    bundle.LotAuthority
	policy    *access.Policy
	changed   chan struct{} // something is held against a lot, or not any more
	lots      atomic.Pointer[thing.LotList]
	log       *slog.Logger
}

// openGoods opens custody over the store of a server. It needs the fleet for what was
// measured.
func openGoods(s *service) (*goodsNode, error) {
	c := s.settings.Custody
	g := &goodsNode{settings: s.settings, policy: s.accounts.Policy, changed: make(chan struct{}, 1), log: s.log}
	vaccines, err := readProducts(c.Products)
	if err != nil {
		return nil, err
	}
	if g.catalogue, err = vaccine.New(vaccines); err != nil {
		return nil, usageError("custody.products: %w", err)
	}
	if c.Key != "" {
		lock, err := storeLock(s.settings)
		if err != nil {
			return nil, err
		}
		key, err := keys.Load(c.Key, lock)
		if err != nil {
			return nil, usageError("custody.key: %w", err)
		}
		if err := g.speakFor(key, thing.Role(c.Role), c.Authority); err != nil {
			return nil, usageError("custody: %w", err)
		}
	}
	g.Custody = &custody.Custody{
		Events: s.store.Goods(), Stock: s.store.Goods(), Catalogue: func() *vaccine.Catalogue { return g.catalogue },
		Lots: g.lots.Load, Now: time.Now, Log: s.log,
	}
	if s.fleet != nil {
		g.Fridges = fridges{s.fleet.Fleet}
	}
	return g, nil
}

// speakFor has the server speak of lots in the name of an authority.
func (g *goodsNode) speakFor(key *keys.Key, role thing.Role, name string) error {
	var certificate *x509.Certificate
	if certificate = key.Certificate(); certificate == nil {
		return errors.New("the key has no certificate, so no verifier could list it")
	}
	listed, err := thing.NewLotKey(role, name, "", certificate.Raw)
	if err != nil {
		return err
	}
	g.authority = &custody.Authority{Role: role, Name: name, Signer: key.Signer, KID: key.KID(), Listed: listed}
	g.listed = bundle.LotAuthority{Role: string(role), Authority: name, Certificate: certificate.Raw}
	return nil
}

// readProducts reads catalogues of products: JSON of our form, or WHO's list as CSV.
func readProducts(paths []string) (all []vaccine.Vaccine, err error) {
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, usageError("custody.products: %w", err)
		}
		var c *vaccine.Catalogue
		if strings.EqualFold(filepath.Ext(path), ".csv") {
			c, _, err = vaccine.ParseWHO(data)
		} else {
			c, err = vaccine.Parse(data)
		}
		if err != nil {
			return nil, usageError("custody.products: %s: %w", path, err)
		}
		all = append(all, c.Vaccines...)
	}
	return all, nil
}

// fridges is the fleet, as custody sees it.
type fridges struct{ fleet *fleet.Fleet }

// InEquipment implements [custody.Fridges].
func (f fridges) InEquipment(ctx context.Context, equipment string, from, until int64) (custody.Readings, error) {
	in, err := f.fleet.Inside(ctx, fleet.ID(equipment), from, until)
	return readingsOf(in), err
}

// ByDevice implements [custody.Fridges].
func (f fridges) ByDevice(ctx context.Context, name string, from, until int64) (custody.Readings, error) {
	n, ok := deviceNamed(name)
	if !ok {
		return custody.Readings{}, nil
	}
	in, err := f.fleet.Along(ctx, n, from, until)
	return readingsOf(in), err
}

// deviceNamed is the name of a device in events: its GIAI, or its object identifier.
func deviceNamed(name string) (device.Name, bool) {
	scheme, value := device.OID, strings.TrimPrefix(name, "urn:oid:")
	if value == name {
		const giai = "https://id.gs1.org/8004/"
		if scheme, value = device.GIAI, strings.TrimPrefix(name, giai); value == name {
			return device.Name{}, false
		}
	}
	n, err := device.NewName(scheme, value)
	return n, err == nil
}

func readingsOf(in fleet.Inside) custody.Readings {
	return custody.Readings{Readings: in.Readings, Gap: in.Gap, Level: uint8(in.Level)}
}

// show puts the goods on the pages, and takes from them what is believed of lots.
func (g *goodsNode) show(p *httpapi.Page) {
	if g == nil {
		return
	}
	g.lots.Store(p.Verifier.Lots)
	p.Stocking = &httpapi.Stocking{Custody: g.Custody, Policy: g.policy, Authority: g.authority, Changed: g.wake}
}

// work assesses what is in stock from time to time, and says what is found. It returns
// what waits for its end.
func (g *goodsNode) work(ctx context.Context, published func()) (wait func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if g.settings.Custody.Assess <= 0 {
			return
		}
		tick := time.NewTicker(g.settings.Custody.Assess)
		defer tick.Stop()
		for {
			if err := g.round(ctx); err != nil && ctx.Err() == nil {
				g.log.Error("stock was not assessed", "error", err.Error())
			}
			published() // what was said by hand, too
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			case <-g.changed:
			}
		}
	}()
	return func() { <-done }
}

// round assesses once.
func (g *goodsNode) round(ctx context.Context) error {
	concerns, err := g.Sweep(ctx, "")
	if err != nil {
		return err
	}
	for _, c := range concerns {
		g.log.Info("a lot was assessed anew", "value", string(c.Value), "reason", c.Why)
	}
	_, err = g.Speak(ctx, g.authority)
	return err
}

// held is what a service holds against doses, as its bundles have it.
type held struct {
	lines  []byte // its statements about lots
	doses  []byte // its certificates whose own dose is in doubt, as a snapshot; nil: none
	listed bundle.LotAuthority
	key    *thing.LotKey // nil: it says nothing
}

// held reads what is held against doses now.
func (g *goodsNode) held(ctx context.Context, country string) (h held, err error) {
	if g == nil {
		return h, nil
	}
	lots := g.lots.Load()
	if g.authority != nil {
		h.listed, h.key = g.listed, g.authority.Listed
		if h.lines, err = g.Lines(ctx); err != nil {
			return h, err
		}
		// What this service says counts for it before any bundle has it.
		lots = lots.Clone()
		if err := lots.Add("own", h.lines, thing.LotKeys{h.key}, time.Now()); err != nil {
			return h, err
		}
	}
	doubts, err := g.Doubts(ctx, lots, country)
	if err == nil && len(doubts) > 0 {
		h.doses, err = custody.DoseList(doubts, country)
	}
	return h, err
}

// documents adds it to a bundle.
func (h *held) documents(in *bundle.Input) {
	if len(h.lines) > 0 {
		in.Authorities = append(in.Authorities, h.listed)
		in.Documents = append(in.Documents, bundle.Document{Kind: bundle.Lots, Name: "own-lots.txt", Data: h.lines})
	}
	if len(h.doses) > 0 {
		in.Documents = append(in.Documents, bundle.Document{Kind: bundle.Status, Name: "own-doses.snapshot", Data: h.doses})
	}
}

// join adds it to what a verifier goes by.
func (h *held) join(v *verifier.Verifier) error {
	if len(h.doses) > 0 {
		if v.Status == nil {
			v.Status = new(trust.Status)
		}
		if err := v.Status.Add("own doses", bytes.Clone(h.doses)); err != nil {
			return err
		}
	}
	if len(h.lines) == 0 {
		return nil
	}
	v.Lots = v.Lots.Clone()
	return v.Lots.Add("own", h.lines, thing.LotKeys{h.key}, time.Now())
}

// wake tells that what is held against lots may be another now.
func (g *goodsNode) wake() {
	select {
	case g.changed <- struct{}{}:
	default: // it is known
	}
}
