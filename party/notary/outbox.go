package notary

import (
	"cmp"
	"context"
	"crypto"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"slices"
	"sync"
	"time"

	"ampoule/format"
	"ampoule/format/cose"
	"ampoule/ledger/state"
	"ampoule/ledger/tlog"
)

// Wanted is something that is to stand in the log: the root of a batch, the digest of a
// list, or the root of readings.
type Wanted struct {
	// Key is what it is, such as "batch/7". What has a key that is known is wanted once.
	Key  string
	Kind state.Kind // fp.batch, status.anchor or telemetry.anchor

	Root tlog.Hash // of fp.batch and telemetry.anchor
	Size uint64    // of fp.batch: its leaves, a power of two. Of status.anchor: bytes of the
	// list. Of telemetry.anchor: readings

	List   tlog.Hash // of status.anchor: SHA-256 of its address
	Digest tlog.Hash // of status.anchor: SHA-256 of the list
	Until  time.Time // of status.anchor: until when the list is good. Of telemetry.anchor: of the window

	Device state.OID // of telemetry.anchor: whose readings, or whose gateway's
	Since  time.Time // of telemetry.anchor: the beginning of the window
	Gap    bool      // of telemetry.anchor: something is missing
}

// Stage is how far an entry of an [Outbox] has come.
type Stage int

// The stages, in their order; an entry never goes back but from Submitted to Waiting.
const (
	Waiting   Stage = iota
	Submitted       // signed; the bytes are submitted until they are logged
	Logged          // in the log
	Kept            // and its proof is kept, and the receipt of a batch
	Refused         // it never will be, and Reason says why
)

var stageNames = [...]string{"waiting", "submitted", "logged", "kept", "refused"}

func (s Stage) String() string { return stageNames[s] }

// Entry is what an outbox knows of something wanted.
type Entry struct {
	Wanted
	Number int64 // from 1, in the order in which they were put
	Put    time.Time
	Stage  Stage

	// Message is the signed transaction, as it was submitted first; nil: it is not signed.
	Message []byte
	// Reason is why it was refused last; empty: it was not, or was taken since. Before
	// Retry it is not handed in again.
	Reason string
	Retry  time.Time

	Index    uint64    // of its leaf, once it is logged
	Proof    []byte    // tlog-proof, with the message as its extra data
	Cosigned time.Time // what the checkpoint of the proof gives as its time; zero: none
	Receipt  []byte    // of a batch: the notary's signature, see [tlog.RootSignature]
}

// Leaf is the hash of the entry's leaf in the log. The entry must be signed.
func (e *Entry) Leaf() tlog.Hash { return tlog.LeafHash(e.Message) }

// Tally is how much an outbox has of what.
type Tally struct {
	Waiting, Submitted, Logged, Kept, Refused int
	Oldest                                    time.Time // when the oldest that is not logged was put; zero: all are
}

// An Outbox keeps what is to be logged, and what became of it. Each method is one
// durable step. It is used by many at once; [Outbox.Keep] by one.
type Outbox interface {
	// Put takes what is wanted, in this order. What has a key that is known is passed
	// over, whatever else it says.
	Put(ctx context.Context, at time.Time, wanted ...Wanted) error

	// Pending returns entries that are neither kept nor refused, in the order of their
	// numbers: those after one.
	Pending(ctx context.Context, after int64, limit int) ([]Entry, error)

	// Keep writes all of an entry but what was wanted and when.
	Keep(ctx context.Context, e *Entry) error

	// Entry returns an entry by its key, or [ErrNoEntry].
	Entry(ctx context.Context, key string) (*Entry, error)

	// Newest returns the last entry that was put of a list, or [ErrNoEntry].
	Newest(ctx context.Context, list tlog.Hash) (*Entry, error)

	// Proven returns batches that are kept, in the order of their numbers: those after
	// one.
	Proven(ctx context.Context, after int64, limit int) ([]Entry, error)

	// Tally counts.
	Tally(ctx context.Context) (Tally, error)
}

