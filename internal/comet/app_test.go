package comet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	"github.com/cometbft/cometbft/types"

	"ampoule/internal/tiles"
	"ampoule/ledger/state"
	"ampoule/ledger/tlog"
)

// bare is the application without an engine: blocks are made by hand.
type bare struct {
	*app
	t      *testing.T
	height int64
	time   time.Time
	ids    []*Identity
	dir    string
	gen    []byte
}

func newBare(t *testing.T, members, validators int, params state.Params) *bare {
	t.Helper()
	dirs, ids, genesis := folders(t, members, validators, state.ConsensusEd25519, params)
	b := &bare{t: t, ids: ids, dir: dirs[0], gen: genesis, time: time.Now()}
	b.open()
	t.Cleanup(func() { b.disk.close() })
	return b
}

func (b *bare) open() {
	b.t.Helper()
	var err error
	if b.app, err = openApp(context.Background(), b.dir, b.gen, b.ids[0].Key); err != nil {
		b.t.Fatal(err)
	}
}

// finalize computes the next block.
func (b *bare) finalize(r abci.RequestFinalizeBlock) *abci.ResponseFinalizeBlock {
	b.t.Helper()
	b.starting.Store(true) // errors come back
	r.Height, r.Time = b.height+1, b.time.Add(time.Duration(b.height)*time.Second)
	out, err := b.FinalizeBlock(context.Background(), &r)
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}

// commit takes it.
func (b *bare) commit() {
	b.t.Helper()
	if _, err := b.Commit(context.Background(), nil); err != nil {
		b.t.Fatal(err)
	}
	b.height++
}

func (b *bare) accepted(txs ...[]byte) {
	b.t.Helper()
	for i, r := range b.finalize(abci.RequestFinalizeBlock{Txs: txs}).TxResults {
		if r.Code != 0 {
			b.t.Fatalf("transaction %d: %s", i, r.Log)
		}
	}
	b.commit()
}

// node gives the application to the helpers of real nodes.
func (b *bare) node() *Node { return &Node{app: b.app} }

func (b *bare) issuer(seq numbers, member, issuer int) {
	b.t.Helper()
	name := fmt.Sprintf("issuer %d", issuer)
	body := &state.Put{Role: state.Issuer, OID: id(fmt.Sprintf("3.%d", issuer)), Keys: []state.Key{keyOf(ed(name))}, Scope: state.ScopeSingle, From: 0, Until: 1 << 40}
	b.accepted(seq.make(b.t, b.node(), country(member).OID, body, ed(fmt.Sprint("member ", member)), ed(name)))
}

// TestUncommitted: nothing is shown or written of a block before its commit.
func TestUncommitted(t *testing.T) {
	b, seq := newBare(t, 1, 1, state.DefaultParams), numbers{}
	b.issuer(seq, 0, 1)
	before, grown := *b.head.Load(), b.node().Grown()
	tx := seq.anchor(t, b.node(), 1, "one")
	b.finalize(abci.RequestFinalizeBlock{Txs: [][]byte{tx}})
	select {
	case <-grown:
		t.Error("grown before the commit")
	default:
	}
	if now := *b.head.Load(); now != before || b.state.LogSize() != before.Size || b.log.Size() != before.Size {
		t.Errorf("%+v became %+v", before, now)
	}
	if _, ok, _ := b.node().Find(t.Context(), tlog.LeafHash(tx)); ok {
		t.Error("the leaf is found before the commit")
	}
	// The block never came: another one does, in its place.
	other := numbers{id("3.1"): seq[id("3.1")] - 1}.anchor(t, b.node(), 1, "another")
	b.accepted(other)
	<-grown
	if i, ok, err := b.node().Find(t.Context(), tlog.LeafHash(other)); !ok || err != nil || i != before.Size {
		t.Errorf("leaf at %d, %v, %v", i, ok, err)
	}
}

