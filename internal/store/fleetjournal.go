package store

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"ampoule/device"
	"ampoule/format/cbor"
	"ampoule/party/fleet"
)

// A message of one reading that goes into tables at once changes pages of each of them and
// of their indexes. So the readings that a group of deliveries brings are one row of a
// journal first, which is synced and then acknowledged. A moment later they are folded: in
// one transaction the rows of the journal go, and what they have of one stream comes as one
// block.
//
// What waits to be folded is in memory too, where those who look at one stream find it. Who
// reads all that has arrived has it folded first, and so has a store that is opened. Blocks that are not open readings are no matter of the
// journal: what they come with is folded in the same transaction, so that what stands in
// tables is always all up to one number.

// Bounds of the journal.
const (
	foldEvery  = 250 * time.Millisecond
	foldBlocks = 8192
	foldBytes  = 8 << 20
	// joinMost is how many readings are one block at most: those of one delivery never are
	// more.
	joinMost = 4096
)

// waiting is what stands in the journal.
type waiting struct {
	blocks []fleet.Block
	raws   []*fleet.Raw // that are known by their readings
	bytes  int
}

func (w *waiting) empty() bool { return len(w.blocks) == 0 }

func (w *waiting) full() bool { return len(w.blocks) >= foldBlocks || w.bytes >= foldBytes }

func (w *waiting) add(blocks []fleet.Block, raws []*fleet.Raw) waiting {
	out := waiting{append(w.blocks, blocks...), append(w.raws, raws...), w.bytes}
	for i := range blocks {
		out.bytes += len(blocks[i].Data)
	}
	for _, r := range raws {
		out.bytes += len(r.Body)
	}
	return out
}

// appendEntry writes a row of the journal:
//
//	count of blocks, and of each: stream, level, milliseconds of receipt, first, last, count,
//	low, high, data
//	count of messages, and of each: media type, supplier, second of its end, body
//
// All numbers are varints; data and texts have their length before them. The numbers of the
// blocks follow each other, and the row has the last.
func appendEntry(dst []byte, blocks []fleet.Block, raws []*fleet.Raw) []byte {
	numbers := func(all ...int64) {
		for _, n := range all {
			dst = binary.AppendVarint(dst, n)
		}
	}
	bytes := func(b []byte) { dst = append(binary.AppendUvarint(dst, uint64(len(b))), b...) }
	dst = binary.AppendUvarint(dst, uint64(len(blocks)))
	for i := range blocks {
		b := &blocks[i]
		numbers(b.Stream, int64(b.Level), b.Received.UnixMilli(), b.First, b.Last, int64(b.Count), int64(b.Low), int64(b.High))
		bytes(b.Data)
	}
	dst = binary.AppendUvarint(dst, uint64(len(raws)))
	for _, r := range raws {
		bytes([]byte(r.Media))
		bytes([]byte(r.Supplier))
		numbers(unix(r.Until))
		bytes(r.Body)
	}
	return dst
}

// readEntry reads what [appendEntry] has written.
func readEntry(last int64, data []byte) (blocks []fleet.Block, raws []*fleet.Raw, err error) {
	damaged := false
	number := func() int64 {
		v, n := binary.Varint(data)
		if n <= 0 {
			damaged, data = true, nil
			return 0
		}
		data = data[n:]
		return v
	}
	count := func() int {
		v, n := binary.Uvarint(data)
		if n <= 0 || v > uint64(len(data)-n) { // each counts for a byte at least
			damaged, data = true, nil
			return 0
		}
		data = data[n:]
		return int(v)
	}
	bytes := func() []byte {
		n := count()
		out := data[:n:n]
		data = data[n:]
		return out
	}
	for n := count(); len(blocks) < n && !damaged; {
		blocks = append(blocks, fleet.Block{
			Stream: number(), Level: device.Level(number()), Received: time.UnixMilli(number()).UTC(),
			First: number(), Last: number(), Count: int(number()), Low: int32(number()), High: int32(number()), Data: bytes(),
		})
	}
	for n := count(); len(raws) < n && !damaged; {
		raws = append(raws, &fleet.Raw{Media: string(bytes()), Supplier: string(bytes()), Until: fromUnix(number()), Body: bytes()})
	}
	if damaged || len(data) > 0 || len(blocks) == 0 {
		return nil, nil, fmt.Errorf("store: journal up to %d: %w", last, ErrDamaged)
	}
	for i := range blocks {
		blocks[i].N = last - int64(len(blocks)-1-i)
	}
	return blocks, raws, nil
}

