package state

import (
	"crypto/sha256"
	"slices"

	"ampoule/format/cbor"
)

// Policy is the content of a contract: a rule about transactions of one kind. It
// is declarative; there is no program to run, and nothing to run out of control.
//
//	policy = [
//	    kind:     tstr,          ;; of the transactions that it rules
//	    schemas:  [*16 ~oid],    ;; which schemas they may have; empty: any
//	    minClass: 0..14,         ;; of fp.batch
//	    maxClass: 0..14,
//	    window:   uint,          ;; heights; zero: no limit of number
//	    maxTxs:   uint           ;; of one actor in a window
//	]
type Policy struct {
	For                Kind
	Schemas            []OID
	MinClass, MaxClass uint64
	Window, MaxTxs     uint64
}

// Encode writes the policy; the SHA-256 of that is the content hash.
func (p *Policy) Encode() []byte { return p.append(nil) }

func (p *Policy) append(dst []byte) []byte {
	dst = cbor.AppendText(cbor.AppendArray(dst, 6), string(p.For))
	dst = appendList(dst, p.Schemas, appendOID)
	return appendNum(appendNum(appendNum(appendNum(dst, p.MinClass), p.MaxClass), p.Window), p.MaxTxs)
}

func readPolicy(r *reader) (p Policy) {
	in := inside(r)
	kind, _ := in.next().Text()
	p.For = Kind(kind)
	// Votes, revocation and contracts have no rule, or a bad one could not be undone.
	if _, ok := kinds[p.For]; !ok || p.For.Urgent() || isContract(p.For) {
		in.fail("kind", ErrKind)
	}
	p.Schemas = readList(in, 0, 16, (*reader).oid)
	p.MinClass, p.MaxClass = in.number(0, maxClass), in.number(0, maxClass)
	p.Window, p.MaxTxs = in.number(0, 1_000_000), in.number(0, maxNumber)
	if !ascending(p.Schemas, compareOID) {
		in.fail("schemas", ErrNotAscending)
	}
	if p.MinClass > p.MaxClass {
		in.fail("classes", ErrRange)
	}
	r.close(in)
	return p
}

func isContract(k Kind) bool { return len(k) > 9 && k[:9] == "contract." }

// ContractPropose proposes a contract. Its life is that of X.1412: proposed,
// reviewed by more than half of the members, activated, paused, retired.
//
//	contract.propose = [
//	    contract: ~oid,
//	    content:  bstr .size 32,   ;; SHA-256 of the policy
//	    source:   bstr .size 32,   ;; of source and SBOM
//	    audit:    bstr .size 32,   ;; of the audit statement
//	    vectors:  bstr .size 32,   ;; of the test vectors
//	    policy:   policy
//	]
type ContractPropose struct {
	Contract                        OID
	Content, Source, Audit, Vectors Hash
	Policy                          Policy
}

// Kind names the kind.
func (*ContractPropose) Kind() Kind { return "contract.propose" }

func (b *ContractPropose) append(dst []byte) []byte {
	dst = appendHash(appendOID(cbor.AppendArray(dst, 6), b.Contract), b.Content)
	dst = appendHash(appendHash(appendHash(dst, b.Source), b.Audit), b.Vectors)
	return b.Policy.append(dst)
}

func (b *ContractPropose) read(r *reader) {
	b.Contract, b.Content = r.oid(), r.hash()
	b.Source, b.Audit, b.Vectors = r.hash(), r.hash(), r.hash()
	b.Policy = readPolicy(r)
}

func (b *ContractPropose) apply(x *run) error {
	if err := x.needsMember(true); err != nil {
		return err
	}
	if sha256.Sum256(b.Policy.Encode()) != b.Content {
		return ErrContent
	}
	key := "c/" + string(b.Contract)
	if _, known := x.t.get(key); known {
		return ErrExists
	}
	c := &contract{Stage: contractProposed, Proposer: x.tx.Actor, Content: b.Content, Policy: b.Policy}
	c.Reviews = []ballot{{x.tx.Actor, true}}
	if x.most(c.Reviews) {
		c.Stage = contractReviewed
	}
	save(x.t, key, c)
	return nil
}

// The stages of a contract.
const (
	contractProposed = 1 + iota
	contractReviewed
	contractActive
	contractPaused
	contractRetired
)

// maxContracts bounds how many contracts are active: each is looked at with each
// transaction.
const maxContracts = 16

// contract is a row of c/.
type contract struct {
	Stage    uint64
	Proposer OID
	Content  Hash
	Policy   Policy
	Reviews  []ballot
	Pauses   []ballot
	Retires  []ballot
}

func (c *contract) append(dst []byte) []byte {
	dst = appendHash(appendOID(appendNum(cbor.AppendArray(dst, 7), c.Stage), c.Proposer), c.Content)
	dst = appendList(c.Policy.append(dst), c.Reviews, appendBallot)
	return appendList(appendList(dst, c.Pauses, appendBallot), c.Retires, appendBallot)
}

