package issuer

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"ampoule/format"
	"ampoule/format/cbor"
	"ampoule/format/cose"
	"ampoule/format/dccrevocation"
	"ampoule/format/jwks"
	"ampoule/format/shc"
	"ampoule/ledger/print"
	"ampoule/trust"
)

// Scheme is how the certificates of a format are revoked one by one.
type Scheme string

// The schemes. A visible digital seal has none.
const (
	SchemeNone      Scheme = ""
	SchemeSignature Scheme = "dcc-signature" // the hash of the signature in EU revocation batches: every HCERT
	SchemeRID       Scheme = "shc-rid"       // the revocation identifier on the card revocation list of the key
)

// SchemeSnapshot names the list of all lists: no certificate is revoked by it
// alone.
const SchemeSnapshot Scheme = "snapshot"

// traces returns how the certificate is revoked, what is listed then, and its
// fingerprint.
func (i *Issued) traces() (scheme Scheme, mark []byte, leaf print.Leaf, err error) {
	if i.envelope == nil {
		if i.rid != "" {
			scheme, mark = SchemeRID, []byte(i.rid)
		}
		leaf, err = leafOf(i.Format, cmp.Or(i.jws, i.Text))
		return scheme, mark, leaf, err
	}
	m, err := cose.Parse(i.envelope, cbor.Limits{Depth: 16, Items: 4096, Pairs: 64})
	if err != nil {
		return "", nil, leaf, err
	}
	hash, err := dccrevocation.Signature(m.Signature, m.Alg == cose.ES256)
	if err != nil {
		return "", nil, leaf, err
	}
	leaf, err = print.OfSign1(m)
	return SchemeSignature, hash[:], leaf, err
}

// StatusList is one published list.
type StatusList struct {
	Scheme  Scheme
	KID     []byte // of the key whose certificates it revokes; nil for the snapshot
	Counter int64  // how often it was changed; a list with a lower one is older
	// Document is EU revocation batches ({"batches": […]}), a card revocation list
	// or a snapshot, as trust.Status reads them and bundles carry them.
	Document []byte
}

// noEnd stands for the end of what has none: a batch must name the day on which
// the last of its certificates expires.
var noEnd = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)

// StatusLists returns the lists of every key of which a certificate was ever
// revoked, and after them the snapshot of them all, which alone can tell what was
// corrected from what was revoked. The same state gives the same bytes. Lists grow
// at their end: a batch that is full changes only where a certificate in it is
// reinstated.
func (r *Registry) StatusLists(ctx context.Context) ([]StatusList, error) {
	listed, err := r.Book.Listed(ctx)
	if err != nil {
		return nil, fmt.Errorf("status lists: %w", err)
	}
	var out []StatusList
	for _, l := range listed {
		s := StatusList{Scheme: l.Scheme, KID: l.KID, Counter: l.Counter}
		switch l.Scheme {
		case SchemeSignature:
			s.Document, err = r.batches(l)
		case SchemeRID:
			rids := make([]string, len(l.Items))
			for i, item := range l.Items {
				rids[i] = string(item.Mark)
			}
			s.Document, err = shc.EncodeCRL(string(l.KID), l.Counter, rids)
		default:
			err = fmt.Errorf("scheme %q: %w", l.Scheme, format.BadCode)
		}
		if err != nil {
			return nil, fmt.Errorf("status list of key %x: %w", l.KID, err)
		}
		out = append(out, s)
	}
	if len(listed) == 0 {
		return nil, nil
	}
	all, err := r.snapshot(listed)
	if err != nil {
		return nil, fmt.Errorf("status snapshot: %w", err)
	}
	return append(out, all), nil
}

// snapshot writes all lists as one.
func (r *Registry) snapshot(listed []Listed) (StatusList, error) {
	out := StatusList{Scheme: SchemeSnapshot}
	var s trust.Snapshot
	for _, l := range listed {
		out.Counter += l.Counter
		hashes := make(map[trust.Purpose][]dccrevocation.Hash128)
		for _, item := range l.Items {
			purpose := trust.PurposeRevoked
			if item.Superseded {
				purpose = trust.PurposeSuperseded
			}
			hash := trust.HashRID(string(item.Mark))
			if l.Scheme == SchemeSignature {
				hash = dccrevocation.Hash128(item.Mark) // its length was checked with the batches
			}
			hashes[purpose] = append(hashes[purpose], hash)
		}
		for purpose, of := range hashes {
			g := trust.SnapshotGroup{Scheme: trust.SchemeSignature, Country: r.Country, KID: trust.KeyID(l.KID), Purpose: purpose, Hashes: of}
			if l.Scheme == SchemeRID { // the key of a card is known by its thumbprint, and of no country
				g.Scheme, g.Country, g.KID = trust.SchemeRID, "", trust.KeyID(jwks.ParseKID(string(l.KID)))
			}
			s.Add(g)
		}
	}
	var err error
	out.Document, err = s.Encode()
	return out, err
}

// changesPerBatch is how many changes of a list go into one batch. A change lists
// a record's certificates under one key, at most one in each of the three HCERT
// formats, so that no batch exceeds [dccrevocation.MaxEntries].
const changesPerBatch = dccrevocation.MaxEntries / 3

// batches writes the hashes of one key. Which batch a hash stands in follows from
// the change that listed it alone, so that a reinstatement moves no other.
func (r *Registry) batches(l Listed) ([]byte, error) {
	out := struct {
		Batches []json.RawMessage `json:"batches"`
	}{[]json.RawMessage{}}
	for items := l.Items; len(items) > 0; {
		n := 1
		for n < len(items) && (items[n].Change-1)/changesPerBatch == (items[0].Change-1)/changesPerBatch {
			n++
		}
		b := dccrevocation.Batch{Country: r.Country, KID: l.KID, Type: dccrevocation.TypeSignature}
		for _, item := range items[:n] {
			if len(item.Mark) != len(dccrevocation.Hash128{}) {
				return nil, dccrevocation.ErrHash
			}
			b.Hashes = append(b.Hashes, dccrevocation.Hash128(item.Mark))
			end := item.Expires
			if end.IsZero() {
				end = noEnd
			}
			if end.After(b.Expires) {
				b.Expires = end
			}
		}
		slices.SortFunc(b.Hashes, func(x, y dccrevocation.Hash128) int { return slices.Compare(x[:], y[:]) })
		data, err := b.Encode()
		if err != nil {
			return nil, err
		}
		out.Batches = append(out.Batches, data)
		items = items[n:]
	}
	if len(out.Batches) > dccrevocation.MaxBatches {
		return nil, fmt.Errorf("%d batches: %w", len(out.Batches), ErrTooMany)
	}
	return json.Marshal(out)
}
