package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"ampoule/device"
	"ampoule/format/chirpstack"
	"ampoule/format/loggerfile"
	"ampoule/format/oid"
	"ampoule/internal/access"
	"ampoule/internal/config"
	"ampoule/internal/deviceapi"
	"ampoule/internal/est"
	"ampoule/internal/httpapi"
	"ampoule/internal/keep"
	"ampoule/internal/keys"
	"ampoule/internal/mqttapi"
	"ampoule/internal/store"
	"ampoule/party/fleet"
)

// fleetNode is the devices of a server, and the doors at which they knock.
type fleetNode struct {
	*fleet.Fleet
	settings  *config.Config
	store     *store.Fleet
	accounts  *access.Accounts
	authority *keys.Key // of the devices
	service   *keys.Key // seals readings, signs alarms
	makers    *x509.CertPool
	ours      *x509.CertPool
	live      *httpapi.Live
	logged    func(context.Context, *fleet.Window) (message, proof []byte, err error) // nil: nothing is anchored
	pages     http.Handler                                                            // the door below /devices/, for suppliers with tokens
	plans     deviceapi.Plans
	log       *slog.Logger
	// doors close the doors; then cancel ends the work, and works wait for its end.
	doors, works []func()
	cancel       context.CancelFunc
}

// The files of the devices' keys, in a folder of the store.
const (
	devicesFolder  = "devices"
	authorityFile  = "authority.key"
	serviceKeyFile = "service.key"
	doorFile       = "door.key"
	// rootFile is the certificate of the authority, for everybody: devices trust the door by
	// it, and evidence is checked under it.
	rootFile = "authority.pem"
)

// openFleet opens the readings of a store, and makes the keys of its devices when it is
// done first.
func openFleet(ctx context.Context, c *config.Config, accounts *access.Accounts, log *slog.Logger) (_ *fleetNode, err error) {
	f := &fleetNode{settings: c, accounts: accounts, live: new(httpapi.Live), log: log}
	where, err := storeConfig(c)
	if err != nil {
		return nil, err
	}
	if c.Fleet.Arc != "" {
		if _, err := oid.Parse(c.Fleet.Arc); err != nil {
			return nil, usageError("fleet.arc: %w", err)
		}
	}
	lock, err := storeLock(c)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(c.Store.Dir, devicesFolder)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, usageError("store.dir: %w", err)
	}
	now := time.Now()
	if f.authority, err = loadOrMake(filepath.Join(dir, authorityFile), lock, func() (*keys.Key, error) { return keys.NewDeviceCA(now, nil) }); err != nil {
		return nil, err
	}
	if f.service, err = loadOrMake(filepath.Join(dir, serviceKeyFile), lock, func() (*keys.Key, error) { return keys.NewService(f.authority, now, nil) }); err != nil {
		return nil, err
	}
	root := filepath.Join(dir, rootFile)
	if _, err := os.Stat(root); errors.Is(err, fs.ErrNotExist) {
		if err := keep.Replace(root, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.authority.Certificate().Raw}), 0o644); err != nil {
			return nil, err
		}
	}
	f.ours, f.makers = x509.NewCertPool(), x509.NewCertPool()
	f.ours.AddCert(f.authority.Certificate())
	for _, path := range c.Fleet.Makers {
		data, err := readInput(path, nil)
		if err == nil && !f.makers.AppendCertsFromPEM(data) {
			err = errors.New("no certificate in PEM")
		}
		if err != nil {
			return nil, usageError("fleet.makers: %s: %w", path, err)
		}
	}
	if f.store, err = store.OpenFleet(ctx, where); err != nil {
		return nil, err
	}
	kid, err := device.KeyID(f.service.Signer.Public())
	if err != nil {
		return nil, err
	}
	f.Fleet = &fleet.Fleet{
		Book: f.store, Signer: f.service.Signer, KID: kid, Arc: c.Fleet.Arc, Announce: c.Fleet.Announced, KeepRaw: c.Fleet.Raw, Keep: c.Fleet.Keep,
		Repeat: c.Fleet.Repeat, Escalate: c.Fleet.Escalate, Changed: f.live.Tell, Now: time.Now, Log: log,
	}
	codecs, err := f.codecs()
	if err != nil {
		return nil, err
	}
	f.pages = http.StripPrefix("/devices", f.api(codecs).Handler())
	return f, nil
}

