package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"text/tabwriter"
	"time"

	"ampoule/cert"
	"ampoule/format/cose"
	"ampoule/internal/httpapi"
	"ampoule/internal/keys"
	"ampoule/internal/qr"
	"ampoule/party/verifier"
	"ampoule/thing"
	"ampoule/trust"
)

type demoCmd struct {
	Listen     string `default:"127.0.0.1:8080" placeholder:"ADDR" help:"Address of the page; port 0 takes a free one."`
	Dir        string `placeholder:"F" help:"Folder for the files, kept afterwards; it must not exist. A temporary one otherwise."`
	Federation bool   `help:"Have four countries keep the ledger, each by a process of its own, instead of one."`
}

// Run makes keys, issues a sample of every kind, and serves them with all that a
// clinic has, until it is told to stop.
func (c *demoCmd) Run(t terminal) error {
	dir := c.Dir
	if dir == "" {
		parent, err := os.MkdirTemp("", "ampoule-demo-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(parent)
		dir = filepath.Join(parent, "demo")
	} else if _, err := os.Lstat(dir); err == nil {
		return usageError("--dir %s exists", dir)
	}
	started := time.Now()
	d, err := newDemo(dir, started)
	if err != nil {
		return err
	}
	settings, err := d.settings(dir, c.Listen)
	if err != nil {
		return err
	}
	if c.Federation {
		settings.Log.Level = "error" // what waits for the others to start is no news
	}
	if err := d.ledger(settings, filepath.Join(dir, "trustlist", "csca.pem"), c.Federation); err != nil {
		return err
	}
	world := &demoWorld{demo: d, dir: dir, started: started, federation: c.Federation, t: t}
	defer world.stop()
	if err := world.start(); err != nil {
		return err
	}
	var logins []demoLogin
	return serve(t, settings, hooks{
		prepare: func(ctx context.Context, s *service) (err error) {
			logins, err = d.people(ctx, s)
			steps := []func(context.Context, *service) error{d.records, d.logRecords, d.equip, d.stock, d.given, d.readings, d.sessions, d.suppliers}
			if c.Federation {
				steps[1] = world.logLater // the others may not be there yet
			}
			for _, step := range steps {
				if err == nil {
					err = step(ctx, s)
				}
			}
			if err == nil {
				world.join(ctx, s)
			}
			return err
		},
		decorate: func(p *httpapi.Page) {
			p.Demonstration, p.Scene = true, d.sceneJSON
			d.mu.Lock()
			p.Samples = slices.Clone(d.samples)
			d.mu.Unlock()
			p.TrustSummary = fmt.Sprintf("%d demonstration keys of participant %s and those it trusts", len(p.Verifier.Trust.All()), demoParticipant)
		},
		serving: func(address string) {
			fmt.Fprintf(t.out, `All keys and persons here are fictitious.

open:    %[1]s/
tour:    %[1]s/tour/
issue:   %[1]s/issuer/
stores:  %[1]s/coldchain/
ledger:  %[1]s/ledger/
files:   %[2]s
verify:  %[3]s verify --bundle %[2]s/bundle.cbor --root %[2]s/bundle-root.pem %[2]s/samples/recalled-lot.png
stop:    Ctrl-C

`, address, dir, os.Args[0])
			w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "LOGIN\tPASSWORD\tWHAT THEY DO")
			for _, l := range logins {
				fmt.Fprintf(w, "%s\t%s\t%s\n", l.name, l.password, l.does)
			}
			_ = w.Flush()
			fmt.Fprintln(t.out)
			world.open(address)
		},
	})
}

const (
	demoParticipant = "XXA"
	demoAddress     = "https://issuer.ampoule.invalid"
)

