package state

import (
	"iter"
	"maps"
	"slices"
	"strings"
)

// table is the rows of the state, or changes over another table. Nothing that is
// decided depends on the order in which a map yields its keys: look-ups are by
// key, and whoever goes through a table does it in the order of the keys.
type table struct {
	under *table
	rows  map[string]string
	gone  map[string]bool // only of changes
}

func newTable(under *table) *table {
	return &table{under: under, rows: map[string]string{}, gone: map[string]bool{}}
}

func (t *table) get(key string) (string, bool) {
	for ; t != nil; t = t.under {
		if row, ok := t.rows[key]; ok {
			return row, true
		}
		if t.gone[key] {
			return "", false
		}
	}
	return "", false
}

func (t *table) put(key string, row []byte) {
	t.rows[key] = string(row)
	delete(t.gone, key)
}

func (t *table) drop(key string) {
	delete(t.rows, key)
	if t.under != nil {
		t.gone[key] = true
	}
}

// merge brings the changes into the table below.
func (t *table) merge() {
	for _, c := range t.changes() {
		if c.Row == nil {
			t.under.drop(c.Key)
		} else {
			t.under.put(c.Key, c.Row)
		}
	}
}

// all yields the rows with the changes over them, in the order of their keys.
func (t *table) all() iter.Seq2[string, string] {
	return func(yield func(key, row string) bool) {
		keys := map[string]bool{}
		for at := t; at != nil; at = at.under {
			for key := range at.rows {
				keys[key] = true
			}
		}
		for _, key := range slices.Sorted(maps.Keys(keys)) {
			if row, ok := t.get(key); ok && !yield(key, row) {
				return
			}
		}
	}
}

// Change is a row of the registry that a block has written. A nil Row was
// deleted; no row is empty.
type Change struct {
	Key string
	Row []byte
}

// changes are the changes in the order of their keys.
func (t *table) changes() []Change {
	out := make([]Change, 0, len(t.rows)+len(t.gone))
	for _, key := range slices.Sorted(maps.Keys(t.rows)) {
		out = append(out, Change{key, []byte(t.rows[key])})
	}
	for key := range t.gone {
		out = append(out, Change{key, nil})
	}
	slices.SortFunc(out, func(a, b Change) int { return strings.Compare(a.Key, b.Key) })
	return out
}
