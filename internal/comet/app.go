package comet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	"github.com/cometbft/cometbft/crypto/encoding"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"

	"ampoule/internal/tiles"
	"ampoule/ledger/state"
	"ampoule/ledger/tlog"
	"ampoule/party/notary"
)

// app is the ledger as the engine sees it (ABCI 2.0): it answers for transactions
// that wait, chooses what goes into a block, and applies what was decided. Nothing
// is shown of a block, and nothing written, before the engine commits it.
type app struct {
	abci.BaseApplication

	chain tlog.Hash // of the genesis
	disk  *disk
	log   *tiles.Log
	shelf shelf  // of snapshots
	self  string // key with which this node votes
	keep  uint64 // blocks; zero: all

	// What follows is guarded: the state, and what waits on it. Blocks are computed
	// under it, too, since that shares what was found out about signatures.
	mu      sync.Mutex
	state   *state.State
	waiting *state.Checker

	head  atomic.Pointer[notary.Head]
	grown atomic.Pointer[chan struct{}]

	// Only the engine's consensus uses these.
	draft *state.Draft
	guard guard
	base  func() int64 // height of the oldest block

	starting atomic.Bool // blocks are replayed, whose errors end the start
	stuck    atomic.Bool // a call of the engine waits for ever
	once     sync.Once
	failed   chan struct{} // closed when the ledger cannot go on
	reason   error
}

// openApp brings the state and the log of a folder together.
func openApp(ctx context.Context, dir string, genesis []byte, self string) (_ *app, err error) {
	a := &app{self: self, failed: make(chan struct{})}
	if a.disk, err = openDisk(ctx, dir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.disk.close())
		}
	}()
	if a.shelf, err = openShelf(dir); err != nil {
		return nil, err
	}
	// Step 1: where the state stands.
	fresh, err := state.New(genesis)
	if err != nil {
		return nil, err
	}
	a.chain = fresh.Chain()
	if a.state, err = a.disk.load(ctx); err != nil {
		return nil, err
	}
	if a.state == nil {
		// The genesis is the first leaf, and its rows the first.
		if a.log, err = tiles.Open(logFolder(dir), 0); err == nil {
			err = a.log.Append([][]byte{genesis})
		}
		if err != nil {
			return nil, err
		}
		var rows []state.Change
		for key, row := range fresh.Rows() {
			rows = append(rows, state.Change{Key: key, Row: row})
		}
		if err := a.disk.save(ctx, rows, fresh.AppHash(), 0, []tlog.Hash{tlog.LeafHash(genesis)}); err != nil {
			return nil, err
		}
		a.state = fresh
	}
	if a.state.Chain() != a.chain {
		return nil, fmt.Errorf("%s is of chain %x, and the genesis of %x: %w", stateFile, a.state.Chain(), a.chain, ErrOtherChain)
	}
	// Step 2: whether the log is that of the state.
	if a.log == nil {
		if a.log, err = tiles.Open(logFolder(dir), a.state.LogSize()); err != nil {
			return nil, err
		}
	}
	if a.log.Size() != a.state.LogSize() || a.log.Root() != a.state.LogRoot() {
		return nil, fmt.Errorf("the log is not that of the state: %w", ErrDamaged)
	}
	grown := make(chan struct{})
	a.grown.Store(&grown)
	a.stand()
	return a, nil
}

// stand shows where the state stands, to those who ask and to those who wait.
func (a *app) stand() {
	a.waiting = a.state.Mempool()
	a.head.Store(&notary.Head{
		Height: a.state.Height(), Time: time.Unix(int64(a.state.Time()), 0).UTC(),
		Size: a.state.LogSize(), Root: a.state.LogRoot(), App: a.state.AppHash(),
		Validating: slices.ContainsFunc(a.state.Validators(), func(v state.Validator) bool { return v.Key == a.self }),
	})
	next := make(chan struct{})
	close(*a.grown.Swap(&next))
}

// fail says why the ledger cannot go on.
func (a *app) fail(err error) {
	a.once.Do(func() {
		a.reason = err
		close(a.failed)
	})
}

// stop ends a call of the engine that has no answer, and says why the ledger cannot
// go on. While blocks are replayed, the engine hands the error on; while it votes, it
// ends voting with it. While it fetches blocks it would end the process, with a trace
// of itself: there the call waits for ever, and the node is left as it is.
func (a *app) stop(err error) error {
	if a.starting.Load() {
		return err
	}
	a.fail(err)
	if a.guard.voting == nil || !a.guard.voting() {
		a.stuck.Store(true)
		select {}
	}
	return err
}

