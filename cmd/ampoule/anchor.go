package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"ampoule/bundle"
	"ampoule/internal/config"
	"ampoule/internal/keys"
	"ampoule/ledger/print"
	"ampoule/ledger/state"
	"ampoule/ledger/tlog"
	"ampoule/party/fleet"
	"ampoule/party/notary"
)

// ledgerActor is under which name a server writes to a ledger, and what it believes
// of its log.
type ledgerActor struct {
	oid      state.OID
	signers  []crypto.Signer
	schema   state.OID
	policy   *tlog.Policy
	text     []byte // of the policy
	notaries []crypto.PublicKey
}

// newLedgerActor reads what the settings name: of a node its folder has it. It is nil
// where the server has neither a node with a key for itself nor another's notary.
func newLedgerActor(c *config.Config) (*ledgerActor, error) {
	l := c.Ledger
	if l.Notary == "" && l.Dir == "" || c.Store.Dir == "" {
		return nil, nil
	}
	lock, err := storeLock(c)
	if err != nil {
		return nil, err
	}
	a := new(ledgerActor)
	name, files, policy, notaries := l.Actor, l.Key, l.Policy, l.NotaryKeys
	if l.Dir != "" {
		id, key := issuerWriter.files(l.Dir)
		data, err := os.ReadFile(id)
		if errors.Is(err, fs.ErrNotExist) && name == "" {
			return nil, nil // a node that has nothing of its own to be logged
		}
		if err != nil && name == "" {
			return nil, err
		}
		name = cmp.Or(name, strings.TrimSpace(string(data)))
		if len(files) == 0 {
			files = []string{key}
		}
		policy = cmp.Or(policy, inFolder(l.Dir, notaryPolicy))
		own, err := keys.Load(inFolder(l.Dir, notaryReceiptKey), lock)
		if err == nil {
			a.notaries = append(a.notaries, own.Signer.Public())
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, exitError{exitUsage, err}
		}
	}
	if a.oid, err = state.ParseOID(name); err != nil {
		return nil, usageError("ledger.actor: %w", err)
	}
	if a.schema, err = state.ParseOID(l.Schema); err != nil {
		return nil, usageError("ledger.schema: %w", err)
	}
	for _, file := range files {
		signers, err := ledgerSigners(file, lock)
		if err != nil {
			return nil, usageError("ledger.key: %w", err)
		}
		a.signers = append(a.signers, signers...)
	}
	if a.text, err = readBounded(policy, nil, 64<<10); err != nil {
		return nil, usageError("ledger.policy: %w", err)
	}
	if a.policy, err = tlog.ParsePolicy(a.text); err != nil {
		return nil, usageError("ledger.policy: %s: %w", policy, err)
	}
	for _, file := range notaries {
		pub, err := readPublicKey(file)
		if err != nil {
			return nil, usageError("ledger.notary_keys: %w", err)
		}
		a.notaries = append(a.notaries, pub)
	}
	return a, nil
}

// readings is the gateway of the devices, as which a server anchors what they measured;
// nil: there is none.
func (a *ledgerActor) readings(c *config.Config) (*ledgerActor, error) {
	lock, err := storeLock(c)
	if err != nil {
		return nil, err
	}
	g := *a
	name, files := c.Fleet.Actor, c.Fleet.ActorKey
	if c.Ledger.Dir != "" {
		id, key := readingsWriter.files(c.Ledger.Dir)
		data, err := os.ReadFile(id)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		name = cmp.Or(name, strings.TrimSpace(string(data)))
		if len(files) == 0 {
			files = []string{key}
		}
	}
	if name == "" {
		return nil, nil
	}
	if g.oid, err = state.ParseOID(name); err != nil {
		return nil, usageError("fleet.actor: %w", err)
	}
	g.signers = nil
	for _, file := range files {
		signers, err := ledgerSigners(file, lock)
		if err != nil {
			return nil, usageError("fleet.actor_key: %w", err)
		}
		g.signers = append(g.signers, signers...)
	}
	return &g, nil
}

// ledgerSigners opens a key file: of one key, or of a pair as roots of bundles have it,
// for an actor that signs twice.
func ledgerSigners(file string, lock keys.Lock) ([]crypto.Signer, error) {
	k, err := keys.Load(file, lock)
	if err == nil {
		return []crypto.Signer{k.Signer}, nil
	}
	pair, second := keys.LoadBundleRoot(file, lock)
	if second != nil {
		return nil, err
	}
	both := pair.Signer()
	return []crypto.Signer{both.Classical, both.PostQuantum}, nil
}