// BatchKey is the key of a closed batch in an outbox.
func BatchKey(number int64) string { return fmt.Sprintf("batch/%d", number) }

// The defects of a submitter, besides those of ledger/state with which the notary
// refuses.
const (
	ErrSigner      = format.Defect("no-key-of-the-actor") // none of the keys is in force on the ledger
	ErrOtherProof  = format.Defect("proof-of-something-else")
	ErrOtherNotary = format.Defect("receipt-of-an-unknown-key")
)

// retryPause is how long something that was refused for a reason of its own, which
// may pass, is left alone.
const retryPause = 10 * time.Minute

// Submitter brings what is in an outbox into the log, as one actor: an issuer.
//
// One transaction is on its way at a time. Its bytes are kept before they are first
// submitted, and the same bytes are submitted until they are logged: a message that
// is signed twice could be logged twice. It is signed anew only when the bytes
// cannot be logged any more: their last height has passed, or their number has gone
// to another transaction.
type Submitter struct {
	Service Service
	Outbox  Outbox
	Actor   state.OID
	Signers []crypto.Signer // those of its keys that it may use; two for a hybrid actor
	Schema  state.OID       // of the batches
	// Readings says that it submits the roots of readings, and nothing else; otherwise it
	// leaves them to another actor: a gateway of devices.
	Readings bool

	// Policy and Notaries say what proofs and receipts are kept: those that they
	// believe. nil: none is checked but for what follows from the proof itself.
	Policy   *tlog.Policy
	Notaries []crypto.PublicKey

	Now  func() time.Time
	Rand io.Reader // nil: crypto/rand

	draining sync.Mutex // held for a round: what is in flight is one round's

	mu      sync.Mutex // guards what follows
	trouble Trouble
}

// Trouble is what keeps a submitter from its work. What is issued and verified goes
// on.
type Trouble struct {
	Reason string    // empty: nothing does
	Since  time.Time // the first round of this trouble
	Rounds uint64    // that failed since the start, of this trouble and of earlier ones
}

// Trouble returns what keeps it from its work.
func (s *Submitter) Trouble() Trouble {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.trouble
}

func (s *Submitter) note(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.trouble.Reason, s.trouble.Since = "", time.Time{}
		return
	}
	if s.trouble.Reason == "" {
		s.trouble.Since = s.Now()
	}
	s.trouble.Reason = format.Reason(err, "notary-not-reached")
	s.trouble.Rounds++
}

// Drain makes one round: what it finds to do without waiting for a block. It reports
// whether something is on its way, so that the next round should come soon. An error
// says why nothing moved; everything is tried again in the next round.
func (s *Submitter) Drain(ctx context.Context) (busy bool, err error) {
	s.draining.Lock()
	defer s.draining.Unlock()
	busy, err = s.round(ctx)
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	s.note(err)
	return busy, err
}

func (s *Submitter) round(ctx context.Context) (busy bool, err error) {
	// Step 1: what there is to do. Where there is nothing, nobody is asked.
	entries, err := s.pending(ctx)
	if err != nil || len(entries) == 0 {
		return false, err
	}

	// Step 2: how the ledger stands. It is read before the standing of any transaction:
	// a number that is used by now, and by none of ours, is another's.
	actor, err := s.Service.Actor(ctx, s.Actor)
	if err != nil {
		return false, fmt.Errorf("ledger: reading the actor: %w", err)
	}

	// Step 3: what became of what was submitted, refused or not.
	var errs []error
	for _, e := range entries {
		if e.Stage == Submitted {
			if err := s.settle(ctx, e, actor); err != nil {
				return false, err
			}
		}
	}

	// Step 4: the proofs of what is logged. While one is under no checkpoint yet, those
	// that came into the log after it are not either; one whose proof is wrong keeps
	// nobody else from his.
	for _, e := range entries {
		if e.Stage != Logged {
			continue
		}
		done, err := s.prove(ctx, e)
		busy = busy || !done
		if err != nil {
			errs = append(errs, err)
		}
		if wrong := new(format.Defect); !done && !errors.As(err, wrong) {
			break
		}
	}

	// Step 5: the next one, or the one on its way again.
	for _, e := range entries {
		if e.Stage != Waiting && e.Stage != Submitted || s.Now().Before(e.Retry) {
			continue
		}
		goes, err := s.submit(ctx, e, actor)
		if err != nil {
			return false, errors.Join(append(errs, err)...)
		}
		if goes {
			return true, errors.Join(errs...)
		}
		// Refused for a reason of its own: what comes after it need not wait.
	}
	return busy, errors.Join(errs...)
}

