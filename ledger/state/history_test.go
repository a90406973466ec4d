package state

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// history makes a long random history: blocks of accepted and refused
// transactions, of every kind.
func history(t testing.TB, blocks int) (genesisBytes []byte, encoded [][]byte) {
	r := mathrand.New(mathrand.NewPCG(1, 2))
	g := genesis(5, 4)
	g.Params.EpochBlocks = 7
	k := newKit(t, g)
	all := attempts()
	add := func(txs ...[]byte) {
		k.time += r.Uint64N(4000)
		b := &Block{Height: k.s.Height() + 1, Time: k.time, Txs: txs}
		if r.IntN(40) == 0 {
			b.Evidence = []OID{country(r.IntN(6)).OID}
		}
		encoded = append(encoded, b.Encode())
		if _, err := k.s.Apply(b); err != nil {
			t.Fatal(err)
		}
	}
	sign := func(tx *Tx, a attempt) []byte {
		data, err := tx.Sign(rand.Reader, slices.Clone(a.signers)...)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	for _, p := range []*Put{
		put(Issuer, issuerOID, roleScopes[Issuer], es("issuer")), put(Device, gatewayOID, ScopeTelemetry|ScopeSingle, ed("gateway")),
		put(Device, fridgeOID, ScopeSingle, ed("fridge")), put(Verifier, verifierOID, ScopeAgreement, ed("verifier")), put(Witness, witnessOID, ScopeRelay, ml("witness")),
	} {
		signers := by(online(0))
		switch p.Role {
		case Issuer:
			signers = append(signers, es("issuer"))
		case Verifier:
			signers = append(signers, ed("verifier"))
		case Witness:
			signers = append(signers, ml("witness"))
		}
		add(k.sign(k.tx(member0(), p), signers...))
	}
	for range blocks {
		var txs [][]byte
		used := map[OID]uint64{}
		for range r.IntN(5) {
			a := all[r.IntN(len(all))]
			// Another program would have to go on.
			if p, ok := a.body.(*Propose); ok && p.Proposal.about() == AboutUpgrade {
				continue
			}
			if a.body == nil || slices.Contains([]Kind{"reg.issuer.revoke", "reg.device.revoke"}, a.body.Kind()) && r.IntN(10) > 0 {
				continue
			}
			tx := k.tx(a.actor, a.body)
			tx.Seq += used[a.actor]
			if a.change != nil && r.IntN(2) == 0 {
				a.change(tx)
			} else if k.s.Mempool().CheckTx(sign(tx, a)) == nil {
				used[a.actor]++
			}
			txs = append(txs, sign(tx, a))
		}
		// Votes of the others on what is open.
		for _, name := range list(k.s.rows, "g/") {
			n := 1 + r.IntN(4)
			if m := country(n).OID; used[m] == 0 && r.IntN(2) == 0 {
				used[m]++
				txs = append(txs, k.sign(k.tx(m, &Vote{Hash([]byte(name)), r.IntN(3) > 0}), online(n)))
			}
		}
		add(txs...)
	}
	return k.gen, encoded
}

// trace replays a history and hashes everything that comes out of it: results,
// leaves, rows, updates and the hash after each block. Halfway it goes on from a
// snapshot, if asked.
func trace(t testing.TB, gen []byte, blocks [][]byte, snapshot bool) (string, *State) {
	s, err := New(gen)
	if err != nil {
		t.Fatal(err)
	}
	h := sha256.New()
	accepted := 0
	for i, data := range blocks {
		if snapshot && i%17 == 16 {
			if s, err = Restore(s.Snapshot()); err != nil {
				t.Fatal(err)
			}
		}
		b, err := ParseBlock(data)
		if err != nil {
			t.Fatal(err)
		}
		out, err := s.Apply(b)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range out.Results {
			if r.Reason == "" {
				accepted++
			}
		}
		fmt.Fprintf(h, "%+v %x\n", *out, s.AppHash())
	}
	h.Write(s.Snapshot())
	if accepted < len(blocks)/4 {
		t.Fatalf("only %d transactions of %d blocks were accepted", accepted, len(blocks))
	}
	return hex.EncodeToString(h.Sum(nil)), s
}

const historyEnv = "AMPOULE_TEST_HISTORY"

// TestDeterminism: a long history gives the same answers and bytes again, through
// snapshots, and in processes with other numbers of threads, whose maps have
// other orders.
func TestDeterminism(t *testing.T) {
	if dir := os.Getenv(historyEnv); dir != "" {
		gen, err := os.ReadFile(filepath.Join(dir, "genesis"))
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join(dir, "blocks"))
		if err != nil {
			t.Fatal(err)
		}
		var blocks [][]byte
		for _, line := range strings.Fields(string(data)) {
			b, err := hex.DecodeString(line)
			if err != nil {
				t.Fatal(err)
			}
			blocks = append(blocks, b)
		}
		sum, _ := trace(t, gen, blocks, false)
		fmt.Printf("trace %s\n", sum)
		return
	}
	blocks := 400
	if testing.Short() {
		blocks = 60
	}
	gen, encoded := history(t, blocks)
	want, s := trace(t, gen, encoded, false)
	if got, _ := trace(t, gen, encoded, false); got != want {
		t.Fatal("the same history has two outcomes")
	}
	if got, _ := trace(t, gen, encoded, true); got != want {
		t.Fatal("a snapshot changes the outcome")
	}
	replayed, err := Replay(gen, slices.Values(encoded))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(replayed.Snapshot(), s.Snapshot()) {
		t.Fatal("the replayed state is another")
	}
	dir := t.TempDir()
	var lines strings.Builder
	for _, b := range encoded {
		fmt.Fprintf(&lines, "%x\n", b)
	}
	for name, data := range map[string][]byte{"genesis": gen, "blocks": []byte(lines.String())} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, threads := range []string{"1", "2", "7"} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestDeterminism$")
		cmd.Env = append(os.Environ(), historyEnv+"="+dir, "GOMAXPROCS="+threads)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if !strings.Contains(string(out), "trace "+want) {
			t.Fatalf("with GOMAXPROCS=%s: another outcome\n%s", threads, out)
		}
	}
}
