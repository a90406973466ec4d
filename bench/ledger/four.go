package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"ampoule/internal/comet"
	"ampoule/ledger/state"
)

// rate runs nodes that all vote, in this process, hands n batches in at the first one
// as fast as it takes them, and returns how many are logged a second.
func rate(nodes, n int) (float64, error) {
	dir, err := os.MkdirTemp("", "bench-ledger")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	g, member, issuer, err := genesisOf(dir, nodes)
	if err != nil {
		return 0, err
	}
	var peers, addresses []string
	for i := range nodes {
		at := folder(dir, i)
		if err := os.WriteFile(filepath.Join(at, comet.GenesisFile), g.Encode(), 0o600); err != nil {
			return 0, err
		}
		id, err := comet.ReadIdentity(at)
		if err != nil {
			return 0, err
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return 0, err
		}
		addresses = append(addresses, l.Addr().String())
		peers = append(peers, id.ID+"@"+l.Addr().String())
		l.Close()
	}
	var first *comet.Node
	for i := range nodes {
		o := comet.Options{Dir: folder(dir, i), Listen: addresses[i], Log: slog.New(slog.DiscardHandler)}
		for k, peer := range peers {
			if k != i {
				o.Peers = append(o.Peers, peer)
			}
		}
		node, err := comet.Start(context.Background(), o)
		if err != nil {
			return 0, err
		}
		defer node.Stop()
		if i == 0 {
			first = node
		}
	}
	o := &ours{node: first, key: issuer, oid: oid("2")}
	put, err := o.entry(g.Time)
	if err != nil {
		return 0, err
	}
	tx, err := o.sign(oid("1.0"), 1, put, member, issuer)
	if err != nil {
		return 0, err
	}
	if err := o.logged(2, tx); err != nil {
		return 0, err
	}
	txs, err := o.batches(n)
	if err != nil {
		return 0, err
	}
	start := time.Now()
	if err := o.logged(first.Head().Size+uint64(n), txs...); err != nil {
		return 0, err
	}
	return float64(n) / time.Since(start).Seconds(), nil
}

func folder(dir string, i int) string { return filepath.Join(dir, fmt.Sprint("node", i)) }

// genesisOf makes the keys of members whose nodes all vote, and their genesis; it
// returns the first member's key, and that of an issuer which is not there yet.
func genesisOf(dir string, nodes int) (g *state.Genesis, member, issuer ed25519.PrivateKey, err error) {
	params := state.DefaultParams
	params.QuotaTxs, params.QuotaBytes = 1<<30, 1<<40
	g = &state.Genesis{Federation: oid("0"), Time: uint64(time.Now().Unix()) - 60, Params: params}
	for i := range nodes {
		id, err1 := comet.MakeKeys(folder(dir, i), state.ConsensusEd25519)
		_, online, err2 := ed25519.GenerateKey(rand.Reader)
		_, root, err3 := ed25519.GenerateKey(rand.Reader)
		if err := errors.Join(err1, err2, err3); err != nil {
			return nil, nil, nil, err
		}
		onlineKey, err1 := state.NewKey(online.Public())
		rootKey, err2 := state.NewKey(root.Public())
		if err := errors.Join(err1, err2); err != nil {
			return nil, nil, nil, err
		}
		code := string([]byte{'X', byte('A' + i)})
		sca := sha256.Sum256([]byte("fictitious signing authority of " + code))
		g.Trust = append(g.Trust, state.Participant{Code: code, SCAs: []state.Hash{sca}})
		g.Members = append(g.Members, state.Member{OID: oid(fmt.Sprint("1.", i)), Code: code, SCA: sca, Provider: sca, Voting: true, Keys: []state.Key{onlineKey}, Root: rootKey})
		g.Validators = append(g.Validators, state.Validator{Member: oid(fmt.Sprint("1.", i)), Type: id.Type, Key: id.Key, Power: 1})
		if i == 0 {
			member = online
		}
	}
	_, issuer, err = ed25519.GenerateKey(rand.Reader)
	return g, member, issuer, err
}

// entry registers the issuer.
func (o *ours) entry(from uint64) (*state.Put, error) {
	key, err := state.NewKey(o.key.Public())
	return &state.Put{Role: state.Issuer, OID: o.oid, Keys: []state.Key{key}, Scope: state.ScopeBatch, From: from, Until: from + 1e8}, err
}

// logged hands transactions in, each until it is taken, and waits until the log has
// a size.
func (o *ours) logged(size uint64, txs ...[]byte) error {
	deadline := time.Now().Add(2 * time.Minute)
	for i, tx := range txs {
		for {
			err := o.submit(tx)
			if err == nil {
				break
			}
			if !errors.Is(err, comet.ErrBusy) && !errors.Is(err, comet.ErrCatchingUp) || time.Now().After(deadline) {
				return fmt.Errorf("transaction %d: %w", i, err)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	for {
		grown := o.node.Grown()
		if o.node.Head().Size >= size {
			return nil
		}
		select {
		case <-grown:
		case <-time.After(time.Until(deadline)):
			return fmt.Errorf("the log has %d entries, and not %d", o.node.Head().Size, size)
		}
	}
}