func readPublicKey(file string) (crypto.PublicKey, error) {
	data, err := readBounded(file, nil, 64<<10)
	if err != nil {
		return nil, err
	}
	block, rest := pem.Decode(data)
	if block == nil || block.Type != "PUBLIC KEY" || len(bytes.TrimSpace(rest)) > 0 {
		return nil, fmt.Errorf("%s: not one public key in PEM", file)
	}
	return x509.ParsePKIXPublicKey(block.Bytes)
}

// submitterOf makes what brings things to a ledger: to is the node in the same process
// or a client of another's notary. It is called before the first page is made.
func (s *service) submitterOf(to notary.Service, as *ledgerActor) *notary.Submitter {
	s.actor = as
	s.submitter = &notary.Submitter{
		Service: to, Outbox: s.store.Outbox(), Actor: as.oid, Signers: as.signers, Schema: as.schema,
		Policy: as.policy, Notaries: as.notaries, Now: time.Now,
	}
	s.trouble = s.submitter.Trouble
	return s.submitter
}

// anchor brings what the service closes and publishes into the log, until ctx ends. The
// function that it returns waits for the end.
func (s *service) anchor(ctx context.Context, sub *notary.Submitter, anchored <-chan struct{}) (wait func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		said := ""
		for ctx.Err() == nil {
			busy, err := sub.Drain(ctx)
			switch reason := sub.Trouble().Reason; {
			case ctx.Err() != nil || reason == said:
			case err != nil:
				s.log.Warn("the ledger does not take what is to be logged; nothing else waits for it", "reason", reason, "error", err.Error())
				said = reason
			default:
				s.log.Info("the ledger takes what is to be logged again")
				said = ""
			}
			pause := anchorIdle
			if busy && err == nil {
				pause = anchorBusy
			}
			select {
			case <-time.After(pause):
			case <-anchored:
			case <-ctx.Done():
			}
		}
	}()
	return func() { <-done }
}

