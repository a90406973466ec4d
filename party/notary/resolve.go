package notary

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"ampoule/format"
	"ampoule/ledger/state"
	"ampoule/ledger/tlog"
)

// What an identifier is of.
const (
	KindLog      = "log"
	KindEntry    = "entry"
	KindCosigner = "cosigner"
	KindRegistry = "registry" // member, issuer, device, verifier, witness
	KindAbsent   = "absent"   // nobody is registered so
)

// Resolved is what the ledger has under an identifier, with what proves it:
//
//	{federation}.1.1            the log: its key, and the published checkpoint
//	{federation}.1.1.<index>    an entry, and its tlog-proof
//	{member}.2.<n>              a cosigner: its key, from the policy
//	any other                   the row of the registry, or that there is none
type Resolved struct {
	OID   state.OID
	Kind  string
	Value []byte // key of a log or cosigner as text; entry; row
	// Proof is the tlog-proof of the entry; of a row, that of the leaf of the epoch,
	// State. Of a log it is the checkpoint.
	Proof []byte
	State []byte
	Rows  []ResolvedRow
	// Since tells why a row has no proof: it was written after the last leaf of an
	// epoch, or that epoch is not at hand. The next one proves it.
	Since string
}

// ResolvedRow is a row, or a key that has none.
type ResolvedRow struct {
	Key   string
	Value []byte // nil: there is no such row
	Proof []byte // of the row, or of its absence
}

// Why a row has no proof.
const (
	SinceChanged = "changed-since-the-last-epoch"
	SinceNoEpoch = "no-epoch-at-hand"
)

// The defects of an answer that does not prove what it says.
const (
	ErrResolved = format.Defect("not-what-was-asked")
	ErrUnproven = format.Defect("unproven")
)

// Resolve tells what the ledger has under an identifier.
func (n *Notary) Resolve(_ context.Context, oid state.OID) (*Resolved, error) {
	r := &Resolved{OID: oid}
	dotted, log := oid.String(), n.federation.String()+logArcs
	switch rest, below := strings.CutPrefix(dotted, log); {
	case below && rest == "":
		r.Kind, r.Value = KindLog, []byte(n.Log.Key.String())
		r.Proof, _ = n.Checkpoint()
		return r, nil
	case below && rest[0] == '.':
		index, err := strconv.ParseUint(rest[1:], 10, 63)
		if err != nil {
			return nil, ErrNoEntry
		}
		r.Kind = KindEntry
		r.Value, r.Proof, err = n.Entry(index)
		return r, err
	}
	// What is registered comes first: a policy hides no row.
	registered := false
	n.Replica.Read(func(s *state.State) { _, registered = s.Entry(oid) })
	for _, w := range n.Policy.Witnesses {
		if !registered && w.Key.Name == oidPrefix+dotted {
			r.Kind, r.Value = KindCosigner, []byte(w.Key.String())
			return r, nil
		}
	}
	return n.row(r)
}

