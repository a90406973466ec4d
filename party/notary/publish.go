package notary

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"ampoule/format"
	"ampoule/ledger/state"
	"ampoule/ledger/tlog"
)

// Remote is a witness that is asked to cosign, by C2SP tlog-witness.
type Remote interface {
	Name() string // for the log of this program
	AddCheckpoint(ctx context.Context, body []byte) (*Answer, error)
}

// Shelf is where the newest checkpoint is published.
type Shelf interface {
	// Checkpoint returns it; nil: there is none.
	Checkpoint() ([]byte, error)
	// Publish puts another in its place, whole and durable.
	Publish(note []byte) error
}

// Config is what a notary works with.
type Config struct {
	Replica   Replica
	Log       *tlog.NoteSigner // Ed25519; its name is the origin, oid/{federation}.1.1
	Cosigner  *Cosigner        // of this node; nil: it signs as the log only. Own is set by New
	Receipts  crypto.Signer    // ES256; signs roots of batches. Nil: it makes no receipts
	Policy    *tlog.Policy     // what is published satisfies it
	Witnesses []Remote
	Shelf     Shelf
	Now       func() time.Time
	Random    io.Reader
	Trace     *slog.Logger // nil: nobody is told
	// Patience is how long witnesses have to answer. Zero: five seconds.
	Patience time.Duration
	// Refresh is after which time a checkpoint is signed again although nothing was
	// written, so that silence has another meaning. Zero: ten minutes.
	Refresh time.Duration
}

// Notary keeps the log for one member. It is a [Service].
type Notary struct {
	Config
	federation state.OID
	keys       []*tlog.Key // of the policy's witnesses

	publishing sync.Mutex
	published  atomic.Pointer[publishedCheckpoint]
	sizes      map[string]uint64 // that a witness has cosigned, by its name; owned by publishing

	batches batchIndex
	epochs  epochs
}

type publishedCheckpoint struct {
	note     []byte
	cosigned *tlog.Cosigned
	at       time.Time // when it was signed here
}

// ErrConfig says that a notary lacks something, or that its parts do not fit.
const ErrConfig = format.Defect("notary-configuration")

const (
	defaultPatience = 5 * time.Second
	defaultRefresh  = 10 * time.Minute
	// grace is how long the other witnesses have once there are enough.
	grace = 500 * time.Millisecond
	// rounds is how often a checkpoint is made anew in one call, where a witness has
	// signed a longer one of another node meanwhile.
	rounds = 4
)

// New takes up the work where it was left: what was published is published.
func New(c Config) (*Notary, error) {
	if c.Replica == nil || c.Log == nil || c.Policy == nil || c.Shelf == nil || c.Now == nil || c.Random == nil {
		return nil, fmt.Errorf("notary: something is missing: %w", ErrConfig)
	}
	if c.Log.Key.Type != tlog.Ed25519Note || !slices.ContainsFunc(c.Policy.Logs, func(l tlog.PolicyLog) bool { return l.Key.String() == c.Log.Key.String() }) {
		return nil, fmt.Errorf("notary: the policy does not name the key of this log: %w", ErrConfig)
	}
	federation, err := federationOf(c.Log.Key.Name)
	if err != nil {
		return nil, err
	}
	if c.Patience == 0 {
		c.Patience = defaultPatience
	}
	if c.Refresh == 0 {
		c.Refresh = defaultRefresh
	}
	if c.Trace == nil {
		c.Trace = slog.New(slog.DiscardHandler)
	}
	n := &Notary{Config: c, federation: federation, sizes: map[string]uint64{}}
	for _, w := range c.Policy.Witnesses {
		n.keys = append(n.keys, w.Key)
	}
	if c.Cosigner != nil {
		c.Cosigner.Own = n.rootAt
	}
	note, err := c.Shelf.Checkpoint()
	if err != nil || note == nil {
		return n, err
	}
	// Under a policy that was changed it may not suffice any more. It stays published,
	// and nothing is proven by it.
	cosigned, err := c.Policy.Open(note)
	if cosigned == nil || cosigned.Checkpoint.Origin != c.Log.Key.Name {
		return nil, fmt.Errorf("notary: the checkpoint that is published is of another log, or damaged: %w", errors.Join(err, ErrConfig))
	}
	if err == nil {
		n.published.Store(&publishedCheckpoint{note: note, cosigned: cosigned})
	}
	return n, nil
}

// logArcs are those of the log, below the arc of the federation.
const (
	logArcs   = ".1.1"
	oidPrefix = "oid/" // of the names of logs and cosigners that are identifiers
)

// federationOf reads oid/{federation}.1.1.
func federationOf(origin string) (state.OID, error) {
	dotted, ok := strings.CutPrefix(origin, oidPrefix)
	federation, cut := strings.CutSuffix(dotted, logArcs)
	if !ok || !cut {
		return "", fmt.Errorf("origin %q is not oid/{federation}.1.1: %w", origin, ErrConfig)
	}
	return state.ParseOID(federation)
}

