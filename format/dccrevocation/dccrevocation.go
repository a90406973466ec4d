// Package dccrevocation reads and writes the revocation batches of the EU
// Digital COVID Certificate gateway, and computes the hashes in them.
//
// A certificate is revoked by publishing one of three hashes of it, each the
// first 128 bits of a SHA-256:
//
//	UCI             SHA-256(UCI)
//	COUNTRYCODEUCI  SHA-256(country code || UCI)
//	SIGNATURE       SHA-256(R) for an ECDSA signature R || S, SHA-256(signature) for RSA
//
// A batch carries hashes of one kind, one country and one key:
//
//	{"country": "XA", "expires": "2027-01-01T00:00:00Z", "kid": "2Rk3X8HntrI=",
//	 "hashType": "SIGNATURE", "entries": [{"hash": "AAECAwQFBgcICQoLDA0ODw=="}]}
//
// The gateway wraps a batch in CMS; that envelope is opened elsewhere. Which
// country a COUNTRYCODEUCI hash means is not settled: the text says "country
// code", the reference verifier takes the entry's `co`, and the `iss` of the
// certificate may differ. A verifier must try both. It must also look at the
// batches under [UnknownKID], which the reference verifier forgets.
package dccrevocation

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"ampoule/format"
	"ampoule/format/strictjson"
)

// Defects of a signature, a batch or a file of batches. Defects of the JSON
// itself are those of package strictjson.
const (
	ErrSignature  format.Defect = "signature-length"  // not R || S of equal, known length, or empty
	ErrNotBatch   format.Defect = "not-a-batch"       // a member missing or of a wrong type
	ErrCountry    format.Defect = "malformed-country" // not two upper-case letters
	ErrExpires    format.Defect = "malformed-expires" // not an RFC 3339 date and time
	ErrKID        format.Defect = "malformed-kid"     // not 8 bytes of base64, nor UNKNOWN_KID
	ErrHashType   format.Defect = "unknown-hash-type"
	ErrHash       format.Defect = "malformed-hash" // not 16 bytes of padded base64
	ErrEntryCount format.Defect = "entry-count"    // none, or more than MaxEntries
	ErrBatchCount format.Defect = "batch-count"    // more than MaxBatches
)

// Bounds: the gateway's own for a batch, ours for a file of batches.
const (
	MaxEntries = 1000
	MaxBatches = 20000
)

// Hash128 is the first half of a SHA-256.
type Hash128 [16]byte

func truncated(message []byte) Hash128 {
	sum := sha256.Sum256(message)
	return Hash128(sum[:16])
}

// UCI hashes a unique certificate identifier, as it stands in `ci`.
func UCI(uci string) Hash128 { return truncated([]byte(uci)) }

// CountryUCI hashes a country code, as it stands in `co` or `iss`, followed by
// the identifier.
func CountryUCI(country, uci string) Hash128 { return truncated([]byte(country + uci)) }

// Signature hashes the signature of a COSE message: of ECDSA only the R half,
// because whoever holds the certificate can turn (r, s) into (r, n-s), which
// verifies as well and would otherwise not be on any list.
//
// It returns [ErrSignature] where sig is empty or, for ECDSA, is not R || S of
// a curve that COSE knows (64, 96 or 132 bytes, RFC 9053 section 2.1).
func Signature(sig []byte, ecdsa bool) (Hash128, error) {
	if !ecdsa {
		if len(sig) == 0 {
			return Hash128{}, ErrSignature
		}
		return truncated(sig), nil
	}
	switch len(sig) {
	case 64, 96, 132:
		return truncated(sig[:len(sig)/2]), nil
	}
	return Hash128{}, fmt.Errorf("%d bytes: %w", len(sig), ErrSignature)
}

// HashType says which hash a batch carries.
type HashType string

// The three hash types of the gateway.
const (
	TypeSignature  HashType = "SIGNATURE"
	TypeUCI        HashType = "UCI"
	TypeCountryUCI HashType = "COUNTRYCODEUCI"
)

// UnknownKID stands for the kid where the uploader does not know which key
// signed the certificates. Such a batch concerns every key of its country.
const UnknownKID = "UNKNOWN_KID"

// A Batch is one upload of a country: hashes of certificates that it revokes.
type Batch struct {
	Country string    // ISO 3166 alpha-2 of the uploader
	Expires time.Time // when the last of the certificates has expired by itself
	KID     []byte    // 8 bytes, SHA-256(DSC)[0:8]; nil for UNKNOWN_KID
	Type    HashType
	Hashes  []Hash128 // 1 to MaxEntries
}

// Expired tells whether the batch has nothing to say at now.
func (b Batch) Expired(now time.Time) bool { return !now.Before(b.Expires) }

