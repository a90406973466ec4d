//go:build linux

package store

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"ampoule/internal/storetest"
	"ampoule/party/issuer"
)

// clients is how many issue at once.
const clients = 32

// parallel runs f by all clients, b.N times together, and reports the rate.
func parallel(b *testing.B, f func(n int)) {
	b.Helper()
	var next atomic.Int64
	work := make(chan struct{})
	b.ResetTimer()
	for range clients {
		go func() {
			for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
				f(int(n))
			}
			work <- struct{}{}
		}()
	}
	for range clients {
		<-work
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
}

// BenchmarkDurable compares the durable issue of certificates (signed, sealed,
// indexed, with request key and audit line) with what the disk and the database
// can do at all:
//
//	go test ./internal/store -run - -bench Durable -benchtime 3s -count 3
func BenchmarkDurable(b *testing.B) {
	b.Run("fdatasync", benchmarkSync)
	b.Run("sqlite", func(b *testing.B) { benchmarkIssue(b, Config{}) })
	b.Run("sqlite-unsealed", func(b *testing.B) { benchmarkIssue(b, Config{sealEvery: time.Hour}) })
	b.Run("sqlite-nosync", func(b *testing.B) { benchmarkIssue(b, Config{NoSync: true}) })
	b.Run("postgres-bare", benchmarkBare)
	b.Run("postgres-rows", benchmarkRows)
	b.Run("postgres", func(b *testing.B) {
		dsn, _ := storetest.Postgres(b)
		benchmarkIssue(b, Config{Postgres: dsn})
	})
	b.Run("postgres-unsealed", func(b *testing.B) {
		dsn, _ := storetest.Postgres(b)
		benchmarkIssue(b, Config{Postgres: dsn, sealEvery: time.Hour})
	})
}

// benchmarkSync appends 4 KiB and syncs, one after the other.
func benchmarkSync(b *testing.B) {
	f, err := os.Create(filepath.Join(b.TempDir(), "log"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	page := make([]byte, 4096)
	_, _ = rand.Read(page)
	b.ResetTimer()
	for n := range b.N {
		if _, err := f.WriteAt(page, int64(n%1024)*4096); err != nil {
			b.Fatal(err)
		}
		if err := syscall.Fdatasync(int(f.Fd())); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
}

func benchmarkIssue(b *testing.B, c Config) {
	c.Dir, c.Master = b.TempDir(), newMaster(b)
	s := create(b, c)
	k := storetest.NewKit(b, s)
	ctx := b.Context()
	parallel(b, func(n int) {
		o := storetest.Order(fmt.Sprint(n), storetest.Dose(n))
		o.Wanted = o.Wanted[:1]
		if _, err := k.Registry.Issue(ctx, o); err != nil {
			b.Error(err)
		}
	})
}

// benchmarkRows inserts the rows that an issue writes, bare: five statements a
// transaction in one message, and nothing signed or sealed.
func benchmarkRows(b *testing.B) {
	dsn, _ := storetest.Postgres(b)
	c := Config{Dir: b.TempDir(), Master: newMaster(b), Postgres: fmt.Sprintf("%s pool_max_conns=%d", dsn, clients)}
	d := create(b, c).db.(*postgresDB)
	content := make([]byte, 600)
	_, _ = rand.Read(content)
	parallel(b, func(n int) {
		id, err := issuer.NewID(time.Now(), nil)
		if err != nil {
			b.Error(err)
			return
		}
		key := func(kind byte) []byte { return append(append([]byte{}, id[:15]...), kind) }
		err = d.sendCall([]stmt{
			{sql: `INSERT INTO record (id, slot, version, state, reason, issued, changed, asked, request, terms, content) VALUES ($1, $2, 1, 'valid', '', 0, 0, $3, $3, $3, $4)`, args: []any{id[:], int64(n), id[:], content}},
			{sql: `INSERT INTO artefact (record, n, format, kid, scheme, mark, expires, current, content) VALUES ($1, 0, 'eu-dcc', $1, '', $1, 0, 1, $2)`, args: []any{id[:], content}},
			{sql: `INSERT INTO term (mac, record) VALUES ($2, $1), ($3, $1), ($4, $1), ($5, $1), ($6, $1)`, args: []any{id[:], key(1), key(2), key(3), key(4), key(5)}},
			{sql: `INSERT INTO audit (id, at, actor, action, record, reason, mac) VALUES ($1, 0, 'u-1', 'issue', $1, '', $1)`, args: []any{id[:]}},
			{sql: `SELECT DISTINCT record FROM term WHERE mac IN ($1, $2, $3)`, args: []any{key(3), key(4), key(5)}, each: func(s scan) error { var r []byte; return s(&r) }},
		})
		if err != nil {
			b.Error(err)
		}
	})
}

// benchmarkBare inserts rows of 600 bytes, one a transaction, on a connection for
// each client.
func benchmarkBare(b *testing.B) {
	dsn, _ := storetest.Postgres(b)
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		b.Fatal(err)
	}
	config.MaxConns = clients
	ctx := b.Context()
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		b.Fatal(err)
	}
	defer pool.Close()
	if _, err := pool.Exec(ctx, `CREATE TABLE bare (id BYTEA PRIMARY KEY, content BYTEA NOT NULL)`); err != nil {
		b.Fatal(err)
	}
	content := make([]byte, 600)
	_, _ = rand.Read(content)
	parallel(b, func(int) {
		id, err := issuer.NewID(time.Now(), nil)
		if err == nil {
			_, err = pool.Exec(ctx, `INSERT INTO bare (id, content) VALUES ($1, $2)`, id[:], content)
		}
		if err != nil {
			b.Error(err)
		}
	})
}
