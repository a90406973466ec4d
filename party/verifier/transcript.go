package verifier

import (
	"bytes"
	"crypto"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"ampoule/format"
	"ampoule/format/cbor"
	"ampoule/format/cose"
	"ampoule/trust"
)

// Edition numbers the rules by which a verdict is reached, with the value sets, concept
// maps and other tables that are built in. It is raised with every change after which the
// same code, judged by the same sources at the same time, may be answered otherwise.
const Edition = 1

// The kinds of defect of a transcript, besides those of its envelope.
const (
	ErrTranscript     = format.Defect("not-a-transcript")
	ErrTranscriptForm = format.Defect("unknown-version") // a later form of it
	ErrSize           = format.Defect("too-large")
)

// Bounds of a transcript.
const (
	MaxTranscript = 64 << 10 // bytes
	MaxSources    = 1024

	transcriptForm = 1
	maxWord        = 64
	maxIssuer      = 256
	maxSecond      = 253402300799 // the last second of the year 9999
)

var transcriptLimits = cbor.Limits{Depth: 5, Items: 4096, Pairs: 32}

// Source names one document that a verdict rests on, by the flag that brought it. The
// sum of a bundle is its digest (docs/spec/bundle.md), which no second signature
// changes; that of anything else is the SHA-256 of the file.
type Source struct {
	Kind string
	Sum  [sha256.Size]byte
}

// Transcript is a verdict that can be reached again: by what, when, and with which
// answer of each check. It holds nothing that stands in the certificate. What checks say
// in words is left out, since it may quote a certificate, and so is a key identifier that
// nobody has vouched for.
//
//	Transcript = #6.18([
//	    protected: bstr .cbor {1: alg, 4: kid}, unprotected: {},
//	    payload: bstr .cbor {
//	        1: 1,                              ;; of this form
//	        2: COSE_Key,                       ;; of who signed
//	        3: uint,                           ;; Edition
//	        4: time,                           ;; the certificate was judged as of then
//	        5: time,                           ;; and it was this late
//	        6: time,                           ;; when the sources were read
//	        7: [* [kind: tstr, sum: bstr]],
//	        8: [arrival: tstr, region: tstr],
//	        9: bstr .size 32,                  ;; salt
//	        10: bstr .size 32,                 ;; HMAC-SHA-256(salt, code)
//	        11: tstr,                          ;; format, or empty
//	        12: [participant: tstr, kid: tstr],
//	        13: uint,                          ;; required checks: 2^0 is the first
//	        14: [12*12 [name: tstr, answer: tstr, reason: tstr]],
//	        15: tstr, 16: tstr,                ;; outcome and its reason
//	        17: tstr, 18: tstr                 ;; dose advice and its reason
//	    },
//	    signature: bstr
//	])
//	code = bstr .cbor [[+ tstr], proof: bstr]  ;; trimmed texts; empty: no proof came beside
type Transcript struct {
	Signer  crypto.PublicKey
	Edition int64
	// At is the time as of which it was judged, and Clock what the time was then; Read is
	// when the sources were read. Whole seconds.
	At, Clock, Read time.Time
	Sources         []Source
	Arrival, Region string
	Salt, Code      [sha256.Size]byte
	Format          string
	Issuer          Issuer // empty where no listed key has signed
	Required        [steps]bool
	Checks          [steps]Check // without details
	Outcome         Outcome
	Reason          string
	Advice          Advice
}

// Provenance is what the maker of a transcript knows besides the verdict.
type Provenance struct {
	Salt    [sha256.Size]byte // fresh: two transcripts of one code must not be alike
	Sources []Source          // in the order in which they were read
	Read    time.Time         // zero: at the time of the verdict
}

// Record judges a certificate as [Verifier.Verify] does, in whole seconds, and writes
// down how.
func (v *Verifier) Record(p Provenance, texts ...string) (*Verdict, *Transcript) {
	w := *v
	at := v.Now().UTC().Truncate(time.Second)
	w.Now = func() time.Time { return at }
	if !v.wall.IsZero() {
		w.wall = v.wall.UTC().Truncate(time.Second)
	}
	t := &Transcript{
		Edition: Edition, At: at, Clock: at, Read: p.Read.UTC().Truncate(time.Second), Sources: p.Sources,
		Salt: p.Salt, Code: commitment(p.Salt, v.proof, texts),
	}
	if !w.wall.IsZero() {
		t.Clock = w.wall
	}
	if p.Read.IsZero() {
		t.Read = t.Clock
	}
	if v.Rules != nil {
		t.Arrival, t.Region = v.Rules.Arrival, v.Rules.Region
	}
	out := w.Verify(texts...)
	t.Format, t.Required = out.Format, out.Required
	t.Outcome, t.Reason, t.Advice = out.Outcome, out.Reason, out.Advice
	for s, c := range out.Checks {
		t.Checks[s] = Check{Name: c.Name, Result: c.Result, Reason: c.Reason}
	}
	if out.Checks[StepSignature].Result == Pass {
		// Otherwise the code alone says whose key it is.
		t.Issuer = Issuer{listedName(out.Issuer.Participant), listedName(out.Issuer.KID)}
	}
	return out, t
}

