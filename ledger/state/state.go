// Package state is the rules of the ledger: what a transaction is, who may write
// which, and what becomes of the registry.
//
// A [State] goes from one block to the next by [State.Apply], and everybody who
// applies the same blocks to the same genesis has the same rows, the same log and
// the same answers, byte by byte. So nothing here knows another clock than the
// block's, draws lots, computes with fractions, or depends on the order of a map.
// A transaction that is refused leaves no trace but its reason.
//
// What stands on the ledger is fixed in size and meaning: digests, identifiers,
// keys, numbers. There is no field for text, and none in which a person could be
// named.
package state

import (
	"crypto"
	"crypto/sha256"
	"fmt"
	"slices"

	"ampoule/format"
	"ampoule/format/cbor"
	"ampoule/format/cose"
	"ampoule/ledger/tlog"
)

// maxTime is the last second of the year 9999.
const maxTime = 253402300799

// State is the machine after some block. Its methods must not run at the same
// time; what they return is the caller's.
type State struct {
	rows     *table
	software uint64 // version of the rules that this program knows

	// What follows is a function of what was seen, and decides nothing: keys by
	// their thumbprint, and messages whose signatures were found good.
	keys map[Hash]crypto.PublicKey
	good map[Hash]bool
}

func newState() *State {
	return &State{rows: newTable(nil), software: AppVersion, keys: map[Hash]crypto.PublicKey{}, good: map[Hash]bool{}}
}

// The bounds of what is remembered. What is beyond is checked again.
const (
	maxRememberedKeys = 4096
	maxRememberedGood = 1 << 16
)

// public returns the parsed key of a row.
func (s *State) public(kid Hash, k *keyRow) (crypto.PublicKey, error) {
	if pub, ok := s.keys[kid]; ok {
		return pub, nil
	}
	key, err := parseKey(k.Key)
	if err != nil {
		return nil, err
	}
	if len(s.keys) >= maxRememberedKeys {
		clear(s.keys)
	}
	s.keys[kid] = key.Public
	return key.Public, nil
}

// Chain is the SHA-256 of the genesis.
func (s *State) Chain() Hash {
	var c chainRow
	load(s.rows, "p/chain", &c)
	return Hash(c)
}

const headKey = "l/"

func (s *State) head() (h head) {
	load(s.rows, headKey, &h)
	return h
}

// Height is the height of the last block, and Time its time.
func (s *State) Height() uint64 { return s.head().Height }

// Time is the time of the last block, in seconds.
func (s *State) Time() uint64 { return s.head().Time }

// LogSize is how many leaves the log has.
func (s *State) LogSize() uint64 { return s.head().Log.Size() }

// LogRoot is the root of the log.
func (s *State) LogRoot() Hash { return s.head().Log.Root() }

// Seq is the last sequence number of an actor.
func (s *State) Seq(actor OID) uint64 {
	var n number
	load(s.rows, "n/"+string(actor), &n)
	return uint64(n)
}

// Params are the parameters in force.
func (s *State) Params() Params { return params(s.rows) }

func params(t *table) Params {
	var p paramsRow
	load(t, "p/params", &p)
	return Params(p)
}

// Validators are the validators in the order of their members.
func (s *State) Validators() []Validator { return validators(s.rows) }

// KeyAt returns a key and its owner where it counted at a height: it was
// registered, and not ended. It says nothing of a suspension.
func (s *State) KeyAt(kid Hash, height uint64) (owner OID, pub crypto.PublicKey, ok bool) {
	var k keyRow
	if !load(s.rows, keyKey(kid), &k) || !k.at(height) {
		return "", nil, false
	}
	pub, err := s.public(kid, &k)
	return k.Owner, pub, err == nil
}

// Block is what the members have agreed on.
type Block struct {
	Height   uint64 // one more than that of the block before
	Time     uint64 // seconds; never less than that of the block before
	Txs      [][]byte
	Evidence []OID // members of which a validator voted twice
}

// Result is what became of one transaction of a block.
type Result struct {
	Reason string // empty: accepted
	Index  uint64 // leaf of the log, of an accepted one
}

