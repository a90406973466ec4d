package device

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"fmt"
	"math/big"
	"slices"
	"time"

	"ampoule/format"
)

// The kinds of defect of quotes, which are reasons of checks too.
const (
	ErrQuote      format.Defect = "malformed-quote"
	ErrQuoteType  format.Defect = "not-a-quote"
	ErrNonce      format.Defect = "another-nonce"
	ErrPCRs       format.Defect = "registers-do-not-fit"
	ErrReference  format.Defect = "no-reference-fits"
	ErrEndorsed   format.Defect = "key-not-endorsed"
	ErrQuoteSign  format.Defect = "bad-quote-signature"
	ErrFirmware   format.Defect = "firmware-not-known"
	ErrNoValues   format.Defect = "no-register-values"
	ErrNoPolicies format.Defect = "no-reference"
)

// Constants of the TPM (TPM 2.0 Library part 2, sections 6.2, 6.3 and 6.9).
const (
	tpmGenerated   = 0xff544347 // "\xffTCG": the TPM made it, nobody outside could
	tpmAttestQuote = 0x8018
	tpmSHA256      = 0x000b
	tpmSHA384      = 0x000c
	tpmRSASSA      = 0x0014
	tpmRSAPSS      = 0x0016
	tpmECDSA       = 0x0018

	maxQuote = 4 << 10 // bytes; one of all registers of three banks has some 200
	maxBanks = 8
	maxPCR   = 24
)

// Quote is what a TPM says of itself and of its registers (TPMS_ATTEST, TPM 2.0
// Library part 2 section 10.12.8):
//
//	magic            uint32 = 0xff544347
//	type             uint16 = 0x8018
//	qualifiedSigner  TPM2B_NAME
//	extraData        TPM2B_DATA            ;; the nonce
//	clockInfo        clock uint64, resetCount uint32, restartCount uint32, safe uint8
//	firmwareVersion  uint64
//	pcrSelect        uint32 *(hash uint16, size uint8, bits)
//	pcrDigest        TPM2B_DIGEST
//
// Numbers have their most significant byte first; a TPM2B is two bytes of length and
// so many bytes.
type Quote struct {
	Signer   []byte
	Nonce    []byte
	Clock    uint64 // milliseconds that the TPM has been powered
	Resets   uint32 // how often it was started anew
	Restarts uint32
	Safe     bool // the clock did not go back
	Firmware uint64
	Banks    []Bank
	Digest   []byte // over the registers of the banks
}

// Bank is some registers of one hash.
type Bank struct {
	Hash      uint16
	Registers []int // ascending
}

// words takes numbers and sized parts off bytes, and keeps that something was missing.
type words struct {
	rest  []byte
	short bool
}

func (w *words) take(n int) []byte {
	if n > len(w.rest) {
		w.short, w.rest = true, nil
		return make([]byte, n)
	}
	out := w.rest[:n:n]
	w.rest = w.rest[n:]
	return out
}

func (w *words) u8() byte      { return w.take(1)[0] }
func (w *words) u16() uint16   { return binary.BigEndian.Uint16(w.take(2)) }
func (w *words) u32() uint32   { return binary.BigEndian.Uint32(w.take(4)) }
func (w *words) u64() uint64   { return binary.BigEndian.Uint64(w.take(8)) }
func (w *words) sized() []byte { return w.take(int(w.u16())) }

// ParseQuote reads what a TPM signed, which fills data.
func ParseQuote(data []byte) (*Quote, error) {
	if len(data) > maxQuote {
		return nil, fmt.Errorf("quote: %d bytes: %w", len(data), ErrSize)
	}
	w := &words{rest: data}
	if magic, kind := w.u32(), w.u16(); !w.short && (magic != tpmGenerated || kind != tpmAttestQuote) {
		return nil, fmt.Errorf("quote: %08x, type %04x: %w", magic, kind, ErrQuoteType)
	}
	q := &Quote{Signer: w.sized(), Nonce: w.sized(), Clock: w.u64(), Resets: w.u32(), Restarts: w.u32()}
	safe := w.u8()
	q.Safe, q.Firmware = safe == 1, w.u64()
	banks := w.u32()
	if safe > 1 || banks > maxBanks {
		return nil, fmt.Errorf("quote: %d banks: %w", banks, ErrQuote)
	}
	for range banks {
		b := Bank{Hash: w.u16()}
		bits := w.take(int(w.u8()))
		for i := range 8 * len(bits) {
			if bits[i/8]&(1<<(i%8)) == 0 {
				continue
			}
			if i >= maxPCR {
				return nil, fmt.Errorf("quote: register %d: %w", i, ErrQuote)
			}
			b.Registers = append(b.Registers, i)
		}
		q.Banks = append(q.Banks, b)
	}
	q.Digest = w.sized()
	if w.short || len(w.rest) > 0 {
		return nil, fmt.Errorf("quote: %d bytes left: %w", len(w.rest), ErrQuote)
	}
	return q, nil
}

