package state

import (
	"crypto/sha256"
	"fmt"

	"ampoule/format/cbor"
	"ampoule/ledger/tlog"
)

// Genesis is what the first members agree on, and the first leaf of the log. Its
// SHA-256 names the chain.
//
//	genesis = [
//	    what:       "ampoule ledger genesis",
//	    version:    1,
//	    federation: ~oid,
//	    time:       uint,                 ;; seconds
//	    params:     params,
//	    trust:      [1*300 participant],  ;; ascending by code
//	    members:    [1*300 member],       ;; ascending by oid, each in the trust list
//	    validators: [1*300 validator]     ;; ascending by member; one, or four and more
//	]
type Genesis struct {
	Federation OID
	Time       uint64
	Params     Params
	Trust      []Participant
	Members    []Member
	Validators []Validator
}

const genesisName = "ampoule ledger genesis"

// AppVersion is the version of the rules that this program knows.
const AppVersion = 1

// Encode writes the genesis.
func (g *Genesis) Encode() []byte {
	b := appendNum(cbor.AppendText(array(8), genesisName), 1)
	b = appendParams(appendNum(appendOID(b, g.Federation), g.Time), g.Params)
	b = appendList(b, g.Trust, appendParticipant)
	return appendList(appendList(b, g.Members, appendMember), g.Validators, appendValidator)
}

// ParseGenesis reads a genesis. Whether the machine can start from it, [New] says.
func ParseGenesis(data []byte) (*Genesis, error) {
	if len(data) > MaxTx {
		return nil, fmt.Errorf("ledger genesis of %d bytes: %w", len(data), ErrTooLarge)
	}
	g := new(Genesis)
	err := g.read(data)
	if err == nil && string(g.Encode()) != string(data) {
		err = ErrNotDeterministic
	}
	if err != nil {
		return nil, fmt.Errorf("ledger genesis: %w", err)
	}
	return g, nil
}

func (g *Genesis) read(data []byte) error {
	r, err := parse(string(data), limits)
	if err != nil {
		return err
	}
	if name, _ := r.next().Text(); name != genesisName {
		return ErrGenesis
	}
	r.number(1, 1)
	g.Federation, g.Time = r.oid(), r.number(0, maxTime)
	g.Params = readParams(r)
	g.Trust = readList(r, 1, maxMembers, readParticipant)
	g.Members = readList(r, 1, maxMembers, readMember)
	g.Validators = readList(r, 1, maxMembers, readValidator)
	if !ascending(g.Trust, compareParticipant) ||
		!ascending(g.Members, func(a, b Member) int { return compareOID(a.OID, b.OID) }) ||
		!ascending(g.Validators, func(a, b Validator) int { return compareOID(a.Member, b.Member) }) {
		r.fail("lists", ErrNotAscending)
	}
	return r.end()
}

// New starts the machine, at height zero.
func New(genesis []byte) (*State, error) {
	g, err := ParseGenesis(genesis)
	if err != nil {
		return nil, err
	}
	s := newState()
	chain := chainRow(sha256.Sum256(genesis))
	version, params := number(AppVersion), paramsRow(g.Params)
	save(s.rows, "p/chain", &chain)
	save(s.rows, "p/version", &version)
	save(s.rows, "p/params", &params)
	// Keys count from the height after that in which they come: the first is 1.
	x := &run{s: s, t: s.rows, time: g.Time, params: g.Params}
	for _, p := range g.Trust {
		x.setTrust(p)
	}
	for _, m := range g.Members {
		if err := x.admit(m); err != nil {
			return nil, fmt.Errorf("ledger genesis: member %s: %w", m.OID, err)
		}
	}
	set := Validators(g.Validators)
	if err := set.carryOut(x); err != nil {
		return nil, fmt.Errorf("ledger genesis: validators: %w", err)
	}
	if x.voters() == 0 {
		return nil, fmt.Errorf("ledger genesis: %w", ErrNoMember)
	}
	h := &head{Time: g.Time, Log: new(tlog.Range)}
	if h.Registry, err = registryRoot(s.rows); err == nil {
		err = finish(s.rows, h, [][]byte{genesis}, true)
	}
	if err != nil {
		return nil, fmt.Errorf("ledger genesis: %w", err)
	}
	return s, nil
}
