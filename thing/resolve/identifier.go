// Package resolve says what an identifier is of, whichever system it is from, and which
// of the links that lead on from it is the one that was asked for.
//
// One row stands for a thing. It is found by the one form of its name ([trail.Name] of
// GS1 keys, urn:oid: of object identifiers, any other URI as it is), and a set of links
// (RFC 9264) is made of it and of what is coarser than it. Whoever answers signs the
// answer ([Seal]), so that it is as good from a cache as from where it was made.
package resolve

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"ampoule/format"
	"ampoule/format/gs1"
	"ampoule/format/oid"
	"ampoule/thing/trail"
)

// Err is what is no identifier.
const Err format.Defect = "bad-identifier-uri"

// Scheme is the system that an identifier is of.
type Scheme string

// The systems.
const (
	GS1 Scheme = "gs1"
	OID Scheme = "oid"
	DID Scheme = "did"
	Lot Scheme = "lot" // of a product without a GTIN
	URI Scheme = "uri" // another
)

// MaxIdentifier is the length of an identifier.
const MaxIdentifier = gs1.MaxURI

// Identifier is one, whichever way it was written.
type Identifier struct {
	Scheme Scheme
	// Name is its one form: of a GS1 key the canonical Digital Link, with all of its
	// qualifiers.
	Name string
	Key  gs1.Key // of [GS1]
	OID  oid.OID // of [OID]
	// System, Code and Number are of [Lot].
	System, Code, Number string
}

const oidURN = "urn:oid:"

// Parse reads an identifier: a Digital Link, compressed or not, element strings with
// their AIs in brackets, an EPC URN, an object identifier (dotted, or urn:oid:), a DID, the
// name of a lot, or another URI.
func Parse(text string) (Identifier, error) {
	fail := func(err error) (Identifier, error) { return Identifier{}, fmt.Errorf("identifier: %w", err) }
	if len(text) > MaxIdentifier || text == "" {
		return fail(Err)
	}
	// RFC 3986 section 3.1: a scheme is not case-sensitive; of URNs, neither is the
	// namespace (RFC 8141 section 3.1).
	scheme, rest, hasScheme := strings.Cut(text, ":")
	scheme = strings.ToLower(scheme)
	switch {
	case text[0] == '(':
		es, err := gs1.ParseElements(text)
		if err != nil {
			return fail(err)
		}
		d, err := gs1.NewDigitalLink(es, "")
		if err != nil {
			return fail(err)
		}
		return ofKey(d.Key), nil
	case scheme == "http" || scheme == "https":
		d, err := ParseLink(text)
		if err != nil {
			return fail(err)
		}
		return ofKey(d.Key), nil
	case scheme == "did":
		if err := checkDID(text); err != nil {
			return fail(err)
		}
		return Identifier{Scheme: DID, Name: text}, nil
	case scheme == "urn":
		return ofURN(text, rest)
	case !hasScheme && text[0] >= '0' && text[0] <= '9':
		return ofOID(text)
	}
	if !hasScheme || !isURI(text) {
		return fail(Err)
	}
	return Identifier{Scheme: URI, Name: text}, nil
}

// ParseLink reads a Digital Link, whether it is compressed or not.
func ParseLink(uri string) (gs1.DigitalLink, error) {
	d, err := gs1.ParseDigitalLink(uri)
	if errors.Is(err, gs1.ErrNoKey) {
		if d, errCompressed := gs1.Decompress(uri); errCompressed == nil {
			return d, nil
		}
	}
	return d, err
}

func ofKey(k gs1.Key) Identifier {
	return Identifier{Scheme: GS1, Name: k.DigitalLink(), Key: k}
}

func ofOID(dotted string) (Identifier, error) {
	o, err := oid.Parse(dotted)
	if err != nil {
		return Identifier{}, fmt.Errorf("identifier: %w", err)
	}
	return Identifier{Scheme: OID, Name: oidURN + o.String(), OID: o}, nil
}

func ofURN(text, rest string) (Identifier, error) {
	namespace, specific, _ := strings.Cut(rest, ":")
	switch strings.ToLower(namespace) {
	case "oid":
		return ofOID(specific)
	case "epc":
		u, err := gs1.ParseURN("urn:epc:" + specific)
		if err != nil {
			return Identifier{}, fmt.Errorf("identifier: %w", err)
		}
		return ofKey(u.Key), nil
	}
	if system, code, lot, ok := trail.ParseLotName(text); ok {
		return Identifier{Scheme: Lot, Name: text, System: system, Code: code, Number: lot}, nil
	}
	if !isURI(text) || specific == "" {
		return Identifier{}, fmt.Errorf("identifier: %w", Err)
	}
	return Identifier{Scheme: URI, Name: text}, nil
}

// isURI reports whether all characters are those of URIs, and each escape is one.
func isURI(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || strings.IndexByte("\"<>\\^`{|}", c) >= 0 {
			return false
		}
	}
	_, err := url.Parse(s)
	return err == nil
}

// Levels are the identifiers from the finest up to what has no qualifier: of a serialised
// item its lot, its variant and its GTIN, as far as it names them.
func (id Identifier) Levels() []Identifier {
	levels := []Identifier{id}
	if id.Scheme != GS1 {
		return levels
	}
	for k := id.Key; len(k.Qualifiers) > 0; {
		k.Qualifiers = k.Qualifiers[:len(k.Qualifiers)-1]
		levels = append(levels, ofKey(k))
	}
	return levels
}

// Stock is the name under which goods of an identifier are kept (see [trail.Name]).
func (id Identifier) Stock() string {
	if id.Scheme == GS1 {
		return id.Key.Finest().DigitalLink()
	}
	return id.Name
}