// verifyQuote checks a TPMT_SIGNATURE (part 2 section 11.3.4) over a message.
func verifyQuote(pub crypto.PublicKey, message, signature []byte) bool {
	w := &words{rest: signature}
	scheme, algorithm := w.u16(), w.u16()
	var h crypto.Hash
	switch algorithm {
	case tpmSHA256:
		h = crypto.SHA256
	case tpmSHA384:
		h = crypto.SHA384
	default:
		return false
	}
	if !h.Available() {
		return false
	}
	digest := h.New()
	digest.Write(message)
	sum := digest.Sum(nil)
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		r, s := new(big.Int).SetBytes(w.sized()), new(big.Int).SetBytes(w.sized())
		return scheme == tpmECDSA && !w.short && len(w.rest) == 0 && ecdsa.Verify(k, sum, r, s)
	case *rsa.PublicKey:
		sig := w.sized()
		if w.short || len(w.rest) > 0 || k.N.BitLen() < 2048 {
			return false
		}
		switch scheme {
		case tpmRSASSA:
			return rsa.VerifyPKCS1v15(k, h, sum, sig) == nil
		case tpmRSAPSS:
			return rsa.VerifyPSS(k, h, sum, sig, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthAuto}) == nil
		}
	}
	return false
}

// Attestation is what a device brings to show in what state it is.
type Attestation struct {
	Message   []byte // TPMS_ATTEST
	Signature []byte // TPMT_SIGNATURE
	// Registers are what it says that the SHA-256 registers hold.
	Registers map[int]Hash
	// Chain is of its attestation key, whose certificate is the first; it may be empty
	// where the key was pinned.
	Chain []*x509.Certificate
}

// Reference is a state in which a device may be.
type Reference struct {
	Name string // of a release
	// Registers are all that must be quoted, with the values that each may have.
	Registers map[int][]Hash
	Firmware  []uint64 // versions of the TPM's own; none: any
}

// Expectation is against what an attestation is held.
type Expectation struct {
	Nonce []byte // as it was sent to the device, once
	// Pinned is the attestation key that was taken in when the device was enrolled.
	Pinned crypto.PublicKey
	// Makers are the roots of certificates of attestation keys.
	Makers     *x509.CertPool
	References []Reference
	// For is how long an attestation counts.
	For time.Duration
	// Resets and Restarts are those of the attestation before, where there was one.
	Resets, Restarts uint32
}

// Check is one step of a judgement.
type Check struct {
	Name   string
	Pass   bool
	Reason format.Defect // of one that does not pass
	Detail string
}

// Appraisal is the judgement over an attestation: what was checked, and until when it
// counts. It is good if every check passes.
type Appraisal struct {
	Checks    []Check
	Until     time.Time // zero where it is not good
	Reference string    // the state that fits
	Quote     *Quote    // nil where there is none
}

// Good tells whether every check passed.
func (a *Appraisal) Good() bool { return !a.Until.IsZero() }

func (a *Appraisal) add(name string, reason format.Defect, detail string) bool {
	a.Checks = append(a.Checks, Check{name, reason == "", reason, detail})
	return reason == ""
}