// listedName is a name of a trust list, in as many bytes as there is room for.
func listedName(name string) string {
	name = format.Visible(strings.ToValidUTF8(name, "\ufffd"))
	return strings.ToValidUTF8(name[:min(len(name), maxIssuer)], "")
}

// commitment names a code to those who have it, and to nobody else: the texts of a
// signed certificate cannot be guessed.
func commitment(salt [sha256.Size]byte, proof []byte, texts []string) (sum [sha256.Size]byte) {
	var given []string
	for _, t := range texts {
		if t = format.TrimText(t); t != "" {
			given = append(given, t)
		}
	}
	b := cbor.AppendArray(cbor.AppendArray(nil, 2), len(given))
	for _, t := range given {
		b = cbor.AppendText(b, strings.ToValidUTF8(t, "\ufffd"))
	}
	h := hmac.New(sha256.New, salt[:])
	h.Write(cbor.AppendBytes(b, proof))
	h.Sum(sum[:0])
	return sum
}

// Sign signs the transcript.
func (t *Transcript) Sign(random io.Reader, signer crypto.Signer) ([]byte, error) {
	t.Signer = signer.Public()
	payload, err := t.encode()
	if err != nil {
		return nil, fmt.Errorf("transcript: %w", err)
	}
	out, err := cose.SignSingle(random, payload, signer)
	if err != nil {
		return nil, fmt.Errorf("transcript: %w", err)
	}
	if len(out) > MaxTranscript {
		return nil, fmt.Errorf("transcript: %d bytes: %w", len(out), ErrSize)
	}
	return out, nil
}

// encode writes the payload, if it holds nothing but what belongs there.
func (t *Transcript) encode() ([]byte, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	b := cbor.AppendMap(nil, 18)
	key := func(n int64) { b = cbor.AppendInt(b, n) }
	number := func(k, n int64) { key(k); b = cbor.AppendInt(b, n) }
	texts := func(all ...string) {
		for _, s := range all {
			b = cbor.AppendText(b, s)
		}
	}
	number(1, transcriptForm)
	key(2)
	var err error
	if b, err = cose.AppendKey(b, t.Signer); err != nil {
		return nil, err
	}
	number(3, t.Edition)
	number(4, t.At.Unix())
	number(5, t.Clock.Unix())
	number(6, t.Read.Unix())
	key(7)
	b = cbor.AppendArray(b, len(t.Sources))
	for _, s := range t.Sources {
		b = cbor.AppendArray(b, 2)
		texts(s.Kind)
		b = cbor.AppendBytes(b, s.Sum[:])
	}
	key(8)
	b = cbor.AppendArray(b, 2)
	texts(t.Arrival, t.Region)
	key(9)
	b = cbor.AppendBytes(b, t.Salt[:])
	key(10)
	b = cbor.AppendBytes(b, t.Code[:])
	key(11)
	texts(t.Format)
	key(12)
	b = cbor.AppendArray(b, 2)
	texts(t.Issuer.Participant, t.Issuer.KID)
	var required int64
	for s, r := range t.Required {
		if r {
			required |= 1 << s
		}
	}
	number(13, required)
	key(14)
	b = cbor.AppendArray(b, int(steps))
	for _, c := range t.Checks {
		b = cbor.AppendArray(b, 3)
		texts(c.Name, string(c.Result), c.Reason)
	}
	for i, s := range []string{string(t.Outcome), t.Reason, string(t.Advice.Value), t.Advice.Reason} {
		key(15 + int64(i))
		texts(s)
	}
	return b, nil
}

