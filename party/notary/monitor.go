package notary

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"ampoule/format"
	"ampoule/ledger/tlog"
)

// The names of alarms.
const (
	SplitView    = "split-view"   // two roots for one size, or trees of which neither continues the other
	Rollback     = "rollback"     // smaller than what was seen
	Equivocation = "equivocation" // one cosigner has signed both of two that contradict
	Silence      = "silence"      // no newer checkpoint for too long
	Unsigned     = "not-signed"   // by no log of the policy, or under another name
	TooFew       = "too-few-cosignatures"
	Damaged      = "damaged" // files that cannot be read, or do not fit together
)

// Alarm says what is wrong with a log. The evidence are the signed notes that show
// it to anybody who has the keys.
type Alarm struct {
	Name     string
	Who      string // cosigner or source, where it is one
	Detail   string
	Evidence [][]byte
}

// Report is what a look at a log has found.
type Report struct {
	Checkpoint *tlog.Checkpoint // nil: there is none that can be believed
	Time       time.Time        // of its cosignatures
	Grown      uint64           // leaves more than was seen before
	Alarms     []Alarm
}

// OK tells whether nothing is wrong.
func (r *Report) OK() bool { return len(r.Alarms) == 0 }

// Source is a log to look at: its files.
type Source interface {
	Name() string
	Checkpoint(ctx context.Context) ([]byte, error)
	Tile(ctx context.Context, t tlog.Tile) ([]byte, error)
}

// Memory keeps the last checkpoint that a monitor has believed, signed.
type Memory interface {
	Kept() ([]byte, error) // nil: none
	Keep(note []byte) error
}

// Monitor follows a log. It believes nothing that it did not hold against what it
// saw before.
type Monitor struct {
	Policy *tlog.Policy
	Memory Memory
	// MaxAge is for how long a log may be silent; zero: for ever.
	MaxAge time.Duration
	// Copies are other copies of the log. By them a copy that lags behind is told from
	// another history, which a shorter log alone cannot show.
	Copies []Source
}