// row finds the row of an identifier, and proves it by the last epoch that is at
// hand.
func (n *Notary) row(r *Resolved) (*Resolved, error) {
	n.Replica.Read(func(s *state.State) {
		for _, key := range state.EntryKeys(r.OID) {
			if row, ok := s.Row(key); ok {
				r.Kind, r.Value = KindRegistry, row
				r.Rows = []ResolvedRow{{Key: key, Value: row}}
				return
			}
		}
		r.Kind = KindAbsent
		for _, key := range state.EntryKeys(r.OID) {
			r.Rows = append(r.Rows, ResolvedRow{Key: key})
		}
	})
	e := n.epochs.last()
	if e == nil {
		r.Since = SinceNoEpoch
		return r, nil
	}
	rows := slices.Clone(r.Rows)
	for i := range rows {
		var err error
		if rows[i].Proof, err = e.prove(rows[i].Key, rows[i].Value); err != nil {
			r.Since = SinceChanged
			return r, nil
		}
	}
	proof, err := n.prove(tlog.LeafHash(e.leaf), e.index)
	if errors.Is(err, ErrNotCosigned) {
		r.Since = SinceNoEpoch
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	r.Rows, r.State, r.Proof = rows, e.leaf, proof
	return r, nil
}

// epoch is the registry as it was when an epoch ended.
type epoch struct {
	registry *tlog.Registry
	leaf     []byte
	index    uint64
}

// prove proves a row as it is now by what it was then; nil: that there was none.
func (e *epoch) prove(key string, value []byte) ([]byte, error) {
	if value == nil {
		p, err := e.registry.ProveAbsence([]byte(key))
		if err != nil {
			return nil, err
		}
		return p.Encode()
	}
	p, err := e.registry.Prove([]byte(key))
	if err != nil {
		return nil, err
	}
	if err := p.Verify([]byte(key), value, e.registry.Root()); err != nil {
		return nil, err
	}
	return p.Encode()
}

// epochs keeps the tree of the last epoch that was caught while its rows were those
// of the state.
type epochs struct {
	mu      sync.Mutex
	current *epoch
}

func (e *epochs) last() *epoch {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.current
}

func (e *epochs) look(r Replica) {
	files := tlog.Files{FS: r.Files()}
	r.Read(func(s *state.State) {
		size := s.LogSize()
		if size < 2 { // the genesis, and no leaf of an epoch
			return
		}
		if last := e.last(); last != nil && last.index == size-1 {
			return
		}
		// Without changes nothing was written since: the leaf of the epoch is the last.
		entry, err := files.Entry(size-1, size)
		if err != nil {
			return
		}
		leaf, ok := state.ParseLeaf(entry)
		if !ok {
			return
		}
		registry, ok, err := s.Registry()
		if err != nil || !ok || registry.Root() != leaf.Registry {
			return
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		e.current = &epoch{registry, bytes.Clone(entry), size - 1}
	})
}

// Verify holds an answer against a policy, without asking anybody. Nil says that
// the value is in the log, or that there is none; ErrUnproven, that the answer
// brings no proof. With ErrQuorum comes what the policy says of the checkpoint.
func (r *Resolved) Verify(oid state.OID, policy *tlog.Policy) (*tlog.Cosigned, error) {
	if r.OID != oid {
		return nil, ErrResolved
	}
	switch r.Kind {
	case KindLog:
		if !slices.ContainsFunc(policy.Logs, func(l tlog.PolicyLog) bool {
			return l.Key.String() == string(r.Value) && l.Key.Name == oidPrefix+oid.String()
		}) {
			return nil, tlog.ErrUnknownLog
		}
		if r.Proof == nil {
			return nil, ErrUnproven
		}
		c, err := policy.Open(r.Proof)
		if c != nil && c.Checkpoint.Origin != oidPrefix+oid.String() {
			return nil, ErrResolved
		}
		return c, err
	case KindCosigner:
		if !slices.ContainsFunc(policy.Witnesses, func(w tlog.Witness) bool {
			return w.Key.String() == string(r.Value) && w.Key.Name == oidPrefix+oid.String()
		}) {
			return nil, fmt.Errorf("a cosigner that the policy does not know: %w", ErrUnproven)
		}
		return nil, nil
	case KindEntry:
		proof, err := tlog.ParseLogProof(r.Proof)
		if err != nil {
			return nil, err
		}
		c, err := proof.Verify(tlog.LeafHash(r.Value), policy)
		if c != nil && oidPrefix+oid.String() != fmt.Sprintf("%s.%d", c.Checkpoint.Origin, proof.Index) {
			return nil, ErrResolved
		}
		return c, err
	case KindRegistry, KindAbsent:
		return r.verifyRows(policy)
	}
	return nil, ErrResolved
}

func (r *Resolved) verifyRows(policy *tlog.Policy) (*tlog.Cosigned, error) {
	keys := state.EntryKeys(r.OID)
	switch {
	case r.Kind == KindRegistry && (len(r.Rows) != 1 || !slices.Contains(keys, r.Rows[0].Key) || r.Value == nil || !bytes.Equal(r.Rows[0].Value, r.Value)):
		return nil, ErrResolved
	case r.Kind == KindAbsent && !slices.EqualFunc(r.Rows, keys, func(row ResolvedRow, key string) bool { return row.Key == key && row.Value == nil }):
		return nil, ErrResolved
	case r.Proof == nil:
		return nil, ErrUnproven
	}
	proof, err := tlog.ParseLogProof(r.Proof)
	if err != nil {
		return nil, err
	}
	leaf, ok := state.ParseLeaf(r.State)
	if !ok {
		return nil, ErrResolved
	}
	c, quorum := proof.Verify(tlog.LeafHash(r.State), policy)
	if c == nil {
		return nil, quorum
	}
	for _, row := range r.Rows {
		if row.Value == nil {
			p, err := tlog.ParseAbsenceProof(row.Proof)
			if err == nil {
				err = p.Verify([]byte(row.Key), leaf.Registry)
			}
			if err != nil {
				return nil, err
			}
			continue
		}
		p, err := tlog.ParseRowProof(row.Proof)
		if err == nil {
			err = p.Verify([]byte(row.Key), row.Value, leaf.Registry)
		}
		if err != nil {
			return nil, err
		}
	}
	return c, quorum
}

// LeafID is the identifier of an entry.
func (n *Notary) LeafID(index uint64) string {
	return fmt.Sprintf("%s%s.%d", n.federation, logArcs, index)
}
