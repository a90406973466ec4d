package store

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"ampoule/device"
	"ampoule/party/fleet"
)

// Fleet keeps what devices measure. With SQLite it has a file of its own beside the
// records': a clinic that issues waits for no logger, and a backup of records is not one
// of readings. PostgreSQL has it in the same database.
type Fleet struct {
	db engine
	// additions come through one goroutine, so that blocks become visible in the order of
	// their numbers: who reads those after one misses none.
	additions chan *addition
	adder     sync.WaitGroup
	mu        sync.RWMutex // held for reading while something is handed over
	closed    bool
	numbers   sync.Mutex // guards what follows
	last      int64      // number of the last block
	wait      waiting    // the journal: see fleetjournal.go
	folds     int        // how often it was emptied
	spans     map[int64]span
	unfolded  atomic.Bool // there is something in wait
}

var _ fleet.Book = (*Fleet)(nil)

// fleetFile is the name of SQLite's database of readings.
const fleetFile = "readings.db"

//go:embed fleet/*.sql
var fleetMigrations embed.FS

// OpenFleet opens the readings of a store, and makes them where there are none.
func OpenFleet(ctx context.Context, c Config) (_ *Fleet, err error) {
	c.file = fleetFile
	c.hands = 1
	// Each of the readers comes to every part of the registry sooner or later, and eight
	// caches fill up with the same pages over hours. The kernel has them too.
	c.cache = 8192
	f := &Fleet{additions: make(chan *addition, addCalls), spans: make(map[int64]span)}
	if f.db, err = openEngine(ctx, c, true); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = f.db.close()
		}
	}()
	if err := migrateFleet(ctx, f.db); err != nil {
		return nil, err
	}
	if err := f.db.readRow(ctx, `SELECT coalesce(max(n), 0) FROM block`, nil, &f.last); err != nil {
		return nil, err
	}
	if err := f.reopen(ctx); err != nil {
		return nil, err
	}
	f.adder.Go(f.add)
	return f, nil
}

func migrateFleet(ctx context.Context, e engine) error {
	dialect, db := e.goose()
	defer db.Close()
	files, err := fs.Sub(fleetMigrations, "fleet")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(dialect, db, files, goose.WithDisableGlobalRegistry(true), goose.WithTableName("fleet_version"))
	if err != nil {
		return fmt.Errorf("store: migrations of readings: %w", err)
	}
	have, err := p.GetDBVersion(ctx)
	if err != nil {
		return fmt.Errorf("store: migrations of readings: %w", err)
	}
	newest := int64(len(p.ListSources()))
	if have > newest {
		return newerSchema(have, newest)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("store: migrations of readings: %w", err)
	}
	return nil
}

// Close ends it. Additions that were handed over are waited for.
func (f *Fleet) Close() error {
	f.mu.Lock()
	if !f.closed {
		f.closed = true
		close(f.additions)
	}
	f.mu.Unlock()
	f.adder.Wait()
	return errors.Join(f.settle(), f.db.close())
}

// Ready reports whether something can be written.
func (f *Fleet) Ready(ctx context.Context) error {
	if err := f.db.broken(); err != nil {
		return err
	}
	var n int64
	return f.db.readRow(ctx, `SELECT n FROM cursor WHERE id = 1`, nil, &n)
}

// full names the error of a disk that is full.
func full(err error) error {
	var e *sqlite.Error
	if errors.As(err, &e) && e.Code()&0xff == lib.SQLITE_FULL {
		return fmt.Errorf("%w: %w", fleet.ErrFull, err)
	}
	if err != nil && strings.Contains(err.Error(), "53100") { // disk_full of PostgreSQL
		return fmt.Errorf("%w: %w", fleet.ErrFull, err)
	}
	return err
}

// --- The registry ---

// putVersion writes what has a version, or returns ErrChanged.
func putVersion(t tx, insert, update stmt, version int64) error {
	if version == 1 {
		insert.taken = fleet.ErrChanged
		return t.all(insert)
	}
	update.one = fleet.ErrChanged
	return t.all(update)
}

// PutEquipment implements [fleet.Book].
func (f *Fleet) PutEquipment(ctx context.Context, e *fleet.Equipment) error {
	content, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return f.db.write(ctx, func(t tx) error {
		return putVersion(t,
			stmt{sql: `INSERT INTO equipment (id, organisation, facility, name, version, content) VALUES ($1, $2, $3, $4, $5, $6)`,
				args: []any{string(e.ID), e.Place.Organisation, e.Place.Facility, e.Name, e.Version, content}},
			stmt{sql: `UPDATE equipment SET organisation = $1, facility = $2, name = $3, version = $4, content = $5 WHERE id = $6 AND version = $7`,
				args: []any{e.Place.Organisation, e.Place.Facility, e.Name, e.Version, content, string(e.ID), e.Version - 1}},
			e.Version)
	})
}

const equipmentColumns = `id, organisation, facility, version, content`

