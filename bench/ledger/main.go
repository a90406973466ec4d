// Ledger measures a node against the engine that it stands on, in one run, by
// turns: the engine with the least application that there can be, unsigned and
// signed, and our node with signed batches. Transactions are signed beforehand.
//
//	go run ./bench/ledger             CPU for each transaction, and the wait for a commit
//	go run ./bench/ledger -four       batches a second of four nodes against one
//
// The ratios are those of docs/benchmarks.md.
package main

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"ampoule/internal/comet"
	"ampoule/ledger/state"
)

func main() {
	rounds := flag.Int("rounds", 5, "rounds")
	txs := flag.Int("n", 3000, "transactions of a round")
	four := flag.Bool("four", false, "four nodes in this process against one, and nothing else")
	flag.Parse()
	do := run
	if *four {
		do = runFour
	}
	if err := do(*rounds, *txs); err != nil {
		fmt.Fprintln(os.Stderr, "ledger:", err)
		os.Exit(1)
	}
}

// a system takes transactions and tells when they are committed.
type system interface {
	submit(tx []byte) error
	stop() error
}

// figures are of one system, a value for each round.
type figures struct {
	cpu  []float64 // µs for each transaction, handed in as fast as they are taken
	wait []float64 // ms until a transaction is committed, one after the other
	// µs for each transaction when the whole chain is applied again
	replay []float64
}

func run(rounds, n int) error {
	names := []string{"engine", "engine, signed", "ours, fp.batch"}
	all := make([]figures, len(names))
	for range rounds {
		for i := range names {
			if err := measure(i, n, &all[i]); err != nil {
				return fmt.Errorf("%s: %w", names[i], err)
			}
		}
	}
	verify := verifyTime()
	fmt.Println("| system | CPU µs a transaction | wait p50 ms | replay µs a transaction |\n|---|---|---|---|")
	for i, name := range names {
		fmt.Printf("| %s | %.0f | %.1f | %.1f |\n", name, median(all[i].cpu), median(all[i].wait), median(all[i].replay))
	}
	fmt.Printf("\nEd25519 verify: %.0f µs\n", verify)
	engine, signed, ours := median(all[0].cpu), median(all[1].cpu), median(all[2].cpu)
	fmt.Println("\n| ratio | | goal |\n|---|---|---|")
	fmt.Printf("| CPU of a signed fp.batch / of the bare engine's signed transaction | %.2f | ≤ 1.5 |\n", ours/signed)
	fmt.Printf("| CPU of a signed fp.batch / (bare engine, unsigned, + 2 verifications) | %.2f | ≤ 1.3 |\n", ours/(engine+2*verify))
	fmt.Printf("| wait for a commit, p50 / of the bare engine | %.2f | ≤ 1.3 |\n", median(all[2].wait)/median(all[1].wait))
	fmt.Printf("| transactions a second when the chain is applied again / of the bare engine, unsigned | %.2f | ≥ 0.3 |\n", median(all[0].replay)/median(all[2].replay))
	fmt.Printf("| the same / of the bare engine, signed | %.2f | |\n", median(all[1].replay)/median(all[2].replay))
	return nil
}

// runFour compares what four nodes log with what one does, by turns. Each batch has
// 16,384 fingerprints.
func runFour(rounds, n int) error {
	var all [2][]float64
	for range rounds {
		for i, nodes := range []int{1, 4} {
			r, err := rate(nodes, n)
			if err != nil {
				return fmt.Errorf("%d nodes: %w", nodes, err)
			}
			all[i] = append(all[i], r)
		}
	}
	one, four := median(all[0]), median(all[1])
	fmt.Printf("| nodes | fp.batch a second | fingerprints a second |\n|---|---|---|\n| one | %.0f | %.3g |\n| four | %.0f | %.3g |\n", one, one*16384, four, four*16384)
	fmt.Printf("\nratio %.2f (goal ≥ 0.15)\n", four/one)
	return nil
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	if len(v) == 0 {
		return 0
	}
	return v[len(v)/2]
}

