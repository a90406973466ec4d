package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"ampoule/bundle"
	"ampoule/coldchain"
	"ampoule/device"
	"ampoule/internal/access"
	"ampoule/internal/config"
	"ampoule/internal/fetch"
	"ampoule/internal/httpapi"
	"ampoule/internal/keys"
	"ampoule/internal/notify"
	"ampoule/ledger/tlog"
	"ampoule/party/custody"
	"ampoule/party/fleet"
	"ampoule/party/issuer"
	"ampoule/party/verifier"
	"ampoule/thing"
	"ampoule/thing/thread"
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
	fleet     *fleetNode // nil: nothing is measured
	actor     *ledgerActor
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
	hands, err := g.hands()
	if err != nil {
		return nil, usageError("custody.partners: %w", err)
	}
	kept := s.store.Goods()
	out := notify.Sender{Fetch: fetch.New(fetch.Options{Bytes: 64 << 10, Timeout: 20 * time.Second, PrivateHosts: s.settings.Fleet.Private})}
	g.Custody = &custody.Custody{
		Events: kept, Stock: kept, Hands: hands, Catalogue: g.catalogue.Load,
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
		g.Fridges, g.Witnesses, g.fleet = fridges{s.fleet.Fleet}, witnesses{s.fleet}, s.fleet
		g.Signer = &custody.Signer{Key: s.fleet.service.Signer, Certificates: s.fleet.certificates()}
		own := [][]byte{s.fleet.service.Certificate().Raw, s.fleet.authority.Certificate().Raw}
		g.Prove = func() custody.Prover { return prover{s.fleet.Prover(own, s.fleet.ours)} }
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

// hands is with what hand-overs are signed, and whose are believed; nil where the service
// has no key.
func (g *goodsNode) hands() (*custody.Hands, error) {
	if g.authority == nil {
		if len(g.settings.Custody.Partners) > 0 {
			return nil, errors.New("hand-overs are signed with custody.key, and there is none")
		}
		return nil, nil
	}
	h := &custody.Hands{Signer: g.authority.Signer, Partners: map[string]*x509.Certificate{}}
	for _, entry := range g.settings.Custody.Partners {
		name, path, ok := strings.Cut(entry, "=")
		if !ok || name == "" || h.Partners[name] != nil {
			return nil, fmt.Errorf("%s: not NAME=file, or a name twice", entry)
		}
		certificates, err := readCertificates(path)
		if err != nil {
			return nil, err
		}
		if len(certificates) != 1 {
			return nil, fmt.Errorf("%s has %d certificates, and a partner has one", path, len(certificates))
		}
		h.Partners[name] = certificates[0]
	}
	return h, nil
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

// ByDevice implements [custody.Fridges].
func (f fridges) ByDevice(ctx context.Context, name string, from, until int64) (custody.Readings, error) {
	n, ok := thread.DeviceName(name)
	if !ok {
		return custody.Readings{}, nil
	}
	in, err := f.Along(ctx, n, from, until)
	return readingsOf(in), err
}

// prover is what the fleet can prove, as custody sees it.
type prover struct{ *fleet.Prover }

// InEquipment implements [custody.Prover].
func (p prover) InEquipment(ctx context.Context, equipment string, from, until int64) ([]custody.Evidence, error) {
	found, err := p.Inside(ctx, fleet.ID(equipment), from, until)
	return evidenceOf(found), err
}

// ByDevice implements [custody.Prover].
func (p prover) ByDevice(ctx context.Context, name string, from, until int64) ([]custody.Evidence, error) {
	n, ok := thread.DeviceName(name)
	if !ok {
		return nil, nil
	}
	found, err := p.Along(ctx, n, from, until)
	return evidenceOf(found), err
}

func evidenceOf(found []fleet.Proof) []custody.Evidence {
	out := make([]custody.Evidence, len(found))
	for i, x := range found {
		out[i] = custody.Evidence{
			Device: x.Device.String(), Sensor: x.Sensor, Signer: hex.EncodeToString(x.Signer), From: x.From, Until: x.Until,
			Segments: x.Segments, Readings: x.Readings, Unsigned: x.Unsigned, Faults: []string{},
		}
		if x.Segments > 0 {
			out[i].Root = hex.EncodeToString(x.Root[:])
		}
		for _, f := range x.Findings {
			if word := string(f.Reason); !slices.Contains(out[i].Faults, word) {
				out[i].Faults = append(out[i].Faults, word)
			}
		}
	}
	return out
}

// witnesses are the devices of the fleet as custody sees them, with what they signed.
type witnesses struct{ *fleetNode }

// InEquipment implements [custody.Witnesses].
func (w witnesses) InEquipment(ctx context.Context, by custody.Actor, equipment string, from, until int64) (*custody.Witnessed, error) {
	as := fleet.Actor{ID: by.ID, Within: fleet.Place(by.Within)}
	devices, profile, err := w.Beside(ctx, as, fleet.ID(equipment), from, until)
	if errors.Is(err, fleet.ErrNoEquipment) {
		err = custody.ErrNotYours
	}
	if err != nil {
		return nil, err
	}
	return w.witnessed(ctx, as, devices, profile, from, until)
}

// ByDevice implements [custody.Witnesses].
func (w witnesses) ByDevice(ctx context.Context, by custody.Actor, name string, from, until int64) (*custody.Witnessed, error) {
	n, ok := thread.DeviceName(name)
	if !ok {
		return new(custody.Witnessed), nil
	}
	as := fleet.Actor{ID: by.ID, Within: fleet.Place(by.Within)}
	devices, err := w.Travelled(ctx, as, n, from, until)
	if errors.Is(err, fleet.ErrNoDevice) {
		err = custody.ErrNotYours // or nobody's, which is the same to who asks
	}
	if err != nil {
		return nil, err
	}
	return w.witnessed(ctx, as, devices, coldchain.Refrigerated, from, until)
}

// witnessed takes the evidence of devices for a span of time, and somewhat around it.
func (w witnesses) witnessed(ctx context.Context, by fleet.Actor, devices []fleet.Watch, profile coldchain.Profile, from, until int64) (*custody.Witnessed, error) {
	out := &custody.Witnessed{Profile: profile}
	for _, d := range devices {
		x := thread.Watch{Device: d.Device.ID.String(), Level: uint8(d.Level)}
		around := int64(0)
		for _, c := range d.Counts {
			x.Counts = append(x.Counts, thread.Count(c))
			around = max(around, c.Gap)
		}
		for _, c := range d.Device.Corrections {
			x.Corrections = append(x.Corrections, thread.Shift{From: c.From, Until: c.Until, Offset: c.Offset})
			around = max(around, c.Offset, -c.Offset)
		}
		// What a device of another organisation signed is that organisation's.
		if d.Device.Place.Organisation != by.Within.Organisation {
			return nil, custody.ErrNotYours
		}
		var evidence bytes.Buffer
		as := fleet.Actor{ID: by.ID, Within: d.Device.Place}
		if err := w.Evidence(ctx, as, d.Device.ID, from-2*around, until+2*around, w.certificates(), w.logged, &evidence); err != nil {
			return nil, err
		}
		x.Evidence = evidence.Bytes()
		out.Watches = append(out.Watches, x)
	}
	return out, nil
}

// holds is what threads are held against by the service itself.
func (g *goodsNode) holds() thread.Options {
	o := thread.Options{}
	if g.fleet != nil {
		o.Roots = g.fleet.ours
	}
	if g.authority != nil {
		o.Keys = thing.LotKeys{g.authority.Listed}
	}
	if g.actor != nil && g.actor.policy != nil {
		o.Policy, o.Anchor = g.actor.policy, anchorUnder(g.actor.policy)
	}
	return o
}

// anchorUnder checks proofs of segments under a policy.
func anchorUnder(policy *tlog.Policy) func(*device.Anchor) error {
	return func(a *device.Anchor) error {
		_, err := fleet.VerifyAnchor(a, policy)
		return err
	}
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
	p.Stocking = &httpapi.Stocking{Custody: g.Custody, Policy: g.policy, Authority: g.authority, Changed: g.wake, Holds: g.holds(), Reload: g.read}
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
