package shc

import (
	"bytes"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"ampoule/format"
	"ampoule/format/deflate"
	"ampoule/format/fhir"
	"ampoule/format/strictjson"
)

// The types of card (CodeSystem health-card).
const (
	TypeCard         = "https://smarthealth.cards#health-card"
	TypeImmunization = "https://smarthealth.cards#immunization"
	TypeLaboratory   = "https://smarthealth.cards#laboratory"
	TypeCOVID19      = "https://smarthealth.cards#covid19"
)

// Card is an opened card. Whether its signature was checked is not its own to
// say.
type Card struct {
	Issuer      string    // iss: an address, and the name that keys are listed under
	NotBefore   time.Time // nbf: when it was issued
	Expires     time.Time // exp; zero for a card without end, as most are
	Types       []string
	RID         string // revocation identifier; empty for none
	FHIRVersion string
	Bundle      *fhir.Bundle
	Findings    []format.Finding // where the bundle departs from its schema
	Payload     []byte           // the JSON that was signed
	Remarks     []string         // of the JWS and of the payload: stable words
}

// depth bounds the nesting of a payload; a bundle of the profiles nests 14 deep.
const depth = 32

// Open inflates and reads the payload, under the profile that the JWS was parsed
// with.
func (j *JWS) Open() (*Card, error) {
	payload, err := deflate.Inflate(j.payload, maxInflated)
	if err != nil {
		return nil, err
	}
	c := &Card{Payload: payload, Remarks: slices.Clone(j.Remarks)}
	if err := c.read(payload, j.profile); err != nil {
		return nil, err
	}
	return c, nil
}

// DecodePayload reads the JSON of a payload by itself, as test data have it.
func DecodePayload(p Profile, payload []byte) (*Card, error) {
	c := &Card{Payload: payload}
	if err := c.read(payload, p); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *Card) read(payload []byte, p Profile) error {
	refuse := func(d format.Defect) error { return irregular(p, &c.Remarks, d) }
	if text, marked := bytes.CutPrefix(payload, []byte("\ufeff")); marked {
		if err := refuse(irregularMark); err != nil {
			return err
		}
		payload = text
	}
	o, err := strictjson.Parse(payload, strictjson.Limits{Bytes: maxInflated, Depth: depth})
	if err != nil {
		return fmt.Errorf("payload: %w", err)
	}
	if !o.Minified() {
		if err := refuse(irregularMinified); err != nil {
			return err
		}
	}
	if o.Kind() != strictjson.Object {
		// A payload that was made into a string twice is one: seen, and nothing in
		// it is a card before it is read once more by other rules.
		return fmt.Errorf("payload: no object: %w", ErrClaims)
	}
	if c.Issuer, _ = o.Get("iss").Text(); c.Issuer == "" {
		return fmt.Errorf("payload: iss: %w", ErrClaims)
	}
	if !isIssuerURL(c.Issuer) {
		if err := refuse(ErrIssuerURL); err != nil {
			return err
		}
	}
	if err := c.readPeriod(o, refuse); err != nil {
		return err
	}
	vc := o.Get("vc")
	if vc.Kind() != strictjson.Object {
		return fmt.Errorf("payload: vc: %w", ErrClaims)
	}
	if rid := vc.Get("rid"); rid.Exists() {
		if c.RID, _ = rid.Text(); !isRID(c.RID) {
			return fmt.Errorf("payload: vc.rid: %w", ErrRID)
		}
	}
	subject := vc.Get("credentialSubject")
	if subject.Kind() != strictjson.Object {
		return fmt.Errorf("payload: vc.credentialSubject: %w", ErrNoBundle)
	}
	bundle := subject.Get("fhirBundle")
	if !bundle.Exists() {
		return fmt.Errorf("payload: vc.credentialSubject.fhirBundle: %w", ErrNoBundle)
	}
	// FHIR R4 is 4.0.x, and the resources here have not changed in R4B (4.3).
	c.FHIRVersion, _ = subject.Get("fhirVersion").Text()
	if !strings.HasPrefix(c.FHIRVersion, "4.") {
		if err := refuse(irregularVersion); err != nil {
			return err
		}
	}
	c.Bundle, c.Findings = fhir.Decode(bundle)
	return c.readTypes(vc.Get("type"), refuse)
}

