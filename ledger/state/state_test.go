package state

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"slices"
	"testing"

	"ampoule/format/cbor"
	"ampoule/format/cose"
	"ampoule/ledger/tlog"
)

// TestEnvelope holds that a transaction is taken in one encoding only.
func TestEnvelope(t *testing.T) {
	k := ready(t)
	tx := k.tx(issuerOID, batch())
	good := k.sign(tx, es("issuer"))
	if _, err := ParseTx(good); err != nil {
		t.Fatal(err)
	}
	payload := func(change func(b []byte) []byte) []byte {
		data, err := cose.SignSingle(rand.Reader, change(tx.Payload()), es("issuer"))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	multi, err := cose.SignMulti(rand.Reader, tx.Payload(), es("issuer"))
	if err != nil {
		t.Fatal(err)
	}
	two, err := tx.Sign(rand.Reader, es("issuer"), ed("verifier"))
	if err != nil {
		t.Fatal(err)
	}
	swapped, err := ParseTx(two)
	if err != nil {
		t.Fatal(err)
	}
	order := by(es("issuer"), ed("verifier"))
	if key(order[0]).KID == swapped.signers[0].kid {
		slices.Reverse(order)
	}
	wrong, err := cose.SignMulti(rand.Reader, tx.Payload(), order...)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		data []byte
		want error
	}{
		{"nothing", nil, cbor.ErrMalformed},
		{"too large", make([]byte, MaxTx+1), ErrTooLarge},
		{"cut off", good[:len(good)-1], cbor.ErrMalformed},
		{"with a byte more", append(slices.Clone(good), 0), cbor.ErrTrailing},
		{"a COSE_Sign of one", multi, ErrNotAscending},
		{"signatures in another order", wrong, ErrNotAscending},
		{"another version", payload(func(b []byte) []byte { b[1] = 2; return b }), ErrRange},
		{"an element more", payload(func(b []byte) []byte { b[0]++; return append(b, 0) }), ErrForm},
		{"no array", payload(func([]byte) []byte { return []byte{0xa0} }), ErrForm},
		{"a longer number", payload(func(b []byte) []byte { return append([]byte{b[0], 0x18, 1}, b[2:]...) }), ErrNotDeterministic},
		{"an identifier that is none", payload(func(b []byte) []byte { b[38] = 0x80; return b }), ErrOID},
		{"an unknown kind", payload(func(b []byte) []byte { return bytes.Replace(b, []byte("fp.batch"), []byte("fp.botch"), 1) }), ErrKind},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ParseTx(c.data)
			wantIs(t, err, c.want)
			if got := k.send(c.data); got != c.want.Error() {
				t.Fatalf("reason %q", got)
			}
		})
	}
}

func TestBlockOrder(t *testing.T) {
	k := ready(t)
	for name, b := range map[string]*Block{
		"a height ahead": {Height: k.s.Height() + 2, Time: k.time},
		"a height again": {Height: k.s.Height(), Time: k.time},
		"time back":      {Height: k.s.Height() + 1, Time: k.time - 1},
		"after all time": {Height: k.s.Height() + 1, Time: maxTime + 1},
	} {
		before := k.s.Snapshot()
		if _, err := k.s.Apply(b); !errors.Is(err, ErrBlock) {
			t.Errorf("%s: %v", name, err)
		}
		if !bytes.Equal(before, k.s.Snapshot()) {
			t.Errorf("%s: the state has changed", name)
		}
	}
}