// codecs are the tables of what LoRaWAN devices send.
func (f *fleetNode) codecs() (all []chirpstack.Codec, err error) {
	for _, path := range f.settings.Fleet.Codecs {
		data, err := readInput(path, nil)
		if err != nil {
			return nil, usageError("fleet.codecs: %w", err)
		}
		some, err := chirpstack.ParseCodecs(data)
		if err != nil {
			return nil, usageError("fleet.codecs: %s: %w", path, err)
		}
		all = append(all, some...)
	}
	return all, nil
}

// loadOrMake loads a key of the service, or makes it.
func loadOrMake(path string, lock keys.Lock, make func() (*keys.Key, error)) (*keys.Key, error) {
	k, err := keys.Load(path, lock)
	if !errors.Is(err, fs.ErrNotExist) {
		if err != nil {
			return nil, exitError{exitUsage, err}
		}
		return k, nil
	}
	if k, err = make(); err != nil {
		return nil, err
	}
	return k, keys.Save(path, k, lock)
}

// serve opens the doors, and works until stop is called.
func (f *fleetNode) serve(ctx context.Context, failed chan<- error) (err error) {
	c := f.settings.Fleet
	ctx, f.cancel = context.WithCancel(ctx)
	out, err := f.newNotices(ctx)
	if err != nil {
		return err
	}
	f.Send = out.send
	codecs, err := f.codecs()
	if err != nil {
		return err
	}
	var working sync.WaitGroup
	f.works = append(f.works, working.Wait)
	working.Go(func() { f.Work(ctx) })
	door, err := f.door()
	if err != nil {
		return err
	}
	if c.Listen != "" {
		l, err := net.Listen("tcp", c.Listen)
		if err != nil {
			return exitError{exitUsage, fmt.Errorf("fleet.listen: %w", err)}
		}
		sum := sha256.Sum256(f.authority.Certificate().Raw)
		f.log.Info("devices", "address", "https://"+l.Addr().String(), "fingerprint", hex.EncodeToString(sum[:]))
		api := f.api(codecs)
		api.EST = &est.Handler{
			Authority: f, Makers: func() *x509.CertPool { return f.makers }, Ours: func() *x509.CertPool { return f.ours }, Now: time.Now,
			Failed: func(operation string, err error) {
				f.log.Error("enrolment failed", "operation", operation, "error", err.Error())
			},
		}
		server := httpapi.NewServer(api.Handler(), f.log)
		go func() {
			if err := server.Serve(tls.NewListener(l, est.TLS(deviceapi.TLS(door)))); !errors.Is(err, http.ErrServerClosed) {
				failed <- err
			}
		}()
		f.doors = append(f.doors, func() {
			end, cancel := context.WithTimeout(context.Background(), f.settings.HTTP.Stop)
			defer cancel()
			_ = server.Shutdown(end)
		})
	}
	var listeners []mqttapi.Listener
	for _, at := range []struct {
		setting, address string
		secure           bool
	}{{"fleet.mqtt", c.MQTT, true}, {"fleet.plain_mqtt", c.Plain, false}} {
		if at.address == "" {
			continue
		}
		l, err := net.Listen("tcp", at.address)
		if err != nil {
			return exitError{exitUsage, fmt.Errorf("%s: %w", at.setting, err)}
		}
		x := mqttapi.Listener{Listener: l}
		if at.secure {
			x.TLS = mqttapi.TLS(door)
		}
		listeners = append(listeners, x)
		f.log.Info("devices", "address", map[bool]string{true: "mqtts://", false: "mqtt://"}[at.secure]+l.Addr().String())
	}
	if len(listeners) > 0 {
		broker := &mqttapi.Server{
			Ingester: f.Fleet, Who: who{f, "mqtt"}, Sessions: f.store, Log: f.log,
			Limits: mqttapi.Limits{Connections: c.Connections}, Reader: mqttapi.Reader{ChirpStack: fleet.FromChirpStack(codecs)},
		}
		if err := broker.Start(listeners...); err != nil {
			return err
		}
		f.doors = append(f.doors, func() { _ = broker.Close() })
	}
	if c.Broker != "" {
		if c.Organisation == "" {
			return usageError("fleet.broker_organisation is not set: to whom do devices belong that speak by %s?", c.Broker)
		}
		at, err := url.Parse(c.Broker)
		if err != nil || at.Host == "" {
			return usageError("fleet.broker: %q is not like mqtts://broker.example:8883", c.Broker)
		}
		secret := []byte(nil)
		if c.SecretFile != "" {
			if secret, err = readInput(c.SecretFile, nil); err != nil {
				return usageError("fleet.broker_secret_file: %w", err)
			}
		}
		name, _ := os.Hostname()
		sum := sha256.Sum256([]byte(name + f.settings.Store.Dir))
		consumer := &mqttapi.Consumer{
			Reader: mqttapi.Reader{ChirpStack: fleet.FromChirpStack(codecs)}, Ingester: f.Fleet, Broker: at, User: c.User, Secret: string(bytes.TrimSpace(secret)), Client: "ampoule-" + hex.EncodeToString(sum[:6]),
			Group: c.Group, Topics: c.Topics, Log: f.log, Source: f.ofTopic,
		}
		working.Go(func() {
			if err := consumer.Run(ctx); err != nil && ctx.Err() == nil {
				failed <- err
			}
		})
	}
	return nil
}

