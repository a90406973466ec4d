// Package ledgertest makes small federations for tests: their members, keys and
// genesis, and replicas of the ledger in folders, for which each transaction is a
// block. Everything is derived from names, so that it is the same each time.
package ledgertest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloudflare/circl/sign/mldsa/mldsa44"
	"github.com/cloudflare/circl/sign/mldsa/mldsa65"

	"ampoule/ledger/state"
	"ampoule/ledger/tlog"
	"ampoule/party/notary"
)

// Start is the time of the genesis, in seconds.
const Start = 1_800_000_000

// Arc is that of the federation, below the UUID arc.
const Arc = "2.25.329800735698586629295641978511506172918"

// Origin is the name of its log.
const Origin = "oid/" + Arc + ".1.1"

// OID is an identifier below the federation's arc.
func OID(path string) state.OID {
	o, err := state.ParseOID(Arc + "." + path)
	if err != nil {
		panic(err)
	}
	return o
}

// Issuer, Schema and Device are identifiers of every federation; the issuer is
// registered by the first member.
var (
	Issuer = OID("3.1")
	Schema = OID("6.1")
	Device = OID("4.1")
)

// Member is the identifier of a member, from 1.
func Member(n int) state.OID { return OID(fmt.Sprintf("9.%d", n)) }

func seed(name string) [32]byte { return sha256.Sum256([]byte("specimen " + name)) }

// Ed25519, ES256, MLDSA44 and MLDSA65 are keys by their names.
func Ed25519(name string) ed25519.PrivateKey {
	s := seed(name)
	return ed25519.NewKeyFromSeed(s[:])
}

// ES256 is a P-256 key.
func ES256(name string) *ecdsa.PrivateKey {
	s := seed(name)
	k, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), s[:])
	if err != nil {
		panic(err)
	}
	return k
}

// MLDSA44 is a cosigner's key.
func MLDSA44(name string) *mldsa44.PrivateKey {
	s := seed(name)
	_, k := mldsa44.NewKeyFromSeed(&s)
	return k
}

// MLDSA65 is a root key.
func MLDSA65(name string) *mldsa65.PrivateKey {
	s := seed(name)
	_, k := mldsa65.NewKeyFromSeed(&s)
	return k
}

// MemberKey, RootKey and IssuerKey sign for whom they are named after.
func MemberKey(n int) crypto.Signer { return Ed25519(fmt.Sprint("member ", n)) }

// RootKey rotates the keys of a member.
func RootKey(n int) crypto.Signer { return MLDSA65(fmt.Sprint("root ", n)) }

// IssuerKey signs batches.
func IssuerKey() crypto.Signer { return ES256("issuer") }

// LogKey signs checkpoints as the log, on the node of a member.
func LogKey(n int) *tlog.NoteSigner {
	return note(Origin, tlog.Ed25519Note, Ed25519(fmt.Sprint("log ", n)))
}

// CosignerName is the name of a member's cosigner.
func CosignerName(n int) string { return fmt.Sprintf("oid/%s.2.%d", Arc, n) }

// CosignerKey cosigns on the node of a member.
func CosignerKey(n int) *tlog.NoteSigner {
	return note(CosignerName(n), tlog.MLDSA44Cosignature, MLDSA44(fmt.Sprint("cosigner ", n)))
}

// WitnessKey is that of a witness outside the federation.
func WitnessKey(name string, typ tlog.KeyType) *tlog.NoteSigner {
	if typ == tlog.MLDSA44Cosignature {
		return note(name, typ, MLDSA44("witness "+name))
	}
	return note(name, typ, Ed25519("witness "+name))
}

func note(name string, typ tlog.KeyType, k crypto.Signer) *tlog.NoteSigner {
	s, err := tlog.NewNoteSigner(name, typ, k)
	if err != nil {
		panic(err)
	}
	return s
}

// Key is the public part of a key as the ledger has it.
func Key(s crypto.Signer) state.Key {
	k, err := state.NewKey(s.Public())
	if err != nil {
		panic(err)
	}
	return k
}

func hash(name string) tlog.Hash { return seed(name) }

// Genesis is that of a number of members, all of them validators: one, or four and
// more. Epochs have so many blocks.
func Genesis(members int, epoch uint64) *state.Genesis {
	g := &state.Genesis{Federation: OID("0"), Time: Start, Params: state.DefaultParams}
	g.Federation, _ = state.ParseOID(Arc)
	g.Params.EpochBlocks = epoch
	for n := 1; n <= members; n++ {
		code := string([]byte{'X', byte('A' + n - 1)})
		m := state.Member{
			OID: Member(n), Code: code, SCA: hash(fmt.Sprint("sca ", n)), Provider: hash(fmt.Sprint("host ", n)),
			Voting: true, Keys: []state.Key{Key(MemberKey(n))}, Root: Key(RootKey(n)),
		}
		g.Members = append(g.Members, m)
		g.Trust = append(g.Trust, state.Participant{Code: code, SCAs: []tlog.Hash{m.SCA}})
		public := Ed25519(fmt.Sprint("consensus ", n)).Public().(ed25519.PublicKey)
		g.Validators = append(g.Validators, state.Validator{Member: m.OID, Type: state.ConsensusEd25519, Key: string(public), Power: 1})
	}
	return g
}