// TestLog rebuilds the log from what the blocks said, and compares the roots.
func TestLog(t *testing.T) {
	g := genesis(1, 1)
	g.Params.EpochBlocks = 2
	k := newKit(t, g)
	leaves := []tlog.Hash{tlog.LeafHash(k.gen)}
	var index uint64
	for n := range 5 {
		data := k.sign(k.tx(member0(), put(Device, id("4.7"), 0, func() []crypto.Signer {
			if n == 0 {
				return by(ed("device"))
			}
			return nil
		}()...)), online(0))
		out := k.block(data, []byte("no transaction"))
		if out.Results[1].Reason == "" || out.Results[0].Reason != "" {
			t.Fatalf("results %v", out.Results)
		}
		index = out.Results[0].Index
		if int(index) != len(leaves) {
			t.Fatalf("leaf %d, and the log has %d", index, len(leaves))
		}
		for _, e := range out.Entries {
			leaves = append(leaves, tlog.LeafHash(e))
		}
		if epoch := k.s.Height()%2 == 0; (len(out.Entries) == 2) != epoch {
			t.Fatalf("height %d: %d entries", k.s.Height(), len(out.Entries))
		} else if epoch {
			want, err := registryRoot(k.s.rows)
			if err != nil {
				t.Fatal(err)
			}
			leaf, err := parse(string(out.Entries[1]), limits)
			if err != nil {
				t.Fatal(err)
			}
			if got, _ := leaf.items[4].Bytes(); Hash(got) != want || k.s.head().Changes != (Hash{}) {
				t.Fatal("the state leaf has another root than the registry")
			}
		}
	}
	h := k.s.head()
	if h.Log.Root() != tlog.NewTree(leaves).Root() || h.Log.Size() != uint64(len(leaves)) {
		t.Fatal("another log than its leaves make")
	}
	// A block that does nothing changes no hash.
	if k.s.Height()%2 != 1 {
		k.block()
	}
	k.block() // an epoch
	before := k.s.AppHash()
	k.block()
	if k.s.AppHash() != before {
		t.Fatal("an empty block has another hash")
	}
}

func TestGenesis(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(g *Genesis)
		want   error
	}{
		{"a member that is not trusted", func(g *Genesis) { g.Trust = g.Trust[1:] }, ErrNotTrusted},
		{"a key twice", func(g *Genesis) { g.Members[1].Keys = g.Members[0].Keys }, ErrKeyKnown},
		{"a root key that is an online key", func(g *Genesis) { g.Members[0].Root = g.Members[0].Keys[0] }, ErrKeyKnown},
		{"two validators", func(g *Genesis) { g.Validators = append(g.Validators, validator(1, 1)) }, ErrValidatorCount},
		{"no voting member", func(g *Genesis) { g.Members[0].Voting, g.Members[1].Voting = false, false }, ErrNoMember},
		{"a validator of nobody", func(g *Genesis) { g.Validators[0].Member = id("77") }, ErrUnknown},
		{"members in another order", func(g *Genesis) { slices.Reverse(g.Members) }, ErrNotAscending},
		{"one host for a third", func(g *Genesis) {
			*g = *genesis(4, 4)
			g.Members[0].Provider = g.Members[1].Provider
		}, ErrValidatorPower},
		{"parameters out of bounds", func(g *Genesis) { g.Params.MaxLife = 0 }, ErrRange},
		{"a hybrid with one key", func(g *Genesis) { g.Members[0].Hybrid = true }, ErrNeedTwo},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := genesis(2, 1)
			c.change(g)
			_, err := New(g.Encode())
			wantIs(t, err, c.want)
		})
	}
	_, err := New([]byte{0x88, 0x61, 'x', 0, 0, 0, 0, 0, 0, 0})
	wantIs(t, err, ErrGenesis)
	if _, err := New(append(genesis(1, 1).Encode(), 0)); err == nil {
		t.Fatal("a byte more is taken")
	}
	_, err = New(make([]byte, MaxTx+1))
	wantIs(t, err, ErrTooLarge)
}

func TestMembership(t *testing.T) {
	k := ready(t)
	k.vote(admission(5).Proposal, 3)
	if len(k.last.Decided) != 0 {
		t.Fatal("three of five are not more than two thirds")
	}
	open := list(k.s.rows, "g/")
	k.must(country(3).OID, &Vote{Hash([]byte(open[0])), true}, online(3))
	k.decided("passed")
	// The newcomer signs, sponsors and votes.
	m5 := country(5).OID
	k.must(m5, put(Issuer, id("3.5"), ScopeBatch, ed("issuer 5")), online(5), ed("issuer 5"))
	k.must(m5, changed(func(*Params) {}), online(5))
	// It loses its place in the trust list, and with it everything.
	k.vote(&TrustChange{{country(5).Code, nil}}, 5)
	k.decided("passed")
	if got := k.try(id("3.5"), &Batch{Root: hash("r"), Class: 10, Schema: schemaOID, Issuer: id("3.5")}, ed("issuer 5")); got != ErrSponsor.Error() {
		t.Fatalf("its issuer: %q", got)
	}
	if got := k.try(member0(), act(ResumeMember, 5), online(0)); got != ErrNotTrusted.Error() {
		t.Fatalf("resumed: %q", got)
	}
	k.vote(&TrustChange{participant(5)}, 4)
	k.vote(&Membership{Action: ResumeMember, OID: m5}, 4)
	k.decided("passed")
	k.must(id("3.5"), &Batch{Root: hash("r"), Class: 10, Schema: schemaOID, Issuer: id("3.5")}, ed("issuer 5"))
}

