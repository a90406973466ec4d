package verifier

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"

	"ampoule/cert"
	"ampoule/format"
	"ampoule/thing"
	"ampoule/trust"
)

// Outcome answers whether a certificate is authentic and in force.
type Outcome string

// The outcomes, worst first: where several checks fail, the worst is the whole.
const (
	Malformed     Outcome = "malformed"
	Unsupported   Outcome = "unsupported"
	BadSignature  Outcome = "bad-signature"
	UnknownIssuer Outcome = "unknown-issuer"
	UntrustedKey  Outcome = "untrusted-key"
	Revoked       Outcome = "revoked"
	Superseded    Outcome = "superseded"
	Expired       Outcome = "expired"
	NotYetValid   Outcome = "not-yet-valid"
	SchemaInvalid Outcome = "schema-invalid"
	ProofInvalid  Outcome = "proof-invalid"
	NotHolder     Outcome = "not-holder"
	RuleFailed    Outcome = "rule-failed"
	Unknown       Outcome = "unknown"
	Valid         Outcome = "valid"
)

var outcomes = []Outcome{Malformed, Unsupported, BadSignature, UnknownIssuer, UntrustedKey, Revoked, Superseded,
	Expired, NotYetValid, SchemaInvalid, ProofInvalid, NotHolder, RuleFailed, Unknown, Valid}

// Outcomes returns all of them, worst first.
func Outcomes() []Outcome { return slices.Clone(outcomes) }

var severity = map[Outcome]int{}

func init() {
	for i, o := range outcomes {
		severity[o] = i
	}
}

func worse(a, b Outcome) bool { return severity[a] < severity[b] }

// Result is the answer of one check.
type Result string

// The results of a check.
const (
	Pass          Result = "pass"
	Fail          Result = "fail"
	CannotTell    Result = "unknown"        // data is missing or too old
	NotApplicable Result = "not-applicable" // this format or domain has no such thing
	NotChecked    Result = "not-checked"    // not asked for, or an earlier check left nothing to look at
)

// Step numbers the checks in the order in which they are made.
type Step int

// The twelve steps.
const (
	StepRead Step = iota
	StepDecode
	StepKeys
	StepSignature
	StepKeyValidity
	StepPeriod
	StepSchema
	StepStatus
	StepDose
	StepProof
	StepRules
	StepBinding
	steps
)

var stepNames = [steps]string{"read", "decode", "keys", "signature", "key-validity", "period", "schema", "status", "dose", "proof", "rules", "binding"}

func (s Step) String() string { return stepNames[s] }

// Check is what one step found. Reason is a stable word; Detail is for people,
// and holds nothing about a person.
type Check struct {
	Name   string `json:"name"`
	Result Result `json:"outcome"`
	Reason string `json:"reason,omitempty"`
	Detail string `json:"detail,omitempty"`
}

// Advice answers whether anything is known against the dose itself. It never
// changes the outcome.
type Advice struct {
	Value  AdviceValue `json:"value"`
	Reason string      `json:"reason,omitempty"`
}

// Asks reports whether the holder should ask somebody: something is known against the
// dose, or it may be one of those against which something is.
func (a Advice) Asks() bool {
	switch a.Reason {
	case thing.ReasonPart, thing.ReasonPlace, thing.ReasonDate, thing.ReasonSensitivity, thing.ReasonNotMapped:
		return true
	}
	return a.Value == Concern
}

// AdviceValue is one of three.
type AdviceValue string

// The advices.
const (
	Concern   AdviceValue = "concern"
	NoConcern AdviceValue = "no-concern"
	NotKnown  AdviceValue = "not-known"
)

// Issuer is whose key signed. Participant is empty where no listed key did.
type Issuer struct {
	Participant string `json:"participant,omitempty"`
	KID         string `json:"kid,omitempty"` // hexadecimal, or the address of the key
}

// Verdict is all that is to be said about one code.
type Verdict struct {
	Format  string // eu-dcc, icvp, vhl, …; empty where it was not recognised
	Outcome Outcome
	Reason  string // of the check that decided
	Decided Step   // which check that was; meaningless where it is Valid
	Advice  Advice
	Checks  [steps]Check
	Issuer  Issuer

	Required [steps]bool // which checks were asked for, in the end

	// Certificate is the content, as far as it could be read. It is shown after
	// the verdict and only when that is Valid, unless a person asked for it: see
	// [Verdict.Report].
	Certificate *cert.Certificate
}

