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
	"net/http"
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
	http, witnesses      string
	cmd                  *exec.Cmd
}

type member struct {
	*state.Statement
	signed []byte // the statement
	key    crypto.Signer
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
		n.members = append(n.members, &member{s, data, key.Signer})
		id, err := comet.ReadIdentity(filepath.Join(n.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		p := &process{name: name, address: freeAddress(t), http: freeAddress(t)}
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
	if founders > 1 {
		// All nodes cosign for each other.
		for i, p := range n.nodes {
			policy := []string{"node", "policy", p.name}
			var others []string
			for j, o := range n.nodes {
				if policy = append(policy, filepath.Join(o.name, keysFile)); i != j {
					others = append(others, "http://"+o.http+"/ledger")
				}
			}
			n.ampoule(policy...)
			p.witnesses = strings.Join(others, ",")
		}
	}
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
	p.cmd = n.command("serve", "--set", "listen="+p.http, "--set", "log.level=error",
		"--set", "ledger.dir="+p.name, "--set", "ledger.listen="+p.address, "--set", "ledger.peers="+p.peers, "--set", "ledger.witnesses="+p.witnesses)
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
	propose := n.make(first.Member.OID, &state.Propose{Proposal: p}, first.key)
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
	n.decide(&state.Membership{Action: state.Admit, Statement: n.members[1].signed})
	n.decide(&state.Membership{Action: state.Admit, Statement: n.members[2].signed}, 1)
	n.decide(&state.Membership{Action: state.Admit, Statement: n.members[3].signed}, 1, 2)
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

// TestAdmission: four members take a fifth in, by the commands alone and by what it
// has given to them: its authority, its statement. Its node then votes, and is needed.
func TestAdmission(t *testing.T) {
	if testing.Short() {
		t.Skip("five processes")
	}
	t.Parallel()
	n := newNetwork(t, 5, 4)
	fifth := n.members[4]
	as := func(member int, args ...string) string {
		t.Helper()
		p := n.nodes[member]
		return n.ampoule(append([]string{"node"}, append(args, "--notary", "http://"+n.nodes[0].http, "--unencrypted", "--wait", "--json",
			"--member", n.members[member].Member.OID.String(), "--key", filepath.Join(p.name, memberKey))...)...)
	}
	ready := func(p *process) {
		for range 300 {
			if r, err := http.Get("http://" + p.http + "/v1/ledger/status"); err == nil {
				status := struct {
					CatchingUp bool `json:"catching_up"`
				}{true}
				err := json.NewDecoder(r.Body).Decode(&status)
				if r.Body.Close(); err == nil && !status.CatchingUp {
					return
				}
			}
			time.Sleep(100 * time.Millisecond)
		}
		t.Fatalf("%s is not ready", p.name)
	}
	decide := func(voters int, args ...string) {
		t.Helper()
		var proposed shownSubmitted
		if err := json.Unmarshal([]byte(as(0, append([]string{"propose"}, args...)...)), &proposed); err != nil {
			t.Fatal(err)
		}
		if !proposed.Cosigned || proposed.What != "gov.propose" {
			t.Fatalf("proposed: %+v", proposed)
		}
		for i := 1; i < voters; i++ {
			as(i, "vote", proposed.ID, "yes")
		}
	}
	for _, p := range n.nodes[:4] {
		ready(p)
	}
	// What was changed on its way is refused before anything is handed in.
	bad := append([]byte{}, fifth.signed...)
	bad[len(bad)-1] ^= 1
	if err := os.WriteFile(filepath.Join(n.dir, "bad"), bad, 0o600); err != nil {
		t.Fatal(err)
	}
	statement := filepath.Join("n4", statementFile)
	for reason, args := range map[string][]string{
		"bad-signature":         {"admit", "bad"},
		"not-in-the-trust-list": {"admit", statement},
		"not-registered":        {"validators", statement},
	} {
		out, err := n.command(append([]string{"node", "propose"}, append(args, "--notary", "http://"+n.nodes[0].http, "--unencrypted",
			"--member", n.members[0].Member.OID.String(), "--key", filepath.Join("n0", memberKey))...)...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), reason) {
			t.Errorf("%v: %s, want %s", args, out, reason)
		}
	}
	decide(3, "trust", fifth.Member.Code+"="+filepath.Join("n4", scaFile))
	decide(3, "admit", statement)
	decide(4, "validators", statement)
	voting := 0
	for range 100 {
		if n.own.Read(func(s *state.State) { voting = len(s.Validators()) }); voting == 5 {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if voting != 5 {
		t.Fatalf("%d nodes vote", voting)
	}
	// Four of five must agree now: without one of the founders, not without the fifth.
	n.kill(n.nodes[3])
	n.ampoule("node", "issuer", "n4", "--notary", "http://"+n.nodes[0].http, "--unencrypted")
	n.agree(n.nodes[0], n.nodes[1], n.nodes[2], n.nodes[4])
}