func (s *Submitter) pending(ctx context.Context) (entries []*Entry, err error) {
	for after := int64(0); ; {
		page, err := s.Outbox.Pending(ctx, after, 500)
		if err != nil {
			return nil, fmt.Errorf("ledger: outbox: %w", err)
		}
		for i := range page {
			if (page[i].Kind == "telemetry.anchor") == s.Readings {
				entries = append(entries, &page[i])
			}
		}
		if len(page) < 500 {
			break
		}
		after = page[len(page)-1].Number
	}
	// What is on its way comes first: its number is in use.
	slices.SortStableFunc(entries, func(a, b *Entry) int { return -cmp.Compare(flies(a), flies(b)) })
	return entries, nil
}

func flies(e *Entry) int {
	if e.Stage == Submitted && e.Reason == "" {
		return 1
	}
	return 0
}

// settle finds out what became of a transaction that was submitted. One that can no
// longer be logged waits again, to be signed anew.
func (s *Submitter) settle(ctx context.Context, e *Entry, actor *Actor) error {
	standing, err := s.Service.Standing(ctx, e.Leaf())
	if err != nil {
		return fmt.Errorf("ledger: %s: %w", e.Key, err)
	}
	if standing.Logged {
		e.Stage, e.Reason, e.Retry, e.Index = Logged, "", time.Time{}, standing.Index
		return s.keep(ctx, e)
	}
	tx, err := state.ParseTx(e.Message)
	if err != nil {
		return fmt.Errorf("ledger: %s: the message that is kept: %w", e.Key, err)
	}
	switch {
	case tx.Chain != actor.Chain: // the federation has begun anew
	case standing.Height < actor.Height:
		return nil // a replica that is behind the one that told of the actor: it cannot tell
	case standing.Height >= tx.ValidUntil:
	case actor.Seq >= tx.Seq:
	default:
		return nil
	}
	e.Stage, e.Message = Waiting, nil
	return s.keep(ctx, e)
}

// submit signs a transaction, where it is not signed yet, and hands it in. It reports
// whether the transaction is on its way. An error is of the actor or of the notary,
// and stops everything that the actor has.
func (s *Submitter) submit(ctx context.Context, e *Entry, actor *Actor) (goes bool, err error) {
	if e.Message == nil {
		if err := s.sign(e, actor); err != nil {
			return false, fmt.Errorf("ledger: %s: %w", e.Key, err)
		}
		// Durable before it goes out: what is submitted and forgotten is submitted twice.
		e.Stage, e.Reason, e.Retry = Submitted, "", time.Time{}
		if err := s.keep(ctx, e); err != nil {
			return false, err
		}
	}
	err = s.Service.Submit(ctx, e.Message)
	var refused format.Defect
	switch {
	case err == nil:
		if e.Reason != "" {
			e.Reason, e.Retry = "", time.Time{}
			return true, s.keep(ctx, e)
		}
		return true, nil
	case !errors.As(err, &refused):
		return false, fmt.Errorf("ledger: %s: submitting: %w", e.Key, err)
	}

	before := *e
	switch refusals[refused] {
	case ofTheNotary:
		return false, fmt.Errorf("ledger: %s: submitting: %w", e.Key, err)
	case itIsDone:
		// It is logged, or its number is another's: the next round finds out.
		return true, nil
	case ofTheKey:
		// A key does not come back, so these bytes cannot be logged.
		e.Stage, e.Message, e.Reason = Waiting, nil, string(refused)
	case ofTheActor:
		e.Reason = string(refused)
	case forGood:
		e.Stage, e.Reason = Refused, string(refused)
	case ofTheEntry:
		e.Reason, e.Retry = string(refused), s.Now().Add(retryPause)
	}
	if e.Reason != before.Reason || e.Stage != before.Stage || !e.Retry.Equal(before.Retry) {
		if err := s.keep(ctx, e); err != nil {
			return false, err
		}
	}
	switch refusals[refused] {
	case ofTheKey, ofTheActor:
		return false, fmt.Errorf("ledger: %s: %w", e.Key, err)
	}
	return false, nil
}

