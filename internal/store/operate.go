package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"ampoule/internal/keep"
)

// What an operator does with a store: look at it, bring its schema up to date, and
// keep copies of it.

// Schema returns the schema that a store has and the newest one that this version
// knows. It changes nothing, and works while a server has the store open.
func Schema(ctx context.Context, c Config) (now, newest int64, err error) {
	if _, err := os.Stat(filepath.Join(c.Dir, keyFile)); err != nil {
		return 0, 0, fmt.Errorf("store: there is no store in %s: %w (%w)", c.Dir, ErrNoStore, err)
	}
	e, err := openEngine(ctx, c, false)
	if err != nil {
		return 0, 0, err
	}
	defer e.close()
	now, err = version(ctx, e)
	return now, newestSchema(), err
}

// Migrate brings the schema of a store that nobody has open to the newest one. It
// returns what it was and what it is.
func Migrate(ctx context.Context, c Config) (was, is int64, err error) {
	v, err := openVault(c.Dir, c.Master)
	if err != nil {
		return 0, 0, err
	}
	defer v.close()
	e, err := openEngine(ctx, c, false)
	if err != nil {
		return 0, 0, err
	}
	defer e.close()
	if was, err = version(ctx, e); err != nil {
		return 0, 0, err
	}
	is, err = migrate(ctx, e, latest)
	return was, is, err
}

// Health is what a store says of itself.
type Health struct {
	Engine  string `json:"engine"` // sqlite or postgresql
	Version string `json:"version"`
	Schema  int64  `json:"schema"`
	Newest  int64  `json:"newest"` // that this version knows
	Records int64  `json:"records"`
	Erased  int64  `json:"erased"`
	// Unlogged is how much waits for the log of a ledger, since when the oldest does,
	// and Refused how much never will be there.
	Unlogged      int       `json:"unlogged"`
	UnloggedSince time.Time `json:"unlogged_since,omitzero"`
	Refused       int       `json:"refused"`
	// Problems are what the database finds wrong with itself.
	Problems []string `json:"problems,omitempty"`
}

// Health looks at the whole database: with SQLite every page of it is read.
func (s *Store) Health(ctx context.Context) (*Health, error) {
	h := new(Health)
	var err error
	h.Newest = newestSchema()
	if h.Schema, err = version(ctx, s.db); err != nil {
		return nil, err
	}
	if h.Records, err = s.Records(ctx); err != nil {
		return nil, err
	}
	_, h.Erased = s.vault.counts()
	sum, err := s.Outbox().Tally(ctx)
	if err != nil {
		return nil, err
	}
	h.Unlogged, h.UnloggedSince, h.Refused = sum.Waiting+sum.Submitted, sum.Oldest, sum.Refused
	err = s.db.read(ctx, func(t tx) error {
		switch s.db.(type) {
		case *sqliteDB:
			h.Engine = "sqlite"
			if err := t.row(`SELECT sqlite_version()`, nil, &h.Version); err != nil {
				return err
			}
			return t.rows(`PRAGMA quick_check(10)`, nil, func(s scan) error {
				var text string
				if err := s(&text); err != nil {
					return err
				}
				if text != "ok" {
					h.Problems = append(h.Problems, text)
				}
				return nil
			})
		default:
			h.Engine = "postgresql"
			if err := t.row(`SELECT current_setting('server_version')`, nil, &h.Version); err != nil {
				return err
			}
			// What a server must not be told to leave out: an acknowledged record is then
			// lost with the power. Our own sessions ask for synchronous_commit themselves.
			for _, name := range []string{"fsync", "full_page_writes", "synchronous_commit"} {
				var value string
				if err := t.row(`SELECT current_setting($1)`, []any{name}, &value); err != nil {
					return err
				}
				if value == "off" {
					h.Problems = append(h.Problems, name+" is off")
				}
			}
			return nil
		}
	})
	if err != nil {
		return nil, err
	}
	return h, nil
}