// reopen reads the journal of a store that is opened, and folds it.
func (f *Fleet) reopen(ctx context.Context) error {
	err := f.db.read(ctx, func(t tx) error {
		f.wait = waiting{}
		return t.rows(`SELECT n, data FROM journal ORDER BY n`, nil, func(s scan) error {
			var n int64
			var data []byte
			if err := s(&n, &data); err != nil {
				return err
			}
			blocks, raws, err := readEntry(n, data)
			f.wait = f.wait.add(blocks, raws)
			return err
		})
	})
	if err != nil || f.wait.empty() {
		return err
	}
	f.last = max(f.last, f.wait.blocks[len(f.wait.blocks)-1].N)
	return f.fold()
}

// settle has all that was acknowledged folded.
func (f *Fleet) settle() error {
	if !f.unfolded.Load() {
		return nil
	}
	f.numbers.Lock()
	defer f.numbers.Unlock()
	return f.fold()
}

// fold empties the journal. The caller holds f.numbers.
func (f *Fleet) fold() error {
	if f.wait.empty() {
		return nil
	}
	if err := f.db.write(context.Background(), func(t tx) error { return foldIn(t, &f.wait) }); err != nil {
		return full(err)
	}
	f.setWaiting(waiting{})
	return nil
}

func (f *Fleet) setWaiting(w waiting) {
	if w.empty() {
		f.folds++
	}
	f.wait = w
	f.unfolded.Store(!w.empty())
}

// waitingOf are the blocks of a stream that wait, with a reading between two times, and how
// often the journal was emptied by then.
func (f *Fleet) waitingOf(stream, from, until int64) (out []fleet.Block, folds int) {
	f.numbers.Lock()
	defer f.numbers.Unlock()
	for i := range f.wait.blocks {
		if b := &f.wait.blocks[i]; b.Stream == stream && b.Last >= from && b.First <= until {
			out = append(out, *b)
		}
	}
	return out, f.folds
}

// foldedSince reports whether the journal was emptied since.
func (f *Fleet) foldedSince(folds int) bool {
	f.numbers.Lock()
	defer f.numbers.Unlock()
	return f.folds != folds
}

// foldIn puts what waits where it stays, and empties the journal.
func foldIn(t tx, w *waiting) error {
	if w.empty() {
		return nil
	}
	blocks := joined(w.blocks)
	var rows, raws []any
	for i := range blocks {
		rows = appendBlock(rows, blocks[i].N, &blocks[i])
	}
	for _, r := range together(w.raws, w.blocks[0].N) {
		raws = appendRaw(raws, r)
	}
	if err := rawInserts.run(t, raws); err != nil {
		return err
	}
	if err := blockInserts.run(t, rows); err != nil {
		return err
	}
	return t.all(stmt{sql: `DELETE FROM journal`})
}

// joined makes one block of those of one stream that follow each other at one level. It
// has the number of the last, so that all of a stream stay in their order. Where one of
// them is damaged they stay as they are.
func joined(all []fleet.Block) []fleet.Block {
	var parts [][]fleet.Block
	at := make(map[int64]int) // the last part of a stream
	for _, b := range all {
		i, known := at[b.Stream]
		if !known || parts[i][0].Level != b.Level {
			i = len(parts)
			at[b.Stream], parts = i, append(parts, nil)
		}
		parts[i] = append(parts[i], b)
	}
	out := make([]fleet.Block, 0, len(parts))
	for _, part := range parts {
		last := part[len(part)-1]
		if len(part) == 1 {
			out = append(out, last)
			continue
		}
		var readings []device.Reading
		var err error
		for i := range part {
			if readings, err = part[i].Readings(readings); err != nil {
				break
			}
		}
		if err != nil {
			out = append(out, part...)
			continue
		}
		slices.SortStableFunc(readings, func(a, b device.Reading) int { return int(min(max(a.At-b.At, -1), 1)) })
		chunks := slices.Collect(slices.Chunk(readings, joinMost))
		for i, chunk := range chunks { // no more of them than there were blocks
			b := fleet.OpenBlock(last.Stream, last.Level, last.Received, chunk)
			b.N = part[len(part)-len(chunks)+i].N
			out = append(out, b)
		}
	}
	slices.SortFunc(out, func(a, b fleet.Block) int { return int(a.N - b.N) })
	return out
}

