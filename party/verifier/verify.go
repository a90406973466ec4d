// Package verifier decides about certificates. It is the only place that does:
// server, command line, browser and terminal run this code.
//
// [Verifier.Verify] takes the text of a code and makes twelve checks in order,
// each leaving its result and a reason word. Two answers come out that are
// never mixed: the outcome (is the certificate authentic and in force?) and the
// dose advice (is anything known against the dose itself?). A verdict is a
// value; nothing here returns an error, because a code that cannot be read is
// an answer too.
//
// No check fetches anything: whatever is needed was loaded before.
package verifier

import (
	"crypto"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"ampoule/cert"
	"ampoule/format"
	"ampoule/format/cose"
	"ampoule/format/divoc"
	"ampoule/format/hcert"
	"ampoule/format/icvp"
	"ampoule/format/shc"
	"ampoule/format/vdsnc"
	"ampoule/format/vhl"
	"ampoule/ledger/print"
	"ampoule/thing"
	"ampoule/trust"
	"ampoule/trust/hotkeys"
)

// Verifier holds what is known beforehand. It is safe for concurrent use as
// long as nothing is changed.
type Verifier struct {
	Trust     *trust.List
	Status    *trust.Status    // nil: no status list was loaded
	Catalogue *cert.Catalogue  // nil: no product catalogue was loaded
	Rules     *Rules           // nil: no rules were loaded
	Lots      *thing.LotList   // nil: no statements about lots were loaded
	Landmarks *print.Landmarks // nil: no roots of batches were loaded
	Ledgers   []*print.Ledger  // where roots stand in logs, and whose receipts count
	// Concepts find a dose under the code that a statement about its lot has for the
	// product; nil: codes are compared as they are.
	Concepts *cert.ConceptMaps
	// FreshUntil is when all of this is too old to call anything valid or free of
	// concern, and IssuedAt when it was put together; zero: never, and nobody knows.
	IssuedAt, FreshUntil time.Time
	// HotKeys speeds up the check of signatures under keys that come again and
	// again; nil: the standard library alone. The verdicts are the same.
	HotKeys *hotkeys.Cache
	// Policies overrides the default policy of a domain.
	Policies map[trust.Domain]Policy
	Now      func() time.Time

	proof []byte    // of one certificate, from [Options]
	wall  time.Time // what the clock says where Now says another time; zero: Now is the clock
}

func (v *Verifier) policy(d trust.Domain) Policy {
	if p, ok := v.Policies[d]; ok {
		return p
	}
	return DefaultPolicy(d)
}

// certificate is what the steps learn about one code on their way. A format's
// reader fills the first part; nothing after it depends on the format.
type certificate struct {
	format  string // eu-dcc, icvp, …
	domain  trust.Domain
	usage   trust.Usage // what a key must be allowed to sign
	remarks []string    // deviations of the container that the field profile forgave
	// proper are the remarks that the strict profile forgives as well: the
	// specification leaves them to the issuer.
	proper []string

	// What the container says of itself.
	keyID     trust.KeyID
	issuer    string
	issued    time.Time
	notBefore time.Time
	expires   time.Time
	envelope  envelope
	signature []byte
	// proofError is what is wrong with a signature whatever the key is.
	proofError error

	// The content.
	record   *cert.Certificate
	findings []format.Finding
	unlisted []string // codes outside their value set
	icvp     *icvp.Certificate
	link     *vhl.Link
	payload  func() []byte // the content in JSON, for rules; nil where none are written for the format
	uci      string        // unique certificate identifier of a DCC
	rid      string        // revocation identifier of a SMART Health Card
	// from and until are the first and the last day that the content itself states,
	// besides the container; empty where it states none.
	from, until string

	// open reads the content once a signature has shown that it is genuine; nil for
	// formats whose content is read before.
	open func() error
	// chain finds the key of a signer whose certificate the code itself carries; nil
	// for formats that name a listed key.
	chain func(list *trust.List, now time.Time) (*trust.Key, error)

	// What the steps add.
	policy Policy
	now    time.Time
	key    *trust.Key // whose signature it is, after step 4
	// chainProblem is why a key whose chain holds is not believed.
	chainProblem error
}

// envelope is the signed container of a certificate.
type envelope interface {
	// Verify checks the signature under a key, whose algorithm it must have. The
	// errors wrap cose.ErrAlgNotAllowed and cose.ErrSignature.
	Verify(crypto.PublicKey) error
}

// Verify judges one certificate by the text of its code. Several texts are for
// the one that was split over several codes, in any order.
func (v *Verifier) Verify(texts ...string) *Verdict {
	out := &Verdict{Advice: v.unread()}
	for s := range steps {
		out.set(s, NotChecked, "", "")
	}
	c := &certificate{now: v.Now()}

	// Steps 1 and 2. The domain is not known before the content is, so the
	// container is read as the field writes it and judged by the domain's
	// profile afterwards.
	if v.decode(out, c, texts) {
		v.judge(out, c)
	}
	out.Certificate = c.record
	out.decide(&c.policy)
	return out
}