// TestLastVoter: who alone may vote cannot be sent away.
func TestLastVoter(t *testing.T) {
	g := genesis(2, 1)
	g.Members[0].Voting = false
	k := newKit(t, g)
	got := k.try(country(1).OID, act(SuspendMember, 1), online(1))
	if got != ErrNoMember.Error() {
		t.Fatalf("%q", got)
	}
	if got := k.try(member0(), act(SuspendMember, 1), online(0)); got != ErrNotAuthorised.Error() {
		t.Fatalf("an observer proposes: %q", got)
	}
}

func TestVotes(t *testing.T) {
	for _, c := range []struct {
		name     string
		proposal Proposal
		votes    []bool // of the members after the first
		want     string
	}{
		{"more than half", &NewParams{DefaultParams}, []bool{true, true}, "passed"},
		{"half is not enough", &NewParams{DefaultParams}, []bool{true}, ""},
		{"half against", &NewParams{DefaultParams}, []bool{false, false, false}, "rejected"},
		{"more than two thirds", &TrustChange{participant(9)}, []bool{true, true, true}, "passed"},
		{"less than two thirds", &TrustChange{participant(9)}, []bool{true, true}, ""},
		{"a third against", &TrustChange{participant(9)}, []bool{false, false}, "rejected"},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := ready(t)
			id := k.vote(c.proposal, 1)
			for n, yes := range c.votes {
				k.must(country(n+1).OID, &Vote{id, yes}, online(n+1))
			}
			if c.want != "" {
				k.decided(c.want)
				return
			}
			if len(k.last.Decided) != 0 {
				t.Fatalf("decided: %v", k.last.Decided)
			}
			k.time += DefaultParams.VoteSeconds
			k.block()
			k.decided("expired")
			if got := k.try(country(4).OID, &Vote{id, true}, online(4)); got != ErrClosed.Error() {
				t.Fatalf("a late vote: %q", got)
			}
		})
	}
}

// TestHalf: of an even number, half does not decide for a proposal, and does
// against it.
func TestHalf(t *testing.T) {
	k := newKit(t, genesis(4, 4))
	id := k.vote(&NewParams{DefaultParams}, 2)
	if len(k.last.Decided) != 0 {
		t.Fatalf("decided: %v", k.last.Decided)
	}
	k.must(country(2).OID, &Vote{id, false}, online(2))
	if len(k.last.Decided) != 0 {
		t.Fatalf("decided: %v", k.last.Decided)
	}
	k.must(country(3).OID, &Vote{id, false}, online(3))
	k.decided("rejected")
}

// TestOvertaken: what could be carried out when it was proposed may no longer be
// when it passes.
func TestOvertaken(t *testing.T) {
	k := ready(t)
	first := k.vote(&Membership{Action: SuspendMember, OID: country(4).OID}, 3)
	k.vote(&Membership{Action: SuspendMember, OID: country(4).OID}, 4)
	k.decided("passed")
	// Three of four are more than two thirds, and the next vote counts them so.
	k.must(country(3).OID, &Vote{first, true}, online(3))
	k.decided("failed")
	if k.last.Decided[0].Reason != ErrStage.Error() {
		t.Fatalf("%v", k.last.Decided)
	}
}

