// Package handover is how goods change hands: who gives says what left, who receives says
// what came, each signed. The file of both goes between their services as it is. See
// docs/spec/handover.md.
package handover

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"ampoule/coldchain"
	"ampoule/format"
	"ampoule/format/cbor"
	"ampoule/format/cose"
	"ampoule/thing/trail"
)

// Party is one side.
type Party struct {
	Name  string // of who signs, as the other one lists it
	Place string // by [trail.Name]
}

// Sum is the hash of an event (CBV 2.0 section 8.9).
type Sum = [sha256.Size]byte

// Path is what the goods went through up to then, by who gives them.
type Path struct {
	Outcome  coldchain.Outcome
	Measured int      // of the path, in ten-thousandths, rounded down
	Outside  int64    // whole minutes out of the storage range, as far as it was measured
	By       []string // the devices that measured it, in the order of their names
}

// Offer is what who gives says.
//
//	file    = [offer: bstr .cbor signed-offer, answer: bstr .cbor signed-answer / h'']
//	signed-offer  = COSE_Sign1       ;; as cose.Single has it, by who gives
//	signed-answer = COSE_Sign1       ;; likewise, by who receives
//
//	offer = [
//	    type:     "ampoule hand-over",       ;; no other signed message begins so
//	    version:  1,
//	    thing:    tstr,                      ;; a lot, an item or a container, by its name in events
//	    amount:   -1 / uint,                 ;; -1: not told
//	    unit:     "" / "E27",                ;; pieces, or doses (UN/ECE Recommendation 20)
//	    giver:    party,
//	    receiver: party,
//	    left:     time,
//	    offered:  time,                      ;; when this was signed
//	    events:   [1*64 bstr .size 32],      ;; hashes of those that tell that it left, ascending
//	    path:     [outcome: "sound" / "heat" / "freeze" / "not-known", measured: 0..10000, outside: uint, by: [0*64 tstr]]
//	]
//	party = [name: tstr, place: tstr]
//	time  = 0..253402300799                  ;; seconds since 1970-01-01T00:00:00Z
type Offer struct {
	Thing    string
	Amount   int64 // [trail.Many]: not told
	Unit     string
	Giver    Party
	Receiver Party
	Left     time.Time
	Offered  time.Time
	Events   []Sum
	Path     Path
}

// Outcome is how who receives answers.
type Outcome string

// The outcomes.
const (
	Accepted Outcome = "accepted"
	Refused  Outcome = "refused"
)

// Reasons are why goods are refused.
var Reasons = []string{"not-arrived", "other-goods", "damaged", "cold-chain", "other"}

// Answer is what who receives says of an offer, which it signs by its hash.
//
//	answer = [
//	    type:     "ampoule hand-over answer",
//	    version:  1,
//	    offer:    bstr .size 32,             ;; SHA-256 of the offer, without its signature
//	    outcome:  "accepted" / "refused",
//	    reason:   tstr,                      ;; of what is refused: a word of Reasons; otherwise ""
//	    amount:   -1 / uint,                 ;; that came; -1 with what is refused
//	    unit:     "" / "E27",
//	    arrived:  time,                      ;; 0 with what is refused
//	    answered: time,
//	    events:   [0*64 bstr .size 32]       ;; those that tell that it came, ascending; none with what is refused
//	]
type Answer struct {
	Offer    Sum
	Outcome  Outcome
	Reason   string
	Amount   int64
	Unit     string
	Arrived  time.Time // zero: it did not
	Answered time.Time
	Events   []Sum
}

// The kinds of defect of a hand-over.
const (
	ErrNotHandover = format.Defect("not-a-hand-over") // a signed message of another kind
	ErrVersion     = format.Defect("unknown-version")
	ErrField       = format.Defect("bad-field")
	ErrEncoding    = format.Defect("not-deterministic") // the same content, in other bytes than ours
	ErrOtherOffer  = format.Defect("answers-another-offer")
)

const (
	offerType  = "ampoule hand-over"
	answerType = "ampoule hand-over answer"
	version    = 1

	// MaxFile bounds a file.
	MaxFile = 64 << 10

	// MaxDevices is how many devices are named at most.
	MaxDevices = 64

	maxText, maxList = 300, 64
	maxAmount        = 1 << 50
	maxTime          = 253402300799 // the end of the year 9999
	wholePath        = 10000
)

var limits = cbor.Limits{Depth: 4, Items: 256, Pairs: 1}

