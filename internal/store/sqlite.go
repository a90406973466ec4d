package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"
)

// sqliteDB is an embedded database: one goroutine writes, many read.
//
// A sync of the disk takes as long for one call as for fifty. So the writer takes
// all the calls that wait, runs each in a savepoint of one transaction, and
// answers them after the one commit (group commit).
type sqliteDB struct {
	path    string
	pragmas string
	readers *sql.DB
	calls   chan *call
	writer  sync.WaitGroup
	// committed is told how long a commit took.
	committed func(time.Duration)

	failed atomic.Pointer[error] // why the writer writes no more

	mu     sync.RWMutex // held to send a call, and to close
	closed bool
}

// call is one write on its way through the writer.
type call struct {
	ctx  context.Context
	f    func(tx) error
	done chan error
}

// groupMost is how many calls share a commit at most: those behind them would
// wait for too much work.
const groupMost = 256

// openSQLite opens a database file.
func openSQLite(c Config, create bool) (*sqliteDB, error) {
	path := filepath.Join(c.Dir, cmp.Or(c.file, databaseFile))
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) && !create {
		return nil, fmt.Errorf("store: there is no %s: %w; make a store, or restore a backup", path, ErrNoStore)
	}
	d := &sqliteDB{path: path, calls: make(chan *call, groupMost), committed: timer(c.Committed)}
	// WAL lets readers read while one writes. FULL syncs the log at every commit:
	// with NORMAL, what was acknowledged can be lost with the power. What is deleted
	// is overwritten (secure_delete). What a savepoint may go back to is kept in
	// memory (temp_store).
	sync := "FULL"
	if c.NoSync {
		sync = "OFF"
	}
	d.pragmas = "?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(" + sync +
		")&_pragma=foreign_keys(1)&_pragma=secure_delete(1)&_pragma=cache_size(-32768)&_pragma=temp_store(2)"
	write, err := d.open("")
	if err != nil {
		return nil, err
	}
	// The file is made, and WAL set, before readers come.
	conn, err := write.Conn(context.Background())
	if err != nil {
		return nil, errors.Join(dbError(err), write.Close())
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, conn.Close(), write.Close())
	}
	if d.readers, err = d.open(fmt.Sprintf("&_pragma=query_only(1)&_pragma=cache_size(-%d)", cmp.Or(c.cache, 32768))); err != nil {
		return nil, errors.Join(err, conn.Close(), write.Close())
	}
	d.readers.SetMaxOpenConns(8)
	d.readers.SetMaxIdleConns(8)
	d.writer.Go(func() {
		w := &sqliteTx{ctx: context.Background(), conn: conn, prepared: make(map[string]*sql.Stmt), committed: d.committed}
		d.run(w)
		_ = w.close()
		_ = conn.Close()
		_ = write.Close()
	})
	return d, nil
}

func (d *sqliteDB) open(more string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: d.path}).EscapedPath()+d.pragmas+more)
	if err != nil {
		return nil, dbError(err)
	}
	return db, nil
}

func (d *sqliteDB) goose() (goose.Dialect, *sql.DB) {
	db, err := d.open("&_txlock=immediate")
	if err != nil {
		panic(err) // the driver is linked in, and opens nothing yet
	}
	return goose.DialectSQLite3, db
}

func (d *sqliteDB) guards() []string {
	const refuse = ` BEGIN SELECT RAISE(ABORT, 'the audit log is only ever added to'); END`
	return []string{
		`CREATE TRIGGER IF NOT EXISTS audit_update BEFORE UPDATE ON audit WHEN OLD.seal <> 0` + refuse,
		`CREATE TRIGGER IF NOT EXISTS audit_delete BEFORE DELETE ON audit` + refuse,
		`CREATE TRIGGER IF NOT EXISTS seal_update BEFORE UPDATE ON seal` + refuse,
		`CREATE TRIGGER IF NOT EXISTS seal_delete BEFORE DELETE ON seal` + refuse,
	}
}

func (d *sqliteDB) broken() error {
	if failed := d.failed.Load(); failed != nil {
		return *failed
	}
	return nil
}

func (d *sqliteDB) close() error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil
	}
	d.closed = true
	close(d.calls)
	d.mu.Unlock()
	d.writer.Wait()
	return d.readers.Close()
}

// write hands f to the writer and waits for its commit. A call that has been
// taken is waited for even when ctx ends: its caller must know what became of it.
func (d *sqliteDB) write(ctx context.Context, f func(tx) error) error {
	c := &call{ctx, f, make(chan error, 1)}
	d.mu.RLock()
	if d.closed {
		d.mu.RUnlock()
		return ErrClosed
	}
	select {
	case d.calls <- c:
		d.mu.RUnlock()
	case <-ctx.Done():
		d.mu.RUnlock()
		return ctx.Err()
	}
	return <-c.done
}

func (d *sqliteDB) writeAll(ctx context.Context, stmts ...stmt) error {
	return d.write(ctx, func(t tx) error { return t.all(stmts...) })
}

// run is the writer. It ends when calls is closed and empty.
func (d *sqliteDB) run(w *sqliteTx) {
	var failed error // as d.failed
	for first := range d.calls {
		group := []*call{first}
	gather:
		for len(group) < groupMost {
			select {
			case c, open := <-d.calls:
				if !open {
					break gather
				}
				group = append(group, c)
			default:
				break gather
			}
		}
		if failed != nil {
			for _, c := range group {
				c.done <- failed
			}
			continue
		}
		if failed = w.commit(group); failed != nil {
			d.failed.Store(&failed)
		}
	}
}