func TestEmergency(t *testing.T) {
	issue := func(k *kit) string {
		return k.try(issuerOID, status(func(b *StatusAnchor) { b.Epoch, b.ValidUntil = k.time, k.time+100 }), es("issuer"))
	}
	longLived := func(t *testing.T) *kit {
		k := ready(t)
		b := put(Issuer, issuerOID, roleScopes[Issuer])
		b.Until = start + 400*86400
		k.must(member0(), b, online(0))
		return k
	}
	propose := func(k *kit, votes int) Hash {
		tx := k.tx(country(1).OID, &Propose{&Emergency{issuerOID, true}})
		if got := k.send(k.sign(tx, online(1))); got != "" {
			t.Fatal(got)
		}
		for n := 2; n < 1+votes; n++ {
			k.must(country(n).OID, &Vote{sha256.Sum256(tx.Payload()), true}, online(n))
		}
		return sha256.Sum256(tx.Payload())
	}
	t.Run("two are too few", func(t *testing.T) {
		k := longLived(t)
		propose(k, 2)
		if got := issue(k); got != "" {
			t.Fatal(got)
		}
	})
	t.Run("ratified", func(t *testing.T) {
		k := longLived(t)
		propose(k, 3)
		k.decided("passed") // three are more than half of five
		k.time += 100 * 86400
		k.block()
		if got := issue(k); got != ErrActorSuspended.Error() {
			t.Fatal(got)
		}
		k.vote(&Emergency{issuerOID, false}, 3)
		if got := issue(k); got != "" {
			t.Fatal(got)
		}
	})
	seven := func(t *testing.T) *kit {
		k := newKit(t, genesis(7, 4))
		b := put(Issuer, issuerOID, roleScopes[Issuer], es("issuer"))
		b.Until = start + 400*86400
		k.must(member0(), b, online(0), es("issuer"))
		return k
	}
	t.Run("called, and over", func(t *testing.T) {
		k := seven(t)
		propose(k, 3)
		if got := issue(k); got != ErrActorSuspended.Error() {
			t.Fatal(got)
		}
		k.time += DefaultParams.EmergencySeconds
		k.block()
		if got := issue(k); got != "" {
			t.Fatal(got)
		}
	})
	t.Run("called, and refused", func(t *testing.T) {
		k := seven(t)
		id := propose(k, 3)
		for _, n := range []int{0, 4, 5, 6} {
			k.must(country(n).OID, &Vote{id, false}, online(n))
		}
		k.decided("rejected")
		if got := issue(k); got != "" {
			t.Fatal(got)
		}
	})
	t.Run("its sponsor cannot lift it", func(t *testing.T) {
		k := seven(t)
		propose(k, 3)
		k.must(member0(), put(Issuer, issuerOID, roleScopes[Issuer]), online(0))
		if got := issue(k); got != ErrActorSuspended.Error() {
			t.Fatal(got)
		}
	})
}

func TestValidatorUpdates(t *testing.T) {
	k := newKit(t, genesis(5, 1))
	grown := Validators{validator(1, 1), validator(2, 1), validator(3, 1)}
	k.vote(&grown, 4)
	if got := k.last.Validators; len(got) != 3 || !slices.IsSortedFunc(got, func(a, b ValidatorUpdate) int { return bytes.Compare([]byte(a.Key), []byte(b.Key)) }) {
		t.Fatalf("updates %v", got)
	}
	// Two members change their keys round: no key is named twice, and none at all
	// where its power is the same.
	a, b := validator(0, 1), validator(1, 1)
	a.Key, b.Key = b.Key, a.Key
	swap := Validators{a, b}
	k.vote(&swap, 4)
	k.decided("passed")
	if len(k.last.Validators) != 0 {
		t.Fatalf("updates %v", k.last.Validators)
	}
	k.time++
	out, err := k.s.Apply(&Block{Height: k.s.Height() + 1, Time: k.time, Evidence: []OID{country(2).OID, country(9).OID}})
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Validators) != 1 || out.Validators[0].Power != 0 || len(k.s.Validators()) != 3 {
		t.Fatalf("after a double vote: %v", out.Validators)
	}
	solo := newKit(t, genesis(1, 1))
	if _, err := solo.s.Apply(&Block{Height: 1, Time: start, Evidence: []OID{member0()}}); err != nil || len(solo.s.Validators()) != 1 {
		t.Fatalf("the last validator: %v", err)
	}
}

