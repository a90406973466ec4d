package bundle

import (
	"crypto"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"ampoule/format"
	"ampoule/format/cose"
	"ampoule/thing"
	"ampoule/trust"
)

// Input is what a bundle is made of.
type Input struct {
	Maker  string
	Issued time.Time
	Next   time.Time
	// Previous is the bundle that this one follows; nil for the first.
	Previous *Opened
	// Signers are the roots that will sign. One of them at least must be announced
	// by the previous bundle, or no verifier that keeps it would take this one.
	Signers []Root
	// Roots are those to pin from now on; those of the previous bundle where none
	// are given, or else the signers. One of them must sign, so that a verifier that
	// pins them can open what it keeps.
	Roots []Root
	// Documents come without pins. Which of the Pins below a document needs is found
	// out, so that a pin for one list never vouches for another.
	Documents   []Document
	Pins        []Pin
	Authorities []LotAuthority
	// Shrink is the largest share of anything counted that may be gone since the
	// previous bundle; above it a person must look.
	Shrink float64
}

// Pin is a key that may have signed trust lists.
type Pin struct {
	Name string
	Data []byte
}

// Drop is something that did not get into a bundle, or that is in it and will
// not be used.
type Drop struct {
	Kind   Kind
	Source string
	Entry  string // its own name in the source; empty for the whole source
	Reason string // a stable word
	Detail string
}

// The reasons for which something is dropped, besides those of its reader.
const (
	ErrDuplicate = format.Defect("duplicate")
	ErrUnused    = format.Defect("unused")
	ErrSigner    = format.Defect("signer-not-announced")
	ErrShrunk    = format.Defect("shrunk") // much of what the previous bundle had is gone
)

// Make chooses what goes into a bundle. An error means that there is none: a
// document that a verifier could not use must be put right or left out by a
// person.
func Make(in Input) (*Bundle, []Drop, error) {
	b := &Bundle{
		Serial: 1, Issued: in.Issued.UTC().Truncate(time.Second), Next: in.Next.UTC().Truncate(time.Second),
		Maker: in.Maker, Roots: in.Roots, Authorities: in.Authorities,
	}
	if len(b.Roots) == 0 && in.Previous != nil {
		b.Roots = in.Previous.Roots
	}
	if len(b.Roots) == 0 {
		b.Roots = in.Signers
	}
	announced := func(by []Root) bool {
		return slices.ContainsFunc(in.Signers, func(r Root) bool { return contains(by, r) })
	}
	if !announced(b.Roots) {
		return nil, nil, fmt.Errorf("bundle: none of the roots to pin signs it: %w", ErrSigner)
	}
	// A verifier must be able to rely on it until the next one is due.
	last := b.Next.Add(-time.Second)
	if _, err := counting(slices.DeleteFunc(slices.Clone(b.Roots), func(r Root) bool { return !contains(in.Signers, r) }), b.Issued, last); err != nil {
		return nil, nil, fmt.Errorf("the next one is due %s; announce a root that counts as long: %w", stamp(b.Next), err)
	}
	if p := in.Previous; p != nil {
		b.Serial, b.Previous = p.Serial+1, p.Digest
		switch {
		case !announced(p.Roots):
			return nil, nil, fmt.Errorf("bundle: the previous one announces none of the roots that sign: %w", ErrSigner)
		case b.Issued.Before(p.Issued):
			return nil, nil, fmt.Errorf("bundle: the previous one was issued %s: %w", stamp(p.Issued), ErrOlder)
		}
	}
	m := maker{bundle: b, pins: in.Pins, used: make([]bool, len(in.Pins))}
	if err := m.addAuthorities(); err != nil {
		return nil, nil, err
	}
	for _, d := range in.Documents {
		if err := m.add(d); err != nil {
			return nil, nil, fmt.Errorf("bundle: %s %s: %w", d.Kind, d.Name, err)
		}
	}
	for i, pin := range in.Pins {
		if !m.used[i] {
			m.drop(Trust, pin.Name, "", fmt.Errorf("no list needs this pin: %w", ErrUnused))
		}
	}
	// What no document says alone: two catalogues that contradict each other, a key
	// that stands in two lists.
	contents, err := b.load(b.Issued)
	if err != nil {
		return nil, nil, fmt.Errorf("bundle: %w", err)
	}
	for _, d := range contents.Trust.Drops() {
		m.drops = append(m.drops, Drop{Trust, d.Source, d.Entry, d.Reason, d.Detail})
	}
	if in.Previous != nil {
		if err := checkShrink(in.Previous.Counts(), contents.Counts(), in.Shrink, 0); err != nil {
			return nil, m.drops, fmt.Errorf("bundle: %w", err)
		}
	}
	return b, m.drops, b.Check()
}