// Outcome is what a block has done.
type Outcome struct {
	Results    []Result          // one for each transaction
	Entries    [][]byte          // leaves that the log grows by
	Changes    []Change          // rows, in the order of their keys
	Validators []ValidatorUpdate // sorted, one for each key
	Decided    []Decision        // proposals that were closed
	Params     bool              // the parameters have changed
}

// Reason is the reason word of a refusal.
func Reason(err error) string { return format.Reason(err, "refused") }

// Apply takes the next block. An error says that there is no such block, or that
// this program is not the one to take it; the state is then as it was.
func (s *State) Apply(b *Block) (*Outcome, error) {
	d, err := s.Draft(b)
	if err != nil {
		return nil, err
	}
	d.Take()
	return d.Outcome, nil
}

// Draft is what the next block would do. The state stands where it stood until the
// draft is taken, which no other block may come before.
type Draft struct {
	Outcome *Outcome
	After   *State // what the state will be; not to be changed

	t *table
}

// Take brings the state to where the draft is.
func (d *Draft) Take() { d.t.merge() }

// Draft computes the next block. Whoever has to write down what a block has done
// before others see it takes it afterwards. The error is that of [State.Apply].
func (s *State) Draft(b *Block) (*Draft, error) {
	last := s.head()
	if b.Height != last.Height+1 || b.Time < last.Time || b.Time > maxTime {
		return nil, fmt.Errorf("ledger: block %d at %d after block %d at %d: %w", b.Height, b.Time, last.Height, last.Time, ErrBlock)
	}
	t := newTable(s.rows)
	if err := s.upgrade(t, b.Height); err != nil {
		return nil, err
	}
	out := new(Outcome)
	x := &run{s: s, t: t, chain: s.Chain(), height: b.Height, time: b.Time, head: last}
	x.expire()
	for _, o := range b.Evidence {
		x.punish(o)
	}
	var used budget
	for _, tx := range b.Txs {
		err := x.transact(tx, &used)
		if err != nil {
			out.Results = append(out.Results, Result{Reason: Reason(err)})
			continue
		}
		out.Results = append(out.Results, Result{Index: last.Log.Size() + uint64(len(out.Entries))})
		out.Entries = append(out.Entries, tx)
	}
	out.Decided = x.decided
	out.Validators = validatorUpdates(validators(s.rows), validators(t))
	after := params(t)
	out.Params = after != params(s.rows)
	next := last
	next.Height, next.Time, next.Log = b.Height, b.Time, last.Log.Clone()
	epoch := b.Height%after.EpochBlocks == 0
	if epoch {
		root, err := registryRoot(t)
		if err != nil {
			return nil, err
		}
		next.Registry, next.Changes = root, Hash{}
		out.Entries = append(out.Entries, stateLeaf(t, b.Height, b.Time, root))
	}
	if err := finish(t, &next, out.Entries, epoch); err != nil {
		return nil, err
	}
	out.Changes = t.changes()
	then := newState()
	then.rows, then.software = t, s.software
	return &Draft{Outcome: out, After: then, t: t}, nil
}

// upgrade stops the old program at the height of an upgrade.
func (s *State) upgrade(t *table, height uint64) error {
	var up Upgrade
	var version number
	load(t, "p/version", &version)
	if load(t, "p/upgrade", &up) && up.Height == height {
		version = number(up.Version)
		save(t, "p/version", &version)
		t.drop("p/upgrade")
	}
	if uint64(version) > s.software {
		return fmt.Errorf("ledger: block %d is for version %d, and this is %d: %w", height, version, s.software, ErrUpgrade)
	}
	return nil
}

// punish takes the validator from a member that voted twice. A chain keeps its
// last one.
func (x *run) punish(o OID) {
	set := list(x.t, "v/")
	if _, found := slices.BinarySearch(set, string(o)); !found || len(set) < 2 {
		return
	}
	x.t.drop("v/" + string(o))
	enlist(x.t, "v/", string(o), false)
}

