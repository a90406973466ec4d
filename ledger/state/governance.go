package state

import (
	"cmp"
	"crypto/ed25519"
	"slices"

	"github.com/cloudflare/circl/sign/mldsa/mldsa65"

	"ampoule/format/cbor"
	"ampoule/format/cose"
)

// What a proposal is about.
const (
	AboutMember     = 1 + iota // Membership
	AboutValidators            // Validators
	AboutParams                // Params
	AboutUpgrade               // Upgrade
	AboutForeign               // ForeignLedger
	AboutEmergency             // Emergency
	AboutTrust                 // TrustChange
)

// Proposal is what the members vote on: one of the types that the constants
// above name.
type Proposal interface {
	about() uint64
	append(dst []byte) []byte
	read(r *reader)
	carryOut(x *run) error
}

func newProposal(about uint64) Proposal {
	switch about {
	case AboutMember:
		return new(Membership)
	case AboutValidators:
		return new(Validators)
	case AboutParams:
		return new(NewParams)
	case AboutUpgrade:
		return new(Upgrade)
	case AboutForeign:
		return new(TakeForeign)
	case AboutEmergency:
		return new(Emergency)
	case AboutTrust:
		return new(TrustChange)
	}
	return nil
}

// twoThirds tells which proposals need more than two thirds of the members; the
// others need more than half.
func twoThirds(about uint64) bool { return about != AboutParams && about != AboutEmergency }

// Propose puts something to the vote, and is the proposer's own yes. What could
// not be carried out now is refused.
//
//	gov.propose = [
//	    about:    1..7,
//	    proposal: membership / validators / new-params / upgrade / take-foreign / emergency / trust-change
//	]
type Propose struct{ Proposal Proposal }

// Kind names the kind.
func (*Propose) Kind() Kind { return "gov.propose" }

func (b *Propose) append(dst []byte) []byte {
	return b.Proposal.append(appendNum(cbor.AppendArray(dst, 2), b.Proposal.about()))
}

func (b *Propose) read(r *reader) {
	b.Proposal = newProposal(r.number(AboutMember, AboutTrust))
	in := inside(r)
	b.Proposal.read(in)
	r.close(in)
}

// statement is what the proposal rests on, besides who proposes it.
func (b *Propose) statement() *openedStatement {
	if m, ok := b.Proposal.(*Membership); ok {
		return m.opened
	}
	return nil
}

func (b *Propose) apply(x *run) error {
	if err := x.needsMember(true); err != nil {
		return err
	}
	if uint64(len(list(x.t, "g/"))) >= x.params.OpenProposals {
		return ErrTooManyOpen
	}
	if err := x.try(b.Proposal, false); err != nil {
		return err
	}
	id := x.tx.ID()
	life := x.params.VoteSeconds
	if b.Proposal.about() == AboutEmergency {
		life = x.params.EmergencySeconds
	}
	p := &proposal{About: b.Proposal.about(), Proposer: x.tx.Actor, Deadline: x.time + life, Status: proposalOpen}
	p.Content = string(b.Proposal.append(nil))
	p.Ballots = []ballot{{x.tx.Actor, true}}
	enlist(x.t, "g/", string(id[:]), true)
	x.decide(id, p)
	return nil
}

// try carries a proposal out over the state, and keeps what it did if it should.
func (x *run) try(p Proposal, keep bool) error {
	t := x.t
	x.t = newTable(t)
	err := p.carryOut(x)
	if err == nil && keep {
		x.t.merge()
	}
	x.t = t
	return err
}

// Vote is a member's vote. There is one, and it stands.
//
//	gov.vote = [
//	    proposal: bstr .size 32,   ;; SHA-256 of the payload that proposed it
//	    yes:      bool
//	]
type Vote struct {
	Proposal Hash
	Yes      bool
}

// Kind names the kind.
func (*Vote) Kind() Kind { return "gov.vote" }

