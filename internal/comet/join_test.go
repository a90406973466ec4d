package comet

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	"github.com/cometbft/cometbft/types"

	"ampoule/internal/tiles"
	"ampoule/ledger/state"
	"ampoule/ledger/tlog"
)

// honest gives what a node has. A test changes some of it.
type honest struct {
	node   *Node
	signer *tlog.NoteSigner
	vouch  *tlog.NoteSigner

	checkpoint func(*tlog.Checkpoint) int64 // changes it; when it is cosigned
	tile       func(tlog.Tile, []byte) []byte
	heights    func([]uint64) []uint64
	snapshot   func([]byte) []byte
	block      func(uint64, *cmtproto.LightBlock) error
}

func (h *honest) Checkpoint(context.Context) ([]byte, error) {
	head := h.node.Head()
	c := &tlog.Checkpoint{Origin: h.signer.Key.Name, Size: head.Size, Root: head.Root}
	at := time.Now().Unix()
	if h.checkpoint != nil {
		at = h.checkpoint(c)
	}
	note, err := c.Note()
	if err == nil {
		err = h.signer.Sign(rand.Reader, note, 0)
	}
	if err == nil && at > 0 {
		err = h.vouch.Sign(rand.Reader, note, at)
	}
	if err != nil {
		return nil, err
	}
	return note.Encode(), nil
}

func (h *honest) Tile(_ context.Context, t tlog.Tile) ([]byte, error) {
	data, err := tlog.Files{FS: h.node.Files()}.Tile(t)
	if err == nil && h.tile != nil {
		data = h.tile(t, data)
	}
	return data, err
}

func (h *honest) Snapshots(context.Context) ([]uint64, error) {
	all, err := h.node.Snapshots()
	if h.heights != nil {
		all = h.heights(all)
	}
	return all, err
}

func (h *honest) Snapshot(_ context.Context, height uint64) ([]byte, error) {
	data, err := h.node.Snapshot(height)
	if err == nil && h.snapshot != nil {
		data = h.snapshot(data)
	}
	return data, err
}

func (h *honest) Block(_ context.Context, height uint64) ([]byte, error) {
	data, err := h.node.Block(height)
	if err != nil || h.block == nil {
		return data, err
	}
	var message cmtproto.LightBlock
	if err := message.Unmarshal(data); err != nil {
		return nil, err
	}
	if err := h.block(height, &message); err != nil {
		return nil, err
	}
	return message.Marshal()
}

func noteSigner(t testing.TB, name string, typ tlog.KeyType) *tlog.NoteSigner {
	t.Helper()
	s, err := tlog.NewNoteSigner(name, typ, ed(name))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// federation runs four nodes in this process, which know each other and one more.
func federation(t *testing.T, params state.Params) (nodes []*Node, joiner string, peers []string, genesis []byte) {
	dirs, ids, genesis := folders(t, 5, 4, state.ConsensusEd25519, params)
	var listen []string
	for _, id := range ids {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listen = append(listen, l.Addr().String())
		peers = append(peers, id.ID+"@"+l.Addr().String())
		l.Close()
	}
	for i, dir := range dirs[:4] {
		n, err := Start(context.Background(), Options{Dir: dir, Listen: listen[i], Peers: append(slices.Clone(peers[:i]), peers[i+1:]...), Log: testLog(t)})
		if err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, n)
	}
	t.Cleanup(func() {
		for _, n := range nodes {
			if n != nil {
				stop(t, n)
			}
		}
	})
	return nodes, dirs[4], peers, genesis
}