// budget is what the transactions of a block may use together.
type budget struct{ bytes, work uint64 }

// take charges a transaction, unless it is too much. Those that are not urgent
// leave a share for those that are.
func (b *budget) take(tx *Tx, p *Params) bool {
	bytes, work := p.BlockBytes, p.BlockWork
	if !tx.Body.Kind().Urgent() {
		bytes -= bytes / 100 * p.Reserved
		work -= work / 100 * p.Reserved
	}
	if b.bytes+uint64(tx.size) > bytes || b.work+tx.Work() > work {
		return false
	}
	b.bytes += uint64(tx.size)
	b.work += tx.Work()
	return true
}

// Checker answers for transactions that wait for a block: each is held against
// the state and against those that were accepted before it. It is made anew after
// each block.
type Checker struct {
	x    *run
	used *budget
}

// Mempool makes a checker without the bounds of a block.
func (s *State) Mempool() *Checker {
	h := s.head()
	return &Checker{x: &run{s: s, t: newTable(s.rows), chain: s.Chain(), height: h.Height + 1, time: h.Time, head: h}}
}

// Proposal makes a checker that refuses what a block has no room for.
func (s *State) Proposal() *Checker {
	c := s.Mempool()
	c.used = new(budget)
	return c
}

// CheckTx tells why a transaction would be refused: the same words and the same
// steps as in a block.
func (c *Checker) CheckTx(tx []byte) error { return c.x.transact(tx, c.used) }

// run is one block on its way.
type run struct {
	s            *State
	t            *table
	chain        Hash
	height, time uint64
	head         head // before the block
	decided      []Decision

	// Of the transaction in hand.
	tx     *Tx
	params Params
	row    string // that params were read from
	actor  actor
	other  actor // the counterparty, where there is one
}

// transact takes one transaction, whole or not at all.
func (x *run) transact(data []byte, used *budget) error {
	tx, err := ParseTx(data)
	if err != nil {
		return err
	}
	block, decided := x.t, len(x.decided)
	x.t, x.tx = newTable(block), tx
	if row, _ := block.get("p/params"); row != x.row { // a vote may have changed them
		x.params, x.row = params(block), row
	}
	if err = x.steps(used); err == nil {
		x.t.merge()
	} else {
		x.decided = x.decided[:decided]
	}
	x.t = block
	return err
}

// steps are in the order of their cost, so that what is refused was cheap.
func (x *run) steps(used *budget) error {
	tx := x.tx
	// Step 1: room in the block.
	if used != nil && !used.take(tx, &x.params) {
		return ErrBlockFull
	}
	// Step 2: for this chain, and now.
	switch {
	case tx.Chain != x.chain:
		return ErrChain
	case tx.ValidUntil < x.height:
		return ErrExpired
	case tx.ValidUntil > x.height+x.params.MaxLife:
		return ErrTooFarAhead
	}
	// Step 3: by somebody who is in force, and once.
	var err error
	if x.actor, err = x.inForce(tx.Actor); err != nil {
		return err
	}
	var seq number
	load(x.t, "n/"+string(tx.Actor), &seq)
	switch {
	case tx.Seq <= uint64(seq):
		return ErrSeqUsed
	case tx.Seq > uint64(seq)+1:
		return ErrSeqGap
	}
	// Step 4: not too much.
	if err := x.charge(); err != nil {
		return err
	}
	// Step 5: signed by whom it must be.
	if err := x.checkSignatures(); err != nil {
		return err
	}
	// Step 6: what it asks for, within what the members have agreed.
	if err := x.checkPolicies(); err != nil {
		return err
	}
	if err := tx.Body.apply(x); err != nil {
		return err
	}
	seq = number(tx.Seq)
	save(x.t, "n/"+string(tx.Actor), &seq)
	return nil
}

// actor is who acts, as far as the rules ask.
type actor struct {
	key    string // row
	member OID    // itself, or its sponsor
	scope  uint64
	voting bool
	own    bool // a member
	hybrid bool
}

