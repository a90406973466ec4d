// Package comet is a node of the ledger: it has the rules of ledger/state applied to
// the blocks that CometBFT, embedded in this process, agrees on with other nodes, or
// makes alone.
//
//	folder.go    the folder, the keys of the engine, the genesis as the engine has it
//	app.go       the ledger as the engine sees it (ABCI 2.0)
//	disk.go      the state on the disk
//	guard.go     signatures of the node's key that the node does not know of
//	log.go       what the engine logs
//	history.go   blocks read again
//	snapshot.go  what others join by
//	join.go      joining by it
//
// What is durable when: the engine keeps a block before it is applied. At its commit
// the log is synced first, then rows and leaf index in one transaction, then it is
// shown. A crash in between has the block applied again, which makes the same bytes.
package comet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	cmtconfig "github.com/cometbft/cometbft/config"
	"github.com/cometbft/cometbft/mempool"
	"github.com/cometbft/cometbft/node"
	"github.com/cometbft/cometbft/p2p"
	"github.com/cometbft/cometbft/proxy"
	sm "github.com/cometbft/cometbft/state"
	"github.com/cometbft/cometbft/types"

	"ampoule/format"
	"ampoule/ledger/state"
	"ampoule/ledger/tlog"
	"ampoule/party/notary"
)

// Why a node does not start, or does not go on.
const (
	ErrNoGenesis    = format.Defect("no-genesis")
	ErrOtherChain   = format.Defect("other-chain")
	ErrDamaged      = format.Defect("ledger-damaged")
	ErrKeyType      = format.Defect("validator-key-type")
	ErrKeyElsewhere = format.Defect("validator-key-elsewhere")
	ErrPeer         = format.Defect("bad-peer")
	ErrPruned       = format.Defect("blocks-pruned")
	ErrReplay       = format.Defect("replay-differs")
	ErrEngine       = format.Defect("engine-failed")
)

// Why a transaction could not be handed in. It is not refused: later it may be taken.
var (
	ErrCatchingUp = errors.New("the node still fetches blocks that others have")
	ErrBusy       = errors.New("too much waits for a block")
)

// Options say how a node runs.
type Options struct {
	Dir    string
	Listen string   // host:port; a node without peers does not listen
	Peers  []string // ID@host:port
	Keep   uint64   // blocks that are kept at least; zero: all
	Log    *slog.Logger
}

// Node is a running node. It is a [notary.Replica].
type Node struct {
	app    *app
	node   *node.Node
	states sm.Store // of the engine
	quiet  atomic.Bool
}

var (
	_ notary.Replica = (*Node)(nil)
	_ notary.Origin  = (*Node)(nil)
)

// Start starts the node in a folder. The blocks that were decided and not applied
// before it was stopped are applied first.
func Start(ctx context.Context, o Options) (_ *Node, err error) {
	// Step 1: what is in the folder.
	genesis, err := ReadGenesis(o.Dir)
	if err != nil {
		return nil, err
	}
	doc, err := engineGenesis(genesis)
	if err != nil {
		return nil, err
	}
	k, err := readKeys(o.Dir)
	if err != nil {
		return nil, err
	}
	config, err := engineConfig(o)
	if err != nil {
		return nil, err
	}
	_, self, err := fromEngine(k.validator.Key.PubKey)
	if err != nil {
		return nil, err
	}
	n := new(Node)
	if n.app, err = openApp(ctx, o.Dir, genesis, self); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.app.disk.close())
		}
	}()
	n.app.guard = guard{address: k.validator.Key.Address, signed: uint64(max(k.validator.LastSignState.Height, 0))}

	// Step 2: the engine. What it holds against the application is replayed here.
	log := &engineLog{to: o.Log, fail: n.app.fail, quiet: &n.quiet}
	n.app.starting.Store(true)
	n.node, err = newEngine(ctx, config, k, n.app, doc, log)
	n.app.starting.Store(false)
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	store := n.node.BlockStore()
	n.app.keep, n.app.base = o.Keep, store.Base
	env, err := n.node.ConfigureRPC() // it lends the engine's stores, and opens no door
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	n.states = env.StateStore
	if err := n.app.guard.checkStored(store.LoadSeenCommit(store.Height())); err != nil {
		n.quiet.Store(true)
		n.node.OnStop()
		return nil, fmt.Errorf("ledger: %w", err)
	}
	n.app.guard.voting = func() bool { return !n.node.ConsensusReactor().WaitSync() }
	if err := n.node.Start(); err != nil {
		n.quiet.Store(true)
		n.node.OnStop()
		return nil, fmt.Errorf("ledger: %w", err)
	}
	return n, nil
}

