package participant

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"ampoule/format"
	"ampoule/format/cms"
	"ampoule/format/dccrevocation"
	"ampoule/format/tng"
	"ampoule/trust"
)

// fullEvery is how often a list is taken whole where deltas are taken between: a
// delta that was missed would otherwise never be noticed.
const fullEvery = 24 * time.Hour

// overlap is asked again with each delta, for clocks that differ.
const overlap = 5 * time.Minute

// epoch is before the first batch of any gateway: its revocation list wants a
// date.
var epoch = time.Date(2021, 1, 1, 0, 0, 0, 0, time.UTC)

// maxPages bounds the pages of a revocation list in one poll.
const maxPages = 10_000

// Pulled is what became of one poll.
type Pulled struct {
	Applied bool // what follows is what verifiers get from now on
	Digest  string
	Listed  []trust.Listed
	Drops   []trust.Drop
	Changes []Change
	Alarms  []Alarm
	Batches int // of revoked certificates, kept
}

// Pull takes the gateway's lists, checks every entry, and keeps them, unless the
// guard finds that a person must look first. The list that was kept stays in use
// then.
func (p *Participant) Pull(ctx context.Context) (*Pulled, error) {
	now := p.Now()
	anchors, err := p.anchors()
	if err != nil {
		return nil, err
	}
	kept, err := p.Keep.Load(ctx)
	if err != nil {
		return nil, err
	}

	// Step 1: ask.
	d, full, err := p.download(ctx, kept, now)
	if err != nil {
		return nil, err
	}
	references, err := p.API.References(ctx)
	if errors.Is(err, ErrNotOffered) {
		err = nil
	}
	if err != nil {
		return nil, err
	}

	// Step 2: check every entry.
	pulled := &Pulled{}
	pulled.Listed, pulled.Drops = trust.CheckGateway(p.Gateway, d, anchors)
	pulled.Drops = append(pulled.Drops, p.dropIssuers(d, anchors)...)
	pulled.Digest = digest(pulled.Listed)
	// They were told; written and read again they could seem to be sound.
	d.TrustList = slices.DeleteFunc(d.TrustList, func(e tng.TrustListEntry) bool { return e.Err != nil })
	d.Certificates = slices.DeleteFunc(d.Certificates, func(e tng.CertificateEntry) bool { return e.Err != nil })

	// Step 3: compare with what is kept.
	before := p.before(kept)
	pulled.Changes = Compare(before, pulled.Listed)
	kept.Polled = now
	if pulled.Digest != kept.Digest && (kept.Pending == nil || pulled.Digest != kept.Pending.Digest) {
		kept.Changed = now
	}
	refused := p.Guard.refuse(kept, before, pulled.Listed, pulled.Changes)
	pulled.Alarms = append(slices.Clone(refused), p.Guard.silence(kept, now)...)
	pulled.Alarms = append(pulled.Alarms, p.unknownOwn(kept, pulled.Listed)...)

	// Step 4: keep it, or keep it apart.
	if pulled.Applied = len(refused) == 0; pulled.Applied {
		kept.apply(d, pulled.Digest, before, pulled.Listed, now)
		kept.References = references
		if full {
			kept.Full = now
		}
	} else {
		kept.Pending = &Pending{List: d, Digest: pulled.Digest, At: now, Alarms: refused}
	}

	// Step 5: the revoked certificates, under the uploaders that are in use. A
	// failure there takes nothing back of what came before.
	if p.Revocation {
		uploaders := before
		if pulled.Applied {
			uploaders = pulled.Listed
		}
		var drops []trust.Drop
		drops, err = p.pullBatches(ctx, kept, uploaders, now)
		pulled.Drops = append(pulled.Drops, drops...)
	}
	pulled.Batches = len(kept.Batches)
	return pulled, errors.Join(err, p.Keep.Save(ctx, kept))
}

// Accept puts a list in use that the guard has kept apart. A person names it by
// its digest, so that no other one is accepted than the one that was looked at.
func (p *Participant) Accept(ctx context.Context, wanted string) error {
	anchors, err := p.anchors()
	if err != nil {
		return err
	}
	kept, err := p.Keep.Load(ctx)
	if err != nil {
		return err
	}
	if kept.Pending == nil || kept.Pending.Digest != wanted {
		return ErrNotPending
	}
	listed, _ := trust.CheckGateway(p.Gateway, kept.Pending.List, anchors)
	if digest(listed) != wanted { // an anchor has expired meanwhile
		return ErrNotPending
	}
	kept.apply(kept.Pending.List, wanted, p.before(kept), listed, p.Now())
	return p.Keep.Save(ctx, kept)
}

