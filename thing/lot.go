// Package thing has what is known about the goods behind a certificate. Its
// first part is about lots: who says what about a lot, who is believed, and what
// follows for a dose that was given from it.
//
// A [LotStatement] is signed by a manufacturer, a regulator or a participant of
// the trust network. A [LotList] holds those that are believed, and
// [LotList.Advise] answers for one dose. The answer never touches the outcome of
// a certificate: it stands beside it.
package thing

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"ampoule/format"
	"ampoule/format/cbor"
	"ampoule/format/cose"
)

// Role is in which quality an authority speaks.
type Role string

// The roles.
const (
	Manufacturer Role = "manufacturer"
	Regulator    Role = "regulator"
	Participant  Role = "participant" // of the trust network: a country, about what happened on its own ground
)

var roles = []Role{Manufacturer, Regulator, Participant}

// Value is what is said of a lot.
type Value string

// The values. Heat and freeze are what happened to the lot; whether a dose
// suffered from it is the product's own: see [FreezeHarm].
const (
	Recalled  Value = "recalled"
	ExpiresOn Value = "expires-on" // the last day of the lot stands in Expiry
	Heat      Value = "heat"
	Freeze    Value = "freeze"
	Spoiled   Value = "spoiled"
	Unharmed  Value = "no-concern" // with the share of the path that was measured
	Withdrawn Value = "withdrawn"  // nothing but that an earlier statement no longer holds
)

var values = []Value{Recalled, ExpiresOn, Heat, Freeze, Spoiled, Unharmed, Withdrawn}

// Part is how much of the lot is meant.
type Part string

// The parts. What is said of some of a lot says nothing certain of any dose.
const (
	All  Part = "all"
	Some Part = "some"
)

var parts = []Part{All, Some}

// Product is a code for a product or, where certificates name nothing closer, a
// kind of vaccine. Codes are compared exactly, and only within their system.
type Product struct {
	Code   string `json:"code"`
	System string `json:"system"` // URI of the code system
}

// StatementID names a statement: the first 16 bytes of the SHA-256 of its
// content. It does not depend on the signature. The zero value names none.
type StatementID [16]byte

func (id StatementID) String() string { return hex.EncodeToString(id[:]) }

// ParseStatementID reads 32 hexadecimal digits.
func ParseStatementID(s string) (id StatementID, err error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(id) {
		return id, fmt.Errorf("an id has %d hexadecimal digits: %w", 2*len(id), ErrID)
	}
	copy(id[:], b)
	return id, nil
}

// LotStatement is what an authority says about a lot. It travels as the payload
// of a COSE_Sign1, in deterministic CBOR (RFC 8949 section 4.2):
//
//	LotStatement = [
//	    type:      "ampoule lot statement",  ;; no other signed message begins so
//	    version:   1,
//	    role:      "manufacturer" / "regulator" / "participant",
//	    authority: tstr,               ;; participant code, or id of an organisation
//	    issued:    uint,               ;; seconds since 1970-01-01T00:00:00Z
//	    product:   [code: tstr, system: tstr],
//	    lot:       tstr,               ;; as printed; compared by NormalLot
//	    country:   tstr,               ;; ISO 3166-1 alpha-2, or "" for everywhere
//	    centre:    tstr,               ;; a place in that country, or ""
//	    from:      tstr,               ;; first day on which the dose was given, or ""
//	    until:     tstr,               ;; last one, or ""
//	    part:      "all" / "some",
//	    value:     tstr,
//	    expiry:    tstr,               ;; with "expires-on" only, otherwise ""
//	    measured:  0..10000,           ;; with "no-concern" only, otherwise 0
//	    withdraws: bstr .size (0 / 16) ;; an earlier statement of the same authority
//	]
//
// Days are those of ISO 8601, YYYY-MM-DD, and whole.
type LotStatement struct {
	Role      Role
	Authority string
	Issued    time.Time // whole seconds
	Product   Product
	Lot       string
	Country   string
	Centre    string
	From      string
	Until     string
	Part      Part
	Value     Value
	Expiry    string
	// Measured is the share of the lot's path that was measured, in
	// ten-thousandths. No share at all is no ground for "no concern": what nobody
	// measured is not known, and never "held".
	Measured int
	// Withdraws names a statement that no longer holds. It stays withdrawn, even
	// when this one is withdrawn in turn: what holds again is stated again.
	Withdraws StatementID
}

// The kinds of defect of a statement and of a list of them.
const (
	ErrNotStatement = format.Defect("not-a-lot-statement") // a signed message of another kind
	ErrVersion      = format.Defect("unknown-version")
	ErrField        = format.Defect("bad-field")
	ErrID           = format.Defect("bad-statement-id")
	ErrEncoding     = format.Defect("not-deterministic") // the same content, in other bytes than ours
	ErrLine         = format.Defect("bad-line")
	ErrTooMany      = format.Defect("too-many-statements")
)

const (
	statementType    = "ampoule lot statement"
	statementVersion = 1
	wholePath        = 10000

	maxText    = 128     // bytes of an authority, a code, a lot, a centre
	maxMessage = 4 << 10 // bytes of a signed statement
)