// newEngine makes the engine, which panics where its own files contradict each other
// or the application.
func newEngine(ctx context.Context, config *cmtconfig.Config, k *nodeKeys, a *app, doc *types.GenesisDoc, log *engineLog) (_ *node.Node, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v: %w", r, ErrDamaged)
		}
	}()
	return node.NewNodeWithContext(ctx, config, k.validator, k.node, proxy.NewConnSyncLocalClientCreator(a),
		func() (*types.GenesisDoc, error) { return doc, nil }, openStores(), node.DefaultMetricsProvider(config.Instrumentation), log)
}

// The pace of a node that is alone: it waits for nobody, but after a stop in the
// middle of a round, whose proposal it may not sign again. And how long a federation
// may be silent.
const (
	soloCommit  = 10 * time.Millisecond
	soloPropose = 500 * time.Millisecond
	soloVote    = 100 * time.Millisecond
	heartbeat   = 30 * time.Second
	// peerQuery is how long the slowest routine for a peer sleeps at once.
	peerQuery = 400 * time.Millisecond
)

// engineConfig is the configuration of the engine: known peers and no others, no
// doors of its own, no blocks without need.
func engineConfig(o Options) (*cmtconfig.Config, error) {
	c := cmtconfig.DefaultConfig().SetRoot(filepath.Join(o.Dir, cometFolder))
	c.Moniker = "ampoule" // peers are shown it
	c.P2P.AddrBook = "peers.json"
	c.RPC.ListenAddress, c.RPC.PprofListenAddress = "", ""
	c.TxIndex.Indexer = "null"
	c.Storage.DiscardABCIResponses = true

	c.Consensus.CreateEmptyBlocks = false
	c.Consensus.PeerQueryMaj23SleepDuration = peerQuery
	c.Mempool.Size, c.Mempool.CacheSize = 20_000, 40_000
	c.Mempool.MaxTxBytes, c.Mempool.MaxTxsBytes = state.MaxTx, mempoolBytes

	c.P2P.PexReactor, c.P2P.AddrBookStrict, c.P2P.AllowDuplicateIP = false, false, true
	// The places that are not of a named peer.
	c.P2P.MaxNumInboundPeers, c.P2P.MaxNumOutboundPeers = 0, 0
	c.P2P.FlushThrottleTimeout = 10 * time.Millisecond
	if len(o.Peers) == 0 {
		c.P2P.ListenAddress = "tcp://127.0.0.1:0"
		c.Consensus.TimeoutCommit, c.Consensus.SkipTimeoutCommit = soloCommit, true
		c.Consensus.TimeoutPropose, c.Consensus.TimeoutPrevote, c.Consensus.TimeoutPrecommit = soloPropose, soloVote, soloVote
		return c, c.ValidateBasic()
	}
	c.P2P.ListenAddress = "tcp://" + o.Listen
	c.Consensus.CreateEmptyBlocksInterval = heartbeat
	// A peer that was away is tried again within the minute, and not in hours.
	c.P2P.PersistentPeersMaxDialPeriod = time.Minute
	var ids []string
	for _, peer := range o.Peers {
		address, err := p2p.NewNetAddressString(peer)
		if err != nil {
			return nil, fmt.Errorf("%q: %v: %w", peer, err, ErrPeer)
		}
		ids = append(ids, string(address.ID))
	}
	c.P2P.PersistentPeers, c.P2P.UnconditionalPeerIDs = strings.Join(o.Peers, ","), strings.Join(ids, ",")
	return c, c.ValidateBasic()
}