// before returns what is in use, under every anchor that was ever pinned: what an
// anchor takes with it when its time is over is gone like anything else.
func (p *Participant) before(kept *Kept) []trust.Listed {
	if kept.List == nil {
		return nil
	}
	var keys []crypto.PublicKey
	for _, a := range p.Anchors {
		keys = append(keys, a.Key)
	}
	listed, _ := trust.CheckGateway(p.Gateway, kept.List, keys)
	return listed
}

// apply puts a list in use and remembers what is gone by it.
func (k *Kept) apply(d *tng.Download, digest string, before, after []trust.Listed, now time.Time) {
	if k.Gone == nil {
		k.Gone = map[string]Intake{}
	}
	there := map[string]bool{}
	for _, l := range after {
		there[name(l)] = true
		delete(k.Gone, name(l))
	}
	for _, l := range before {
		if !there[name(l)] {
			k.Gone[name(l)] = intake(l)
		}
	}
	k.List, k.Digest, k.Accepted, k.Pending = d, digest, now, nil
}

func (p *Participant) anchors() ([]crypto.PublicKey, error) {
	var keys []crypto.PublicKey
	for _, a := range p.Anchors {
		if a.holds(p.Now()) {
			keys = append(keys, a.Key)
		}
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("of %d pinned trust anchors none is to be believed now: %w", len(p.Anchors), ErrNoAnchor)
	}
	return keys, nil
}

// download takes the lists. full says that the trust list was taken whole.
func (p *Participant) download(ctx context.Context, kept *Kept, now time.Time) (d *tng.Download, full bool, err error) {
	d = &tng.Download{Gateway: p.Gateway, At: now}
	var since time.Time
	if p.Delta && kept.List != nil && kept.Pending == nil && now.Sub(kept.Full) < fullEvery {
		since = kept.Polled.Add(-overlap)
	}
	if d.TrustList, err = p.API.TrustList(ctx, since); err != nil {
		return nil, false, err
	}
	if !since.IsZero() {
		d.TrustList = merge(kept.List.TrustList, d.TrustList)
	}
	if d.Certificates, err = p.API.Certificates(ctx); err != nil && !errors.Is(err, ErrNotOffered) {
		return nil, false, err
	}
	if d.Issuers, err = p.API.Issuers(ctx); err != nil && !errors.Is(err, ErrNotOffered) {
		return nil, false, err
	}
	return d, since.IsZero(), nil
}

// merge applies a delta to a list. An entry that cannot be read stays, to be
// dropped with its reason.
func merge(list, delta []tng.TrustListEntry) []tng.TrustListEntry {
	list = slices.Clone(list)
	for _, e := range delta {
		same := func(o tng.TrustListEntry) bool {
			return o.Err == nil && o.Thumbprint == e.Thumbprint && o.Type == e.Type && o.Country == e.Country
		}
		if e.Err == nil {
			list = slices.DeleteFunc(list, same)
		}
		if !e.Deleted {
			list = append(list, e)
		}
	}
	return list
}

// dropIssuers takes away issuers that no anchor has signed.
func (p *Participant) dropIssuers(d *tng.Download, anchors []crypto.PublicKey) (drops []trust.Drop) {
	good := d.Issuers[:0]
	for i, e := range d.Issuers {
		if err := checkIssuer(e, anchors); err != nil {
			drops = append(drops, trust.Drop{
				Source: p.Gateway, Entry: fmt.Sprintf("issuers[%d]", i), Participant: trust.CountryParticipant(e.Country),
				Reason: format.Reason(err, "unreadable"), Detail: err.Error(),
			})
			continue
		}
		good = append(good, e)
	}
	d.Issuers = good
	return drops
}

func checkIssuer(e tng.Issuer, anchors []crypto.PublicKey) error {
	if e.Err != nil {
		return e.Err
	}
	opened, err := cms.Open(e.Signature, []byte(e.SignedText()))
	if err != nil {
		return err
	}
	for _, a := range anchors {
		if key, ok := a.(interface{ Equal(crypto.PublicKey) bool }); ok && key.Equal(opened.Certificate.PublicKey) {
			return nil
		}
	}
	return trust.ErrAnchor
}