var outcomes = []coldchain.Outcome{coldchain.Sound, coldchain.Heated, coldchain.Froze, coldchain.NotKnown}

// check says what is wrong with an offer itself, whoever made it.
func (o *Offer) check() error {
	for _, text := range slices.Concat([]string{o.Thing, o.Giver.Name, o.Giver.Place, o.Receiver.Name, o.Receiver.Place}, o.Path.By) {
		if !isText(text) {
			return bad("text")
		}
	}
	switch {
	case !isAmount(o.Amount, o.Unit):
		return bad("amount")
	case !isTime(o.Left), !isTime(o.Offered):
		return bad("time")
	case len(o.Events) == 0, !ascend(o.Events):
		return bad("events")
	case !slices.Contains(outcomes, o.Path.Outcome), o.Path.Measured < 0, o.Path.Measured > wholePath, o.Path.Outside < 0, o.Path.Outside > maxTime:
		return bad("path")
	case len(o.Path.By) > MaxDevices, !slices.IsSorted(o.Path.By), len(slices.Compact(slices.Clone(o.Path.By))) != len(o.Path.By):
		return bad("devices")
	}
	return nil
}

func (a *Answer) check() error {
	switch {
	case !isAmount(a.Amount, a.Unit):
		return bad("amount")
	case !isTime(a.Answered), !a.Arrived.IsZero() && !isTime(a.Arrived):
		return bad("time")
	case !ascend(a.Events):
		return bad("events")
	case a.Outcome == Accepted:
		if a.Reason != "" || a.Arrived.IsZero() || len(a.Events) == 0 {
			return bad("accepted")
		}
	case a.Outcome == Refused:
		if !slices.Contains(Reasons, a.Reason) || !a.Arrived.IsZero() || len(a.Events) != 0 || a.Amount != trail.Many || a.Unit != "" {
			return bad("refused")
		}
	default:
		return bad("outcome")
	}
	return nil
}

func bad(field string) error { return fmt.Errorf("hand-over: %s: %w", field, ErrField) }

func isText(s string) bool {
	return s != "" && len(s) <= maxText && !format.Suspicious(s) && s == format.NFC(s) && s == strings.TrimSpace(s)
}

func isAmount(n int64, unit string) bool {
	return n >= trail.Many && n <= maxAmount && (unit == "" || unit == trail.Doses)
}

func isTime(t time.Time) bool {
	return t.Unix() > 0 && t.Unix() <= maxTime && t.Equal(t.Truncate(time.Second))
}

func ascend(sums []Sum) bool {
	for i := 1; i < len(sums); i++ {
		if bytes.Compare(sums[i-1][:], sums[i][:]) >= 0 {
			return false
		}
	}
	return len(sums) <= maxList
}

func (o *Offer) encode() ([]byte, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	b := cbor.AppendInt(cbor.AppendText(cbor.AppendArray(nil, 11), offerType), version)
	b = cbor.AppendText(cbor.AppendInt(cbor.AppendText(b, o.Thing), o.Amount), o.Unit)
	for _, p := range []Party{o.Giver, o.Receiver} {
		b = cbor.AppendText(cbor.AppendText(cbor.AppendArray(b, 2), p.Name), p.Place)
	}
	b = cbor.AppendInt(cbor.AppendInt(b, o.Left.Unix()), o.Offered.Unix())
	b = appendSums(b, o.Events)
	b = cbor.AppendText(cbor.AppendArray(b, 4), string(o.Path.Outcome))
	b = cbor.AppendInt(cbor.AppendInt(b, int64(o.Path.Measured)), o.Path.Outside)
	b = cbor.AppendArray(b, len(o.Path.By))
	for _, device := range o.Path.By {
		b = cbor.AppendText(b, device)
	}
	return b, nil
}

func (a *Answer) encode() ([]byte, error) {
	if err := a.check(); err != nil {
		return nil, err
	}
	arrived := int64(0)
	if !a.Arrived.IsZero() {
		arrived = a.Arrived.Unix()
	}
	b := cbor.AppendInt(cbor.AppendText(cbor.AppendArray(nil, 10), answerType), version)
	b = cbor.AppendText(cbor.AppendText(cbor.AppendBytes(b, a.Offer[:]), string(a.Outcome)), a.Reason)
	b = cbor.AppendText(cbor.AppendInt(b, a.Amount), a.Unit)
	b = cbor.AppendInt(cbor.AppendInt(b, arrived), a.Answered.Unix())
	return appendSums(b, a.Events), nil
}

