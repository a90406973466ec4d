package state

import (
	"crypto/sha256"
	"fmt"
	"iter"
	"slices"

	"ampoule/format/cbor"
)

// Rows yields the rows of the registry, and the head, in the order of their keys.
func (s *State) Rows() iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for key, row := range s.rows.all() {
			if !yield(key, []byte(row)) {
				return
			}
		}
	}
}

// Load makes a state of the rows that Rows has yielded, in their order. Like a
// snapshot they prove nothing.
func Load(rows iter.Seq2[string, []byte]) (*State, error) {
	s := newState()
	last := ""
	for key, row := range rows {
		err := error(ErrNotAscending)
		if key > last {
			err = checkRow(key, string(row))
		}
		if err != nil {
			return nil, fmt.Errorf("ledger: row %q: %w", key, err)
		}
		last = key
		s.rows.put(key, row)
	}
	if err := s.consistent(); err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	return s, nil
}

// snapshotLimits hold a million rows.
var snapshotLimits = cbor.Limits{Depth: 2, Items: 1 << 21, Pairs: 1}

const snapshotName = "ampoule ledger snapshot"

// Snapshot writes the whole state: its rows, each key before its value, in the
// order of the keys.
//
//	snapshot = [what: "ampoule ledger snapshot", version: 1, rows: [* (key: bstr, row: bstr)]]
func (s *State) Snapshot() []byte {
	b := appendNum(cbor.AppendText(array(3), snapshotName), 1)
	b = cbor.AppendArray(b, 2*len(s.rows.rows))
	for key, row := range s.Rows() {
		b = cbor.AppendBytes(appendStr(b, key), row)
	}
	return b
}

// Restore makes a state of a snapshot. The snapshot proves nothing: whoever takes
// one holds the hash of its rows against a cosigned state leaf.
func Restore(snapshot []byte) (*State, error) {
	s := newState()
	r, err := parse(string(snapshot), snapshotLimits)
	if err != nil {
		return nil, fmt.Errorf("ledger snapshot: %w", err)
	}
	if name, _ := r.next().Text(); name != snapshotName {
		return nil, fmt.Errorf("ledger snapshot: %w", ErrSnapshot)
	}
	r.number(1, 1)
	rows := inside(r)
	last := ""
	for rows.err == nil && rows.at < len(rows.items) {
		key, row := rows.bytes(), rows.bytes()
		if key <= last {
			return nil, fmt.Errorf("ledger snapshot: row %d: %w", rows.at/2, ErrNotAscending)
		}
		if err := checkRow(key, row); err != nil {
			return nil, fmt.Errorf("ledger snapshot: row %d: %w", rows.at/2, err)
		}
		last = key
		s.rows.put(key, []byte(row))
	}
	r.close(rows)
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("ledger snapshot: %w", err)
	}
	if err := s.consistent(); err != nil {
		return nil, fmt.Errorf("ledger snapshot: %w", err)
	}
	if string(s.Snapshot()) != string(snapshot) {
		return nil, fmt.Errorf("ledger snapshot: %w", ErrNotDeterministic)
	}
	return s, nil
}

