package state

import (
	"fmt"

	"ampoule/format/cbor"
	"ampoule/ledger/tlog"
)

// Standing is what has become of a member, an entry or a proposal.
type Standing string

// What becomes of members and entries. One that is suspended may come back.
const (
	Active    Standing = "active"
	Suspended Standing = "suspended"
	Gone      Standing = "revoked" // or removed
)

var standings = [...]Standing{active: Active, suspended: Suspended, gone: Gone}

// Entry is a row of the registry about somebody who may act.
type Entry struct {
	OID         OID
	Role        Role
	Sponsor     OID // of a member, itself
	Standing    Standing
	Scope       uint64
	From, Until uint64 // seconds; zeros of a member
	Hybrid      bool
	Keys        []Hash
	Emergency   uint64 // suspended by other members until this second
	Code        string // of a member: in the trust network
	Voting      bool   // of a member
}

// Entry returns the row of a member, issuer, device, verifier or witness, whatever
// has become of it.
func (s *State) Entry(o OID) (*Entry, bool) {
	x := run{t: s.rows}
	a, ok := x.find(o)
	if !ok {
		return nil, false
	}
	if a.key[0] == 'm' {
		var m member
		load(s.rows, a.key, &m)
		return &Entry{OID: o, Role: MemberRole, Sponsor: o, Standing: standings[m.Status], Scope: memberScope,
			Hybrid: m.Hybrid, Keys: m.Keys, Code: m.Code, Voting: m.Voting}, true
	}
	var e entry
	load(s.rows, a.key, &e)
	return &Entry{OID: o, Role: e.Role, Sponsor: e.Sponsor, Standing: standings[e.Status], Scope: e.Scope,
		From: e.From, Until: e.Until, Hybrid: e.Hybrid, Keys: e.Keys, Emergency: e.Emergency}, true
}

// Members are the members in the order of their identifiers; who was removed is
// none.
func (s *State) Members() (all []*Entry) {
	for _, name := range list(s.rows, "m/") {
		if e, ok := s.Entry(OID(name)); ok {
			all = append(all, e)
		}
	}
	return all
}

// LastBatch returns root and epoch of an issuer's last batch; zeros where there is
// none.
func (s *State) LastBatch(issuer OID) (root Hash, epoch uint64) {
	var b batchHead
	load(s.rows, "b/"+string(issuer), &b)
	return b.Root, b.Epoch
}

// Ballots is a proposal with its votes.
type Ballots struct {
	ID       Hash
	About    uint64
	Proposer OID
	Deadline uint64 // seconds
	Yes, No  []OID
	Called   bool // an emergency that holds
	Outcome  string
	Proposal Proposal // nil of one that is closed: the log has it
}

// Ballots returns a proposal, open or closed.
func (s *State) Ballots(id Hash) (*Ballots, bool) {
	var p proposal
	if !load(s.rows, "g/"+string(id[:]), &p) {
		return nil, false
	}
	b := &Ballots{ID: id, About: p.About, Proposer: p.Proposer, Deadline: p.Deadline, Called: p.Called, Outcome: "open"}
	if p.Status != proposalOpen {
		b.Outcome = decisions[p.Status]
	} else {
		b.Proposal = p.proposal()
	}
	for _, v := range p.Ballots {
		if v.Yes {
			b.Yes = append(b.Yes, v.Member)
		} else {
			b.No = append(b.No, v.Member)
		}
	}
	return b, true
}

// Open are the proposals that wait for votes.
func (s *State) Open() (all []*Ballots) {
	for _, name := range list(s.rows, "g/") {
		if b, ok := s.Ballots(Hash([]byte(name))); ok {
			all = append(all, b)
		}
	}
	return all
}

// Row returns a row as it is, by its key.
func (s *State) Row(key string) ([]byte, bool) {
	row, ok := s.rows.get(key)
	return []byte(row), ok
}

// EntryKeys are the keys at which an entry of this name could stand: where none of
// them is in the registry, nobody is.
func EntryKeys(o OID) []string {
	return []string{"d/" + string(o), "i/" + string(o), "m/" + string(o)}
}

// Registry is the tree over the rows with the root of the last epoch, if they are
// those of now. Where something has changed since, ok is false: the rows of then
// are kept by nobody.
func (s *State) Registry() (r *tlog.Registry, ok bool, err error) {
	h := s.head()
	if h.Changes != (Hash{}) {
		return nil, false, nil
	}
	r, err = tlog.NewRegistry(func(yield func(key, row []byte) bool) {
		for key, row := range s.rows.all() {
			if key != headKey && !yield([]byte(key), []byte(row)) {
				return
			}
		}
	})
	if err != nil {
		return nil, false, fmt.Errorf("ledger: %w", err)
	}
	return r, r.Root() == h.Registry, nil
}

// Leaf is the leaf with which an epoch ends.
type Leaf struct {
	Height, Time                 uint64
	Registry, Params, Validators Hash
}

// ParseLeaf reads the leaf of an epoch. ok is false where the entry is another one.
func ParseLeaf(entry []byte) (l *Leaf, ok bool) {
	if len(entry) > 256 {
		return nil, false
	}
	r, err := parse(string(entry), cbor.Limits{Depth: 1, Items: 8, Pairs: 1})
	if err != nil {
		return nil, false
	}
	if name, _ := r.next().Text(); name != leafName {
		return nil, false
	}
	r.number(1, 1)
	l = &Leaf{Height: r.number(0, maxNumber), Time: r.number(0, maxTime), Registry: r.hash(), Params: r.hash(), Validators: r.hash()}
	if r.end() != nil || string(l.encode()) != string(entry) {
		return nil, false
	}
	return l, true
}