// TestCrashInCommit: the log was written, the state was not. The same block makes
// the same log; another one is a fork, and refused.
func TestCrashInCommit(t *testing.T) {
	b, seq := newBare(t, 1, 1, state.DefaultParams), numbers{}
	b.issuer(seq, 0, 1)
	tx := seq.anchor(t, b.node(), 1, "one")
	b.finalize(abci.RequestFinalizeBlock{Txs: [][]byte{tx}})
	if err := b.log.Append(b.draft.Outcome.Entries); err != nil {
		t.Fatal(err)
	}
	want := b.draft.After.AppHash()
	if err := b.disk.close(); err != nil {
		t.Fatal(err)
	}
	b.open()
	if b.state.Height() != 1 || b.log.Size() != 2 {
		t.Fatalf("height %d, size %d", b.state.Height(), b.log.Size())
	}
	other := numbers{id("3.1"): seq[id("3.1")] - 1}.anchor(t, b.node(), 1, "another")
	b.finalize(abci.RequestFinalizeBlock{Txs: [][]byte{other}})
	if _, err := b.Commit(t.Context(), nil); !errors.Is(err, tiles.ErrForked) {
		t.Errorf("another block: %v", err)
	}
	if err := b.disk.close(); err != nil {
		t.Fatal(err)
	}
	b.open()
	b.accepted(tx)
	if b.state.AppHash() != want {
		t.Error("another state")
	}
	if err := tiles.Check(b.log.FS(), b.log.Size(), b.state.LogRoot()); err != nil {
		t.Error(err)
	}
}

// TestShare: under a flood of the ordinary, a block has room for what is urgent,
// though it came last; and a transaction never overtakes another of its actor.
func TestShare(t *testing.T) {
	params := state.DefaultParams
	params.BlockBytes, params.QuotaTxs = 2*state.MaxTx, 100_000
	b, seq := newBare(t, 2, 1, params), numbers{}
	b.issuer(seq, 0, 1)
	b.issuer(seq, 1, 2)
	b.issuer(seq, 1, 3)
	ordinary := seq.make(t, b.node(), country(1).OID, &state.Put{Role: state.Issuer, OID: id("3.2"), Scope: state.ScopeSingle, From: 0, Until: 1 << 41}, ed("member 1"))
	suspend := seq.make(t, b.node(), country(1).OID, &state.Suspend{Role: state.Issuer, OID: id("3.3")}, ed("member 1"))
	alone := seq.make(t, b.node(), country(0).OID, &state.Suspend{Role: state.Issuer, OID: id("3.1")}, ed("member 0"))
	propose := func(txs ...[]byte) [][]byte {
		r, err := b.PrepareProposal(t.Context(), &abci.RequestPrepareProposal{Txs: txs, MaxTxBytes: blockBytes(params)})
		if err != nil {
			t.Fatal(err)
		}
		return r.Txs
	}
	has := func(block [][]byte, tx []byte) bool {
		return slices.ContainsFunc(block, func(b []byte) bool { return bytes.Equal(b, tx) })
	}
	for name, c := range map[string]struct {
		txs  [][]byte
		want []bool // of alone, suspend, ordinary
	}{
		"with room":             {[][]byte{ordinary, suspend, alone}, []bool{true, true, true}},
		"nothing":               {nil, []bool{false, false, false}},
		"behind its own before": {[][]byte{suspend, ordinary}, []bool{false, false, true}},
	} {
		t.Run(name, func(t *testing.T) {
			got := propose(c.txs...)
			if have := []bool{has(got, alone), has(got, suspend), has(got, ordinary)}; !slices.Equal(have, c.want) {
				t.Errorf("%v", have)
			}
		})
	}
	big := params
	big.BlockWork = 2 * 400
	full := newBare(t, 1, 1, big)
	fullSeq := numbers{}
	full.issuer(fullSeq, 0, 1)
	var flood [][]byte
	for i := range 200 {
		flood = append(flood, fullSeq.anchor(t, full.node(), 1, fmt.Sprint(i)))
	}
	urgent := fullSeq.make(t, full.node(), country(0).OID, &state.Suspend{Role: state.Issuer, OID: id("3.1")}, ed("member 0"))
	r, err := full.PrepareProposal(t.Context(), &abci.RequestPrepareProposal{Txs: append(flood, urgent), MaxTxBytes: blockBytes(big)})
	if err != nil {
		t.Fatal(err)
	}
	if !has(r.Txs, urgent) {
		t.Error("what is urgent has to wait")
	}
	// The issuer is suspended by then, so its flood is not in the block.
	if len(r.Txs) != 1 {
		t.Errorf("%d transactions", len(r.Txs))
	}
	answer, err := full.ProcessProposal(t.Context(), &abci.RequestProcessProposal{Txs: r.Txs})
	if err != nil || !answer.IsAccepted() {
		t.Errorf("one's own proposal is refused: %v", err)
	}
	// The engine's bound counts as well.
	if r, err = b.PrepareProposal(t.Context(), &abci.RequestPrepareProposal{Txs: [][]byte{ordinary, suspend}, MaxTxBytes: int64(len(ordinary)) + 20}); err != nil || len(r.Txs) != 1 {
		t.Errorf("%d transactions, %v", len(r.Txs), err)
	}
}