func (b *Vote) append(dst []byte) []byte {
	return cbor.AppendBool(appendHash(cbor.AppendArray(dst, 2), b.Proposal), b.Yes)
}
func (b *Vote) read(r *reader) { b.Proposal, b.Yes = r.hash(), r.boolean() }

func (b *Vote) apply(x *run) error {
	if err := x.needsMember(true); err != nil {
		return err
	}
	var p proposal
	switch {
	case !load(x.t, "g/"+string(b.Proposal[:]), &p):
		return ErrUnknown
	case p.Status != proposalOpen:
		return ErrClosed
	case !cast(&p.Ballots, x.tx.Actor, b.Yes):
		return ErrVoted
	}
	x.decide(b.Proposal, &p)
	return nil
}

// What becomes of a proposal.
const (
	proposalOpen = 1 + iota
	proposalPassed
	proposalRejected
	proposalExpired
	proposalFailed // passed, and could no longer be carried out
)

// proposal is a row of g/. What it was about goes when it is closed: the log has
// it.
type proposal struct {
	About    uint64
	Content  string
	Proposer OID
	Deadline uint64
	Ballots  []ballot
	Called   bool // an emergency: it holds until it is decided
	Status   uint64
}

func (p *proposal) append(dst []byte) []byte {
	dst = appendOID(appendStr(appendNum(cbor.AppendArray(dst, 7), p.About), p.Content), p.Proposer)
	dst = appendList(appendNum(dst, p.Deadline), p.Ballots, appendBallot)
	return appendNum(cbor.AppendBool(dst, p.Called), p.Status)
}

func (p *proposal) read(r *reader) {
	p.About, p.Content, p.Proposer = r.number(AboutMember, AboutTrust), r.bytes(), r.oid()
	p.Deadline, p.Ballots = r.number(0, maxNumber), readBallots(r)
	p.Called, p.Status = r.boolean(), r.number(proposalOpen, proposalFailed)
}

func (p *proposal) proposal() Proposal {
	out := newProposal(p.About)
	r, err := parse(p.Content, limits)
	if err == nil {
		out.read(r)
		err = r.end()
	}
	if err != nil {
		panic("ledger state: the content of a proposal: " + err.Error())
	}
	return out
}

// decide counts the votes, and carries out what has passed.
func (x *run) decide(id Hash, p *proposal) {
	yes, no := x.tally(p.Ballots)
	all := x.voters()
	passed, lost := 2*yes > all, 2*no >= all
	if twoThirds(p.About) {
		passed, lost = 3*yes > 2*all, 3*no >= all
	}
	switch content := p.proposal(); {
	case passed:
		reason := ""
		p.Status = proposalPassed
		if err := x.try(content, true); err != nil {
			p.Status, reason = proposalFailed, Reason(err)
		}
		x.close(id, p, reason)
	case lost:
		p.Status = proposalRejected
		if e, ok := content.(*Emergency); ok && p.Called {
			e.end(x, p.Deadline)
		}
		x.close(id, p, "")
	default:
		if e, ok := content.(*Emergency); ok && !p.Called && yes >= x.params.EmergencyMembers {
			p.Called = true
			e.call(x, p.Deadline)
		}
		save(x.t, "g/"+string(id[:]), p)
	}
}

func (x *run) close(id Hash, p *proposal, reason string) {
	x.decided = append(x.decided, Decision{id, decisions[p.Status], reason})
	p.Content = ""
	enlist(x.t, "g/", string(id[:]), false)
	save(x.t, "g/"+string(id[:]), p)
}

// Decision tells what became of a proposal.
type Decision struct {
	Proposal Hash
	Outcome  string // passed, rejected, expired, failed
	Reason   string // of a failure
}

var decisions = [...]string{proposalPassed: "passed", proposalRejected: "rejected", proposalExpired: "expired", proposalFailed: "failed"}

// expire closes the proposals whose time is over.
func (x *run) expire() {
	for _, name := range list(x.t, "g/") {
		var p proposal
		load(x.t, "g/"+name, &p)
		if x.time >= p.Deadline {
			p.Status = proposalExpired
			x.close(Hash([]byte(name)), &p, "")
		}
	}
}

