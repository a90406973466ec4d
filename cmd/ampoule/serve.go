package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"text/tabwriter"
	"time"

	"ampoule/bundle"
	"ampoule/format"
	"ampoule/format/cose"
	"ampoule/internal/access"
	"ampoule/internal/config"
	"ampoule/internal/control"
	"ampoule/internal/httpapi"
	"ampoule/internal/keys"
	"ampoule/internal/messages"
	"ampoule/internal/store"
	"ampoule/party/issuer"
	"ampoule/party/notary"
	"ampoule/party/verifier"
	"ampoule/trust/hotkeys"
)

// configFlags say where settings are looked for.
type configFlags struct {
	Config string   `placeholder:"F" help:"Configuration in TOML; AMPOULE_CONFIG names it otherwise. See 'ampoule config print'."`
	Set    []string `sep:"none" placeholder:"NAME=VALUE" help:"A setting, before the environment and the file."`
}

func (c *configFlags) load() (*config.Config, []config.Setting, error) {
	s := config.Source{FileName: c.Config, Environ: os.Environ(), Set: c.Set}
	if s.FileName == "" {
		s.FileName = os.Getenv("AMPOULE_CONFIG")
	}
	if s.FileName != "" {
		var err error
		if s.File, err = readInput(s.FileName, nil); err != nil {
			return nil, nil, usageError("--config: %w", err)
		}
		if s.File == nil {
			s.File = []byte{}
		}
	}
	loaded, settings, err := config.Load(s)
	if err != nil {
		return nil, nil, usageError("%w", err)
	}
	return loaded, settings, nil
}

type configCmd struct {
	Print configPrintCmd `cmd:"" help:"Print every setting with where it comes from."`
}

type configPrintCmd struct {
	configFlags
	JSON bool `name:"json" help:"One JSON object a line."`
}

