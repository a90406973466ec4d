package state

import (
	"crypto"
	"fmt"
	"syscall"
	"testing"
	"time"

	"ampoule/format/cose"
)

// BenchmarkBatch measures fp.batch from its bytes to the rows, as a block takes
// it, beside the bare signature check that is in it.
func BenchmarkBatch(b *testing.B) {
	const perBlock = 100
	for _, alg := range []string{"Ed25519", "ES256", "ML-DSA-65"} {
		signer := map[string]func(string) crypto.Signer{"Ed25519": ed, "ES256": es, "ML-DSA-65": ml}[alg]("bench")
		prepare := func(b *testing.B) (*kit, [][]byte) {
			k := newKit(b, genesis(1, 1))
			p := put(Issuer, issuerOID, ScopeBatch, signer)
			p.Until = start + 1e9
			k.must(member0(), p, online(0), signer)
			var txs [][]byte
			var last Hash
			for n := range uint64(perBlock) {
				tx := k.tx(issuerOID, &Batch{Root: hash(fmt.Sprint(n)), Class: 14, Schema: schemaOID, Issuer: issuerOID, Epoch: 1, Previous: last})
				tx.Seq += n
				last = hash(fmt.Sprint(n))
				txs = append(txs, k.sign(tx, signer))
			}
			return k, txs
		}
		k, txs := prepare(b)
		snapshot := k.s.Snapshot()
		m, err := cose.ParseSingle(txs[0])
		if err != nil {
			b.Fatal(err)
		}
		pub := signer.Public()
		// Both are done in turn in one run, and counted in processor time: the
		// machine has others to serve.
		b.Run(alg, func(b *testing.B) {
			var whole, bare time.Duration
			for b.Loop() {
				s, err := Restore(snapshot)
				if err != nil {
					b.Fatal(err)
				}
				from := processorTime(b)
				out, err := s.Apply(&Block{Height: s.Height() + 1, Time: s.Time(), Txs: txs})
				if err != nil {
					b.Fatal(err)
				}
				until := processorTime(b)
				for range perBlock {
					if err := m.Verify(pub); err != nil {
						b.Fatal(err)
					}
				}
				whole, bare = whole+until-from, bare+processorTime(b)-until
				for _, r := range out.Results {
					if r.Reason != "" {
						b.Fatal(r.Reason)
					}
				}
			}
			each := float64(b.N * perBlock)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(len(txs[0])), "bytes")
			b.ReportMetric(float64(whole.Microseconds())/each, "µs/tx")
			b.ReportMetric(float64(bare.Microseconds())/each, "µs/verify")
			b.ReportMetric(float64(whole)/float64(bare), "ratio")
		})
	}
}

// processorTime is what this process has used of the processors, its collector of
// garbage included.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
