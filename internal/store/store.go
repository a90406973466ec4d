// Package store keeps what parties must not lose, in SQLite or in PostgreSQL.
//
// The database alone tells nobody anything about a person. Contents are sealed
// with AES-256-GCM under a key of each record; records are found by keyed hashes;
// what is plain is identifiers, states, dates of issue and hashes that are
// published anyway. The keys of the records are wrapped by the master key and
// stand in a file beside the database (see vault), never in it, so that a backup
// of the database cannot read a record whose key is gone.
//
//	database          rows, sealed; backed up by [Store.Backup]
//	records.keys      wrapped keys of records; overwritten at erasure
//	erased.list       identifiers of erased records; only ever grows
//	audit.head        the newest seal of the audit log, against cutting off its end
//	master key        a file of package keys; opens all of it
//
// An erasure is written to the list first, then the key is overwritten, then the
// rows are deleted. The database knows how many entries of the list it has seen:
// [Open] and [Restore] delete what later ones name before anything is served, be
// it after a crash or from a backup that is older than the erasure.
//
// One process at a time opens a store: the key file is locked.
package store

import (
	"cmp"
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pressly/goose/v3"

	"ampoule/format"
	"ampoule/internal/keys"
	"ampoule/party/issuer"
)

// Defects of a store.
const (
	ErrExists      format.Defect = "store-exists"
	ErrNoStore     format.Defect = "no-store"
	ErrInUse       format.Defect = "store-in-use"     // by another process
	ErrWrongMaster format.Defect = "wrong-master-key" // it was made under another one
	ErrMismatch    format.Defect = "store-mismatch"   // files of different stores, or of different ages
	ErrDamaged     format.Defect = "store-damaged"
	ErrNewerSchema format.Defect = "newer-schema" // made by a newer version of Ampoule
	ErrFailed      format.Defect = "store-failed" // the disk failed: what it holds is known after opening again
	ErrClosed      format.Defect = "store-closed"
)

// Config says where a store is.
type Config struct {
	// Dir has the key file, the erasure list and, for SQLite, the database.
	Dir string
	// Postgres is a connection string for PostgreSQL; empty for SQLite.
	Postgres string
	Master   *keys.MasterKey
	// NoSync leaves out the syncs of the database: for measuring what they cost.
	// What is acknowledged can then be lost with the power.
	NoSync bool
	// Committed is told how long each commit of the database took; nil: nobody.
	Committed func(time.Duration)

	sealEvery time.Duration // of the audit log; 0: [sealEvery]. Benchmarks set it
	file      string        // of SQLite; "": [databaseFile]
	cache     int           // KiB of each of SQLite's readers; 0: 32 MiB
	hands     int           // transactions of PostgreSQL under way at once; 0: [gatherHands]
}

// Store is an open store. It is an [issuer.Book] and an [issuer.JobBook].
type Store struct {
	db    engine
	vault *vault
	// erasing is held for an erasure: a correction that came meanwhile would leave
	// the new version of a person's record behind.
	erasing sync.RWMutex
	sealer  sealer
	goods   Goods
	// nextBatch is the number of the next batch to be closed: no leaf that is
	// inserted from now on is in an earlier one.
	nextBatch atomic.Int64
	closing   sync.Mutex // held while batches are closed and the outbox is filled: two would take one number
}

var _ issuer.Book = (*Store)(nil)

// databaseFile is the name of SQLite's database in the folder.
const databaseFile = "ampoule.db"

// Create makes a new, empty store. It refuses a folder or a database that has
// one.
func Create(ctx context.Context, c Config) error {
	if err := createVault(c.Dir, c.Master); err != nil {
		return err
	}
	v, err := openVault(c.Dir, c.Master)
	if err != nil {
		return err
	}
	defer v.close()
	db, err := openEngine(ctx, c, true)
	if err != nil {
		return err
	}
	defer db.close()
	if _, err := migrate(ctx, db, latest); err != nil {
		return err
	}
	err = db.write(ctx, func(t tx) error {
		n := int64(0)
		if err := t.row(`SELECT count(*) FROM record`, nil, &n); err != nil || n > 0 {
			return errors.Join(err, fmt.Errorf("store: the database has %d records: %w", n, ErrExists))
		}
		// Of a making that was interrupted, or of a store without its key file: it
		// has no records.
		return t.all(
			stmt{sql: `DELETE FROM store`},
			stmt{sql: `INSERT INTO store (id, erased, base) VALUES ($1, 0, 0)`, args: []any{v.id[:]}})
	})
	if err != nil {
		return err
	}
	_, err = v.writeHead(new(seal))
	return err
}

// Open opens a store and brings its schema up to date. Erasures that a crash
// stopped halfway are finished before it returns.
func Open(ctx context.Context, c Config) (_ *Store, err error) {
	s := new(Store)
	defer func() {
		if err != nil {
			_ = s.Close()
		}
	}()
	if s.vault, err = openVault(c.Dir, c.Master); err != nil {
		return nil, err
	}
	if s.db, err = openEngine(ctx, c, false); err != nil {
		return nil, err
	}
	s.goods.db, s.goods.store, s.goods.mac = s.db, s, s.lotMAC
	if _, err := migrate(ctx, s.db, latest); err != nil {
		return nil, err
	}
	for _, guard := range s.db.guards() {
		if err := s.db.writeAll(ctx, stmt{sql: guard}); err != nil {
			return nil, err
		}
	}
	if err := s.db.write(ctx, s.reconcile); err != nil {
		return nil, err
	}
	if err := s.db.read(ctx, s.firstBatch); err != nil {
		return nil, err
	}
	if err := s.reconcileJobs(ctx); err != nil {
		return nil, err
	}
	if err := s.startAudit(ctx, cmp.Or(c.sealEvery, sealEvery)); err != nil {
		return nil, err
	}
	return s, nil
}

