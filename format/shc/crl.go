package shc

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"ampoule/format"
	"ampoule/format/strictjson"
)

// The defects of a card revocation list.
const (
	ErrCRL       = format.Defect("not-a-revocation-list")
	ErrMethod    = format.Defect("unknown-method")
	DuplicateRID = format.Defect("duplicate-rid") // a finding: the list is used all the same
)

// Limits of a list. At 24 characters each this is some eight megabytes.
const (
	maxRIDs     = 250_000
	maxCRLBytes = 16 << 20
)

// CRL is a card revocation list: the cards that an issuer has revoked of those
// that it signed with one key, published beside its key set at
// /.well-known/crl/<kid>.json.
//
//	{"kid": "<thumbprint>", "method": "rid", "ctr": 3,
//	 "rids": ["<rid>", "<rid>.<seconds since 1970>", …]}
//
// An entry with a time revokes the cards of that rid that were issued before it.
type CRL struct {
	KID      string
	Counter  int64 // ctr: how often the list was changed; never goes down
	Findings []format.Finding
	before   map[string]time.Time // by rid; zero for all its cards
}

// ParseCRL reads a list. What cannot be read of it makes the whole unusable: a
// revocation must not be lost.
func ParseCRL(data []byte) (*CRL, error) {
	v, err := strictjson.Decode(bytes.TrimPrefix(data, []byte("\ufeff")), strictjson.Limits{Bytes: maxCRLBytes, Depth: 4})
	if err != nil {
		return nil, fmt.Errorf("card revocation list: %w", err)
	}
	c, err := CRLFromJSON(v)
	if err != nil {
		return nil, fmt.Errorf("card revocation list: %w", err)
	}
	return c, nil
}

// EncodeCRL writes a list of identifiers without times: whole cards are revoked.
// The same identifiers in the same order give the same bytes.
func EncodeCRL(kid string, counter int64, rids []string) ([]byte, error) {
	if rids == nil {
		rids = []string{}
	}
	for i, rid := range rids {
		if !isRID(rid) {
			return nil, fmt.Errorf("rids[%d]: %w", i, ErrRID)
		}
	}
	data, err := json.Marshal(struct {
		KID     string   `json:"kid"`
		Method  string   `json:"method"`
		Counter int64    `json:"ctr"`
		RIDs    []string `json:"rids"`
	}{kid, "rid", counter, rids})
	if err != nil {
		return nil, fmt.Errorf("card revocation list: %w", err)
	}
	read, err := ParseCRL(data)
	if err == nil && read.Len() != len(rids) {
		err = DuplicateRID
	}
	if err != nil {
		return nil, err
	}
	return data, nil
}

// CRLFromJSON reads a list that [strictjson.Decode] has read.
func CRLFromJSON(v any) (*CRL, error) {
	o, ok := v.(map[string]any)
	if !ok {
		return nil, ErrCRL
	}
	c := new(CRL)
	if c.KID, ok = o["kid"].(string); !ok || c.KID == "" {
		return nil, fmt.Errorf("kid: %w", ErrCRL)
	}
	if o["method"] != "rid" {
		// Another method calculates what it compares with: not by these rules.
		return nil, fmt.Errorf("method: %w", ErrMethod)
	}
	number, ok := o["ctr"].(json.Number)
	if !ok {
		return nil, fmt.Errorf("ctr: %w", ErrCRL)
	}
	var err error
	if c.Counter, err = number.Int64(); err != nil || c.Counter < 0 {
		return nil, fmt.Errorf("ctr: %w", ErrCRL)
	}
	rids, ok := o["rids"].([]any)
	if !ok || len(rids) > maxRIDs {
		return nil, fmt.Errorf("rids: %w", ErrCRL)
	}
	c.before = make(map[string]time.Time, len(rids))
	for i, r := range rids {
		text, _ := r.(string)
		if err := c.add(text, i); err != nil {
			return nil, fmt.Errorf("rids[%d]: %w", i, err)
		}
	}
	return c, nil
}

func (c *CRL) add(text string, i int) error {
	rid, stamp, timed := strings.Cut(text, ".")
	if !isRID(rid) {
		return ErrRID
	}
	var before time.Time
	if timed {
		sec, err := strconv.ParseFloat(stamp, 64)
		// ParseFloat knows more numbers than the format: only digits are a time.
		if err != nil || sec > maxNumericDate || strings.Trim(stamp, "0123456789.") != "" {
			return ErrNumericDate
		}
		// Upwards: of the cards of that second, revoke one too many, not one too few.
		whole := int64(sec)
		if float64(whole) < sec {
			whole++
		}
		before = time.Unix(whole, 0).UTC()
	}
	if earlier, known := c.before[rid]; known {
		// Of several entries the one that revokes more holds.
		c.Findings = append(c.Findings, format.Finding{Path: fmt.Sprintf("rids[%d]", i), Reason: DuplicateRID, Tolerable: true})
		if earlier.IsZero() || !before.IsZero() && before.Before(earlier) {
			return nil
		}
	}
	c.before[rid] = before
	return nil
}

// Revokes reports whether a card of the key is revoked: its rid is listed, and
// where a time is listed with it, the card was issued before.
func (c *CRL) Revokes(rid string, nbf time.Time) bool {
	before, listed := c.before[rid]
	return listed && (before.IsZero() || nbf.Before(before))
}

// Entries yields the identifiers in order, each with the time before which its
// cards are revoked; zero for all its cards.
func (c *CRL) Entries() iter.Seq2[string, time.Time] {
	return func(yield func(string, time.Time) bool) {
		for _, rid := range slices.Sorted(maps.Keys(c.before)) {
			if !yield(rid, c.before[rid]) {
				return
			}
		}
	}
}

// Len returns the number of identifiers.
func (c *CRL) Len() int { return len(c.before) }
