package fleet

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"time"

	"ampoule/device"
	"ampoule/format"
)

// Form is how a device shows in what state it is.
type Form string

// The forms.
const (
	TPMQuote Form = "tpm" // a quote of a TPM 2.0
	EAT      Form = "eat" // an Entity Attestation Token (RFC 9711)
)

// Endorsement is against what a device is held when it shows in what state it is: the
// key that it was given for this, as somebody took it in, and the states that are good.
type Endorsement struct {
	Form     Form      `json:"form"`
	Public   []byte    `json:"public"` // SubjectPublicKeyInfo, DER
	Releases []Release `json:"releases"`
	// Of a token: who it must be of.
	UEID  []byte       `json:"ueid,omitempty"`
	OEM   string       `json:"oem,omitempty"`
	Model []byte       `json:"model,omitempty"`
	Debug device.Debug `json:"debug,omitempty"` // the least closed that is taken

	By   string    `json:"by"`
	Made time.Time `json:"made"`
	// Resets and Restarts are those of the last good quote: a TPM that was started less
	// often is another one.
	Resets   uint32 `json:"resets,omitempty"`
	Restarts uint32 `json:"restarts,omitempty"`
}

// Release is a state in which a device may be.
type Release struct {
	Name string `json:"name"`
	// Registers are the SHA-256 registers of a TPM with the values that each may have, in
	// hexadecimal; Measurements what a token must tell, in the same form, by content format.
	Registers    map[int][]string    `json:"registers,omitempty"`
	Measurements map[uint64][]string `json:"measurements,omitempty"`
}

// Bounds of an endorsement.
const (
	maxReleases = 32
	maxValues   = 32
)

// check refuses an endorsement that would let anything pass, or nothing.
func (e *Endorsement) check() error {
	bad := func(what string) error { return fmt.Errorf("endorsement: %s: %w", what, ErrOrder) }
	if _, err := x509.ParsePKIXPublicKey(e.Public); err != nil {
		return bad("the key")
	}
	if len(e.Releases) == 0 || len(e.Releases) > maxReleases {
		return bad(fmt.Sprintf("%d releases", len(e.Releases)))
	}
	values := func(all []string) bool {
		for _, v := range all {
			if b, err := hex.DecodeString(v); err != nil || len(b) != len(device.Hash{}) {
				return false
			}
		}
		return len(all) > 0 && len(all) <= maxValues
	}
	for i, r := range e.Releases {
		if r.Name == "" || len(r.Name) > 100 || slices.ContainsFunc(e.Releases[:i], func(o Release) bool { return o.Name == r.Name }) {
			return bad("the name of a release")
		}
		switch e.Form {
		case TPMQuote:
			if len(r.Registers) == 0 || len(r.Measurements) > 0 {
				return bad(r.Name + ": no registers")
			}
			for n, v := range r.Registers {
				if n < 0 || n > 23 || !values(v) {
					return bad(fmt.Sprintf("%s: register %d", r.Name, n))
				}
			}
		case EAT:
			if len(r.Measurements) == 0 || len(r.Measurements) > maxValues || len(r.Registers) > 0 {
				return bad(r.Name + ": no measurements")
			}
			for n, v := range r.Measurements {
				if !values(v) {
					return bad(fmt.Sprintf("%s: measurement of format %d", r.Name, n))
				}
			}
		default:
			return bad("the form")
		}
	}
	if e.Form == EAT && (len(e.UEID) == 0 || len(e.Model) == 0 || e.OEM == "") {
		return bad("a token is of a UEID, an OEM and a model")
	}
	return nil
}

// Endorse says against what a device is held; nil: it attests nothing any more. What was
// attested before counts no more.
func (f *Fleet) Endorse(ctx context.Context, by Actor, id device.ID, e *Endorsement) (*Device, error) {
	f.start()
	if e != nil {
		if err := e.check(); err != nil {
			return nil, err
		}
		e.By, e.Made, e.Resets, e.Restarts = by.ID, f.Now(), 0, 0
	}
	return f.change(ctx, by, id, func(d *Device) error {
		if !d.State.Heard() {
			return fmt.Errorf("endorsement of a device that is %s: %w", d.State, ErrOrder)
		}
		d.Endorsed, d.Attested = e, time.Time{}
		return nil
	})
}

// The times of an attestation.
const (
	// AttestedFor is how long an attestation counts.
	AttestedFor = 24 * time.Hour
	nonceFor    = 5 * time.Minute
	nonceLength = 32 // bytes; a TPM takes no more than a digest of its own
)

// ErrNotEndorsed is a device of which nobody has said against what it is held.
const ErrNotEndorsed format.Defect = "device-not-endorsed"

