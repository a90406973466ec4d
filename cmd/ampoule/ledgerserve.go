package main

import (
	"context"
	"crypto"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"ampoule/client"
	"ampoule/internal/comet"
	"ampoule/internal/config"
	"ampoule/internal/httpapi"
	"ampoule/internal/keys"
	"ampoule/ledger/state"
	"ampoule/ledger/tlog"
	"ampoule/party/notary"
)

// ledgerNode is the node of the ledger that a server runs.
type ledgerNode struct {
	notary.Replica
	node   *comet.Node
	notary *openedNotary // nil: the folder has no keys of one
	member *ledgerMember // nil: its key is elsewhere
	log    *slog.Logger
}

// ledgerMember is the member of a node, which votes by the page.
type ledgerMember struct {
	oid state.OID
	key *keys.Key
}

// startLedger starts the node that the settings name, and its notary; nil where there
// is none.
func startLedger(ctx context.Context, c *config.Config, log *slog.Logger) (*ledgerNode, error) {
	if c.Ledger.Dir == "" {
		return nil, nil
	}
	lock, err := storeLock(c)
	if err != nil {
		return nil, err
	}
	node, err := comet.Start(ctx, comet.Options{Dir: c.Ledger.Dir, Listen: c.Ledger.Listen, Peers: c.Ledger.Peers, Keep: uint64(c.Ledger.Keep), Log: log})
	if err != nil {
		return nil, usageError("ledger.dir: %w", err)
	}
	l := &ledgerNode{Replica: node, node: node, log: log}
	head := node.Head()
	log.Info("ledger", "height", head.Height, "size", head.Size)
	if err := l.open(ctx, c, lock); err != nil {
		l.stop()
		return nil, err
	}
	go l.watch(ctx)
	return l, nil
}

// goesOnWithout reports whether a server starts although the node of its ledger does
// not: it has a store, of which something is logged, so that its settings were right
// once. Nothing that is issued or verified waits for the ledger.
func (s *service) goesOnWithout(ctx context.Context, err error) bool {
	if s.store == nil || errors.Is(err, comet.ErrPeer) {
		return false
	}
	sum, errTally := s.store.Outbox().Tally(ctx)
	return errTally == nil && sum.Logged+sum.Kept > 0
}

// open makes the notary, and finds the member's online key.
func (l *ledgerNode) open(ctx context.Context, c *config.Config, lock keys.Lock) error {
	dir := c.Ledger.Dir
	if _, err := os.Lstat(inFolder(dir, notaryLogKey)); errors.Is(err, fs.ErrNotExist) {
		l.log.Info("the node follows, and signs no checkpoints", "what", notaryLogKey)
		return nil
	}
	var err error
	if l.notary, err = openNotary(dir, lock, l.node, c.Ledger.Witnesses, l.log); err != nil {
		return err
	}
	go l.notary.keepPublishing(ctx, l.log)
	if l.member, err = readMember(dir, lock); errors.Is(err, fs.ErrNotExist) {
		return nil // its keys are elsewhere
	}
	return err
}

// readMember finds a member and its online key in the folder of its node.
func readMember(dir string, lock keys.Lock) (*ledgerMember, error) {
	data, err := os.ReadFile(inFolder(dir, statementFile))
	if err != nil {
		return nil, err
	}
	statement, err := state.ParseStatement(data)
	if err != nil {
		return nil, usageError("%s: %w", inFolder(dir, statementFile), err)
	}
	key, err := keys.Load(inFolder(dir, memberKey), lock)
	if err != nil {
		return nil, err
	}
	return &ledgerMember{statement.Member.OID, key}, nil
}

// show lets a page serve the log, and vote.
func (l *ledgerNode) show(p *httpapi.Page) {
	if l == nil || l.notary == nil {
		return
	}
	p.Ledger = l.notary.Notary
	if l.member != nil {
		p.LedgerVote = l.vote
	}
}

// vote signs a vote of the member and hands it in.
func (l *ledgerNode) vote(ctx context.Context, proposal tlog.Hash, yes bool) (tlog.Hash, error) {
	tx, err := l.sign(ctx, l.member, &state.Vote{Proposal: proposal, Yes: yes})
	if err != nil {
		return tlog.Hash{}, err
	}
	return tlog.LeafHash(tx), l.notary.Submit(ctx, tx)
}

// sign signs the next transaction of a member. Others sign with it: keys that it
// registers.
func (l *ledgerNode) sign(ctx context.Context, m *ledgerMember, body state.Body, others ...crypto.Signer) ([]byte, error) {
	actor, err := l.notary.Actor(ctx, m.oid)
	if err != nil {
		return nil, err
	}
	return client.Sign(actor, m.oid, body, append(others, m.key.Signer)...)
}

// await signs a transaction of a member, and hands it in until it is logged and
// cosigned.
func (l *ledgerNode) await(ctx context.Context, m *ledgerMember, body state.Body, others ...crypto.Signer) error {
	tx, err := l.sign(ctx, m, body, others...)
	if err != nil {
		return err
	}
	return client.Wait(ctx, l.notary, tx, 20*time.Millisecond)
}

// service is what brings things into the log: the notary of this process, or a client
// of another's.
func (l *ledgerNode) service(c *config.Config) (notary.Service, error) {
	if l != nil && l.notary != nil {
		return l.notary, nil
	}
	if c.Ledger.Notary == "" {
		return nil, nil
	}
	to, err := client.New(c.Ledger.Notary)
	if err != nil {
		return nil, usageError("ledger.notary: %w", err)
	}
	return to, nil
}

// watch tells when the ledger stands still for good. The server goes on: issuing and
// verifying do not wait for the ledger.
func (l *ledgerNode) watch(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-l.node.Failed():
		l.log.Error("the node of the ledger has stopped, and needs you", "error", l.node.Err().Error())
	}
}

// stop ends the node.
func (l *ledgerNode) stop() {
	if l == nil {
		return
	}
	if l.notary != nil {
		if err := l.notary.close(); err != nil {
			l.log.Error("what the cosigner has seen was not closed well", "error", err.Error())
		}
	}
	if err := l.node.Stop(); err != nil {
		l.log.Error("the node of the ledger did not end well", "error", err.Error())
	}
}
