package notary

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"ampoule/format"
	"ampoule/ledger/tlog"
)

// The defects of what a cosigner is asked.
const (
	ErrRequest      = format.Defect("malformed-add-checkpoint")
	ErrOrigin       = format.Defect("unknown-origin")
	ErrNotByLog     = format.Defect("not-signed-by-that-log")
	ErrOtherSize    = format.Defect("another-size-was-cosigned")
	ErrSplitView    = format.Defect("split-view")         // two roots for one size, or trees of which neither continues the other
	ErrContinuation = format.Defect("not-a-continuation") // of what was cosigned last, by the proof that came
	ErrRollback     = format.Defect("rolled-back")        // smaller than what was seen
	ErrBehind       = format.Defect("log-not-that-long")  // this copy has not come so far
	ErrTiles        = format.Defect("tiles-of-other-log") // they do not have the root that the ledger has
)

// Seen keeps what a cosigner has signed last of each log: without it, a machine
// that was set back would sign a second history.
type Seen interface {
	// Last returns the last checkpoint of an origin; the empty tree where there is none.
	Last(origin string) (Last, error)
	// Put must be durable when it returns.
	Put(origin string, last Last) error
}

// Last is a tree that was cosigned.
type Last struct {
	Size uint64
	Root tlog.Hash
}

// A Cosigner signs checkpoints of logs, each time one that continues what it signed
// before, and keeps that before the signature leaves (C2SP tlog-witness and
// tlog-cosignature).
//
// A witness outside a federation has nothing but proofs of consistency. A node of
// it has the log, and signs what is in its own only: see Own.
type Cosigner struct {
	Signers []*tlog.NoteSigner // of the types that make cosignatures
	Logs    []*tlog.Key        // whose checkpoints are signed; their names are the origins
	Seen    Seen
	// Own returns the root that the log has here at a size. It waits for a while if it
	// is not that long, and returns ErrBehind then. Nil: there is no copy here.
	Own    func(ctx context.Context, size uint64) (tlog.Hash, error)
	Now    func() time.Time
	Random io.Reader
	// Alarm hears of checkpoints that a log has signed and that contradict what was
	// signed before; nil: nobody does.
	Alarm func(Alarm)

	mu sync.Mutex // from looking at what was seen to its being durable
}

// Answer is what a witness answers.
type Answer struct {
	Status int    // of HTTP
	Type   string // of the body; empty: text
	Body   []byte
}

// The statuses of tlog-witness.
const (
	StatusOK            = 200
	StatusBadRequest    = 400
	StatusForbidden     = 403
	StatusNotFound      = 404
	StatusConflict      = 409
	StatusUnprocessable = 422
	StatusUnavailable   = 503
)

// SizeType is the media type of the answer that tells the size that was cosigned
// last.
const SizeType = "text/x.tlog.size"

// MaxRequest bounds the body of a request: 63 hashes and a checkpoint.
const MaxRequest = tlog.MaxNote + 64*64

const maxProof = 63

// Request is what a witness is asked by POST to add-checkpoint:
//
//	old <size that was cosigned last>
//	<base64 of a hash>...                 proof of consistency, none from 0
//
//	<checkpoint, signed>
type Request struct {
	Old        uint64
	Proof      []tlog.Hash
	Checkpoint []byte
}

// Encode writes the body of a request.
func (r *Request) Encode() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "old %d\n", r.Old)
	for _, h := range r.Proof {
		b.WriteString(base64.StdEncoding.EncodeToString(h[:]))
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
	b.Write(r.Checkpoint)
	return b.Bytes()
}

// ParseRequest reads the body of a request. The checkpoint is left as it is.
func ParseRequest(body []byte) (*Request, error) {
	bad := func(what string) (*Request, error) {
		return nil, fmt.Errorf("add-checkpoint: %s: %w", what, ErrRequest)
	}
	if len(body) > MaxRequest {
		return bad("too long")
	}
	head, checkpoint, ok := strings.Cut(string(body), "\n\n")
	if !ok || checkpoint == "" {
		return bad("no checkpoint")
	}
	lines := strings.Split(head, "\n")
	r := &Request{Checkpoint: []byte(checkpoint)}
	size, ok := strings.CutPrefix(lines[0], "old ")
	old, err := strconv.ParseUint(size, 10, 63)
	if !ok || err != nil || strconv.FormatUint(old, 10) != size {
		return bad("old size")
	}
	r.Old = old
	if len(lines)-1 > maxProof {
		return bad("more than 63 hashes")
	}
	for _, line := range lines[1:] {
		h, err := base64.StdEncoding.Strict().DecodeString(line)
		if err != nil || len(h) != tlog.HashSize || strings.ContainsRune(line, '\r') {
			return bad("hash")
		}
		r.Proof = append(r.Proof, tlog.Hash(h))
	}
	return r, nil
}