// stop closes the doors, lets the work under way end, and closes the readings.
func (f *fleetNode) stop() {
	if f == nil {
		return
	}
	for _, close := range f.doors {
		close()
	}
	if f.cancel != nil {
		f.cancel()
	}
	for _, wait := range f.works {
		wait()
	}
	if err := f.store.Close(); err != nil {
		f.log.Warn("not ended well", "error", err.Error())
	}
}

// show puts the cold chain on the pages.
func (f *fleetNode) show(p *httpapi.Page) {
	if f == nil {
		return
	}
	p.Watching = &httpapi.Watching{
		Fleet: f.Fleet, Policy: f.accounts.Policy, Suppliers: f, Live: f.live, Read: readLoggerFile, Logged: f.logged,
		Certificates: f.certificates(),
	}
	p.Devices = f.pages
}

// certificates are those of the service's key, and of the authority above it.
func (f *fleetNode) certificates() [][]byte {
	return [][]byte{f.service.Certificate().Raw, f.authority.Certificate().Raw}
}

// door is the certificate of the doors: that of the settings, or one of the authority of
// the devices, made anew when a month is left of it.
func (f *fleetNode) door() (func(*tls.ClientHelloInfo) (*tls.Certificate, error), error) {
	c := f.settings.Fleet
	if c.Certificate != "" {
		renewed := &renewedCertificate{certificate: c.Certificate, key: c.Key, log: f.log}
		if _, err := renewed.get(nil); err != nil {
			return nil, usageError("fleet.certificate: %w", err)
		}
		return renewed.get, nil
	}
	lock, err := storeLock(f.settings)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(f.settings.Store.Dir, devicesFolder, doorFile)
	make := func() (*keys.Key, error) { return keys.NewDoor(f.authority, c.Hosts, time.Now(), nil) }
	k, err := loadOrMake(path, lock, make)
	if err != nil {
		return nil, err
	}
	if time.Until(k.Certificate().NotAfter) < 30*24*time.Hour || !covers(k.Certificate(), c.Hosts) {
		if k, err = make(); err != nil {
			return nil, err
		}
		if err := keys.Save(path, k, lock); err != nil {
			return nil, err
		}
	}
	pair := &tls.Certificate{PrivateKey: k.Signer}
	for _, x := range k.Chain {
		pair.Certificate = append(pair.Certificate, x.Raw)
	}
	return func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return pair, nil }, nil
}

func covers(c *x509.Certificate, hosts []string) bool {
	for _, h := range hosts {
		if c.VerifyHostname(h) != nil {
			return false
		}
	}
	return true
}

// api is the door for HTTP, at an address of its own or below /devices/.
func (f *fleetNode) api(codecs []chirpstack.Codec) *deviceapi.Server {
	return &deviceapi.Server{
		Ingester: f.Fleet, Who: who{f, "https"}, Faults: &f.plans, Log: f.log, ChirpStack: fleet.FromChirpStack(codecs), Attester: f.Fleet,
		Saw: func(s fleet.Source, t fleet.Transmission) {
			if err := f.store.Saw(context.Background(), s.Organisation, &t); err != nil {
				f.log.Error("a transmission is missing in the record of its supplier", "error", err.Error())
			}
		},
	}
}

// ofTopic tells whose a topic of an outside broker is: that of a device, or of an account.
func (f *fleetNode) ofTopic(topic string) (fleet.Source, error) {
	s, err := mqttapi.OfTopic(topic)
	if err == nil && s.Device == "" && s.Supplier != "" {
		s.Organisation = f.settings.Fleet.Organisation
	}
	return s, err
}