// ballot is one member's vote.
type ballot struct {
	Member OID
	Yes    bool
}

func appendBallot(dst []byte, b ballot) []byte {
	return cbor.AppendBool(appendOID(cbor.AppendArray(dst, 2), b.Member), b.Yes)
}

func readBallots(r *reader) []ballot {
	return readList(r, 0, maxMembers, func(r *reader) (b ballot) {
		in := inside(r)
		b.Member, b.Yes = in.oid(), in.boolean()
		r.close(in)
		return b
	})
}

// cast adds a vote, unless the member has voted.
func cast(all *[]ballot, m OID, yes bool) bool {
	at, found := slices.BinarySearchFunc(*all, m, func(b ballot, m OID) int { return compareOID(b.Member, m) })
	if found {
		return false
	}
	*all = slices.Insert(*all, at, ballot{m, yes})
	return true
}

// tally counts the votes of those who are members now.
func (x *run) tally(all []ballot) (yes, no uint64) {
	for _, b := range all {
		var m member
		switch {
		case !load(x.t, "m/"+string(b.Member), &m) || m.Status != active || !m.Voting:
		case b.Yes:
			yes++
		default:
			no++
		}
	}
	return yes, no
}

// voters is how many members may vote.
func (x *run) voters() (n uint64) {
	for _, name := range list(x.t, "m/") {
		var m member
		if load(x.t, "m/"+name, &m) && m.Status == active && m.Voting {
			n++
		}
	}
	return n
}

// most tells whether more than half of the members said yes.
func (x *run) most(all []ballot) bool {
	yes, _ := x.tally(all)
	return 2*yes > x.voters()
}

// maxMembers bounds the federation: there are some 200 states.
const maxMembers = 300

// Member is a member as it is taken in. Its country code and its signing
// authority must stand in the trust list of the ledger, see [Participant].
//
//	member = [
//	    oid:      ~oid,
//	    code:     tstr,             ;; participant of the GDHCN: two or three capitals
//	    sca:      bstr .size 32,    ;; SHA-256 of the certificate of its SCA
//	    provider: bstr .size 32,    ;; SHA-256 of the name of who hosts its node
//	    voting:   bool,             ;; else an observer
//	    hybrid:   bool,
//	    keys:     [1*4 COSE_Key],   ;; ascending by kid
//	    root:     COSE_Key          ;; kept offline; rotates the others
//	]
type Member struct {
	OID            OID
	Code           string
	SCA, Provider  Hash
	Voting, Hybrid bool
	Keys           []Key
	Root           Key
}

func appendMember(dst []byte, m Member) []byte {
	dst = cbor.AppendText(appendOID(cbor.AppendArray(dst, 8), m.OID), m.Code)
	dst = cbor.AppendBool(appendHash(appendHash(dst, m.SCA), m.Provider), m.Voting)
	return appendKey(appendList(cbor.AppendBool(dst, m.Hybrid), m.Keys, appendKey), m.Root)
}

func readMember(r *reader) (m Member) {
	in := inside(r)
	m.OID, m.Code, m.SCA, m.Provider = in.oid(), in.code(), in.hash(), in.hash()
	m.Voting, m.Hybrid = in.boolean(), in.boolean()
	m.Keys, m.Root = readKeys(in, 1), in.key()
	r.close(in)
	return m
}

// What is done with a member.
const (
	Admit         = 1
	RemoveMember  = 2
	SuspendMember = 3
	ResumeMember  = 4
)

// Membership admits a member, removes, suspends or resumes it.
//
//	membership = [action: 1, statement: bstr] / [action: 2..4, ~oid]
//
// Who is admitted has signed its [Statement] with all its keys; the proposer alone
// signs the transaction. The validator that the statement names is not taken in by it.
type Membership struct {
	Action    uint64
	OID       OID    // of the member; that of an admission stands in the statement
	Statement []byte // of who is admitted, else nil

	opened *openedStatement
}

