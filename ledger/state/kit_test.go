package state

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/cloudflare/circl/sign/mldsa/mldsa65"
)

// kit is a federation of fictitious members with all their keys.
type kit struct {
	t    testing.TB
	s    *State
	gen  []byte
	time uint64
	last *Outcome
}

const start = 1_800_000_000

// id makes an identifier below the UUID arc.
func id(path string) OID {
	o, err := ParseOID("2.25.329800735698586629295641978511506172918." + path)
	if err != nil {
		panic(err)
	}
	return o
}

func hash(s string) Hash { return sha256.Sum256([]byte(s)) }

var signers sync.Map

// ed is an Ed25519 key, es a P-256 and ml an ML-DSA-65 key, by their names.
func ed(name string) crypto.Signer {
	return remember("ed "+name, func(seed Hash) crypto.Signer { return ed25519.NewKeyFromSeed(seed[:]) })
}

func es(name string) crypto.Signer {
	return remember("es "+name, func(seed Hash) crypto.Signer {
		k, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), seed[:])
		if err != nil {
			panic(err)
		}
		return k
	})
}

func ml(name string) crypto.Signer {
	return remember("ml "+name, func(seed Hash) crypto.Signer {
		_, k := mldsa65.NewKeyFromSeed((*[32]byte)(&seed))
		return k
	})
}

func remember(name string, make func(Hash) crypto.Signer) crypto.Signer {
	if k, ok := signers.Load(name); ok {
		return k.(crypto.Signer)
	}
	k, _ := signers.LoadOrStore(name, make(hash(name)))
	return k.(crypto.Signer)
}

func key(s crypto.Signer) Key {
	k, err := NewKey(s.Public())
	if err != nil {
		panic(err)
	}
	return k
}

func keys(signers ...crypto.Signer) []Key {
	var out []Key
	for _, s := range signers {
		out = append(out, key(s))
	}
	slices.SortFunc(out, func(a, b Key) int { return compareHash(a.KID, b.KID) })
	return out
}

// country is a member: oid 1.n, key ed "member n", root ml "root n".
func country(n int) Member {
	return Member{
		OID: id(fmt.Sprintf("1.%d", n)), Code: string([]byte{'X', byte('A' + n)}), SCA: hash(fmt.Sprint("sca ", n)), Provider: hash(fmt.Sprint("host ", n)),
		Voting: true, Keys: keys(ed(fmt.Sprint("member ", n))), Root: key(ml(fmt.Sprint("root ", n))),
	}
}

// statement is what a member would be admitted by, under the given keys.
func statement(m Member, signers ...crypto.Signer) []byte {
	s := &Statement{Member: m, Validator: validator(0, 1)}
	s.Validator.Member = m.OID
	data, err := s.Sign(rand.Reader, signers...)
	if err != nil {
		panic(err)
	}
	return data
}

func participant(n int) Participant {
	m := country(n)
	return Participant{m.Code, []Hash{m.SCA}}
}

func validator(n int, power uint64) Validator {
	k := ed(fmt.Sprint("consensus ", n)).Public().(ed25519.PublicKey)
	return Validator{country(n).OID, ConsensusEd25519, string(k), power}
}

// genesis is that of n members of whom the first v are validators; the trust list
// has two more.
func genesis(n, v int) *Genesis {
	g := &Genesis{Federation: id("0"), Time: start, Params: DefaultParams}
	for i := range n {
		g.Members = append(g.Members, country(i))
	}
	for i := range v {
		g.Validators = append(g.Validators, validator(i, 1))
	}
	for i := range n + 2 {
		g.Trust = append(g.Trust, participant(i))
	}
	return g
}

func newKit(t testing.TB, g *Genesis) *kit {
	t.Helper()
	k := &kit{t: t, gen: g.Encode(), time: start}
	s, err := New(k.gen)
	if err != nil {
		t.Fatal(err)
	}
	k.s = s
	return k
}

// tx makes a transaction with the next number of the actor.
func (k *kit) tx(actor OID, body Body) *Tx {
	return &Tx{Chain: k.s.Chain(), Actor: actor, Seq: k.s.Seq(actor) + 1, ValidUntil: k.s.Height() + 10, Body: body}
}

func (k *kit) sign(tx *Tx, signers ...crypto.Signer) []byte {
	k.t.Helper()
	data, err := tx.Sign(rand.Reader, signers...)
	if err != nil {
		k.t.Fatal(err)
	}
	return data
}