func (c *configPrintCmd) Run(t terminal) error {
	_, settings, err := c.load()
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	if !c.JSON {
		fmt.Fprintln(w, "SETTING\tVALUE\tFROM")
	}
	for _, s := range settings {
		if c.JSON {
			writeJSON(t.out, map[string]string{"name": s.Name, "value": s.Value, "from": s.Origin})
			continue
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", s.Name, format.Visible(s.Value), format.Visible(s.Origin))
	}
	return w.Flush()
}

type serveCmd struct{ configFlags }

func (c *serveCmd) Run(t terminal) error {
	settings, _, err := c.load()
	if err != nil {
		return err
	}
	err = serve(t, settings, hooks{})
	if errors.Is(err, keys.ErrNotEncrypted) {
		err = fmt.Errorf("%w; or serve without AMPOULE_PASSPHRASE and store.passphrase_file", err)
	}
	return err
}

// hooks are what the demonstration does besides.
type hooks struct {
	within   context.Context                       // at whose end the server stops; nil: it stops when it is told to
	prepare  func(context.Context, *service) error // before the first page is made
	decorate func(*httpapi.Page)
	serving  func(address string)
}

// serve serves until it is told to stop, and lets requests under way end.
func serve(t terminal, settings *config.Config, h hooks) error {
	log, err := newLog(t, settings)
	if err != nil {
		return err
	}
	front, err := newFront(settings)
	if err != nil {
		return err
	}
	within := h.within
	if within == nil {
		within = context.Background()
	}
	ctx, stop := signal.NotifyContext(within, os.Interrupt, syscall.SIGTERM)
	defer stop()
	s := newService(settings, front, log)
	s.hooks = h
	if path := settings.Verifier.TranscriptKey; path != "" {
		lock, err := storeLock(settings)
		if err != nil {
			return err
		}
		if s.recorder, err = keys.Load(path, lock); err != nil {
			return usageError("verifier.transcript_key: %w", err)
		}
		if _, err := cose.Thumbprint(s.recorder.Signer.Public()); err != nil {
			return usageError("verifier.transcript_key: %w", err)
		}
	}
	measures := newMeasures(settings)
	var signing []*keys.Key
	if settings.Store.Dir != "" {
		made, err := createStore(ctx, settings)
		if err != nil {
			return err
		}
		if made {
			log.Info("store made")
		}
		if s.store, err = openStore(context.Background(), settings, func(took time.Duration) { measures.commits.Observe(took.Seconds()) }); err != nil {
			return err
		}
		defer s.store.Close()
		if signing, err = loadSigningKeys(settings); err != nil {
			return err
		}
	}
	door, named, err := newGatewayDoor(settings, s.store, log)
	if err != nil {
		return err
	}
	var controlled control.Gateway
	if named != nil {
		controlled = named
		front.Register(door.Collectors()...)
	}
	operated, err := operate(settings, measures, s.store, s, signing, controlled, front, log)
	if err != nil {
		return err
	}
	defer operated.stop(log)
	ledger, err := startLedger(ctx, settings, log)
	if err != nil {
		if !s.goesOnWithout(ctx, err) {
			return err
		}
		away := notary.Trouble{Reason: format.Reason(err, "node-not-started"), Since: s.started, Rounds: 1}
		log.Error("the node of the ledger did not start, and needs you; everything else goes on", "reason", away.Reason, "error", err.Error())
		s.trouble = func() notary.Trouble { return away }
		measures.ledger = s.trouble
	}
	defer ledger.stop()
	s.ledger = ledger
	if s.store != nil {
		if s.publisher, err = newPublisher(settings, time.Now()); err != nil {
			return err
		}
		s.bulk = &issuer.Bulk{Registry: s.registry.Load, Jobs: s.store, Trouble: func(id issuer.ID, err error) {
			log.Error("a job stands still", "job", id.String(), "error", err.Error())
		}}
	}
	server := httpapi.NewServer(front.Handler(), log)
	listener, err := net.Listen("tcp", settings.Listen)
	if err != nil {
		return exitError{exitUsage, fmt.Errorf("listen: %w", err)}
	}
	var renewed *renewedCertificate
	scheme := "http"
	if settings.TLS.Certificate != "" {
		scheme = "https"
		renewed = &renewedCertificate{certificate: settings.TLS.Certificate, key: settings.TLS.Key, log: log}
		if _, err := renewed.get(nil); err != nil {
			listener.Close()
			return usageError("tls: %w", err)
		}
		listener = tls.NewListener(listener, &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: renewed.get, NextProtos: []string{"h2", "http/1.1"}})
	}

	if s.store != nil {
		err := s.openAccounts()
		if err == nil {
			s.fleet, err = openFleet(ctx, settings, s.accounts, log)
			defer s.fleet.stop()
		}
		if err == nil {
			s.goods, err = openGoods(s)
		}
		if err == nil {
			s.resolver, err = openResolver(settings, s.fleet)
		}
		if err == nil && h.prepare != nil {
			err = h.prepare(ctx, s)
		}
		if err == nil {
			err = s.firstRun(ctx, t, scheme+"://"+listener.Addr().String())
		}
		if err != nil {
			listener.Close()
			return err
		}
		to, err := ledger.service(settings)
		if err == nil && to != nil {
			var as *ledgerActor
			if as, err = newLedgerActor(settings); err == nil && as != nil {
				s.submitterOf(to, as)
				s.goods.actor = as
				measures.ledger = s.trouble
				defer s.anchor(ctx, s.submitter, s.anchored)()
				defer stop() // as below
				var gateway *ledgerActor
				if gateway, err = as.readings(settings); err == nil && gateway != nil && settings.Fleet.Anchor > 0 {
					defer s.anchorReadings(ctx, to, gateway)()
					defer stop()
				}
			}
		}
		if err != nil {
			listener.Close()
			return err
		}
		defer s.work(ctx)()
		defer s.goods.work(ctx, s.wakeUp)()
		// Before those that wait for the end of ctx, whyever this returns.
		defer stop()
	}
	if err := s.refresh(ctx); err != nil {
		listener.Close()
		return err
	}
	failed := make(chan error, 4)
	if door != nil {
		end, err := serveGateway(ctx, settings, door, failed, log)
		if err != nil {
			listener.Close()
			return err
		}
		defer end()
	}
	if s.fleet != nil {
		if err := s.fleet.serve(ctx, failed); err != nil {
			listener.Close()
			return err
		}
		front.Checks = append(front.Checks, httpapi.Check{Name: "readings", Run: s.fleet.store.Ready})
	}
	go func() { failed <- server.Serve(listener) }()
	log.Info("serving", "address", scheme+"://"+listener.Addr().String())
	if h.serving != nil {
		h.serving(scheme + "://" + listener.Addr().String())
	}
	again, unnotify := hangups()
	defer unnotify()
	tick := time.NewTicker(settings.Verifier.Refresh)
	defer tick.Stop()
	for {
		select {
		case err := <-failed:
			return err
		case <-s.wake:
			if err := s.refresh(ctx); err != nil && ctx.Err() == nil {
				log.Error("what is kept goes on to be used", "error", err.Error())
			}
			continue
		case <-tick.C:
			if err := s.refresh(ctx); err != nil && ctx.Err() == nil {
				log.Error("what is kept goes on to be used", "error", err.Error())
			}
			continue
		case <-again:
			log.Info("files are read again", "signal", "SIGHUP")
			s.forget()
			if s.goods != nil {
				if err := s.goods.read(); err != nil {
					log.Error("the products that were read before go on to be used", "error", err.Error())
				}
			}
			if err := s.refresh(ctx); err != nil && ctx.Err() == nil {
				log.Error("what is kept goes on to be used", "error", err.Error())
			}
			if renewed != nil {
				renewed.forget()
			}
			continue
		case <-ctx.Done():
		}
		break
	}
	log.Info("stopping")
	shutdown, cancel := context.WithTimeout(context.Background(), settings.HTTP.Stop)
	defer cancel()
	if err := server.Shutdown(shutdown); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// newFront is what stands before the pages for as long as the server runs.
func newFront(c *config.Config) (*httpapi.Front, error) {
	f := httpapi.NewFront()
	f.Origins, f.Rate, f.Burst = c.HTTP.Origins, c.HTTP.Rate, c.HTTP.Burst
	for _, text := range c.HTTP.Proxies {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, usageError("http.proxies: %q is no network such as 10.0.0.0/8", text)
		}
		f.Proxies = append(f.Proxies, network)
	}
	return f, nil
}

