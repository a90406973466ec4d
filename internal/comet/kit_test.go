package comet

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"ampoule/ledger/state"
	"ampoule/ledger/tlog"
)

// id makes an identifier below the UUID arc.
func id(path string) state.OID {
	o, err := state.ParseOID("2.25.329800735698586629295641978511506172918." + path)
	if err != nil {
		panic(err)
	}
	return o
}

func hash(s string) tlog.Hash { return sha256.Sum256([]byte(s)) }

// ed is an Ed25519 key by its name.
func ed(name string) crypto.Signer {
	seed := hash(name)
	return ed25519.NewKeyFromSeed(seed[:])
}

func keyOf(s crypto.Signer) state.Key {
	k, err := state.NewKey(s.Public())
	if err != nil {
		panic(err)
	}
	return k
}

func country(n int) state.Member {
	return state.Member{
		OID: id(fmt.Sprintf("1.%d", n)), Code: string([]byte{'X', byte('A' + n)}), SCA: hash(fmt.Sprint("sca ", n)), Provider: hash(fmt.Sprint("host ", n)),
		Voting: true, Keys: []state.Key{keyOf(ed(fmt.Sprint("member ", n)))}, Root: keyOf(ed(fmt.Sprint("root ", n))),
	}
}

// folders makes the folders of n nodes; the first v vote from the beginning.
func folders(t testing.TB, n, v int, typ uint64, params state.Params) (dirs []string, ids []*Identity, genesis []byte) {
	t.Helper()
	g := &state.Genesis{Federation: id("0"), Time: uint64(time.Now().Unix()) - 10, Params: params}
	for i := range n {
		dir := filepath.Join(t.TempDir(), fmt.Sprint("node", i))
		made, err := MakeKeys(dir, typ)
		if err != nil {
			t.Fatal(err)
		}
		dirs, ids = append(dirs, dir), append(ids, made)
		m := country(i)
		g.Members, g.Trust = append(g.Members, m), append(g.Trust, state.Participant{Code: m.Code, SCAs: []tlog.Hash{m.SCA}})
		if i < v {
			g.Validators = append(g.Validators, state.Validator{Member: m.OID, Type: made.Type, Key: made.Key, Power: 1})
		}
	}
	genesis = g.Encode()
	for _, dir := range dirs {
		if err := os.WriteFile(filepath.Join(dir, GenesisFile), genesis, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dirs, ids, genesis
}

func start(t testing.TB, dir string) *Node {
	t.Helper()
	n, err := Start(context.Background(), Options{Dir: dir, Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func testLog(t testing.TB) *slog.Logger {
	level := slog.LevelInfo
	if os.Getenv("LEDGER_LOG") != "" {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: level}))
}

func stop(t testing.TB, n *Node) {
	t.Helper()
	if err := n.Stop(); err != nil {
		t.Error(err)
	}
}

// numbers are the numbers that actors have used last, so that several transactions
// can wait.
type numbers map[state.OID]uint64

// issuer puts an issuer onto the ledger, whose key is named after it.
func (s numbers) issuer(t testing.TB, n *Node, member, issuer int) {
	t.Helper()
	name := fmt.Sprintf("issuer %d", issuer)
	now := uint64(time.Now().Unix())
	body := &state.Put{Role: state.Issuer, OID: id(fmt.Sprintf("3.%d", issuer)), Keys: []state.Key{keyOf(ed(name))},
		Scope: state.ScopeBatch | state.ScopeStatus | state.ScopeSingle, From: now - 3600, Until: now + 86400}
	s.logged(t, n, s.make(t, n, country(member).OID, body, ed(fmt.Sprint("member ", member)), ed(name)))
}

// make makes the next transaction of an actor.
func (s numbers) make(t testing.TB, n *Node, actor state.OID, body state.Body, signers ...crypto.Signer) []byte {
	t.Helper()
	s[actor]++
	tx := &state.Tx{Actor: actor, Seq: s[actor], Body: body}
	n.Read(func(now *state.State) {
		tx.Chain, tx.ValidUntil = now.Chain(), now.Height()+1000
	})
	data, err := tx.Sign(rand.Reader, signers...)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// anchor is the next transaction of an issuer.
func (s numbers) anchor(t testing.TB, n *Node, issuer int, what string) []byte {
	t.Helper()
	body := &state.SingleLeaf{Leaf: hash(what), Schema: id("6.1"), About: state.AboutDocument}
	return s.make(t, n, id(fmt.Sprintf("3.%d", issuer)), body, ed(fmt.Sprintf("issuer %d", issuer)))
}

// logged submits a transaction and waits until it is in the log.
func (s numbers) logged(t testing.TB, n *Node, tx []byte) uint64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	index, err := waitLogged(ctx, n, tx)
	if err != nil {
		t.Fatal(err)
	}
	return index
}

// waitLogged submits the same bytes until they are in the log.
func waitLogged(ctx context.Context, n *Node, tx []byte) (uint64, error) {
	for {
		grown := n.Grown()
		index, ok, err := n.Find(ctx, tlog.LeafHash(tx))
		if ok || err != nil {
			return index, err
		}
		err = n.Submit(ctx, tx)
		if err != nil && !errors.Is(err, ErrCatchingUp) && !errors.Is(err, ErrBusy) && !errors.Is(err, state.ErrSeqUsed) {
			return 0, err
		}
		select {
		case <-grown:
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}