// pullBatches follows the revocation list from where it was left.
func (p *Participant) pullBatches(ctx context.Context, kept *Kept, uploaders []trust.Listed, now time.Time) (drops []trust.Drop, _ error) {
	since := kept.BatchSince
	if since.IsZero() {
		since = epoch
	}
	seen := map[tng.RevocationItem]bool{} // a page begins where the one before ended
	for range maxPages {
		page, err := p.API.Revocations(ctx, since)
		if errors.Is(err, ErrNotOffered) {
			return drops, nil
		}
		if err != nil {
			return drops, err
		}
		last := since
		for _, item := range page.Batches {
			if item.Date.After(last) {
				last = item.Date
			}
			if seen[item] {
				continue
			}
			seen[item] = true
			had := slices.IndexFunc(kept.Batches, func(b Batch) bool { return b.ID == item.BatchID })
			switch {
			case item.Deleted && had >= 0:
				kept.Batches = slices.Delete(kept.Batches, had, had+1)
				continue
			case item.Deleted || had >= 0: // a batch does not change
				continue
			}
			b, err := p.batch(ctx, item, uploaders)
			if errors.Is(err, ErrNotOffered) { // deleted since the page was made
				continue
			}
			if reason := format.Reason(err, ""); reason != "" {
				drops = append(drops, trust.Drop{Source: p.Gateway, Entry: "batch " + item.BatchID, Participant: trust.CountryParticipant(item.Country), Reason: reason, Detail: err.Error()})
				continue
			}
			if err != nil {
				return drops, err
			}
			kept.Batches = append(kept.Batches, b)
		}
		if page.More && !last.After(since) {
			return drops, fmt.Errorf("the revocation list stays at %s: %w", last.Format(time.RFC3339), ErrPages)
		}
		since, kept.BatchSince = last, last
		if !page.More {
			kept.Batches = slices.DeleteFunc(kept.Batches, func(b Batch) bool { return b.expired(now) })
			return drops, nil
		}
	}
	return drops, ErrPages
}

// batch takes one batch and checks that a trusted uploader of its country signed
// it.
func (p *Participant) batch(ctx context.Context, item tng.RevocationItem, uploaders []trust.Listed) (Batch, error) {
	message, err := p.API.Batch(ctx, item.BatchID)
	if err != nil {
		return Batch{}, err
	}
	opened, err := cms.Open(message, nil)
	if err != nil {
		return Batch{}, err
	}
	if !slices.ContainsFunc(uploaders, func(l trust.Listed) bool {
		return l.Type == tng.UploadType && l.Country == item.Country && bytes.Equal(l.Certificate.Raw, opened.Certificate.Raw)
	}) {
		return Batch{}, fmt.Errorf("%.120s signed it: %w", opened.Certificate.Subject, trust.ErrUploader)
	}
	batches, err := dccrevocation.Parse(opened.Content)
	switch {
	case err != nil:
		return Batch{}, err
	case len(batches) != 1:
		return Batch{}, dccrevocation.ErrNotBatch
	case batches[0].Country != item.Country:
		return Batch{}, fmt.Errorf("it is of %s, announced as of %s: %w", batches[0].Country, item.Country, ErrBatch)
	}
	return Batch{ID: item.BatchID, Country: item.Country, Date: item.Date, Payload: opened.Content}, nil
}

func (b Batch) expired(now time.Time) bool {
	batches, err := dccrevocation.Parse(b.Payload)
	return err == nil && len(batches) == 1 && batches[0].Expired(now)
}

// name is what makes an entry the same in two lists.
func name(l trust.Listed) string {
	return strings.Join([]string{l.Type, l.Country, string(l.Domain), hex.EncodeToString([]byte(l.KID)), tng.Thumbprint(l.Certificate.Raw)}, " ")
}

func intake(l trust.Listed) Intake { return Intake{l.Timestamp, l.Version, l.UUID} }

// digest is of the names of all entries: the order in which a gateway lists them
// does not matter.
func digest(listed []trust.Listed) string {
	names := make([]string, len(listed))
	for i, l := range listed {
		names[i] = name(l)
	}
	slices.Sort(names)
	sum := sha256.Sum256([]byte(strings.Join(names, "\n")))
	return hex.EncodeToString(sum[:])
}