func scanEquipment(s scan) (e fleet.Equipment, err error) {
	var id string
	var content []byte
	if err := s(&id, &e.Place.Organisation, &e.Place.Facility, &e.Version, &content); err != nil {
		return e, err
	}
	if err := json.Unmarshal(content, &e); err != nil || len(e.Terms) == 0 {
		return e, fmt.Errorf("store: equipment %s: %w", id, errors.Join(err, ErrDamaged))
	}
	e.ID = fleet.ID(id)
	return e, nil
}

// query reads all rows of one state.
func query[T any](ctx context.Context, db engine, text string, args []any, one func(scan) (T, error)) (out []T, err error) {
	err = db.read(ctx, func(t tx) error {
		out = nil
		return t.rows(text, args, func(s scan) error {
			x, err := one(s)
			out = append(out, x)
			return err
		})
	})
	return out, err
}

// first is the only row of a query, or none.
func first[T any](found []T, err, none error) (*T, error) {
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, none
	}
	return &found[0], nil
}

// Equipment implements [fleet.Book].
func (f *Fleet) Equipment(ctx context.Context, id fleet.ID) (*fleet.Equipment, error) {
	found, err := query(ctx, f.db, `SELECT `+equipmentColumns+` FROM equipment WHERE id = $1`, []any{string(id)}, scanEquipment)
	return first(found, err, fleet.ErrNoEquipment)
}

// EquipmentAt implements [fleet.Book].
func (f *Fleet) EquipmentAt(ctx context.Context, at fleet.Place) ([]fleet.Equipment, error) {
	where, args := placed(at)
	return query(ctx, f.db, `SELECT `+equipmentColumns+` FROM equipment`+where+` ORDER BY organisation, facility, name, id`, args, scanEquipment)
}

// placed is the condition that something is at a place.
func placed(at fleet.Place) (where string, args []any) {
	switch {
	case at.Organisation == "":
		return ` WHERE organisation > ''`, nil
	case at.Facility == "":
		return ` WHERE organisation = $1`, []any{at.Organisation}
	}
	return ` WHERE organisation = $1 AND facility = $2`, []any{at.Organisation, at.Facility}
}