// block applies one block, one second later, and reads the state back from its
// snapshot, which must be the same.
func (k *kit) block(txs ...[]byte) *Outcome {
	k.t.Helper()
	k.time++
	out, err := k.s.Apply(&Block{Height: k.s.Height() + 1, Time: k.time, Txs: txs})
	if err != nil {
		k.t.Fatal(err)
	}
	snapshot := k.s.Snapshot()
	again, err := Restore(snapshot)
	if err != nil {
		k.t.Fatal(err)
	}
	if !bytes.Equal(again.Snapshot(), snapshot) || again.AppHash() != k.s.AppHash() {
		k.t.Fatal("the restored state is another")
	}
	k.last = out
	return out
}

// try applies one transaction in a block of its own, and returns why it was
// refused. A checker must say the same before.
func (k *kit) try(actor OID, body Body, signers ...crypto.Signer) string {
	k.t.Helper()
	return k.send(k.sign(k.tx(actor, body), signers...))
}

func (k *kit) send(data []byte) string {
	k.t.Helper()
	var checked string
	if err := k.s.Mempool().CheckTx(data); err != nil {
		checked = Reason(err)
	}
	before := k.s.Snapshot()
	out := k.block(data)
	if got := out.Results[0].Reason; got != checked {
		k.t.Fatalf("refused as %q in the block, as %q before", got, checked)
	}
	if out.Results[0].Reason != "" {
		if len(out.Entries) != 0 {
			k.t.Fatal("a refused transaction is in the log")
		}
		after := headless(k.s)
		old, err := Restore(before)
		if err != nil {
			k.t.Fatal(err)
		}
		if !slices.Equal(after, headless(old)) {
			k.t.Fatal("a refused transaction has left something")
		}
	}
	return out.Results[0].Reason
}

// headless are the rows without the head.
func headless(s *State) (out []string) {
	for key, row := range s.Rows() {
		if key != headKey {
			out = append(out, fmt.Sprintf("%q=%x", key, row))
		}
	}
	return out
}

// must applies a transaction that is accepted.
func (k *kit) must(actor OID, body Body, signers ...crypto.Signer) {
	k.t.Helper()
	if reason := k.try(actor, body, signers...); reason != "" {
		k.t.Fatalf("%s: %s", body.Kind(), reason)
	}
}

func member0() OID               { return country(0).OID }
func online(n int) crypto.Signer { return ed(fmt.Sprint("member ", n)) }

var (
	issuerOID   = id("3.1")
	gatewayOID  = id("4.1")
	fridgeOID   = id("4.2")
	verifierOID = id("5.1")
	witnessOID  = id("2.1")
	schemaOID   = id("6.1")
	foreignOID  = id("7.1")
	lotOID      = id("8.1")
)

func put(role Role, o OID, scope uint64, signers ...crypto.Signer) *Put {
	return &Put{Role: role, OID: o, Keys: keys(signers...), Scope: scope, Document: hash("did"), From: start, Until: start + 86400}
}

// populated is a federation of five with an issuer, two devices, a verifier, a
// witness and a foreign ledger.
func populated(t testing.TB) *kit {
	t.Helper()
	k := newKit(t, genesis(5, 4))
	k.must(member0(), put(Issuer, issuerOID, roleScopes[Issuer], es("issuer")), online(0), es("issuer"))
	k.must(member0(), put(Device, gatewayOID, ScopeTelemetry|ScopeSingle, ed("gateway")), online(0))
	k.must(member0(), put(Device, fridgeOID, ScopeSingle, ed("fridge")), online(0))
	k.must(member0(), put(Verifier, verifierOID, ScopeAgreement, ed("verifier")), online(0), ed("verifier"))
	k.must(member0(), put(Witness, witnessOID, ScopeRelay, ml("witness")), online(0), ml("witness"))
	k.vote(&TakeForeign{foreignLedger()}, 4)
	return k
}

func foreignLedger() ForeignLedger {
	return ForeignLedger{Ledger: foreignOID, Proof: ForeignTlog, Parameters: hash("policy"), Keys: []Hash{{1}, {2}}, Quorum: 2, MaxAge: 3600}
}

// vote proposes as the first member, and has so many say yes in all.
func (k *kit) vote(p Proposal, yes int) (proposal Hash) {
	k.t.Helper()
	tx := k.tx(member0(), &Propose{p})
	data := k.sign(tx, online(0))
	if reason := k.send(data); reason != "" {
		k.t.Fatalf("proposing: %s", reason)
	}
	proposal = sha256.Sum256(tx.Payload())
	for n := 1; n < yes; n++ {
		k.must(country(n).OID, &Vote{proposal, true}, online(n))
	}
	return proposal
}

func (k *kit) decided(want string) {
	k.t.Helper()
	if len(k.last.Decided) != 1 || k.last.Decided[0].Outcome != want {
		k.t.Fatalf("decided %v, want %s", k.last.Decided, want)
	}
}

func wantIs(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got %v, want %v", err, want)
	}
}
