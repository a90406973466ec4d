package main

import (
	"context"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"path/filepath"
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
	Listen string `default:"127.0.0.1:8080" placeholder:"ADDR" help:"Address of the page; port 0 takes a free one."`
	Dir    string `placeholder:"F" help:"Folder for the files, kept afterwards; it must not exist. A temporary one otherwise."`
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
	d, err := newDemo(dir, time.Now())
	if err != nil {
		return err
	}
	settings, err := d.settings(dir, c.Listen)
	if err != nil {
		return err
	}
	if err := d.ledger(settings.Ledger.Dir, filepath.Join(dir, "trustlist", "csca.pem")); err != nil {
		return err
	}
	var logins []demoLogin
	return serve(t, settings, hooks{
		prepare: func(ctx context.Context, s *service) (err error) {
			logins, err = d.people(ctx, s)
			if err == nil {
				err = d.records(ctx, s)
			}
			if err == nil {
				err = d.logRecords(ctx, s)
			}
			if err == nil {
				err = d.coldChain(ctx, s)
			}
			if err == nil {
				err = d.stock(ctx, s)
			}
			if err == nil {
				err = d.suppliers(ctx, s)
			}
			return err
		},
		decorate: func(p *httpapi.Page) {
			p.Samples, p.Demonstration = d.samples, true
			p.TrustSummary = fmt.Sprintf("%d demonstration keys of participant %s", len(p.Verifier.Trust.All()), demoParticipant)
		},
		serving: func(address string) {
			fmt.Fprintf(t.out, `All keys and persons here are fictitious.

open:    %[1]s/
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
	trusted            *keySet
	verifier           *verifier.Verifier
	samples            []httpapi.Sample
	bundle, bundleRoot []byte
	supplier           *demoSupplier
}

func newDemo(dir string, now time.Time) (*demo, error) {
	// Some samples were issued a while ago, so the keys are a year old.
	made := now.AddDate(-1, 0, 0)
	trusted, err := newKeySet(keys.Participant{Country: "XA", Organization: "Demonstration Health Authority", Name: "Demonstration SCA"}, demoParticipant, made)
	if err != nil {
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
	d := &demo{trusted: trusted, verifier: &verifier.Verifier{Trust: new(trust.List), Catalogue: cert.DemoCatalogue(), Now: time.Now}}
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
	if err := d.save(dir, revoked); err != nil {
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

// save writes the samples as text and picture.
func (d *demo) save(dir string, revoked []byte) error {
	folder := filepath.Join(dir, "samples")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for _, s := range d.samples {
		for _, ext := range []string{".txt", ".png"} {
			path := filepath.Join(folder, s.ID+ext)
			encode := func() (*qr.Symbol, error) { return qr.EncodeWithin(s.Text, qr.Q, httpapi.SampleModules) }
			if err := writeCode(path, s.Text, httpapi.SampleWidth, encode); err != nil {
				return err
			}
		}
	}
	return os.WriteFile(filepath.Join(dir, "revoked.json"), revoked, 0o644)
}

// addLots makes a regulator, its recall of a lot, and the list that the verifier
// advises by; lots.txt and regulator.pem are for the command line.
func (d *demo) addLots(dir string, s *sampler) error {
	made := s.now.AddDate(-1, 0, 0)
	sca, err := keys.NewSCA(keys.Participant{Country: "XA", Organization: "Demonstration Medicines Regulator", Name: "Demonstration Regulator SCA"}, made, rand.Reader)
	if err != nil {
		return err
	}
	regulator, err := sca.IssueDSC(keys.DSCProfile{Name: "Demonstration regulator, lots"}, made, rand.Reader)
	if err != nil {
		return err
	}
	file, err := s.recall(regulator)
	if err != nil {
		return err
	}
	der := regulator.Certificate().Raw
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for name, data := range map[string][]byte{"lots.txt": file, "regulator.pem": certificate} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return err
		}
	}
	key, err := thing.NewLotKey(thing.Regulator, lotAuthority, "", der)
	if err != nil {
		return err
	}
	d.verifier.Lots = new(thing.LotList)
	return d.verifier.Lots.Add("lots.txt", file, thing.LotKeys{key}, s.now)
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
	f.LotKey = []string{"regulator:" + lotAuthority + "=" + filepath.Join(dir, "regulator.pem")}
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
