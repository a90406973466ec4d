package store

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ampoule/format"
	"ampoule/format/cbor"
)

// A backup is one file, the same from either database and for either:
//
//	backup = { length (4, big endian) ‖ item } ‖ zero (4) ‖ SHA-256 of all before
//	item   = header, then rows, in deterministic CBOR
//	header = ["ampoule-backup", 1, schema, made (seconds), [+ [table, [+ column]]]]
//	row    = [index of its table, + (bstr / tstr / int / null)]
//
// It has the database of one moment. The key file and the erasure list are not in
// it, on purpose: without the first it tells nothing, and with the second a
// restored store would not know what was erased since.
const (
	backupKind    = "ampoule-backup"
	backupVersion = 1
	maxItem       = 1 << 20 // bytes
)

// The defects of a backup, besides those of a store.
const (
	ErrBackup   format.Defect = "not-a-backup"
	ErrChecksum format.Defect = "backup-checksum" // a byte was changed, or the end is missing
)

// counterJump is how far the counters of the status lists go forward when a
// backup is restored: more changes than come between a backup and its need.
const counterJump = 1 << 24

// table is what a backup has of one.
type table struct {
	name    string
	columns []string
}

// backedUp are the tables, those first that others refer to.
var backedUp = []table{
	{"store", []string{"id", "erased", "base"}},
	{"record", []string{"id", "slot", "version", "state", "reason", "issued", "changed", "corrects", "correction", "asked", "request", "terms", "content", "organisation", "facility"}},
	{"artefact", []string{"record", "n", "format", "kid", "scheme", "mark", "expires", "current", "content", "batch"}},
	{"term", []string{"mac", "record"}},
	{"list", []string{"scheme", "kid", "counter"}},
	{"revoked", []string{"scheme", "kid", "mark", "change", "expires", "record"}},
	{"audit", []string{"id", "at", "actor", "action", "record", "reason", "subject", "organisation", "seal", "mac"}},
	{"seal", []string{"n", "at", "adopted", "lines", "total", "first", "last", "digest", "prev", "mac"}},
	{"account", []string{"id", "organisation", "login", "grants", "disabled", "created", "version", "content"}},
	{"credential", []string{"id", "account", "kind", "handle", "created", "used", "content"}},
	{"invitation", []string{"hash", "account", "ends"}},
	{"session", []string{"id", "hash", "account", "kind", "created", "seen", "ends"}},
	{"token", []string{"id", "hash", "account", "scopes", "facility", "created", "ends", "used", "content"}},
	{"setting", []string{"name", "value"}},
	{"gateway_item", []string{"id", "number", "kind", "name", "country", "grp", "domain", "kid", "claim", "signer", "created", "changed", "expires", "deleted", "about", "content", "signed"}},
	{"gateway_clock", []string{"id", "changed", "number"}},
	{"gateway_applied", []string{"digest", "changed"}},
	{"leaf", []string{"hash", "at"}},
	{"batch", []string{"n", "closed", "root", "leaves"}},
	{"outbox", []string{"n", "key", "kind", "about", "size", "digest", "until", "put", "stage", "message", "reason", "retry", "leaf", "proof", "cosigned", "receipt", "device", "since", "gap"}},
	{"location", []string{"uri", "organisation", "facility", "version", "content"}},
	{"event", []string{"n", "id", "declared", "hash", "at", "recorded", "organisation", "captured", "content", "prefixes"}},
	{"move", []string{"event", "k", "thing", "lot", "other", "place", "deed", "at", "amount", "papers", "unit"}},
	{"event_key", []string{"kind", "value", "event"}},
	{"capture_job", []string{"id", "organisation", "captured", "content"}},
	{"event_query", []string{"organisation", "name", "facility", "account", "created", "content"}},
	{"subscription", []string{"id", "organisation", "query", "facility", "account", "position", "due", "scheduled", "content"}},
	{"stock_session", []string{"id", "organisation", "facility", "version", "lot", "opened", "discard", "ended", "doses", "given", "wasted", "content"}},
	{"dose", []string{"record", "lot", "products", "day", "organisation", "facility", "session"}},
	{"lot_number", []string{"number", "lot"}},
	{"concern", []string{"id", "version", "stands", "lot", "content"}},
	{"lot_statement", []string{"id", "at", "message"}},
	{"adverse", []string{"id", "version", "record", "counted", "content"}},
	{"handover", []string{"id", "n", "version", "giver", "giver_facility", "receiver", "receiver_facility", "at", "content"}},
}