// together makes one of the messages of one supplier and one type: a CBOR sequence (RFC
// 8742) of byte strings. first is the number of the first block of them all.
func together(raws []*fleet.Raw, first int64) (out []*fleet.Raw) {
	at := make(map[[2]string]*fleet.Raw)
	for _, r := range raws {
		k := [2]string{r.Supplier, r.Media}
		one := at[k]
		if one == nil {
			one = &fleet.Raw{Media: mediaMessages + "; of=" + fmt.Sprintf("%q", r.Media), Supplier: r.Supplier}
			at[k], out = one, append(out, one)
		}
		one.Body = cbor.AppendBytes(one.Body, r.Body)
		if r.Until.After(one.Until) {
			one.Until = r.Until
		}
	}
	for i, r := range out {
		// No others have these numbers.
		r.Digest = sha256.Sum256(append(fmt.Appendf(nil, "messages %d %d ", first, i), r.Body...))
	}
	return out
}

// mediaMessages is the type of messages that are kept together.
const mediaMessages = "application/cbor-seq"

// adding is the work of one transaction of additions.
type adding struct {
	f       *Fleet
	t       tx
	digests map[[32]byte]bool // of messages that are there
	n       int64             // the last number
	wait    waiting           // the journal, as it is after it
	// What came and stands nowhere yet.
	blocks []fleet.Block
	raws   []*fleet.Raw // that are known by their readings
	direct bool         // not by the journal
}

// digested reports whether a message is known by its digest.
func digested(r *fleet.Raw) bool { return r != nil && r.Digest != [32]byte{} }

// add takes one addition.
func (a *adding) add(c *addition) error {
	c.repeated = false
	if digested(c.Raw) {
		if c.repeated = a.digests[c.Raw.Digest]; c.repeated {
			return nil
		}
		a.digests[c.Raw.Digest] = true
		a.direct = true
		if err := rawInserts.run(a.t, appendRaw(nil, c.Raw)); err != nil {
			return err
		}
	}
	before := a.n
	for _, b := range c.Blocks {
		if b.Origin == fleet.Open {
			left, err := a.once(b)
			if err != nil {
				return err
			}
			if left == nil {
				continue
			}
			b = *left
		} else {
			a.direct = true
		}
		a.n++
		b.N = a.n
		a.blocks = append(a.blocks, b)
	}
	if c.repeated = len(c.Blocks) > 0 && a.n == before; !c.repeated && c.Raw != nil && !digested(c.Raw) {
		a.raws = append(a.raws, c.Raw)
	}
	if len(c.Heads) == 0 {
		return nil
	}
	if err := a.stand(); err != nil {
		return err
	}
	for _, h := range c.Heads {
		more := []stmt{{sql: `UPDATE stream SET own = $1, ownhash = $2 WHERE n = $3`, args: []any{int64(h.Own.Seq), h.Own.Hash[:], h.Stream}}}
		if h.Since <= h.Own.Seq {
			// The condition of the index stands in the statement, or it is not used.
			more = append(more, stmt{sql: `UPDATE block SET level = $1 WHERE stream = $2 AND origin = $3 AND origin > 0 AND seq >= $4 AND seq <= $5 AND level < $6`,
				args: []any{int64(h.Level), h.Stream, int64(fleet.Own), int64(h.Since), int64(h.Own.Seq), int64(h.Level)}})
		}
		if err := a.t.all(more...); err != nil {
			return err
		}
	}
	return nil
}

