// Package notary keeps the log of a federation, for one of its members: it takes
// transactions, lets a replica of the ledger put them in order, publishes what was
// ordered, signs it, has others sign it, and proves it.
//
// Nothing here decides what may be written: those are the rules of ledger/state,
// which every replica holds by itself. Nothing here is asked when a certificate is
// issued or verified: proofs follow, and an outage delays them.
package notary

import (
	"context"
	"io/fs"
	"time"

	"ampoule/format"
	"ampoule/ledger/state"
	"ampoule/ledger/tlog"
)

// Replica is one copy of the ledger, which follows the blocks of the federation and
// may vote on them. internal/comet is one.
type Replica interface {
	// Submit hands in a transaction. An error that is a [format.Defect] of
	// ledger/state says that it was refused and why; another one, that it could not be
	// handed in. Nil says that it waits for a block, no more: what waits is lost when
	// the process ends. Whoever needs it logged submits it until Find has it. The bytes
	// are the caller's again when it returns.
	Submit(ctx context.Context, tx []byte) error

	// Head is where the replica stands. What it names is durable.
	Head() Head

	// Grown returns a channel that is closed at the next block.
	Grown() <-chan struct{}

	// Read lends the state after the last block, for the time of the call. Blocks wait
	// meanwhile.
	Read(func(*state.State))

	// Find returns the index of the leaf with this hash.
	Find(ctx context.Context, leaf tlog.Hash) (index uint64, ok bool, err error)

	// Files are the tiles and bundles of entries, in the layout of C2SP tlog-tiles, up
	// to the size that Head tells at least.
	Files() fs.FS

	// Peers are the nodes that it is connected with.
	Peers() []Peer
}

// Origin is a replica by which others can join without all blocks: by the rows at the
// end of an epoch, and by the blocks that follow. What it gives proves itself to who
// has a cosigned checkpoint, or proves nothing.
type Origin interface {
	// Snapshots are the heights of which it has the rows, ascending.
	Snapshots() ([]uint64, error)

	// Snapshot is a snapshot of ledger/state. [fs.ErrNotExist]: there is none.
	Snapshot(height uint64) ([]byte, error)

	// Block is what shows that a block was agreed on, in the encoding of the engine.
	// [fs.ErrNotExist]: there is none yet, or it is gone.
	Block(height uint64) ([]byte, error)
}

// Head is where a replica stands.
type Head struct {
	Height     uint64
	Time       time.Time // of the block
	Size       uint64    // leaves of the log
	Root       tlog.Hash // of the log
	App        tlog.Hash // application hash
	CatchingUp bool      // it fetches blocks that others have
	Validating bool      // it has a vote in the present set
}

// Peer is a node that a replica is connected with.
type Peer struct {
	ID      string // the hash of its key, in hexadecimal
	Address string
	Since   time.Time
}

// Service is what a notary does for those who have something to be logged: issuers,
// gateways, members. A [Notary] is one in the same process, client.Client one over
// HTTP.
type Service interface {
	// Actor tells what an actor must know to write its next transaction.
	Actor(ctx context.Context, oid state.OID) (*Actor, error)

	// Submit hands in a transaction, see [Replica.Submit].
	Submit(ctx context.Context, tx []byte) error

	// Standing tells what became of a transaction, by the hash of its leaf.
	Standing(ctx context.Context, leaf tlog.Hash) (*Standing, error)

	// Prove returns the tlog-proof of an entry under the newest checkpoint that the
	// policy is satisfied with. [ErrNotLogged] or [ErrNotCosigned]: not yet.
	Prove(ctx context.Context, leaf tlog.Hash) ([]byte, error)

	// Receipt returns the notary's signature over the root of a batch that stands under
	// a cosigned checkpoint. Put together with the path of a leaf it is a receipt of RFC
	// 9942.
	Receipt(ctx context.Context, root tlog.Hash) (*tlog.RootSignature, error)
}

// The defects of asking a notary.
const (
	ErrNotLogged   = format.Defect("not-logged")
	ErrNotCosigned = format.Defect("not-cosigned-yet")
	ErrNoActor     = format.Defect("actor-unknown")
	ErrNoEntry     = format.Defect("no-such-entry")
)

// Actor is what an actor must know to write its next transaction.
type Actor struct {
	Chain   tlog.Hash // SHA-256 of the genesis
	Height  uint64    // of the last block
	MaxLife uint64    // heights that a transaction may be valid ahead
	Seq     uint64    // of its last transaction; the next has one more
	Hybrid  bool      // two signatures are needed
	Keys    []tlog.Hash
	// Batch and Epoch are of its last fp.batch; zeros: there is none.
	Batch tlog.Hash
	Epoch uint64
}

// Standing is what became of a transaction.
type Standing struct {
	Logged   bool
	Index    uint64    // of its leaf
	Height   uint64    // of the replica that was asked
	Cosigned bool      // it stands under a checkpoint that satisfies the policy
	Time     time.Time // of that checkpoint: the median of its cosignatures
}