func TestUpgrade(t *testing.T) {
	k := ready(t)
	height := k.s.Height() + 10
	k.vote(&Upgrade{Height: height, Version: 2, Binaries: []Hash{hash("amd64")}, Migration: hash("none")}, 4)
	for k.s.Height() < height-1 {
		k.block()
	}
	before := k.s.Snapshot()
	_, err := k.s.Apply(&Block{Height: height, Time: k.time})
	wantIs(t, err, ErrUpgrade)
	if !bytes.Equal(before, k.s.Snapshot()) {
		t.Fatal("the stopped program has changed the state")
	}
	k.s.software = 2
	hash := k.s.AppHash()
	if _, err := k.s.Apply(&Block{Height: height, Time: k.time}); err != nil {
		t.Fatal(err)
	}
	if k.s.AppHash() == hash {
		t.Fatal("the version is not in the hash")
	}
	k.s.software = 1
	_, err = k.s.Apply(&Block{Height: height + 1, Time: k.time})
	wantIs(t, err, ErrUpgrade)

	k = ready(t)
	k.vote(&Upgrade{Height: k.s.Height() + 20, Version: 2}, 4)
	k.vote(&Upgrade{}, 4)
	k.decided("passed")
	for range 30 {
		k.block()
	}
}

// TestKeyHistory: a leaf of the log is judged by the keys of its height.
func TestKeyHistory(t *testing.T) {
	k := ready(t)
	old := key(es("issuer")).KID
	k.must(member0(), &Rotate{Issuer, issuerOID, []Hash{old}, keys(ed("new")), false}, online(0), ed("new"))
	at := k.s.Height()
	for _, c := range []struct {
		kid    Hash
		height uint64
		want   bool
	}{{old, at, true}, {old, at + 1, false}, {key(ed("new")).KID, at, false}, {key(ed("new")).KID, at + 1, true}, {old, 1, false}, {hash("x"), at, false}} {
		owner, pub, ok := k.s.KeyAt(c.kid, c.height)
		if ok != c.want || ok && (owner != issuerOID || pub == nil) {
			t.Errorf("key %x at %d: %v", c.kid[:4], c.height, ok)
		}
	}
}

// TestBlockFull fills a block, in which room for revocation is left.
func TestBlockFull(t *testing.T) {
	g := genesis(1, 1)
	g.Params.BlockBytes, g.Params.BlockWork = 2*MaxTx, 2*maxTxWork
	k := newKit(t, g)
	k.must(member0(), put(Issuer, issuerOID, roleScopes[Issuer], es("issuer")), online(0), es("issuer"))
	var txs [][]byte
	for seq := range uint64(200) {
		tx := k.tx(issuerOID, &SingleLeaf{hash("leaf"), schemaOID, AboutLot})
		tx.Seq += seq
		txs = append(txs, k.sign(tx, es("issuer")))
	}
	txs = append(txs, k.sign(k.tx(member0(), &Suspend{Issuer, issuerOID}), online(0)))
	proposal := k.s.Proposal()
	var refused int
	for _, tx := range txs {
		if proposal.CheckTx(tx) != nil {
			refused++
		}
	}
	out := k.block(txs...)
	full := 0
	for _, r := range out.Results[:200] {
		if r.Reason == ErrBlockFull.Error() {
			full++
		}
	}
	if full == 0 || full == 200 || refused != full || out.Results[200].Reason != "" {
		t.Fatalf("%d of 200 refused, %d before; the suspension: %q", full, refused, out.Results[200].Reason)
	}
}

func TestRestoreRefuses(t *testing.T) {
	k := ready(t)
	good := k.s.Snapshot()
	for name, data := range map[string][]byte{
		"nothing":      nil,
		"cut off":      good[:len(good)-1],
		"another":      bytes.Replace(good, []byte("snapshot"), []byte("snapshop"), 1),
		"no head":      bytes.Replace(good, []byte("l/"), []byte("z/"), 1),
		"a flip":       bytes.Replace(good, []byte("p/version"), []byte("p/versioo"), 1),
		"a bad row":    bytes.Replace(good, []byte("p/version\x42\x81\x01"), []byte("p/version\x42\x81\xf6"), 1),
		"a long row":   bytes.Replace(good, []byte("p/version\x42\x81\x01"), []byte("p/version\x43\x81\x18\x01"), 1),
		"out of order": bytes.Replace(good, []byte("p/version"), []byte("a/version"), 1),
	} {
		if _, err := Restore(data); err == nil {
			t.Errorf("%s is restored", name)
		} else if name == "no head" {
			wantIs(t, err, ErrSnapshot)
		}
	}
}
