package main

import (
	"context"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"ampoule/cert"
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

// Run makes keys, issues a sample of every kind, and serves the page until it is
// told to stop.
func (c *demoCmd) Run(t terminal) error {
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return usageError("%w (try --listen 127.0.0.1:0)", err)
	}
	defer listener.Close()
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
	page := &httpapi.Page{
		Verifier: d.verifier, Samples: d.samples, Demonstration: true,
		TrustSummary: fmt.Sprintf("%d demonstration keys of participant %s", len(d.verifier.Trust.All()), demoParticipant),
		Log:          slog.New(slog.NewJSONHandler(t.err, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	server := &http.Server{
		Handler: page.Handler(), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute,
		WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10,
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()

	fmt.Fprintf(t.out, `All keys and persons here are fictitious.

open:    http://%[1]s/
files:   %[2]s
verify:  %[4]s verify --trust %[2]s/trustlist/did.json --pin %[2]s/trustlist/pin.pem --status %[2]s/revoked.json --catalogue demo --lots %[2]s/lots.txt --lot-key regulator:%[3]s=%[2]s/regulator.pem %[2]s/samples/recalled-lot.png
stop:    Ctrl-C
`, listener.Addr(), dir, lotAuthority, os.Args[0])

	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	shutdown, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := server.Shutdown(shutdown); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

const (
	demoParticipant = "XXA"
	demoAddress     = "https://issuer.ampoule.invalid"
)

// demo is a small world: a participant that is trusted, one that is not, and
// certificates of both.
type demo struct {
	verifier *verifier.Verifier
	samples  []httpapi.Sample
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
	d := &demo{verifier: &verifier.Verifier{Catalogue: cert.DemoCatalogue(), Now: time.Now}}
	s := &sampler{trusted: trusted, unlisted: unlisted, now: now}
	var document []byte
	if document, err = s.makeDIVOCKey(); err != nil {
		return nil, err
	}
	lists := filepath.Join(dir, "trustlist")
	if err := os.WriteFile(filepath.Join(lists, "divoc.json"), document, 0o644); err != nil {
		return nil, err
	}
	f := trustFlags{
		Trust: []string{
			filepath.Join(lists, "did.json"), demoAddress + "=" + filepath.Join(lists, "jwks.json"),
			filepath.Join(lists, "csca.pem"), filepath.Join(lists, "divoc.json"),
		},
		Pin: []string{filepath.Join(lists, "pin.pem")},
	}
	if d.verifier.Trust, err = f.list(); err != nil {
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