// Appraise judges a quote. The steps after a failed one that they need are not made.
func Appraise(x *Attestation, want *Expectation, at time.Time) *Appraisal {
	a := new(Appraisal)
	q, err := ParseQuote(x.Message)
	if err != nil {
		a.add("form", format.Defect(format.Reason(err, string(ErrQuote))), "")
		return a
	}
	a.Quote = q
	a.add("form", "", "")

	// Who: the key is the pinned one, or a maker vouches for it.
	key, why := endorsed(x, want, at)
	if key == nil {
		a.add("endorsement", ErrEndorsed, why)
		return a
	}
	a.add("endorsement", "", why)
	if !verifyQuote(key, x.Message, x.Signature) {
		a.add("signature", ErrQuoteSign, "")
		return a
	}
	a.add("signature", "", "")

	// When: the nonce is of this request.
	good := true
	if len(want.Nonce) < 8 || subtle.ConstantTimeCompare(q.Nonce, want.Nonce) != 1 {
		good = a.add("nonce", ErrNonce, "")
	} else {
		a.add("nonce", "", "")
	}

	// What: the registers that it tells are those that it quoted, and of a known state.
	switch reason := q.fits(x.Registers); reason {
	case "":
		a.add("registers", "", "")
		name, reason, detail := reference(q, x.Registers, want.References)
		a.Reference = name
		good = a.add("reference", reason, detail) && good
	default:
		good = a.add("registers", reason, "")
	}
	detail := fmt.Sprintf("started %d times, %d since the last attestation", q.Resets, int64(q.Resets)-int64(want.Resets))
	if q.Resets < want.Resets {
		good = a.add("clock", ErrBackwards, detail) // another TPM, or one that was cleared
	} else {
		a.add("clock", "", detail)
	}
	if good {
		a.Until = at.Add(want.For)
	}
	return a
}

// attestationKey is tcg-kp-AIKCertificate (TCG EK Credential Profile).
const attestationKey = "2.23.133.8.3"

func endorsed(x *Attestation, want *Expectation, at time.Time) (crypto.PublicKey, string) {
	if want.Pinned != nil {
		return want.Pinned, "pinned at enrolment"
	}
	if len(x.Chain) == 0 || want.Makers == nil {
		return nil, "neither pinned nor certified"
	}
	c := x.Chain[0]
	// Its alternative names are of the TPM, a form that the library leaves alone.
	bare := *c
	bare.UnhandledCriticalExtensions = slices.DeleteFunc(slices.Clone(c.UnhandledCriticalExtensions), asn1.ObjectIdentifier{2, 5, 29, 17}.Equal)
	if _, err := bare.Verify(x509.VerifyOptions{Roots: want.Makers, Intermediates: pool(x.Chain[1:]), CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		return nil, "no way to a maker's root"
	}
	for _, use := range c.UnknownExtKeyUsage {
		if use.String() == attestationKey {
			return c.PublicKey, "certified by its maker"
		}
	}
	return nil, "its certificate is not of an attestation key"
}

// fits holds values against the quoted digest: the SHA-256 over all of them in their
// order (part 3 section 18.4).
func (q *Quote) fits(values map[int]Hash) format.Defect {
	if len(q.Banks) != 1 || q.Banks[0].Hash != tpmSHA256 || len(q.Banks[0].Registers) == 0 {
		return ErrPCRs
	}
	h := sha256.New()
	for _, i := range q.Banks[0].Registers {
		v, ok := values[i]
		if !ok {
			return ErrNoValues
		}
		h.Write(v[:])
	}
	if !bytes.Equal(h.Sum(nil), q.Digest) {
		return ErrPCRs
	}
	return ""
}

// reference finds the first state that fits.
func reference(q *Quote, values map[int]Hash, all []Reference) (name string, reason format.Defect, detail string) {
	if len(all) == 0 {
		return "", ErrNoPolicies, ""
	}
	quoted := q.Banks[0].Registers
	reason = ErrReference
	for _, r := range all {
		misses := ""
		for _, i := range sortedKeys(r.Registers) {
			if !slices.Contains(quoted, i) || !slices.Contains(r.Registers[i], values[i]) {
				misses = fmt.Sprintf("%s: register %d", r.Name, i)
				break
			}
		}
		switch {
		case len(r.Registers) == 0:
			misses = r.Name + ": it asks for nothing"
		case misses == "" && len(r.Firmware) > 0 && !slices.Contains(r.Firmware, q.Firmware):
			reason, misses = ErrFirmware, fmt.Sprintf("%s: firmware %016x", r.Name, q.Firmware)
		case misses == "":
			return r.Name, "", ""
		}
		detail = misses
	}
	return "", reason, detail
}

func sortedKeys[V any](m map[int]V) []int {
	keys := make([]int, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