func (*Membership) about() uint64 { return AboutMember }

func (p *Membership) append(dst []byte) []byte {
	dst = appendNum(cbor.AppendArray(dst, 2), p.Action)
	if p.Action == Admit {
		return cbor.AppendBytes(dst, p.Statement)
	}
	return appendOID(dst, p.OID)
}

func (p *Membership) read(r *reader) {
	if p.Action = r.number(Admit, ResumeMember); p.Action != Admit {
		p.OID = r.oid()
		return
	}
	data := r.bytes()
	if r.err != nil {
		return
	}
	var err error
	if p.opened, err = openStatement([]byte(data)); err != nil {
		r.fail("statement", err)
		return
	}
	p.OID, p.Statement = p.opened.Member.OID, []byte(data)
}

func (p *Membership) carryOut(x *run) error {
	if p.Action == Admit {
		return x.admit(p.opened.Member)
	}
	var m member
	key := "m/" + string(p.OID)
	if !load(x.t, key, &m) {
		return ErrUnknown
	}
	switch p.Action {
	case RemoveMember:
		if m.Status == gone {
			return ErrRevoked
		}
		for _, kid := range append(slices.Clone(m.Keys), m.Root) {
			x.endKey(kid)
		}
		m.Status, m.Keys = gone, nil
		enlist(x.t, "m/", string(p.OID), false)
	case SuspendMember:
		if m.Status != active {
			return ErrStage
		}
		m.Status = suspended
	case ResumeMember:
		if m.Status != suspended {
			return ErrStage
		}
		if !x.trusted(m.Code, m.SCA) {
			return ErrNotTrusted
		}
		m.Status = active
	}
	save(x.t, key, &m)
	return x.withdraw(p.OID)
}

// withdraw takes the validator from a member that is not in force, and refuses
// what would end the federation.
func (x *run) withdraw(o OID) error {
	var m member
	if load(x.t, "m/"+string(o), &m) && m.Status != active {
		x.t.drop("v/" + string(o))
		enlist(x.t, "v/", string(o), false)
	}
	if x.voters() == 0 {
		return ErrNoMember
	}
	if len(list(x.t, "v/")) == 0 {
		return ErrNoValidator
	}
	return nil
}

// trusted tells whether the trust list has the signing authority of a country.
func (x *run) trusted(code string, sca Hash) bool {
	var known trustRow
	load(x.t, "p/trust/"+code, &known)
	return slices.Contains(known, sca)
}

func (x *run) admit(m Member) error {
	if !x.trusted(m.Code, m.SCA) {
		return ErrNotTrusted
	}
	if _, known := x.find(m.OID); known {
		return ErrExists
	}
	if len(list(x.t, "m/")) >= maxMembers {
		return ErrTooManyOpen
	}
	row := &member{Status: active, Code: m.Code, SCA: m.SCA, Provider: m.Provider, Voting: m.Voting, Hybrid: m.Hybrid, Root: m.Root.KID, Joined: x.height + 1}
	if err := x.addKeys(m.OID, &row.Keys, m.Keys); err != nil {
		return err
	}
	if _, known := x.t.get(keyKey(m.Root.KID)); known {
		return ErrKeyKnown
	}
	save(x.t, keyKey(m.Root.KID), &keyRow{Owner: m.OID, Root: true, From: x.height + 1, Key: m.Root.cose})
	if m.Hybrid && !x.hybrid(row.Keys) {
		return ErrNeedTwo
	}
	save(x.t, "m/"+string(m.OID), row)
	enlist(x.t, "m/", string(m.OID), true)
	return nil
}

// The types of the keys with which a validator votes.
const (
	ConsensusEd25519 = 1
	ConsensusMLDSA65 = 2
)

// maxPower bounds a validator's power: the sum of all fits the engine.
const maxPower = 1000