// Policy lists the logs and cosigners of members, and witnesses outside; quorum is
// how many of all of them are needed.
func Policy(members int, witnesses []*tlog.NoteSigner, quorum int) []byte {
	var b strings.Builder
	var names []string
	for n := 1; n <= members; n++ {
		fmt.Fprintf(&b, "log %s\n", LogKey(n).Key)
	}
	for n := 1; n <= members; n++ {
		names = append(names, fmt.Sprint("node-", n))
		fmt.Fprintf(&b, "witness node-%d %s\n", n, CosignerKey(n).Key)
	}
	for i, w := range witnesses {
		names = append(names, fmt.Sprint("outside-", i+1))
		fmt.Fprintf(&b, "witness outside-%d %s\n", i+1, w.Key)
	}
	fmt.Fprintf(&b, "group all %d %s\nquorum all\n", quorum, strings.Join(names, " "))
	return []byte(b.String())
}

// Chain is blocks that replicas follow: what is submitted to one of them is a block
// of all at once.
type Chain struct {
	Genesis []byte

	mu       sync.Mutex
	time     uint64
	replicas []*Replica
	blocks   [][]byte
}

// NewChain begins one.
func NewChain(g *state.Genesis) *Chain { return &Chain{Genesis: g.Encode(), time: g.Time} }

// Replica is a copy of the ledger, with its files in a folder.
type Replica struct {
	chain *Chain
	dir   string

	mu     sync.RWMutex
	state  *state.State
	edge   *tlog.Edge
	bundle []byte // the entries of the last bundle, which may be partial
	index  map[tlog.Hash]uint64
	head   notary.Head
	grown  chan struct{}
	held   bool // blocks wait, see Hold
	done   int  // blocks that were taken
}

// Join adds a replica, which takes the blocks there are.
func (c *Chain) Join(t testing.TB, dir string) *Replica {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	s, err := state.New(c.Genesis)
	if err != nil {
		t.Fatal(err)
	}
	r := &Replica{chain: c, dir: dir, state: s, edge: new(tlog.Edge), index: map[tlog.Hash]uint64{}, grown: make(chan struct{})}
	if err := r.write([][]byte{c.Genesis}, s.Time()); err != nil {
		t.Fatal(err)
	}
	c.replicas = append(c.replicas, r)
	if err := r.follow(); err != nil {
		t.Fatal(err)
	}
	return r
}

// Hold keeps blocks from a replica, as a slow network does, or lets them through.
func (r *Replica) Hold(on bool) error {
	r.chain.mu.Lock()
	defer r.chain.mu.Unlock()
	r.held = on
	return r.follow()
}

