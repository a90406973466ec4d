package storetest

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/cloudflare/circl/sign/mldsa/mldsa44"
	"github.com/cloudflare/circl/sign/mldsa/mldsa65"

	"ampoule/format/cbor"
	"ampoule/ledger/state"
	"ampoule/ledger/tlog"
	"ampoule/party/notary"
)

// Ledger is a small notary of its own over the rules of the ledger: one member, one
// log, one cosigner, and blocks that are made when the test says so. It is a
// [notary.Service].
type Ledger struct {
	Issuer  state.OID
	Keys    []crypto.Signer // of the issuer: ES256, and ML-DSA-65 for a hybrid one
	Policy  *tlog.Policy
	Text    string            // of the policy
	Notary  *ecdsa.PrivateKey // signs receipts
	Genesis []byte

	t        testing.TB
	member   state.OID
	memberOf crypto.Signer
	hybrid   bool
	scope    uint64
	now      uint64
	log      *tlog.NoteSigner
	cosigner *tlog.NoteSigner

	mu         sync.Mutex // guards what follows
	state      *state.State
	entries    [][]byte
	tree       *tlog.Tree
	waiting    [][]byte
	checkpoint []byte
	cosigned   uint64 // size of the checkpoint
}

// TestOID makes an identifier below an arc of the tests.
func TestOID(t testing.TB, path string) state.OID {
	t.Helper()
	o, err := state.ParseOID("2.25.223663911137393153049376526024574932091." + path)
	must(t, err)
	return o
}

const ledgerOrigin = "oid/2.25.223663911137393153049376526024574932091.1.1"

// NewLedger makes a ledger with one issuer, which may write batches and lists.
func NewLedger(t testing.TB, hybrid bool) *Ledger {
	t.Helper()
	l := &Ledger{t: t, Issuer: TestOID(t, "3.1"), member: TestOID(t, "1.2"), hybrid: hybrid, now: uint64(Day.Unix()), tree: new(tlog.Tree)}
	l.scope = state.ScopeBatch | state.ScopeStatus
	_, l.memberOf, _ = ed25519.GenerateKey(rand.Reader)
	_, root, _ := ed25519.GenerateKey(rand.Reader)
	consensus, _, _ := ed25519.GenerateKey(rand.Reader)
	g := &state.Genesis{Federation: TestOID(t, "0"), Time: l.now, Params: state.DefaultParams}
	g.Members = []state.Member{{
		OID: l.member, Code: "XA", SCA: sha256.Sum256([]byte("sca")), Provider: sha256.Sum256([]byte("host")), Voting: true,
		Keys: []state.Key{ledgerKey(t, l.memberOf)}, Root: ledgerKey(t, root),
	}}
	g.Validators = []state.Validator{{Member: l.member, Type: state.ConsensusEd25519, Key: string(consensus), Power: 1}}
	g.Trust = []state.Participant{{Code: "XA", SCAs: []state.Hash{sha256.Sum256([]byte("sca"))}}}
	l.Genesis = g.Encode()
	var err error
	l.state, err = state.New(l.Genesis)
	must(t, err)
	l.grow(l.Genesis)

	es, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	l.Keys = []crypto.Signer{es}
	if hybrid {
		_, ml, err := mldsa65.GenerateKey(rand.Reader)
		must(t, err)
		l.Keys = append(l.Keys, ml)
	}
	l.Register(l.scope)

	if l.Notary, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	_, log, _ := ed25519.GenerateKey(rand.Reader)
	l.log, err = tlog.NewNoteSigner(ledgerOrigin, tlog.Ed25519Note, log)
	must(t, err)
	_, cosigner, err := mldsa44.GenerateKey(rand.Reader)
	must(t, err)
	l.cosigner, err = tlog.NewNoteSigner("oid/2.25.223663911137393153049376526024574932091.2.1", tlog.MLDSA44Cosignature, cosigner)
	must(t, err)
	l.Text = fmt.Sprintf("log %s\nwitness one %s\nquorum one\n", l.log.Key, l.cosigner.Key)
	l.Policy, err = tlog.ParsePolicy([]byte(l.Text))
	must(t, err)
	return l
}