// Look fetches the checkpoint of a log, and holds it against what was seen. An error
// says that it could not be decided: nobody answers, or memory fails.
func (m *Monitor) Look(ctx context.Context, s Source, now time.Time) (*Report, error) {
	data, err := s.Checkpoint(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.Name(), err)
	}
	before, err := m.Memory.Kept()
	if err != nil {
		return nil, err
	}
	r := new(Report)
	raise := func(name, who, detail string, evidence ...[]byte) {
		r.Alarms = append(r.Alarms, Alarm{name, who, detail, evidence})
	}
	// Step 1: signed by whom it must be.
	seen, err := m.Policy.Open(data)
	switch {
	case errors.Is(err, tlog.ErrQuorum):
		raise(TooFew, s.Name(), err.Error(), data)
	case err != nil:
		raise(Unsigned, s.Name(), err.Error(), data)
		return r, nil
	}
	r.Checkpoint, r.Time = seen.Checkpoint, Median(seen)
	// Step 2: not for too long ago.
	if m.MaxAge > 0 && now.Sub(r.Time) > m.MaxAge {
		raise(Silence, s.Name(), fmt.Sprintf("the newest cosignature is of %s", r.Time.Format(time.RFC3339)), data)
	}
	// Step 3: it continues what was seen.
	var last *tlog.Cosigned
	if before != nil {
		if last, err = m.Policy.Open(before); last == nil {
			return nil, fmt.Errorf("what was kept cannot be read under this policy: %w", err)
		}
		alarms, err := m.compare(ctx, s, last, seen, before, data)
		if err != nil {
			return nil, err
		}
		r.Alarms = append(r.Alarms, alarms...)
		if seen.Checkpoint.Size > last.Checkpoint.Size {
			r.Grown = seen.Checkpoint.Size - last.Checkpoint.Size
		}
	} else {
		r.Grown = seen.Checkpoint.Size
	}
	// Step 4: what contradicts is not remembered in the place of what it contradicts.
	for _, a := range r.Alarms {
		if a.Name != Silence {
			return r, nil
		}
	}
	if last != nil && seen.Checkpoint.Size < last.Checkpoint.Size {
		return r, nil
	}
	if string(before) != string(data) {
		if err := m.Memory.Keep(data); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// compare holds two signed checkpoints against each other, the second newly fetched
// from the source of the proofs.
func (m *Monitor) compare(ctx context.Context, s Source, last, seen *tlog.Cosigned, before, data []byte) ([]Alarm, error) {
	a, b := last.Checkpoint, seen.Checkpoint
	if a.Origin != b.Origin {
		return []Alarm{{Unsigned, s.Name(), "it is another log than was followed", [][]byte{before, data}}}, nil
	}
	var alarms []Alarm
	split := func(detail string) {
		alarms = append(alarms, Alarm{SplitView, s.Name(), detail, [][]byte{before, data}})
		// Who has signed both has said two things.
		for _, w := range last.Witnesses {
			for _, v := range seen.Witnesses {
				if w.Name == v.Name {
					alarms = append(alarms, Alarm{Equivocation, w.Name, "it has cosigned both", [][]byte{before, data}})
				}
			}
		}
	}
	older, newer, root, newRoot := a.Size, b.Size, a.Root, b.Root
	if b.Size < a.Size {
		for _, other := range m.Copies {
			if root, ok := rootIn(ctx, other, a, b.Size); ok && other.Name() != s.Name() {
				if root != b.Root {
					split(fmt.Sprintf("another root for %d leaves than in %s", b.Size, other.Name()))
				}
				return alarms, nil
			}
		}
		return append(alarms, Alarm{Rollback, s.Name(), fmt.Sprintf("%d leaves, and %d were seen", b.Size, a.Size), [][]byte{before, data}}), nil
	}
	if older == newer {
		if root != newRoot {
			split(fmt.Sprintf("two roots for %d leaves: %s and %s", older, short(root), short(newRoot)))
		}
		return alarms, nil
	}
	var unread error
	nodes := &tlog.TileNodes{Size: newer, Read: func(t tlog.Tile) ([]byte, error) {
		data, err := s.Tile(ctx, t)
		if err != nil {
			unread = err
		}
		return data, err
	}}
	path, err := tlog.ProveConsistency(older, newer, nodes)
	if err != nil {
		if unread != nil && format.Reason(unread, "") == "" {
			return nil, fmt.Errorf("%s: %w", s.Name(), unread)
		}
		return append(alarms, Alarm{Damaged, s.Name(), err.Error(), [][]byte{before, data}}), nil
	}
	if err := tlog.VerifyConsistency(older, newer, root, newRoot, path); err == nil {
		return alarms, nil
	}
	// Either the files are not those of the new checkpoint, or it does not continue the
	// old one. The files tell: they make the new root, or they do not.
	if made, err := tlog.TreeRoot(newer, nodes); err != nil || made != newRoot {
		return append(alarms, Alarm{Damaged, s.Name(), "the tiles do not make the root of the checkpoint", [][]byte{data}}), nil
	}
	split(fmt.Sprintf("the tree of %d leaves does not continue that of %d", newer, older))
	return alarms, nil
}

// rootIn derives the root at a smaller size from a copy of the log of a checkpoint.
func rootIn(ctx context.Context, s Source, c *tlog.Checkpoint, size uint64) (tlog.Hash, bool) {
	nodes := &tlog.TileNodes{Size: c.Size, Read: func(t tlog.Tile) ([]byte, error) { return s.Tile(ctx, t) }}
	root, err := tlog.TreeRoot(size, nodes)
	if err != nil {
		return tlog.Hash{}, false
	}
	path, err := tlog.ProveConsistency(size, c.Size, nodes)
	return root, err == nil && tlog.VerifyConsistency(size, c.Size, root, c.Root, path) == nil
}

func short(h tlog.Hash) string { return base64.StdEncoding.EncodeToString(h[:6]) }

// Fsck reads a log whole: the checkpoint under the policy, every entry and tile
// under its root. What it finds wrong is an alarm.
func Fsck(ctx context.Context, s Source, policy *tlog.Policy) (*Report, error) {
	data, err := s.Checkpoint(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.Name(), err)
	}
	r := new(Report)
	c, err := policy.Open(data)
	switch {
	case errors.Is(err, tlog.ErrQuorum):
		r.Alarms = append(r.Alarms, Alarm{TooFew, s.Name(), err.Error(), [][]byte{data}})
	case err != nil:
		r.Alarms = append(r.Alarms, Alarm{Unsigned, s.Name(), err.Error(), [][]byte{data}})
		return r, nil
	}
	r.Checkpoint, r.Time = c.Checkpoint, Median(c)
	err = tlog.Audit(c.Checkpoint.Size, c.Checkpoint.Root, func(t tlog.Tile) ([]byte, error) { return s.Tile(ctx, t) })
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		r.Alarms = append(r.Alarms, Alarm{Damaged, s.Name(), err.Error(), nil})
	}
	return r, nil
}