func TestProcessProposal(t *testing.T) {
	params := state.DefaultParams
	params.BlockBytes = 2 * state.MaxTx
	b, seq := newBare(t, 1, 1, params), numbers{}
	b.issuer(seq, 0, 1)
	good := seq.anchor(t, b.node(), 1, "one")
	stranger := numbers{}.anchor(t, b.node(), 9, "stranger")
	for _, c := range []struct {
		name string
		txs  [][]byte
		want bool
	}{
		{"empty", nil, true},
		{"good", [][]byte{good}, true},
		{"twice", [][]byte{good, good}, true}, // refused when it is applied
		{"of a stranger", [][]byte{stranger}, true},
		{"no transaction", [][]byte{good, []byte("junk")}, false},
		{"an empty one", [][]byte{{}}, false},
		{"a byte more", [][]byte{append(bytes.Clone(good), 0)}, false},
		{"too large", [][]byte{make([]byte, state.MaxTx+1)}, false},
		{"too many bytes", slices.Repeat([][]byte{good}, 2*state.MaxTx/len(good)+1), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := b.ProcessProposal(t.Context(), &abci.RequestProcessProposal{Txs: c.txs})
			if err != nil || r.IsAccepted() != c.want {
				t.Errorf("%v, %v", r.Status, err)
			}
			if !c.want {
				return
			}
			// What is let through must be applied without stopping the chain.
			if out := b.finalize(abci.RequestFinalizeBlock{Txs: c.txs}); len(out.TxResults) != len(c.txs) {
				t.Errorf("%d results", len(out.TxResults))
			}
		})
	}
}

// TestEvidence: a key that is shown to have signed twice takes the validator of its
// member; the address of nobody takes none.
func TestEvidence(t *testing.T) {
	b := newBare(t, 5, 5, state.DefaultParams)
	key, err := toEngine(b.ids[2].Type, b.ids[2].Key)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		address []byte
		want    int
	}{{"nobody's", make([]byte, 20), 5}, {"one's", key.Address(), 4}, {"one that is out", key.Address(), 4}} {
		t.Run(c.name, func(t *testing.T) {
			bad := abci.Misbehavior{Type: abci.MisbehaviorType_DUPLICATE_VOTE, Validator: abci.Validator{Address: c.address, Power: 1}}
			before := len(b.state.Validators())
			out := b.finalize(abci.RequestFinalizeBlock{Misbehavior: []abci.Misbehavior{bad, bad}})
			b.commit()
			if got := len(b.state.Validators()); got != c.want || len(out.ValidatorUpdates) != before-c.want {
				t.Errorf("%d validators, %v", got, out.ValidatorUpdates)
			}
			for _, u := range out.ValidatorUpdates {
				if u.Power != 0 || !bytes.Equal(u.PubKey.GetEd25519(), []byte(b.ids[2].Key)) {
					t.Errorf("%v", u)
				}
			}
		})
	}
}

// TestTime: a block whose time is before that of the last, in whole seconds or by a
// broken engine, has the time of the last.
func TestTime(t *testing.T) {
	b := newBare(t, 1, 1, state.DefaultParams)
	for _, at := range []time.Time{b.time.Add(3 * time.Second), b.time.Add(3*time.Second - time.Millisecond), {}, time.Unix(math.MinInt32, 0)} {
		block := blockOf(b.state, b.height+1, at, nil, nil)
		if block.Time < b.state.Time() {
			t.Errorf("%v: %d before %d", at, block.Time, b.state.Time())
		}
		d, err := b.state.Draft(block)
		if err != nil {
			t.Fatal(err)
		}
		d.Take()
		b.height++
	}
}