// find finds an actor by its identifier, whatever has become of it.
func (x *run) find(o OID) (actor, bool) {
	for _, prefix := range [...]string{"i/", "d/", "m/"} {
		if _, ok := x.t.get(prefix + string(o)); ok {
			return actor{key: prefix + string(o)}, true
		}
	}
	return actor{}, false
}

// inForce finds an actor that may act now.
func (x *run) inForce(o OID) (actor, error) {
	a, ok := x.find(o)
	if !ok {
		return actor{}, ErrActorUnknown
	}
	if a.key[0] == 'm' {
		var m member
		load(x.t, a.key, &m)
		a.member, a.scope, a.voting, a.own, a.hybrid = o, memberScope, m.Voting, true, m.Hybrid
		return a, standing(m.Status)
	}
	var e entry
	load(x.t, a.key, &e)
	a.member, a.scope, a.hybrid = e.Sponsor, e.Scope, e.Hybrid
	if err := standing(e.Status); err != nil {
		return a, err
	}
	if x.time < e.Emergency {
		return a, ErrActorSuspended
	}
	if x.time < e.From || x.time >= e.Until {
		return a, ErrActorPeriod
	}
	var sponsor member
	if load(x.t, "m/"+string(e.Sponsor), &sponsor); sponsor.Status != active {
		return a, ErrSponsor
	}
	return a, nil
}

func standing(status uint64) error {
	switch status {
	case active:
		return nil
	case suspended:
		return ErrActorSuspended
	}
	return ErrActorRevoked
}

// needs refuses an actor without a scope.
func (x *run) needs(scope uint64) error {
	if x.actor.scope&scope == 0 {
		return ErrNotAuthorised
	}
	return nil
}

// needsMember refuses who is no member, and where votes count, who has none.
func (x *run) needsMember(voting bool) error {
	if !x.actor.own || voting && !x.actor.voting {
		return ErrNotAuthorised
	}
	return nil
}

// usage is a row of q/.
type usage struct{ Window, Txs, Bytes, Urgent uint64 }

func (u *usage) append(dst []byte) []byte {
	dst = appendNum(appendNum(cbor.AppendArray(dst, 4), u.Window), u.Txs)
	return appendNum(appendNum(dst, u.Bytes), u.Urgent)
}

func (u *usage) read(r *reader) {
	u.Window, u.Txs = r.number(0, maxNumber), r.number(0, maxNumber)
	u.Bytes, u.Urgent = r.number(0, maxNumber), r.number(0, maxNumber)
}

// usage reads what was used of the window that the height is in.
func (x *run) usage(key string, length uint64) (u usage) {
	window := x.height / length
	if load(x.t, key, &u); u.Window != window {
		u = usage{Window: window}
	}
	return u
}

// charge holds the transaction against the quota of the member behind it.
func (x *run) charge() error {
	key := "q/" + string(x.actor.member)
	u := x.usage(key, x.params.QuotaWindow)
	if x.tx.Body.Kind().Urgent() {
		u.Urgent++
	} else {
		u.Txs++
		u.Bytes += uint64(x.tx.size)
	}
	if u.Txs > x.params.QuotaTxs || u.Bytes > x.params.QuotaBytes || u.Urgent > x.params.QuotaUrgent {
		return ErrQuota
	}
	save(x.t, key, &u)
	return nil
}

