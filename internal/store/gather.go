package store

import (
	"strconv"
	"strings"
	"sync"
)

// gatherer puts the calls of writeAll that wait at the same time into one
// transaction, and what they insert into one table into one statement: to
// PostgreSQL a row among many costs a fifth of a row alone.
//
// A call waits for nobody. The first is sent at once; those that come meanwhile
// are sent together when a hand is free. Where the transaction of several fails,
// each is tried alone, so that none suffers for another.
type gatherer struct {
	db    *postgresDB
	calls chan *gathered
	hands sync.WaitGroup
	mu    sync.RWMutex // held for reading while a call is handed over
	done  bool         // guarded by mu
}

// gathered is one call.
type gathered struct {
	stmts []stmt
	err   chan error
}

const (
	// gatherHands is how many transactions are under way at once: while one waits for
	// the disk, another is made ready.
	gatherHands = 3
	// gatherMost bounds the calls of one transaction, and with them its parameters,
	// of which a statement may have 65,535.
	gatherMost = 64
)

func (g *gatherer) start(d *postgresDB, hands int) {
	g.db, g.calls = d, make(chan *gathered)
	for range hands {
		g.hands.Go(g.work)
	}
}

// stop waits for the calls that were handed over.
func (g *gatherer) stop() {
	g.mu.Lock()
	if !g.done {
		g.done = true
		close(g.calls)
	}
	g.mu.Unlock()
	g.hands.Wait()
}

func (g *gatherer) write(stmts []stmt) error {
	c := &gathered{stmts, make(chan error, 1)}
	g.mu.RLock()
	if g.done {
		g.mu.RUnlock()
		return ErrClosed
	}
	g.calls <- c
	g.mu.RUnlock()
	return <-c.err
}

func (g *gatherer) work() {
	for first := range g.calls {
		calls := []*gathered{first}
		for more := true; more && len(calls) < gatherMost; {
			select {
			case c, open := <-g.calls:
				if more = open; open {
					calls = append(calls, c)
				}
			default:
				more = false
			}
		}
		g.send(calls)
	}
}

func (g *gatherer) send(calls []*gathered) {
	if len(calls) > 1 {
		var all []stmt
		for _, c := range calls {
			all = append(all, c.stmts...)
		}
		if err := g.db.sendCall(merge(all)); err == nil {
			for _, c := range calls {
				c.err <- nil
			}
			return
		}
	}
	for _, c := range calls {
		c.err <- g.db.sendCall(c.stmts)
	}
}

// merge makes one statement of those that insert into one table in one way, in the
// place of the first of them. The statements need nothing of each other.
func merge(stmts []stmt) []stmt {
	var out []stmt
	at := make(map[string]int) // in out, by text
	rows := make(map[string]int)
	for _, s := range stmts {
		n, known := at[s.sql]
		switch {
		case s.one != nil || s.each != nil || !strings.HasPrefix(s.sql, "INSERT INTO ") || !strings.Contains(s.sql, valuesMark):
			out = append(out, s)
		case !known:
			at[s.sql], rows[s.sql] = len(out), 1
			out = append(out, stmt{sql: s.sql, args: append([]any(nil), s.args...)})
		default:
			out[n].args = append(out[n].args, s.args...)
			rows[s.sql]++
		}
	}
	for text, n := range at {
		out[n].sql = repeated(text, rows[text], len(out[n].args)/rows[text])
	}
	return out
}

const valuesMark = " VALUES "

// repeated is an insertion of one call as one of n, of so many arguments each.
func repeated(text string, n, args int) string {
	if n == 1 {
		return text
	}
	head, tuples, _ := strings.Cut(text, valuesMark)
	var b strings.Builder
	b.WriteString(head + valuesMark)
	for i := range n {
		if i > 0 {
			b.WriteString(", ")
		}
		rest := tuples
		for {
			before, after, found := strings.Cut(rest, "$")
			b.WriteString(before)
			if !found {
				break
			}
			digits := len(after) - len(strings.TrimLeft(after, "0123456789"))
			number, _ := strconv.Atoi(after[:digits]) // of our own texts
			b.WriteString("$" + strconv.Itoa(number+i*args))
			rest = after[digits:]
		}
	}
	return b.String()
}