// Report is a verdict in the form that scripts, pages and terminals read.
type Report struct {
	File        string            `json:"file,omitempty"`
	Format      string            `json:"format"`
	Outcome     Outcome           `json:"outcome"`
	Reason      string            `json:"reason"`
	Advice      Advice            `json:"advice"`
	Checks      []Check           `json:"checks"`
	Issuer      Issuer            `json:"issuer"`
	Certificate *cert.Certificate `json:"certificate,omitempty"`
	// Transcript is the signed record of the verdict, see [Transcript], where it was
	// asked for.
	Transcript []byte `json:"transcript,omitempty"`
}

// Report returns the verdict with the content where it may be shown: when it is
// valid, or when show says that someone asked.
func (v *Verdict) Report(show bool) Report {
	r := Report{Format: v.Format, Outcome: v.Outcome, Reason: v.Reason, Advice: v.Advice, Checks: v.Checks[:], Issuer: v.Issuer}
	if show || v.Outcome == Valid {
		r.Certificate = v.Certificate
	}
	return r
}

// JSON writes the report as one line without its end. Command line, server and
// browser answer with these bytes.
func (r Report) JSON() []byte { return r.AppendJSON(nil) }

// AppendJSON appends what [Report.JSON] returns. It is what encoding/json would
// write, a third of a server's work on an answer otherwise.
func (r Report) AppendJSON(b []byte) []byte {
	b = append(b, '{')
	if r.File != "" {
		b = append(appendText(append(b, `"file":`...), r.File), ',')
	}
	b = appendText(append(b, `"format":`...), r.Format)
	b = appendText(append(b, `,"outcome":`...), string(r.Outcome))
	b = appendText(append(b, `,"reason":`...), r.Reason)
	b = appendText(append(b, `,"advice":{"value":`...), string(r.Advice.Value))
	if r.Advice.Reason != "" {
		b = appendText(append(b, `,"reason":`...), r.Advice.Reason)
	}
	b = append(b, `},"checks":[`...)
	for i, c := range r.Checks {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendText(append(b, `{"name":`...), c.Name)
		b = appendText(append(b, `,"outcome":`...), string(c.Result))
		if c.Reason != "" {
			b = appendText(append(b, `,"reason":`...), c.Reason)
		}
		if c.Detail != "" {
			b = appendText(append(b, `,"detail":`...), c.Detail)
		}
		b = append(b, '}')
	}
	b = append(b, `],"issuer":{`...)
	if r.Issuer.Participant != "" {
		b = appendText(append(b, `"participant":`...), r.Issuer.Participant)
	}
	if r.Issuer.KID != "" {
		if r.Issuer.Participant != "" {
			b = append(b, ',')
		}
		b = appendText(append(b, `"kid":`...), r.Issuer.KID)
	}
	b = append(b, '}')
	if r.Certificate != nil {
		b = appendValue(append(b, `,"certificate":`...), r.Certificate)
	}
	if r.Transcript != nil {
		b = append(base64.StdEncoding.AppendEncode(append(b, `,"transcript":"`...), r.Transcript), '"')
	}
	return append(b, '}')
}

// appendText appends a text as JSON.
func appendText(b []byte, text string) []byte {
	for i := range len(text) {
		if c := text[i]; c < 0x20 || c >= 0x7f || c == '"' || c == '\\' {
			return appendValue(b, text)
		}
	}
	return append(append(append(b, '"'), text...), '"')
}

// appendValue appends a value as JSON. What HTML would mind stays as it is: details
// and names are read by people too.
func appendValue(b []byte, v any) []byte {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err) // a report is made to be written
	}
	return append(b, bytes.TrimSuffix(out.Bytes(), []byte("\n"))...)
}

// Check returns what a step found.
func (v *Verdict) Check(s Step) Check { return v.Checks[s] }

func (v *Verdict) set(s Step, r Result, reason, detail string) {
	v.Checks[s] = Check{Name: stepNames[s], Result: r, Reason: reason, Detail: detail}
}

// kidText writes a key identifier for people: bytes in hexadecimal, the address
// of a key as it is.
func kidText(kid trust.KeyID) string {
	if strings.HasPrefix(string(kid), "did:") {
		return format.Visible(strings.ToValidUTF8(string(kid), "?"))
	}
	return hex.EncodeToString([]byte(kid))
}

// ParseStep finds the step with a check's name.
func ParseStep(name string) (Step, bool) {
	for s, n := range stepNames {
		if n == name {
			return Step(s), true
		}
	}
	return 0, false
}
