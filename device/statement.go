package device

import (
	"crypto"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"math"

	"ampoule/format"
	"ampoule/format/cbor"
)

// ErrStatement is a statement that cannot be.
const ErrStatement format.Defect = "bad-alarm-statement"

// MaxStatement bounds a statement, in bytes.
const MaxStatement = 16 << 10

// State is how an alarm stands.
type State string

// The states.
const (
	Open         State = "open"
	Acknowledged State = "acknowledged" // somebody has seen it
	Closed       State = "closed"       // it is over, and somebody said what it was
	Withdrawn    State = "withdrawn"    // what came later shows that it never was
)

// Statement is what a service says of an alarm, signed. Each version names the one
// before, so that none can be left out or put in another's place.
//
//	Statement = #6.18([                   ;; COSE_Sign1 by the service, as a segment's
//	    protected, {}, bstr .cbor {
//	         1: version of this form,  1
//	         2: id,          tstr      ;; of the alarm, the same in all versions
//	         3: version,     uint      ;; from 1
//	         4: prev,        bstr .size (0 / 32)  ;; SHA-256 of the version before
//	         5: device,      bstr      ;; object identifier, or empty
//	         6: stream,      uint
//	         7: equipment,   tstr      ;; or ""
//	         8: rule,        tstr      ;; HEAT, FRZE …
//	         9: terms,       tstr .json  ;; the rule as it was then, whole
//	        10: since,       uint      ;; device time: of the first reading beyond the limit
//	        11: at,          uint      ;; at which the rule was met
//	        12: until,       uint      ;; of the last reading that was held against it
//	        13: end,         uint      ;; of the first good reading after; 0: it goes on
//	        14: extreme,     int       ;; the worst value, in the unit of its quantity
//	        15: state,       tstr
//	        16: made,        uint      ;; when this version was made, by the service's clock
//	        17: by,          tstr      ;; whose act it is: an account; "" of the service itself
//	        18: comment,     tstr
//	    }, signature ])
type Statement struct {
	ID        string
	Version   uint64
	Prev      Hash // zeros in the first
	Device    ID
	Stream    uint64
	Equipment string
	Rule      string
	Terms     []byte // JSON
	Since     int64
	At        int64
	Until     int64
	End       int64
	Extreme   int32
	State     State
	Made      int64
	By        string
	Comment   string

	envelope // Algorithm, KeyID, Hash
}

const (
	statementForm  = 1
	statementPairs = 18
	maxText        = 200
	maxComment     = 2000
	maxTerms       = 8 << 10
)

func (a *Statement) check() error {
	known := a.State == Open || a.State == Acknowledged || a.State == Closed || a.State == Withdrawn
	switch {
	case a.ID == "" || a.Rule == "" || a.Device == "" && a.Equipment == "":
		return fmt.Errorf("no name, no rule, or of nothing: %w", ErrStatement)
	case !known:
		return fmt.Errorf("state %.20q: %w", a.State, ErrStatement)
	case a.Version < 1 || (a.Version == 1) != (a.Prev == Hash{}):
		return fmt.Errorf("version %d: %w", a.Version, ErrStatement)
	case !json.Valid(a.Terms):
		return fmt.Errorf("terms are no JSON: %w", ErrStatement)
	case a.At < a.Since || a.Until < a.At || a.End != 0 && a.End < a.Since:
		return fmt.Errorf("times in another order: %w", ErrStatement)
	}
	return nil
}

func (a *Statement) encode() []byte {
	prev := a.Prev[:]
	if a.Version == 1 {
		prev = nil
	}
	b := cbor.AppendMap(make([]byte, 0, 256+len(a.Terms)+len(a.Comment)), statementPairs)
	label := int64(0)
	next := func() { label++; b = cbor.AppendInt(b, label) }
	number := func(n int64) { next(); b = cbor.AppendInt(b, n) }
	text := func(s string) { next(); b = cbor.AppendText(b, s) }
	content := func(c []byte) { next(); b = cbor.AppendBytes(b, c) }
	number(statementForm)
	text(a.ID)
	number(int64(a.Version))
	content(prev)
	content([]byte(a.Device))
	number(int64(a.Stream))
	text(a.Equipment)
	text(a.Rule)
	text(string(a.Terms))
	for _, n := range []int64{a.Since, a.At, a.Until, a.End, int64(a.Extreme)} {
		number(n)
	}
	text(string(a.State))
	number(a.Made)
	text(a.By)
	text(a.Comment)
	return b
}