// checkSignatures sorts the signatures by whose they are, refuses one that nobody
// asked for, and checks each.
func (x *run) checkSignatures() error {
	tx := x.tx
	var to OID
	if b, ok := tx.Body.(interface{ counterparty() OID }); ok && b.counterparty() != tx.Actor {
		var err error
		to = b.counterparty()
		if x.other, err = x.inForce(to); err != nil {
			return err
		}
	}
	rotation, _ := tx.Body.(*Rotate)
	root := rotation != nil && rotation.Role == MemberRole
	added := newKeys(tx.Body)
	var mine, theirs []cose.Algorithm
	publics := make([]crypto.PublicKey, len(tx.signers))
	possessed := 0
	for i, s := range tx.signers {
		var k keyRow
		if !load(x.t, keyKey(s.kid), &k) {
			at := -1
			for j := range added {
				if added[j].KID == s.kid {
					at = j
				}
			}
			if at < 0 {
				return ErrKeyUnknown
			}
			publics[i] = added[at].Public
			possessed++
			continue
		}
		switch {
		case k.Owner != tx.Actor && (to == "" || k.Owner != to):
			return ErrStraySignature
		case !k.at(x.height):
			return ErrKeyNotInForce
		case k.Root != (root && k.Owner == tx.Actor):
			return ErrKeyUse
		case k.Owner == tx.Actor:
			mine = append(mine, s.alg)
		default:
			theirs = append(theirs, s.alg)
		}
		var err error
		if publics[i], err = x.s.public(s.kid, &k); err != nil {
			return err
		}
	}
	switch {
	case len(mine) == 0:
		return cose.ErrMissingSignature
	case !root && x.actor.hybrid && !both(mine) || to != "" && x.other.hybrid && len(theirs) > 0 && !both(theirs):
		return ErrNeedTwo
	case to != "" && len(theirs) == 0:
		return ErrCounterparty
	case len(mine) > 2 || len(theirs) > 2 || len(mine) == 2 && mine[0] == mine[1] || len(theirs) == 2 && theirs[0] == theirs[1]:
		// Two at once are of two algorithms; more say nothing.
		return ErrStraySignature
	}
	for _, k := range added {
		if _, known := x.t.get(keyKey(k.KID)); known {
			return ErrKeyKnown
		}
	}
	if possessed != len(added) {
		return ErrPossession
	}
	// A kid is a hash of its key, so a message that was good once is good always.
	if x.s.good[tx.digest] {
		return nil
	}
	for i, s := range tx.signers {
		if err := s.check(publics[i]); err != nil {
			return err
		}
	}
	if s := tx.statement(); s != nil {
		if err := s.verify(); err != nil {
			return err
		}
	}
	if len(x.s.good) >= maxRememberedGood {
		clear(x.s.good)
	}
	x.s.good[tx.digest] = true
	return nil
}

// both tells whether there are two signatures of which one is ML-DSA-65.
func both(algs []cose.Algorithm) bool {
	return len(algs) == 2 && (algs[0] == cose.MLDSA65) != (algs[1] == cose.MLDSA65)
}

// finish appends the leaves of a block to the log, and moves the head on.
func finish(t *table, h *head, entries [][]byte, epoch bool) error {
	for _, e := range entries {
		if err := h.Log.Append(tlog.LeafHash(e)); err != nil {
			return fmt.Errorf("ledger: %w", err)
		}
	}
	if !epoch {
		var changes []tlog.Change
		for _, c := range t.changes() {
			changes = append(changes, tlog.Change{Key: []byte(c.Key), Value: c.Row})
		}
		chain, err := tlog.NextChange(h.Changes, changes)
		if err != nil {
			return fmt.Errorf("ledger: %w", err)
		}
		h.Changes = chain
	}
	save(t, headKey, h)
	return nil
}

// registryRoot is the root over all rows but the head.
func registryRoot(t *table) (Hash, error) {
	r, err := tlog.NewRegistry(func(yield func(key, row []byte) bool) {
		for key, row := range t.all() {
			if key != headKey && !yield([]byte(key), []byte(row)) {
				return
			}
		}
	})
	if err != nil {
		return Hash{}, fmt.Errorf("ledger: %w", err)
	}
	return r.Root(), nil
}

// AppHash is what the validators agree on, see [tlog.AppState].
func (s *State) AppHash() Hash {
	h := s.head()
	row, _ := s.rows.get("p/params")
	var version number
	load(s.rows, "p/version", &version)
	app := tlog.AppState{
		LogSize: h.Log.Size(), LogRoot: h.Log.Root(), RegistryRoot: h.Registry,
		ChangeChain: h.Changes, ParamsHash: sha256.Sum256([]byte(row)), AppVersion: uint64(version),
	}
	return app.Hash()
}