// TestJoin: a node joins by a snapshot, follows over a restart, and is voted in; and
// what a source has made up is refused by name, each thing for itself.
func TestJoin(t *testing.T) {
	if testing.Short() {
		t.Skip("five nodes")
	}
	t.Parallel()
	params := state.DefaultParams
	params.EpochBlocks = 1
	nodes, dir, peers, genesis := federation(t, params)
	n := nodes[0]
	late := func(n *Node) bool { return n.Head().CatchingUp }
	for deadline := time.Now().Add(30 * time.Second); slices.ContainsFunc(nodes, late); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the federation does not begin")
		}
	}
	seq := numbers{}
	seq.issuer(t, n, 0, 1)
	grow := func(what string, height uint64) {
		for i := 0; n.Head().Height < height; i++ {
			seq.logged(t, n, seq.anchor(t, n, 1, fmt.Sprint(what, i)))
		}
	}
	grow("before ", 11)
	logs, vouches := noteSigner(t, "oid/2.25.1.1.1", tlog.Ed25519Note), noteSigner(t, "oid/2.25.1.2.1", tlog.Ed25519Cosignature)
	policy, err := tlog.ParsePolicy(fmt.Appendf(nil, "log %s\nwitness w %s\nquorum w\n", logs.Key, vouches.Key))
	if err != nil {
		t.Fatal(err)
	}
	join := func(dir string, change func(*honest)) (*Joined, error) {
		from := &honest{node: n, signer: logs, vouch: vouches}
		change(from)
		return Join(context.Background(), Joining{Dir: dir, Policy: policy, From: from, Now: time.Now(), MaxAge: time.Hour})
	}

	// Step 1: what is refused, and leaves nothing.
	flip := func(b []byte) []byte {
		b = slices.Clone(b)
		b[len(b)/2] ^= 1
		return b
	}
	at := func(height uint64, change func(*cmtproto.LightBlock)) func(*honest) {
		return func(h *honest) {
			h.block = func(got uint64, b *cmtproto.LightBlock) error {
				if got == height {
					change(b)
				}
				return nil
			}
		}
	}
	rows := func(change func(key string, row []byte) []byte) func(*honest) {
		return func(h *honest) {
			h.snapshot = func(data []byte) []byte {
				s, err := state.Restore(data)
				if err != nil {
					t.Fatal(err)
				}
				changed, err := state.Load(func(yield func(string, []byte) bool) {
					for key, row := range s.Rows() {
						if row = change(key, slices.Clone(row)); row != nil && !yield(key, row) {
							return
						}
					}
				})
				if err != nil {
					t.Fatal(err)
				}
				return changed.Snapshot()
			}
		}
	}
	snapshots, err := n.Snapshots()
	if err != nil {
		t.Fatal(err)
	}
	height := n.Head().Height - 2
	if !slices.Contains(snapshots, height) {
		t.Fatalf("snapshots of %d at height %d", snapshots, n.Head().Height)
	}
	for _, c := range []struct {
		name   string
		change func(*honest)
		want   error
	}{
		{"a checkpoint without cosignature", func(h *honest) { h.checkpoint = func(*tlog.Checkpoint) int64 { return 0 } }, tlog.ErrQuorum},
		{"an old checkpoint", func(h *honest) {
			h.checkpoint = func(*tlog.Checkpoint) int64 { return time.Now().Add(-2 * time.Hour).Unix() }
		}, ErrStale},
		{"a checkpoint of another's log", func(h *honest) { h.signer = noteSigner(t, "oid/2.25.7.1.1", tlog.Ed25519Note) }, tlog.ErrUnknownLog},
		{"a checkpoint of another root", func(h *honest) {
			h.checkpoint = func(c *tlog.Checkpoint) int64 { c.Root[0] ^= 1; return time.Now().Unix() }
		}, ErrOtherLog},
		{"a checkpoint before every snapshot", func(h *honest) {
			h.checkpoint = func(c *tlog.Checkpoint) int64 { c.Size = 1; c.Root = tlog.LeafHash(genesis); return time.Now().Unix() }
		}, ErrNoSnapshot},
		{"another entry", func(h *honest) {
			h.tile = func(_ tlog.Tile, data []byte) []byte {
				data = slices.Clone(data)
				data[len(data)-1] ^= 1
				return data
			}
		}, ErrOtherLog},
		{"another genesis", func(h *honest) {
			h.tile = func(_ tlog.Tile, data []byte) []byte { data = slices.Clone(data); data[40] ^= 1; return data }
		}, ErrOtherChain},
		{"a bundle that is none", func(h *honest) { h.tile = func(tlog.Tile, []byte) []byte { return []byte{0, 9} } }, ErrOtherLog},
		{"no snapshot", func(h *honest) { h.heights = func([]uint64) []uint64 { return nil } }, ErrNoSnapshot},
		{"snapshots of nothing", func(h *honest) { h.heights = func([]uint64) []uint64 { return []uint64{0, 1 << 60, 3} } }, ErrNoSnapshot},
		{"a snapshot that is none", func(h *honest) { h.snapshot = flip }, ErrOtherSnapshot},
		{"another row", rows(func(key string, row []byte) []byte {
			if key[:2] == "n/" { // the number of an actor
				row[len(row)-1]++
			}
			return row
		}), ErrOtherSnapshot},
		{"a row less", rows(func(key string, row []byte) []byte {
			if key[:2] == "n/" {
				return nil
			}
			return row
		}), ErrOtherSnapshot},
		{"the snapshot of another epoch", func(h *honest) {
			h.heights = func([]uint64) []uint64 { return []uint64{height} }
			h.snapshot = func([]byte) []byte {
				for _, other := range snapshots {
					if other != height {
						data, err := n.Snapshot(other)
						if err != nil {
							t.Fatal(err)
						}
						return data
					}
				}
				return nil
			}
		}, ErrOtherSnapshot},
		{"no block", func(h *honest) {
			h.block = func(uint64, *cmtproto.LightBlock) error { return fs.ErrNotExist }
		}, ErrNoSnapshot},
		{"a block of another height", at(height, func(b *cmtproto.LightBlock) {
			other, err := n.Block(height + 1)
			if err != nil || b.Unmarshal(other) != nil {
				t.Fatal(err)
			}
		}), ErrBlock},
		{"a header that nobody has signed", at(height+1, func(b *cmtproto.LightBlock) { b.SignedHeader.Header.AppHash[0] ^= 1 }), ErrBlock},
		{"a commit of which a signature is another", at(height+2, func(b *cmtproto.LightBlock) {
			for i := range b.SignedHeader.Commit.Signatures {
				if s := b.SignedHeader.Commit.Signatures[i].Signature; len(s) > 0 {
					s[0] ^= 1
					return
				}
			}
		}), ErrBlock},
		{"a commit of half of them", at(height+2, func(b *cmtproto.LightBlock) {
			for i := range b.SignedHeader.Commit.Signatures[:2] {
				b.SignedHeader.Commit.Signatures[i] = cmtproto.CommitSig{BlockIdFlag: cmtproto.BlockIDFlagAbsent}
			}
		}), ErrBlock},
		{"other validators", at(height+2, func(b *cmtproto.LightBlock) { b.ValidatorSet.Validators = b.ValidatorSet.Validators[:3] }), ErrBlock},
		{"much power", at(height+2, func(b *cmtproto.LightBlock) { b.ValidatorSet.Validators[0].VotingPower = 1 << 62 }), ErrBlock},
		{"no validators", at(height, func(b *cmtproto.LightBlock) { b.ValidatorSet = nil }), ErrBlock},
		{"no proposer", at(height, func(b *cmtproto.LightBlock) { b.ValidatorSet.Proposer = nil }), ErrBlock},
		{"other turns", at(height+1, func(b *cmtproto.LightBlock) {
			all := b.ValidatorSet.Validators
			for i, v := range all {
				if string(v.Address) == string(b.ValidatorSet.Proposer.Address) {
					b.ValidatorSet.Proposer = all[(i+1)%len(all)]
					return
				}
			}
		}), ErrTurns},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := join(dir, c.change); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			for _, name := range []string{stateFile, LogFolder, "joining"} {
				if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
					t.Errorf("%s is there", name)
				}
			}
		})
	}

	// Step 2: from who is honest.
	joined, err := join(dir, func(*honest) {})
	if err != nil {
		t.Fatal(err)
	}
	if joined.Height < height || joined.Height > n.Head().Height-2 {
		t.Errorf("joined at %+v", joined)
	}
	if _, err := join(dir, func(*honest) {}); !errors.Is(err, ErrJoined) {
		t.Errorf("joined twice: %v", err)
	}
	if err := Blocks(dir, nil); !errors.Is(err, ErrPruned) {
		t.Errorf("its blocks: %v", err)
	}
	open := func(peers []string) *Node {
		t.Helper()
		_, listen, _ := net.SplitHostPort(peers[4])
		own, err := Start(context.Background(), Options{Dir: dir, Listen: "127.0.0.1:" + listen, Peers: peers[:4], Log: testLog(t)})
		if err != nil {
			t.Fatal(err)
		}
		return own
	}
	// It starts, and starts again, before it has a block of its own.
	away := slices.Clone(peers)
	for i := range 4 {
		away[i] = away[i][:41] + "127.0.0.1:1"
	}
	for range 2 {
		own := open(away)
		if h := own.Head(); h.Height != joined.Height || h.Size != joined.Size {
			t.Errorf("it stands at %+v", h)
		}
		stop(t, own)
	}
	own := open(peers)
	follows := func() {
		t.Helper()
		for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
			want, got := n.Head(), own.Head()
			if got.Height == want.Height && got.App == want.App && got.Root == want.Root && !got.CatchingUp {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("it stands at %+v, the others at %+v", got, want)
			}
		}
	}
	grow("after ", n.Head().Height+2)
	follows()
	if err := tiles.Check(own.Files(), own.Head().Size, own.Head().Root); err != nil {
		t.Error(err)
	}
	leaf := tlog.LeafHash(genesis)
	if index, ok, err := own.Find(context.Background(), leaf); !ok || index != 0 || err != nil {
		t.Error("it does not find the genesis", index, ok, err)
	}
	stop(t, own)
	own = open(peers)
	grow("restarted ", n.Head().Height+1)
	follows()

	// Step 3: it is voted in, and then needed: two of five may not be away.
	id, err := ReadIdentity(dir)
	if err != nil {
		t.Fatal(err)
	}
	body := &state.Propose{Proposal: &state.Validators{{Member: country(4).OID, Type: id.Type, Key: id.Key, Power: 1}}}
	propose := seq.make(t, n, country(0).OID, body, ed("member 0"))
	seq.logged(t, n, propose)
	for i := 1; i < 4; i++ {
		vote := &state.Vote{Proposal: mustTx(t, propose).ID(), Yes: true}
		seq.logged(t, n, seq.make(t, n, country(i).OID, vote, ed(fmt.Sprint("member ", i))))
	}
	// What the engine would begin with around the change is what it has itself.
	changed, seen, until := false, uint64(0), n.Head().Height+8
	for head := uint64(0); head < until; time.Sleep(20 * time.Millisecond) {
		if head == n.Head().Height {
			continue
		}
		head = n.Head().Height // blocks are a second apart: none is missed
		if err := n.Submit(context.Background(), seq.anchor(t, n, 1, fmt.Sprint("voted in ", head))); err != nil {
			t.Fatal(err)
		}
		from := &honest{node: n}
		s, blocks, err := (&Joining{From: from}).choose(context.Background(), genesis, n.Head().Size)
		if err != nil {
			t.Fatal(err)
		}
		if s.Height() != seen+1 && seen != 0 {
			t.Errorf("after the snapshot of %d that of %d", seen, s.Height())
		}
		seen = s.Height()
		begin, err := beginning(genesis, s, blocks)
		if err != nil {
			t.Fatal(err)
		}
		changed = changed || begin.Validators.Size() != begin.NextValidators.Size()
		for i, set := range []*types.ValidatorSet{begin.LastValidators, begin.Validators, begin.NextValidators} {
			want, err := n.states.LoadValidators(int64(s.Height()) + int64(i))
			if err != nil || fmt.Sprint(set.Validators, set.Proposer) != fmt.Sprint(want.Validators, want.Proposer) {
				t.Errorf("height %d: %v, want %v: %v", s.Height()+uint64(i), set, want, err)
			}
		}
	}
	if !changed {
		t.Error("no snapshot was at the change of the validators")
	}
	follows()
	if !own.Head().Validating {
		t.Fatal("it does not vote")
	}
	stop(t, nodes[3])
	nodes[3] = nil
	grow("needed ", n.Head().Height+6)
	follows()
	stop(t, own)
}

// FuzzLightBlock: what a source says is a block is refused, or is one that its own
// validators have signed; the engine's code does not end the process.
func FuzzLightBlock(f *testing.F) {
	dirs, _, genesis := folders(f, 1, 1, state.ConsensusEd25519, state.DefaultParams)
	n := start(f, dirs[0])
	seq := numbers{}
	seq.issuer(f, n, 0, 1)
	data, err := n.Block(1)
	stop(f, n)
	if err != nil {
		f.Fatal(err)
	}
	chain := ChainID(genesis)
	if _, err := parseBlock(data, chain, 1); err != nil {
		f.Fatal(err)
	}
	if _, err := parseBlock(data, "another", 1); !errors.Is(err, ErrBlock) {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := parseBlock(data, chain, 1); err != nil && !errors.Is(err, ErrBlock) {
			t.Fatal(err)
		}
	})
}