// Ready returns why the store cannot answer or cannot write, or nil.
func (s *Store) Ready(ctx context.Context) error {
	var id []byte
	if err := s.db.readRow(ctx, `SELECT id FROM store`, nil, &id); err != nil {
		return err
	}
	return errors.Join(s.db.broken(), s.vault.broken())
}

func (v *vault) broken() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return errors.Join(v.keys.bad, v.erased.bad)
}

// Records returns how many records there are.
func (s *Store) Records(ctx context.Context) (n int64, err error) {
	err = s.db.readRow(ctx, `SELECT count(*) FROM record`, nil, &n)
	return n, err
}

// KeyFile returns the wrapped keys of records as they are now: a file of so many
// bytes. Read it to the end before [Store.ErasedList] is called, whose list then
// names every key that was overwritten meanwhile. That it was copied is on the audit
// log before it is.
func (s *Store) KeyFile(ctx context.Context) (io.Reader, int64, error) {
	if err := s.db.writeAll(ctx, s.auditStore(actionKeys, "")); err != nil {
		return nil, 0, err
	}
	r, size := s.vault.copyOf(&s.vault.keys)
	return r, size, nil
}

// ErasedList returns the erasure list as it is now.
func (s *Store) ErasedList() (io.Reader, int64) { return s.vault.copyOf(&s.vault.erased) }

func (v *vault) copyOf(r *rows) (io.Reader, int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	size := (r.n + 1) * row
	return io.NewSectionReader(r.file, 0, size), size
}

// RestoreKeys puts the key file and the erasure list of a backup into a folder that
// has none. Keys of records that the list names are overwritten on the way. It
// returns how many rows the two files have. The order is that of a backup: the keys
// are written aside until the list has been read.
func RestoreKeys(dir string, keys io.Reader, list func() (io.Reader, error)) (slots, erased int64, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return 0, 0, fmt.Errorf("store: %w", err)
	}
	keyPath, listPath := filepath.Join(dir, keyFile), filepath.Join(dir, erasedFile)
	placed := false // the list
	// The key file comes last: without it there is no store.
	err = keep.Create(keyPath, func(w io.Writer) error {
		f, ok := w.(*os.File)
		if !ok {
			return fmt.Errorf("store: %s: %w", keyFile, ErrDamaged)
		}
		copied, err := copyRows(f, keys, keyMagic)
		if err != nil {
			return err
		}
		entries, err := list()
		if err != nil {
			return err
		}
		var gone []int64
		var listHead []byte
		err = keep.Create(listPath, func(w io.Writer) error {
			var err error
			listHead, erased, err = eachRow(entries, erasedMagic, erasedFile, func(n int64, r []byte) error {
				if !wholeRow(r) {
					return fmt.Errorf("store: %s, entry %d: %w", erasedFile, n, ErrDamaged)
				}
				gone = append(gone, int64(binary.BigEndian.Uint64(r[16:])))
				return nil
			}, w)
			return err
		})
		placed = err == nil
		if err == nil && !bytes.Equal(copied.head[8:24], listHead[8:24]) {
			err = fmt.Errorf("store: %s and %s are of two stores: %w", keyFile, erasedFile, ErrMismatch)
		}
		slots = copied.n
		for _, slot := range gone {
			if err == nil && slot >= 0 && slot < slots {
				_, err = f.WriteAt(zeroRow[:], (slot+1)*row)
				delete(copied.torn, slot)
			}
		}
		for slot := range copied.torn {
			err = errors.Join(err, fmt.Errorf("store: %s, slot %d: %w", keyFile, slot, ErrDamaged))
			break // one says it
		}
		return err
	})
	if err != nil {
		if placed {
			err = errors.Join(err, removeIf(listPath))
		}
		return 0, 0, err
	}
	return slots, erased, nil
}

