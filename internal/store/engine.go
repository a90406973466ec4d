package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/pressly/goose/v3"
)

// engine is a database. Both know the same SQL: what differs is how a call
// becomes durable.
type engine interface {
	// write runs f in a transaction of its own, or in a savepoint of one that it
	// shares with other calls: either way f's statements are done together or not at
	// all, and on the disk when write returns nil. f may be run again after it
	// failed, and must not keep anything then.
	write(ctx context.Context, f func(tx) error) error
	// writeAll is write for statements that need nothing of each other and may
	// change any number of rows: PostgreSQL gets the whole transaction in one message.
	writeAll(ctx context.Context, stmts ...stmt) error
	// read runs f on one state of the database.
	read(ctx context.Context, f func(tx) error) error
	// readRow reads one row by one statement, or returns errNoRow.
	readRow(ctx context.Context, sql string, args []any, dest ...any) error
	// guards are statements that keep sealed lines of the audit log from being
	// changed by accident, or by who may write to the database and does not own it.
	guards() []string
	// goose returns what migrations run on. The caller closes it.
	goose() (goose.Dialect, *sql.DB)
	// broken is why nothing can be written any more, or nil.
	broken() error
	close() error
}

// tx runs statements. Their parameters are $1, $2, … in either database, and of
// the types int64, string, []byte and nil.
type tx interface {
	// row reads one row, or returns errNoRow.
	row(sql string, args []any, dest ...any) error
	// rows calls each for every row.
	rows(sql string, args []any, each func(scan) error) error
	// all runs statements of which none needs another's answer. PostgreSQL gets
	// them in one message.
	all(...stmt) error
}

// scan reads the columns of a row.
type scan = func(dest ...any) error

// stmt is one statement of several.
type stmt struct {
	sql   string
	args  []any
	one   error // what it means to change any other number of rows than one; nil: nothing
	taken error // what it means that a row with this key is there
	// each reads the rows of a query; nil for other statements.
	each func(scan) error
}

// timer is f, or what does nothing where there is none.
func timer(f func(time.Duration)) func(time.Duration) {
	if f == nil {
		return func(time.Duration) {}
	}
	return f
}

var errNoRow = errors.New("store: no row")

// runAll runs statements one by one.
func runAll(stmts []stmt, exec func(stmt) (int64, error), t tx) error {
	for _, s := range stmts {
		if s.each != nil {
			if err := t.rows(s.sql, s.args, s.each); err != nil {
				return err
			}
			continue
		}
		n, err := exec(s)
		if err != nil {
			return err
		}
		if s.one != nil && n != 1 {
			return s.one
		}
	}
	return nil
}

// dbError names an error of a database as ours. The text of such an error never
// has a value in it that is personal: what is, is sealed before it is sent.
func dbError(err error) error { return fmt.Errorf("store: %w", err) }
