package device

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"slices"
	"time"

	"ampoule/format"
	"ampoule/format/cbor"
	"ampoule/format/cose"
)

// The kinds of defect of attestation tokens.
const (
	ErrToken     format.Defect = "malformed-attestation-token"
	ErrModel     format.Defect = "model-not-known"
	ErrDebug     format.Defect = "debugging-possible"
	ErrTokenTime format.Defect = "token-not-valid-now"
)

// Claims of an Entity Attestation Token (RFC 9711 section 4; exp and iat of RFC 8392).
const (
	claimExpiry       = 4
	claimIssued       = 6
	claimNonce        = 10
	claimUEID         = 256
	claimOEM          = 258
	claimModel        = 259
	claimDebug        = 263
	claimMeasurements = 273
)

// Debug is what can be done to a device through its debugger (RFC 9711 section 4.2.9).
type Debug uint8

// The states, each more closed than the one before.
const (
	DebugEnabled Debug = iota
	DebugDisabled
	DebugDisabledSinceBoot
	DebugDisabledPermanently
	DebugDisabledFully
)

// Token is an Entity Attestation Token as CWT: what a device that has no TPM says of
// itself, signed with its attestation key.
type Token struct {
	Nonces       [][]byte
	UEID         []byte // of the device, for ever
	OEM          string // hexadecimal, or the number of an enterprise
	Model        []byte
	Debug        Debug // DebugEnabled where it is not told
	Issued       time.Time
	Expires      time.Time
	Measurements []Measurement

	message *cose.Sign1
}

// Measurement is one of what runs on a device: the hash of what stands there in a
// format that CoAP knows by a number.
type Measurement struct {
	Format uint64
	Hash   Hash
}

const maxToken = 16 << 10

var tokenLimits = cbor.Limits{Depth: 12, Items: 1024, Pairs: 64}

// ParseToken reads a token: a COSE_Sign1, with or without its tags, around a map of
// claims. Claims that are not named above are passed over. The signature is not looked
// at.
func ParseToken(data []byte) (*Token, error) {
	if len(data) > maxToken {
		return nil, fmt.Errorf("attestation token: %d bytes: %w", len(data), ErrSize)
	}
	m, err := cose.Parse(data, tokenLimits)
	if err != nil {
		return nil, fmt.Errorf("attestation token: %w", err)
	}
	v, err := m.ParsePayload(tokenLimits)
	if err != nil {
		return nil, fmt.Errorf("attestation token: %w", err)
	}
	t := &Token{message: m}
	if v.Kind() != cbor.Map || !t.claims(v) {
		return nil, fmt.Errorf("attestation token: %w", ErrToken)
	}
	return t, nil
}

func (t *Token) claims(v cbor.Value) bool {
	// RFC 9711 section 4.1: "a CBOR-encoded EAT-nonce is a byte string between 8 and 64
	// bytes in length", or an array of those.
	nonce := v.GetInt(claimNonce)
	list := []cbor.Value{nonce}
	if nonce.Kind() == cbor.Array {
		list = slices.Collect(nonce.Elements())
	}
	for _, n := range list {
		b, ok := n.Bytes()
		if !ok || len(b) < 8 || len(b) > 64 {
			return false
		}
		t.Nonces = append(t.Nonces, b)
	}
	ok := true
	optional := func(label int64, least, most int) (b []byte) {
		if c := v.GetInt(label); c.Exists() {
			is := false
			b, is = c.Bytes()
			ok = ok && is && len(b) >= least && len(b) <= most
		}
		return b
	}
	t.UEID = optional(claimUEID, 7, 33)
	t.Model = optional(claimModel, 1, 32)
	switch oem := v.GetInt(claimOEM); oem.Kind() {
	case cbor.Missing:
	case cbor.Bytes:
		b, _ := oem.Bytes()
		ok = ok && (len(b) == 3 || len(b) == 16)
		t.OEM = fmt.Sprintf("%x", b)
	default:
		n, is := oem.Int()
		ok = ok && is && n >= 0
		t.OEM = fmt.Sprint(n)
	}
	if debug := v.GetInt(claimDebug); debug.Exists() {
		n, is := debug.Int()
		ok = ok && is && n >= 0 && n <= int64(DebugDisabledFully)
		t.Debug = Debug(n)
	}
	for label, to := range map[int64]*time.Time{claimIssued: &t.Issued, claimExpiry: &t.Expires} {
		if c := v.GetInt(label); c.Exists() {
			n, is := c.Int()
			ok = ok && is && n >= 0 && n <= MaxTime
			*to = time.Unix(n, 0).UTC()
		}
	}
	for m := range v.GetInt(claimMeasurements).Elements() {
		kind, is := m.Index(0).Int()
		content, bytes := m.Index(1).Bytes()
		ok = ok && is && kind >= 0 && kind <= 65535 && bytes && m.Len() == 2
		t.Measurements = append(t.Measurements, Measurement{uint64(kind), sha256.Sum256(content)})
	}
	return ok
}

