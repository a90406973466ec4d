package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

// postgresDB is a PostgreSQL database. It groups commits of many connections by
// itself; what is left to save is messages (tx.all) and statements (see gather.go).
type postgresDB struct {
	pool   *pgxpool.Pool
	config *pgx.ConnConfig
	// committed is told how long a commit took.
	committed func(time.Duration)
	gather    gatherer
}

func openPostgres(ctx context.Context, c Config) (*postgresDB, error) {
	config, err := pgxpool.ParseConfig(c.Postgres)
	if err != nil {
		// The text of err can repeat the connection string, password and all.
		return nil, fmt.Errorf("store: the connection string of PostgreSQL cannot be read: %w", ErrNoStore)
	}
	// Enough that commits share a sync; more would only contend for the processors.
	if config.MaxConns < 12 {
		config.MaxConns = 12
	}
	commit := "on"
	if c.NoSync {
		commit = "off"
	}
	// Not left to the server's configuration: what is acknowledged is on its disk.
	config.ConnConfig.RuntimeParams["synchronous_commit"] = commit
	// Plans are kept with the connection, and those that were made while the tables
	// were small would read all of a table for one row ever after.
	config.ConnConfig.RuntimeParams["enable_seqscan"] = "off"
	config.ConnConfig.RuntimeParams["application_name"] = "ampoule"
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, dbError(err)
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, dbError(err)
	}
	d := &postgresDB{pool: pool, config: config.ConnConfig, committed: timer(c.Committed)}
	d.gather.start(d, cmp.Or(c.hands, gatherHands))
	return d, nil
}

func (d *postgresDB) goose() (goose.Dialect, *sql.DB) {
	return goose.DialectPostgres, stdlib.OpenDB(*d.config.Copy())
}

func (d *postgresDB) guards() []string {
	const refuse = ` EXECUTE FUNCTION audit_refuse()`
	return []string{
		`CREATE OR REPLACE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS
			$$ BEGIN RAISE EXCEPTION 'the audit log is only ever added to'; END $$`,
		`CREATE OR REPLACE TRIGGER audit_update BEFORE UPDATE ON audit FOR EACH ROW WHEN (OLD.seal <> 0)` + refuse,
		`CREATE OR REPLACE TRIGGER audit_delete BEFORE DELETE ON audit FOR EACH ROW` + refuse,
		`CREATE OR REPLACE TRIGGER audit_truncate BEFORE TRUNCATE ON audit` + refuse,
		`CREATE OR REPLACE TRIGGER seal_change BEFORE UPDATE OR DELETE ON seal FOR EACH ROW` + refuse,
		`CREATE OR REPLACE TRIGGER seal_truncate BEFORE TRUNCATE ON seal` + refuse,
	}
}

func (d *postgresDB) broken() error { return nil } // a connection that fails is made anew

func (d *postgresDB) close() error {
	d.gather.stop()
	d.pool.Close()
	return nil
}

// retries is how often a transaction that lost a race inside the database is
// tried.
const retries = 8

// endWithin bounds the wait for a commit whose caller has gone.
const endWithin = 30 * time.Second

func (d *postgresDB) write(ctx context.Context, f func(tx) error) error {
	return d.retry(ctx, func() error { return d.once(ctx, pgx.TxOptions{}, f) })
}

func (d *postgresDB) retry(ctx context.Context, once func() error) error {
	for try := 1; ; try++ {
		err := once()
		var e *pgconn.PgError
		if err == nil || try == retries || !errors.As(err, &e) || e.Code != "40001" && e.Code != "40P01" {
			return err
		}
		// serialization_failure and deadlock_detected: the other one has got through.
		select {
		case <-time.After(time.Duration(try) * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (d *postgresDB) writeAll(ctx context.Context, stmts ...stmt) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return d.gather.write(stmts)
}

// sendCall writes the statements of one call in a transaction of their own. Once
// they are sent they are waited for: the caller must know what became of them.
func (d *postgresDB) sendCall(stmts []stmt) error {
	end, cancel := context.WithTimeout(context.Background(), endWithin)
	defer cancel()
	return d.retry(end, func() error {
		begun := time.Now()
		err := sendAll(end, d.pool, stmts)
		if err == nil {
			d.committed(time.Since(begun))
		}
		return err
	})
}

func (d *postgresDB) readRow(ctx context.Context, text string, args []any, dest ...any) error {
	err := d.pool.QueryRow(ctx, text, args...).Scan(dest...)
	if errors.Is(err, pgx.ErrNoRows) {
		return errNoRow
	}
	if err != nil {
		return dbError(err)
	}
	return nil
}

func (d *postgresDB) read(ctx context.Context, f func(tx) error) error {
	return d.once(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, f)
}

func (d *postgresDB) once(ctx context.Context, o pgx.TxOptions, f func(tx) error) error {
	conn, err := d.pool.Acquire(ctx)
	if err != nil {
		return dbError(err)
	}
	defer conn.Release()
	t, err := conn.BeginTx(ctx, o)
	if err != nil {
		return dbError(err)
	}
	// What has begun to end is waited for, even when ctx is done: the connection
	// must come back clean, and a commit must not be left open to guessing.
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), endWithin)
	defer cancel()
	if err := f(&postgresTx{ctx, t}); err != nil {
		_ = t.Rollback(end) // where it fails the connection is closed, which does the same
		return err
	}
	begun := time.Now()
	if err := t.Commit(end); err != nil {
		return dbError(err)
	}
	if o.AccessMode != pgx.ReadOnly {
		d.committed(time.Since(begun))
	}
	return nil
}

type postgresTx struct {
	ctx context.Context
	tx  pgx.Tx
}

func (p *postgresTx) rows(text string, args []any, each func(scan) error) error {
	rows, err := p.tx.Query(p.ctx, text, args...)
	if err != nil {
		return dbError(err)
	}
	return readRows(rows, each)
}

func readRows(rows pgx.Rows, each func(scan) error) error {
	defer rows.Close()
	for rows.Next() {
		if err := each(rows.Scan); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return dbError(err)
	}
	return nil
}

func (p *postgresTx) row(text string, args []any, dest ...any) error {
	return oneRow(p, text, args, dest)
}

func (p *postgresTx) all(stmts ...stmt) error { return sendAll(p.ctx, p.tx, stmts) }

// sendAll sends statements in one message. Outside a transaction they are one of
// their own, which an error of the database undoes.
func sendAll(ctx context.Context, to interface {
	SendBatch(context.Context, *pgx.Batch) pgx.BatchResults
}, stmts []stmt) (err error) {
	var batch pgx.Batch
	for _, s := range stmts {
		batch.Queue(s.sql, s.args...)
	}
	results := to.SendBatch(ctx, &batch)
	defer func() {
		if e := results.Close(); err == nil && e != nil {
			err = dbError(e)
		}
	}()
	for _, s := range stmts {
		if s.each != nil {
			rows, err := results.Query()
			if err != nil {
				return dbError(err)
			}
			if err := readRows(rows, s.each); err != nil {
				return err
			}
			continue
		}
		tag, err := results.Exec()
		if err != nil {
			var e *pgconn.PgError
			if s.taken != nil && errors.As(err, &e) && e.Code == "23505" { // unique_violation
				return s.taken
			}
			return dbError(err)
		}
		if s.one != nil && tag.RowsAffected() != 1 {
			return s.one
		}
	}
	return nil
}
