package comet

import (
	"context"
	"fmt"
	"testing"
	"time"

	"ampoule/ledger/state"
	"ampoule/ledger/tlog"
)

// BenchmarkCommit is one transaction after the other, each waited for: what an
// issuer's receipt waits for, before it is cosigned.
func BenchmarkCommit(b *testing.B) {
	dirs, _, _ := folders(b, 1, 1, state.ConsensusEd25519, state.DefaultParams)
	n, seq := start(b, dirs[0]), numbers{}
	defer stop(b, n)
	seq.issuer(b, n, 0, 1)
	i := 0
	for b.Loop() {
		i++
		seq.logged(b, n, seq.anchor(b, n, 1, fmt.Sprint(i)))
	}
}

// BenchmarkStream is as many as the node takes, a thousand at a time.
func BenchmarkStream(b *testing.B) {
	const most = 1000
	params := state.DefaultParams
	params.QuotaTxs, params.QuotaBytes = 1<<30, 1<<40
	dirs, _, _ := folders(b, 1, 1, state.ConsensusEd25519, params)
	n, seq := start(b, dirs[0]), numbers{}
	defer stop(b, n)
	seq.issuer(b, n, 0, 1)
	txs := make([][]byte, b.N)
	for i := range txs {
		txs[i] = seq.anchor(b, n, 1, fmt.Sprint(i))
	}
	ctx := context.Background()
	b.ResetTimer()
	for len(txs) > 0 {
		now := txs[:min(most, len(txs))]
		txs = txs[len(now):]
		for _, tx := range now {
			if err := n.Submit(ctx, tx); err != nil {
				b.Fatal(err)
			}
		}
		for {
			grown := n.Grown()
			if _, ok, _ := n.Find(ctx, tlog.LeafHash(now[len(now)-1])); ok {
				break
			}
			select {
			case <-grown:
			case <-time.After(10 * time.Second):
				b.Fatal("nothing is logged")
			}
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tx/s")
}