// commit runs calls in one transaction and answers them. It returns an error if
// the state of the disk is not known any more, after which nothing is to be
// written: a second sync could succeed without having written what the first one
// failed to.
func (w *sqliteTx) commit(group []*call) (failed error) {
	errs := make([]error, len(group))
	err := w.plain("BEGIN IMMEDIATE")
	for i, c := range group {
		if err != nil {
			break
		}
		if errs[i] = c.ctx.Err(); errs[i] != nil {
			continue
		}
		if len(group) == 1 { // the transaction is its own
			if errs[i] = c.f(w); errs[i] != nil {
				_ = w.plain("ROLLBACK") // it fails where the error has ended the transaction
				c.done <- errs[i]
				if ioError(errs[i]) {
					return fmt.Errorf("%w: %w; open it again", ErrFailed, errs[i])
				}
				return nil
			}
			break
		}
		if err = w.plain("SAVEPOINT call"); err != nil {
			break
		}
		if errs[i] = c.f(w); errs[i] == nil {
			err = w.plain("RELEASE call")
			continue
		}
		// Where the error has ended the whole transaction (a full disk may), there is
		// no savepoint to go back to, and this fails.
		if err = w.plain("ROLLBACK TO call"); err == nil {
			err = w.plain("RELEASE call")
		}
		if err != nil {
			err = errors.Join(errs[i], err)
		}
	}
	if err == nil {
		begun := time.Now()
		if err = w.plain("COMMIT"); err == nil {
			w.committed(time.Since(begun))
		}
	}
	if err != nil {
		// Nothing of the group is there. Whether the rollback is needed depends on the
		// error; that it fails where it is not says nothing.
		_ = w.plain("ROLLBACK")
		if ioError(err) {
			failed = fmt.Errorf("%w: %w; open it again", ErrFailed, err)
			err = failed
		}
	}
	for i, c := range group {
		if errs[i] == nil {
			errs[i] = err
		}
		c.done <- errs[i]
	}
	return failed
}

// ioError tells errors of the disk from a full one, which may have room again.
func ioError(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && e.Code()&0xff == lib.SQLITE_IOERR
}

// read runs f in a transaction that sees one state.
func (d *sqliteDB) read(ctx context.Context, f func(tx) error) error {
	conn, err := d.readers.Conn(ctx)
	if err != nil {
		return dbError(err)
	}
	defer conn.Close()
	r := &sqliteTx{ctx: ctx, conn: conn}
	if err := r.plain("BEGIN"); err != nil {
		return err
	}
	err = f(r)
	r.ctx = context.WithoutCancel(ctx)
	return errors.Join(err, r.plain("ROLLBACK"))
}

func (d *sqliteDB) readRow(ctx context.Context, text string, args []any, dest ...any) error {
	err := d.readers.QueryRowContext(ctx, text, args...).Scan(dest...)
	if errors.Is(err, sql.ErrNoRows) {
		return errNoRow
	}
	if err != nil {
		return dbError(err)
	}
	return nil
}

// sqliteTx is the connection of a transaction. The writer's keeps its statements
// prepared.
type sqliteTx struct {
	ctx      context.Context
	conn     *sql.Conn
	prepared map[string]*sql.Stmt // nil: none are kept
	// committed is that of the database; only the writer calls it.
	committed func(time.Duration)
}

func (w *sqliteTx) plain(text string) error {
	_, err := w.exec(stmt{sql: text})
	return err
}

func (w *sqliteTx) prepare(text string) (*sql.Stmt, error) {
	if p := w.prepared[text]; p != nil {
		return p, nil
	}
	p, err := w.conn.PrepareContext(w.ctx, text)
	if err != nil {
		return nil, dbError(err)
	}
	w.prepared[text] = p
	return p, nil
}

func (w *sqliteTx) exec(s stmt) (int64, error) {
	var result sql.Result
	var err error
	if w.prepared != nil {
		var p *sql.Stmt
		if p, err = w.prepare(s.sql); err != nil {
			return 0, err
		}
		result, err = p.ExecContext(w.ctx, s.args...)
	} else {
		result, err = w.conn.ExecContext(w.ctx, s.sql, s.args...)
	}
	if err != nil {
		var e *sqlite.Error
		if s.taken != nil && errors.As(err, &e) && (e.Code() == lib.SQLITE_CONSTRAINT_PRIMARYKEY || e.Code() == lib.SQLITE_CONSTRAINT_UNIQUE) {
			return 0, s.taken
		}
		return 0, dbError(err)
	}
	return result.RowsAffected()
}

func (w *sqliteTx) rows(text string, args []any, each func(scan) error) error {
	var rows *sql.Rows
	var err error
	if w.prepared != nil {
		var p *sql.Stmt
		if p, err = w.prepare(text); err != nil {
			return err
		}
		rows, err = p.QueryContext(w.ctx, args...)
	} else {
		rows, err = w.conn.QueryContext(w.ctx, text, args...)
	}
	if err != nil {
		return dbError(err)
	}
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

func (w *sqliteTx) row(text string, args []any, dest ...any) error {
	return oneRow(w, text, args, dest)
}

func (w *sqliteTx) all(stmts ...stmt) error { return runAll(stmts, w.exec, w) }

func (w *sqliteTx) close() error {
	var errs []error
	for _, p := range w.prepared {
		errs = append(errs, p.Close())
	}
	return errors.Join(errs...)
}

// oneRow reads the one row of a query.
func oneRow(t tx, text string, args, dest []any) error {
	found := false
	err := t.rows(text, args, func(s scan) error {
		found = true
		return s(dest...)
	})
	if err == nil && !found {
		err = errNoRow
	}
	return err
}
