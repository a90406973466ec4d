package bundle

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"time"

	"ampoule/cert"
	"ampoule/format/certlogic"
	"ampoule/format/cose"
	"ampoule/ledger/print"
	"ampoule/thing"
	"ampoule/trust"
)

// Opened is a bundle that a pinned root has signed, with its documents read.
type Opened struct {
	*Bundle
	Digest Digest
	Signer Root // the pinned root that signed it
	// Read is when it was opened, in whole seconds: which roots count, and who is believed
	// about lots, was held against this time.
	Read time.Time
	Contents
}

// Contents is what the documents say.
type Contents struct {
	Trust     *trust.List
	Status    *trust.Status        // nil where the bundle has no revocations
	Catalogue *cert.Catalogue      // nil where it has none
	Rules     []*certlogic.Rule    // nil where it has none
	ValueSets *certlogic.ValueSets // nil where it has none
	Concepts  *cert.ConceptMaps    // the built-in ones where it has none
	Lots      *thing.LotList       // nil where it has nothing about lots
	LotKeys   thing.LotKeys
	Landmarks *print.Landmarks // nil where it has no roots of batches
	Ledgers   []*print.Ledger  // logs in which batches stand
}

// Count is how many there are of something.
type Count struct {
	Name string
	N    int
}

// Counts tells how much there is, always of the same things in the same order.
func (c *Contents) Counts() []Count {
	revocations, believed := 0, 0
	if c.Status != nil {
		revocations = c.Status.Len() + c.Status.Cards() + c.Status.Pointed()
	}
	if c.Lots != nil {
		for _, e := range c.Lots.Entries() {
			if e.Refused == nil {
				believed++
			}
		}
	}
	return []Count{
		{"keys", len(c.Trust.All())}, {"authorities", len(c.Trust.Authorities())}, {"revocations", revocations},
		{"products", c.Catalogue.Len()}, {"rules", len(c.Rules)}, {"concept-maps", len(c.Concepts.Sources())}, {"lot-keys", len(c.LotKeys)}, {"lot-statements", believed},
	}
}