// challenge is a nonce that a device was given.
type challenge struct {
	nonce []byte
	until time.Time
}

// Challenge gives a device a nonce to attest by. It is good once, for some minutes and
// at this server; the one before it ends.
func (f *Fleet) Challenge(ctx context.Context, id device.ID) (nonce []byte, until time.Time, err error) {
	f.start()
	k, err := f.byID(ctx, id)
	switch {
	case err != nil:
		return nil, until, err
	case !k.State.Heard():
		return nil, until, ErrDenied
	case k.Endorsed == nil:
		return nil, until, ErrNotEndorsed
	}
	nonce = make([]byte, nonceLength)
	if _, err := io.ReadFull(f.Rand, nonce); err != nil {
		return nil, until, fmt.Errorf("nonce: %w", err)
	}
	now := f.Now()
	until = now.Add(nonceFor)
	f.mu.Lock()
	defer f.mu.Unlock()
	for other, c := range f.challenges {
		if now.After(c.until) {
			delete(f.challenges, other)
		}
	}
	f.challenges[id] = challenge{nonce, until}
	return nonce, until, nil
}

// Attestation is what a device brings to show in what state it is: a quote with the
// registers that it tells, or a token.
type Attestation struct {
	Message, Signature []byte
	Registers          map[int]device.Hash
	Token              []byte
}

// Attest judges what a device shows. Where it is good, what the device signs until then
// is of the level of an attested one; where it is not, what was attested before counts no
// more. The nonce is used up in either case.
func (f *Fleet) Attest(ctx context.Context, id device.ID, x *Attestation) (*device.Appraisal, error) {
	f.start()
	d, err := f.Book.Device(ctx, id)
	switch {
	case err != nil:
		return nil, err
	case !d.State.Heard():
		return nil, ErrDenied
	case d.Endorsed == nil:
		return nil, ErrNotEndorsed
	}
	now := f.Now()
	f.mu.Lock()
	c, asked := f.challenges[id]
	delete(f.challenges, id)
	f.mu.Unlock()
	if !asked || now.After(c.until) {
		return &device.Appraisal{Checks: []device.Check{{Name: "nonce", Reason: device.ErrNonce, Detail: "none is open"}}}, nil
	}
	a, err := d.Endorsed.appraise(x, c.nonce, now)
	if err != nil {
		return nil, fmt.Errorf("device %s: endorsement: %w", id, err)
	}
	_, err = f.change(ctx, Actor{Within: d.Place}, id, func(now *Device) error {
		if now.Endorsed == nil || !now.Endorsed.Made.Equal(d.Endorsed.Made) {
			return ErrNotEndorsed // it was changed meanwhile
		}
		if now.Attested = a.Until; a.Good() && a.Quote != nil {
			now.Endorsed.Resets, now.Endorsed.Restarts = a.Quote.Resets, a.Quote.Restarts
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return a, nil
}

// appraise holds an attestation against an endorsement.
func (e *Endorsement) appraise(x *Attestation, nonce []byte, now time.Time) (*device.Appraisal, error) {
	public, err := x509.ParsePKIXPublicKey(e.Public)
	if err != nil {
		return nil, err
	}
	if e.Form == EAT {
		m := device.Model{OEM: e.OEM, Model: e.Model, States: make(map[string][]device.Measurement)}
		for _, r := range e.Releases {
			for kind, all := range r.Measurements {
				for _, v := range all {
					m.States[r.Name] = append(m.States[r.Name], device.Measurement{Format: kind, Hash: hashOf(v)})
				}
			}
		}
		return device.AppraiseToken(x.Token, &device.TokenExpectation{Nonce: nonce, Pinned: public, UEID: e.UEID, Models: []device.Model{m}, Debug: e.Debug, For: AttestedFor}, now), nil
	}
	want := &device.Expectation{Nonce: nonce, Pinned: public, For: AttestedFor, Resets: e.Resets, Restarts: e.Restarts}
	for _, r := range e.Releases {
		reference := device.Reference{Name: r.Name, Registers: make(map[int][]device.Hash)}
		for n, all := range r.Registers {
			for _, v := range all {
				reference.Registers[n] = append(reference.Registers[n], hashOf(v))
			}
		}
		want.References = append(want.References, reference)
	}
	return device.Appraise(&device.Attestation{Message: x.Message, Signature: x.Signature, Registers: x.Registers}, want, now), nil
}

// hashOf reads a hash that was checked when it was taken in.
func hashOf(text string) (h device.Hash) {
	_, _ = hex.Decode(h[:], []byte(text))
	return h
}
