package main

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"time"

	"ampoule/ledger/state"
	"ampoule/ledger/tlog"
	"ampoule/party/notary"
)

// writer is an issuer that logs one leaf after the other. What it has handed in it
// hands in again, the same bytes, to the next node, until a node says that it is
// logged: as every client of a notary must.
type writer struct {
	oid    state.OID
	key    crypto.Signer
	schema state.OID
	seq    uint64
}

// load is what writers do meanwhile, and what they were told.
type load struct {
	nodes   []notary.Service
	writers []*writer
	pause   time.Duration // of a writer between two leaves

	mu      sync.Mutex
	told    map[tlog.Hash]bool // transactions of which a node said that they are logged
	waits   []time.Duration    // from the first try until told
	refused map[string]int     // by reason
	left    int                // what was not logged within patience

	stop context.CancelFunc
	done sync.WaitGroup
}

// patience is how long a writer tries to have a leaf logged.
const patience = 2 * time.Minute

// start lets the writers write.
func (l *load) start(ctx context.Context) {
	l.told, l.refused = map[tlog.Hash]bool{}, map[string]int{}
	writing, stop := context.WithCancel(ctx)
	l.stop = stop
	for i, w := range l.writers {
		l.done.Go(func() { l.write(ctx, writing, i, w) })
	}
}

// end stops them after what is under way.
func (l *load) end() {
	l.stop()
	l.done.Wait()
}

func (l *load) write(ctx, writing context.Context, first int, w *writer) {
	for at := first; writing.Err() == nil; {
		start := time.Now()
		tx, ok := l.next(ctx, w, at)
		if !ok {
			at++ // that node does not answer
			time.Sleep(50 * time.Millisecond)
			continue
		}
		leaf := tlog.LeafHash(tx)
		// Who has stopped still waits for what was handed in.
		logged := false
		for deadline := start.Add(patience); !logged && ctx.Err() == nil && time.Now().Before(deadline); at++ {
			if l.try(ctx, l.nodes[at%len(l.nodes)], tx, leaf) {
				l.mu.Lock()
				l.told[leaf] = true
				l.waits = append(l.waits, time.Since(start))
				l.mu.Unlock()
				w.seq++
				logged = true
				at-- // it answers
			}
		}
		if !logged {
			l.mu.Lock()
			l.left++
			l.mu.Unlock()
		}
		time.Sleep(l.pause)
	}
}

// next signs the next transaction of a writer, as the node that is asked knows the
// ledger.
func (l *load) next(ctx context.Context, w *writer, at int) ([]byte, bool) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	actor, err := l.nodes[at%len(l.nodes)].Actor(ctx, w.oid)
	if err != nil {
		return nil, false
	}
	w.seq = max(w.seq, actor.Seq)
	leaf := sha256.Sum256(binary.BigEndian.AppendUint64([]byte(w.oid), w.seq))
	tx := &state.Tx{Chain: actor.Chain, Actor: w.oid, Seq: w.seq + 1, ValidUntil: actor.Height + actor.MaxLife/2,
		Body: &state.SingleLeaf{Leaf: leaf, Schema: w.schema, About: state.AboutDocument}}
	signed, err := tx.Sign(rand.Reader, w.key)
	return signed, err == nil
}

// try hands a transaction in at one node, and waits a while for it to be logged.
func (l *load) try(ctx context.Context, node notary.Service, tx []byte, leaf tlog.Hash) bool {
	ctx, cancel := context.WithTimeout(ctx, 4*time.Second)
	defer cancel()
	if err := node.Submit(ctx, tx); err != nil {
		l.mu.Lock()
		l.refused[state.Reason(err)]++
		l.mu.Unlock()
	}
	for ctx.Err() == nil {
		s, err := node.Standing(ctx, leaf)
		if err != nil {
			time.Sleep(50 * time.Millisecond) // it is away
			return false
		}
		if s.Logged {
			return true
		}
		time.Sleep(look)
	}
	return false
}

// count returns how many leaves nodes have said to be logged, and how long that
// took half of them and nineteen in twenty.
func (l *load) count() (n int, p50, p95 time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	waits := slices.Sorted(slices.Values(l.waits))
	if len(waits) > 0 {
		p50, p95 = waits[len(waits)/2], waits[len(waits)*19/20]
	}
	return len(l.told), p50, p95
}

// lost counts leaves that a node has said to be logged and that are not in a log.
func (l *load) lost(entries map[tlog.Hash]int) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for leaf := range l.told {
		if entries[leaf] == 0 {
			n++
		}
	}
	return n
}

// readLog reads the entries of a log in a folder, whole and checked, and counts what
// writers have in it more than once.
func readLog(files tlog.Files, size uint64, root tlog.Hash) (entries map[tlog.Hash]int, twice int, err error) {
	if err := tlog.Audit(size, root, files.Tile); err != nil {
		return nil, 0, err
	}
	entries = map[tlog.Hash]int{}
	leaves := map[state.Hash]bool{}
	for first := uint64(0); first < size; first += tlog.TileWidth {
		width := int(min(size-first, tlog.TileWidth))
		data, err := files.Tile(tlog.Tile{Level: tlog.Entries, Index: first / tlog.TileWidth, Width: width})
		if err != nil {
			return nil, 0, err
		}
		bundle, err := tlog.ParseEntries(data, width)
		if err != nil {
			return nil, 0, fmt.Errorf("entries from %d on: %w", first, err)
		}
		for _, e := range bundle {
			hash := tlog.LeafHash(e)
			if entries[hash]++; entries[hash] > 1 {
				twice++
			}
			tx, err := state.ParseTx(e)
			if err != nil {
				continue // the genesis, or the leaf of an epoch
			}
			if single, ok := tx.Body.(*state.SingleLeaf); ok {
				if leaves[single.Leaf] {
					twice++
				}
				leaves[single.Leaf] = true
			}
		}
	}
	return entries, twice, nil
}