// AddCheckpoint answers a request. An error says that it could not be decided; what
// is refused is an answer, and why stands in its body.
func (c *Cosigner) AddCheckpoint(ctx context.Context, body []byte) (*Answer, error) {
	signatures, err := c.add(ctx, body)
	status := StatusOK
	var other otherSize
	switch {
	case err == nil:
		return &Answer{StatusOK, "", signatures}, nil
	case errors.As(err, &other):
		return &Answer{StatusConflict, SizeType, fmt.Appendf(nil, "%d\n", uint64(other))}, nil
	case errors.Is(err, ErrOrigin):
		status = StatusNotFound
	case errors.Is(err, ErrNotByLog):
		status = StatusForbidden
	case errors.Is(err, ErrSplitView), errors.Is(err, ErrContinuation):
		status = StatusUnprocessable
	case errors.Is(err, ErrBehind):
		status = StatusUnavailable
	case errors.Is(err, ErrRequest):
		status = StatusBadRequest
	default:
		return nil, err
	}
	return &Answer{status, "", []byte(format.Reason(err, "refused") + "\n")}, nil
}

// otherSize is the size that was cosigned last, which is not the one that the
// request goes from.
type otherSize uint64

func (o otherSize) Error() string { return string(ErrOtherSize) }

func (o otherSize) Is(err error) bool { return err == ErrOtherSize }

func (c *Cosigner) add(ctx context.Context, body []byte) ([]byte, error) {
	r, err := ParseRequest(body)
	if err != nil {
		return nil, err
	}
	n, err := tlog.ParseNote(r.Checkpoint)
	if err != nil {
		return nil, fmt.Errorf("%v: %w", err, ErrRequest)
	}
	cp, err := tlog.ParseCheckpoint(n.Text)
	if err != nil {
		return nil, fmt.Errorf("%v: %w", err, ErrRequest)
	}
	// "If the checkpoint origin is unknown, the witness MUST respond with a 404."
	var keys []*tlog.Key
	for _, k := range c.Logs {
		if k.Name == cp.Origin {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return nil, ErrOrigin
	}
	if _, err := n.Verify(keys...); err != nil {
		return nil, fmt.Errorf("%v: %w", err, ErrNotByLog)
	}
	if r.Old > cp.Size {
		return nil, fmt.Errorf("add-checkpoint: from %d to %d: %w", r.Old, cp.Size, ErrRequest)
	}
	return c.cosign(ctx, n, cp, func(last Last) error {
		if r.Old != last.Size {
			return otherSize(last.Size)
		}
		if r.Old == cp.Size && last.Root != cp.Root {
			// "If they don't match, the witness MUST respond with a 409."
			c.alarm(SplitView, "two roots for one size", r.Checkpoint)
			return otherSize(last.Size)
		}
		if err := tlog.VerifyConsistency(last.Size, cp.Size, last.Root, cp.Root, r.Proof); err != nil {
			// Anybody can send a checkpoint with a proof that is none: that says nothing of
			// the log.
			return fmt.Errorf("%v: %w", err, ErrContinuation)
		}
		return nil
	})
}

func (c *Cosigner) alarm(name, detail string, checkpoint []byte) {
	if c.Alarm != nil {
		c.Alarm(Alarm{Name: name, Detail: detail, Evidence: [][]byte{checkpoint}})
	}
}

// cosign makes the lines with the signatures of a checkpoint that continues the
// last one.
func (c *Cosigner) cosign(ctx context.Context, n *tlog.Note, cp *tlog.Checkpoint, continues func(Last) error) ([]byte, error) {
	// Before the lock, since it may wait for the log to grow.
	if c.Own != nil {
		root, err := c.Own(ctx, cp.Size)
		if err != nil {
			return nil, err
		}
		if root != cp.Root {
			c.alarm(SplitView, "another root than the log has here", n.Encode())
			return nil, fmt.Errorf("size %d has another root here: %w", cp.Size, ErrSplitView)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	last, err := c.Seen.Last(cp.Origin)
	if err != nil {
		return nil, err
	}
	if err := continues(last); err != nil {
		return nil, err
	}
	if c.Own != nil && last.Size > 0 {
		root, err := c.Own(ctx, last.Size)
		if err != nil {
			return nil, err
		}
		if root != last.Root {
			return nil, fmt.Errorf("what was cosigned at %d is not in the log that is here: %w", last.Size, ErrSplitView)
		}
	}
	// "The witness MUST persist the new checkpoint before responding."
	if next := (Last{cp.Size, cp.Root}); next != last {
		if err := c.Seen.Put(cp.Origin, next); err != nil {
			return nil, err
		}
	}
	bare := &tlog.Note{Text: n.Text}
	for _, s := range c.Signers {
		if err := s.Sign(c.Random, bare, c.Now().Unix()); err != nil {
			return nil, err
		}
	}
	return bytes.TrimPrefix(bare.Encode(), []byte(n.Text+"\n")), nil
}
