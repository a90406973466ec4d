package mqttapi

import (
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"ampoule/party/fleet"
)

// connectWithin is how long a connection may take to say who it is.
const connectWithin = 15 * time.Second

// gate is a listener before the broker: it bounds how many are connected, gives each a
// time to say who it is, goes on when it runs out of descriptors, and closes all.
type gate struct {
	net.Listener
	tls    *tls.Config
	limit  int
	within time.Duration // in which a client must have said who it is

	mu   sync.Mutex
	open map[*conn]struct{}
}

// conn is a connection with who is at its other end. The broker hands it back to the
// hooks; source is set when the client has said who it is, before anybody else reads it.
type conn struct {
	net.Conn
	gate   *gate
	source fleet.Source
	known  atomic.Bool // source is set
	once   sync.Once
	first  sync.Once
	begun  bool // the broker has counted it; guarded by gate.mu

	// pending came and is not kept yet, and keep keeps it. Only the goroutine that reads has
	// to do with them.
	pending []message
	keep    func()
}

// wire is what comes below TLS, where there is any. It is read from when all that had come
// is used up: so what comes together is kept together, and nothing waits for what has not
// come yet.
type wire struct {
	net.Conn
	of *conn
}

func (w *wire) Read(p []byte) (int, error) {
	if len(w.of.pending) > 0 {
		w.of.keep()
	}
	return w.Conn.Read(p)
}

// Read tells, the first time, that the broker has the connection among those for which
// it waits at its end.
func (c *conn) Read(p []byte) (int, error) {
	c.first.Do(func() {
		c.gate.mu.Lock()
		c.begun = true
		c.gate.mu.Unlock()
	})
	return c.Conn.Read(p)
}

func (g *gate) Accept() (net.Conn, error) {
	for {
		c, err := g.Listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil, err
		case err != nil:
			// Too many open files pass; the broker would end its listener over it.
			time.Sleep(100 * time.Millisecond)
			continue
		}
		_ = c.SetDeadline(time.Now().Add(g.within)) // where there is none, keepalive has to do
		one := &conn{gate: g}
		if one.Conn = (&wire{c, one}); g.tls != nil {
			one.Conn = tls.Server(one.Conn, g.tls)
		}
		g.mu.Lock()
		full := len(g.open) >= g.limit
		if !full {
			g.open[one] = struct{}{}
		}
		g.mu.Unlock()
		if full {
			_ = one.Close()
			continue
		}
		return one, nil
	}
}

// Close ends the connection, and frees its place.
func (c *conn) Close() error {
	c.once.Do(func() {
		c.gate.mu.Lock()
		delete(c.gate.open, c)
		c.gate.mu.Unlock()
	})
	return c.Conn.Close()
}

// count returns how many are connected.
func (g *gate) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.open)
}

// end closes all that are connected.
func (g *gate) end() {
	g.mu.Lock()
	all := make([]*conn, 0, len(g.open))
	for c := range g.open {
		all = append(all, c)
	}
	g.mu.Unlock()
	for _, c := range all {
		_ = c.Close()
	}
}

// endNobody closes those that have not said who they are.
func (g *gate) endNobody() {
	g.mu.Lock()
	var all []*conn
	for c := range g.open {
		if !c.known.Load() {
			all = append(all, c)
		}
	}
	g.mu.Unlock()
	for _, c := range all {
		_ = c.Close()
	}
}

// settle waits until the broker has counted every connection that was let in: it may not
// begin to wait for them before.
func (g *gate) settle() {
	for range 100 {
		g.mu.Lock()
		all := true
		for c := range g.open {
			all = all && c.begun
		}
		g.mu.Unlock()
		if all {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}
