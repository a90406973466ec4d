// Package oid has object identifiers (X.660, X.690 section 8.19): the names of
// organisations, devices and logs.
package oid

import (
	"fmt"
	"math/big"
	"strings"

	"ampoule/format"
)

// Err is what is no object identifier.
const Err format.Defect = "bad-identifier"

// OID is an object identifier as the content octets of its DER (X.690 section
// 8.19). Arcs may be as large as a UUID below 2.25, which asn1.ObjectIdentifier
// cannot hold.
type OID string

// MaxOctets bounds an identifier, so that it carries little else: {2 25 uuid} takes
// 20 octets, and up to four arcs below it are usual.
const MaxOctets = 40

// maxDotted is more than the dotted form of any identifier of MaxOctets octets has.
const maxDotted = 256

// Parse reads the dotted form.
func Parse(dotted string) (OID, error) {
	if len(dotted) > maxDotted {
		return "", fmt.Errorf("object identifier of %d characters: %w", len(dotted), Err)
	}
	arcs := strings.Split(dotted, ".")
	var body []byte
	var top int64
	for i, text := range arcs {
		arc, ok := new(big.Int).SetString(text, 10)
		if !ok || arc.Sign() < 0 || arc.String() != text || arc.BitLen() > 8*MaxOctets {
			return "", fmt.Errorf("object identifier: arc %d: %w", i, Err)
		}
		switch i {
		case 0:
			if !arc.IsInt64() || arc.Int64() > 2 {
				return "", fmt.Errorf("object identifier: first arc: %w", Err)
			}
			top = arc.Int64()
			continue
		case 1:
			if top < 2 && arc.Cmp(big.NewInt(40)) >= 0 {
				return "", fmt.Errorf("object identifier: second arc: %w", Err)
			}
			arc.Add(arc, big.NewInt(40*top))
		}
		groups := max(1, (arc.BitLen()+6)/7)
		for g := groups - 1; g >= 0; g-- {
			b := byte(new(big.Int).And(new(big.Int).Rsh(arc, uint(7*g)), big.NewInt(0x7f)).Int64())
			if g > 0 {
				b |= 0x80
			}
			body = append(body, b)
		}
	}
	if len(arcs) < 2 {
		return "", fmt.Errorf("object identifier: one arc: %w", Err)
	}
	o := OID(body)
	return o, o.Check()
}

// Check refuses what is no identifier, or is written longer than need be.
func (o OID) Check() error {
	if len(o) == 0 || len(o) > MaxOctets || o[len(o)-1]&0x80 != 0 {
		return fmt.Errorf("object identifier of %d octets: %w", len(o), Err)
	}
	begun := false
	for i := range len(o) {
		if !begun && o[i] == 0x80 {
			return fmt.Errorf("object identifier: octet %d: %w", i, Err)
		}
		begun = o[i]&0x80 != 0
	}
	return nil
}

// String is the dotted form.
func (o OID) String() string {
	var b strings.Builder
	arc := new(big.Int)
	for i := range len(o) {
		arc.Or(arc.Lsh(arc, 7), big.NewInt(int64(o[i]&0x7f)))
		if o[i]&0x80 != 0 {
			continue
		}
		if b.Len() == 0 {
			top := int64(2)
			if arc.IsInt64() {
				top = min(arc.Int64()/40, 2)
			}
			fmt.Fprint(&b, top)
			arc.Sub(arc, big.NewInt(40*top))
		}
		b.WriteByte('.')
		b.WriteString(arc.String())
		arc.SetInt64(0)
	}
	return b.String()
}

// MarshalText writes the dotted form: octets are no text, and JSON would spoil them.
func (o OID) MarshalText() ([]byte, error) {
	if o == "" {
		return nil, nil
	}
	return []byte(o.String()), nil
}

// UnmarshalText reads the dotted form.
func (o *OID) UnmarshalText(text []byte) (err error) {
	if *o = ""; len(text) > 0 {
		*o, err = Parse(string(text))
	}
	return err
}