// Origin is the name of the log.
func (n *Notary) Origin() string { return n.Log.Key.Name }

// Checkpoint returns the checkpoint that is published, and what the policy says of
// it; nil where there is none yet.
func (n *Notary) Checkpoint() ([]byte, *tlog.Cosigned) {
	if p := n.published.Load(); p != nil {
		return p.note, p.cosigned
	}
	return nil, nil
}

// Publish makes the checkpoint of the log as it stands, has it cosigned, and
// publishes it when the policy is satisfied. Where nothing was written since the
// last, it does nothing, or signs it again where that is long ago. It is called when
// the replica has grown, and again after a while when it failed: nothing but the
// signatures that were asked for is lost.
func (n *Notary) Publish(ctx context.Context) error {
	n.publishing.Lock()
	defer n.publishing.Unlock()
	var err error
	for range rounds {
		var ahead uint64
		if ahead, err = n.publish(ctx); ahead == 0 {
			return err
		}
		// A witness has signed a longer log of another node. It is not asked to go back:
		// this node follows until it is as long.
		if _, errLong := n.rootAt(ctx, ahead); errLong != nil {
			return errLong
		}
	}
	return err
}

// publish is one round. ahead is the size that a witness is ahead at, where that
// kept it from being published.
func (n *Notary) publish(ctx context.Context) (ahead uint64, err error) {
	head := n.Replica.Head()
	last := n.published.Load()
	// Step 1: what is published stays true.
	if last != nil {
		cp := last.cosigned.Checkpoint
		switch {
		case head.Size < cp.Size && head.CatchingUp:
			return 0, nil
		case head.Size < cp.Size:
			return 0, fmt.Errorf("the log has %d leaves, and a checkpoint of %d is published: %w", head.Size, cp.Size, ErrRollback)
		case head.Size == cp.Size && head.Root == cp.Root && !last.at.IsZero() && n.Now().Sub(last.at) < n.Refresh:
			return 0, nil
		}
		root, err := n.rootAt(ctx, cp.Size)
		if err != nil {
			return 0, err
		}
		if root != cp.Root {
			return 0, fmt.Errorf("the log has another root at %d than was published: %w", cp.Size, ErrSplitView)
		}
	}
	// Step 2: the files are those of the ledger.
	root, err := tlog.TreeRoot(head.Size, n.nodes(head.Size))
	if err != nil {
		return 0, fmt.Errorf("tiles of %d leaves: %v: %w", head.Size, err, ErrTiles)
	}
	if root != head.Root {
		return 0, fmt.Errorf("tiles of %d leaves: %w", head.Size, ErrTiles)
	}
	n.epochs.look(n.Replica)
	// Step 3: signed as the log, and by the cosigner of this node.
	cp := &tlog.Checkpoint{Origin: n.Origin(), Size: head.Size, Root: head.Root}
	note, err := cp.Note()
	if err != nil {
		return 0, err
	}
	now := n.Now()
	if err := n.Log.Sign(n.Random, note, 0); err != nil {
		return 0, err
	}
	request := note.Encode() // what others are shown is the log's word alone
	if n.Cosigner != nil {
		lines, err := n.Cosigner.cosign(ctx, note, cp, func(l Last) error {
			if l.Size > cp.Size {
				return otherSize(l.Size)
			}
			return nil // Own has compared the roots
		})
		var other otherSize
		switch {
		case errors.As(err, &other) && !head.CatchingUp:
			// Since the head was read, it has cosigned a longer one for another node.
			return uint64(other), fmt.Errorf("this node has cosigned %d leaves, and the log has %d: %w", uint64(other), cp.Size, ErrRollback)
		case err != nil:
			return 0, err
		}
		if err := n.take(note, lines); err != nil {
			return 0, err
		}
	}
	// Step 4: by witnesses, until there are enough and the others had their time.
	ahead = n.gather(ctx, note, cp, request)
	// Step 5: whole, in the place of the last.
	data := note.Encode()
	cosigned, err := n.Policy.Open(data)
	if err != nil {
		return ahead, err
	}
	if err := n.Shelf.Publish(data); err != nil {
		return 0, err
	}
	n.published.Store(&publishedCheckpoint{data, cosigned, now})
	n.Trace.Info("checkpoint published", "size", cp.Size, "count", len(cosigned.Witnesses))
	return 0, nil
}

// take adds signature lines of known cosigners to a note, each once.
func (n *Notary) take(note *tlog.Note, lines []byte) error {
	with, err := tlog.ParseNote(append([]byte(note.Text+"\n"), lines...))
	if err != nil {
		return err
	}
	taken := false
	for _, s := range with.Signatures {
		one := &tlog.Note{Text: note.Text, Signatures: []tlog.NoteSignature{s}}
		if _, err := one.Verify(n.keys...); err != nil {
			continue // "The client MUST ignore any cosignatures from unknown keys."
		}
		taken = true
		if !slices.ContainsFunc(note.Signatures, func(o tlog.NoteSignature) bool { return o.Name == s.Name && o.ID == s.ID }) {
			note.Signatures = append(note.Signatures, s)
		}
	}
	if !taken {
		return tlog.ErrNoSignature
	}
	return nil
}