// anchorReadings brings the roots of what devices measured into the log, as their
// gateway, until ctx ends. The function that it returns waits for the end.
func (s *service) anchorReadings(ctx context.Context, to notary.Service, as *ledgerActor) (wait func()) {
	box, every := s.store.Outbox(), s.settings.Fleet.Anchor
	s.fleet.logged = func(ctx context.Context, w *fleet.Window) (message, proof []byte, err error) {
		e, err := box.Entry(ctx, w.Key())
		if errors.Is(err, notary.ErrNoEntry) {
			return nil, nil, nil
		}
		if err != nil {
			return nil, nil, err
		}
		return e.Message, e.Proof, nil
	}
	anchored := make(chan struct{}, 1)
	drained := s.anchor(ctx, &notary.Submitter{
		Service: to, Outbox: box, Actor: as.oid, Signers: as.signers, Policy: as.policy, Notaries: as.notaries, Readings: true, Now: time.Now,
	}, anchored)
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		tick := time.NewTicker(min(every, time.Minute))
		defer tick.Stop()
		for {
			w, err := s.fleet.Close(ctx, every)
			if err == nil && w != nil {
				// Again and again for the newest: a crash may have come between the two.
				err = box.Put(ctx, time.Now(), notary.Wanted{
					Key: w.Key(), Kind: "telemetry.anchor", Root: w.Root, Size: uint64(w.Readings), Device: as.oid, Since: w.Since, Until: w.Until, Gap: w.Gap,
				})
				select {
				case anchored <- struct{}{}:
				default: // it looks in any case
				}
			}
			if err != nil && ctx.Err() == nil {
				s.log.Error("readings were not put into the outbox of the ledger", "error", err.Error())
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() { <-closed; drained() }
}

// The pauses between two rounds: while a block is waited for, and otherwise.
const (
	anchorBusy = 250 * time.Millisecond
	anchorIdle = 10 * time.Second
)

// listLife is how long an anchored list counts where it does not say itself.
const listLife = 30 * 24 * time.Hour

// list is something published whose digest is to be logged.
type list struct {
	address string
	data    []byte
	until   time.Time // zero: listLife
}

// wantLists puts the digests of lists that have changed into the outbox: of each one an
// hour at most, and one after the end of the day.
func (s *service) wantLists(ctx context.Context, d *desk, now time.Time) error {
	if s.submitter == nil || d == nil {
		return nil
	}
	origin := cmp.Or(s.settings.Access.Origin, d.address)
	var lists []list
	for _, l := range d.lists {
		lists = append(lists, list{address: fmt.Sprintf("%s/v1/status/%s/%x", origin, l.Scheme, l.KID), data: l.Document})
	}
	if len(d.jwks) > 0 {
		lists = append(lists, list{address: origin + "/.well-known/jwks.json", data: d.jwks})
	}
	if p := s.publisher; p != nil && p.last != nil {
		lists = append(lists, list{address: origin + "/bundle", data: p.data, until: p.last.Next})
	}
	for _, l := range lists {
		err := s.wantList(ctx, sha256.Sum256([]byte(l.address)), sha256.Sum256(l.data), uint64(len(l.data)), l.until, now)
		if err != nil {
			return err
		}
	}
	// The head of the audit log is a digest itself; of what, it does not tell, nor how
	// many lines there are.
	n, head, err := s.store.AuditHead(ctx)
	if err != nil || n == 0 {
		return err
	}
	return s.wantList(ctx, sha256.Sum256([]byte(origin+"/audit")), tlog.Hash(head), 0, time.Time{}, now)
}

func (s *service) wantList(ctx context.Context, name, digest tlog.Hash, size uint64, until, now time.Time) error {
	box := s.store.Outbox()
	last, err := box.Newest(ctx, name)
	if err != nil && !errors.Is(err, notary.ErrNoEntry) {
		return err
	}
	if last != nil && !listDue(last, digest, now) {
		return nil
	}
	if until.IsZero() {
		until = now.Add(listLife)
	}
	return box.Put(ctx, now, notary.Wanted{
		Key: fmt.Sprintf("list/%x/%d", name[:8], now.Unix()), Kind: "status.anchor", List: name, Digest: digest, Size: size, Until: until,
	})
}

// listDue reports whether a list is to be anchored again: it has changed, and an hour
// or a day has ended since. One that has not is anchored again before it no longer
// counts.
func listDue(last *notary.Entry, digest tlog.Hash, now time.Time) bool {
	if last.Digest == digest {
		return now.Add(listLife/3).After(last.Until) && now.Sub(last.Put) >= 24*time.Hour
	}
	day := 24 * time.Hour
	return now.Sub(last.Put) >= time.Hour || now.UTC().Truncate(day).After(last.Put.UTC().Truncate(day)) && now.After(last.Put)
}

// ledgerDoc makes the document of the ledger again when more is logged. The caller
// holds s.mu.
func (s *service) ledgerDoc(ctx context.Context) ([]byte, error) {
	if s.submitter == nil {
		return nil, nil
	}
	box := s.store.Outbox()
	sum, err := box.Tally(ctx)
	if err != nil || sum.Kept == s.placed {
		return s.places, err
	}
	data, err := ledgerDocument(ctx, box, s.actor)
	if err == nil {
		s.places, s.placed = data, sum.Kept
	}
	return data, err
}

// ledgerDocument makes what a bundle carries of the ledger: the places of batches, each
// proven by its tlog-proof under the policy. It is nil where nothing is logged yet.
func ledgerDocument(ctx context.Context, box notary.Outbox, as *ledgerActor) ([]byte, error) {
	doc := &print.Ledger{Policy: as.text, Notaries: as.notaries, Places: make(map[tlog.Hash]uint64)}
	size := uint64(0)
	for after := int64(0); ; {
		page, err := box.Proven(ctx, after, 1000)
		if err != nil {
			return nil, fmt.Errorf("ledger document: %w", err)
		}
		if len(page) == 0 {
			break
		}
		for _, e := range page {
			root, index, under, err := placeOf(e.Proof, as.policy)
			if err != nil || root != e.Root {
				return nil, fmt.Errorf("ledger document: the proof of %s that is kept does not prove it: %w", e.Key, cmp.Or(err, error(notary.ErrOtherProof)))
			}
			doc.Places[root] = index
			if under.Size >= size {
				p, err := tlog.ParseLogProof(e.Proof)
				if err != nil {
					return nil, err
				}
				size, doc.Checkpoint = under.Size, p.Checkpoint
			}
		}
		after = page[len(page)-1].Number
	}
	if len(doc.Places) == 0 {
		return nil, nil
	}
	return doc.Encode()
}

// placeOf reads a tlog-proof whose extra data is the entry that it proves.
func placeOf(proof []byte, policy *tlog.Policy) (root tlog.Hash, index uint64, under *tlog.Checkpoint, err error) {
	p, err := tlog.ParseLogProof(proof)
	if err != nil {
		return root, 0, nil, err
	}
	c, err := p.Verify(tlog.LeafHash(p.Extra), policy)
	if err != nil {
		return root, 0, nil, err
	}
	tx, err := state.ParseTx(p.Extra)
	if err != nil {
		return root, 0, nil, err
	}
	b, ok := tx.Body.(*state.Batch)
	if !ok {
		return root, 0, nil, fmt.Errorf("a proof of %s: %w", tx.Body.Kind(), notary.ErrOtherProof)
	}
	return b.Root, p.Index, c.Checkpoint, nil
}

// ledgerDocuments adds the document to a bundle.
func (d *desk) ledgerDocuments(in *bundle.Input) {
	if len(d.ledger) > 0 {
		in.Documents = append(in.Documents, bundle.Document{Kind: bundle.Ledger, Optional: true, Name: "own.ledger", Data: d.ledger})
	}
}