// scope is what a refusal is about.
type scope int

const (
	ofTheNotary scope = iota // any other word: it was not the ledger that refused
	ofTheEntry               // and may pass: it is tried again later
	forGood                  // of the entry, and does not pass
	ofTheActor               // whatever this actor submits is refused
	ofTheKey                 // the same, until it is signed with another key
	itIsDone                 // the number was used
)

var refusals = map[format.Defect]scope{
	state.ErrSeqUsed: itIsDone, state.ErrExpired: itIsDone,

	state.ErrNotAuthorised: ofTheEntry, state.ErrSizeClass: ofTheEntry, state.ErrPrevious: ofTheEntry,
	state.ErrPolicySchema: ofTheEntry, state.ErrPolicyClass: ofTheEntry, state.ErrPolicyRate: ofTheEntry,

	state.ErrChain: ofTheActor, state.ErrTooFarAhead: ofTheActor, state.ErrSeqGap: ofTheActor,
	state.ErrActorUnknown: ofTheActor, state.ErrActorSuspended: ofTheActor, state.ErrActorRevoked: ofTheActor,
	state.ErrActorPeriod: ofTheActor, state.ErrSponsor: ofTheActor,
	state.ErrNeedTwo: ofTheActor, state.ErrStraySignature: ofTheActor, state.ErrQuota: ofTheActor, state.ErrBlockFull: ofTheActor,

	state.ErrKeyUnknown: ofTheKey, state.ErrKeyNotInForce: ofTheKey,

	state.ErrTooLarge: forGood, state.ErrForm: forGood, state.ErrRange: forGood, state.ErrOID: forGood, state.ErrKind: forGood,
	state.ErrNotDeterministic: forGood, state.ErrNotIssuer: forGood, state.ErrRepeated: forGood, state.ErrOlder: forGood, state.ErrPeriod: forGood,
}

// sign makes the transaction of an entry. What follows on what the actor wrote last
// comes from the ledger: a store that was restored knows less.
func (s *Submitter) sign(e *Entry, actor *Actor) error {
	tx := &state.Tx{Chain: actor.Chain, Actor: s.Actor, Seq: actor.Seq + 1, ValidUntil: actor.Height + actor.MaxLife}
	switch e.Kind {
	case "fp.batch":
		tx.Body = &state.Batch{
			Root: e.Root, Class: uint64(bits.TrailingZeros64(e.Size)), Schema: s.Schema, Issuer: s.Actor,
			Epoch: actor.Epoch + 1, Previous: actor.Batch,
		}
	case "status.anchor":
		// The second in which it was put is more than that of the one before.
		tx.Body = &state.StatusAnchor{List: e.List, Epoch: uint64(e.Put.Unix()), Digest: e.Digest, Bytes: e.Size, ValidUntil: uint64(e.Until.Unix())}
	case "telemetry.anchor":
		tx.Body = &state.TelemetryAnchor{Device: e.Device, From: uint64(e.Since.Unix()), Until: uint64(e.Until.Unix()), Root: e.Root, Count: e.Size, Gap: e.Gap}
	default:
		return state.ErrKind
	}
	signers, err := s.signers(actor)
	if err != nil {
		return err
	}
	e.Message, err = tx.Sign(s.random(), signers...)
	return err
}

func (s *Submitter) random() io.Reader {
	if s.Rand != nil {
		return s.Rand
	}
	return rand.Reader
}

