// Scan tries to find known certificates on a ledger. It signs certificates,
// closes batches of their fingerprints, writes the roots to a log, and then is
// somebody who knows everything of every certificate but its signature: the bytes
// that were signed, the issuer's public key and its identifier, another signature
// of the same content, what revocation lists show. It looks for whatever can be
// computed of that in every byte of the log and its tiles; and, as if the issuer's
// own batches had got out, among their leaves.
//
//	go run ./bench/scan            10^6 certificates
//	go run ./bench/scan -n 20000
//
// The same look with the signatures must find every certificate among the leaves,
// and none on the log.
package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"

	"ampoule/format/cbor"
	"ampoule/format/cose"
	"ampoule/ledger/print"
	"ampoule/ledger/state"
	"ampoule/ledger/tlog"
)

func main() {
	n := flag.Int("n", 1_000_000, "certificates")
	flag.Parse()
	f, err := scan(*n)
	if err != nil {
		fmt.Fprintln(os.Stderr, "scan:", err)
		os.Exit(1)
	}
	fmt.Printf("%d certificates in %d batches, log of %d bytes with its tiles\n", *n, f.batches, f.public)
	fmt.Printf("without signatures: %d values tried, %d found on the log, %d among the leaves\n", f.tried, f.onLog, f.inBatches)
	fmt.Printf("with signatures: %d found on the log, %d certificates among the leaves\n", f.controlOnLog, f.controlInBatches)
	if f.onLog+f.inBatches+f.controlOnLog != 0 || f.controlInBatches != *n {
		os.Exit(1)
	}
}

// findings are what was found, and what it was looked for in.
type findings struct {
	batches, public                int
	tried                          int
	onLog, inBatches               int
	controlOnLog, controlInBatches int
}

// certificate is what the scan knows of one; signature it does not know.
type certificate struct {
	message   []byte // the bytes that were signed
	payload   []byte
	twin      []byte // r of another signature of the same message
	signature []byte
}

func scan(n int) (*findings, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	known := make([]certificate, n)
	leaves := make([]print.Leaf, n)
	if err := parallel(n, func(i int) (err error) {
		known[i], leaves[i], err = issue(key, i)
		return err
	}); err != nil {
		return nil, err
	}
	batches, err := print.Close(slices.Clone(leaves), rand.Reader)
	if err != nil {
		return nil, err
	}
	public, err := ledgerOf(batches)
	if err != nil {
		return nil, err
	}

	f := &findings{batches: len(batches), public: len(public)}
	onLog := make(map[tlog.Hash]bool, len(public)) // every 32 bytes in a row
	for i := 0; i+32 <= len(public); i++ {
		onLog[tlog.Hash(public[i:i+32])] = true
	}
	inBatches := make(map[tlog.Hash]bool, 2*n)
	for _, b := range batches {
		for leaf := range slices.Chunk(b.Bytes(), 32) {
			inBatches[tlog.Hash(leaf)] = true
		}
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		return nil, err
	}
	guesses := [][]byte{nil, {}, kid, make([]byte, 32), point, point[1:33], point[33:]}
	var mu sync.Mutex
	return f, parallel(n, func(i int) error {
		c := &known[i]
		tried := candidates(c, guesses)
		var log, batch int
		for _, h := range tried {
			if onLog[h] {
				log++
			}
			if inBatches[h] {
				batch++
			}
		}
		secret := mac(c.signature[:32], c.message)
		mu.Lock()
		defer mu.Unlock()
		f.tried += len(tried)
		f.onLog += log
		f.inBatches += batch
		if onLog[secret] || onLog[tlog.LeafHash(secret[:])] {
			f.controlOnLog++
		}
		if inBatches[secret] {
			f.controlInBatches++
		}
		return nil
	})
}

var kid = []byte("SPECIMEN")

// issue signs a fictitious certificate, and makes the fingerprint of it.
func issue(key *ecdsa.PrivateKey, i int) (certificate, print.Leaf, error) {
	payload := fmt.Appendf(nil, "SPECIMEN DEMO %07d, born 1990-01-01, yellow fever, 2026-11-22", i)
	sign := func() (*cose.Sign1, error) {
		data, err := cose.Sign(rand.Reader, key, kid, payload)
		if err != nil {
			return nil, err
		}
		return cose.Parse(data, cbor.Limits{Depth: 4, Items: 64, Pairs: 16})
	}
	m, err := sign()
	if err != nil {
		return certificate{}, print.Leaf{}, err
	}
	twin, err := sign()
	if err != nil {
		return certificate{}, print.Leaf{}, err
	}
	leaf, err := print.OfSign1(m)
	return certificate{m.AppendSigStructure(nil), payload, twin.Signature[:32], m.Signature}, leaf, err
}