// demo is a small world: a participant that is trusted, one that is not, and
// certificates of both.
type demo struct {
	dir                string
	trusted            *keySet
	verifier           *verifier.Verifier
	bundle, bundleRoot []byte
	supplier           *demoSupplier
	stores             []*demoStore
	carrier            *demoStore
	net                demoNetwork
	addresses          []string            // for the nodes of the ledger
	second             string              // folder of the second member of the ledger
	nodes              map[string][]string // of the other countries: the arguments of each

	mu      sync.Mutex // guards what follows
	samples []httpapi.Sample
	scene   scene
}

// add adds a sample, as text and picture too.
func (d *demo) add(more ...httpapi.Sample) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.samples = append(d.samples, more...)
	return save(d.dir, more)
}

func newDemo(dir string, now time.Time) (*demo, error) {
	// Some samples were issued a while ago, so the keys are a year old.
	made := now.AddDate(-1, 0, 0)
	p := keys.Participant{Country: "XA", Organization: "Demonstration Health Authority", Name: "Demonstration SCA"}
	trusted, err := newKeySet(p, demoParticipant, made)
	if err != nil {
		return nil, err
	}
	// Those by which it takes part in a network are renewed every year.
	if trusted.others["up"], err = keys.NewUP(p, now, rand.Reader); err != nil {
		return nil, err
	}
	if trusted.others["tls"], err = keys.NewTLS(p, now, rand.Reader); err != nil {
		return nil, err
	}
	unlisted, err := newKeySet(keys.Participant{Country: "XB", Organization: "Unlisted Authority", Name: "Unlisted SCA"}, "XXB", made)
	if err != nil {
		return nil, err
	}
	// The private keys of a demonstration protect nothing, so they are in the clear.
	if err := trusted.save(dir, []string{"DCC", "DDCC", "ICVP", "PH4H"}, keys.Unencrypted()); err != nil {
		return nil, err
	}
	d := &demo{dir: dir, trusted: trusted, verifier: &verifier.Verifier{Trust: new(trust.List), Catalogue: cert.DemoCatalogue(), Now: time.Now}}
	s := &sampler{trusted: trusted, unlisted: unlisted, now: now}
	var document []byte
	if document, err = s.makeDIVOCKey(); err != nil {
		return nil, err
	}
	lists := filepath.Join(dir, "trustlist")
	if err := os.WriteFile(filepath.Join(lists, "divoc.json"), document, 0o644); err != nil {
		return nil, err
	}
	f := sourceFlags{
		Trust: []string{
			filepath.Join(lists, "did.json"), demoAddress + "=" + filepath.Join(lists, "jwks.json"),
			filepath.Join(lists, "csca.pem"), filepath.Join(lists, "divoc.json"),
		},
		Pin: []string{filepath.Join(lists, "pin.pem")},
	}
	if err := f.addKeys(d.verifier.Trust); err != nil {
		return nil, err
	}
	if d.samples, err = s.all(); err != nil {
		return nil, err
	}
	revoked, err := s.revocations()
	if err != nil {
		return nil, err
	}
	if err := save(dir, d.samples); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "revoked.json"), revoked, 0o644); err != nil {
		return nil, err
	}
	if err := d.addLots(dir, s); err != nil {
		return nil, err
	}
	if err := writeDemoProducts(dir); err != nil {
		return nil, err
	}
	if err := d.addBundle(dir, f); err != nil {
		return nil, err
	}
	d.verifier.Status = new(trust.Status)
	return d, d.verifier.Status.AddBatches("revoked.json", revoked)
}

// save writes samples as text and picture.
func save(dir string, samples []httpapi.Sample) error {
	folder := filepath.Join(dir, "samples")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for _, s := range samples {
		for _, ext := range []string{".txt", ".png"} {
			path := filepath.Join(folder, s.ID+ext)
			encode := func() (*qr.Symbol, error) { return qr.EncodeWithin(s.Text, qr.Q, httpapi.SampleModules) }
			if err := writeCode(path, s.Text, httpapi.SampleWidth, encode); err != nil {
				return err
			}
		}
	}
	return nil
}

