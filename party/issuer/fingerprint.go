package issuer

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"ampoule/format"
	"ampoule/format/hcert"
	"ampoule/format/shc"
	"ampoule/format/vdsnc"
	"ampoule/ledger/print"
	"ampoule/ledger/tlog"
)

// Every certificate that is signed leaves its fingerprint in the issuer's open batch,
// in the step in which it is kept. A batch that is closed stays as it is, with its
// decoys; its root is what can be published of it.

// The defects of asking for a fingerprint.
const (
	ErrOpenBatch     = format.Defect("batch-still-open")
	ErrNoFingerprint = format.Defect("no-fingerprint") // it was signed before there were any
)

// OpenBatch is what is known of the open batch.
type OpenBatch struct {
	Leaves int
	Since  time.Time // the hour of the oldest leaf; zero: there is none
}

// ClosedBatch is what is known of a closed batch without its leaves.
type ClosedBatch struct {
	Number int64 // from 1, in the order of their closing
	Closed time.Time
	Size   int // of its class: certificates and decoys
	Root   tlog.Hash
}

// Closing says when the open batch is closed.
type Closing struct {
	// Every is the period whose end closes it, counted from midnight UTC: a day, or
	// less. A shorter one makes more roots for verifiers to keep.
	Every time.Duration
	// Full is the number of leaves that closes it before.
	Full int
}

// due reports whether a batch is to be closed. One that nothing is in stays open.
func (c Closing) due(b OpenBatch, now time.Time) bool {
	return b.Leaves > 0 && (b.Leaves >= c.Full || now.UTC().Truncate(c.Every).After(b.Since.UTC().Truncate(c.Every)))
}

// CloseBatches closes the open batch when it is due, and returns what was closed: of
// more leaves than one batch holds, several. It may be called at any time and by
// several at once.
func (r *Registry) CloseBatches(ctx context.Context, c Closing) ([]ClosedBatch, error) {
	// Step 1: is it time?
	open, err := r.Book.OpenBatch(ctx)
	if err != nil {
		return nil, fmt.Errorf("fingerprints: %w", err)
	}
	now := r.Now().UTC().Truncate(time.Second)
	if !c.due(open, now) {
		return nil, nil
	}

	// Step 2: fill it up, and keep it as it will stay.
	random := r.Rand
	if random == nil {
		random = rand.Reader
	}
	closed, err := r.Book.CloseBatches(ctx, now, func(leaves []print.Leaf) ([]*print.Batch, error) {
		return print.Close(leaves, random)
	})
	if err != nil {
		return nil, fmt.Errorf("fingerprints: closing a batch: %w", err)
	}
	return closed, nil
}

// Inclusion shows that a certificate is in a closed batch. What it is worth follows
// from who vouches for the root: here it is the issuer alone.
type Inclusion struct {
	Leaf  print.Leaf
	Batch ClosedBatch
	Path  *tlog.BatchPath
}

// Inclusion returns where the fingerprint of a certificate of a record stands: that
// of its n-th artefact. It returns [ErrOpenBatch] until the batch is closed.
func (r *Registry) Inclusion(ctx context.Context, by Actor, id ID, n int) (*Inclusion, error) {
	held, err := r.Read(ctx, by, id)
	if err != nil {
		return nil, err
	}
	return r.Included(ctx, held, n)
}

// Included is [Registry.Inclusion] for a record in hand.
func (r *Registry) Included(ctx context.Context, held *Held, n int) (*Inclusion, error) {
	id := held.ID
	// Step 1: the certificate, of which alone its leaf can be made.
	if n < 0 || n >= len(held.Artefacts) {
		return nil, fmt.Errorf("record %s: certificate %d: %w", id, n, ErrNotFound)
	}
	leaf, err := leafOf(held.Artefacts[n].Format, held.Artefacts[n].Text)
	if err != nil {
		return nil, fmt.Errorf("record %s: certificate %d: %w", id, n, err)
	}

	// Step 2: its batch, and its path in it.
	at, batch, err := r.Book.BatchOf(ctx, id, n, leaf)
	if err != nil {
		return nil, fmt.Errorf("record %s: certificate %d: %w", id, n, err)
	}
	path, err := batch.Path(leaf)
	if err != nil {
		return nil, err
	}
	return &Inclusion{leaf, at, path}, nil
}

// Landmarks returns the roots of all closed batches as the document that bundles
// carry (docs/spec/fingerprint.md); nil where there are none.
func (r *Registry) Landmarks(ctx context.Context) ([]byte, error) {
	var roots []tlog.Hash
	for after := int64(0); ; {
		page, err := r.Book.Batches(ctx, after, 1000)
		if err != nil {
			return nil, fmt.Errorf("landmarks: %w", err)
		}
		if len(page) == 0 {
			break
		}
		for _, b := range page {
			roots = append(roots, b.Root)
		}
		after = page[len(page)-1].Number
	}
	if len(roots) == 0 {
		return nil, nil
	}
	return print.EncodeLandmarks(roots)
}

// LeafOf makes the fingerprint of a certificate from the text of its code.
func LeafOf(text string) (print.Leaf, error) {
	switch {
	case shc.IsCard(text):
		return leafOf(SHC, text)
	case vdsnc.Is(text):
		return leafOf(VDSNC, text)
	}
	return leafOf(EUDCC, text)
}

// leafOf makes the fingerprint of a certificate that was kept.
func leafOf(f Format, text string) (print.Leaf, error) {
	switch f {
	case SHC:
		jws, err := shc.Parse(shc.Strict, text)
		if err != nil {
			return print.Leaf{}, err
		}
		return print.OfJWS(jws)
	case VDSNC:
		seal, _, err := vdsnc.Decode(text, vdsnc.Strict)
		if err != nil {
			return print.Leaf{}, err
		}
		return print.OfSeal(seal)
	}
	message, err := hcert.Decode(text, hcert.Strict)
	if err != nil {
		return print.Leaf{}, err
	}
	return print.OfSign1(message.Sign1)
}