func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func verifyTime() float64 {
	pub, key, _ := ed25519.GenerateKey(rand.Reader)
	message := make([]byte, 250)
	signature := ed25519.Sign(key, message)
	start := cpu()
	for range 3000 {
		ed25519.Verify(pub, message, signature)
	}
	return float64(cpu()-start) / 3000 / 1e3
}

// tally waits for transactions to be committed.
type tally struct {
	mu    sync.Mutex
	count int
	grown chan struct{}
}

func (t *tally) add(n int, _ time.Time) {
	if n == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count += n
	close(t.grown)
	t.grown = make(chan struct{})
}

func (t *tally) await(n int) error {
	deadline := time.After(2 * time.Minute)
	for {
		t.mu.Lock()
		have, grown := t.count, t.grown
		t.mu.Unlock()
		if have >= n {
			return nil
		}
		select {
		case <-grown:
		case <-deadline:
			return fmt.Errorf("%d of %d are committed", have, n)
		}
	}
}

// measure runs one system once: n transactions at once for the CPU, then 60 one
// after the other for the wait.
func measure(which, n int, f *figures) error {
	const single = 60
	dir, err := os.MkdirTemp("", "bench-ledger")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	t := &tally{grown: make(chan struct{})}
	var s system
	var txs [][]byte
	first := 0
	if which < 2 {
		_, key, _ := ed25519.GenerateKey(rand.Reader)
		for i := range n + single {
			txs = append(txs, bareTx(key, i, which == 1))
		}
		if s, err = newBare(dir, which == 1, t.add); err != nil {
			return err
		}
	} else {
		o, err := newOurs(dir, t)
		if err != nil {
			return err
		}
		if txs, err = o.batches(n + single); err != nil {
			return err
		}
		s, first = o, o.before
	}
	stopped := false
	defer func() {
		if !stopped {
			s.stop()
		}
	}()

	start := cpu()
	for i, tx := range txs[:n] {
		for {
			err := s.submit(tx)
			if err == nil {
				break
			}
			if !errors.Is(err, comet.ErrBusy) {
				return fmt.Errorf("transaction %d: %w", i, err)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	if err := t.await(first + n); err != nil {
		return err
	}
	f.cpu = append(f.cpu, float64(cpu()-start)/float64(n)/1e3)

	var waits []float64
	for i, tx := range txs[n:] {
		time.Sleep(50 * time.Millisecond) // 20 a second at most
		start := time.Now()
		if err := s.submit(tx); err != nil {
			return err
		}
		if err := t.await(first + n + i + 1); err != nil {
			return err
		}
		waits = append(waits, float64(time.Since(start))/1e6)
	}
	f.wait = append(f.wait, median(waits))

	// The whole chain again: the bare application from nothing, ours as 'node replay'.
	stopped = true
	if err := s.stop(); err != nil {
		return err
	}
	begun := time.Now()
	if which < 2 {
		again, err := newBare(dir, which == 1, func(int, time.Time) {})
		if err != nil {
			return err
		}
		f.replay = append(f.replay, float64(time.Since(begun))/float64(len(txs))/1e3)
		return again.stop()
	}
	if err := comet.Blocks(dir, func(*state.Block, *state.State) error { return nil }); err != nil {
		return err
	}
	f.replay = append(f.replay, float64(time.Since(begun))/float64(len(txs))/1e3)
	return nil
}

// ours is a node of the ledger, alone, with one issuer.
type ours struct {
	node   *comet.Node
	key    ed25519.PrivateKey
	oid    state.OID
	before int // leaves that the log had
	end    context.CancelFunc
}

func oid(tail string) state.OID {
	o, err := state.ParseOID("2.25.329800735698586629295641978511506172918." + tail)
	if err != nil {
		panic(err)
	}
	return o
}

func newOurs(dir string, t *tally) (*ours, error) {
	ctx := context.Background()
	id, err := comet.MakeKeys(dir, state.ConsensusEd25519)
	if err != nil {
		return nil, err
	}
	_, online, err1 := ed25519.GenerateKey(rand.Reader)
	_, root, err2 := ed25519.GenerateKey(rand.Reader)
	_, issuer, err3 := ed25519.GenerateKey(rand.Reader)
	onlineKey, err4 := state.NewKey(online.Public())
	rootKey, err5 := state.NewKey(root.Public())
	issuerKey, err6 := state.NewKey(issuer.Public())
	if err := errors.Join(err1, err2, err3, err4, err5, err6); err != nil {
		return nil, err
	}
	now := uint64(time.Now().Unix())
	sca := sha256.Sum256([]byte("fictitious signing authority"))
	params := state.DefaultParams
	params.QuotaTxs, params.QuotaBytes = 1<<30, 1<<40
	g := &state.Genesis{Federation: oid("0"), Time: now - 60, Params: params,
		Trust: []state.Participant{{Code: "XA", SCAs: []state.Hash{sca}}},
		Members: []state.Member{{OID: oid("1"), Code: "XA", SCA: sca, Provider: sca, Voting: true,
			Keys: []state.Key{onlineKey}, Root: rootKey}},
		Validators: []state.Validator{{Member: oid("1"), Type: id.Type, Key: id.Key, Power: 1}}}
	if err := os.WriteFile(filepath.Join(dir, comet.GenesisFile), g.Encode(), 0o600); err != nil {
		return nil, err
	}
	o := &ours{key: issuer, oid: oid("2")}
	if o.node, err = comet.Start(ctx, comet.Options{Dir: dir, Log: slog.New(slog.DiscardHandler)}); err != nil {
		return nil, err
	}
	follow, end := context.WithCancel(ctx)
	o.end = end
	go func() {
		for size := uint64(0); follow.Err() == nil; {
			grown := o.node.Grown()
			if now := o.node.Head().Size; now > size {
				t.add(int(now-size), time.Now())
				size = now
			}
			select {
			case <-grown:
			case <-follow.Done():
			}
		}
	}()
	put := &state.Put{Role: state.Issuer, OID: o.oid, Keys: []state.Key{issuerKey}, Scope: state.ScopeBatch, From: now - 60, Until: now + 86400}
	tx, err := o.sign(oid("1"), 1, put, online, issuer)
	if err != nil {
		return nil, err
	}
	if err := o.submit(tx); err != nil {
		return nil, err
	}
	if err := t.await(2); err != nil { // the genesis is a leaf
		return nil, err
	}
	for range 100 { // an epoch may close with it
		time.Sleep(10 * time.Millisecond)
	}
	t.mu.Lock()
	o.before = t.count
	t.mu.Unlock()
	return o, nil
}

func (o *ours) sign(actor state.OID, seq uint64, body state.Body, keys ...crypto.Signer) ([]byte, error) {
	tx := &state.Tx{Actor: actor, Seq: seq, Body: body}
	o.node.Read(func(s *state.State) { tx.Chain, tx.ValidUntil = s.Chain(), s.Height()+s.Params().MaxLife })
	return tx.Sign(rand.Reader, keys...)
}

// batches are transactions that each have the root of a batch of 16,384.
func (o *ours) batches(n int) ([][]byte, error) {
	txs := make([][]byte, n)
	var previous state.Hash
	for i := range txs {
		root := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i)))
		var err error
		if txs[i], err = o.sign(o.oid, uint64(i)+1, &state.Batch{Root: root, Class: 14, Schema: oid("6"), Issuer: o.oid, Epoch: uint64(i), Previous: previous}, o.key); err != nil {
			return nil, err
		}
		previous = root
	}
	return txs, nil
}

func (o *ours) submit(tx []byte) error { return o.node.Submit(context.Background(), tx) }

func (o *ours) stop() error {
	o.end()
	return o.node.Stop()
}