// consistent tells whether the rows that every state has are there, and whether
// each list names rows that are there.
func (s *State) consistent() error {
	for _, key := range [...]string{"l/", "m/", "v/", "p/chain", "p/params", "p/version"} {
		if _, ok := s.rows.get(key); !ok {
			return fmt.Errorf("no row %q: %w", key, ErrSnapshot)
		}
	}
	for key := range s.rows.all() {
		var kids []Hash
		switch v, _ := rowFor(key); v := v.(type) {
		case *member:
			load(s.rows, key, v)
			if kids = v.Keys; v.Status != gone {
				kids = append(kids, v.Root)
			}
		case *entry:
			load(s.rows, key, v)
			kids = v.Keys
		}
		for _, kid := range kids {
			if _, ok := s.rows.get(keyKey(kid)); !ok {
				return fmt.Errorf("row %q: a key without its row: %w", key, ErrSnapshot)
			}
		}
	}
	for _, prefix := range [...]string{"m/", "v/", "g/", "c/"} {
		names := list(s.rows, prefix)
		if !slices.IsSorted(names) {
			return fmt.Errorf("list %q: %w", prefix, ErrNotAscending)
		}
		for _, name := range names {
			if _, ok := s.rows.get(prefix + name); !ok || name == "" {
				return fmt.Errorf("list %q names no row: %w", prefix, ErrSnapshot)
			}
			if prefix == "v/" {
				if _, ok := s.rows.get("m/" + name); !ok {
					return fmt.Errorf("a validator without its member: %w", ErrSnapshot)
				}
			}
			if prefix == "g/" {
				if len(name) != len(Hash{}) {
					return ErrSnapshot
				}
				var p proposal
				load(s.rows, prefix+name, &p)
				if p.Status != proposalOpen {
					return fmt.Errorf("a closed proposal among the open: %w", ErrSnapshot)
				}
				r, err := parse(p.Content, limits)
				if err != nil {
					return err
				}
				content := newProposal(p.About)
				content.read(r)
				if err := r.end(); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// Encode writes a block, as it stands in a history.
//
//	block = [height: uint, time: uint, txs: [* bstr], evidence: [* ~oid]]
func (b *Block) Encode() []byte {
	out := appendNum(appendNum(array(4), b.Height), b.Time)
	return appendList(appendList(out, b.Txs, cbor.AppendBytes), b.Evidence, appendOID)
}

// blockLimits hold the transactions of the largest block.
var blockLimits = cbor.Limits{Depth: 2, Items: 1 << 20, Pairs: 1}

// ParseBlock reads a block.
func ParseBlock(data []byte) (*Block, error) {
	r, err := parse(string(data), blockLimits)
	if err != nil {
		return nil, fmt.Errorf("ledger block: %w", err)
	}
	b := &Block{Height: r.number(1, maxNumber), Time: r.number(0, maxTime)}
	b.Txs = readList(r, 0, blockLimits.Items, func(r *reader) []byte { return []byte(r.bytes()) })
	b.Evidence = readList(r, 0, maxMembers, (*reader).oid)
	err = r.end()
	if err == nil && string(b.Encode()) != string(data) {
		err = ErrNotDeterministic
	}
	if err != nil {
		return nil, fmt.Errorf("ledger block: %w", err)
	}
	return b, nil
}

// Replay starts from a genesis and applies encoded blocks, as they were exported.
func Replay(genesis []byte, blocks iter.Seq[[]byte]) (*State, error) {
	s, err := New(genesis)
	if err != nil {
		return nil, err
	}
	for data := range blocks {
		b, err := ParseBlock(data)
		if err != nil {
			return nil, fmt.Errorf("after block %d: %w", s.Height(), err)
		}
		if _, err := s.Apply(b); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// stateLeaf is the leaf with which an epoch ends: by it the registry has the same
// proofs as the log.
//
//	state = [
//	    what:       "ampoule ledger state",
//	    version:    1,
//	    height:     uint,
//	    time:       uint,            ;; of the block, seconds
//	    registry:   bstr .size 32,   ;; root over the rows but l/
//	    params:     bstr .size 32,   ;; SHA-256 of the row p/params
//	    validators: bstr .size 32    ;; SHA-256 of the list of validators
//	]
func stateLeaf(t *table, height, time uint64, registry Hash) []byte {
	row, _ := t.get("p/params")
	l := Leaf{height, time, registry, sha256.Sum256([]byte(row)), sha256.Sum256(appendList(nil, validators(t), appendValidator))}
	return l.encode()
}

// EpochLeaf is the leaf with which the block of the state has ended an epoch, computed
// from the rows. Who finds it in a log that is cosigned knows that the rows are those
// of the ledger. [ErrSnapshot]: the state is not one at the end of an epoch.
func (s *State) EpochLeaf() ([]byte, error) {
	h := s.head()
	root, err := registryRoot(s.rows)
	if err != nil {
		return nil, err
	}
	if h.Changes != (Hash{}) || h.Registry != root {
		return nil, fmt.Errorf("ledger: height %d ends no epoch: %w", h.Height, ErrSnapshot)
	}
	return stateLeaf(s.rows, h.Height, h.Time, root), nil
}

const leafName = "ampoule ledger state"

func (l *Leaf) encode() []byte {
	b := appendNum(cbor.AppendText(array(7), leafName), 1)
	b = appendHash(appendNum(appendNum(b, l.Height), l.Time), l.Registry)
	return appendHash(appendHash(b, l.Params), l.Validators)
}