func appendSums(b []byte, sums []Sum) []byte {
	b = cbor.AppendArray(b, len(sums))
	for i := range sums {
		b = cbor.AppendBytes(b, sums[i][:])
	}
	return b
}

// reader reads elements of a payload, and remembers whether one was of another kind.
type reader struct{ failed bool }

func (r *reader) text(v cbor.Value) string {
	s, ok := v.Text()
	r.failed = r.failed || !ok
	return s
}

func (r *reader) int(v cbor.Value) int64 {
	n, ok := v.Int()
	r.failed = r.failed || !ok
	return n
}

func (r *reader) time(v cbor.Value) time.Time {
	n := r.int(v)
	if n < 0 || n > maxTime {
		r.failed = true
	}
	if n == 0 || r.failed {
		return time.Time{}
	}
	return time.Unix(n, 0).UTC()
}

func (r *reader) array(v cbor.Value, least, most int) {
	r.failed = r.failed || v.Kind() != cbor.Array || v.Len() < least || v.Len() > most
}

func (r *reader) sum(v cbor.Value) (s Sum) {
	b, ok := v.Bytes()
	r.failed = r.failed || !ok || copy(s[:], b) != len(s) || len(b) != len(s)
	return s
}

func (r *reader) sums(v cbor.Value) (sums []Sum) {
	if r.array(v, 0, maxList); r.failed {
		return nil
	}
	for e := range v.Elements() {
		sums = append(sums, r.sum(e))
	}
	return sums
}

func (r *reader) party(v cbor.Value) Party {
	r.array(v, 2, 2)
	return Party{r.text(v.Index(0)), r.text(v.Index(1))}
}

// open reads the head of a payload of so many elements.
func open(payload, kind string, elements int) (cbor.Value, error) {
	v, err := cbor.ParseString(payload, limits)
	if err != nil {
		return v, fmt.Errorf("hand-over: %w", err)
	}
	if text, ok := v.Index(0).Text(); v.Kind() != cbor.Array || !ok || text != kind {
		return v, fmt.Errorf("hand-over: %w", ErrNotHandover)
	}
	if n, ok := v.Index(1).Int(); !ok || n != version {
		return v, fmt.Errorf("hand-over: %w", ErrVersion)
	}
	if v.Len() != elements {
		return v, bad("elements")
	}
	return v, nil
}

// decodeOffer is strict, because the form is ours: what it takes encodes to the same
// bytes again.
func decodeOffer(payload string) (*Offer, error) {
	v, err := open(payload, offerType, 11)
	if err != nil {
		return nil, err
	}
	r := new(reader)
	path := v.Index(10)
	r.array(path, 4, 4)
	o := &Offer{
		Thing: r.text(v.Index(2)), Amount: r.int(v.Index(3)), Unit: r.text(v.Index(4)), Giver: r.party(v.Index(5)), Receiver: r.party(v.Index(6)),
		Left: r.time(v.Index(7)), Offered: r.time(v.Index(8)), Events: r.sums(v.Index(9)),
		Path: Path{Outcome: coldchain.Outcome(r.text(path.Index(0))), Outside: r.int(path.Index(2))},
	}
	measured := r.int(path.Index(1))
	r.array(path.Index(3), 0, MaxDevices)
	if r.failed || measured < 0 || measured > wholePath {
		return nil, bad("kind")
	}
	o.Path.Measured = int(measured)
	for e := range path.Index(3).Elements() {
		o.Path.By = append(o.Path.By, r.text(e))
	}
	if r.failed {
		return nil, bad("kind")
	}
	return o, same(o, payload)
}

func decodeAnswer(payload string) (*Answer, error) {
	v, err := open(payload, answerType, 10)
	if err != nil {
		return nil, err
	}
	r := new(reader)
	a := &Answer{
		Offer: r.sum(v.Index(2)), Outcome: Outcome(r.text(v.Index(3))), Reason: r.text(v.Index(4)), Amount: r.int(v.Index(5)), Unit: r.text(v.Index(6)),
		Arrived: r.time(v.Index(7)), Answered: r.time(v.Index(8)), Events: r.sums(v.Index(9)),
	}
	if r.failed {
		return nil, bad("kind")
	}
	return a, same(a, payload)
}

func same(x interface{ encode() ([]byte, error) }, payload string) error {
	again, err := x.encode() // which checks it, too
	if err != nil {
		return err
	}
	if string(again) != payload {
		return fmt.Errorf("hand-over: %w", ErrEncoding)
	}
	return nil
}

