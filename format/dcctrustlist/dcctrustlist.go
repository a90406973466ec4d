// Package dcctrustlist reads the trust list of the EU Digital COVID
// Certificate gateway and the file in which national back ends hand it on.
//
// The gateway answers GET /trustList with an array; some back ends put the
// array into an object {"certificates": [...]}:
//
//	[{"kid": "2Rk3X8HntrI=", "timestamp": "2021-06-01T10:00:00Z", "country": "AT",
//	  "certificateType": "DSC", "thumbprint": "<SHA-256 of rawData, hex>",
//	  "signature": "<CMS of the uploader, base64>", "rawData": "<DER certificate, base64>"}]
//
// The national file, as the German-speaking back ends write it, is one line
// with a signature and then the JSON, to the last byte:
//
//	base64(R || S) LF
//	{"certificates": [...]}
//
// with R and S of ECDSA on P-256 over SHA-256 of what follows the line break.
//
// An entry says what the gateway says; it is not yet trusted. The CMS
// signature must lead to a pinned trust anchor or to an upload certificate of
// the same country, the certificate to a CSCA of that country, and the country
// of an entry is not tied to the certificate by anything else. All that is the
// caller's.
package dcctrustlist

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"
	"time"

	"ampoule/format"
	"ampoule/format/strictjson"
)

// Defects of a list. Defects of the JSON itself are those of package
// strictjson.
const (
	ErrNotList        format.Defect = "not-a-trust-list"
	ErrTooManyEntries format.Defect = "too-many-entries"
	ErrSignatureLine  format.Defect = "malformed-signature-line" // the first line is not base64 of 64 bytes
	ErrNoSignature    format.Defect = "no-signature"             // the file has no signature line
	ErrKeyType        format.Defect = "key-type-refused"         // the pinned key is not on P-256
	ErrSignature      format.Defect = "bad-signature"
)

// Defects of one entry, found in [Entry.Err].
const (
	ErrEntry      format.Defect = "malformed-entry"     // no object, or a member missing or of a wrong type
	ErrKID        format.Defect = "malformed-kid"       // not base64
	ErrTimestamp  format.Defect = "malformed-timestamp" // neither RFC 3339 nor the same without an offset
	ErrCountry    format.Defect = "malformed-country"   // not two upper-case letters
	ErrRawData    format.Defect = "malformed-raw-data"  // not base64
	ErrCMS        format.Defect = "malformed-cms"       // not base64
	ErrThumbprint format.Defect = "thumbprint-mismatch" // not the SHA-256 of rawData
)

// MaxEntries bounds a list. At its largest the gateway's had about 6,000.
const MaxEntries = 50000

// Certificate types of the gateway. Others occur and are kept as they are.
const (
	TypeDSC            = "DSC"
	TypeCSCA           = "CSCA"
	TypeUpload         = "UPLOAD"
	TypeAuthentication = "AUTHENTICATION"
	TypeTrustAnchor    = "TRUSTANCHOR"
)

// A List is one parsed file.
type List struct {
	Entries []Entry

	// Signature is R || S over Body; nil where the file has no signature line.
	Signature []byte
	// Body is the JSON as it was read, shared with the argument of Parse.
	Body []byte
}

// An Entry is one certificate of the list. Entries whose Err is set are
// incomplete and must not be used; they are kept to explain what was dropped.
type Entry struct {
	KID        []byte
	Timestamp  time.Time // when the gateway took the entry in; zero where the list has none
	Country    string    // ISO 3166 alpha-2
	Type       string
	Thumbprint string // SHA-256 of Raw in lower-case hex; "" where the list has none
	Signature  []byte // CMS, DER or BER
	Raw        []byte // DER certificate
	Deleted    bool   // a delta says that the certificate is gone; KID and Country are what counts
	Problems   []Problem
	Err        error
}

// A Problem is an oddity that does not stop an entry.
type Problem string

// ProblemKIDNotDerived marks a kid that is not SHA-256(Raw)[0:8]. Participants
// may choose one, and may choose that of another country: a kid is a hint.
const ProblemKIDNotDerived Problem = "kid-not-derived"

