package main

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"os"
	"path/filepath"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	"github.com/cometbft/cometbft/config"
	"github.com/cometbft/cometbft/libs/log"
	"github.com/cometbft/cometbft/mempool"
	"github.com/cometbft/cometbft/node"
	"github.com/cometbft/cometbft/p2p"
	"github.com/cometbft/cometbft/privval"
	"github.com/cometbft/cometbft/proxy"
	"github.com/cometbft/cometbft/types"

	"ampoule/ledger/tlog"
)

// bare is the least that an application on the engine can be: it appends each
// transaction to a log, of which it keeps the right edge, and writes that down at
// each commit. A signed transaction is key, signature, payload; it is verified when
// it comes and again in its block.
type bare struct {
	abci.BaseApplication
	signed bool
	dir    string
	edge   *tlog.Range
	height int64
	count  func(txs int, at time.Time)
	next   int
}

func (b *bare) good(tx []byte) bool {
	return !b.signed || len(tx) > 96 && ed25519.Verify(tx[:32], tx[96:], tx[32:96])
}

func (b *bare) Info(context.Context, *abci.RequestInfo) (*abci.ResponseInfo, error) {
	info := &abci.ResponseInfo{LastBlockHeight: b.height}
	if b.height > 0 {
		root := b.edge.Root()
		info.LastBlockAppHash = root[:]
	}
	return info, nil
}

func (b *bare) CheckTx(_ context.Context, r *abci.RequestCheckTx) (*abci.ResponseCheckTx, error) {
	if r.Type == abci.CheckTxType_New && !b.good(r.Tx) {
		return &abci.ResponseCheckTx{Code: 1}, nil
	}
	return &abci.ResponseCheckTx{}, nil
}

func (b *bare) FinalizeBlock(_ context.Context, r *abci.RequestFinalizeBlock) (*abci.ResponseFinalizeBlock, error) {
	answer := new(abci.ResponseFinalizeBlock)
	for _, tx := range r.Txs {
		result := new(abci.ExecTxResult)
		if !b.good(tx) {
			result.Code = 1
		} else if err := b.edge.Append(tlog.LeafHash(tx)); err != nil {
			return nil, err
		}
		answer.TxResults = append(answer.TxResults, result)
	}
	root := b.edge.Root()
	answer.AppHash, b.height, b.next = root[:], r.Height, len(r.Txs)
	return answer, nil
}

func (b *bare) Commit(context.Context, *abci.RequestCommit) (*abci.ResponseCommit, error) {
	data, err := b.edge.AppendBinary(binary.BigEndian.AppendUint64(nil, uint64(b.height)))
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(b.dir, "edge"), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if _, err := f.WriteAt(data, 0); err != nil {
		return nil, err
	}
	if err := f.Sync(); err != nil {
		return nil, err
	}
	b.count(b.next, time.Now())
	return &abci.ResponseCommit{}, nil
}

// bareNode is the engine with it, at the pace of a node that is alone.
type bareNode struct{ node *node.Node }

func newBare(dir string, signed bool, count func(int, time.Time)) (*bareNode, error) {
	c := config.DefaultConfig().SetRoot(dir)
	c.RPC.ListenAddress, c.P2P.ListenAddress, c.P2P.PexReactor = "", "tcp://127.0.0.1:0", false
	c.TxIndex.Indexer, c.Storage.DiscardABCIResponses = "null", true
	c.Consensus.CreateEmptyBlocks = false
	c.Consensus.TimeoutCommit, c.Consensus.SkipTimeoutCommit = 10*time.Millisecond, true
	c.Mempool.Size, c.Mempool.CacheSize, c.Mempool.MaxTxsBytes = 20_000, 40_000, 16<<20
	for _, sub := range []string{"config", "data"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, err
		}
	}
	pv := privval.LoadOrGenFilePV(filepath.Join(dir, "key.json"), filepath.Join(dir, "state.json"))
	key := pv.Key.PubKey
	nodeKey, err := p2p.LoadOrGenNodeKey(filepath.Join(dir, "node.json"))
	if err != nil {
		return nil, err
	}
	doc := &types.GenesisDoc{ChainID: "bare", InitialHeight: 1, GenesisTime: time.Now(), ConsensusParams: types.DefaultConsensusParams(),
		Validators: []types.GenesisValidator{{Address: key.Address(), PubKey: key, Power: 1}}}
	if err := doc.ValidateAndComplete(); err != nil {
		return nil, err
	}
	app := &bare{signed: signed, dir: dir, edge: new(tlog.Range), count: count}
	n, err := node.NewNode(c, pv, nodeKey, proxy.NewLocalClientCreator(app), func() (*types.GenesisDoc, error) { return doc, nil },
		config.DefaultDBProvider, node.DefaultMetricsProvider(c.Instrumentation), log.NewNopLogger())
	if err != nil {
		return nil, err
	}
	return &bareNode{n}, n.Start()
}

func (b *bareNode) submit(tx []byte) error {
	return b.node.Mempool().CheckTx(tx, nil, mempool.TxInfo{})
}

func (b *bareNode) stop() error {
	if err := b.node.Stop(); err != nil {
		return err
	}
	b.node.Wait()
	return nil
}

// bareTx makes a transaction of 250 bytes.
func bareTx(key ed25519.PrivateKey, n int, signed bool) []byte {
	payload := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(n)))
	message := append(payload[:], make([]byte, 250-96-32)...)
	tx := append([]byte(nil), key.Public().(ed25519.PublicKey)...)
	if signed {
		tx = append(tx, ed25519.Sign(key, message)...)
	} else {
		tx = append(tx, make([]byte, 64)...)
	}
	return append(tx, message...)
}