var statementLimits = cbor.Limits{Depth: 4, Items: 32, Pairs: 8}

// NormalLot is the spelling in which lots are compared: upper-case letters and
// digits. What stands between them is written differently on vial, box and card.
func NormalLot(lot string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToUpper(r)
		}
		return -1
	}, norm.NFKC.String(lot))
}

// Check says what is wrong with the statement itself, whoever made it.
func (s *LotStatement) Check() error {
	bad := func(field, why string) error { return fmt.Errorf("lot statement: %s %s: %w", field, why, ErrField) }
	for _, t := range []struct {
		name, text string
		required   bool
	}{
		{"authority", s.Authority, true}, {"product code", s.Product.Code, true}, {"product system", s.Product.System, true},
		{"lot", s.Lot, true}, {"centre", s.Centre, false},
	} {
		switch {
		case t.required && t.text == "":
			return bad(t.name, "is missing")
		case len(t.text) > maxText:
			return bad(t.name, fmt.Sprintf("is over %d bytes", maxText))
		case format.Suspicious(t.text) || t.text != format.NFC(t.text) || t.text != strings.TrimSpace(t.text):
			return bad(t.name, "has characters in it or around it that cannot be seen")
		}
	}
	for _, d := range []struct{ name, day string }{{"from", s.From}, {"until", s.Until}, {"expiry", s.Expiry}} {
		if d.day != "" && !format.IsDate(d.day) {
			return bad(d.name, "is no day")
		}
	}
	switch {
	case !slices.Contains(roles, s.Role):
		return bad("role", "is none of manufacturer, regulator, participant")
	case !slices.Contains(values, s.Value):
		return bad("value", "is not known")
	case !slices.Contains(parts, s.Part):
		return bad("part", "is neither all nor some")
	case NormalLot(s.Lot) == "":
		return bad("lot", "has no letter and no digit")
	case s.Country != "" && !format.IsCapitals(s.Country, 2):
		return bad("country", "is not of two capital letters")
	case s.Centre != "" && s.Country == "":
		return bad("centre", "is in no country")
	case s.From != "" && s.Until != "" && s.Until < s.From:
		return bad("until", "is before from")
	case (s.Value == ExpiresOn) != (s.Expiry != ""):
		return bad("expiry", "goes with the value expires-on, and with no other")
	case s.Value == Unharmed && (s.Measured < 1 || s.Measured > wholePath):
		return bad("measured", "is no share: no-concern needs one, above 0 and up to 1")
	case s.Value != Unharmed && s.Measured != 0:
		return bad("measured", "goes with the value no-concern alone")
	case s.Value == Withdrawn && s.Withdraws == StatementID{}:
		return bad("withdraws", "is missing")
	case s.Issued.Unix() < 0 || s.Issued.Unix() > maxTime:
		return bad("issued", "is out of range")
	}
	return nil
}

// maxTime is the end of the year 9999.
const maxTime = 253402300799

// Share returns a share between 0 and 1 in ten-thousandths, rounded down: more is
// not claimed than was measured.
func Share(f float64) (int, error) {
	if !(f >= 0 && f <= 1) {
		return 0, fmt.Errorf("%g is no share between 0 and 1: %w", f, ErrField)
	}
	// The product of a decimal fraction may fall just short of its whole number.
	return int(math.Floor(f*wholePath + 1e-6)), nil
}

// Encode returns the payload.
func (s *LotStatement) Encode() ([]byte, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	b := cbor.AppendArray(nil, 16)
	b = cbor.AppendText(b, statementType)
	b = cbor.AppendInt(b, statementVersion)
	b = cbor.AppendText(b, string(s.Role))
	b = cbor.AppendText(b, s.Authority)
	b = cbor.AppendInt(b, s.Issued.Unix())
	b = cbor.AppendArray(b, 2)
	b = cbor.AppendText(b, s.Product.Code)
	b = cbor.AppendText(b, s.Product.System)
	for _, text := range []string{s.Lot, s.Country, s.Centre, s.From, s.Until, string(s.Part), string(s.Value), s.Expiry} {
		b = cbor.AppendText(b, text)
	}
	b = cbor.AppendInt(b, int64(s.Measured))
	if s.Withdraws == (StatementID{}) {
		return cbor.AppendBytes(b, nil), nil
	}
	return cbor.AppendBytes(b, s.Withdraws[:]), nil
}