func (c *contract) read(r *reader) {
	c.Stage, c.Proposer, c.Content = r.number(contractProposed, contractRetired), r.oid(), r.hash()
	c.Policy, c.Reviews = readPolicy(r), readBallots(r)
	c.Pauses, c.Retires = readBallots(r), readBallots(r)
}

// ContractReview is a member's review.
//
//	contract.review = [
//	    contract:  ~oid,
//	    approve:   bool,
//	    statement: bstr .size 32   ;; SHA-256 of the review
//	]
type ContractReview struct {
	Contract  OID
	Approve   bool
	Statement Hash
}

// Kind names the kind.
func (*ContractReview) Kind() Kind { return "contract.review" }

func (b *ContractReview) append(dst []byte) []byte {
	return appendHash(cbor.AppendBool(appendOID(cbor.AppendArray(dst, 3), b.Contract), b.Approve), b.Statement)
}

func (b *ContractReview) read(r *reader) {
	b.Contract, b.Approve, b.Statement = r.oid(), r.boolean(), r.hash()
}

func (b *ContractReview) apply(x *run) error {
	c, err := x.contract(b.Contract)
	if err != nil {
		return err
	}
	if c.Stage != contractProposed {
		return ErrStage
	}
	if !cast(&c.Reviews, x.tx.Actor, b.Approve) {
		return ErrVoted
	}
	if x.most(c.Reviews) {
		c.Stage = contractReviewed
	}
	save(x.t, "c/"+string(b.Contract), c)
	return nil
}

// contract is a contract that a voting member may act on.
func (x *run) contract(o OID) (*contract, error) {
	if err := x.needsMember(true); err != nil {
		return nil, err
	}
	c := new(contract)
	if !load(x.t, "c/"+string(o), c) {
		return nil, ErrUnknown
	}
	return c, nil
}

// ContractStep takes a contract a step on. Its proposer activates what is
// reviewed, or paused, and pauses it and retires it when it does not run. Others
// pause it together, as many as call an emergency, and retire it, more than half
// of the members.
//
//	contract.activate, contract.pause, contract.retire = [contract: ~oid]
type ContractStep struct {
	Step     string
	Contract OID
}

// Kind names the kind.
func (b *ContractStep) Kind() Kind { return Kind("contract." + b.Step) }

func (b *ContractStep) append(dst []byte) []byte {
	return appendOID(cbor.AppendArray(dst, 1), b.Contract)
}
func (b *ContractStep) read(r *reader) { b.Contract = r.oid() }

func (b *ContractStep) apply(x *run) error {
	c, err := x.contract(b.Contract)
	if err != nil {
		return err
	}
	own := c.Proposer == x.tx.Actor
	switch b.Step {
	case "activate":
		switch {
		case c.Stage != contractReviewed && c.Stage != contractPaused:
			return ErrStage
		case !own:
			return ErrNotAuthorised
		case len(list(x.t, "c/")) >= maxContracts:
			return ErrTooManyOpen
		}
		c.Stage, c.Pauses = contractActive, nil
	case "pause":
		if c.Stage != contractActive {
			return ErrStage
		}
		if !cast(&c.Pauses, x.tx.Actor, true) {
			return ErrVoted
		}
		if yes, _ := x.tally(c.Pauses); own || yes >= x.params.EmergencyMembers {
			c.Stage = contractPaused
		}
	case "retire":
		if c.Stage == contractRetired {
			return ErrStage
		}
		if !cast(&c.Retires, x.tx.Actor, true) {
			return ErrVoted
		}
		if own && c.Stage != contractActive || x.most(c.Retires) {
			c.Stage = contractRetired
		}
	}
	enlist(x.t, "c/", string(b.Contract), c.Stage == contractActive)
	save(x.t, "c/"+string(b.Contract), c)
	return nil
}

// checkPolicies holds the active contracts against the transaction.
func (x *run) checkPolicies() error {
	for _, name := range list(x.t, "c/") {
		var c contract
		load(x.t, "c/"+name, &c)
		p := &c.Policy
		if p.For != x.tx.Body.Kind() {
			continue
		}
		var schema OID
		switch b := x.tx.Body.(type) {
		case *Batch:
			schema = b.Schema
			if b.Class < p.MinClass || b.Class > p.MaxClass {
				return ErrPolicyClass
			}
		case *SingleLeaf:
			schema = b.Schema
		}
		if _, ok := slices.BinarySearch(p.Schemas, schema); !ok && schema != "" && len(p.Schemas) > 0 {
			return ErrPolicySchema
		}
		if p.Window == 0 {
			continue
		}
		key := "q/\x80" + string([]byte{byte(len(name))}) + name + string(x.tx.Actor)
		u := x.usage(key, p.Window)
		if u.Txs >= p.MaxTxs {
			return ErrPolicyRate
		}
		u.Txs++
		save(x.t, key, &u)
	}
	return nil
}