func ledgerKey(t testing.TB, s crypto.Signer) state.Key {
	t.Helper()
	k, err := state.NewKey(s.Public())
	must(t, err)
	return k
}

// Register has the member register the issuer with its keys, or renew it with another
// scope.
func (l *Ledger) Register(scope uint64) {
	l.t.Helper()
	put := &state.Put{Role: state.Issuer, OID: l.Issuer, Hybrid: l.hybrid, Scope: scope, From: l.now, Until: l.now + 400*86400}
	signers := []crypto.Signer{l.memberOf}
	if l.state.Seq(l.member) == 0 {
		for _, s := range l.Keys {
			put.Keys = append(put.Keys, ledgerKey(l.t, s))
		}
		signers = append(signers, l.Keys...)
		slices.SortFunc(put.Keys, func(a, b state.Key) int { return bytes.Compare(a.KID[:], b.KID[:]) })
	}
	l.asMember(put, signers...)
}

// Rotate gives the issuer a new key in the place of its first.
func (l *Ledger) Rotate() {
	l.t.Helper()
	fresh, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(l.t, err)
	old := ledgerKey(l.t, l.Keys[0])
	l.asMember(&state.Rotate{Role: state.Issuer, OID: l.Issuer, End: []state.Hash{old.KID}, Add: []state.Key{ledgerKey(l.t, fresh)}, Hybrid: l.hybrid}, l.memberOf, fresh)
	l.Keys = append([]crypto.Signer{fresh}, l.Keys[1:]...)
	l.Block() // its keys count from the next height on
}

// Suspend has the member suspend the issuer.
func (l *Ledger) Suspend() {
	l.t.Helper()
	l.asMember(&state.Suspend{Role: state.Issuer, OID: l.Issuer}, l.memberOf)
}

func (l *Ledger) asMember(body state.Body, signers ...crypto.Signer) {
	l.t.Helper()
	l.write(l.member, body, signers...)
}

// WriteAsIssuer writes something in the name of the issuer, as a second process with
// its key would.
func (l *Ledger) WriteAsIssuer(body state.Body) {
	l.t.Helper()
	l.write(l.Issuer, body, l.Keys...)
}

func (l *Ledger) write(actor state.OID, body state.Body, signers ...crypto.Signer) {
	l.t.Helper()
	tx := &state.Tx{Chain: l.state.Chain(), Actor: actor, Seq: l.state.Seq(actor) + 1, ValidUntil: l.state.Height() + 5, Body: body}
	data, err := tx.Sign(rand.Reader, slices.Clone(signers)...)
	must(l.t, err)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.apply(data)
}

// Block makes a block of what waits.
func (l *Ledger) Block() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, reason := range l.tick() {
		_ = reason // what is refused in a block was overtaken
	}
}

// Blocks makes empty blocks.
func (l *Ledger) Blocks(n int) {
	for range n {
		l.Block()
	}
}

// Forget loses what waits for a block, as a node that ends does.
func (l *Ledger) Forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = nil
}

// Cosign publishes a checkpoint of all there is.
func (l *Ledger) Cosign() {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	c := &tlog.Checkpoint{Origin: ledgerOrigin, Size: l.tree.Size(), Root: l.tree.Root()}
	note, err := c.Note()
	must(l.t, err)
	must(l.t, l.log.Sign(rand.Reader, note, 0))
	must(l.t, l.cosigner.Sign(rand.Reader, note, int64(l.now)))
	l.checkpoint, l.cosigned = note.Encode(), c.Size
}

// Checkpoint returns the one that was cosigned last.
func (l *Ledger) Checkpoint() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.checkpoint
}

// Bodies are what transactions in the log ask for, in its order.
func (l *Ledger) Bodies() (out []state.Body) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.entries {
		if tx, err := state.ParseTx(e); err == nil {
			out = append(out, tx.Body)
		}
	}
	return out
}

func (l *Ledger) tick() []string {
	txs := l.waiting
	l.waiting = nil
	return l.applyAll(txs)
}