// Validator is what a member's node has in the consensus.
//
//	validator = [
//	    member: ~oid,
//	    type:   1..2,        ;; Ed25519, ML-DSA-65
//	    key:    bstr,        ;; as the engine has it; 32 or 1,952 bytes
//	    power:  0..1000      ;; zero: taken out
//	]
type Validator struct {
	Member OID
	Type   uint64
	Key    string
	Power  uint64
}

func (v *Validator) append(dst []byte) []byte {
	dst = appendNum(appendOID(cbor.AppendArray(dst, 4), v.Member), v.Type)
	return appendNum(appendStr(dst, v.Key), v.Power)
}

func (v *Validator) read(r *reader) {
	v.Member, v.Type, v.Key = r.oid(), r.number(ConsensusEd25519, ConsensusMLDSA65), r.bytes()
	v.Power = r.number(0, maxPower)
	if want := [...]int{0, ed25519.PublicKeySize, mldsa65.PublicKeySize}[v.Type]; len(v.Key) != want {
		r.fail("key", cose.ErrKey)
	}
}

// Validators changes the set of validators, all at once.
//
//	validators = [1*300 validator]    ;; ascending by member
type Validators []Validator

func (*Validators) about() uint64 { return AboutValidators }

func appendValidator(dst []byte, v Validator) []byte { return v.append(dst) }

func readValidator(r *reader) (v Validator) {
	in := inside(r)
	v.read(in)
	r.close(in)
	return v
}

func (p *Validators) append(dst []byte) []byte { return appendList(dst, *p, appendValidator) }

func (p *Validators) read(r *reader) {
	for r.at < len(r.items) && len(*p) < maxMembers && r.err == nil {
		*p = append(*p, readValidator(r))
	}
	if len(*p) == 0 || !ascending(*p, func(a, b Validator) int { return compareOID(a.Member, b.Member) }) {
		r.fail("validators", ErrNotAscending)
	}
}

func (p *Validators) carryOut(x *run) error {
	for _, v := range *p {
		var m member
		if !load(x.t, "m/"+string(v.Member), &m) || m.Status != active {
			return ErrUnknown
		}
		key := "v/" + string(v.Member)
		if v.Power == 0 {
			if _, known := x.t.get(key); !known {
				return ErrUnknown
			}
			x.t.drop(key)
		} else {
			save(x.t, key, &v)
		}
		enlist(x.t, "v/", string(v.Member), v.Power > 0)
	}
	return checkValidators(x.t)
}

// validators are the validators in the order of their members.
func validators(t *table) []Validator {
	var out []Validator
	for _, name := range list(t, "v/") {
		var v Validator
		load(t, "v/"+name, &v)
		out = append(out, v)
	}
	return out
}

// checkValidators refuses a set that stops the chain or gives it to one: two or
// three validators tolerate no fault and more parties, so there is one, or there
// are four and more, of which no operator and no provider has a third.
func checkValidators(t *table) error {
	set := validators(t)
	switch n := len(set); {
	case n == 0:
		return ErrNoValidator
	case n == 2 || n == 3:
		return ErrValidatorCount
	}
	var total uint64
	var hosts []Hash
	for i, v := range set {
		var m member
		load(t, "m/"+string(v.Member), &m)
		total += v.Power
		hosts = append(hosts, m.Provider)
		for _, other := range set[:i] {
			if other.Key == v.Key {
				return ErrValidatorKey
			}
		}
	}
	if len(set) == 1 {
		return nil
	}
	for i, host := range hosts {
		var power uint64
		for j, v := range set {
			if hosts[j] == host {
				power += v.Power
			}
		}
		if 3*power >= total || 3*set[i].Power >= total {
			return ErrValidatorPower
		}
	}
	return nil
}

// ValidatorUpdate tells the engine a validator's new power, zero for one that is
// out.
type ValidatorUpdate struct {
	Type  uint64
	Key   string
	Power uint64
}