// Parse reads one batch, an array of batches, or {"batches": [...]}. One
// defect refuses the whole file: a revocation list of which a part is silently
// dropped would call revoked certificates valid. Members that the gateway does
// not define are ignored.
func Parse(data []byte) ([]Batch, error) {
	v, err := strictjson.Decode(data, strictjson.Limits{Bytes: 64 << 20})
	if err != nil {
		return nil, err
	}
	list, isArray := v.([]any)
	object, isObject := v.(map[string]any)
	switch {
	case isObject:
		inner, wrapped := object["batches"]
		if !wrapped {
			list = []any{object}
		} else if list, isArray = inner.([]any); !isArray {
			return nil, fmt.Errorf("batches: %w", ErrNotBatch)
		}
	case !isArray:
		return nil, ErrNotBatch
	}
	if len(list) > MaxBatches {
		return nil, fmt.Errorf("%d batches: %w", len(list), ErrBatchCount)
	}
	batches := make([]Batch, len(list))
	for i, item := range list {
		if batches[i], err = parseBatch(item); err != nil {
			return nil, fmt.Errorf("batch[%d]: %w", i, err)
		}
	}
	return batches, nil
}

func parseBatch(v any) (b Batch, err error) {
	object, ok := v.(map[string]any)
	if !ok {
		return Batch{}, ErrNotBatch
	}
	var expires, kid, hashType string
	for _, m := range []struct {
		name string
		to   *string
	}{{"country", &b.Country}, {"expires", &expires}, {"kid", &kid}, {"hashType", &hashType}} {
		if *m.to, ok = object[m.name].(string); !ok {
			return Batch{}, fmt.Errorf("%s: %w", m.name, ErrNotBatch)
		}
	}
	if b.Expires, err = time.Parse(time.RFC3339, expires); err != nil {
		return Batch{}, fmt.Errorf("expires: %w", ErrExpires)
	}
	if kid != UnknownKID {
		if b.KID, err = parseKID(kid); err != nil {
			return Batch{}, err
		}
	}
	b.Type = HashType(hashType)
	entries, ok := object["entries"].([]any)
	if !ok {
		return Batch{}, fmt.Errorf("entries: %w", ErrNotBatch)
	}
	if len(entries) > MaxEntries {
		return Batch{}, fmt.Errorf("%d entries: %w", len(entries), ErrEntryCount)
	}
	for i, entry := range entries {
		object, _ := entry.(map[string]any)
		text, ok := object["hash"].(string)
		if !ok {
			return Batch{}, fmt.Errorf("entries[%d]: %w", i, ErrNotBatch)
		}
		raw, err := base64.StdEncoding.Strict().DecodeString(text)
		if err != nil || len(raw) != len(Hash128{}) || len(text) != 24 {
			return Batch{}, fmt.Errorf("entries[%d]: %w", i, ErrHash)
		}
		b.Hashes = append(b.Hashes, Hash128(raw))
	}
	return b, b.check()
}

// parseKID reads the 11 or 12 characters that the gateway allows: 8 bytes,
// padded or not, in either alphabet.
func parseKID(text string) ([]byte, error) {
	plain := strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimSuffix(text, "="))
	kid, err := base64.RawStdEncoding.Strict().DecodeString(plain)
	if err != nil || len(plain) != 11 {
		return nil, fmt.Errorf("kid: %w", ErrKID)
	}
	return kid, nil
}

func (b Batch) check() error {
	if !format.IsCapitals(b.Country, 2) {
		return fmt.Errorf("country: %w", ErrCountry)
	}
	// RFC 3339 has four digits for the year.
	if year := b.Expires.UTC().Year(); b.Expires.IsZero() || year < 1 || year > 9999 {
		return fmt.Errorf("expires: %w", ErrExpires)
	}
	if b.KID != nil && len(b.KID) != 8 {
		return fmt.Errorf("kid: %w", ErrKID)
	}
	if !slices.Contains([]HashType{TypeSignature, TypeUCI, TypeCountryUCI}, b.Type) {
		return fmt.Errorf("hashType: %w", ErrHashType)
	}
	if len(b.Hashes) == 0 || len(b.Hashes) > MaxEntries {
		return fmt.Errorf("%d entries: %w", len(b.Hashes), ErrEntryCount)
	}
	return nil
}

// Encode writes one batch as the gateway wants it: UTC, whole seconds, padded
// base64. It refuses what [Parse] would refuse.
func (b Batch) Encode() ([]byte, error) {
	if err := b.check(); err != nil {
		return nil, err
	}
	type entry struct {
		Hash string `json:"hash"`
	}
	out := struct {
		Country string   `json:"country"`
		Expires string   `json:"expires"`
		KID     string   `json:"kid"`
		Type    HashType `json:"hashType"`
		Entries []entry  `json:"entries"`
	}{Country: b.Country, Expires: b.Expires.UTC().Format("2006-01-02T15:04:05Z"), KID: UnknownKID, Type: b.Type}
	if b.KID != nil {
		out.KID = base64.StdEncoding.EncodeToString(b.KID)
	}
	for _, h := range b.Hashes {
		out.Entries = append(out.Entries, entry{base64.StdEncoding.EncodeToString(h[:])})
	}
	return json.Marshal(out)
}
