package comet

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"ampoule/internal/tiles"
	"ampoule/ledger/state"
	"ampoule/ledger/tlog"
)

// TestSolo: a node that is alone takes transactions, refuses with the words of the
// rules, keeps all over a restart, and its blocks make the same again.
func TestSolo(t *testing.T) {
	for name, typ := range map[string]uint64{"Ed25519": state.ConsensusEd25519, "ML-DSA-65": state.ConsensusMLDSA65} {
		t.Run(name, func(t *testing.T) {
			ctx := context.Background()
			dirs, _, genesis := folders(t, 1, 1, typ, state.DefaultParams)
			n := start(t, dirs[0])
			if h := n.Head(); h.Height != 0 || h.Size != 1 || h.Root != tlog.LeafHash(genesis) || !h.Validating || h.CatchingUp {
				t.Errorf("at the beginning: %+v", h)
			}
			seq := numbers{}
			seq.issuer(t, n, 0, 1)
			var sent [][]byte
			for i := range 20 {
				tx := seq.anchor(t, n, 1, fmt.Sprint("document ", i))
				sent = append(sent, tx)
				lent := bytes.Clone(tx)
				if err := n.Submit(ctx, lent); err != nil {
					t.Fatal(err)
				}
				clear(lent) // as a server does that reads the next request into it
			}
			for i, tx := range sent {
				index := seq.logged(t, n, tx)
				got, err := tlog.Files{FS: n.Files()}.Entry(index, n.Head().Size)
				if err != nil || !bytes.Equal(got, tx) {
					t.Fatalf("transaction %d is not entry %d: %v", i, index, err)
				}
			}
			// What is refused has its reason.
			twice := *mustTx(t, sent[0])
			twice.ValidUntil++
			again, err := twice.Sign(nil, ed("issuer 1"))
			if err != nil {
				t.Fatal(err)
			}
			gap := numbers{id("3.1"): seq[id("3.1")] + 1}
			for _, c := range []struct {
				name string
				tx   []byte
				want error
			}{
				{"used", again, state.ErrSeqUsed},
				{"gap", gap.anchor(t, n, 1, "gap"), state.ErrSeqGap},
				{"stranger", numbers{}.anchor(t, n, 2, "stranger"), state.ErrActorUnknown},
				{"too large", make([]byte, state.MaxTx+1), state.ErrTooLarge},
			} {
				if err := n.Submit(ctx, c.tx); !errors.Is(err, c.want) {
					t.Errorf("%s: %v", c.name, err)
				}
			}
			if err := n.Submit(ctx, sent[0]); err != nil {
				t.Errorf("the same again: %v", err)
			}
			before := n.Head()
			stop(t, n)

			n = start(t, dirs[0])
			// The engine may have decided one more block, without transactions.
			if h := n.Head(); h.Root != before.Root || h.Size != before.Size || h.App != before.App || h.Height < before.Height {
				t.Errorf("after the restart %+v, before %+v", h, before)
			}
			seq.logged(t, n, seq.anchor(t, n, 1, "after the restart"))
			before = n.Head()
			if err := tiles.Check(n.Files(), before.Size, before.Root); err != nil {
				t.Error(err)
			}
			stop(t, n)
			replayed(t, dirs[0], before.Height, before.App)
		})
	}
}

// TestKilled kills a process again and again while it takes transactions. Each that
// it has acknowledged as logged must be there, under the index that it told.
func TestKilled(t *testing.T) {
	dirs, _, _ := folders(t, 1, 1, state.ConsensusEd25519, state.DefaultParams)
	n := start(t, dirs[0])
	numbers{}.issuer(t, n, 0, 1)
	stop(t, n)
	logged := map[string]string{} // index by leaf
	for round := range 4 {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		child := exec.CommandContext(ctx, os.Args[0], "-test.run=^$")
		child.Env = append(os.Environ(), childFolder+"="+dirs[0])
		child.Stderr = t.Output()
		out, err := child.StdoutPipe()
		if err == nil {
			err = child.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for seen := 0; lines.Scan(); seen++ {
			leaf, index, _ := strings.Cut(lines.Text(), " ")
			logged[leaf] = index
			if seen == 20+7*round {
				if err := child.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := child.Wait(); err == nil || ctx.Err() != nil {
			t.Fatalf("the child was not killed: %v", err)
		}
		cancel()
	}
	n = start(t, dirs[0])
	defer stop(t, n)
	if len(logged) < 80 {
		t.Errorf("only %d transactions", len(logged))
	}
	for leaf, index := range logged {
		raw, err := hex.DecodeString(leaf)
		if err != nil {
			t.Fatal(err)
		}
		got, ok, err := n.Find(context.Background(), hashOf(raw))
		if !ok || err != nil || fmt.Sprint(got) != index {
			t.Errorf("leaf %s was told to be %s, and is %d, %v, %v", leaf, index, got, ok, err)
		}
	}
	h := n.Head()
	if err := tiles.Check(n.Files(), h.Size, h.Root); err != nil {
		t.Error(err)
	}
}

// childFolder makes this program a node that takes transactions until it is killed,
// and tells each that is logged.
const childFolder = "LEDGER_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childFolder); dir != "" {
		fmt.Fprintln(os.Stderr, child(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func child(dir string) error {
	ctx := context.Background()
	n, err := Start(ctx, Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	actor, chain, seq := id("3.1"), tlog.Hash{}, uint64(0)
	n.Read(func(s *state.State) { chain, seq = s.Chain(), s.Seq(actor) })
	for {
		seq++
		tx := &state.Tx{Chain: chain, Actor: actor, Seq: seq, ValidUntil: n.Head().Height + 1000,
			Body: &state.SingleLeaf{Leaf: hash(fmt.Sprint(seq)), Schema: id("6.1"), About: state.AboutDocument}}
		data, err := tx.Sign(rand.Reader, ed("issuer 1"))
		if err != nil {
			return err
		}
		index, err := waitLogged(ctx, n, data)
		if err != nil {
			return err
		}
		fmt.Printf("%x %d\n", tlog.LeafHash(data), index)
	}
}

func mustTx(t *testing.T, data []byte) *state.Tx {
	t.Helper()
	tx, err := state.ParseTx(data)
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

// replayed applies the blocks of a folder again, by the node's own way and by that
// of an exported history.
func replayed(t *testing.T, dir string, height uint64, app tlog.Hash) {
	t.Helper()
	genesis, err := ReadGenesis(dir)
	if err != nil {
		t.Fatal(err)
	}
	var history [][]byte
	at := tlog.Hash{}
	err = Blocks(dir, func(b *state.Block, s *state.State) error {
		if history = append(history, b.Encode()); b.Height == height {
			at = s.AppHash()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if at != app {
		t.Errorf("replayed to %x at %d, not %x", at, height, app)
	}
	s, err := state.Replay(genesis, func(yield func([]byte) bool) {
		for _, b := range history[:height] {
			if !yield(b) {
				return
			}
		}
	})
	if err != nil || s.AppHash() != app {
		t.Errorf("the exported history makes another state: %v", err)
	}
}