// signers are the keys that the ledger wants: one, or of a hybrid actor one of
// ML-DSA-65 and one of another algorithm.
func (s *Submitter) signers(actor *Actor) ([]crypto.Signer, error) {
	var safe, classical crypto.Signer
	for _, k := range s.Signers {
		kid, err := cose.Thumbprint(k.Public())
		if err != nil {
			return nil, err
		}
		if !slices.Contains(actor.Keys, tlog.Hash(kid)) {
			continue
		}
		if cose.SignerAlgorithm(k.Public()) == cose.MLDSA65 {
			safe = cmp.Or(safe, k)
		} else {
			classical = cmp.Or(classical, k)
		}
	}
	switch {
	case safe == nil && classical == nil:
		return nil, ErrSigner
	case actor.Hybrid && (safe == nil || classical == nil):
		return nil, state.ErrNeedTwo
	case actor.Hybrid:
		return []crypto.Signer{classical, safe}, nil
	}
	return []crypto.Signer{cmp.Or(classical, safe)}, nil
}

// prove fetches the proof of an entry that is logged, and the receipt of a batch, and
// keeps them. It reports whether it has all; an error says that what came is wrong, or
// that nothing did.
func (s *Submitter) prove(ctx context.Context, e *Entry) (done bool, err error) {
	if e.Proof == nil {
		data, err := s.Service.Prove(ctx, e.Leaf())
		if later(err) {
			return false, nil
		}
		if err == nil {
			err = s.takeProof(e, data)
		}
		if err != nil {
			return false, fmt.Errorf("ledger: %s: proof: %w", e.Key, err)
		}
		if err := s.keep(ctx, e); err != nil {
			return false, err
		}
	}
	if e.Kind == "fp.batch" && e.Receipt == nil {
		by, err := s.Service.Receipt(ctx, e.Root)
		if later(err) {
			return false, nil
		}
		if err == nil {
			err = s.known(by, e.Root)
		}
		if err != nil {
			return false, fmt.Errorf("ledger: %s: receipt: %w", e.Key, err)
		}
		e.Receipt = by.Encode()
	}
	e.Stage = Kept
	return true, s.keep(ctx, e)
}

// later says that the notary has not come so far.
func later(err error) bool { return errors.Is(err, ErrNotLogged) || errors.Is(err, ErrNotCosigned) }

// takeProof takes a proof that is one of the entry. The entry's message becomes its
// extra data, so that the file shows by itself what it proves.
func (s *Submitter) takeProof(e *Entry, data []byte) error {
	p, err := tlog.ParseLogProof(data)
	if err != nil {
		return err
	}
	if s.Policy != nil {
		c, err := p.Verify(e.Leaf(), s.Policy)
		if err != nil {
			return err
		}
		e.Cosigned = Median(c)
	} else {
		note, err := tlog.ParseNote(p.Checkpoint)
		if err != nil {
			return err
		}
		c, err := tlog.ParseCheckpoint(note.Text)
		if err != nil {
			return err
		}
		if err := tlog.VerifyInclusion(e.Leaf(), p.Index, c.Size, p.Path, c.Root); err != nil {
			return err
		}
	}
	if p.Index != e.Index {
		return fmt.Errorf("leaf %d instead of %d: %w", p.Index, e.Index, ErrOtherProof)
	}
	p.Extra = e.Message
	e.Proof, err = p.Encode()
	return err
}

// known refuses a signature over a root that no notary of ours has made.
func (s *Submitter) known(by *tlog.RootSignature, root tlog.Hash) error {
	if s.Notaries == nil {
		return nil
	}
	for _, pub := range s.Notaries {
		if err := by.Verify(pub, root); !errors.Is(err, tlog.ErrReceiptKey) {
			return err
		}
	}
	return ErrOtherNotary
}

func (s *Submitter) keep(ctx context.Context, e *Entry) error {
	if err := s.Outbox.Keep(ctx, e); err != nil {
		return fmt.Errorf("ledger: %s: outbox: %w", e.Key, err)
	}
	return nil
}