// validatorUpdates compares two sets: one update for each key, sorted.
func validatorUpdates(before, after []Validator) []ValidatorUpdate {
	power := func(set []Validator, v Validator) uint64 {
		for _, o := range set {
			if o.Type == v.Type && o.Key == v.Key {
				return o.Power
			}
		}
		return 0
	}
	var out []ValidatorUpdate
	for _, v := range after {
		if power(before, v) != v.Power {
			out = append(out, ValidatorUpdate{v.Type, v.Key, v.Power})
		}
	}
	for _, v := range before {
		if power(after, v) == 0 {
			out = append(out, ValidatorUpdate{v.Type, v.Key, 0})
		}
	}
	slices.SortFunc(out, func(a, b ValidatorUpdate) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Key, b.Key))
	})
	return out
}

// NewParams replaces the parameters.
//
//	new-params = [params]
type NewParams struct{ Params Params }

func (*NewParams) about() uint64 { return AboutParams }

func (p *NewParams) append(dst []byte) []byte {
	return appendParams(cbor.AppendArray(dst, 1), p.Params)
}
func (p *NewParams) read(r *reader) { p.Params = readParams(r) }

func (p *NewParams) carryOut(x *run) error {
	row := paramsRow(p.Params)
	save(x.t, "p/params", &row)
	return nil
}

// Upgrade changes the rules of the machine at a height: the old program stops
// there, and the new one goes on. A later vote replaces it; version zero takes it
// back.
//
//	upgrade = [
//	    height:    uint,
//	    version:   uint,                   ;; of the application; zero: no upgrade
//	    binaries:  [*8 bstr .size 32],     ;; SHA-256 of the programs
//	    migration: bstr .size 32           ;; SHA-256 of what the new one does first
//	]
type Upgrade struct {
	Height, Version uint64
	Binaries        []Hash
	Migration       Hash
}

func (*Upgrade) about() uint64 { return AboutUpgrade }

func (p *Upgrade) append(dst []byte) []byte {
	dst = appendNum(appendNum(cbor.AppendArray(dst, 4), p.Height), p.Version)
	return appendHash(appendList(dst, p.Binaries, appendHash), p.Migration)
}

func (p *Upgrade) read(r *reader) {
	p.Height, p.Version = r.number(0, maxNumber), r.number(0, 1<<32)
	p.Binaries, p.Migration = readList(r, 0, 8, (*reader).hash), r.hash()
	if !ascending(p.Binaries, compareHash) {
		r.fail("binaries", ErrNotAscending)
	}
}

func (p *Upgrade) carryOut(x *run) error {
	if p.Version == 0 {
		if _, known := x.t.get("p/upgrade"); !known {
			return ErrUnknown
		}
		x.t.drop("p/upgrade")
		return nil
	}
	var version number
	load(x.t, "p/version", &version)
	if p.Height <= x.height || p.Version == uint64(version) {
		return ErrUpgradeHeight
	}
	save(x.t, "p/upgrade", p)
	return nil
}

// TakeForeign takes a foreign ledger in, or replaces what is known of it.
//
//	take-foreign = [foreign]
type TakeForeign struct{ Ledger ForeignLedger }

func (*TakeForeign) about() uint64 { return AboutForeign }

func (p *TakeForeign) append(dst []byte) []byte {
	return appendForeign(cbor.AppendArray(dst, 1), p.Ledger)
}
func (p *TakeForeign) read(r *reader) { p.Ledger = readForeign(r) }

func (p *TakeForeign) carryOut(x *run) error {
	var f foreign
	key := "x/" + string(p.Ledger.Ledger)
	load(x.t, key, &f)
	f.ForeignLedger = p.Ledger
	save(x.t, key, &f)
	return nil
}

// Emergency suspends an entry of the registry against its sponsor, or lifts that.
// It holds as soon as a few members have called it, and ends at the deadline of
// the vote unless the members ratify it.
//
//	emergency = [oid: ~oid, suspend: bool]
type Emergency struct {
	OID     OID
	Suspend bool
}

func (*Emergency) about() uint64 { return AboutEmergency }