// TestUpgrade: at the height of an upgrade that this build does not know the node
// says so and stops, without a trace of the engine, and does not start again.
func TestUpgrade(t *testing.T) {
	dirs, _, _ := folders(t, 1, 1, state.ConsensusEd25519, state.DefaultParams)
	n, seq := start(t, dirs[0]), numbers{}
	up := &state.Upgrade{Height: n.Head().Height + 5, Version: state.AppVersion + 1, Binaries: []tlog.Hash{hash("binary")}}
	seq.logged(t, n, seq.make(t, n, country(0).OID, &state.Propose{Proposal: up}, ed("member 0")))
	for i := 0; n.Err() == nil; i++ {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		body := &state.Put{Role: state.Issuer, OID: id(fmt.Sprintf("3.%d", 10+i)), Keys: []state.Key{keyOf(ed(fmt.Sprint(i)))}, Scope: state.ScopeSingle, From: 0, Until: 1 << 40}
		_, err := waitLogged(ctx, n, seq.make(t, n, country(0).OID, body, ed("member 0"), ed(fmt.Sprint(i))))
		cancel()
		if err != nil && n.Err() == nil {
			t.Fatal(err)
		}
		if i > 20 {
			t.Fatal("it goes on")
		}
	}
	<-n.Failed()
	if !errors.Is(n.Err(), state.ErrUpgrade) {
		t.Errorf("%v", n.Err())
	}
	if h := n.Head(); h.Height != up.Height-1 {
		t.Errorf("it stands at %d", h.Height)
	}
	if err := n.Submit(t.Context(), []byte("anything")); err == nil {
		t.Error("it takes transactions")
	}
	head := n.Head()
	stop(t, n)
	if s, err := Stored(t.Context(), dirs[0]); err != nil || s.AppHash() != head.App {
		t.Errorf("on the disk: %v", err)
	}
}