// checkShrink refuses a loss of more than the share, and of more than a handful.
func checkShrink(previous, next []Count, share float64, handful int) error {
	for i, p := range previous {
		if n := next[i].N; float64(n) < (1-share)*float64(p.N) && p.N-n > handful {
			return fmt.Errorf("%d %s, and the one before has %d: %w", n, p.Name, p.N, ErrShrunk)
		}
	}
	return nil
}

// maker makes one bundle.
type maker struct {
	bundle  *Bundle
	pins    []Pin
	used    []bool
	lotKeys thing.LotKeys
	lots    map[thing.StatementID]bool
	drops   []Drop
}

func (m *maker) drop(kind Kind, source, entry string, err error) {
	d := Drop{Kind: kind, Source: source, Entry: entry, Reason: format.Reason(err, "unreadable")}
	if text := err.Error(); text != d.Reason {
		d.Detail = text
	}
	m.drops = append(m.drops, d)
}

func (m *maker) addAuthorities() error {
	for _, a := range m.bundle.Authorities {
		key, err := thing.NewLotKey(thing.Role(a.Role), a.Authority, a.Products, a.Certificate)
		if err != nil {
			return fmt.Errorf("bundle: authority %s: %w", a.Authority, err)
		}
		m.lotKeys = append(m.lotKeys, key)
	}
	return nil
}

// add takes one document, with the pin that it needs and without the statements
// that nobody would believe.
func (m *maker) add(d Document) error {
	if slices.ContainsFunc(m.bundle.Documents, func(o Document) bool { return sameDocument(o, d) }) {
		m.drop(d.Kind, d.Name, "", ErrDuplicate)
		return nil
	}
	switch {
	case d.Optional && knownKind(d.Kind):
		return fmt.Errorf("a kind that is known, carried as %s: %w", d.Kind, ErrField)
	case d.Kind == Trust:
		pins, err := m.findPin(d)
		if err != nil {
			return err
		}
		d.Pins = pins
	case d.Kind == Lots:
		data, err := m.believedLots(d)
		if err != nil {
			return err
		}
		d.Data = data
	default:
		if err := new(Contents).add(d, m.bundle.Issued); err != nil {
			return err
		}
	}
	m.bundle.Documents = append(m.bundle.Documents, d)
	return nil
}

// findPin returns the pins under which a list is believed, each by itself; none for
// documents that are not signed.
func (m *maker) findPin(d Document) ([][]byte, error) {
	source := trust.Source{Name: d.Name, Data: d.Data, Issuer: d.Issuer}
	err := new(trust.List).Add(source)
	if !errors.Is(err, trust.ErrNoPin) {
		return nil, err
	}
	var pins [][]byte
	for i, pin := range m.pins {
		keys, unreadable := trust.ParsePin(pin.Data)
		if unreadable != nil {
			return nil, fmt.Errorf("pin %s: %w", pin.Name, unreadable)
		}
		source.Pins = keys
		if err = new(trust.List).Add(source); err == nil {
			m.used[i] = true
			pins = append(pins, pin.Data) // a gateway's entries may be under an anchor and the one before it
		}
	}
	if len(pins) > 0 {
		return pins, nil
	}
	return nil, err
}

// believedLots returns the messages of a file of whose statements one is believed, and
// was not there before.
func (m *maker) believedLots(d Document) ([]byte, error) {
	if m.lots == nil {
		m.lots = make(map[thing.StatementID]bool)
	}
	var out []byte
	n := 0
	for line := range strings.Lines(string(d.Data)) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		message, err := base64.StdEncoding.Strict().DecodeString(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: not base64: %w", n, thing.ErrLine)
		}
		signed, err := thing.ParseLots(message)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		found := false
		for i, err := range m.lotKeys.BelieveEach(signed, m.bundle.Issued) {
			id := signed[i].ID
			if err == nil && m.lots[id] {
				err = ErrDuplicate
			}
			if err != nil {
				m.drop(Lots, d.Name, fmt.Sprintf("line %d: %s", n, id), err)
				continue
			}
			m.lots[id], found = true, true
		}
		if found {
			out = thing.AppendLine(out, message)
		}
	}
	return out, nil
}

// Sign makes the file: the bundle, signed by both keys of every signer.
func Sign(random io.Reader, b *Bundle, signers ...Signer) ([]byte, error) {
	payload, err := b.Encode()
	if err != nil {
		return nil, err
	}
	var keys []crypto.Signer
	announced := false
	for _, s := range signers {
		root, err := s.Root()
		if err != nil {
			return nil, err
		}
		announced = announced || contains(b.Roots, root)
		keys = append(keys, s.Classical, s.PostQuantum)
	}
	if !announced {
		return nil, fmt.Errorf("bundle: none of the roots to pin signs it: %w", ErrSigner)
	}
	data, err := cose.SignMulti(random, payload, keys...)
	if err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	if len(data) > MaxSize {
		return nil, fmt.Errorf("bundle: %d bytes, limit %d: %w", len(data), MaxSize, ErrTooLarge)
	}
	return data, nil
}