// readPeriod reads nbf and exp.
func (c *Card) readPeriod(o strictjson.Value, refuse func(format.Defect) error) error {
	nbf := o.Get("nbf")
	if !nbf.Exists() {
		// The card's date of issue: without it no revocation up to a time would hold.
		return fmt.Errorf("payload: nbf: %w", format.RequiredMissing)
	}
	sec, fraction, err := numericDate(nbf)
	if err != nil {
		return fmt.Errorf("payload: nbf: %w", err)
	}
	if sec > maxNumericDate {
		// Milliseconds for seconds, mostly: a day that never comes.
		if err := refuse(irregularFarFuture); err != nil {
			return err
		}
		sec = maxNumericDate
	}
	c.NotBefore = time.Unix(int64(sec), 0).UTC()
	if exp := o.Get("exp"); exp.Exists() {
		sec, more, err := numericDate(exp)
		if err != nil || sec > maxNumericDate {
			// The same mistake would make this card valid for ever.
			return fmt.Errorf("payload: exp: %w", ErrNumericDate)
		}
		fraction = fraction || more
		c.Expires = time.Unix(int64(sec), 0).UTC()
		if !c.Expires.After(c.NotBefore) {
			if err := refuse(irregularPeriod); err != nil {
				return err
			}
		}
	}
	if fraction {
		note(&c.Remarks, noteFraction)
	}
	return nil
}

// maxNumericDate is the end of the year 9999.
const maxNumericDate = 253402300799

// numericDate reads seconds since 1970, down to the whole one (RFC 7519 section
// 2 allows fractions, and issuers make use of it).
func numericDate(v strictjson.Value) (sec float64, fraction bool, err error) {
	n, ok := v.Number()
	if !ok {
		return 0, false, ErrNumericDate
	}
	f, err := strconv.ParseFloat(n.String(), 64)
	if err != nil || f < 0 {
		return 0, false, ErrNumericDate
	}
	sec = math.Floor(f)
	return sec, sec != f, nil
}

// isIssuerURL follows "Determining keys associated with an issuer": https, and
// no slash at the end. Nothing is ever fetched from it; it is a name.
func isIssuerURL(iss string) bool {
	u, err := url.Parse(iss)
	return err == nil && u.Scheme == "https" && u.Host != "" && u.User == nil && u.RawQuery == "" && u.Fragment == "" &&
		!strings.HasSuffix(iss, "/")
}

// isRID follows "Revocation": the alphabet of base64url, at most 24 characters.
func isRID(rid string) bool {
	return rid != "" && len(rid) <= 24 && strings.IndexFunc(rid, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
	}) < 0
}

// readTypes holds the types against the content: a verifier may be asked for
// immunizations alone, and chooses by them.
func (c *Card) readTypes(v strictjson.Value, refuse func(format.Defect) error) error {
	other := false
	for t := range v.All() {
		text, ok := t.Text()
		if !ok {
			return fmt.Errorf("payload: vc.type: %w", ErrClaims)
		}
		c.Types = append(c.Types, text)
		other = other || !strings.HasPrefix(text, "https://smarthealth.cards#")
	}
	if other {
		note(&c.Remarks, noteType)
	}
	if !slices.Contains(c.Types, TypeCard) {
		if err := refuse(irregularType); err != nil {
			return err
		}
	}
	if c.Bundle.Has("Immunization") && !slices.Contains(c.Types, TypeImmunization) ||
		c.Bundle.Type == "collection" && c.Bundle.Has("Observation") && !slices.Contains(c.Types, TypeLaboratory) {
		// "Other types SHOULD be included when they apply", which the specification's
		// own examples do not do.
		note(&c.Remarks, noteContentType)
	}
	return nil
}