// PutDevice implements [fleet.Book].
func (f *Fleet) PutDevice(ctx context.Context, d *fleet.Device) error {
	content, err := json.Marshal(d)
	if err != nil {
		return err
	}
	return full(f.db.write(ctx, func(t tx) error {
		for _, n := range d.Names {
			var other []byte
			err := t.row(`SELECT device FROM device_name WHERE name = $1`, []any{n.String()}, &other)
			if err == nil && string(other) != string(d.ID) {
				return fmt.Errorf("%s: %w", n, fleet.ErrNameTaken)
			}
			if err != nil && !errors.Is(err, errNoRow) {
				return err
			}
		}
		err := putVersion(t,
			stmt{sql: `INSERT INTO device (id, organisation, facility, state, version, claim, content) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
				args: []any{[]byte(d.ID), d.Place.Organisation, d.Place.Facility, string(d.State), d.Version, blob(d.Claim), content}},
			stmt{sql: `UPDATE device SET organisation = $1, facility = $2, state = $3, version = $4, claim = $5, content = $6 WHERE id = $7 AND version = $8`,
				args: []any{d.Place.Organisation, d.Place.Facility, string(d.State), d.Version, blob(d.Claim), content, []byte(d.ID), d.Version - 1}},
			d.Version)
		if err != nil {
			return err
		}
		stmts := []stmt{
			{sql: `DELETE FROM device_name WHERE device = $1`, args: []any{[]byte(d.ID)}},
			{sql: `DELETE FROM device_stay WHERE device = $1`, args: []any{[]byte(d.ID)}},
		}
		seen := make(map[fleet.ID]bool)
		for _, s := range d.Stays {
			if !seen[s.Equipment] {
				seen[s.Equipment] = true
				stmts = append(stmts, stmt{sql: `INSERT INTO device_stay (equipment, device) VALUES ($1, $2)`, args: []any{string(s.Equipment), []byte(d.ID)}})
			}
		}
		for _, n := range d.Names {
			stmts = append(stmts, stmt{sql: `INSERT INTO device_name (name, device) VALUES ($1, $2)`, args: []any{n.String(), []byte(d.ID)}, taken: fleet.ErrNameTaken})
		}
		return t.all(stmts...)
	}))
}

const deviceColumns = `d.id, d.organisation, d.facility, d.state, d.version, d.content`

func scanDevice(s scan) (d fleet.Device, err error) {
	var id, content []byte
	var state string
	if err := s(&id, &d.Place.Organisation, &d.Place.Facility, &state, &d.Version, &content); err != nil {
		return d, err
	}
	if err := json.Unmarshal(content, &d); err != nil || device.ID(id).Check() != nil {
		return d, fmt.Errorf("store: device %x: %w", id, errors.Join(err, ErrDamaged))
	}
	d.ID, d.State = device.ID(id), device.Life(state)
	return d, nil
}

// Device implements [fleet.Book].
func (f *Fleet) Device(ctx context.Context, id device.ID) (*fleet.Device, error) {
	found, err := query(ctx, f.db, `SELECT `+deviceColumns+` FROM device d WHERE id = $1`, []any{[]byte(id)}, scanDevice)
	return first(found, err, fleet.ErrNoDevice)
}

// DeviceNamed implements [fleet.Book].
func (f *Fleet) DeviceNamed(ctx context.Context, n device.Name) (*fleet.Device, error) {
	found, err := query(ctx, f.db, `SELECT `+deviceColumns+` FROM device_name n JOIN device d ON d.id = n.device WHERE n.name = $1`, []any{n.String()}, scanDevice)
	return first(found, err, fleet.ErrNoDevice)
}

// DeviceClaimed implements [fleet.Book].
func (f *Fleet) DeviceClaimed(ctx context.Context, claim []byte) (*fleet.Device, error) {
	found, err := query(ctx, f.db, `SELECT `+deviceColumns+` FROM device d WHERE claim = $1`, []any{claim}, scanDevice)
	return first(found, err, fleet.ErrNoDevice)
}

// DevicesAt implements [fleet.Book].
func (f *Fleet) DevicesAt(ctx context.Context, at fleet.Place, state device.Life, after device.ID, limit int) ([]fleet.Device, error) {
	where, args := placed(at)
	if state != "" {
		args = append(args, string(state))
		where += fmt.Sprintf(` AND state = $%d`, len(args))
	}
	args = append(args, []byte(after), int64(limit))
	return query(ctx, f.db, fmt.Sprintf(`SELECT %s FROM device d%s AND id > $%d ORDER BY id LIMIT $%d`, deviceColumns, where, len(args)-1, len(args)), args, scanDevice)
}

// DevicesIn implements [fleet.Book].
func (f *Fleet) DevicesIn(ctx context.Context, e fleet.ID) ([]fleet.Device, error) {
	return query(ctx, f.db, `SELECT `+deviceColumns+` FROM device_stay s JOIN device d ON d.id = s.device WHERE s.equipment = $1 ORDER BY d.id`, []any{string(e)}, scanDevice)
}

// --- Streams ---

const streamColumns = `s.n, s.device, s.sensor, s.quantity, s.every, s.sealed, s.sealhash, s.own, s.ownhash, s.last, s.value, s.heard, s.opened, s.unsealed`

func scanStream(s scan, more ...any) (x fleet.Stream, err error) {
	var id, sealed, own []byte
	var quantity string
	var sealSeq, ownSeq, value, heard, opened int64
	err = s(append([]any{&x.N, &id, &x.Sensor, &quantity, &x.Interval, &sealSeq, &sealed, &ownSeq, &own, &x.Last.At, &value, &heard, &opened, &x.Open}, more...)...)
	if err != nil {
		return x, err
	}
	x.Device, x.Quantity, x.Last.Value = device.ID(id), device.Quantity(quantity), int32(value)
	x.Sealed.Seq, x.Own.Seq = uint64(sealSeq), uint64(ownSeq)
	if len(sealed) != len(x.Sealed.Hash) || len(own) != len(x.Own.Hash) {
		return x, fmt.Errorf("store: stream %d: %w", x.N, ErrDamaged)
	}
	copy(x.Sealed.Hash[:], sealed)
	copy(x.Own.Hash[:], own)
	if heard != 0 {
		x.Heard = time.UnixMilli(heard).UTC()
	}
	x.Opened = fromUnix(opened)
	return x, nil
}

func oneStream(s scan) (fleet.Stream, error) { return scanStream(s) }

// AddStream implements [fleet.Book].
func (f *Fleet) AddStream(ctx context.Context, all ...*fleet.Stream) error {
	return full(f.db.write(ctx, func(t tx) error {
		for _, s := range all {
			if err := addStream(t, s); err != nil {
				return err
			}
		}
		return nil
	}))
}

func addStream(t tx, s *fleet.Stream) error {
	found := false
	err := t.rows(`SELECT `+streamColumns+` FROM stream s WHERE device = $1 AND sensor = $2 AND quantity = $3`, []any{[]byte(s.Device), s.Sensor, string(s.Quantity)}, func(sc scan) (err error) {
		found = true
		*s, err = scanStream(sc)
		return err
	})
	if found || err != nil {
		return err
	}
	var n int64
	if err := t.row(`SELECT coalesce(max(n), 0) + 1 FROM stream`, nil, &n); err != nil {
		return err
	}
	s.N = n
	var none device.Hash
	return t.all(stmt{
		sql:  `INSERT INTO stream (n, device, sensor, quantity, every, sealed, sealhash, own, ownhash, last, value, heard, opened, unsealed) VALUES ($1, $2, $3, $4, $5, 0, $6, 0, $7, 0, 0, 0, 0, 0)`,
		args: []any{n, []byte(s.Device), s.Sensor, string(s.Quantity), s.Interval, none[:], none[:]},
	})
}

// StreamsOf implements [fleet.Book].
func (f *Fleet) StreamsOf(ctx context.Context, id device.ID) ([]fleet.Stream, error) {
	return query(ctx, f.db, `SELECT `+streamColumns+` FROM stream s WHERE device = $1 ORDER BY n`, []any{[]byte(id)}, oneStream)
}

// Stream implements [fleet.Book].
func (f *Fleet) Stream(ctx context.Context, n int64) (*fleet.Stream, error) {
	found, err := query(ctx, f.db, `SELECT `+streamColumns+` FROM stream s WHERE n = $1`, []any{n}, oneStream)
	return first(found, err, fleet.ErrNoDevice)
}

// pair is a stream with its device.
type pair struct {
	fleet.Stream
	fleet.Device
}

func scanPair(s scan) (p pair, err error) {
	p.Device, err = scanDevice(func(dest ...any) error {
		p.Stream, err = scanStream(s, dest...)
		return err
	})
	return p, err
}

const pairsPage = 1000

// EachStream implements [fleet.Book].
func (f *Fleet) EachStream(ctx context.Context, each func(*fleet.Stream, *fleet.Device) error) error {
	return f.eachPair(ctx, `SELECT `+streamColumns+`, `+deviceColumns+` FROM stream s JOIN device d ON d.id = s.device WHERE s.n > $1 ORDER BY s.n LIMIT $2`, nil, each)
}

// EachStreamIn implements [fleet.Book].
func (f *Fleet) EachStreamIn(ctx context.Context, from, until fleet.ID, each func(*fleet.Stream, *fleet.Device) error) error {
	return f.eachPair(ctx, `SELECT `+streamColumns+`, `+deviceColumns+` FROM stream s JOIN device d ON d.id = s.device
		WHERE s.n > $1 AND s.device IN (SELECT device FROM device_stay WHERE equipment >= $3 AND equipment <= $4) ORDER BY s.n LIMIT $2`, []any{string(from), string(until)}, each)
}

func (f *Fleet) eachPair(ctx context.Context, text string, args []any, each func(*fleet.Stream, *fleet.Device) error) error {
	for after := int64(0); ; {
		page, err := query(ctx, f.db, text, append([]any{after, int64(pairsPage)}, args...), scanPair)
		if err != nil {
			return err
		}
		for i := range page {
			if err := each(&page[i].Stream, &page[i].Device); err != nil {
				return err
			}
		}
		if len(page) < pairsPage {
			return nil
		}
		after = page[len(page)-1].N
	}
}

// --- Readings ---

// addition is one delivery on its way.
type addition struct {
	*fleet.Addition
	repeated bool
	done     chan error
}

// Bounds of what is added in one transaction.
const (
	addCalls = 1024
	addRows  = 8192
)

// Append implements [fleet.Book]. Deliveries that wait at the same time share a
// transaction and its sync. Who has handed one over waits for it: it must know what
// became of it.
func (f *Fleet) Append(ctx context.Context, a *fleet.Addition) (repeated bool, err error) {
	c := &addition{Addition: a, done: make(chan error, 1)}
	f.mu.RLock()
	if f.closed {
		f.mu.RUnlock()
		return false, ErrClosed
	}
	select {
	case f.additions <- c:
		f.mu.RUnlock()
	case <-ctx.Done():
		f.mu.RUnlock()
		return false, ctx.Err()
	}
	err = <-c.done
	return c.repeated, full(err)
}

// add is the adder.
func (f *Fleet) add() {
	fold := time.NewTicker(foldEvery)
	defer fold.Stop()
	for {
		select {
		case first, open := <-f.additions:
			if !open {
				return
			}
			f.addWith(first)
		case <-fold.C:
			_ = f.settle() // who reads or adds next is told why it cannot be
		}
	}
}

// addWith adds a delivery and those that wait behind it.
func (f *Fleet) addWith(first *addition) {
	// Who is about to hand one over does so first: it spares a commit of its own.
	runtime.Gosched()
	group, rows := []*addition{first}, len(first.Blocks)
gather:
	for len(group) < addCalls && rows < addRows {
		select {
		case c, open := <-f.additions:
			if !open {
				break gather
			}
			group, rows = append(group, c), rows+len(c.Blocks)
		default:
			break gather
		}
	}
	err := f.addGroup(group)
	if err != nil && len(group) > 1 {
		for _, c := range group { // so that none suffers for another
			c.done <- f.addGroup([]*addition{c})
		}
		return
	}
	for _, c := range group {
		c.done <- err
	}
}

const blockColumns = `n, stream, origin, seq, first, last, count, low, high, level, received, data`

// addGroup adds deliveries in one transaction.
func (f *Fleet) addGroup(group []*addition) error {
	f.numbers.Lock()
	defer f.numbers.Unlock()
	var a *adding
	err := f.db.write(context.Background(), func(t tx) error {
		digests, err := knownRaw(t, group)
		if err != nil {
			return err
		}
		a = &adding{f: f, t: t, digests: digests, n: f.last, wait: f.wait}
		for _, c := range group {
			if err := a.add(c); err != nil {
				return err
			}
		}
		return a.end()
	})
	if err == nil {
		f.last = a.n
		f.setWaiting(a.wait)
	}
	return err
}

// rawAsked is how many messages are looked for at once.
const rawAsked = 16

var rawQuery = func() string {
	var b strings.Builder
	b.WriteString(`SELECT digest FROM raw WHERE digest IN ($1`)
	for i := range rawAsked - 1 {
		fmt.Fprintf(&b, ", $%d", i+2)
	}
	b.WriteString(")")
	return b.String()
}()

// knownRaw returns which messages of a group are kept already.
func knownRaw(t tx, group []*addition) (map[[32]byte]bool, error) {
	known := make(map[[32]byte]bool)
	var asked []any
	ask := func() error {
		for len(asked) < rawAsked {
			asked = append(asked, asked[0])
		}
		defer func() { asked = asked[:0] }()
		return t.rows(rawQuery, asked, func(s scan) error {
			var digest []byte
			if err := s(&digest); err != nil || len(digest) != sha256.Size {
				return errors.Join(err, ErrDamaged)
			}
			known[[32]byte(digest)] = true
			return nil
		})
	}
	for _, c := range group {
		if !digested(c.Raw) {
			continue
		}
		if asked = append(asked, c.Raw.Digest[:]); len(asked) == rawAsked {
			if err := ask(); err != nil {
				return nil, err
			}
		}
	}
	if len(asked) > 0 {
		return known, ask()
	}
	return known, nil
}

func appendBlock(rows []any, n int64, b *fleet.Block) []any {
	return append(rows, n, b.Stream, int64(b.Origin), int64(b.Seq), b.First, b.Last, int64(b.Count), int64(b.Low), int64(b.High), int64(b.Level), b.Received.UnixMilli(), b.Data)
}

func appendRaw(rows []any, r *fleet.Raw) []any {
	return append(rows, r.Digest[:], r.Media, r.Supplier, unix(r.Until), blob(r.Body))
}

// inserts are statements that insert so many rows at once: of few sizes, so that they stay
// prepared, and none of them large: the driver of SQLite looks for the name of each
// parameter among all of a statement.
type inserts struct {
	width int
	sizes []sized
}

type sized struct {
	rows int
	sql  string
}

var (
	blockInserts = newInserts("block", blockColumns, 12)
	rawInserts   = newInserts("raw", "digest, media, supplier, until, body", 5)
)

func newInserts(table, columns string, width int) (out inserts) {
	out.width = width
	for _, rows := range []int{16, 4, 1} {
		var b strings.Builder
		b.WriteString(`INSERT INTO ` + table + ` (` + columns + `) VALUES `)
		for i := range rows {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString("(")
			for j := range width {
				if j > 0 {
					b.WriteString(", ")
				}
				fmt.Fprintf(&b, "$%d", i*width+j+1)
			}
			b.WriteString(")")
		}
		out.sizes = append(out.sizes, sized{rows, b.String()})
	}
	return out
}

// run inserts rows, whose columns stand one after the other.
func (x *inserts) run(t tx, rows []any) error {
	for _, s := range x.sizes {
		for n := s.rows * x.width; len(rows) >= n; rows = rows[n:] {
			if err := t.all(stmt{sql: s.sql, args: rows[:n]}); err != nil {
				return err
			}
		}
	}
	return nil
}

func scanBlock(s scan) (b fleet.Block, err error) {
	var origin, seq, count, low, high, level, received int64
	if err := s(&b.N, &b.Stream, &origin, &seq, &b.First, &b.Last, &count, &low, &high, &level, &received, &b.Data); err != nil {
		return b, err
	}
	b.Origin, b.Seq, b.Count, b.Low, b.High = fleet.Origin(origin), uint64(seq), int(count), int32(low), int32(high)
	b.Level, b.Received = device.Level(level), time.UnixMilli(received).UTC()
	if b.Origin != fleet.Open {
		b.Hash = sha256.Sum256(b.Data)
	}
	return b, nil
}

// Arrived implements [fleet.Book].
func (f *Fleet) Arrived(ctx context.Context, after int64, limit int) ([]fleet.Block, error) {
	if err := f.settle(); err != nil {
		return nil, err
	}
	return query(ctx, f.db, `SELECT `+blockColumns+` FROM block WHERE n > $1 AND origin <> $2 ORDER BY n LIMIT $3`, []any{after, int64(fleet.Sealed), int64(limit)}, scanBlock)
}

// Cursor implements [fleet.Book].
func (f *Fleet) Cursor(ctx context.Context) (n int64, err error) {
	return n, f.db.readRow(ctx, `SELECT n FROM cursor WHERE id = 1`, nil, &n)
}

// Blocks implements [fleet.Book].
func (f *Fleet) Blocks(ctx context.Context, stream, from, until int64) ([]fleet.Block, error) {
	for {
		waits, folds := f.waitingOf(stream, from, until)
		all, err := query(ctx, f.db, `SELECT `+blockColumns+` FROM block WHERE stream = $1 AND last >= $2 AND first <= $3 ORDER BY CASE origin WHEN 0 THEN 1 ELSE 0 END, n`, []any{stream, from, until}, scanBlock)
		if err != nil {
			return nil, err
		}
		if len(waits) > 0 && f.foldedSince(folds) {
			continue // what waited may be in both
		}
		return append(all, waits...), nil
	}
}

// Segments implements [fleet.Book].
func (f *Fleet) Segments(ctx context.Context, stream int64, o fleet.Origin, from uint64, limit int) ([]fleet.Block, error) {
	return query(ctx, f.db, `SELECT `+blockColumns+` FROM block WHERE stream = $1 AND origin = $2 AND origin > 0 AND seq >= $3 ORDER BY seq, n LIMIT $4`, []any{stream, int64(o), int64(from), int64(limit)}, scanBlock)
}

// Unsealed implements [fleet.Book].
func (f *Fleet) Unsealed(ctx context.Context, least int64, before time.Time, limit int) ([]fleet.Stream, error) {
	return query(ctx, f.db, `SELECT `+streamColumns+` FROM stream s WHERE unsealed >= $1 OR unsealed > 0 AND opened < $2 ORDER BY n LIMIT $3`, []any{least, unix(before), int64(limit)}, oneStream)
}

// OpenBlocks implements [fleet.Book].
func (f *Fleet) OpenBlocks(ctx context.Context, stream, until int64) ([]fleet.Block, error) {
	return query(ctx, f.db, `SELECT `+blockColumns+` FROM block WHERE stream = $1 AND n <= $2 AND origin = 0 ORDER BY n LIMIT 16384`, []any{stream, until}, scanBlock)
}

// Seal implements [fleet.Book].
func (f *Fleet) Seal(ctx context.Context, all []fleet.Sealing) error {
	f.numbers.Lock()
	defer f.numbers.Unlock()
	n := f.last
	err := f.db.write(ctx, func(t tx) error {
		n = f.last
		var rows []any
		var more []stmt
		for i := range all {
			for j := range all[i].Sealed {
				n++
				rows = appendBlock(rows, n, &all[i].Sealed[j])
			}
			for _, old := range all[i].Replaced {
				more = append(more, stmt{sql: `DELETE FROM block WHERE n = $1`, args: []any{old}})
			}
			s := &all[i].Stream
			more = append(more, stmt{sql: `UPDATE stream SET sealed = $1, sealhash = $2, unsealed = $3, opened = $4 WHERE n = $5`,
				args: []any{int64(s.Sealed.Seq), s.Sealed.Hash[:], s.Open, unix(s.Opened), s.N}})
		}
		if err := blockInserts.run(t, rows); err != nil {
			return err
		}
		return t.all(more...)
	})
	if err == nil {
		f.last = n
	}
	return full(err)
}

// Evaluated implements [fleet.Book].
func (f *Fleet) Evaluated(ctx context.Context, e *fleet.Evaluation) error {
	stmts := []stmt{{sql: `UPDATE cursor SET n = $1 WHERE id = 1`, args: []any{e.Cursor}}}
	for i := range e.Streams {
		s := &e.Streams[i]
		heard := int64(0)
		if !s.Heard.IsZero() {
			heard = s.Heard.UnixMilli()
		}
		stmts = append(stmts, stmt{sql: `UPDATE stream SET last = $1, value = $2, heard = $3, unsealed = $4, opened = $5, every = $6 WHERE n = $7`,
			args: []any{s.Last.At, int64(s.Last.Value), heard, s.Open, unix(s.Opened), s.Interval, s.N}})
	}
	for i := range e.Alarms {
		a := &e.Alarms[i]
		content, err := json.Marshal(a)
		if err != nil {
			return err
		}
		until := a.Episode.Until
		if a.State == fleet.Standing {
			until = math.MaxInt64
		}
		args := []any{string(a.ID), a.Place.Organisation, a.Place.Facility, a.Version, string(a.State), a.Stream, string(a.Equipment), a.Episode.Since, until, content}
		stmts = append(stmts,
			stmt{sql: `INSERT INTO alarm (id, organisation, facility, version, state, stream, equipment, since, until, content) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
				ON CONFLICT (id) DO UPDATE SET version = excluded.version, state = excluded.state, since = excluded.since, until = excluded.until, content = excluded.content`, args: args},
			stmt{sql: `INSERT INTO alarm_version (alarm, version, statement) VALUES ($1, $2, $3)`, args: []any{string(a.ID), a.Version, a.Statement}, taken: fleet.ErrChanged})
	}
	for i := range e.Notices {
		stmts = append(stmts, noticeStmt(&e.Notices[i]))
	}
	return full(f.db.write(ctx, func(t tx) error { return t.all(stmts...) }))
}

// --- Alarms ---

const alarmColumns = `a.id, a.organisation, a.facility, a.version, a.state, a.stream, a.content, v.statement`
const alarmTables = ` FROM alarm a JOIN alarm_version v ON v.alarm = a.id AND v.version = a.version`

func scanAlarm(s scan) (a fleet.Alarm, err error) {
	var id, state string
	var content []byte
	var place fleet.Place
	var version, stream int64
	if err := s(&id, &place.Organisation, &place.Facility, &version, &state, &stream, &content, &a.Statement); err != nil {
		return a, err
	}
	if err := json.Unmarshal(content, &a); err != nil {
		return a, fmt.Errorf("store: alarm %s: %w", id, errors.Join(err, ErrDamaged))
	}
	a.ID, a.Place, a.Version, a.State, a.Stream = fleet.ID(id), place, version, fleet.State(state), stream
	return a, nil
}

// Alarms implements [fleet.Book].
func (f *Fleet) Alarms(ctx context.Context, at fleet.Place, s fleet.State, before fleet.ID, limit int) ([]fleet.Alarm, error) {
	where, args := placed(at)
	where = strings.NewReplacer("organisation", "a.organisation", "facility", "a.facility").Replace(where)
	if s != "" {
		args = append(args, string(s))
		where += fmt.Sprintf(` AND a.state = $%d`, len(args))
	}
	if before != "" {
		args = append(args, string(before))
		where += fmt.Sprintf(` AND a.id < $%d`, len(args))
	}
	args = append(args, int64(limit))
	return query(ctx, f.db, `SELECT `+alarmColumns+alarmTables+where+fmt.Sprintf(` ORDER BY a.id DESC LIMIT $%d`, len(args)), args, scanAlarm)
}

// AlarmsOf implements [fleet.Book].
func (f *Fleet) AlarmsOf(ctx context.Context, stream, since int64) ([]fleet.Alarm, error) {
	return query(ctx, f.db, `SELECT `+alarmColumns+alarmTables+` WHERE a.stream = $1 AND a.since >= $2 ORDER BY a.since, a.id`, []any{stream, since}, scanAlarm)
}

// AlarmsIn implements [fleet.Book].
func (f *Fleet) AlarmsIn(ctx context.Context, e fleet.ID, from, until int64) ([]fleet.Alarm, error) {
	return query(ctx, f.db, `SELECT `+alarmColumns+alarmTables+` WHERE a.equipment = $1 AND a.until >= $2 AND a.since <= $3 ORDER BY a.since, a.id`, []any{string(e), from, until}, scanAlarm)
}

// Alarm implements [fleet.Book].
func (f *Fleet) Alarm(ctx context.Context, id fleet.ID) (*fleet.Alarm, error) {
	found, err := query(ctx, f.db, `SELECT `+alarmColumns+alarmTables+` WHERE a.id = $1`, []any{string(id)}, scanAlarm)
	return first(found, err, fleet.ErrNoAlarm)
}

// Versions implements [fleet.Book].
func (f *Fleet) Versions(ctx context.Context, id fleet.ID) ([][]byte, error) {
	return query(ctx, f.db, `SELECT statement FROM alarm_version WHERE alarm = $1 ORDER BY version`, []any{string(id)}, func(s scan) (b []byte, err error) { return b, s(&b) })
}

// --- Telling ---

// PutTarget implements [fleet.Book].
func (f *Fleet) PutTarget(ctx context.Context, t *fleet.Target) error {
	content, err := json.Marshal(t)
	if err != nil {
		return err
	}
	return f.db.writeAll(ctx, stmt{
		sql: `INSERT INTO target (id, organisation, facility, content) VALUES ($1, $2, $3, $4)
			ON CONFLICT (id) DO UPDATE SET organisation = excluded.organisation, facility = excluded.facility, content = excluded.content`,
		args: []any{string(t.ID), t.Place.Organisation, t.Place.Facility, content},
	})
}

// DeleteTarget implements [fleet.Book].
func (f *Fleet) DeleteTarget(ctx context.Context, id fleet.ID) error {
	return f.db.writeAll(ctx, stmt{sql: `DELETE FROM target WHERE id = $1`, args: []any{string(id)}})
}

// Targets implements [fleet.Book].
func (f *Fleet) Targets(ctx context.Context) ([]fleet.Target, error) {
	return query(ctx, f.db, `SELECT id, organisation, facility, content FROM target ORDER BY id`, nil, func(s scan) (t fleet.Target, err error) {
		var id string
		var content []byte
		if err := s(&id, &t.Place.Organisation, &t.Place.Facility, &content); err != nil {
			return t, err
		}
		place := t.Place
		if err := json.Unmarshal(content, &t); err != nil {
			return t, fmt.Errorf("store: target %s: %w", id, errors.Join(err, ErrDamaged))
		}
		t.ID, t.Place = fleet.ID(id), place
		return t, nil
	})
}

// over is when a notice is due that is sent or given up.
const over = math.MaxInt64

func noticeStmt(n *fleet.Notice) stmt {
	due, sent, given := n.Due.UnixMilli(), int64(0), int64(0)
	if !n.Sent.IsZero() {
		sent = n.Sent.UnixMilli()
	}
	if n.Given {
		given = 1
	}
	if sent != 0 || n.Given {
		due = over
	}
	return stmt{
		sql: `INSERT INTO notice (id, alarm, version, target, kind, due, attempts, sent, given, problem) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
			ON CONFLICT (id) DO UPDATE SET due = excluded.due, attempts = excluded.attempts, sent = excluded.sent, given = excluded.given, problem = excluded.problem`,
		args: []any{string(n.ID), string(n.Alarm), n.Version, string(n.Target), n.Kind, due, int64(n.Attempts), sent, given, n.Problem},
	}
}

// PutNotice implements [fleet.Book].
func (f *Fleet) PutNotice(ctx context.Context, n *fleet.Notice) error {
	return f.db.writeAll(ctx, noticeStmt(n))
}

// Due implements [fleet.Book].
func (f *Fleet) Due(ctx context.Context, now time.Time, limit int) ([]fleet.Notice, error) {
	return query(ctx, f.db, `SELECT id, alarm, version, target, kind, due, attempts, problem FROM notice WHERE due <= $1 ORDER BY due, id LIMIT $2`, []any{now.UnixMilli(), int64(limit)}, func(s scan) (n fleet.Notice, err error) {
		var id, alarm, target string
		var due, attempts int64
		err = s(&id, &alarm, &n.Version, &target, &n.Kind, &due, &attempts, &n.Problem)
		n.ID, n.Alarm, n.Target, n.Due, n.Attempts = fleet.ID(id), fleet.ID(alarm), fleet.ID(target), time.UnixMilli(due).UTC(), int(attempts)
		return n, err
	})
}

// Forget implements [fleet.Book].
func (f *Fleet) Forget(ctx context.Context, now time.Time, before int64) (raws, segments int64, err error) {
	err = f.db.write(ctx, func(t tx) error {
		for _, d := range []struct {
			n     *int64
			table string
			where string
			at    int64
		}{{&raws, "raw", "until", unix(now)}, {&segments, "block", "origin > 0 AND last", before}} {
			if d.at == 0 {
				continue
			}
			if err := t.row(`SELECT count(*) FROM `+d.table+` WHERE `+d.where+` < $1`, []any{d.at}, d.n); err != nil {
				return err
			}
			if err := t.all(stmt{sql: `DELETE FROM ` + d.table + ` WHERE ` + d.where + ` < $1`, args: []any{d.at}}); err != nil {
				return err
			}
		}
		return nil
	})
	return raws, segments, err
}

// --- Windows ---

// Windows implements [fleet.Book].
func (f *Fleet) Windows(ctx context.Context, after int64, limit int) ([]fleet.Window, error) {
	where, args := ` WHERE n > $1 ORDER BY n LIMIT $2`, []any{after, int64(limit)}
	if after < 0 {
		where, args = ` ORDER BY n DESC LIMIT 1`, nil
	}
	return query(ctx, f.db, `SELECT n, since, until, after, last, root, readings, segments, gap FROM anchored`+where, args, func(s scan) (w fleet.Window, err error) {
		var since, until, gap int64
		var root []byte
		if err := s(&w.N, &since, &until, &w.After, &w.Last, &root, &w.Readings, &w.Segments, &gap); err != nil {
			return w, err
		}
		if len(root) != len(w.Root) {
			return w, fmt.Errorf("store: window %d: %w", w.N, ErrDamaged)
		}
		copy(w.Root[:], root)
		w.Since, w.Until, w.Gap = fromUnix(since), fromUnix(until), gap != 0
		return w, nil
	})
}

// PutWindow implements [fleet.Book].
func (f *Fleet) PutWindow(ctx context.Context, w *fleet.Window) error {
	gap := int64(0)
	if w.Gap {
		gap = 1
	}
	return full(f.db.write(ctx, func(t tx) error {
		return t.all(stmt{
			sql:   `INSERT INTO anchored (n, since, until, after, last, root, readings, segments, gap) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
			args:  []any{w.N, unix(w.Since), unix(w.Until), w.After, w.Last, w.Root[:], w.Readings, w.Segments, gap},
			taken: fleet.ErrChanged,
		})
	}))
}

// Leaves implements [fleet.Book].
func (f *Fleet) Leaves(ctx context.Context, after, until int64, limit int) (hashes []device.Hash, readings, last int64, err error) {
	err = f.db.read(ctx, func(t tx) error {
		hashes, readings, last = nil, 0, after
		return t.rows(`SELECT n, data, count FROM block WHERE n > $1 AND n <= $2 AND origin > 0 ORDER BY n LIMIT $3`, []any{after, until, int64(limit)}, func(s scan) error {
			var data []byte
			var count int64
			if err := s(&last, &data, &count); err != nil {
				return err
			}
			hashes, readings = append(hashes, sha256.Sum256(data)), readings+count
			return nil
		})
	})
	return hashes, readings, last, err
}
