package deviceapi

import (
	"sync"
	"time"

	"ampoule/party/fleet"
)

// Plans are the faults of suppliers that are being tested, in memory: a server that
// starts anew is a good one.
type Plans struct {
	mu  sync.Mutex
	all map[string]*planned // by supplier
}

type planned struct {
	fleet.Plan
	met int
}

// Set puts a plan in the place of the supplier's other, if it had one.
func (p *Plans) Set(plan fleet.Plan) error {
	if err := plan.Check(); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all == nil {
		p.all = map[string]*planned{}
	}
	p.all[plan.Supplier] = &planned{Plan: plan}
	return nil
}

// Clear ends the plan of a supplier.
func (p *Plans) Clear(supplier string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.all, supplier)
}

// Left returns the plan of a supplier and how many of its faults were met.
func (p *Plans) Left(supplier string) (plan fleet.Plan, met int, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if one := p.all[supplier]; one != nil {
		return one.Plan, one.met, true
	}
	return fleet.Plan{}, 0, false
}

// Next implements [Faults].
func (p *Plans) Next(supplier string, now time.Time) fleet.Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	one := p.all[supplier]
	if one == nil {
		return fleet.Fault{}
	}
	f, ok := one.At(now, one.met)
	switch {
	case ok:
		one.met++
	case !now.Before(one.Until):
		delete(p.all, supplier)
	}
	return f
}