// Parse reads any of the three forms. It checks no signature: see
// [List.VerifySignature]. A defect of one entry is found in [Entry.Err].
func Parse(data []byte) (*List, error) {
	list := &List{Body: data}
	// No JSON text that we read begins with a letter of base64.
	if first := bytes.TrimLeft(data, " \t\r\n"); len(first) > 0 && first[0] != '[' && first[0] != '{' {
		line, body, found := bytes.Cut(data, []byte("\n"))
		if !found {
			return nil, ErrSignatureLine
		}
		text := strings.TrimSuffix(string(line), "\r")
		signature, err := base64.StdEncoding.Strict().DecodeString(text)
		if err != nil || len(signature) != 64 || strings.ContainsRune(text, '\r') {
			return nil, ErrSignatureLine
		}
		list.Signature, list.Body = signature, body
	}
	v, err := strictjson.Decode(list.Body, strictjson.Limits{Bytes: 64 << 20})
	if err != nil {
		return nil, err
	}
	if object, ok := v.(map[string]any); ok {
		v = object["certificates"]
	}
	items, ok := v.([]any)
	if !ok {
		return nil, ErrNotList
	}
	if len(items) > MaxEntries {
		return nil, fmt.Errorf("%d: %w", len(items), ErrTooManyEntries)
	}
	for i, item := range items {
		e, err := parseEntry(item)
		if err != nil {
			e.Err = fmt.Errorf("certificates[%d]: %w", i, err)
		}
		list.Entries = append(list.Entries, e)
	}
	return list, nil
}

// VerifySignature checks the signature line under the pinned key of the back
// end: ECDSA on P-256, R || S, over SHA-256 of Body. It returns
// [ErrNoSignature], [ErrKeyType] or [ErrSignature].
func (l *List) VerifySignature(key crypto.PublicKey) error {
	public, ok := key.(*ecdsa.PublicKey)
	if !ok || public.Curve != elliptic.P256() {
		return ErrKeyType
	}
	if len(l.Signature) == 0 {
		return ErrNoSignature
	}
	if len(l.Signature) != 64 {
		return ErrSignature
	}
	digest := sha256.Sum256(l.Body)
	r, s := new(big.Int).SetBytes(l.Signature[:32]), new(big.Int).SetBytes(l.Signature[32:])
	if !ecdsa.Verify(public, digest[:], r, s) {
		return ErrSignature
	}
	return nil
}

func parseEntry(v any) (e Entry, err error) {
	object, ok := v.(map[string]any)
	if !ok {
		return e, ErrEntry
	}
	var kid, timestamp, thumbprint, signature, raw string
	for _, m := range []struct {
		name     string
		to       *string
		optional bool
	}{
		{"kid", &kid, false},
		{"country", &e.Country, false},
		{"certificateType", &e.Type, false},
		{"timestamp", &timestamp, true},
		{"thumbprint", &thumbprint, true},
		{"signature", &signature, true},
		{"rawData", &raw, true},
	} {
		value := object[m.name]
		if value == nil && m.optional {
			continue
		}
		if *m.to, ok = value.(string); !ok {
			return e, fmt.Errorf("%s: %w", m.name, ErrEntry)
		}
	}
	if !format.IsCapitals(e.Country, 2) {
		return e, fmt.Errorf("country: %w", ErrCountry)
	}
	if e.KID, err = decodeBase64(kid); err != nil || len(e.KID) == 0 {
		return e, fmt.Errorf("kid: %w", ErrKID)
	}
	if timestamp != "" {
		if e.Timestamp, err = parseTime(timestamp); err != nil {
			return e, fmt.Errorf("timestamp: %w", ErrTimestamp)
		}
	}
	// A delta lists a deleted certificate with "signature": null. An entry
	// without the member comes from a back end that leaves signatures out.
	if value, present := object["signature"]; present && value == nil {
		e.Deleted = true
	} else if e.Signature, err = decodeBase64(signature); err != nil {
		return e, fmt.Errorf("signature: %w", ErrCMS)
	}
	if e.Raw, err = decodeBase64(raw); err != nil {
		return e, fmt.Errorf("rawData: %w", ErrRawData)
	}
	if len(e.Raw) == 0 {
		if e.Deleted {
			e.Thumbprint = strings.ToLower(thumbprint)
			return e, nil
		}
		return e, fmt.Errorf("rawData: %w", ErrRawData)
	}
	sum := sha256.Sum256(e.Raw)
	if thumbprint != "" {
		if e.Thumbprint = strings.ToLower(thumbprint); e.Thumbprint != hex.EncodeToString(sum[:]) {
			return e, fmt.Errorf("thumbprint: %w", ErrThumbprint)
		}
	}
	if !bytes.Equal(e.KID, sum[:8]) {
		e.Problems = append(e.Problems, ProblemKIDNotDerived)
	}
	return e, nil
}

// parseTime reads RFC 3339. The gateway has also written times without an
// offset; its clock is UTC.
func parseTime(text string) (time.Time, error) {
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	return time.Parse("2006-01-02T15:04:05", text)
}

// decodeBase64 reads the standard alphabet with padding. Line breaks, which
// the standard decoder skips, do occur in the CMS of some uploaders.
func decodeBase64(text string) ([]byte, error) {
	return base64.StdEncoding.DecodeString(text)
}