// follow takes the blocks that it has not. The chain is locked.
func (r *Replica) follow() error {
	for !r.held && r.done < len(r.chain.blocks) {
		b, err := state.ParseBlock(r.chain.blocks[r.done])
		if err != nil {
			return err
		}
		r.done++
		r.mu.Lock()
		out, err := r.state.Apply(b)
		if err == nil {
			err = r.write(out.Entries, b.Time)
		}
		close(r.grown)
		r.grown = make(chan struct{})
		r.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// write appends entries to the files.
func (r *Replica) write(entries [][]byte, now uint64) error {
	for _, e := range entries {
		leaf := tlog.LeafHash(e)
		r.index[leaf] = r.edge.Size()
		var err error
		if r.bundle, err = tlog.AppendEntry(r.bundle, e); err != nil {
			return err
		}
		if err := r.edge.Append(leaf); err != nil {
			return err
		}
		size := r.edge.Size()
		width := int((size-1)%tlog.TileWidth) + 1
		if err := r.put(tlog.TileData{Tile: tlog.Tile{Level: tlog.Entries, Index: (size - 1) / tlog.TileWidth, Width: width}, Data: r.bundle}); err != nil {
			return err
		}
		if width == tlog.TileWidth {
			r.bundle = nil
		}
	}
	for _, t := range r.edge.Tiles() {
		if err := r.put(t); err != nil {
			return err
		}
	}
	r.head = notary.Head{
		Height: r.state.Height(), Time: time.Unix(int64(now), 0), Size: r.edge.Size(), Root: r.edge.Root(), App: r.state.AppHash(), Validating: true,
	}
	return nil
}

func (r *Replica) put(t tlog.TileData) error {
	path := filepath.Join(r.dir, filepath.FromSlash(t.Tile.Path()))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, t.Data, 0o644)
}

// Submit makes a block of a transaction.
func (r *Replica) Submit(_ context.Context, tx []byte) error {
	r.mu.RLock()
	err := r.state.Mempool().CheckTx(tx)
	r.mu.RUnlock()
	if err != nil {
		return err
	}
	return r.chain.Block(tx)
}

// Block makes a block, with transactions or without.
func (c *Chain) Block(txs ...[]byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.time++
	b := &state.Block{Height: uint64(len(c.blocks)) + 1, Time: c.time, Txs: txs}
	c.blocks = append(c.blocks, b.Encode())
	var errs []error
	for _, r := range c.replicas {
		errs = append(errs, r.follow())
	}
	return errors.Join(errs...)
}

// Head implements [notary.Replica].
func (r *Replica) Head() notary.Head {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.head
}

// Grown implements [notary.Replica].
func (r *Replica) Grown() <-chan struct{} {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.grown
}

// Read implements [notary.Replica].
func (r *Replica) Read(f func(*state.State)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(r.state)
}

// Find implements [notary.Replica].
func (r *Replica) Find(_ context.Context, leaf tlog.Hash) (uint64, bool, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	i, ok := r.index[leaf]
	return i, ok, nil
}

// Files implements [notary.Replica].
func (r *Replica) Files() fs.FS { return os.DirFS(r.dir) }

// Peers implements [notary.Replica].
func (r *Replica) Peers() []notary.Peer { return nil }

// Tx signs the next transaction of an actor.
func (r *Replica) Tx(t testing.TB, actor state.OID, body state.Body, signers ...crypto.Signer) []byte {
	t.Helper()
	var tx *state.Tx
	r.Read(func(s *state.State) {
		tx = &state.Tx{Chain: s.Chain(), Actor: actor, Seq: s.Seq(actor) + 1, ValidUntil: s.Height() + 100, Body: body}
	})
	data, err := tx.Sign(rand.Reader, slices.Clone(signers)...)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Must submits the next transaction of an actor, and returns it.
func (r *Replica) Must(t testing.TB, actor state.OID, body state.Body, signers ...crypto.Signer) []byte {
	t.Helper()
	tx := r.Tx(t, actor, body, signers...)
	if err := r.Submit(context.Background(), tx); err != nil {
		t.Fatal(err)
	}
	return tx
}

// Register registers the issuer under the first member.
func (r *Replica) Register(t testing.TB) {
	t.Helper()
	r.Must(t, Member(1), &state.Put{
		Role: state.Issuer, OID: Issuer, Keys: []state.Key{Key(IssuerKey())}, Scope: state.ScopeBatch | state.ScopeStatus,
		Document: hash("did"), From: Start, Until: Start + 400*86400,
	}, MemberKey(1), IssuerKey())
}

// Batch anchors the root of a batch, named after a number, and returns the
// transaction and the root.
func (r *Replica) Batch(t testing.TB, n int) (tx []byte, root tlog.Hash) {
	t.Helper()
	root = hash(fmt.Sprint("root ", n))
	b := &state.Batch{Root: root, Class: 10, Schema: Schema, Issuer: Issuer}
	r.Read(func(s *state.State) { b.Previous, b.Epoch = s.LastBatch(Issuer) })
	return r.Must(t, Issuer, b, IssuerKey()), root
}

// Seen is a cosigner's memory that ends with the test.
type Seen struct {
	mu   sync.Mutex
	last map[string]notary.Last
}

// Last implements [notary.Seen].
func (s *Seen) Last(origin string) (notary.Last, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, ok := s.last[origin]
	if !ok {
		return notary.Last{Root: tlog.EmptyRoot()}, nil
	}
	return l, nil
}

// Put implements [notary.Seen].
func (s *Seen) Put(origin string, l notary.Last) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil {
		s.last = map[string]notary.Last{}
	}
	s.last[origin] = l
	return nil
}

// Shelf is a published checkpoint that ends with the test.
type Shelf struct {
	mu   sync.Mutex
	note []byte
}

// Checkpoint implements [notary.Shelf].
func (s *Shelf) Checkpoint() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.note, nil
}

// Publish implements [notary.Shelf].
func (s *Shelf) Publish(note []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.note = slices.Clone(note)
	return nil
}

// Remote asks a cosigner of the same process.
type Remote struct {
	Called string
	*notary.Cosigner
}

// Name implements [notary.Remote].
func (r Remote) Name() string { return r.Called }

// Outside is a witness outside the federation that follows the logs of members.
func Outside(members int, s *notary.Cosigner) *notary.Cosigner {
	for n := 1; n <= members; n++ {
		s.Logs = append(s.Logs, LogKey(n).Key)
	}
	return s
}