// Sign makes the signed statement, and sets Algorithm, KeyID and Hash.
func (a *Statement) Sign(random io.Reader, signer crypto.Signer) ([]byte, error) {
	fail := func(err error) ([]byte, error) { return nil, fmt.Errorf("statement: %w", err) }
	if err := a.check(); err != nil {
		return fail(err)
	}
	payload := a.encode()
	// The bounds are those of reading.
	if _, err := readStatement(payload); err != nil {
		return fail(err)
	}
	out, err := a.seal(random, signer, payload)
	if err != nil {
		return fail(err)
	}
	if len(out) > MaxStatement {
		return fail(fmt.Errorf("%d bytes: %w", len(out), ErrSize))
	}
	a.Hash = sha256.Sum256(out)
	return out, nil
}

// ParseStatement reads one signed statement that fills data, which it goes on to use.
// The signature is not looked at.
func ParseStatement(data []byte) (*Statement, error) {
	if len(data) > MaxStatement {
		return nil, fmt.Errorf("statement: %d bytes: %w", len(data), ErrSize)
	}
	var e envelope
	if err := e.open(data); err != nil {
		return nil, fmt.Errorf("statement: %w", err)
	}
	a, err := readStatement(e.payload)
	if err != nil {
		return nil, fmt.Errorf("statement: %w", err)
	}
	a.envelope = e
	a.Hash = sha256.Sum256(data)
	return a, nil
}

func readStatement(payload []byte) (*Statement, error) {
	r := reader{rest: payload}
	a := new(Statement)
	r.exactly("payload", 0xa0|statementPairs)
	label := uint64(0)
	next := func() string {
		label++
		r.number("label", label, label)
		return fmt.Sprintf("member %d", label)
	}
	text := func(most int) string { w := next(); return r.text(w, most) }
	number := func(most uint64) uint64 { w := next(); return r.number(w, 0, most) }
	if number(math.MaxInt64) != statementForm && r.err == nil {
		r.fail("form", ErrStatement)
	}
	a.ID = text(maxText)
	a.Version = number(math.MaxInt64)
	switch prev := r.bytes(next(), len(a.Prev)); len(prev) {
	case 0:
	case len(a.Prev):
		copy(a.Prev[:], prev)
	default:
		r.fail("prev", ErrRange)
	}
	if a.Device = ID(r.bytes(next(), maxID)); a.Device != "" && a.Device.Check() != nil {
		r.fail("device", a.Device.Check())
	}
	a.Stream = number(math.MaxInt64)
	a.Equipment, a.Rule = text(maxText), text(maxText)
	a.Terms = []byte(text(maxTerms))
	for _, to := range []*int64{&a.Since, &a.At, &a.Until, &a.End} {
		*to = int64(number(MaxTime))
	}
	extreme := r.integer(next())
	if a.Extreme = int32(extreme); int64(a.Extreme) != extreme {
		r.fail("extreme", ErrRange)
	}
	a.State = State(text(maxText))
	a.Made = int64(number(MaxTime))
	a.By, a.Comment = text(maxText), text(maxComment)
	if err := r.end("payload"); err != nil {
		return nil, err
	}
	return a, a.check()
}

// Verify checks the signature under a key that the caller found by KeyID.
func (a *Statement) Verify(pub crypto.PublicKey) error {
	if err := a.verify(pub); err != nil {
		return fmt.Errorf("statement %s, version %d: %w", a.ID, a.Version, err)
	}
	return nil
}

// Follows tells whether the statement is the version after another of the same alarm.
func (a *Statement) Follows(before *Statement) bool {
	return a.ID == before.ID && a.Version == before.Version+1 && a.Prev == before.Hash &&
		a.Device == before.Device && a.Stream == before.Stream && a.Equipment == before.Equipment
}
