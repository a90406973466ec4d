package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"ampoule/internal/keys"
	"ampoule/internal/ledgertest"
	"ampoule/ledger/tlog"
)

// TestOpenNotary: a node alone needs nothing but its keys; what it has published it
// finds again.
func TestOpenNotary(t *testing.T) {
	dir := t.TempDir()
	for _, sub := range []string{"keys", "log"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	receipts, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, k := range map[string]*keys.Key{notaryLogKey: {Signer: ledgertest.Ed25519("log 1")}, notaryReceiptKey: {Signer: receipts}} {
		if err := keys.Save(filepath.Join(dir, name), k, keys.Unencrypted()); err != nil {
			t.Fatal(err)
		}
	}
	log := slog.New(slog.DiscardHandler)
	r := ledgertest.NewChain(ledgertest.Genesis(1, 100)).Join(t, filepath.Join(dir, "log"))
	r.Register(t)
	tx, root := r.Batch(t, 1)
	n, err := openNotary(dir, keys.Unencrypted(), r, nil, log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		n.keepPublishing(ctx, log)
		close(done)
	}()
	leaf := tlog.LeafHash(tx)
	for range 500 {
		if _, err = n.Prove(t.Context(), leaf); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	// One memory, one process.
	if _, err := openNotary(dir, keys.Unencrypted(), r, nil, log); err == nil {
		t.Error("opened twice")
	}
	stop()
	<-done
	if err := n.close(); err != nil {
		t.Error(err)
	}
	if n, err = openNotary(dir, keys.Unencrypted(), r, nil, log); err != nil {
		t.Fatal(err)
	}
	proof, err := n.Prove(t.Context(), leaf)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, notaryPolicy))
	if err != nil {
		t.Fatal(err)
	}
	policy, err := tlog.ParsePolicy(text)
	if err != nil {
		t.Fatal(err)
	}
	p, err := tlog.ParseLogProof(proof)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Verify(leaf, policy); err != nil {
		t.Error(err)
	}
	if _, err := n.Receipt(t.Context(), root); err != nil {
		t.Error(err)
	}
	if err := n.close(); err != nil {
		t.Error(err)
	}
	// Of several members there is no policy that one could make alone.
	other := ledgertest.NewChain(ledgertest.Genesis(4, 100)).Join(t, t.TempDir())
	if err := os.Remove(filepath.Join(dir, notaryPolicy)); err != nil {
		t.Fatal(err)
	}
	if _, err := openNotary(dir, keys.Unencrypted(), other, nil, log); err == nil {
		t.Error("a federation without a policy")
	}
}