// service keeps what a server goes by up to date.
type service struct {
	settings *config.Config
	front    *httpapi.Front
	log      *slog.Logger
	hooks
	started time.Time
	wake    chan struct{} // something has changed: refresh now

	// Of a server with a store; nil without.
	store     *store.Store
	accounts  *access.Accounts
	bulk      *issuer.Bulk
	publisher *publisher
	ledger    *ledgerNode // of this process; nil: there is none
	fleet     *fleetNode
	goods     *goodsNode
	resolver  *resolverNode // nil: no identifiers are resolved
	// What brings closed batches and lists to a ledger; nil: nothing does.
	actor     *ledgerActor
	submitter *notary.Submitter
	trouble   func() notary.Trouble // what keeps them from it; nil: nothing is brought
	anchored  chan struct{}         // there is something for the submitter

	registry atomic.Pointer[issuer.Registry] // that issues now; nil before the first run is over
	ready    chan struct{}                   // closed when the first run is over

	recorder *keys.Key // signs transcripts of verdicts; nil: none are written

	mu      sync.Mutex // held for a refresh; what follows is guarded by it
	hot     *hotkeys.Cache
	keys    keyCache
	kept    *bundle.Opened
	earlier [][]byte // files of bundles that were served, the newest last
	seen    string   // what was gone by when it was looked at last
	places  []byte   // what bundles say of the ledger
	placed  int      // entries that were proven when it was made
}

func newService(settings *config.Config, front *httpapi.Front, log *slog.Logger) *service {
	return &service{settings: settings, front: front, log: log, started: time.Now(), wake: make(chan struct{}, 1), ready: make(chan struct{}), anchored: make(chan struct{}, 1), hot: hotkeys.NewCache(settings.Verifier.HotKeys)}
}

// wakeUp has the service refresh soon.
func (s *service) wakeUp() {
	select {
	case s.wake <- struct{}{}:
	default: // it will
	}
}