// check refuses what cannot be: a reason is a word, and no room for anything else.
func (t *Transcript) check() error {
	second := func(x time.Time) bool { return x.Nanosecond() == 0 && x.Unix() >= 0 && x.Unix() <= maxSecond }
	short := func(s string) bool { return len(s) <= maxIssuer && format.Visible(s) == s }
	bad := func(what string) error { return fmt.Errorf("%s: %w", what, ErrTranscript) }
	switch {
	case t.Edition < 1, !second(t.At), !second(t.Clock), !second(t.Read):
		return bad("edition or time")
	case len(t.Sources) > MaxSources:
		return bad("sources")
	case !isWord(strings.ToLower(t.Arrival)) || !short(t.Region):
		return bad("destination")
	case !isWord(t.Format), !short(t.Issuer.Participant), !short(t.Issuer.KID):
		return bad("format or issuer")
	case !slices.Contains(outcomes, t.Outcome), !isWord(t.Reason):
		return bad("outcome")
	case t.Advice.Value != Concern && t.Advice.Value != NoConcern && t.Advice.Value != NotKnown, !isWord(t.Advice.Reason):
		return bad("advice")
	case t.Checks[StepSignature].Result != Pass && t.Issuer != Issuer{}:
		return bad("an issuer whose signature did not hold")
	}
	for _, s := range t.Sources {
		if s.Kind == "" || !isWord(s.Kind) {
			return bad("source")
		}
	}
	for i, c := range t.Checks {
		switch c.Result {
		case Pass, Fail, CannotTell, NotApplicable, NotChecked:
		default:
			return bad("check " + stepNames[i])
		}
		if c.Name != stepNames[i] || c.Detail != "" || !isWord(c.Reason) {
			return bad("check " + stepNames[i])
		}
	}
	return nil
}

// isWord tells a reason word from text that could say anything. Some checks have none.
func isWord(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return len(s) <= maxWord
}

// ParseTranscript reads a transcript, and checks that the key it names has signed it.
// Whose key that is, the caller asks.
func ParseTranscript(data []byte) (*Transcript, error) {
	if len(data) > MaxTranscript {
		return nil, fmt.Errorf("transcript: %d bytes: %w", len(data), ErrSize)
	}
	m, err := cose.ParseSingle(data)
	if err != nil {
		return nil, fmt.Errorf("transcript: %w", err)
	}
	v, err := cbor.ParseString(m.Payload, transcriptLimits)
	if err != nil {
		return nil, fmt.Errorf("transcript: %w", err)
	}
	if form, ok := v.GetInt(1).Int(); !ok || form != transcriptForm {
		if ok && form > transcriptForm {
			return nil, fmt.Errorf("transcript: form %d: %w", form, ErrTranscriptForm)
		}
		return nil, fmt.Errorf("transcript: %w", ErrTranscript)
	}
	t := new(Transcript)
	if t.Signer, err = cose.ReadKey(v.GetInt(2)); err != nil {
		return nil, fmt.Errorf("transcript: %w", err)
	}
	kid, err := cose.Thumbprint(t.Signer)
	if err != nil {
		return nil, fmt.Errorf("transcript: %w", err)
	}
	if !bytes.Equal(kid, m.Signature.KID) {
		return nil, fmt.Errorf("transcript: signed by another key than it names: %w", cose.ErrSignature)
	}
	if err := m.Verify(t.Signer); err != nil {
		return nil, fmt.Errorf("transcript: %w", err)
	}
	t.decode(v)
	// Whatever was not there, of another type or written in another way is not written
	// again as it was.
	again, err := t.encode()
	if err != nil {
		return nil, fmt.Errorf("transcript: %w", err)
	}
	if string(again) != m.Payload {
		return nil, fmt.Errorf("transcript: %w", ErrTranscript)
	}
	return t, nil
}

func (t *Transcript) decode(v cbor.Value) {
	text := func(v cbor.Value) string { s, _ := v.Text(); return s }
	second := func(k int64) time.Time {
		n, _ := v.GetInt(k).Int()
		return time.Unix(min(max(n, -1), maxSecond+1), 0).UTC()
	}
	sum := func(v cbor.Value) (s [sha256.Size]byte) {
		b, _ := v.Bytes()
		copy(s[:], b)
		return s
	}
	t.Edition, _ = v.GetInt(3).Int()
	t.At, t.Clock, t.Read = second(4), second(5), second(6)
	for s := range v.GetInt(7).Elements() {
		t.Sources = append(t.Sources, Source{text(s.Index(0)), sum(s.Index(1))})
	}
	t.Arrival, t.Region = text(v.GetInt(8).Index(0)), text(v.GetInt(8).Index(1))
	t.Salt, t.Code = sum(v.GetInt(9)), sum(v.GetInt(10))
	t.Format = text(v.GetInt(11))
	t.Issuer = Issuer{text(v.GetInt(12).Index(0)), text(v.GetInt(12).Index(1))}
	required, _ := v.GetInt(13).Int()
	for s := range steps {
		t.Required[s] = required>>s&1 != 0
		c := v.GetInt(14).Index(int(s))
		t.Checks[s] = Check{Name: text(c.Index(0)), Result: Result(text(c.Index(1))), Reason: text(c.Index(2))}
	}
	t.Outcome, t.Reason = Outcome(text(v.GetInt(15))), text(v.GetInt(16))
	t.Advice = Advice{AdviceValue(text(v.GetInt(17))), text(v.GetInt(18))}
}

// Difference is one thing that is not as a transcript has it.
type Difference struct {
	What string `json:"what"` // source, required, outcome, advice, code, format, issuer, or the name of a check
	Was  string `json:"was"`  // in the transcript
	Is   string `json:"is"`
}