// Open reads a bundle that one of the roots has signed. Nothing is read from it
// before both signatures have been found good.
//
// A bundle that is too old opens: what a verifier still may conclude from it is
// the verifier's to say, see [Bundle.TooOld]. One that is dated ahead does not.
// A single document that cannot be used refuses the whole, since its absence
// would go unnoticed.
func Open(data []byte, roots []Root, now time.Time) (*Opened, error) {
	if len(roots) == 0 {
		return nil, fmt.Errorf("bundle: %w", ErrNoRoot)
	}
	m, err := parse(data)
	if err != nil {
		return nil, err
	}
	signed, err := verify(m, roots)
	if err != nil {
		return nil, err
	}
	now = now.UTC().Truncate(time.Second) // so that it can be read again as it was, see Opened.Read
	o := &Opened{Read: now}
	if o.Bundle, err = decode(m.Payload); err != nil {
		return nil, err
	}
	if o.Signer, err = counting(signed, o.Issued, now); err != nil {
		return nil, err
	}
	// Who pins what it announces must be able to open it again.
	if signed, err = verify(m, o.Roots); err == nil {
		_, err = counting(signed, o.Issued, o.Issued)
	}
	if err != nil {
		return nil, fmt.Errorf("bundle: no root that it announces, and that counts, has signed it: %w", ErrSigner)
	}
	o.Digest = digest(m.Payload)
	if o.Issued.After(now.Add(clockSkew)) {
		return nil, fmt.Errorf("bundle: issued %s, which is ahead of %s: %w", stamp(o.Issued), stamp(now), ErrNotYetIssued)
	}
	contents, err := o.load(now)
	if err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	o.Contents = *contents
	return o, nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func parse(data []byte) (*cose.MultiSign, error) {
	if len(data) > MaxSize {
		return nil, fmt.Errorf("bundle: %d bytes, limit %d: %w", len(data), MaxSize, ErrTooLarge)
	}
	m, err := cose.ParseMultiSign(data)
	if err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	return m, nil
}

// verify finds the roots that signed: one at least.
func verify(m *cose.MultiSign, roots []Root) (signed []Root, err error) {
	refused := error(ErrUnknownRoot)
	for _, r := range roots {
		err := m.Verify(r.Classical, r.PostQuantum)
		if err == nil {
			signed = append(signed, r)
			continue
		}
		// A root of which one key signed says more than one that has nothing to do
		// with the file.
		if !errors.Is(err, cose.ErrMissingSignature) || m.Names(r.Classical) || m.Names(r.PostQuantum) {
			refused = err
		}
	}
	if len(signed) == 0 {
		return nil, fmt.Errorf("bundle: %w", refused)
	}
	return signed, nil
}

// counting returns the first of the roots whose window is open.
func counting(roots []Root, issued, now time.Time) (Root, error) {
	var err error
	for _, r := range roots {
		if err = r.Counts(issued, now); err == nil {
			return r, nil
		}
	}
	return Root{}, err
}

// Inspect reads a bundle that nobody has vouched for: what it says of itself, to
// be shown as unverified. Its documents are not read.
func Inspect(data []byte) (*Bundle, Digest, error) {
	m, err := parse(data)
	if err != nil {
		return nil, Digest{}, err
	}
	b, err := decode(m.Payload)
	if err != nil {
		return nil, Digest{}, err
	}
	return b, digest(m.Payload), nil
}

// DefaultShrink is the share that [Accept] lets go where nobody has set another.
const DefaultShrink = 0.5

// smallLoss is of so little that it says nothing about a source.
const smallLoss = 16

// Accept opens a bundle that is to take the place of the one that is kept, or to
// be the first. It must be signed by a root that the kept one announces; the
// pinned roots are for the first.
//
// The serial never goes back. The direct successor must name the kept one as
// its predecessor: if it names another, its maker, or somebody who has the
// maker's keys, tells different verifiers different things. Between serials that
// are further apart there is nothing to compare.
//
// Of nothing that is counted may more than the share shrink be gone at once, and
// more than a handful: what lost its sources on the way to its maker looks like
// that, and the maker's own guard is stricter. The kept one serves on,
// until it is too old by itself, and a person asks the maker; with a share of 1
// anything is taken.
//
// An error leaves the kept one where it is. ErrKept says that there is nothing to
// replace.
func Accept(kept *Opened, data []byte, pinned []Root, shrink float64, now time.Time) (*Opened, error) {
	if kept != nil {
		pinned = kept.Roots
	}
	next, err := Open(data, pinned, now)
	if err != nil || kept == nil {
		return next, err
	}
	refuse := func(why error) (*Opened, error) {
		return nil, fmt.Errorf("bundle: serial %d, issued %s; kept is %d, issued %s: %w", next.Serial, stamp(next.Issued), kept.Serial, stamp(kept.Issued), why)
	}
	switch {
	case next.Digest == kept.Digest:
		return next, fmt.Errorf("bundle: serial %d: %w", next.Serial, ErrKept)
	case next.Serial == kept.Serial:
		return refuse(ErrSameSerial)
	case next.Serial < kept.Serial || next.Issued.Before(kept.Issued):
		return refuse(ErrOlder)
	case next.Serial == kept.Serial+1 && next.Previous != kept.Digest:
		return refuse(ErrFork)
	}
	if err := checkShrink(kept.Counts(), next.Counts(), shrink, smallLoss); err != nil {
		return refuse(err)
	}
	return next, nil
}

// load reads the documents, each as the file of its flag is read.
func (b *Bundle) load(now time.Time) (*Contents, error) {
	c := &Contents{Trust: new(trust.List), Concepts: cert.BuiltinConceptMaps()}
	for _, a := range b.Authorities {
		key, err := thing.NewLotKey(thing.Role(a.Role), a.Authority, a.Products, a.Certificate)
		if err != nil {
			return nil, fmt.Errorf("authority %s: %w", a.Authority, err)
		}
		c.LotKeys = append(c.LotKeys, key)
	}
	for _, d := range b.Documents {
		if err := c.add(d, now); err != nil {
			return nil, fmt.Errorf("%s %s: %w", d.Kind, d.Name, err)
		}
	}
	return c, nil
}

func (c *Contents) add(d Document, now time.Time) error {
	switch d.Kind {
	case Trust:
		var pins []crypto.PublicKey
		for _, data := range d.Pins {
			keys, err := trust.ParsePin(data)
			if err != nil {
				return err
			}
			pins = append(pins, keys...)
		}
		return c.Trust.Add(trust.Source{Name: d.Name, Data: d.Data, Pins: pins, Issuer: d.Issuer})
	case Status:
		if c.Status == nil {
			c.Status = new(trust.Status)
		}
		return c.Status.Add(d.Name, d.Data)
	case Catalogue:
		catalogue, err := cert.ReadCatalogue(d.Data)
		if err == nil && c.Catalogue != nil {
			catalogue, err = c.Catalogue.Merge(catalogue)
		}
		if err != nil {
			return err
		}
		c.Catalogue = catalogue
	case Rules:
		rules, err := ReadRules(d.Data)
		if err != nil {
			return err
		}
		c.Rules = append(c.Rules, rules...)
	case ValueSets:
		if c.ValueSets != nil {
			return fmt.Errorf("there are value sets already: %w", ErrField)
		}
		sets, err := certlogic.ParseValueSets(d.Data)
		if err != nil {
			return err
		}
		c.ValueSets = &sets
	case Concepts:
		if c.Concepts == nil {
			c.Concepts = new(cert.ConceptMaps)
		}
		return c.Concepts.Add(d.Name, d.Data)
	case Landmarks:
		if c.Landmarks == nil {
			c.Landmarks = new(print.Landmarks)
		}
		return c.Landmarks.Add(d.Data)
	case Ledger:
		l, err := print.ParseLedger(d.Data)
		if err != nil {
			return err
		}
		c.Ledgers = append(c.Ledgers, l)
	case Lots:
		if c.Lots == nil {
			c.Lots = new(thing.LotList)
		}
		return c.Lots.Add(d.Name, d.Data, c.LotKeys, now)
	}
	return nil // an optional one that is not known
}

// ReadRules reads a document of one rule or an array of them. A rule that cannot
// be read refuses the document: what it would have refused must not pass without
// it.
func ReadRules(data []byte) ([]*certlogic.Rule, error) {
	if trimmed := bytes.TrimSpace(data); len(trimmed) > 0 && trimmed[0] == '{' {
		rule, err := certlogic.ParseRule(data)
		if err != nil {
			return nil, err
		}
		return []*certlogic.Rule{rule}, nil
	}
	rules, err := certlogic.ParseRules(data)
	if err != nil {
		return nil, err
	}
	return rules, nil
}