// Handover is a file. Nobody has checked its signatures yet.
type Handover struct {
	Offer  *Offer
	Answer *Answer // nil: nobody has answered

	offer, answer []byte // as signed
	giver         *cose.Single
	receiver      *cose.Single
}

// ID names a hand-over: the first 16 bytes of the SHA-256 of its offer, in hexadecimal.
// It does not depend on signatures, and is the same at both services.
func (h *Handover) ID() string {
	sum := h.Sum()
	return hex.EncodeToString(sum[:16])
}

// Sum is the SHA-256 of the offer, which the answer names.
func (h *Handover) Sum() Sum { return sha256.Sum256([]byte(h.giver.Payload)) }

// Differs reports whether another amount came than had left. Of what is not answered, or
// refused, it does not speak.
func (h *Handover) Differs() bool {
	a := h.Answer
	return a != nil && a.Outcome == Accepted && (a.Amount != h.Offer.Amount || a.Unit != h.Offer.Unit)
}

// SameAnswer reports whether two files have answers of the same words.
func (h *Handover) SameAnswer(o *Handover) bool {
	return h.receiver != nil && o.receiver != nil && h.receiver.Payload == o.receiver.Payload
}

// Sign makes the file of an offer.
func (o *Offer) Sign(random io.Reader, signer crypto.Signer) ([]byte, error) {
	payload, err := o.encode()
	if err != nil {
		return nil, err
	}
	signed, err := cose.SignSingle(random, payload, signer)
	if err != nil {
		return nil, fmt.Errorf("hand-over: %w", err)
	}
	return file(signed, nil), nil
}

// Sign makes the file with an answer to an offer. Which offer it is, it says itself.
func (h *Handover) Sign(random io.Reader, signer crypto.Signer, a *Answer) ([]byte, error) {
	a.Offer = h.Sum()
	payload, err := a.encode()
	if err != nil {
		return nil, err
	}
	signed, err := cose.SignSingle(random, payload, signer)
	if err != nil {
		return nil, fmt.Errorf("hand-over: %w", err)
	}
	return file(h.offer, signed), nil
}

func file(offer, answer []byte) []byte {
	return cbor.AppendBytes(cbor.AppendBytes(cbor.AppendArray(nil, 2), offer), answer)
}

// Parse reads a file.
func Parse(data []byte) (*Handover, error) {
	if len(data) > MaxFile {
		return nil, bad("size")
	}
	v, err := cbor.Parse(data, limits)
	if err != nil {
		return nil, fmt.Errorf("hand-over: %w", err)
	}
	offer, ok := v.Index(0).Bytes()
	answer, ok1 := v.Index(1).Bytes()
	if v.Kind() != cbor.Array || v.Len() != 2 || !ok || !ok1 {
		return nil, fmt.Errorf("hand-over: %w", ErrNotHandover)
	}
	h := &Handover{offer: offer, answer: answer}
	if !bytes.Equal(file(offer, answer), data) {
		return nil, fmt.Errorf("hand-over: %w", ErrEncoding)
	}
	if h.giver, err = cose.ParseSingle(offer); err != nil {
		return nil, fmt.Errorf("hand-over: offer: %w", err)
	}
	if h.Offer, err = decodeOffer(h.giver.Payload); err != nil {
		return nil, fmt.Errorf("offer: %w", err)
	}
	if len(answer) == 0 {
		return h, nil
	}
	if h.receiver, err = cose.ParseSingle(answer); err != nil {
		return nil, fmt.Errorf("hand-over: answer: %w", err)
	}
	if h.Answer, err = decodeAnswer(h.receiver.Payload); err != nil {
		return nil, fmt.Errorf("answer: %w", err)
	}
	if h.Answer.Offer != h.Sum() {
		return nil, fmt.Errorf("hand-over: %w", ErrOtherOffer)
	}
	return h, nil
}

// VerifyOffer checks the signature of who gives.
func (h *Handover) VerifyOffer(pub crypto.PublicKey) error { return h.giver.Verify(pub) }

// VerifyAnswer checks the signature of who receives. Without an answer there is none.
func (h *Handover) VerifyAnswer(pub crypto.PublicKey) error {
	if h.receiver == nil {
		return fmt.Errorf("hand-over: %w", cose.ErrMissingSignature)
	}
	return h.receiver.Verify(pub)
}