// who tells who knocks.
type who struct {
	*fleetNode
	via string
}

// Secret implements [deviceapi.Who] and [mqttapi.Who]: a secret is a token that may send
// readings.
func (w who) Secret(ctx context.Context, _, secret string) (s fleet.Source, err error) {
	v, err := w.accounts.Token(ctx, secret)
	if err != nil {
		return s, nobody(err)
	}
	at := v.Principal.Home()
	if ok, _ := w.accounts.Policy.Allow(v.Principal, access.ReadingsSend, at); !ok {
		return s, deviceapi.ErrNobody
	}
	return fleet.Source{Supplier: v.Account.ID, Level: device.LevelToken, Via: w.via, Organisation: at.Organisation, Facility: at.Facility}, nil
}

func nobody(err error) error {
	if errors.Is(err, access.ErrNotFound) {
		return deviceapi.ErrNobody
	}
	return err
}

// Certificate implements them: a certificate of ours is a device's, as long as that is in
// the registry and its key is.
func (w who) Certificate(ctx context.Context, c *x509.Certificate) (s fleet.Source, err error) {
	id, err := device.CheckLDevID([]*x509.Certificate{c}, w.ours, time.Now())
	if err != nil {
		return s, deviceapi.ErrNobody
	}
	d, err := w.store.Device(ctx, id)
	if errors.Is(err, fleet.ErrNoDevice) {
		return s, deviceapi.ErrNobody
	}
	if err != nil {
		return s, err
	}
	kid, err := device.KeyID(c.PublicKey)
	if err != nil || d.Key(kid, time.Now()) == nil || !d.State.Heard() {
		return s, deviceapi.ErrNobody
	}
	return fleet.Source{Device: id, Level: device.LevelMutual, Via: w.via, Organisation: d.Place.Organisation, Facility: d.Place.Facility}, nil
}

// CAs implements [est.Authority].
func (f *fleetNode) CAs(context.Context) ([]*x509.Certificate, error) {
	return f.authority.Chain, nil
}

// Enrol implements it: a claim code is good once, a maker's certificate for a device of
// that serial number that is in the registry and has none of ours, and one of ours for
// the next.
func (f *fleetNode) Enrol(ctx context.Context, r *device.Request, w est.Who) (*x509.Certificate, error) {
	var d *fleet.Device
	var err error
	switch {
	case w.LDevID != nil:
		d, err = f.store.Device(ctx, w.Device)
	case w.IDevID != nil:
		d, err = f.byMaker(ctx, w.IDevID)
	case w.Claim != nil:
		hash := w.Claim.Hash()
		d, err = f.store.DeviceClaimed(ctx, hash[:])
	}
	if errors.Is(err, fleet.ErrNoDevice) || err == nil && (d == nil || !d.State.Heard()) {
		return nil, est.ErrDenied
	}
	if err != nil {
		return nil, err
	}
	number, err := keys.DeviceNumber(nil)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	serial := ""
	for _, n := range d.Names {
		if n.Scheme == device.Serial {
			_, serial, _ = strings.Cut(n.Value, "/")
		}
	}
	template, err := r.Template(d.ID, serial, number, now.Add(-time.Minute), now.AddDate(keys.DeviceYears, 0, 0))
	if err != nil {
		return nil, err
	}
	if template.NotBefore.Before(f.authority.Certificate().NotBefore) {
		template.NotBefore = f.authority.Certificate().NotBefore
	}
	c, err := keys.CertifyDevice(f.authority, template, r.PublicKey, nil)
	if err != nil {
		return nil, err
	}
	if err := f.Certify(ctx, d.ID, c, "est"); err != nil {
		return nil, err
	}
	f.log.Info("device enrolled", "device", d.ID.String())
	return c, nil
}

// byMaker finds the device of a maker's certificate, which must have none of ours: one
// that has renews under it.
func (f *fleetNode) byMaker(ctx context.Context, id *device.IDevID) (*fleet.Device, error) {
	n, err := device.NewName(device.Serial, id.Maker+"/"+id.Serial)
	if err != nil {
		return nil, est.ErrDenied
	}
	d, err := f.store.DeviceNamed(ctx, n)
	if err == nil && (d.State != device.Claimed || len(d.Keys) > 0) {
		return nil, est.ErrDenied
	}
	return d, err
}