// TestFolder: what is in a node's folder must belong together.
func TestFolder(t *testing.T) {
	b, seq := newBare(t, 1, 1, state.DefaultParams), numbers{}
	b.issuer(seq, 0, 1)
	b.accepted(seq.anchor(t, b.node(), 1, "one"))
	again := func() error {
		a, err := openApp(t.Context(), b.dir, b.gen, "")
		if err == nil {
			err = a.disk.close()
		}
		return err
	}
	if err := again(); err != nil {
		t.Fatal(err)
	}
	// A row that somebody has changed.
	change := func(query string, args ...any) {
		t.Helper()
		if r, err := b.disk.db.Exec(query, args...); err != nil {
			t.Fatal(err)
		} else if n, err := r.RowsAffected(); n != 1 || err != nil {
			t.Fatalf("%d rows, %v", n, err)
		}
	}
	number := []byte("n/" + string(country(0).OID))
	change(`UPDATE rows SET row = ? WHERE key = ?`, []byte{0x81, 2}, number)
	if err := again(); !errors.Is(err, ErrDamaged) {
		t.Errorf("a row of another number: %v", err)
	}
	was, _ := rowOf(b.state, string(number))
	change(`UPDATE rows SET row = ? WHERE key = ?`, was, number)
	change(`UPDATE app SET hash = x'00'`)
	if err := again(); !errors.Is(err, ErrDamaged) {
		t.Errorf("another application hash: %v", err)
	}
	app := b.state.AppHash()
	change(fmt.Sprintf(`UPDATE app SET hash = x'%x'`, app))
	// A tile that somebody has changed.
	tile := filepath.Join(b.dir, LogFolder, "tile/0/000.p/3")
	good, err := os.ReadFile(tile)
	if err != nil {
		t.Fatal(err)
	}
	bad := bytes.Clone(good)
	bad[40] ^= 1
	if err := os.WriteFile(tile, bad, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := again(); !errors.Is(err, ErrDamaged) {
		t.Errorf("another tile: %v", err)
	}
	if err := os.WriteFile(tile, good, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := again(); err != nil {
		t.Error(err)
	}
	// A leaf that is not where its hash says.
	size := b.state.LogSize()
	if err := CheckIndex(t.Context(), b.dir, size); err != nil {
		t.Error(err)
	}
	for _, c := range []struct{ bend, mend string }{
		{`UPDATE leaves SET number = 7 WHERE number = 1`, `UPDATE leaves SET number = 1 WHERE number = 7`},
		{`UPDATE leaves SET number = 7 WHERE number = 2`, `UPDATE leaves SET number = 2 WHERE number = 7`},
		{`UPDATE leaves SET hash = CAST(hash || x'00' AS BLOB) WHERE number = 2`, `UPDATE leaves SET hash = CAST(substr(hash, 1, 32) AS BLOB) WHERE number = 2`},
	} {
		change(c.bend)
		if err := CheckIndex(t.Context(), b.dir, size); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", c.bend, err)
		}
		change(c.mend)
	}
	if err := CheckIndex(t.Context(), b.dir, size); err != nil {
		t.Error(err)
	}
	// The genesis of another ledger.
	g, err := state.ParseGenesis(b.gen)
	if err != nil {
		t.Fatal(err)
	}
	g.Time--
	if a, err := openApp(t.Context(), b.dir, g.Encode(), ""); !errors.Is(err, ErrOtherChain) {
		t.Errorf("another genesis: %v", err)
		if err == nil {
			a.disk.close()
		}
	}
}

func rowOf(s *state.State, key string) ([]byte, bool) {
	for k, row := range s.Rows() {
		if k == key {
			return row, true
		}
	}
	return nil, false
}

func TestKeyFiles(t *testing.T) {
	dir := t.TempDir()
	made, err := MakeKeys(dir, state.ConsensusMLDSA65)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := MakeKeys(dir, state.ConsensusEd25519); err != nil || *again != *made {
		t.Errorf("the keys are others: %v", err)
	}
	if _, err := toEngine(made.Type, made.Key); err != nil || made.Type != state.ConsensusMLDSA65 {
		t.Error(err)
	}
	// Without what was signed last a node must not start.
	for _, name := range []string{keyFile, signedFile, nodeKeyFile} {
		path := filepath.Join(dir, cometFolder, name)
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, good[:len(good)/2], 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readKeys(dir); err == nil {
			t.Errorf("half of %s is taken", name)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if _, err := readKeys(dir); err == nil {
			t.Errorf("without %s", name)
		}
		if err := os.WriteFile(path, good, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestGuard: a signature of the node's own key that it does not know of.
func TestGuard(t *testing.T) {
	own, other := bytes.Repeat([]byte{1}, 20), bytes.Repeat([]byte{2}, 20)
	vote := func(address []byte, flag cmtproto.BlockIDFlag) []abci.VoteInfo {
		return []abci.VoteInfo{{Validator: abci.Validator{Address: address}, BlockIdFlag: flag}}
	}
	for _, c := range []struct {
		name   string
		signed uint64
		height uint64
		votes  []abci.VoteInfo
		want   bool
	}{
		{"known", 9, 10, vote(own, cmtproto.BlockIDFlagCommit), false},
		{"newer", 8, 10, vote(own, cmtproto.BlockIDFlagCommit), true},
		{"of another", 8, 10, vote(other, cmtproto.BlockIDFlagCommit), false},
		{"absent", 8, 10, vote(own, cmtproto.BlockIDFlagAbsent), false},
		{"the first block", 0, 1, nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := guard{address: own, signed: c.signed}
			if err := g.check(c.height, c.votes); errors.Is(err, ErrKeyElsewhere) != c.want {
				t.Errorf("%v", err)
			}
			commit := &types.Commit{Height: int64(c.height) - 1}
			for _, v := range c.votes {
				commit.Signatures = append(commit.Signatures, types.CommitSig{BlockIDFlag: types.BlockIDFlag(v.BlockIdFlag), ValidatorAddress: v.Validator.Address})
			}
			if err := g.checkStored(commit); errors.Is(err, ErrKeyElsewhere) != c.want {
				t.Errorf("stored: %v", err)
			}
		})
	}
	// Once it votes itself, its signatures are its own.
	g := guard{address: own, voting: func() bool { return true }}
	if err := g.check(1, nil); err != nil {
		t.Error(err)
	}
	if err := g.check(2, vote(own, cmtproto.BlockIDFlagCommit)); err != nil {
		t.Error(err)
	}
	if err := (&guard{}).checkStored(nil); err != nil {
		t.Error(err)
	}
}

// TestRestored: what the key has signed last comes from an older backup.
func TestRestored(t *testing.T) {
	dirs, _, _ := folders(t, 1, 1, state.ConsensusEd25519, state.DefaultParams)
	path := filepath.Join(dirs[0], cometFolder, signedFile)
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n, seq := start(t, dirs[0]), numbers{}
	seq.issuer(t, n, 0, 1)
	stop(t, n)
	newer, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, old, 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := Start(t.Context(), Options{Dir: dirs[0], Log: testLog(t)}); !errors.Is(err, ErrKeyElsewhere) {
		t.Errorf("%v", err)
		if err == nil {
			stop(t, n)
		}
	}
	if err := os.WriteFile(path, newer, 0o600); err != nil {
		t.Fatal(err)
	}
	stop(t, start(t, dirs[0]))
}
