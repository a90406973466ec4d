package main

import (
	"context"
	"log/slog"

	"ampoule/internal/comet"
	"ampoule/internal/config"
	"ampoule/party/notary"
)

// ledgerNode is the node of the ledger that a server runs.
type ledgerNode struct {
	notary.Replica
	node *comet.Node
	log  *slog.Logger
}

// startLedger starts the node that the settings name; nil where there is none.
func startLedger(ctx context.Context, c *config.Config, log *slog.Logger) (*ledgerNode, error) {
	if c.Ledger.Dir == "" {
		return nil, nil
	}
	node, err := comet.Start(ctx, comet.Options{Dir: c.Ledger.Dir, Listen: c.Ledger.Listen, Peers: c.Ledger.Peers, Log: log})
	if err != nil {
		return nil, usageError("ledger.dir: %w", err)
	}
	l := &ledgerNode{Replica: node, node: node, log: log}
	head := node.Head()
	log.Info("ledger", "height", head.Height, "size", head.Size)
	go l.watch(ctx)
	return l, nil
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
	if err := l.node.Stop(); err != nil {
		l.log.Error("the node of the ledger did not end well", "error", err.Error())
	}
}