// DecodeLotStatement reads a payload. It is strict, because the form is ours:
// what it takes encodes to the same bytes again.
func DecodeLotStatement(payload []byte) (*LotStatement, error) {
	v, err := cbor.Parse(payload, statementLimits)
	if err != nil {
		return nil, fmt.Errorf("lot statement: %w", err)
	}
	if kind, ok := v.Index(0).Text(); v.Kind() != cbor.Array || !ok || kind != statementType {
		return nil, fmt.Errorf("lot statement: the message is of another kind: %w", ErrNotStatement)
	}
	if version, ok := v.Index(1).Int(); !ok || version != statementVersion {
		return nil, fmt.Errorf("lot statement: %w", ErrVersion)
	}
	if v.Len() != 16 {
		return nil, fmt.Errorf("lot statement: %d elements: %w", v.Len(), ErrField)
	}
	s := new(LotStatement)
	for i, into := range map[int]*string{
		2: (*string)(&s.Role), 3: &s.Authority, 6: &s.Lot, 7: &s.Country, 8: &s.Centre, 9: &s.From, 10: &s.Until,
		11: (*string)(&s.Part), 12: (*string)(&s.Value), 13: &s.Expiry,
	} {
		var ok bool
		if *into, ok = v.Index(i).Text(); !ok {
			return nil, fmt.Errorf("lot statement: element %d is %s: %w", i, v.Index(i).Kind(), ErrField)
		}
	}
	issued, ok4 := v.Index(4).Int()
	product := v.Index(5)
	var ok5, ok51 bool
	s.Product.Code, ok5 = product.Index(0).Text()
	s.Product.System, ok51 = product.Index(1).Text()
	measured, ok14 := v.Index(14).Int()
	withdraws, ok15 := v.Index(15).Bytes()
	if !ok4 || !ok5 || !ok51 || product.Kind() != cbor.Array || product.Len() != 2 || !ok14 || !ok15 || measured < 0 || measured > math.MaxInt16 {
		return nil, fmt.Errorf("lot statement: %w", ErrField)
	}
	if len(withdraws) != 0 && len(withdraws) != len(s.Withdraws) {
		return nil, fmt.Errorf("lot statement: withdraws: %w", ErrID)
	}
	s.Issued, s.Measured = time.Unix(issued, 0).UTC(), int(measured)
	copy(s.Withdraws[:], withdraws)
	again, err := s.Encode() // which checks it, too
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again, payload) {
		return nil, fmt.Errorf("lot statement: %w", ErrEncoding)
	}
	return s, nil
}

// SignLotStatement makes the signed message. kid is the key identifier of the
// signer's certificate.
func SignLotStatement(random io.Reader, signer crypto.Signer, kid []byte, s *LotStatement) ([]byte, error) {
	payload, err := s.Encode()
	if err != nil {
		return nil, err
	}
	return cose.Sign(random, signer, kid, payload)
}

// SignedLot is a statement with its signature, which nobody has checked yet.
type SignedLot struct {
	Statement *LotStatement
	ID        StatementID
	message   *cose.Sign1
}

// ParseLotStatement reads a signed message. Like the payload it is taken in one
// form only: tag 18, algorithm and key identifier protected.
func ParseLotStatement(message []byte) (*SignedLot, error) {
	if len(message) > maxMessage {
		return nil, fmt.Errorf("lot statement: %d bytes: %w", len(message), cbor.ErrTooLarge)
	}
	m, err := parseSigned(message)
	if err != nil {
		return nil, err
	}
	s, err := DecodeLotStatement(m.Payload)
	if err != nil {
		return nil, err
	}
	return &SignedLot{Statement: s, ID: idOf(m.Payload), message: m}, nil
}

// ParseLots reads a signed message that is a statement or a roll of them.
func ParseLots(message []byte) ([]SignedLot, error) {
	if len(message) > maxRoll {
		return nil, fmt.Errorf("lot roll: %d bytes: %w", len(message), cbor.ErrTooLarge)
	}
	m, err := parseSigned(message)
	if err != nil {
		return nil, err
	}
	v, err := cbor.Parse(m.Payload, rollLimits)
	if err != nil {
		return nil, fmt.Errorf("lot statement: %w", err)
	}
	if kind, ok := v.Index(0).Text(); v.Kind() != cbor.Array || !ok || kind != rollType {
		s, err := ParseLotStatement(message)
		if err != nil {
			return nil, err
		}
		return []SignedLot{*s}, nil
	}
	statements, err := decodeRoll(m.Payload, v)
	if err != nil {
		return nil, err
	}
	signed := make([]SignedLot, len(statements))
	for i, s := range statements {
		payload, err := s.Encode()
		if err != nil {
			return nil, err
		}
		signed[i] = SignedLot{Statement: s, ID: idOf(payload), message: m}
	}
	return signed, nil
}

// parseSigned reads what is around a payload.
func parseSigned(message []byte) (*cose.Sign1, error) {
	m, err := cose.Parse(message, statementLimits)
	if err != nil {
		return nil, fmt.Errorf("lot statement: %w", err)
	}
	switch {
	case !slices.Equal(m.Tags, []uint64{cose.TagSign1}):
		return nil, fmt.Errorf("lot statement: tags %v: %w", m.Tags, cose.ErrWrongTag)
	case m.Unprotected.Len() != 0 || m.Header.Len() != 2 || len(m.KID) == 0 || m.AlgUnprotected || m.KIDUnprotected || m.Alg == cose.NoAlgorithm:
		return nil, fmt.Errorf("lot statement: the header is not algorithm and key identifier, protected: %w", cose.ErrHeader)
	}
	return m, nil
}