// judge makes the steps after decoding.
func (v *Verifier) judge(out *Verdict, c *certificate) {
	if c.chain != nil {
		v.findChain(out, c)
	} else {
		v.findKeys(out, c)
	}
	if c.open != nil && !v.openContent(out, c) {
		return
	}
	v.checkKeyValidity(out, c)
	v.checkPeriod(out, c)
	v.checkSchema(out, c)
	v.checkStatus(out, c)
	v.checkDose(out, c)
	v.checkProof(out, c)
	v.checkRules(out, c)
	v.checkAge(out, &c.policy, c.now)
	out.set(StepBinding, NotApplicable, "no-protocol", "")
}

// decide derives the outcome from the checks.
func (v *Verdict) decide(p *Policy) {
	v.Required = p.Required
	v.Outcome, v.Reason, v.Decided = decide(&v.Checks, p.Required)
}

// decide derives an outcome from the checks, and from those of them that were asked for.
// A transcript is held against it without the certificate.
func decide(checks *[steps]Check, required [steps]bool) (outcome Outcome, reason string, decided Step) {
	outcome = Valid
	for s, c := range checks {
		var o Outcome
		switch {
		case c.Result == Fail && (required[s] || Step(s) == StepProof || Step(s) <= StepDecode):
			o = failure(Step(s), c.Reason)
		case required[s] && (c.Result == CannotTell || c.Result == NotChecked):
			o = Unknown
		default:
			continue
		}
		if worse(o, outcome) {
			outcome, reason, decided = o, c.Reason, Step(s)
		}
	}
	if outcome == Valid {
		reason = "all-required-checks-passed"
	}
	return outcome, reason, decided
}

// failure names the outcome of a failed check.
func failure(s Step, reason string) Outcome {
	switch s {
	case StepRead:
		if reason == reasonEmpty || reason == string(hcert.ErrLowercase) || reason == string(shc.ErrUppercase) {
			return Malformed
		}
		return Unsupported
	case StepDecode:
		switch format.Defect(reason) {
		case cose.ErrWrongTag, cose.ErrCritical, hcert.ErrUnknownSubclaim, hcert.ErrSeveral, hcert.ErrNoHCERT,
			hcert.ErrUnsupported, vdsnc.ErrType:
			return Unsupported
		}
		return Malformed
	case StepKeys:
		return UnknownIssuer
	case StepSignature:
		return BadSignature
	case StepKeyValidity:
		return UntrustedKey
	case StepPeriod:
		if reason == reasonNotYetIssued || reason == reasonNotYetValid {
			return NotYetValid
		}
		return Expired
	case StepSchema:
		return SchemaInvalid
	case StepStatus:
		if reason == reasonSuperseded {
			return Superseded
		}
		return Revoked
	case StepProof:
		return ProofInvalid
	case StepBinding:
		return NotHolder
	}
	return RuleFailed
}

// The reason words of this package; those of the codecs pass through.
const (
	reasonEmpty        = "empty"
	reasonUnknown      = "unknown-format"
	reasonNotRead      = "unsupported-format"
	reasonKIDMissing   = "kid-missing"
	reasonUnknownKID   = "unknown-kid"
	reasonOtherDomain  = "other-domain"
	reasonNotYetIssued = "not-yet-issued"
	reasonNotYetValid  = "not-yet-valid"
	reasonSuperseded   = "superseded"
	reasonRevoked      = "revoked"
	reasonByFilter     = "listed-by-filter"
	reasonDoseListed   = "dose-listed"
	reasonNoSignature  = "no-signature"
	reasonTooOld       = "bundle-too-old"
	reasonNoLots       = "no-lot-list"
	reasonNotReached   = "not-read"
)

// readers are the formats, by how their texts begin. A reader fills the
// certificate; after an error it holds what was read before it.
var readers = []struct {
	name   string
	begins func(text string) bool
	read   func(v *Verifier, c *certificate, texts []string) error
}{
	{"hcert", beginsLikeHCERT, (*Verifier).readHCERT},
	{"smart-health-card", shc.IsCard, (*Verifier).readSHC},
	{"divoc-archive", divoc.IsDIVOC, (*Verifier).readDIVOC},
	{"visible-digital-seal", vdsnc.Is, (*Verifier).readVDSNC},
}

// others are codes that a verifier may be shown and that it does not read. They
// are told apart so that a person learns what it was.
var others = []struct{ prefix, format, name string }{
	{"shlink:/", "shl", "a SMART Health Link"},
	{"vhlink:/", "vhl", "a Verifiable Health Link without its signed container"},
	{"NL2:", "nl2", "a Dutch domestic certificate"},
}