// Backup writes the database of one moment, while others go on. It returns the
// number of records.
func (s *Store) Backup(ctx context.Context, w io.Writer) (records int, err error) {
	schema, err := migrate(ctx, s.db, latest)
	if err != nil {
		return 0, err
	}
	// So that the backup has seals over nearly all of its lines.
	if err := s.seal(ctx, false); err != nil {
		return 0, err
	}
	out := &backupWriter{w: bufio.NewWriterSize(w, 1<<16), sum: sha256.New()}
	head := cbor.AppendArray(nil, 5)
	head = cbor.AppendText(head, backupKind)
	head = cbor.AppendInt(head, backupVersion)
	head = cbor.AppendInt(head, schema)
	head = cbor.AppendInt(head, time.Now().Unix())
	head = cbor.AppendArray(head, len(backedUp))
	for _, t := range backedUp {
		head = cbor.AppendText(cbor.AppendArray(head, 2), t.name)
		head = cbor.AppendArray(head, len(t.columns))
		for _, c := range t.columns {
			head = cbor.AppendText(head, c)
		}
	}
	if err := out.item(head); err != nil {
		return 0, err
	}
	err = s.db.read(ctx, func(t tx) error {
		for n, table := range backedUp {
			values := make([]any, len(table.columns))
			dest := make([]any, len(values))
			for i := range values {
				dest[i] = &values[i]
			}
			err := t.rows(`SELECT `+strings.Join(table.columns, ", ")+` FROM `+table.name, nil, func(s scan) error {
				if err := s(dest...); err != nil {
					return err
				}
				if table.name == "record" {
					records++
				}
				return out.row(n, values)
			})
			if err != nil {
				return fmt.Errorf("store: backup of %s: %w", table.name, err)
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	if err := out.end(); err != nil {
		return 0, err
	}
	return records, s.db.writeAll(ctx, s.auditStore(actionBackup, fmt.Sprintf("records-%d", records)))
}

type backupWriter struct {
	w   *bufio.Writer
	sum hash.Hash
	buf []byte
}

func (b *backupWriter) write(data []byte) error {
	b.sum.Write(data)
	_, err := b.w.Write(data)
	return err
}

func (b *backupWriter) item(data []byte) error {
	if len(data) > maxItem {
		return fmt.Errorf("a row of %d bytes: %w", len(data), format.TooLong)
	}
	return errors.Join(b.write(binary.BigEndian.AppendUint32(nil, uint32(len(data)))), b.write(data))
}

func (b *backupWriter) row(table int, values []any) error {
	b.buf = cbor.AppendInt(cbor.AppendArray(b.buf[:0], 1+len(values)), int64(table))
	for _, v := range values {
		switch v := v.(type) {
		case nil:
			b.buf = cbor.AppendNull(b.buf)
		case int64:
			b.buf = cbor.AppendInt(b.buf, v)
		case string:
			b.buf = cbor.AppendText(b.buf, v)
		case []byte:
			b.buf = cbor.AppendBytes(b.buf, v)
		default:
			return fmt.Errorf("a column of %T: %w", v, format.BadType)
		}
	}
	return b.item(b.buf)
}

func (b *backupWriter) end() error {
	if err := b.write(make([]byte, 4)); err != nil {
		return err
	}
	_, err := b.w.Write(b.sum.Sum(nil))
	return errors.Join(err, b.w.Flush())
}

// Restore makes the database of a store from a backup. The folder has the key file
// and the erasure list already, brought there apart; the database is not there,
// or empty. All of it comes or nothing, and what was erased since the backup was
// made goes before anybody can read it. Who was logged in or invited then is not
// now. The audit log goes on from the backup's, with a line that says so. It
// returns the number of records.
func Restore(ctx context.Context, c Config, r io.Reader) (records int, err error) {
	v, err := openVault(c.Dir, c.Master)
	if err != nil {
		return 0, err
	}
	defer v.close()
	in := newBackupReader(r)
	head, err := in.header()
	if err != nil {
		return 0, err
	}
	db, err := openEngine(ctx, c, true)
	if err != nil {
		return 0, err
	}
	defer db.close()
	// Into the schema that it was made of, and from there to today's.
	version, err := migrate(ctx, db, head.schema)
	if err != nil {
		return 0, err
	}
	if version != head.schema {
		return 0, fmt.Errorf("store: the database has schema %d already, and the backup is of %d: %w; restore into an empty one", version, head.schema, ErrExists)
	}
	s := &Store{db: db, vault: v}
	err = db.write(ctx, func(t tx) error {
		var there int64
		if err := t.row(`SELECT (SELECT count(*) FROM store) + (SELECT count(*) FROM record)`, nil, &there); err != nil {
			return err
		}
		if there > 0 {
			return fmt.Errorf("store: there is a store in the database: %w; restore into an empty one", ErrExists)
		}
		if err := in.rows(t, head.tables); err != nil {
			return err
		}
		if _, err := s.fits(t); err != nil {
			return err
		}
		// The lists that were published since are not known here. None that follows
		// may seem older than they are.
		err := t.all(
			stmt{sql: `UPDATE store SET base = base + $1`, args: []any{int64(counterJump)}},
			stmt{sql: `UPDATE list SET counter = counter + $1`, args: []any{int64(counterJump)}})
		if err != nil {
			return err
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	if _, err = migrate(ctx, db, latest); err != nil {
		return 0, err
	}
	return s.restored(ctx)
}

// restored finishes a restoration, in the newest schema.
func (s *Store) restored(ctx context.Context) (records int, err error) {
	had, err := s.vault.readHead()
	if err != nil && !errors.Is(err, ErrDamaged) {
		return 0, err
	}
	var newest seal
	err = s.db.write(ctx, func(t tx) (err error) {
		// Until here it is as after a crash: opening it would do the same.
		if err := s.reconcile(t); err != nil {
			return err
		}
		if newest, err = lastSeal(t); err != nil {
			return err
		}
		from := fmt.Sprintf("seal-%d", newest.n)
		if had != nil {
			from += fmt.Sprintf(":had-%d", had.N)
		}
		err = t.all(
			stmt{sql: `DELETE FROM session`},
			stmt{sql: `DELETE FROM invitation`},
			s.auditStore(actionRestore, from))
		if err != nil {
			return err
		}
		var n int64
		err = t.row(`SELECT count(*) FROM record`, nil, &n)
		records = int(n)
		return err
	})
	if err != nil {
		return records, err
	}
	if newest.n == 0 {
		// Of a store from before there were seals: opening it makes the first.
		if err := os.Remove(filepath.Join(s.vault.dir, headFile)); !errors.Is(err, fs.ErrNotExist) {
			return records, err
		}
		return records, nil
	}
	_, err = s.vault.writeHead(&newest)
	return records, err
}

type backupReader struct {
	r   *bufio.Reader
	sum hash.Hash
	buf []byte
}

func newBackupReader(r io.Reader) *backupReader {
	return &backupReader{r: bufio.NewReaderSize(r, 1<<16), sum: sha256.New()}
}

var itemLimits = cbor.Limits{Depth: 4, Items: 4096, Pairs: 1}

// next returns an item, or io.EOF after the last one if the checksum is right.
func (b *backupReader) next() (cbor.Value, error) {
	var length [4]byte
	if _, err := io.ReadFull(b.r, length[:]); err != nil {
		return cbor.Value{}, cutOff(err)
	}
	b.sum.Write(length[:])
	n := binary.BigEndian.Uint32(length[:])
	switch {
	case n == 0:
		var sum [sha256.Size]byte
		if _, err := io.ReadFull(b.r, sum[:]); err != nil {
			return cbor.Value{}, cutOff(err)
		}
		if string(b.sum.Sum(nil)) != string(sum[:]) {
			return cbor.Value{}, fmt.Errorf("store: %w", ErrChecksum)
		}
		return cbor.Value{}, io.EOF
	case n > maxItem:
		return cbor.Value{}, fmt.Errorf("store: backup: an item of %d bytes: %w", n, ErrBackup)
	}
	b.buf = slices.Grow(b.buf[:0], int(n))[:n]
	if _, err := io.ReadFull(b.r, b.buf); err != nil {
		return cbor.Value{}, cutOff(err)
	}
	b.sum.Write(b.buf)
	v, err := cbor.Parse(b.buf, itemLimits)
	if err != nil {
		return cbor.Value{}, fmt.Errorf("store: backup: %w: %w", ErrBackup, err)
	}
	return v, nil
}

// cutOff tells the end of a file from other errors of reading it.
func cutOff(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("store: backup: it ends too early: %w", ErrChecksum)
	}
	return fmt.Errorf("store: backup: %w", err)
}

// backupHead is the first item of a backup.
type backupHead struct {
	schema int64
	made   time.Time
	tables []table
}

func (b *backupReader) header() (h backupHead, err error) {
	v, err := b.next()
	if err == io.EOF {
		err = fmt.Errorf("store: %w", ErrBackup)
	}
	if err != nil {
		return h, err
	}
	kind, _ := v.Index(0).Text()
	version, _ := v.Index(1).Int()
	if kind != backupKind || version != backupVersion {
		return h, fmt.Errorf("store: it is no backup of version %d: %w", backupVersion, ErrBackup)
	}
	var ok bool
	if h.schema, ok = v.Index(2).Int(); !ok || h.schema < 1 {
		return h, fmt.Errorf("store: backup: its schema: %w", ErrBackup)
	}
	if made, ok := v.Index(3).Int(); ok {
		h.made = fromUnix(made)
	}
	for i := range v.Index(4).Len() {
		var t table
		t.name, ok = v.Index(4).Index(i).Index(0).Text()
		columns := v.Index(4).Index(i).Index(1)
		for j := range columns.Len() {
			name, _ := columns.Index(j).Text()
			ok = ok && isName(name)
			t.columns = append(t.columns, name)
		}
		known := slices.ContainsFunc(backedUp, func(b table) bool { return b.name == t.name })
		if !ok || !known || len(t.columns) == 0 {
			return h, fmt.Errorf("store: backup: its tables: %w", ErrBackup)
		}
		h.tables = append(h.tables, t)
	}
	return h, nil
}

// isName keeps everything out of a statement but names: the checksum is no
// signature.
func isName(s string) bool { return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz_") == "" }

// rows inserts all rows, and reads to the end.
func (b *backupReader) rows(t tx, tables []table) error {
	inserts := make([]string, len(tables))
	for i, table := range tables {
		inserts[i] = `INSERT INTO ` + table.name + ` (` + strings.Join(table.columns, ", ") + `) VALUES (` + places(1, len(table.columns)) + `)`
	}
	var group []stmt
	for {
		v, err := b.next()
		if err == io.EOF {
			return t.all(group...)
		}
		if err != nil {
			return err
		}
		n, ok := v.Index(0).Int()
		if !ok || n < 0 || n >= int64(len(tables)) || v.Len() != 1+len(tables[n].columns) {
			return fmt.Errorf("store: backup: a row: %w", ErrBackup)
		}
		args := make([]any, v.Len()-1)
		for i := range args {
			if args[i], err = value(v.Index(i + 1)); err != nil {
				return err
			}
		}
		if group = append(group, stmt{sql: inserts[n], args: args}); len(group) == 500 {
			if err := t.all(group...); err != nil {
				return err
			}
			group = group[:0]
		}
	}
}

// value returns a column. It keeps nothing of the reader's buffer.
func value(v cbor.Value) (any, error) {
	if v.IsNull() {
		return nil, nil
	}
	if n, ok := v.Int(); ok {
		return n, nil
	}
	if s, ok := v.Text(); ok {
		return strings.Clone(s), nil
	}
	if b, ok := v.Bytes(); ok {
		return slices.Clone(b), nil
	}
	return nil, fmt.Errorf("store: backup: a column: %w", ErrBackup)
}