// once leaves of an open block what is not there: a reading of a stream stands once. nil:
// nothing is left.
func (a *adding) once(b fleet.Block) (*fleet.Block, error) {
	if fresh, err := a.f.fresh(a.t, &b); err != nil || fresh {
		return &b, err
	}
	if err := a.stand(); err != nil {
		return nil, err
	}
	readings, err := absent(a.t, &b)
	switch {
	case errors.Is(err, fleet.ErrPacked):
		return &b, nil // it is damaged, and what it has nobody knows
	case err != nil || len(readings) == 0:
		return nil, err
	case len(readings) < b.Count:
		b = fleet.OpenBlock(b.Stream, b.Level, b.Received, readings)
	}
	return &b, nil
}

// stand puts all that came until now into tables, with what waited before it.
func (a *adding) stand() error {
	a.direct = true
	if err := foldIn(a.t, &a.wait); err != nil {
		return err
	}
	a.wait = waiting{}
	var rows, raws []any
	for i := range a.blocks {
		rows = appendBlock(rows, a.blocks[i].N, &a.blocks[i])
	}
	for _, r := range together(a.raws, a.n) {
		raws = appendRaw(raws, r)
	}
	a.blocks, a.raws = nil, nil
	return errors.Join(blockInserts.run(a.t, rows), rawInserts.run(a.t, raws))
}

// end has what is left in the journal, if it may be there.
func (a *adding) end() error {
	if len(a.blocks) == 0 && !a.direct {
		return nil
	}
	if a.direct || a.wait.full() {
		return a.stand()
	}
	a.wait = a.wait.add(a.blocks, a.raws)
	return a.t.all(stmt{sql: `INSERT INTO journal (n, data) VALUES ($1, $2)`, args: []any{a.n, appendEntry(nil, a.blocks, a.raws)}})
}

// span is from when to when there are readings of a stream: none outside of it is there.
type span struct {
	first, last int64
	lowest      bool // first is known
}

// fresh reports that no reading of an open block can be there, because all are before the
// first of their stream or after the last. The caller holds f.numbers. A span is wider
// than it must be where what it was widened for was not kept after all.
func (f *Fleet) fresh(t tx, b *fleet.Block) (bool, error) {
	s, known := f.spans[b.Stream]
	if !known {
		s = span{first: math.MaxInt64, last: math.MinInt64}
		if err := t.row(`SELECT last FROM block WHERE stream = $1 ORDER BY last DESC LIMIT 1`, []any{b.Stream}, &s.last); errors.Is(err, errNoRow) {
			s.lowest = true
		} else if err != nil {
			return false, err
		}
	}
	if b.First <= s.last && !s.lowest {
		var first int64
		if err := t.row(`SELECT coalesce(min(first), 0) FROM block WHERE stream = $1`, []any{b.Stream}, &first); err != nil {
			return false, err
		}
		s.first, s.lowest = min(s.first, first), true
	}
	fresh := b.First > s.last || b.Last < s.first
	s.first, s.last = min(s.first, b.First), max(s.last, b.Last)
	f.spans[b.Stream] = s
	return fresh, nil
}

// absent returns the readings of an open block that do not stand in a table.
func absent(t tx, b *fleet.Block) ([]device.Reading, error) {
	there := make(map[device.Reading]bool)
	err := t.rows(`SELECT origin, data FROM block WHERE stream = $1 AND last >= $2 AND first <= $3`, []any{b.Stream, b.First, b.Last}, func(s scan) error {
		var origin int64
		x := fleet.Block{Stream: b.Stream}
		if err := s(&origin, &x.Data); err != nil {
			return err
		}
		if x.Origin = fleet.Origin(origin); x.Origin == fleet.Forked {
			return nil
		}
		all, err := x.Readings(nil)
		if err != nil {
			return nil // it is damaged, and hides none
		}
		for _, r := range all {
			there[r] = true
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	all, err := b.Readings(nil)
	return slices.DeleteFunc(all, func(r device.Reading) bool { return there[r] }), err
}
