package main

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ampoule/internal/comet"
	"ampoule/internal/keys"
	"ampoule/ledger/state"
	"ampoule/ledger/tlog"
)

// network is a ledger of processes of this program, and a node of the test's own
// that follows them and hands transactions in.
type network struct {
	t       *testing.T
	dir     string
	nodes   []*process
	own     *comet.Node
	seq     map[state.OID]uint64
	members []*member
}

// process is a node: `ampoule serve` in a folder.
type process struct {
	name, address, peers string
	cmd                  *exec.Cmd
}

type member struct {
	*state.Statement
	key, root crypto.Signer
}

// ampoule runs the program and returns what it says.
func (n *network) ampoule(args ...string) string {
	n.t.Helper()
	out, err := n.command(args...).Output()
	if err != nil {
		var exit *exec.ExitError
		errors.As(err, &exit)
		n.t.Fatalf("ampoule %v: %v: %s", args, err, exit.Stderr)
	}
	return string(out)
}

func (n *network) command(args ...string) *exec.Cmd {
	program, err := os.Executable()
	if err != nil {
		n.t.Fatal(err)
	}
	return &exec.Cmd{Path: program, Args: append([]string{"ampoule"}, args...), Dir: n.dir, Env: os.Environ()}
}

// newNetwork makes members with their nodes, and a genesis of the first ones.
func newNetwork(t *testing.T, count, founders int) *network {
	n := &network{t: t, dir: t.TempDir(), seq: map[state.OID]uint64{}}
	var peers []string
	for i := range count {
		name := fmt.Sprintf("n%d", i)
		n.ampoule("node", "init", name, "--unencrypted", "--code", "X"+string(rune('A'+i)), "--oid", fmt.Sprintf("2.25.32980073.%d", i+1))
		data, err := os.ReadFile(filepath.Join(n.dir, name, statementFile))
		if err != nil {
			t.Fatal(err)
		}
		s, err := state.ParseStatement(data)
		if err != nil {
			t.Fatal(err)
		}
		key, err := keys.Load(filepath.Join(n.dir, name, memberKey), keys.Unencrypted())
		if err != nil {
			t.Fatal(err)
		}
		root, err := keys.Load(filepath.Join(n.dir, name, memberRoot), keys.Unencrypted())
		if err != nil {
			t.Fatal(err)
		}
		n.members = append(n.members, &member{s, key.Signer, root.Signer})
		id, err := comet.ReadIdentity(filepath.Join(n.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		p := &process{name: name, address: freeAddress(t)}
		n.nodes, peers = append(n.nodes, p), append(peers, id.ID+"@"+p.address)
	}
	genesis := []string{"node", "genesis", "n0", "--federation", "2.25.32980073"}
	for i := range founders {
		genesis = append(genesis, filepath.Join(n.nodes[i].name, statementFile))
	}
	n.ampoule(genesis...)
	for _, p := range n.nodes[1:] {
		n.ampoule("node", "join", p.name, "--genesis", "n0/genesis.cbor")
	}
	n.ampoule("node", "join", "own", "--genesis", "n0/genesis.cbor")
	own, err := comet.ReadIdentity(filepath.Join(n.dir, "own"))
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range n.nodes {
		others := append(append([]string{}, peers[:i]...), peers[i+1:]...)
		p.peers = strings.Join(append(others, own.ID+"@127.0.0.1:1"), ",")
		n.start(p)
	}
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	n.own, err = comet.Start(context.Background(), comet.Options{Dir: filepath.Join(n.dir, "own"), Listen: "127.0.0.1:0", Peers: peers, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, p := range n.nodes {
			if p.cmd != nil {
				n.kill(p)
			}
		}
		if err := n.own.Stop(); err != nil {
			t.Error(err)
		}
	})
	return n
}

func freeAddress(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (n *network) start(p *process) {
	n.t.Helper()
	p.cmd = n.command("serve", "--set", "listen=127.0.0.1:0", "--set", "log.level=error",
		"--set", "ledger.dir="+p.name, "--set", "ledger.listen="+p.address, "--set", "ledger.peers="+p.peers)
	p.cmd.Stderr = n.t.Output()
	if err := p.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
}

// kill is SIGKILL.
func (n *network) kill(p *process) {
	p.cmd.Process.Kill()
	p.cmd.Wait()
	p.cmd = nil
}

// make makes the next transaction of an actor.
func (n *network) make(actor state.OID, body state.Body, signers ...crypto.Signer) []byte {
	n.t.Helper()
	n.seq[actor]++
	tx := &state.Tx{Actor: actor, Seq: n.seq[actor], Body: body}
	n.own.Read(func(s *state.State) { tx.Chain, tx.ValidUntil = s.Chain(), s.Height()+1000 })
	data, err := tx.Sign(rand.Reader, signers...)
	if err != nil {
		n.t.Fatal(err)
	}
	return data
}

// logged hands transactions in, again and again, until all are in the log.
func (n *network) logged(txs ...[]byte) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()
	var last error
	for {
		grown := n.own.Grown()
		missing := 0
		for _, tx := range txs {
			_, ok, err := n.own.Find(ctx, tlog.LeafHash(tx))
			if err != nil {
				n.t.Fatal(err)
			}
			if ok {
				continue
			}
			missing++
			// One that comes after another, or after a vote, is refused until then.
			last = n.own.Submit(ctx, tx)
		}
		if missing == 0 {
			return
		}
		select {
		case <-grown:
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			n.t.Fatalf("%d of %d transactions are not in the log: %v; %+v", missing, len(txs), last, n.own.Head())
		}
	}
}

// agree waits until the given nodes stand where the test's own node stands.
func (n *network) agree(nodes ...*process) {
	n.t.Helper()
	for range 150 {
		want := n.own.Head()
		same := 0
		for _, p := range nodes {
			var got struct {
				Height, Size uint64
				Root, App    string
			}
			if err := json.Unmarshal([]byte(n.ampoule("node", "status", p.name, "--json")), &got); err != nil {
				n.t.Fatal(err)
			}
			if got.Size == want.Size && got.Root != fmt.Sprintf("%x", want.Root) || got.Height == want.Height && got.App != fmt.Sprintf("%x", want.App) {
				n.t.Fatalf("%s has another history: %+v, and we %+v", p.name, got, want)
			}
			if got.Size == want.Size {
				same++
			}
		}
		if same == len(nodes) {
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
	n.t.Fatalf("the nodes did not come to %+v", n.own.Head())
}

// decide proposes something and votes for it with members beside the first.
func (n *network) decide(p state.Proposal, voters ...int) {
	n.t.Helper()
	first := n.members[0]
	signers := []crypto.Signer{first.key}
	if p, ok := p.(*state.Membership); ok {
		for _, m := range n.members {
			if m.Member.OID == p.Member.OID {
				signers = append(signers, m.key, m.root) // whoever is taken in signs for its keys
			}
		}
	}
	propose := n.make(first.Member.OID, &state.Propose{Proposal: p}, signers...)
	txs := [][]byte{propose}
	tx, err := state.ParseTx(propose)
	if err != nil {
		n.t.Fatal(err)
	}
	for _, i := range voters {
		m := n.members[i]
		txs = append(txs, n.make(m.Member.OID, &state.Vote{Proposal: tx.ID(), Yes: true}, m.key))
	}
	n.logged(txs...)
}

// TestGrowth: a ledger of one member and one node grows to four by vote, while it
// runs; then its founder's process is killed, and the others go on without it. All
// nodes are processes of this program.
func TestGrowth(t *testing.T) {
	if testing.Short() {
		t.Skip("four processes")
	}
	t.Parallel()
	n := newNetwork(t, 4, 1)
	founder := n.members[0]

	// Step 1: the founder is alone, and others follow.
	_, issuer, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := state.NewKey(issuer.Public())
	if err != nil {
		t.Fatal(err)
	}
	oid, err := state.ParseOID("2.25.32980073.100")
	if err != nil {
		t.Fatal(err)
	}
	now := uint64(time.Now().Unix())
	put := &state.Put{Role: state.Issuer, OID: oid, Keys: []state.Key{key}, Scope: state.ScopeSingle, From: now - 60, Until: now + 3600}
	n.logged(n.make(founder.Member.OID, put, founder.key, issuer))
	anchors := func(what string, count int) {
		t.Helper()
		var txs [][]byte
		for i := range count {
			txs = append(txs, n.make(oid, &state.SingleLeaf{Leaf: sha256.Sum256(fmt.Append(nil, what, i)), Schema: oid, About: state.AboutDocument}, issuer))
		}
		n.logged(txs...)
	}
	anchors("alone", 5)

	// Step 2: three members more, and their nodes vote.
	var trust state.TrustChange
	var set state.Validators
	for i, m := range n.members {
		if i > 0 {
			trust = append(trust, state.Participant{Code: m.Member.Code, SCAs: []tlog.Hash{m.Member.SCA}})
		}
		set = append(set, m.Validator)
	}
	n.decide(&trust)
	n.decide(&state.Membership{Action: state.Admit, Member: n.members[1].Member})
	n.decide(&state.Membership{Action: state.Admit, Member: n.members[2].Member}, 1)
	n.decide(&state.Membership{Action: state.Admit, Member: n.members[3].Member}, 1, 2)
	n.decide(&set, 1, 2)
	voting := 0
	n.own.Read(func(s *state.State) { voting = len(s.Validators()) })
	if voting != 4 {
		t.Fatalf("%d nodes vote", voting)
	}
	anchors("together", 10)
	n.agree(n.nodes...)

	// Step 3: without the founder.
	n.kill(n.nodes[0])
	anchors("without the founder", 5)
	n.agree(n.nodes[1:]...)

	// Step 4: it comes back, and has all of it.
	n.start(n.nodes[0])
	anchors("again together", 2)
	n.agree(n.nodes...)
	for _, p := range n.nodes {
		n.kill(p)
		if out := n.ampoule("node", "status", p.name, "--check"); !strings.Contains(out, "every entry is under the root") {
			t.Error(out)
		}
		if out := n.ampoule("node", "replay", p.name); !strings.Contains(out, "the same") {
			t.Error(out)
		}
	}
	n.ampoule("node", "export", "n0", "exported")
	if out := n.ampoule("node", "replay", "exported"); !strings.Contains(out, "the same") {
		t.Error(out)
	}
}