func (l *Ledger) apply(tx []byte) {
	l.t.Helper()
	if reasons := l.applyAll([][]byte{tx}); len(reasons) > 0 {
		l.t.Fatal(reasons)
	}
}

func (l *Ledger) applyAll(txs [][]byte) (refused []string) {
	l.t.Helper()
	l.now++
	out, err := l.state.Apply(&state.Block{Height: l.state.Height() + 1, Time: l.now, Txs: txs})
	must(l.t, err)
	for _, r := range out.Results {
		if r.Reason != "" {
			refused = append(refused, r.Reason)
		}
	}
	for _, e := range out.Entries {
		l.grow(e)
	}
	return refused
}

func (l *Ledger) grow(entry []byte) {
	l.entries = append(l.entries, entry)
	l.tree.Append(tlog.LeafHash(entry))
}

// Actor implements [notary.Service].
func (l *Ledger) Actor(_ context.Context, oid state.OID) (*notary.Actor, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if oid != l.Issuer {
		return nil, notary.ErrNoActor
	}
	a := &notary.Actor{Chain: l.state.Chain(), Height: l.state.Height(), MaxLife: l.state.Params().MaxLife, Seq: l.state.Seq(oid), Hybrid: l.hybrid}
	for _, k := range l.Keys {
		a.Keys = append(a.Keys, ledgerKey(l.t, k).KID)
	}
	for key, row := range l.state.Rows() {
		if key == "b/"+string(oid) {
			v, err := cbor.Parse(row, cbor.DefaultLimits)
			if err != nil {
				return nil, err
			}
			root, _ := v.Index(0).Bytes()
			epoch, _ := v.Index(1).Int()
			a.Batch, a.Epoch = tlog.Hash(root), uint64(epoch)
		}
	}
	return a, nil
}

// Submit implements [notary.Service].
func (l *Ledger) Submit(_ context.Context, tx []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if slices.ContainsFunc(l.waiting, func(w []byte) bool { return bytes.Equal(w, tx) }) {
		return nil
	}
	pool := l.state.Mempool()
	for _, w := range l.waiting {
		if err := pool.CheckTx(w); err != nil {
			return err
		}
	}
	if err := pool.CheckTx(tx); err != nil {
		return err
	}
	l.waiting = append(l.waiting, tx)
	return nil
}

func (l *Ledger) find(leaf tlog.Hash) (uint64, bool) {
	i := slices.IndexFunc(l.entries, func(e []byte) bool { return tlog.LeafHash(e) == leaf })
	return uint64(max(i, 0)), i >= 0
}

// Standing implements [notary.Service].
func (l *Ledger) Standing(_ context.Context, leaf tlog.Hash) (*notary.Standing, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &notary.Standing{Height: l.state.Height()}
	s.Index, s.Logged = l.find(leaf)
	s.Cosigned = s.Logged && s.Index < l.cosigned
	return s, nil
}

// Prove implements [notary.Service].
func (l *Ledger) Prove(_ context.Context, leaf tlog.Hash) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	index, ok := l.find(leaf)
	switch {
	case !ok:
		return nil, notary.ErrNotLogged
	case index >= l.cosigned:
		return nil, notary.ErrNotCosigned
	}
	path, err := tlog.ProveInclusion(index, l.cosigned, l.tree)
	if err != nil {
		return nil, err
	}
	return (&tlog.LogProof{Index: index, Path: path, Checkpoint: l.checkpoint}).Encode()
}

// Receipt implements [notary.Service].
func (l *Ledger) Receipt(_ context.Context, root tlog.Hash) (*tlog.RootSignature, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, e := range l.entries {
		tx, err := state.ParseTx(e)
		if err != nil {
			continue
		}
		if b, ok := tx.Body.(*state.Batch); !ok || b.Root != root {
			continue
		}
		if uint64(i) >= l.cosigned {
			return nil, notary.ErrNotCosigned
		}
		return tlog.SignRoot(rand.Reader, l.Notary, root)
	}
	return nil, notary.ErrNotLogged
}