// addLots makes a regulator, its recall of a lot, a manufacturer, its word on when its
// lots expire, and the list that the verifier advises by; lots.txt and the certificates
// are for the command line. The participant gets a key by which it speaks of its places.
func (d *demo) addLots(dir string, s *sampler) error {
	made := s.now.AddDate(-1, 0, 0)
	d.verifier.Lots = new(thing.LotList)
	var listed thing.LotKeys
	file := []byte("# Statements about lots of the demonstration: one in base64 a line.\n")
	for _, a := range demoAuthorities {
		sca, err := keys.NewSCA(keys.Participant{Country: "XA", Organization: a.organisation, Name: a.organisation + " SCA"}, made, rand.Reader)
		if err != nil {
			return err
		}
		key, err := sca.IssueDSC(keys.DSCProfile{Name: a.organisation + ", lots"}, made, rand.Reader)
		if err != nil {
			return err
		}
		for _, statement := range a.says(s.now) {
			statement.Role, statement.Authority, statement.Part = a.role, a.name, thing.All
			statement.Issued = s.now.AddDate(0, 0, -7).Truncate(time.Second)
			message, err := thing.SignLotStatement(rand.Reader, key.Signer, key.KID(), &statement)
			if err != nil {
				return err
			}
			file = thing.AppendLine(file, message)
		}
		if err := os.WriteFile(filepath.Join(dir, string(a.role)+".pem"), certificatePEM(key), 0o644); err != nil {
			return err
		}
		one, err := thing.NewLotKey(a.role, a.name, "", key.Certificate().Raw)
		if err != nil {
			return err
		}
		listed = append(listed, one)
	}
	if err := os.WriteFile(filepath.Join(dir, "lots.txt"), file, 0o644); err != nil {
		return err
	}
	places, err := d.trusted.sca.IssueDSC(keys.DSCProfile{Name: "Demonstration Health Authority, places"}, made, rand.Reader)
	if err != nil {
		return err
	}
	if err := keys.Save(filepath.Join(dir, "private", "places.key"), places, keys.Unencrypted()); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "places.pem"), certificatePEM(places), 0o644); err != nil {
		return err
	}
	return d.verifier.Lots.Add("lots.txt", file, listed, s.now)
}

// demoLotKeys are the settings by which a verifier believes those who speak of lots.
func demoLotKeys(dir string) (list []string) {
	for _, a := range demoAuthorities {
		list = append(list, string(a.role)+":"+a.name+"="+filepath.Join(dir, string(a.role)+".pem"))
	}
	return list
}

// addBundle makes a bundle of all that the verifier decides by, for the command
// line and for pages that fetch it.
func (d *demo) addBundle(dir string, f sourceFlags) error {
	root := filepath.Join(dir, "bundle-root.pem")
	unencrypted := secretFlags{Unencrypted: true}
	key := filepath.Join(dir, "private", "bundle-root.key")
	if err := makeBundleRoot(key, root, cose.ES256, time.Now().Add(-time.Hour), time.Now().AddDate(1, 0, 0), keys.Unencrypted()); err != nil {
		return err
	}
	f.Status, f.Catalogue = []string{filepath.Join(dir, "revoked.json")}, []string{"demo"}
	f.Lots = []string{filepath.Join(dir, "lots.txt")}
	f.LotKey = demoLotKeys(dir)
	out := filepath.Join(dir, "bundle.cbor")
	made := bundleMakeCmd{secretFlags: unencrypted, sourceFlags: f, Key: []string{key}, Maker: demoParticipant, Days: 30, Out: out}
	if err := made.Run(terminal{out: io.Discard, err: io.Discard}); err != nil {
		return err
	}
	var err error
	if d.bundle, err = os.ReadFile(out); err != nil {
		return err
	}
	d.bundleRoot, err = os.ReadFile(root)
	return err
}