// Info tells where the state on the disk stands.
func (a *app) Info(context.Context, *abci.RequestInfo) (*abci.ResponseInfo, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	info := &abci.ResponseInfo{Data: "ampoule", AppVersion: state.AppVersion, LastBlockHeight: int64(a.state.Height())}
	if info.LastBlockHeight > 0 {
		hash := a.state.AppHash()
		info.LastBlockAppHash = hash[:]
	}
	return info, nil
}

// InitChain begins a chain. The state has begun it already, from the same genesis.
func (a *app) InitChain(_ context.Context, r *abci.RequestInitChain) (*abci.ResponseInitChain, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var genesis []byte
	if err := json.Unmarshal(r.AppStateBytes, &genesis); err != nil {
		return nil, fmt.Errorf("genesis: %w", err)
	}
	if r.ChainId != ChainID(genesis) || a.state.Height() != 0 {
		return nil, fmt.Errorf("genesis: %w", ErrOtherChain)
	}
	hash := a.state.AppHash()
	return &abci.ResponseInitChain{AppHash: hash[:]}, nil
}

// refused is the code of a transaction that was refused. The reason word stands in
// the log of the answer, which the engine does not hash.
const refused = 1

// CheckTx tells whether a transaction may wait for a block. The engine asks again
// after each block, in the order in which they came.
func (a *app) CheckTx(_ context.Context, r *abci.RequestCheckTx) (*abci.ResponseCheckTx, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.waiting.CheckTx(r.Tx); err != nil {
		return &abci.ResponseCheckTx{Code: refused, Log: state.Reason(err)}, nil
	}
	return &abci.ResponseCheckTx{}, nil
}

// PrepareProposal chooses what goes into a block.
func (a *app) PrepareProposal(_ context.Context, r *abci.RequestPrepareProposal) (*abci.ResponsePrepareProposal, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	chosen, full := a.choose(r.Txs, r.MaxTxBytes)
	if full {
		// Votes and revocation first: they have a share of each block, wherever they
		// stand in the queue. One that comes after another of its actor waits for it.
		var urgent, rest [][]byte
		for _, tx := range r.Txs {
			if t, err := state.ParseTx(tx); err == nil && t.Body.Kind().Urgent() {
				urgent = append(urgent, tx)
			} else {
				rest = append(rest, tx)
			}
		}
		chosen, _ = a.choose(append(urgent, rest...), r.MaxTxBytes)
	}
	return &abci.ResponsePrepareProposal{Txs: chosen}, nil
}

// choose takes those that a block has room for and that it would accept.
func (a *app) choose(txs [][]byte, bytes int64) (chosen [][]byte, full bool) {
	block := a.state.Proposal()
	for _, tx := range txs {
		switch err := block.CheckTx(tx); {
		case errors.Is(err, state.ErrBlockFull):
			full = true
		case err == nil:
			// What an element of a list costs the engine is its length and a few bytes.
			if bytes -= int64(len(tx)) + 16; bytes < 0 {
				return chosen, true
			}
			chosen = append(chosen, tx)
		}
	}
	return chosen, full
}

// ProcessProposal refuses a block that no honest node proposes: one that is too
// large, or has what is no transaction. What a transaction asks for is judged when
// the block is applied, where a refusal stops nobody.
func (a *app) ProcessProposal(_ context.Context, r *abci.RequestProcessProposal) (*abci.ResponseProcessProposal, error) {
	a.mu.Lock()
	most := a.state.Params().BlockBytes
	a.mu.Unlock()
	var bytes uint64
	for _, tx := range r.Txs {
		bytes += uint64(len(tx))
		if _, err := state.ParseTx(tx); err != nil || bytes > most {
			return &abci.ResponseProcessProposal{Status: abci.ResponseProcessProposal_REJECT}, nil
		}
	}
	return &abci.ResponseProcessProposal{Status: abci.ResponseProcessProposal_ACCEPT}, nil
}

