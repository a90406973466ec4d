// Package vci reads the directory snapshot of the VCI: the issuers of SMART
// Health Cards that take part in that trust framework, with the keys that were
// found at their addresses.
//
//	{"directory": "<address of the list of issuers>",
//	 "time": "2026-08-22T04:43:50Z",
//	 "issuerInfo": [
//	   {"issuer": {"iss": "https://…", "name": "State of …",
//	               "canonical_iss": "https://…"},        optional: whom it stands for
//	    "keys": [ JWK, … ],
//	    "crls": [ card revocation list, … ]}             optional
//	 ]}
//
// The document is not signed. Whoever loads it vouches for it.
package vci

import (
	"bytes"
	"fmt"
	"time"

	"ampoule/format"
	"ampoule/format/jwks"
	"ampoule/format/shc"
	"ampoule/format/strictjson"
)

// The defects of a directory, and of one issuer.
const (
	ErrShape   = format.Defect("not-a-directory")
	ErrIssuer  = format.Defect("bad-issuer")
	ErrTooMany = format.Defect("too-many-issuers")
)

// maxIssuers bounds the list; the whole directory has some six hundred.
const maxIssuers = 20_000

// Directory is a snapshot.
type Directory struct {
	Source  string // address of the list of issuers
	Time    time.Time
	Issuers []Issuer
}

// Issuer is one participant.
type Issuer struct {
	ISS       string // the issuer's address, exactly as its cards write it
	Name      string // for people
	Canonical string // the address that this one stands for; "" for itself
	Keys      []jwks.Key
	CRLs      []shc.CRL
	Err       error // why the entry is not to be used; nil for a good one
}

// Parse reads a snapshot. An error means that it is no such thing; defects of
// single issuers and of their keys are in their Err.
func Parse(data []byte) (*Directory, error) {
	v, err := strictjson.Decode(bytes.TrimPrefix(data, []byte("\ufeff")), strictjson.Limits{Depth: 12})
	if err != nil {
		return nil, fmt.Errorf("VCI directory: %w", err)
	}
	o, _ := v.(map[string]any)
	infos, ok := o["issuerInfo"].([]any)
	if !ok {
		return nil, fmt.Errorf("VCI directory: issuerInfo: %w", ErrShape)
	}
	if len(infos) > maxIssuers {
		return nil, fmt.Errorf("VCI directory: %d issuers: %w", len(infos), ErrTooMany)
	}
	d := &Directory{Issuers: make([]Issuer, len(infos))}
	d.Source, _ = o["directory"].(string)
	if text, ok := o["time"].(string); ok {
		if d.Time, err = time.Parse(time.RFC3339, text); err != nil {
			return nil, fmt.Errorf("VCI directory: time: %w", ErrShape)
		}
	}
	for i, info := range infos {
		if err := d.Issuers[i].parse(info); err != nil {
			d.Issuers[i].Err = fmt.Errorf("issuerInfo[%d]: %w", i, err)
		}
	}
	return d, nil
}

func (i *Issuer) parse(v any) error {
	info, _ := v.(map[string]any)
	who, ok := info["issuer"].(map[string]any)
	if !ok {
		return fmt.Errorf("issuer: %w", ErrIssuer)
	}
	i.ISS, _ = who["iss"].(string)
	i.Name, _ = who["name"].(string)
	i.Canonical, _ = who["canonical_iss"].(string)
	if i.ISS == "" {
		return fmt.Errorf("issuer.iss: %w", ErrIssuer)
	}
	// The address is not judged by its form: a card is looked up by what it
	// writes, letter by letter, so a crooked entry can only match crooked cards.
	keys, ok := info["keys"].([]any)
	if !ok {
		return fmt.Errorf("keys: %w", ErrIssuer)
	}
	var err error
	if i.Keys, err = jwks.FromJSON(keys); err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	crls, ok := info["crls"].([]any)
	if _, present := info["crls"]; present && !ok {
		return fmt.Errorf("crls: %w", ErrIssuer)
	}
	for n, c := range crls {
		crl, err := shc.CRLFromJSON(c)
		if err != nil {
			// A revocation that cannot be read must not be forgotten.
			return fmt.Errorf("crls[%d]: %w", n, err)
		}
		i.CRLs = append(i.CRLs, *crl)
	}
	return nil
}
