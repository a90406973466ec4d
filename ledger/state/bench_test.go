package state

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"testing"

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
		b.Run(alg+"/transaction", func(b *testing.B) {
			b.ReportAllocs()
			b.ReportMetric(float64(len(txs[0])), "bytes")
			for b.Loop() {
				b.StopTimer()
				s, err := Restore(snapshot)
				if err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				out, err := s.Apply(&Block{Height: s.Height() + 1, Time: s.Time(), Txs: txs})
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				for _, r := range out.Results {
					if r.Reason != "" {
						b.Fatal(r.Reason)
					}
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*perBlock), "ns/tx")
		})
		b.Run(alg+"/verify", func(b *testing.B) {
			m, err := cose.ParseSingle(txs[0])
			if err != nil {
				b.Fatal(err)
			}
			pub := signer.Public()
			for b.Loop() {
				if err := m.Verify(pub); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("ES256/bare", func(b *testing.B) {
		k := es("bench").(*ecdsa.PrivateKey)
		digest := sha256.Sum256([]byte("x"))
		sig, err := ecdsa.SignASN1(rand.Reader, k, digest[:])
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if !ecdsa.VerifyASN1(&k.PublicKey, digest[:], sig) {
				b.Fatal("refused")
			}
		}
	})
}