// Held compares the sources at hand with those that the verdict was reached by, one by
// one in their order.
func (t *Transcript) Held(sources []Source) (found []Difference) {
	for i := range max(len(t.Sources), len(sources)) {
		var was, is string
		if i < len(t.Sources) {
			was = t.Sources[i].String()
		}
		if i < len(sources) {
			is = sources[i].String()
		}
		if was != is {
			found = append(found, Difference{"source", was, is})
		}
	}
	return found
}

func (s Source) String() string { return fmt.Sprintf("%s %x", s.Kind, s.Sum) }

// domains are those of the formats, whose policy a verdict was reached by.
var domains = map[string]trust.Domain{
	"eu-dcc": trust.DCC, "icvp": trust.ICVP, "ddcc": trust.DDCC, "vhl": trust.PH4H, "shc": trust.SHC, "vds-nc": trust.VDSNC, "divoc": trust.DIVOC,
}

// Derive holds the outcome and the advice against the checks of the transcript itself,
// by the function that made them, and against what v asks of a certificate of the
// format; nil: only against each other. It is what can be done without the code.
func (t *Transcript) Derive(v *Verifier) (found []Difference) {
	differ := func(what, was, is string) {
		if was != is {
			found = append(found, Difference{what, was, is})
		}
	}
	outcome, reason, _ := decide(&t.Checks, t.Required)
	differ("outcome", string(t.Outcome)+" "+t.Reason, string(outcome)+" "+reason)

	advice := t.Checks[StepDose].advice()
	if t.Checks[StepDose].Reason == "" { // step 9 was not reached
		advice = Advice{NotKnown, reasonNoLots}
		if v == nil && t.Advice.Reason == reasonNotReached || v != nil && v.Lots != nil {
			advice.Reason = reasonNotReached
		}
	}
	differ("advice", string(t.Advice.Value)+" "+t.Advice.Reason, string(advice.Value)+" "+advice.Reason)
	if v == nil {
		return found
	}

	policy := v.policy(domains[t.Format])
	least := policy.Required
	least[StepDose] = false // never decides
	most := least
	// A list or a rule that was loaded is believed, asked for or not.
	most[StepStatus] = most[StepStatus] || v.Status != nil || len(policy.StatusSchemes) > 0
	most[StepRules] = most[StepRules] || v.Rules != nil
	if t.Checks[StepDecode].Result != Pass {
		least = [steps]bool{} // nobody knew yet under whose policy it falls
	}
	for s := range steps {
		if t.Required[s] != least[s] && t.Required[s] != most[s] {
			differ("required", fmt.Sprintf("%s: %t", s, t.Required[s]), fmt.Sprintf("%s: %t", s, least[s]))
		}
	}
	return found
}

// at returns a verifier that knows what v knows, at the time of the transcript and with
// its choices.
func (t *Transcript) at(v *Verifier) *Verifier {
	w := *v
	if v.Rules != nil {
		rules := *v.Rules
		rules.Arrival, rules.Region = t.Arrival, t.Region
		w.Rules = &rules
	}
	w.Now = func() time.Time { return t.At }
	if w.wall = t.Clock; t.Clock.Equal(t.At) {
		w.wall = time.Time{}
	}
	return &w
}

// Again judges the code once more, by v at the time of the transcript, and tells each
// answer that is another. proof is what came beside the code.
func (t *Transcript) Again(v *Verifier, proof []byte, texts ...string) (found []Difference) {
	if proof != nil {
		v = v.With(Options{Proof: proof})
	}
	_, again := t.at(v).Record(Provenance{Salt: t.Salt, Sources: t.Sources, Read: t.Read}, texts...)
	differ := func(what, was, is string) {
		if was != is {
			found = append(found, Difference{what, was, is})
		}
	}
	if again.Code != t.Code {
		return []Difference{{"code", fmt.Sprintf("%x", t.Code), fmt.Sprintf("%x", again.Code)}}
	}
	differ("format", t.Format, again.Format)
	for i, c := range t.Checks {
		differ(c.Name, string(c.Result)+" "+c.Reason, string(again.Checks[i].Result)+" "+again.Checks[i].Reason)
	}
	differ("required", fmt.Sprint(t.Required), fmt.Sprint(again.Required))
	differ("issuer", t.Issuer.Participant+" "+t.Issuer.KID, again.Issuer.Participant+" "+again.Issuer.KID)
	differ("outcome", string(t.Outcome)+" "+t.Reason, string(again.Outcome)+" "+again.Reason)
	differ("advice", string(t.Advice.Value)+" "+t.Advice.Reason, string(again.Advice.Value)+" "+again.Advice.Reason)
	return found
}
