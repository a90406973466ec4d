// Package fleettest is where deliveries go in tests of the doors: a small [fleet.Ingester]
// in memory that keeps each reading and segment once, and [Accounts] of those who send.
package fleettest

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"sync"

	"ampoule/party/fleet"
)

// Memory keeps what is delivered.
type Memory struct {
	mu         sync.Mutex
	before     func(context.Context, *fleet.Delivery) error
	kept       map[string]int32
	deliveries []fleet.Delivery
}

// Before sets what is asked before a delivery is kept; an error keeps it out. It may wait.
func (m *Memory) Before(ask func(context.Context, *fleet.Delivery) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.before = ask
}

// Ingest implements [fleet.Ingester].
func (m *Memory) Ingest(ctx context.Context, d *fleet.Delivery) (fleet.Receipt, error) {
	m.mu.Lock()
	ask := m.before
	m.mu.Unlock()
	if ask != nil {
		if err := ask(ctx, d); err != nil {
			return fleet.Receipt{}, err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.kept == nil {
		m.kept = map[string]int32{}
	}
	var got fleet.Receipt
	keep := func(key string, value int32) {
		if _, there := m.kept[key]; there {
			got.Repeated++
			return
		}
		m.kept[key] = value
		got.Stored++
	}
	for _, s := range d.Series {
		for _, r := range s.Readings {
			keep(fmt.Sprintf("%s %s %d", s.Device, s.Sensor, r.At), r.Value)
		}
	}
	for _, s := range d.Segments {
		keep(fmt.Sprintf("segment %x", sha256.Sum256(s)), 0)
	}
	m.deliveries = append(m.deliveries, *d)
	return got, nil
}

// Kept returns how many readings and segments there are.
func (m *Memory) Kept() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.kept)
}

// Deliveries returns what was delivered, in its order.
func (m *Memory) Deliveries() []fleet.Delivery {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]fleet.Delivery(nil), m.deliveries...)
}

// Accounts are those who may send. Nobody is the error for all others.
type Accounts struct {
	Secrets      map[string]fleet.Source // by user and secret with a colon between
	Certificates map[string]fleet.Source // by the first URI of the certificate
	Nobody       error
}

// Secret returns whose secret it is.
func (a *Accounts) Secret(_ context.Context, user, secret string) (fleet.Source, error) {
	if s, ok := a.Secrets[user+":"+secret]; ok {
		return s, nil
	}
	return fleet.Source{}, a.Nobody
}

// Certificate returns whose certificate it is.
func (a *Accounts) Certificate(_ context.Context, c *x509.Certificate) (fleet.Source, error) {
	if len(c.URIs) > 0 {
		if s, ok := a.Certificates[c.URIs[0].String()]; ok {
			return s, nil
		}
	}
	return fleet.Source{}, a.Nobody
}