func (p *Emergency) append(dst []byte) []byte {
	return cbor.AppendBool(appendOID(cbor.AppendArray(dst, 2), p.OID), p.Suspend)
}
func (p *Emergency) read(r *reader) { p.OID, p.Suspend = r.oid(), r.boolean() }

func (p *Emergency) carryOut(x *run) error {
	until := uint64(0)
	if p.Suspend {
		until = maxNumber
	}
	return p.set(x, until)
}

func (p *Emergency) set(x *run, until uint64) error {
	found, known := x.find(p.OID)
	if !known || found.key[0] == 'm' {
		return ErrUnknown
	}
	var e entry
	load(x.t, found.key, &e)
	if e.Status == gone {
		return ErrRevoked
	}
	e.Emergency = until
	save(x.t, found.key, &e)
	return nil
}

// call makes an emergency hold at once. Lifting is no emergency; and one that was
// ratified before holds longer than this one would.
func (p *Emergency) call(x *run, until uint64) {
	found, known := x.find(p.OID)
	if !known || !p.Suspend || found.key[0] == 'm' {
		return
	}
	var e entry
	if load(x.t, found.key, &e); e.Status != gone && e.Emergency < until {
		e.Emergency = until
		save(x.t, found.key, &e)
	}
}

// end ends an emergency that the members did not want, before its time.
func (p *Emergency) end(x *run, until uint64) {
	var e entry
	if found, known := x.find(p.OID); known && load(x.t, found.key, &e) && e.Emergency == until {
		e.Emergency = 0
		save(x.t, found.key, &e)
	}
}

// Participant is a participant of the trust network with its signing authorities.
//
//	participant = [
//	    code: tstr,                   ;; two or three capitals
//	    scas: [*16 bstr .size 32]     ;; SHA-256 of their certificates, ascending
//	]
type Participant struct {
	Code string
	SCAs []Hash
}

func appendParticipant(dst []byte, p Participant) []byte {
	return appendList(cbor.AppendText(cbor.AppendArray(dst, 2), p.Code), p.SCAs, appendHash)
}

func readParticipant(r *reader) (p Participant) {
	in := inside(r)
	p.Code, p.SCAs = in.code(), readList(in, 0, 16, (*reader).hash)
	if !ascending(p.SCAs, compareHash) {
		in.fail("scas", ErrNotAscending)
	}
	r.close(in)
	return p
}

func compareParticipant(a, b Participant) int { return cmp.Compare(a.Code, b.Code) }

// TrustChange replaces what the ledger knows of some participants of the trust
// network; no SCA: the participant is out. Members that it leaves without their
// SCA are suspended.
//
//	trust-change = [1*300 participant]    ;; ascending by code
type TrustChange []Participant

func (*TrustChange) about() uint64 { return AboutTrust }

func (p *TrustChange) append(dst []byte) []byte { return appendList(dst, *p, appendParticipant) }

func (p *TrustChange) read(r *reader) {
	for r.at < len(r.items) && len(*p) < maxMembers && r.err == nil {
		*p = append(*p, readParticipant(r))
	}
	if len(*p) == 0 || !ascending(*p, compareParticipant) {
		r.fail("participants", ErrNotAscending)
	}
}

func (p *TrustChange) carryOut(x *run) error {
	for _, one := range *p {
		x.setTrust(one)
	}
	for _, name := range list(x.t, "m/") {
		var m member
		load(x.t, "m/"+name, &m)
		if m.Status != active || x.trusted(m.Code, m.SCA) {
			continue
		}
		m.Status = suspended
		save(x.t, "m/"+name, &m)
		if err := x.withdraw(OID(name)); err != nil {
			return err
		}
	}
	return nil
}

func (x *run) setTrust(p Participant) {
	if len(p.SCAs) == 0 {
		x.t.drop("p/trust/" + p.Code)
		return
	}
	row := trustRow(p.SCAs)
	save(x.t, "p/trust/"+p.Code, &row)
}
