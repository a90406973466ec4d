package main

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"ampoule/bundle"
	"ampoule/format/didlist"
	"ampoule/internal/config"
	"ampoule/internal/keep"
	"ampoule/internal/keys"
	"ampoule/party/issuer"
	"ampoule/trust"
)

// publisher makes bundles of what a server goes by, its own keys and revocations
// among it, for verifiers that have no network most of the time.
type publisher struct {
	settings *config.Config
	signer   bundle.Signer
	root     bundle.Root
	file     string // the newest bundle, which the next one follows

	last *bundle.Opened
	data []byte
	of   string // what the last one was made of
}

// bundleFile is the newest bundle of a service, in the folder of its store.
const bundleFile = "bundle.cbor"

// newPublisher opens the bundle that the next one follows; nil where the server is
// to make none.
func newPublisher(c *config.Config, now time.Time) (*publisher, error) {
	if c.Publish.Key == "" {
		return nil, nil
	}
	lock, err := storeLock(c)
	if err != nil {
		return nil, err
	}
	key, err := keys.LoadBundleRoot(c.Publish.Key, lock)
	if err != nil {
		return nil, usageError("publish.key: %w", err)
	}
	p := &publisher{settings: c, signer: key.Signer(), file: cmp.Or(c.Publish.File, filepath.Join(c.Store.Dir, bundleFile))}
	if p.root, err = p.signer.Root(); err != nil {
		return nil, err
	}
	if p.data, err = os.ReadFile(p.file); errors.Is(err, fs.ErrNotExist) {
		return p, nil
	} else if err != nil {
		return nil, err
	}
	if p.last, err = bundle.Open(p.data, []bundle.Root{p.root}, now); err != nil {
		return nil, usageError("%s: %w%s", p.file, err, bundleHint(err))
	}
	return p, nil
}

// due reports whether there is something new to publish, or the last is old enough.
func (p *publisher) due(of string, now time.Time) bool {
	return p.last == nil || p.of != of || now.Sub(p.last.Issued) >= p.settings.Publish.Every
}

// publishPause is the least time between two bundles: many revocations make one.
const publishPause = time.Second

// soonest is when the next bundle may be made.
func (p *publisher) soonest() time.Time {
	if p.last == nil {
		return time.Time{}
	}
	return p.last.Issued.Add(publishPause)
}

// publish makes the next bundle. Whoever reads the file finds the last or this one.
func (p *publisher) publish(d *desk, of string, now time.Time) error {
	c := p.settings.Publish
	in := bundle.Input{
		Maker: d.settings.Participant, Issued: now, Next: now.AddDate(0, 0, c.Days), Previous: p.last, Signers: []bundle.Root{p.root},
		Shrink: float64(c.Shrink) / 100,
	}
	flags := verifierFlags(p.settings)
	drops, err := flags.collect(&in)
	if err != nil {
		return err
	}
	if len(in.Documents) == 0 {
		// All is the service's own: what is gone was taken back by a person, on record.
		in.Shrink = 1
	}
	if err := d.documents(&in, now); err != nil {
		return err
	}
	data, opened, dropped, err := signBundle(in, []bundle.Signer{p.signer}, now)
	if err != nil {
		return fmt.Errorf("the bundle of before stays: %w", err)
	}
	// A key of ours that is on a list besides is no news.
	drops = slices.DeleteFunc(append(drops, dropped...), func(d bundle.Drop) bool { return d.Reason == string(bundle.ErrDuplicate) })
	if len(drops) > 0 {
		d.log.Info("left out of the bundle", "count", len(drops), "reason", drops[0].Reason)
	}
	if err := keep.Replace(p.file, data, 0o644); err != nil {
		return err
	}
	p.last, p.data, p.of = opened, data, of
	return nil
}

// documents adds what is the service's own: its keys as a trust list, what it took
// back, and the roots of its batches.
func (d *desk) documents(in *bundle.Input, now time.Time) error {
	var entries []didlist.Entry
	for _, k := range d.keys {
		if trust.SignsSeals(k.Certificate()) {
			for _, c := range k.Chain[1:] {
				authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
				in.Documents = append(in.Documents, bundle.Document{Kind: bundle.Trust, Name: fmt.Sprintf("own-csca-%x.pem", k.KID()), Data: authority})
			}
			continue
		}
		for _, domain := range []trust.Domain{trust.DCC, trust.DDCC, trust.ICVP} {
			entries = append(entries, didlist.Entry{Domain: string(domain), Participant: d.settings.Participant, KeyUsage: "DSC", Chain: rawChain(k)})
		}
	}
	if len(entries) > 0 {
		// The list is in a bundle that is signed, and so is the pin: a key of this one
		// time will do.
		once, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return err
		}
		list, err := signTrustList(entries, once, now)
		if err != nil {
			return err
		}
		pin, err := publicPEM(once.Public())
		if err != nil {
			return err
		}
		in.Documents = append(in.Documents, bundle.Document{Kind: bundle.Trust, Name: "own-keys.json", Data: list})
		in.Pins = append(in.Pins, bundle.Pin{Name: "own-pin.pem", Data: pin})
	}
	if len(d.jwks) > 0 {
		in.Documents = append(in.Documents, bundle.Document{Kind: bundle.Trust, Name: "own-cards.json", Data: d.jwks, Issuer: d.address})
	}
	for n, l := range d.lists {
		name := fmt.Sprintf("own-status-%d.json", n)
		switch l.Scheme {
		case issuer.SchemeSignature: // the batches, of which the snapshot knows more in half the bytes
			continue
		case issuer.SchemeSnapshot:
			name = "own-status.snapshot"
		}
		in.Documents = append(in.Documents, bundle.Document{Kind: bundle.Status, Name: name, Data: l.Document})
	}
	if len(d.landmarks) > 0 {
		in.Documents = append(in.Documents, bundle.Document{Kind: bundle.Landmarks, Optional: true, Name: "own.landmarks", Data: d.landmarks})
	}
	d.ledgerDocuments(in)
	d.held.documents(in)
	return nil
}