// gather asks the witnesses, and adds what they sign.
func (n *Notary) gather(ctx context.Context, note *tlog.Note, cp *tlog.Checkpoint, request []byte) (ahead uint64) {
	ctx, cancel := context.WithTimeout(ctx, n.Patience)
	defer cancel()
	type reply struct {
		from  Remote
		size  uint64
		lines []byte
		err   error
	}
	replies := make(chan reply, len(n.Witnesses)) // nobody waits to be heard
	for _, w := range n.Witnesses {
		old := n.sizes[w.Name()]
		go func() {
			size, lines, err := n.ask(ctx, w, old, cp, request)
			replies <- reply{w, size, lines, err}
		}()
	}
	enough := (<-chan time.Time)(nil)
	for range n.Witnesses {
		if enough == nil {
			if _, err := n.Policy.Open(note.Encode()); err == nil {
				enough = time.After(grace)
			}
		}
		var r reply
		select {
		case r = <-replies:
		case <-enough:
			return ahead
		case <-ctx.Done():
			return ahead
		}
		n.sizes[r.from.Name()] = r.size
		if r.err == nil {
			r.err = n.take(note, r.lines)
		}
		var other otherSize
		if errors.As(r.err, &other) {
			ahead = max(ahead, uint64(other))
		}
		if r.err != nil {
			n.Trace.Warn("a witness has not cosigned", "address", r.from.Name(), "size", cp.Size, "reason", format.Reason(r.err, "unreachable"), "error", r.err)
		}
	}
	return ahead
}

// ErrWitness says that a witness has refused. Why is its own word.
const ErrWitness = format.Defect("refused-by-witness")

// ask asks one witness, and again from the size that it has cosigned. It returns
// that size.
func (n *Notary) ask(ctx context.Context, w Remote, old uint64, cp *tlog.Checkpoint, checkpoint []byte) (uint64, []byte, error) {
	// What it said last may be longer than this; what it says now counts.
	old = min(old, cp.Size)
	for range 3 {
		if old > cp.Size {
			return old, nil, otherSize(old)
		}
		proof, err := tlog.ProveConsistency(old, cp.Size, n.nodes(n.Replica.Head().Size))
		if err != nil {
			return old, nil, err
		}
		a, err := w.AddCheckpoint(ctx, (&Request{old, proof, checkpoint}).Encode())
		if err != nil {
			return old, nil, err
		}
		switch a.Status {
		case StatusOK:
			return cp.Size, a.Body, nil
		case StatusConflict:
			size, err := strconv.ParseUint(strings.TrimSuffix(string(a.Body), "\n"), 10, 63)
			if err != nil {
				return old, nil, fmt.Errorf("conflict without a size: %w", ErrWitness)
			}
			if size == old {
				return old, nil, fmt.Errorf("it has cosigned another root at %d: %w", size, ErrSplitView)
			}
			old = size
		default:
			return old, nil, fmt.Errorf("status %d, %.40q: %w", a.Status, bytes.TrimSpace(a.Body), ErrWitness)
		}
	}
	return old, nil, fmt.Errorf("its size changes with each answer: %w", ErrWitness)
}

// nodes are those of the log as it stands, at a size of its head. A smaller tree has
// no others: its partial tiles, which may be gone, are not asked for.
func (n *Notary) nodes(head uint64) *tlog.TileNodes {
	return &tlog.TileNodes{Size: head, Read: n.files().Tile}
}

func (n *Notary) files() tlog.Files { return tlog.Files{FS: n.Replica.Files()} }

// rootBelow is the root at a smaller size, from the files: what they have made of
// it must be what the ledger's own root continues.
func (n *Notary) rootBelow(size uint64) (tlog.Hash, error) {
	head := n.Replica.Head()
	nodes := n.nodes(head.Size)
	root, err := tlog.TreeRoot(size, nodes)
	if err == nil && size > 0 {
		var path []tlog.Hash
		if path, err = tlog.ProveConsistency(size, head.Size, nodes); err == nil {
			err = tlog.VerifyConsistency(size, head.Size, root, head.Root, path)
		}
	}
	if err != nil {
		return tlog.Hash{}, fmt.Errorf("tiles of %d leaves: %v: %w", head.Size, err, ErrTiles)
	}
	return root, nil
}

// rootAt is the root of the log at a size, for which it waits within its patience.
func (n *Notary) rootAt(ctx context.Context, size uint64) (tlog.Hash, error) {
	ctx, cancel := context.WithTimeout(ctx, n.Patience)
	defer cancel()
	for {
		grown := n.Replica.Grown() // before the head: nothing is missed between
		head := n.Replica.Head()
		if size == head.Size {
			return head.Root, nil
		}
		if size < head.Size {
			return n.rootBelow(size)
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return tlog.Hash{}, fmt.Errorf("the log has %d leaves, and not %d: %w", head.Size, size, ErrBehind)
		}
	}
}