// refresh takes what is new: a bundle, keys that sign, what was taken back. It
// begins with the first. What was kept stays after an error.
func (s *service) refresh(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	// Step 1: what there is now.
	page := &httpapi.Page{Log: s.log, API: &httpapi.API{Version: version}}
	v := s.settings.Verifier
	if v.Bundle != "" {
		var err error
		if page.Bundle, err = readBounded(v.Bundle, nil, bundle.MaxSize); err != nil {
			return usageError("verifier.bundle: %w", err)
		}
	}
	desk, err := s.desk(ctx)
	if err != nil {
		return err
	}
	now := time.Now()
	if err := s.wantLists(ctx, desk, now); err != nil {
		s.log.Error("lists were not put into the outbox of the ledger", "error", err.Error())
	}
	seen := fmt.Sprintf("%x %s", sha256.Sum256(page.Bundle), desk.mark(now))
	if seen == s.seen && (desk == nil || s.publisher == nil || !s.publisher.due(seen, now)) {
		return nil
	}
	s.seen = seen // an error is told once

	// Step 2: the bundle, and the verifier that goes by it.
	var opened *bundle.Opened
	if page.Bundle != nil {
		roots, err := readRoots(v.Root)
		if err != nil {
			return err
		}
		if opened, err = bundle.Accept(s.kept, page.Bundle, roots, float64(s.settings.Verifier.Shrink)/100, time.Now()); err != nil && !errors.Is(err, bundle.ErrKept) {
			return usageError("verifier.bundle: %w%s", err, bundleHint(err))
		}
		if page.BundleRoot, err = bundle.EncodeRoots(opened.Roots...); err != nil {
			return err
		}
	}
	flags := verifierFlags(s.settings)
	if page.Verifier, err = flags.verifierOf(opened, time.Now); err != nil {
		return err
	}

	page.Verifier.HotKeys = s.hot // whose tables take longer to make than all the rest
	s.ledger.show(page)
	s.fleet.show(page)
	s.goods.show(page)

	// Step 3: what is issued here.
	if desk != nil {
		if err := desk.join(page, s); err != nil {
			return err
		}
		if s.publisher != nil && s.publisher.due(seen, now) {
			if wait := s.publisher.soonest().Sub(now); wait > 0 {
				time.AfterFunc(wait, s.wakeUp)
			} else if err := s.publisher.publish(desk, seen, now); err != nil {
				return err
			}
		}
	}
	if s.publisher != nil && s.publisher.last != nil {
		opened, page.Bundle = s.publisher.last, s.publisher.data
		if page.BundleRoot, err = bundle.EncodeRoots(opened.Roots...); err != nil {
			return err
		}
	}
	s.showResolver(page, desk, opened)
	if err := s.record(page, opened); err != nil {
		return err
	}
	if page.Deltas, err = s.deltas(page.Bundle); err != nil {
		return err
	}
	if s.accounts != nil {
		page.Access = &httpapi.Access{Accounts: s.accounts, SetUp: s.settled, Audit: s.store, Changed: s.wakeUp}
		if desk != nil {
			page.Access.Language = messages.Accept(desk.settings.Language)
			if page.Access.Zone, err = time.LoadLocation(desk.settings.TimeZone); err != nil {
				return fmt.Errorf("setting %s: %w", access.SettingTimeZone, err)
			}
		}
	}

	// Step 4: show it.
	page.API.Trust.Keys = len(page.Verifier.Trust.All())
	page.TrustSummary = fmt.Sprintf("%d keys", page.API.Trust.Keys)
	if opened != nil {
		page.API.Trust.Bundle = &httpapi.BundleInfo{Serial: opened.Serial, Maker: opened.Maker, Issued: opened.Issued, Next: opened.Next, Digest: opened.Digest.String()}
		// Dates and no age: the page stands until the next bundle comes.
		page.TrustSummary += fmt.Sprintf("\nbundle %d of %s, issued %s, the next is due %s", opened.Serial, opened.Maker, opened.Issued.Format(time.DateOnly), opened.Next.Format(time.DateOnly))
	}
	if s.decorate != nil {
		s.decorate(page)
	}
	s.front.Show(page, func() error {
		if opened != nil && opened.TooOld(time.Now()) {
			return fmt.Errorf("the bundle was due at %s: nothing is valid by it", opened.Next.Format(time.RFC3339))
		}
		return nil
	})
	s.kept = opened
	s.log.Info("trust data loaded", "keys", page.API.Trust.Keys, "serial", serialOf(opened))
	return nil
}