// Close ends a store. Calls that run are waited for.
func (s *Store) Close() error {
	var errs []error
	if s.db != nil {
		errs = append(errs, s.stopAudit(), s.db.close())
	}
	if s.vault != nil {
		errs = append(errs, s.vault.close())
	}
	return errors.Join(errs...)
}

// reconcile holds the database against the vault, and deletes from the one what
// the other has on its erasure list.
func (s *Store) reconcile(t tx) error {
	done, err := s.fits(t)
	if err != nil {
		return err
	}
	ids, err := s.vault.erasedSince(done)
	if err != nil || len(ids) == 0 {
		return err
	}
	return s.forget(t, ids, done+int64(len(ids)), issuer.Line{})
}

// fits holds the database against the vault, and returns how many erasures it has
// seen.
func (s *Store) fits(t tx) (done int64, err error) {
	var id []byte
	var top int64
	if err := t.row(`SELECT id, erased FROM store`, nil, &id, &done); errors.Is(err, errNoRow) {
		return 0, fmt.Errorf("store: the database has no store in it: %w", ErrNoStore)
	} else if err != nil {
		return 0, err
	}
	if err := t.row(`SELECT coalesce(max(slot), -1) FROM record`, nil, &top); err != nil {
		return 0, err
	}
	have, erased := s.vault.counts()
	switch {
	case string(id) != string(s.vault.id[:]):
		return 0, fmt.Errorf("store: database and key file are of two stores: %w", ErrMismatch)
	case top >= have:
		return 0, fmt.Errorf("store: the key file has %d keys and the database needs key %d: %w; the key file is an older copy, bring back the newest", have, top, ErrMismatch)
	case done > erased:
		return 0, fmt.Errorf("store: the erasure list has %d entries and the database has seen %d: %w; the list is an older copy, bring back the newest", erased, done, ErrMismatch)
	}
	return done, nil
}

//go:embed migrations/*.sql
var migrations embed.FS

const latest = 0 // of the migrations

// migrate brings the schema to a version, or the newest one, and returns it. It
// never goes back.
func migrate(ctx context.Context, e engine, to int64) (version int64, err error) {
	dialect, db := e.goose()
	defer func() {
		if db != nil {
			err = errors.Join(err, db.Close())
		}
	}()
	p, err := migrationsFor(dialect, db)
	if err != nil {
		return 0, err
	}
	newest := newestSchema()
	version, err = p.GetDBVersion(ctx)
	if err != nil {
		return 0, fmt.Errorf("store: migrations: %w", err)
	}
	if version > newest || to > newest {
		return 0, newerSchema(max(version, to), newest)
	}
	if to == latest {
		to = newest
	}
	if version >= to {
		return version, nil
	}
	if _, err := p.UpTo(ctx, to); err != nil {
		return 0, fmt.Errorf("store: migrations: %w", err)
	}
	return to, nil
}

// migrationsFor returns the migrations of a database.
func migrationsFor(dialect goose.Dialect, db *sql.DB) (*goose.Provider, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	p, err := goose.NewProvider(dialect, db, files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return nil, fmt.Errorf("store: migrations: %w", err)
	}
	return p, nil
}

// newestSchema is the version of the last migration.
var newestSchema = sync.OnceValue(func() (newest int64) {
	files, err := migrations.ReadDir("migrations")
	if err != nil {
		panic(err) // they are linked in
	}
	for _, f := range files {
		n, err := goose.NumericComponent(f.Name())
		if err != nil {
			panic(err)
		}
		newest = max(newest, n)
	}
	return newest
})

// version returns the schema of a database.
func version(ctx context.Context, e engine) (now int64, err error) {
	dialect, db := e.goose()
	defer func() {
		if db != nil {
			err = errors.Join(err, db.Close())
		}
	}()
	p, err := migrationsFor(dialect, db)
	if err != nil {
		return 0, err
	}
	if now, err = p.GetDBVersion(ctx); err != nil {
		return 0, fmt.Errorf("store: migrations: %w", err)
	}
	return now, nil
}

func newerSchema(have, newest int64) error {
	return fmt.Errorf("store: schema %d, and this version knows %d: %w; use the version of Ampoule that made it, or a newer one", have, newest, ErrNewerSchema)
}

// openEngine opens the database. For SQLite create says whether its file may be
// made: a wrong folder must not look like an empty store.
func openEngine(ctx context.Context, c Config, create bool) (engine, error) {
	var e engine
	var err error
	if c.Postgres != "" {
		e, err = openPostgres(ctx, c)
	} else {
		e, err = openSQLite(c, create)
	}
	if err != nil {
		return nil, err // not e, which holds a nil of a type
	}
	return e, nil
}