// RemoveRestored takes away what RestoreKeys has put into a folder, after a restore
// that did not get to its end.
func RemoveRestored(dir string) error {
	return errors.Join(removeIf(filepath.Join(dir, keyFile)), removeIf(filepath.Join(dir, erasedFile)))
}

func removeIf(path string) error {
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}

// copiedRows is what copyRows saw: torn rows may be those that were being
// overwritten, which the erasure list tells.
type copiedRows struct {
	head []byte
	n    int64
	torn map[int64]bool
}

func copyRows(w io.Writer, r io.Reader, magic []byte) (c copiedRows, err error) {
	c.torn = make(map[int64]bool)
	c.head, c.n, err = eachRow(r, magic, keyFile, func(n int64, r []byte) error {
		if !wholeRow(r) && !bytes.Equal(r, zeroRow[:]) {
			if c.torn[n] = true; len(c.torn) > 1024 {
				return fmt.Errorf("store: %s: %w", keyFile, ErrDamaged)
			}
		}
		return nil
	}, w)
	return c, err
}

// eachRow reads a file of rows, calls each for every one behind the header, and
// copies all of it.
func eachRow(r io.Reader, magic []byte, name string, each func(int64, []byte) error, w io.Writer) (head []byte, n int64, err error) {
	buf := make([]byte, 1024*row)
	for first := true; ; first = false {
		got, err := io.ReadFull(r, buf)
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return nil, 0, fmt.Errorf("store: %s: %w", name, err)
		}
		data := buf[:got]
		if got%row != 0 || first && got == 0 {
			return nil, 0, fmt.Errorf("store: %s: it ends too early: %w", name, ErrDamaged)
		}
		if _, err := w.Write(data); err != nil {
			return nil, 0, err
		}
		if first {
			head, data = bytes.Clone(data[:row]), data[row:]
			if !wholeRow(head) || !bytes.HasPrefix(head, magic) {
				return nil, 0, fmt.Errorf("store: %s has no header: %w", name, ErrDamaged)
			}
		}
		for ; len(data) > 0; data = data[row:] {
			if err := each(n, data[:row]); err != nil {
				return nil, 0, err
			}
			n++
		}
		if got < len(buf) {
			return head, n, nil
		}
	}
}

// BackupInfo is what a backup tells without being restored.
type BackupInfo struct {
	Store   string    `json:"store"` // its identifier
	Made    time.Time `json:"made"`
	Schema  int64     `json:"schema"`
	Records int64     `json:"records"`
	Rows    int64     `json:"rows"`
}

// CheckBackup reads a backup to its end, and returns an error where [Restore] would
// find that it is none, that a byte of it was changed or that its end is missing.
func CheckBackup(r io.Reader) (*BackupInfo, error) {
	in := newBackupReader(r)
	head, err := in.header()
	if err != nil {
		return nil, err
	}
	if newest := newestSchema(); head.schema > newest {
		return nil, newerSchema(head.schema, newest)
	}
	info := &BackupInfo{Made: head.made, Schema: head.schema}
	for {
		v, err := in.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		n, ok := v.Index(0).Int()
		if !ok || n < 0 || n >= int64(len(head.tables)) || v.Len() != 1+len(head.tables[n].columns) {
			return nil, fmt.Errorf("store: backup: a row: %w", ErrBackup)
		}
		info.Rows++
		switch table := head.tables[n]; table.name {
		case "record":
			info.Records++
		case "store":
			for i, c := range table.columns {
				if id, ok := v.Index(i + 1).Bytes(); ok && c == "id" {
					info.Store = hex.EncodeToString(id)
				}
			}
		}
	}
	if _, err := in.r.ReadByte(); err != io.EOF {
		if err == nil {
			err = fmt.Errorf("store: backup: something follows its end: %w", ErrChecksum)
		}
		return nil, err
	}
	if info.Store == "" {
		return nil, fmt.Errorf("store: backup: it has no store in it: %w", ErrBackup)
	}
	return info, nil
}