// record puts the writer of transcripts on the page, where there is a key for it. It goes
// by the bundle that others can have, and by the policy: nothing else.
func (s *service) record(page *httpapi.Page, opened *bundle.Opened) error {
	if s.recorder == nil || opened == nil {
		return nil
	}
	sources, err := (&trustFlags{Policy: s.settings.Verifier.Policy}).sources(opened)
	if err != nil {
		return err
	}
	v := verifier.FromBundle(opened, time.Now)
	v.HotKeys, v.Policies = s.hot, page.Verifier.Policies
	page.Recorder = &httpapi.Recorder{Verifier: v, Sources: sources, Read: opened.Read, Signer: s.recorder.Signer}
	return nil
}

// forget has the next refresh read everything, whether it has changed or not, and make
// a bundle of it.
func (s *service) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgetLocked()
}

func (s *service) forgetLocked() {
	s.seen = ""
	if s.publisher != nil {
		s.publisher.of = ""
	}
}

// verifierFlags are the settings of the verifier as `ampoule verify` takes them.
func verifierFlags(c *config.Config) trustFlags {
	v := c.Verifier
	return trustFlags{
		sourceFlags: sourceFlags{
			Trust: v.Trust, Pin: v.Pin, Status: v.Status, Catalogue: v.Catalogue, Map: v.Map, Rules: v.Rules, ValueSets: v.ValueSets,
			lotFlags: lotFlags{Lots: v.Lots, LotKey: v.LotKey},
		},
		Policy: v.Policy, HotKeys: v.HotKeys,
	}
}

// earlierBundles is from how many a delta is offered.
const earlierBundles = 8

// deltas makes what leads to a bundle from each of those that were served before,
// by their SHA-256.
func (s *service) deltas(data []byte) (map[string][]byte, error) {
	if data == nil {
		return nil, nil
	}
	s.earlier = slices.DeleteFunc(s.earlier, func(e []byte) bool { return bytes.Equal(e, data) })
	made, size := make(map[string][]byte), 0
	for i := len(s.earlier) - 1; i >= 0; i-- {
		from := s.earlier[i]
		if size += len(from); size > bundle.MaxSize || len(made) == earlierBundles {
			s.earlier = s.earlier[i+1:]
			break
		}
		delta, err := bundle.Delta(from, data)
		if err != nil {
			return nil, err
		}
		if len(delta) < len(data)/2 { // or the whole is the simpler
			made[fmt.Sprintf("%x", sha256.Sum256(from))] = delta
		}
	}
	s.earlier = append(s.earlier, data)
	return made, nil
}

func serialOf(b *bundle.Opened) int64 {
	if b == nil {
		return 0
	}
	return b.Serial
}

// renewedCertificate reads the certificate of the server again when its file has
// changed, and keeps the last good one.
type renewedCertificate struct {
	certificate, key string
	log              *slog.Logger

	mu      sync.Mutex // held while the files are looked at
	loaded  *tls.Certificate
	changed time.Time
	looked  time.Time
}

// forget has the files read again for the next connection.
func (r *renewedCertificate) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.looked, r.changed = time.Time{}, time.Time{}
}

func (r *renewedCertificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if r.loaded != nil && now.Sub(r.looked) < 10*time.Second {
		return r.loaded, nil
	}
	r.looked = now
	info, err := os.Stat(r.certificate)
	if err == nil && r.loaded != nil && info.ModTime().Equal(r.changed) {
		return r.loaded, nil
	}
	var pair tls.Certificate
	if err == nil {
		pair, err = tls.LoadX509KeyPair(r.certificate, r.key)
	}
	switch {
	case err == nil:
		r.loaded, r.changed = &pair, info.ModTime()
	case r.loaded == nil:
		return nil, err
	default:
		r.log.Error("the certificate of the server could not be read again", "error", err.Error())
	}
	return r.loaded, nil
}
