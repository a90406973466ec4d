package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"ampoule/bundle"
	"ampoule/device"
	"ampoule/format/gs1"
	"ampoule/internal/access"
	"ampoule/internal/config"
	"ampoule/internal/fetch"
	"ampoule/internal/httpapi"
	"ampoule/internal/keys"
	"ampoule/internal/notify"
	"ampoule/party/custody"
	"ampoule/party/fleet"
	"ampoule/party/issuer"
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
	catalogue atomic.Pointer[vaccine.Catalogue]
	authority *custody.Authority // in whose name it speaks of lots; nil: of none
	listed    bundle.LotAuthority
	policy    *access.Policy
	changed   chan struct{} // something is held against a lot, or not any more; or an alarm is another
	lots      atomic.Pointer[thing.LotList]
	log       *slog.Logger

	mu      sync.Mutex // guards what follows
	alarmed map[fleet.ID]bool

	listing  sync.Mutex // guards what follows
	list     []byte     // of doses; nil: none
	listNext time.Time  // when it is made again
}

// openGoods opens custody over the store of a server. It needs the fleet for what was
// measured.
func openGoods(s *service) (*goodsNode, error) {
	c := s.settings.Custody
	g := &goodsNode{settings: s.settings, policy: s.accounts.Policy, changed: make(chan struct{}, 1), log: s.log, alarmed: map[fleet.ID]bool{}}
	if err := g.read(); err != nil {
		return nil, err
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
	kept := s.store.Goods()
	out := notify.Sender{Fetch: fetch.New(fetch.Options{Bytes: 64 << 10, Timeout: 20 * time.Second, PrivateHosts: s.settings.Fleet.Private})}
	g.Custody = &custody.Custody{
		Events: kept, Stock: kept, Catalogue: g.catalogue.Load,
		Lots: g.lots.Load, Secret: kept.Secret(), Now: time.Now, Log: s.log,
		Send: func(ctx context.Context, r custody.Report) error {
			return out.Report(ctx, r.Dest, r.ID, r.Token, r.Body)
		},
		Still: func(ctx context.Context, by custody.Actor) (bool, error) {
			who, err := s.accounts.Principal(ctx, by.ID)
			if errors.Is(err, access.ErrNotFound) {
				return false, nil
			}
			if err != nil {
				return false, err
			}
			ok, _ := s.accounts.Policy.Allow(who, access.CustodyRead, issuer.Place(by.Within))
			return ok, nil
		},
	}
	if s.fleet != nil {
		g.Fridges = fridges{s.fleet.Fleet}
		tell := s.fleet.Changed
		s.fleet.Changed = func(c fleet.Change) {
			tell(c)
			g.alarm(c)
		}
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

// read reads the catalogues of products: in our own form, or WHO's list as a table. What
// was read before stays after an error.
func (g *goodsNode) read() error {
	var all []vaccine.Vaccine
	for _, path := range g.settings.Custody.Products {
		data, err := readInput(path, nil)
		if err != nil {
			return usageError("custody.products: %w", err)
		}
		var c *vaccine.Catalogue
		if json.Valid(data) {
			c, err = vaccine.Parse(data)
		} else {
			c, _, err = vaccine.ParseWHO(data) // what it does not say of a product is not known of it
		}
		if err != nil {
			return usageError("custody.products: %s: %w", path, err)
		}
		all = append(all, c.Vaccines...)
	}
	read, err := vaccine.New(all)
	if err != nil {
		return usageError("custody.products: %w", err)
	}
	g.catalogue.Store(read)
	return nil
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

// show puts the goods on the pages, and takes from them what is believed of lots.
func (g *goodsNode) show(p *httpapi.Page) {
	if g == nil {
		return
	}
	g.lots.Store(p.Verifier.Lots)
	p.Goods = &httpapi.Goods{Custody: g.Custody, Policy: g.policy}
	p.Stocking = &httpapi.Stocking{Custody: g.Custody, Policy: g.policy, Authority: g.authority, Changed: g.wake}
}

// work sends what subscribers are to have, assesses what is in stock from time to time and
// what stood where an alarm is raised or withdrawn at once, and says what is found. It
// returns what waits for its end.
func (g *goodsNode) work(ctx context.Context, published func()) (wait func()) {
	var working sync.WaitGroup
	working.Go(func() { g.Work(ctx) })
	working.Go(func() {
		if g.settings.Custody.Assess <= 0 {
			return
		}
		tick := time.NewTicker(g.settings.Custody.Assess)
		defer tick.Stop()
		all := true
		for {
			if err := g.round(ctx, all); err != nil && ctx.Err() == nil {
				g.log.Error("stock was not assessed", "error", err.Error())
			}
			published() // what was said by hand, too
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				all = true
			case <-g.changed:
				all = false
			}
		}
	})
	return working.Wait
}

// round assesses once: all that is in stock, or what stood where alarms have changed.
func (g *goodsNode) round(ctx context.Context, all bool) error {
	g.mu.Lock()
	alarmed := g.alarmed
	g.alarmed = map[fleet.ID]bool{}
	g.mu.Unlock()
	var equipment []string
	for id := range alarmed {
		equipment = append(equipment, string(id))
	}
	if all {
		equipment = nil
	}
	if all || len(equipment) > 0 {
		concerns, err := g.Sweep(ctx, equipment...)
		for _, c := range concerns {
			g.log.Info("a lot was assessed anew", "what", string(c.Value), "reason", c.Why)
		}
		if err != nil {
			g.mu.Lock()
			maps.Copy(g.alarmed, alarmed) // with the next round
			g.mu.Unlock()
			return err
		}
	}
	_, err := g.Speak(ctx, g.authority)
	return err
}

// alarm takes it that an alarm of a refrigerator is another now.
func (g *goodsNode) alarm(c fleet.Change) {
	if c.Alarm == "" || c.Equipment == "" {
		return
	}
	g.mu.Lock()
	g.alarmed[c.Equipment] = true
	g.mu.Unlock()
	g.wake()
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
		if h.lines, err = g.Published(ctx, g.authority); err != nil {
			return h, err
		}
		// What this service says counts for it before any bundle has it.
		lots = lots.Clone()
		if err := lots.Add("own", h.lines, thing.LotKeys{h.key}, time.Now()); err != nil {
			return h, err
		}
	}
	h.doses, err = g.doseList(ctx, lots, country)
	return h, err
}

// doseList is the list of certificates whose own dose is in doubt. One that took over a
// second to make stands for twenty times as long: no more of the time goes into lists.
func (g *goodsNode) doseList(ctx context.Context, lots *thing.LotList, country string) ([]byte, error) {
	g.listing.Lock()
	defer g.listing.Unlock()
	begun := time.Now()
	if begun.Before(g.listNext) {
		return g.list, nil
	}
	doubts, err := g.Doubts(ctx, lots, country)
	if err != nil {
		return nil, err
	}
	g.list = nil
	if len(doubts) > 0 {
		if g.list, err = custody.DoseList(doubts, country); err != nil {
			return nil, err
		}
	}
	if took := time.Since(begun); took > time.Second {
		g.listNext = time.Now().Add(20 * took)
	}
	return g.list, nil
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