// Failed is closed when the ledger cannot go on; Err then says why. The process is
// to end.
func (n *Node) Failed() <-chan struct{} { return n.app.failed }

// Err is why the node has failed.
func (n *Node) Err() error {
	select {
	case <-n.app.failed:
		return n.app.reason
	default:
		return nil
	}
}

// Stop ends the node. Where its engine waits in the middle of a block, it is left as
// it is; the block is applied at the next start.
func (n *Node) Stop() error {
	n.quiet.Store(true)
	if !n.app.stuck.Load() {
		// The engine's routines for its peers look whether they are to end when they wake
		// up, and some read blocks before they look. They must be awake before it closes the
		// blocks.
		if len(n.Peers()) > 0 {
			_ = n.node.Switch().Stop()
			time.Sleep(peerQuery + peerQuery/4)
		}
		if err := n.node.Stop(); err != nil {
			return fmt.Errorf("ledger: %w", err)
		}
		n.node.Wait()
	}
	return n.app.disk.close()
}

// Submit implements [notary.Replica].
func (n *Node) Submit(ctx context.Context, tx []byte) error {
	if n.node.ConsensusReactor().WaitSync() {
		return ErrCatchingUp
	}
	answer := make(chan error, 1)
	tx = bytes.Clone(tx) // it waits here longer than the caller lends it
	go func() {
		err := n.node.Mempool().CheckTx(tx, func(r *abci.ResponseCheckTx) {
			if r.Code == abci.CodeTypeOK {
				answer <- nil
			} else {
				answer <- fmt.Errorf("transaction: %w", format.Defect(r.Log))
			}
		}, mempool.TxInfo{})
		var full mempool.ErrMempoolIsFull
		var long mempool.ErrTxTooLarge
		switch {
		case err == nil:
		case errors.Is(err, mempool.ErrTxInCache): // it waits, or has come into a block
			answer <- nil
		case errors.As(err, &full), errors.Is(err, mempool.ErrRecheckFull):
			answer <- ErrBusy
		case errors.As(err, &long):
			answer <- fmt.Errorf("transaction: %w", state.ErrTooLarge)
		default:
			answer <- fmt.Errorf("transaction: %w", err)
		}
	}()
	select {
	case err := <-answer:
		return err
	case <-n.app.failed:
		return n.app.reason
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Head implements [notary.Replica].
func (n *Node) Head() notary.Head {
	h := *n.app.head.Load()
	h.CatchingUp = n.node.ConsensusReactor().WaitSync()
	return h
}

// Grown implements [notary.Replica].
func (n *Node) Grown() <-chan struct{} { return *n.app.grown.Load() }

// Read implements [notary.Replica].
func (n *Node) Read(f func(*state.State)) {
	n.app.mu.Lock()
	defer n.app.mu.Unlock()
	f(n.app.state)
}

// Find implements [notary.Replica].
func (n *Node) Find(ctx context.Context, leaf tlog.Hash) (index uint64, ok bool, err error) {
	index, ok, err = n.app.disk.find(ctx, leaf)
	// What is on the disk is shown a moment later.
	return index, ok && index < n.app.head.Load().Size, err
}

// Files implements [notary.Replica].
func (n *Node) Files() fs.FS { return n.app.log.FS() }

// Peers implements [notary.Replica].
func (n *Node) Peers() (all []notary.Peer) {
	for _, p := range n.node.Switch().Peers().List() {
		address := ""
		if a := p.SocketAddr(); a != nil {
			address = a.DialString()
		}
		all = append(all, notary.Peer{ID: string(p.ID()), Address: address, Since: time.Now().Add(-p.Status().Duration)})
	}
	slices.SortFunc(all, func(a, b notary.Peer) int { return strings.Compare(a.ID, b.ID) })
	return all
}