// TokenExpectation is against what a token is held.
type TokenExpectation struct {
	Nonce  []byte           // as it was sent to the device, once
	Pinned crypto.PublicKey // the attestation key that was taken in at enrolment
	UEID   []byte           // of the device, as at enrolment
	Models []Model
	Debug  Debug // the least closed that is taken
	For    time.Duration
}

// Model is a kind of device and the states in which it may be.
type Model struct {
	OEM    string
	Model  []byte
	States map[string][]Measurement // by the name of a release: all must be there
}

// AppraiseToken judges a token, as [Appraise] does a quote.
func AppraiseToken(data []byte, want *TokenExpectation, at time.Time) *Appraisal {
	a := new(Appraisal)
	t, err := ParseToken(data)
	if err != nil {
		a.add("form", format.Defect(format.Reason(err, string(ErrToken))), "")
		return a
	}
	a.add("form", "", "")
	if want.Pinned == nil {
		a.add("endorsement", ErrEndorsed, "no key was pinned")
		return a
	}
	a.add("endorsement", "", "pinned at enrolment")
	if t.message.AlgUnprotected || t.message.Verify(want.Pinned) != nil {
		a.add("signature", cose.ErrSignature, "")
		return a
	}
	a.add("signature", "", "")

	good := true
	check := func(name string, passes bool, reason format.Defect, detail string) {
		if passes {
			reason = ""
		}
		good = a.add(name, reason, detail) && good
	}
	check("nonce", len(want.Nonce) >= 8 && slices.ContainsFunc(t.Nonces, func(n []byte) bool {
		return subtle.ConstantTimeCompare(n, want.Nonce) == 1
	}), ErrNonce, "")
	check("period", !t.Issued.After(at) && (t.Expires.IsZero() || t.Expires.After(at)), ErrTokenTime, "")
	check("identity", len(want.UEID) > 0 && bytes.Equal(t.UEID, want.UEID), ErrIdentity, "")
	check("debug", t.Debug >= want.Debug, ErrDebug, fmt.Sprintf("%d, at least %d", t.Debug, want.Debug))
	i := slices.IndexFunc(want.Models, func(m Model) bool { return m.OEM == t.OEM && bytes.Equal(m.Model, t.Model) })
	check("model", i >= 0, ErrModel, "")
	if i >= 0 {
		a.Reference = t.state(want.Models[i].States)
		check("reference", a.Reference != "", ErrReference, "")
	}
	if good {
		a.Until = at.Add(want.For)
		if !t.Expires.IsZero() && t.Expires.Before(a.Until) {
			a.Until = t.Expires
		}
	}
	return a
}

// state is the first release, by name, of which all measurements are there.
func (t *Token) state(states map[string][]Measurement) string {
	best := ""
	for name, all := range states {
		fits := len(all) > 0
		for _, m := range all {
			fits = fits && slices.Contains(t.Measurements, m)
		}
		if fits && (best == "" || name < best) {
			best = name
		}
	}
	return best
}
