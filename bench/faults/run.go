package main

import (
	"context"
	"time"

	"ampoule/ledger/state"
	"ampoule/party/notary"
)

// fault is one run. What it does is done under load, after a while of peace.
type fault struct {
	name     string
	machines int                                               // 0: those of the members
	absent   int                                               // a node that the run starts itself; 0: none
	writing  int                                               // members whose issuers write; 0: all
	clocks   bool                                              // clocks differ, so times of cosignatures say nothing
	params   func(*state.Params)                               // of the genesis
	do       func(context.Context, *federation, *result) error // under load
	after    func(context.Context, *federation, *result) error // with all nodes ended
	nodes    func(*federation) []*node                         // that are level at the end; nil: those of the members
}

// peace is how long nothing is wrong before the fault, and after it.
const peace = 8 * time.Second

// pause is that of a writer between two leaves: with blocks of a second, twenty of
// them hand in some 15 a second.
const pause = 200 * time.Millisecond

func (x fault) run(ctx context.Context, b *builder, dir string) (r *result, err error) {
	r = &result{name: x.name}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l, err := newLab(max(x.machines, members))
	if err != nil {
		return nil, err
	}
	defer l.close()
	f, err := found(ctx, l, b, dir, x.params)
	if err != nil {
		return nil, err
	}
	defer f.close()
	for _, n := range f.voters() {
		if n.number != x.absent {
			if err := f.start(n); err != nil {
				return nil, err
			}
		}
	}
	if err := f.register(ctx); err != nil {
		return nil, err
	}
	if err := f.look(ctx); err != nil {
		return nil, err
	}
	defer f.watch.end()
	f.load = f.newLoad(x.writing, x.absent)
	f.load.start(ctx)
	defer func() {
		cancel() // after an error nobody waits for the rest
		f.load.end()
	}()
	if err := wait(ctx, peace); err != nil {
		return nil, err
	}
	r.block = f.watch.pace(time.Now())
	begun := time.Now()
	if err := x.do(ctx, f, r); err != nil {
		return nil, err
	}
	if r.gap == 0 {
		r.gap = f.watch.gap(begun, time.Now())
	}
	if err := wait(ctx, peace/4); err != nil {
		return nil, err
	}
	f.load.end()
	level := f.voters()
	if x.nodes != nil {
		level = x.nodes(f)
	}
	if _, err := f.level(ctx, time.Now(), time.Minute, level...); err != nil {
		return nil, err
	}
	f.watch.end()
	stop(f.nodes...)

	a, err := f.audit(ctx, level...)
	if err != nil {
		return nil, err
	}
	r.told, r.p50, r.p95 = f.load.count()
	r.lost, r.doubled, r.forks = f.load.lost(a.told), a.twice, a.forked
	r.must(r.told > 0, "nothing was acknowledged")
	r.must(f.load.left == 0, "%d leaves were not logged within %s", f.load.left, patience)
	r.must(r.lost == 0, "%d entries are lost", r.lost)
	r.must(r.doubled == 0, "%d entries stand twice", r.doubled)
	r.must(len(r.forks) == 0, "%v", r.forks)
	if !x.clocks {
		checkpoints, backwards := f.watch.backwards()
		r.must(checkpoints > 0, "no checkpoint was cosigned")
		r.must(backwards == 0, "%d cosignatures go back", backwards)
	}
	if x.after != nil {
		if err := x.after(ctx, f, r); err != nil {
			return nil, err
		}
	}
	return r, ctx.Err()
}

// newLoad is the issuers of the first members, who write to all nodes.
func (f *federation) newLoad(members, absent int) *load {
	l := &load{pause: pause}
	for _, n := range f.voters() {
		if n.number != absent {
			l.nodes = append(l.nodes, notary.Service(n.client))
		}
	}
	for i, issuers := range f.issuers {
		if members == 0 || i < members {
			l.writers = append(l.writers, issuers...)
		}
	}
	return l
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// healed measures what comes after the healing.
func (f *federation) healed(ctx context.Context, r *result, at time.Time) (err error) {
	if r.resumed, err = f.watch.commit(ctx, at, time.Minute); err != nil {
		return err
	}
	r.level, err = f.level(ctx, at, time.Minute, f.voters()...)
	return err
}

// halted waits a while without the nodes that a block takes, and tells of blocks.
func (f *federation) halted(ctx context.Context, r *result, d time.Duration) error {
	// What had its votes already comes through.
	if err := wait(ctx, 2*time.Second); err != nil {
		return err
	}
	before := f.watch.height()
	if err := wait(ctx, d-2*time.Second); err != nil {
		return err
	}
	made := f.watch.height() - before
	r.must(made == 0, "%d blocks without two thirds", made)
	r.also("no block meanwhile")
	return nil
}