// FinalizeBlock computes what a block does. It writes nothing.
func (a *app) FinalizeBlock(_ context.Context, r *abci.RequestFinalizeBlock) (*abci.ResponseFinalizeBlock, error) {
	if err := a.guard.check(uint64(r.Height), r.DecidedLastCommit.Votes); err != nil {
		return nil, a.stop(err)
	}
	a.mu.Lock()
	draft, err := a.state.Draft(blockOf(a.state, r.Height, r.Time, r.Txs, r.Misbehavior))
	a.mu.Unlock()
	if err != nil {
		return nil, a.stop(err)
	}
	out := draft.Outcome
	response := &abci.ResponseFinalizeBlock{TxResults: make([]*abci.ExecTxResult, len(out.Results))}
	for i, result := range out.Results {
		response.TxResults[i] = new(abci.ExecTxResult)
		if result.Reason != "" {
			response.TxResults[i].Code, response.TxResults[i].Log = refused, result.Reason
		}
	}
	for _, v := range out.Validators {
		update, err := validatorUpdate(v)
		if err != nil {
			return nil, a.stop(err)
		}
		response.ValidatorUpdates = append(response.ValidatorUpdates, update)
	}
	if out.Params {
		response.ConsensusParamUpdates = &cmtproto.ConsensusParams{Block: &cmtproto.BlockParams{MaxBytes: blockBytes(draft.After.Params()), MaxGas: -1}}
	}
	hash := draft.After.AppHash()
	response.AppHash = hash[:]
	a.draft = draft
	return response, nil
}

// Commit writes the block: first the log, whose files may have more than the state
// tells of, then the state at once. Only then it is shown.
func (a *app) Commit(ctx context.Context, _ *abci.RequestCommit) (*abci.ResponseCommit, error) {
	if a.draft == nil {
		return nil, a.stop(fmt.Errorf("commit without a block: %w", state.ErrBlock))
	}
	out, first := a.draft.Outcome, a.log.Size()
	err := a.log.Append(out.Entries)
	if err == nil {
		leaves := make([]tlog.Hash, len(out.Entries))
		for i, e := range out.Entries {
			leaves[i] = tlog.LeafHash(e)
		}
		err = a.disk.save(ctx, out.Changes, a.draft.After.AppHash(), first, leaves)
	}
	if err != nil {
		return nil, a.stop(err)
	}
	a.mu.Lock()
	a.draft.Take()
	height := a.state.Height()
	if height%a.state.Params().EpochBlocks == 0 {
		err = a.shelf.put(a.state)
	}
	a.stand()
	a.mu.Unlock()
	a.draft = nil
	if err != nil {
		return nil, a.stop(fmt.Errorf("ledger: snapshot: %w", err))
	}
	retain, err := a.retain(height)
	if err != nil {
		return nil, a.stop(fmt.Errorf("ledger: snapshot: %w", err))
	}
	return &abci.ResponseCommit{RetainHeight: retain}, nil
}

// pruneAtOnce bounds how many blocks go at one commit, which waits for it.
const pruneAtOnce = 1000

// retain is the height of the oldest block that is kept; zero: all stay. Those from
// the oldest snapshot on stay in any case: who joins by it needs them. The engine
// keeps headers, commits and validators as long as they can be evidence against
// somebody.
func (a *app) retain(height uint64) (int64, error) {
	if a.keep == 0 || a.base == nil || height <= a.keep {
		return 0, nil
	}
	snapshots, err := a.shelf.heights()
	if err != nil || len(snapshots) == 0 {
		return 0, err
	}
	base := a.base()
	oldest := min(int64(min(height-a.keep+1, snapshots[0])), base+pruneAtOnce)
	if oldest <= base {
		return 0, nil
	}
	return oldest, nil
}

func validatorUpdate(v state.ValidatorUpdate) (abci.ValidatorUpdate, error) {
	key, err := toEngine(v.Type, v.Key)
	if err != nil {
		return abci.ValidatorUpdate{}, err
	}
	public, err := encoding.PubKeyToProto(key)
	if err != nil {
		return abci.ValidatorUpdate{}, err
	}
	return abci.ValidatorUpdate{PubKey: public, Power: int64(v.Power)}, nil
}

// blockOf is a block of the engine as the state takes it: with times in whole
// seconds, and with the members whose validators are shown to have voted twice. The
// engine names them by the address of a key; one that votes no more has no validator
// to lose.
func blockOf(s *state.State, height int64, at time.Time, txs [][]byte, misbehavior []abci.Misbehavior) *state.Block {
	b := &state.Block{Height: uint64(height), Time: max(uint64(max(at.Unix(), 0)), s.Time()), Txs: txs}
	if len(misbehavior) == 0 {
		return b
	}
	byAddress := map[string]state.OID{}
	for _, v := range s.Validators() {
		if key, err := toEngine(v.Type, v.Key); err == nil {
			byAddress[string(key.Address())] = v.Member
		}
	}
	for _, m := range misbehavior {
		if member, ok := byAddress[string(m.Validator.Address)]; ok && !slices.Contains(b.Evidence, member) {
			b.Evidence = append(b.Evidence, member)
		}
	}
	slices.Sort(b.Evidence)
	return b
}