// candidates are the values that come to mind without the signature.
func candidates(c *certificate, guesses [][]byte) []tlog.Hash {
	digest := sha256.Sum256(c.message)
	content := sha256.Sum256(c.payload)
	mark := sha256.Sum256(c.signature) // of which revocation lists have the first half
	halfMark := sha256.Sum256(c.signature[:32])
	out := []tlog.Hash{digest, content, tlog.LeafHash(c.message), tlog.LeafHash(c.payload), tlog.LeafHash(digest[:]), tlog.LeafHash(content[:])}
	for _, secret := range slices.Concat(guesses, [][]byte{digest[:], content[:], c.twin, mark[:16], halfMark[:16], c.message}) {
		for _, m := range [][]byte{c.message, c.payload, digest[:]} {
			h := mac(secret, m)
			out = append(out, h, tlog.LeafHash(h[:]))
		}
	}
	return out
}

func mac(secret, message []byte) tlog.Hash {
	h := hmac.New(sha256.New, secret)
	h.Write(message)
	return tlog.Hash(h.Sum(nil))
}

// ledgerOf writes the roots of batches to a ledger, and returns every byte that it
// shows: the entries, the tiles, the rows of the registry.
func ledgerOf(batches []*print.Batch) ([]byte, error) {
	oid := func(tail string) state.OID {
		o, err := state.ParseOID("2.25.329800735698586629295641978511506172918." + tail)
		if err != nil {
			panic(err)
		}
		return o
	}
	newKey := func() (ed25519.PrivateKey, state.Key, error) {
		pub, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, state.Key{}, err
		}
		k, err := state.NewKey(pub)
		return private, k, err
	}
	online, onlineKey, err := newKey()
	_, rootKey, err1 := newKey()
	consensus, _, err2 := newKey()
	issuer, issuerKey, err3 := newKey()
	if err := errors.Join(err, err1, err2, err3); err != nil {
		return nil, err
	}
	sca := sha256.Sum256([]byte("fictitious signing authority"))
	g := &state.Genesis{
		Federation: oid("0"), Time: 1_800_000_000, Params: state.DefaultParams,
		Trust: []state.Participant{{Code: "XA", SCAs: []state.Hash{sca}}},
		Members: []state.Member{{OID: oid("1"), Code: "XA", SCA: sca, Provider: sha256.Sum256([]byte("host")),
			Voting: true, Keys: []state.Key{onlineKey}, Root: rootKey}},
		Validators: []state.Validator{{Member: oid("1"), Type: state.ConsensusEd25519, Key: string(consensus.Public().(ed25519.PublicKey)), Power: 1}},
	}
	genesis := g.Encode()
	s, err := state.New(genesis)
	if err != nil {
		return nil, err
	}
	entries := [][]byte{genesis}
	apply := func(body state.Body, actor state.OID, signers ...crypto.Signer) error {
		tx := &state.Tx{Chain: s.Chain(), Actor: actor, Seq: s.Seq(actor) + 1, ValidUntil: s.Height() + 100, Body: body}
		signed, err := tx.Sign(rand.Reader, signers...)
		if err != nil {
			return err
		}
		out, err := s.Apply(&state.Block{Height: s.Height() + 1, Time: s.Time() + 1, Txs: [][]byte{signed}})
		if err != nil {
			return err
		}
		if reason := out.Results[0].Reason; reason != "" {
			return fmt.Errorf("%s refused: %s", body.Kind(), reason)
		}
		entries = append(entries, out.Entries...)
		return nil
	}
	if err := apply(&state.Put{Role: state.Issuer, OID: oid("2"), Keys: []state.Key{issuerKey}, Scope: state.ScopeBatch,
		From: g.Time, Until: g.Time + 1e8}, oid("1"), online, issuer); err != nil {
		return nil, err
	}
	var previous state.Hash
	for i, b := range batches {
		class := uint64(0)
		for 1<<class < b.Size() {
			class++
		}
		if err := apply(&state.Batch{Root: b.Root(), Class: class, Schema: oid("6"), Issuer: oid("2"), Epoch: uint64(i), Previous: previous},
			oid("2"), issuer); err != nil {
			return nil, err
		}
		previous = b.Root()
	}

	var public []byte
	edge := new(tlog.Edge)
	for _, e := range entries {
		public = append(binary.BigEndian.AppendUint16(public, uint16(len(e))), e...)
		if err := edge.Append(tlog.LeafHash(e)); err != nil {
			return nil, err
		}
	}
	for _, tile := range edge.Tiles() {
		public = append(public, tile.Data...)
	}
	return append(public, s.Snapshot()...), nil
}

// parallel does f for 0 to n-1 on all processors.
func parallel(n int, f func(int) error) error {
	workers := runtime.GOMAXPROCS(0)
	failed := make(chan error, workers)
	for w := range workers {
		go func() {
			for i := w; i < n; i += workers {
				if err := f(i); err != nil {
					failed <- err
					return
				}
			}
			failed <- nil
		}()
	}
	var err error
	for range workers {
		err = errors.Join(err, <-failed)
	}
	return err
}