// List implements [httpapi.Suppliers].
func (f *fleetNode) List(ctx context.Context, organisation string) ([]httpapi.SupplierSeen, error) {
	seen, err := f.store.SuppliersSeen(ctx, organisation)
	out := make([]httpapi.SupplierSeen, len(seen))
	for i, s := range seen {
		out[i] = httpapi.SupplierSeen{ID: s.Supplier, Last: s.Last, Count: s.Count}
	}
	return out, err
}

// Report implements it.
func (f *fleetNode) Report(ctx context.Context, organisation, supplier string, now time.Time) (*fleet.Conformance, error) {
	seen, err := f.store.Transmissions(ctx, organisation, supplier)
	if err != nil {
		return nil, err
	}
	if len(seen) == 0 {
		return nil, fleet.ErrNoDevice
	}
	c := fleet.Judge(supplier, seen, now)
	return &c, nil
}

// known reports whether a supplier is of an organisation: faults are put in for nobody
// else's.
func (f *fleetNode) known(ctx context.Context, organisation, supplier string) error {
	seen, err := f.store.SuppliersSeen(ctx, organisation)
	if err == nil && !slices.ContainsFunc(seen, func(s store.Seen) bool { return s.Supplier == supplier }) {
		err = fleet.ErrNoDevice
	}
	return err
}

// Plan implements it. A plan ends with the server: one that is forgotten does no harm.
func (f *fleetNode) Plan(ctx context.Context, organisation string, p fleet.Plan) error {
	if err := f.known(ctx, organisation, p.Supplier); err != nil {
		return err
	}
	return f.plans.Set(p)
}

// Clear implements it.
func (f *fleetNode) Clear(ctx context.Context, organisation, supplier string) error {
	if err := f.known(ctx, organisation, supplier); err != nil {
		return err
	}
	f.plans.Clear(supplier)
	return nil
}

// Planned implements it.
func (f *fleetNode) Planned(supplier string) (fleet.Plan, int, bool) { return f.plans.Left(supplier) }

// readLoggerFile reads a file that somebody brings. All that it does not say of itself is
// asked for at once: to see what else is in it, it is read as if it were in UTC, had the
// day first and were in Celsius, and what rests on that is not told.
func readLoggerFile(data []byte, q httpapi.FileQuestion) (*fleet.Delivery, *httpapi.FileAnswer, error) {
	o := loggerfile.Options{Zone: q.Zone, Unit: q.Unit, Order: map[string]loggerfile.Order{"dmy": loggerfile.DayMonth, "mdy": loggerfile.MonthDay}[q.Dates]}
	about := &httpapi.FileAnswer{}
	file, err := loggerfile.Parse(data, o)
	for _, ask := range []struct {
		defect error
		word   string
		assume func()
	}{
		{loggerfile.ErrUnit, "unit", func() { o.Unit = "C" }},
		{loggerfile.ErrOrder, "dates", func() { o.Order = loggerfile.DayMonth }},
		{loggerfile.ErrZone, "zone", func() { o.Zone = time.UTC }},
	} {
		if errors.Is(err, ask.defect) {
			about.Asks = append(about.Asks, ask.word)
			ask.assume()
			file, err = loggerfile.Parse(data, o)
		}
	}
	if err != nil && len(about.Asks) > 0 {
		return nil, about, nil // with the answers it will say more
	}
	if err != nil {
		return nil, nil, err
	}
	about.Kind, about.Serial, about.Model = file.Kind, file.Serial, file.Model
	first := true
	for _, s := range file.Series {
		for i, r := range s.Readings {
			if s.Quantity != loggerfile.Temperature {
				break
			}
			if first {
				first, about.Low, about.High = false, r.Value, r.Value
			}
			about.Count++
			about.Low, about.High = min(about.Low, r.Value), max(about.High, r.Value)
			if at := time.Unix(r.At, 0).UTC(); i == 0 && (about.From.IsZero() || at.Before(about.From)) {
				about.From = at
			}
			if at := time.Unix(r.At, 0).UTC(); at.After(about.Until) {
				about.Until = at
			}
		}
	}
	d, err := fleet.FromFile(file, data, "application/octet-stream", q.Device)
	if errors.Is(err, fleet.ErrNoName) {
		about.Asks, err = append(about.Asks, "device"), nil
	}
	if slices.Contains(about.Asks, "unit") {
		about.Low, about.High = 0, 0
	}
	if slices.Contains(about.Asks, "dates") || slices.Contains(about.Asks, "zone") {
		about.From, about.Until = time.Time{}, time.Time{}
	}
	if len(about.Asks) > 0 {
		d = nil
	}
	return d, about, err
}