// decode makes steps 1 and 2.
func (v *Verifier) decode(out *Verdict, c *certificate, texts []string) bool {
	var given []string
	for _, t := range texts {
		if t = format.TrimText(t); t != "" {
			given = append(given, t)
		}
	}
	if len(given) == 0 {
		out.set(StepRead, Fail, reasonEmpty, "there is no text")
		return false
	}
	for _, r := range readers {
		if !r.begins(given[0]) {
			continue
		}
		err := r.read(v, c, given)
		out.Format, out.Issuer.KID = c.format, kidText(c.keyID)
		if notThatFormat(err) {
			out.set(StepRead, Fail, format.Reason(err, reasonUnknown), err.Error())
			return false
		}
		out.set(StepRead, Pass, r.name, "")
		if err != nil {
			out.set(StepDecode, Fail, format.Reason(err, "malformed"), err.Error())
			return false
		}
		c.policy = v.policy(c.domain)
		c.policy.Required[StepDose] = false // it gives advice and never decides
		return c.judgeProfile(out)
	}
	for _, o := range others {
		if len(given[0]) >= len(o.prefix) && strings.EqualFold(given[0][:len(o.prefix)], o.prefix) {
			out.Format = o.format
			out.set(StepRead, Fail, reasonNotRead, "this is "+o.name)
			return false
		}
	}
	out.set(StepRead, Fail, reasonUnknown, "no format begins like this text")
	return false
}

// notThatFormat tells a defect of the prefix from one of the layers behind it.
func notThatFormat(err error) bool {
	return errors.Is(err, hcert.ErrUnsupported) || errors.Is(err, shc.ErrNoScheme) || errors.Is(err, vdsnc.ErrNotSeal) || errors.Is(err, divoc.ErrNotDIVOC)
}

// judgeProfile applies the strict profile to what the field's was lenient with.
func (c *certificate) judgeProfile(out *Verdict) bool {
	if c.policy.Profile == hcert.Strict {
		for _, r := range c.remarks {
			switch {
			case r == string(hcert.ErrLowercase), r == string(shc.ErrUppercase):
				out.set(StepRead, Fail, r, "")
				return false
			case !slices.Contains(c.proper, r):
				out.set(StepDecode, Fail, r, "the strict profile refuses it")
				return false
			}
		}
	}
	reason := "conforms"
	if len(c.remarks) > 0 {
		reason = "tolerated"
	}
	out.set(StepDecode, Pass, reason, strings.Join(c.remarks, ", "))
	return true
}

// findKeys makes steps 3 and 4, which belong together: a key identifier may
// lead to several keys, and the signature says which of them it was.
func (v *Verifier) findKeys(out *Verdict, c *certificate) {
	if c.proofError != nil {
		out.set(StepKeys, NotChecked, reasonNoSignature, "")
		out.set(StepSignature, Fail, format.Reason(c.proofError, string(cose.ErrSignature)), detailOf(c.proofError))
		return
	}
	kid := c.keyID
	if kid == "" {
		// Trying every key of the issuer that the certificate claims would let the
		// certificate choose how much work is done for it.
		out.set(StepKeys, Fail, reasonKIDMissing, "")
		out.set(StepSignature, NotChecked, reasonNoSignature, "")
		return
	}
	keys := v.Trust.Keys(trust.Scope{Domain: c.domain, Aliases: c.policy.Aliases}, kid)
	if len(keys) == 0 {
		reason, detail := reasonUnknownKID, ""
		if elsewhere := v.Trust.Elsewhere(kid); len(elsewhere) > 0 {
			reason, detail = reasonOtherDomain, fmt.Sprintf("the key is listed for %v, not for %s", elsewhere, c.domain)
		}
		out.set(StepKeys, Fail, reason, detail)
		out.set(StepSignature, NotChecked, reasonNoSignature, "")
		return
	}
	out.set(StepKeys, Pass, "found", "")

	// HCERT 3.3.3: a verifier MUST try every key that carries this kid.
	var refused error
	var signers []*trust.Key // more than one where the same key stands in several entries
	for _, k := range keys {
		if err := c.envelope.Verify(v.HotKeys.Public(k.Public)); err != nil {
			if refused == nil || errors.Is(err, cose.ErrSignature) {
				refused = err
			}
			continue
		}
		signers = append(signers, k)
	}
	if len(signers) == 0 {
		out.set(StepSignature, Fail, format.Reason(refused, string(cose.ErrSignature)), detailOf(refused))
		return
	}
	c.key = chooseKey(c, signers)
	out.Issuer.Participant = c.key.Participant
	out.set(StepSignature, Pass, "verified", "")
}

// chooseKey picks the entry under which a key is believed. Where the same key
// stands under two names, the one in good standing is meant: a participant must
// not be able to revoke another's key by listing it. Under one name the
// revocation stands: an older list beside it must not bring the key back.
func chooseKey(c *certificate, signers []*trust.Key) *trust.Key {
	var first *trust.Key
	for _, k := range signers {
		revoked := func(o *trust.Key) bool { return o.Revoked && o.Participant == k.Participant }
		switch {
		case keyProblem(c, k) != "":
			if first == nil {
				first = k
			}
		case !slices.ContainsFunc(signers, revoked):
			return k
		}
	}
	return first // a key without a problem was passed over for one that has
}
