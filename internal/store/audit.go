package store

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"ampoule/format/cbor"
	"ampoule/internal/access"
	"ampoule/internal/keep"
	"ampoule/party/issuer"
)

// The audit log is append-only, and shows where it was touched. A line is written
// in the transaction of what it tells of, with an HMAC of its own, so that nobody
// without the master key adds or changes one. Once a second the sealer takes the
// lines that no seal covers yet and marks them with the number of a new one:
//
//	line   = ["ampoule-audit", 1, id, at, actor, action, record / null, reason, subject, organisation]
//	digest = SHA-256 over { line ‖ HMAC of the line } by identifier
//	seal   = ["ampoule-seal", 1, store, n, at, adopted, lines, total, first, last, digest, prev]
//	hash   = SHA-256 of the seal; the next one's prev
//
// in deterministic CBOR, times in seconds. A line belongs to the seal that it is
// marked with and not to a range: PostgreSQL commits out of order, and one that
// becomes visible late waits for a later seal instead of slipping in behind one.
//
// The newest seal also stands in a file beside the key file, so that a database
// whose last seals were cut off does not agree with it. That is noticed when the
// store is opened and at every seal, and recorded as a line: it stops nobody, and
// is never forgotten.
const (
	headFile = "audit.head"
	// sealMost bounds the lines of one seal, and sealsAtOnce the seals of one
	// transaction, during which SQLite writes nothing else.
	sealMost    = 1000
	sealsAtOnce = 16
	sealEvery   = time.Second
)

// The store's own lines, which are of no organisation.
const (
	storeActor    = "store"
	actionBackup  = "backup"
	actionKeys    = "backup-keys"
	actionRestore = "restore"
	actionBroken  = "audit-broken" // the database does not agree with the head
)

// auditLine is a line of the audit log as it is kept.
type auditLine struct {
	id           issuer.ID
	at           int64
	by, action   string
	record       issuer.ID
	reason       string
	subject      string
	organisation string
	seal         int64
	mac          []byte
}

const auditColumns = `id, at, actor, action, record, reason, subject, organisation, seal, mac`

// encode appends the line in its canonical form, without seal and HMAC.
func (l *auditLine) encode(b []byte) []byte {
	b = cbor.AppendArray(b, 10)
	b = cbor.AppendText(b, "ampoule-audit")
	b = cbor.AppendInt(b, 1)
	b = cbor.AppendBytes(b, l.id[:])
	b = cbor.AppendInt(b, l.at)
	b = cbor.AppendText(b, l.by)
	b = cbor.AppendText(b, l.action)
	if l.record == (issuer.ID{}) {
		b = cbor.AppendNull(b)
	} else {
		b = cbor.AppendBytes(b, l.record[:])
	}
	b = cbor.AppendText(b, l.reason)
	b = cbor.AppendText(b, l.subject)
	return cbor.AppendText(b, l.organisation)
}

func scanLine(s scan) (l auditLine, err error) {
	var id, record []byte
	err = s(&id, &l.at, &l.by, &l.action, &record, &l.reason, &l.subject, &l.organisation, &l.seal, &l.mac)
	copy(l.id[:], id)
	copy(l.record[:], record)
	return l, err
}

// audit is the statement that records a line of the issuer.
func (s *Store) audit(l issuer.Line) stmt {
	return s.line(auditLine{at: unix(l.At), by: l.By, action: string(l.Action), record: l.Record, reason: string(l.Reason), organisation: l.Place.Organisation})
}

// auditAccess is the statement that records a line about people.
func (s *Store) auditAccess(l access.Line) stmt {
	return s.line(auditLine{
		at: unix(l.At), by: l.By, action: string(l.Event), reason: l.Reason, subject: l.Subject, organisation: l.Organisation,
	})
}

// auditStore is the statement that records a line of the store's own.
func (s *Store) auditStore(action, subject string) stmt {
	return s.line(auditLine{at: time.Now().Unix(), by: storeActor, action: action, subject: subject})
}

func (s *Store) line(l auditLine) stmt {
	var err error
	if l.id, err = issuer.NewID(time.Now(), nil); err != nil {
		panic(err) // crypto/rand never fails
	}
	return stmt{
		sql:  `INSERT INTO audit (id, at, actor, action, record, reason, subject, organisation, mac) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		args: []any{l.id[:], l.at, l.by, l.action, idOrNone(l.record), l.reason, l.subject, l.organisation, s.vault.lineMAC(&l)},
	}
}

// lineMAC is the HMAC of a line.
func (v *vault) lineMAC(l *auditLine) []byte {
	h := hmac.New(sha256.New, v.auditKey)
	h.Write(l.encode(make([]byte, 0, 256)))
	return h.Sum(nil)
}

// seal covers lines of the audit log.
type seal struct {
	n, at        int64
	adopted      int64 // 1: of lines from before there were seals, which have no HMAC
	lines, total int64
	first, last  []byte
	digest, prev []byte
	mac          []byte
}

const sealColumns = `n, at, adopted, lines, total, first, last, digest, prev, mac`

func scanSeal(s scan) (l seal, err error) {
	err = s(&l.n, &l.at, &l.adopted, &l.lines, &l.total, &l.first, &l.last, &l.digest, &l.prev, &l.mac)
	return l, err
}

// hash is what the next seal and the head name it by. Before the first there are
// zeros.
func (l *seal) hash(store [16]byte) []byte {
	if l.n == 0 {
		return make([]byte, sha256.Size)
	}
	b := cbor.AppendArray(nil, 12)
	b = cbor.AppendText(b, "ampoule-seal")
	b = cbor.AppendInt(b, 1)
	b = cbor.AppendBytes(b, store[:])
	for _, n := range []int64{l.n, l.at, l.adopted, l.lines, l.total} {
		b = cbor.AppendInt(b, n)
	}
	for _, data := range [][]byte{l.first, l.last, l.digest, l.prev} {
		b = cbor.AppendBytes(b, data)
	}
	sum := sha256.Sum256(b)
	return sum[:]
}

func (v *vault) sealMAC(hash []byte) []byte {
	h := hmac.New(sha256.New, v.sealKey)
	h.Write(hash)
	return h.Sum(nil)
}

// head is the newest seal, as the file beside the key file has it.
type head struct {
	N     int64     `json:"seal"`
	Total int64     `json:"lines"`
	Hash  hexBytes  `json:"hash"`
	At    time.Time `json:"at"`
	MAC   hexBytes  `json:"mac"` // of the line above: nobody makes a head without the master key
}

type hexBytes []byte

func (h hexBytes) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h), nil }
func (h *hexBytes) UnmarshalText(b []byte) (err error) {
	*h, err = hex.AppendDecode(nil, b)
	return err
}

func (v *vault) headMAC(h *head) []byte {
	b := cbor.AppendBytes(cbor.AppendArray(nil, 5), v.id[:])
	b = cbor.AppendInt(cbor.AppendInt(b, h.N), h.Total)
	b = cbor.AppendInt(cbor.AppendBytes(b, h.Hash), h.At.Unix())
	m := hmac.New(sha256.New, v.sealKey)
	m.Write(b)
	return m.Sum(nil)
}

// readHead returns nil where there is no head, and an error of [ErrDamaged] where
// it is not one of this store.
func (v *vault) readHead() (*head, error) {
	data, err := os.ReadFile(filepath.Join(v.dir, headFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	h := new(head)
	if json.Unmarshal(data, h) != nil || !hmac.Equal(h.MAC, v.headMAC(h)) {
		return nil, fmt.Errorf("store: %s is not of this store: %w", headFile, ErrDamaged)
	}
	return h, nil
}

func (v *vault) writeHead(l *seal) (*head, error) {
	h := &head{N: l.n, Total: l.total, Hash: l.hash(v.id), At: fromUnix(l.at)}
	if l.n == 0 {
		h.At = time.Now().UTC().Truncate(time.Second)
	}
	h.MAC = v.headMAC(h)
	data, err := json.Marshal(h)
	if err != nil {
		panic(err) // numbers and bytes
	}
	if err := keep.Replace(filepath.Join(v.dir, headFile), append(data, '\n'), 0o600); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	return h, nil
}

// sealer makes the seals of an open store.
type sealer struct {
	stop chan struct{}
	done sync.WaitGroup

	mu   sync.Mutex // held while seals are made
	head *head      // the newest that is in the file; nil before the first look
	last time.Time  // when the sealer last found nothing wrong
	err  error      // why it could not seal, since then
}

// lastSeal returns the newest seal; its number is 0 where there is none.
func lastSeal(t tx) (l seal, err error) {
	err = t.rows(`SELECT `+sealColumns+` FROM seal ORDER BY n DESC LIMIT 1`, nil, func(s scan) (err error) {
		l, err = scanSeal(s)
		return err
	})
	return l, err
}

// AuditHead returns the hash of the newest seal of the audit log, which the whole log
// hangs on, and its number; 0: there is none yet.
func (s *Store) AuditHead(ctx context.Context) (n int64, hash []byte, err error) {
	err = s.db.read(ctx, func(t tx) error {
		l, err := lastSeal(t)
		n, hash = l.n, l.hash(s.vault.id)
		return err
	})
	return n, hash, err
}

// startAudit holds the database against the head, seals what was left over, and
// starts the sealer.
func (s *Store) startAudit(ctx context.Context, every time.Duration) error {
	h, err := s.vault.readHead()
	if err != nil && !errors.Is(err, ErrDamaged) {
		return err
	}
	said := ""
	adopt := false
	if h == nil {
		var newest seal
		if err := s.db.read(ctx, func(t tx) (err error) {
			newest, err = lastSeal(t)
			return err
		}); err != nil {
			return err
		}
		switch {
		case err != nil:
			said = "head-damaged"
		case newest.n > 0:
			said = fmt.Sprintf("head-missing:seal-%d", newest.n)
		default:
			// A store from before there were seals: what it has is taken as it is.
			adopt = true
		}
		h = &head{N: newest.n, Total: newest.total, Hash: newest.hash(s.vault.id)}
	}
	s.sealer.head = h
	if said != "" {
		if err := s.db.writeAll(ctx, s.auditStore(actionBroken, said)); err != nil {
			return err
		}
	}
	if err := s.seal(ctx, adopt); err != nil {
		return err
	}
	s.sealer.stop = make(chan struct{})
	s.sealer.done.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				err := s.seal(context.Background(), false)
				s.sealer.mu.Lock()
				if s.sealer.err = err; err == nil {
					s.sealer.last = time.Now()
				}
				s.sealer.mu.Unlock()
			case <-s.sealer.stop:
				return
			}
		}
	})
	return nil
}

// stopAudit ends the sealer, and seals what is left.
func (s *Store) stopAudit() error {
	if s.sealer.stop == nil {
		return nil
	}
	close(s.sealer.stop)
	s.sealer.done.Wait()
	s.sealer.stop = nil
	return s.seal(context.Background(), false)
}

// AuditSealed returns when the audit log was last found sealed, and why it has not
// been since, if so.
func (s *Store) AuditSealed() (time.Time, error) {
	s.sealer.mu.Lock()
	defer s.sealer.mu.Unlock()
	return s.sealer.last, s.sealer.err
}

// seal seals all lines that are not yet.
func (s *Store) seal(ctx context.Context, adopt bool) error {
	s.sealer.mu.Lock()
	defer s.sealer.mu.Unlock()
	adopted := int64(0)
	if adopt {
		adopted = 1
	}
	for {
		// Most seconds of most services have no line.
		var open, newest int64
		if err := s.db.readRow(ctx, `SELECT (SELECT count(*) FROM (SELECT 1 FROM audit WHERE seal = 0 LIMIT 1) o), (SELECT coalesce(max(n), 0) FROM seal)`, nil, &open, &newest); err != nil {
			return err
		}
		if open == 0 && newest == s.sealer.head.N {
			break
		}
		var made seal
		more := false
		err := s.db.write(ctx, func(t tx) (err error) {
			made, more, err = s.sealSome(t, adopted)
			return err
		})
		if err != nil {
			return err
		}
		if made.n == 0 {
			break
		}
		if s.sealer.head, err = s.vault.writeHead(&made); err != nil {
			return err
		}
		if !more {
			break
		}
	}
	if adopt && s.sealer.head.N == 0 {
		var err error
		s.sealer.head, err = s.vault.writeHead(new(seal))
		return err
	}
	return nil
}

// sealSome makes some seals, and returns the newest one. The caller holds the
// sealer's mu.
func (s *Store) sealSome(t tx, adopted int64) (newest seal, more bool, err error) {
	if newest, err = lastSeal(t); err != nil {
		return newest, false, err
	}
	had := s.sealer.head
	switch known, err := sealOf(t, had.N); {
	case err != nil:
		return newest, false, err
	case newest.n < had.N:
		err = t.all(s.auditStore(actionBroken, fmt.Sprintf("truncated:had-%d:has-%d", had.N, newest.n)))
		if err != nil {
			return newest, false, err
		}
	case !bytes.Equal(known.hash(s.vault.id), had.Hash):
		if err := t.all(s.auditStore(actionBroken, fmt.Sprintf("replaced:seal-%d", had.N))); err != nil {
			return newest, false, err
		}
	}
	for range sealsAtOnce {
		lines, err := takeLines(t, newest.n+1)
		if err != nil {
			return newest, false, err
		}
		if len(lines) == 0 {
			return newest, false, nil
		}
		next := seal{
			n: newest.n + 1, at: time.Now().Unix(), adopted: adopted, lines: int64(len(lines)), total: newest.total + int64(len(lines)),
			first: lines[0].id[:], last: lines[len(lines)-1].id[:], digest: digestOf(lines), prev: newest.hash(s.vault.id),
		}
		next.mac = s.vault.sealMAC(next.hash(s.vault.id))
		err = t.all(stmt{
			sql:  `INSERT INTO seal (` + sealColumns + `) VALUES (` + places(1, 10) + `)`,
			args: []any{next.n, next.at, next.adopted, next.lines, next.total, next.first, next.last, next.digest, next.prev, next.mac},
		})
		if err != nil {
			return newest, false, err
		}
		newest = next
		if len(lines) < sealMost {
			return newest, false, nil
		}
	}
	return newest, true, nil
}

// sealOf returns a seal by its number; the zero seal for 0, or where it is not there.
func sealOf(t tx, n int64) (l seal, err error) {
	if n == 0 {
		return l, nil
	}
	err = t.rows(`SELECT `+sealColumns+` FROM seal WHERE n = $1`, []any{n}, func(s scan) (err error) {
		l, err = scanSeal(s)
		return err
	})
	return l, err
}

// takeLines marks lines with a seal, and returns them. Both is one statement, so
// that what is marked is what is read.
func takeLines(t tx, n int64) (lines []auditLine, err error) {
	err = t.rows(`UPDATE audit SET seal = $1 WHERE id IN (SELECT id FROM audit WHERE seal = 0 ORDER BY id LIMIT $2) RETURNING `+auditColumns,
		[]any{n, int64(sealMost)}, func(s scan) error {
			l, err := scanLine(s)
			lines = append(lines, l)
			return err
		})
	slices.SortFunc(lines, func(a, b auditLine) int { return bytes.Compare(a.id[:], b.id[:]) })
	return lines, err
}

func digestOf(lines []auditLine) []byte {
	h := sha256.New()
	var b []byte
	for i := range lines {
		b = lines[i].encode(b[:0])
		h.Write(b)
		h.Write(lines[i].mac)
	}
	return h.Sum(nil)
}

// BreakKind says how the audit log was touched.
type BreakKind string

// The kinds of break.
const (
	BreakAltered   BreakKind = "altered"   // a line is not what was written
	BreakMissing   BreakKind = "missing"   // lines of a seal, or a seal, are not there
	BreakInserted  BreakKind = "inserted"  // a line that the service did not write, or that another seal had
	BreakReordered BreakKind = "reordered" // the lines or seals are there, in other places
	BreakTruncated BreakKind = "truncated" // the newest seals are not there
	BreakSeal      BreakKind = "seal"      // a seal is not what was written
	BreakHead      BreakKind = "head"      // the file beside the database is missing or not of this store
	BreakRecorded  BreakKind = "recorded"  // the log tells of a break that was found when it happened
)

// Break is a place where the audit log was touched.
type Break struct {
	Kind   BreakKind `json:"kind"`
	Seal   int64     `json:"seal"` // 0: of lines that are not sealed yet
	Line   string    `json:"line,omitempty"`
	Detail string    `json:"detail"`
}

// AuditReport is what [Store.VerifyAudit] finds.
type AuditReport struct {
	Lines  int64   `json:"lines"`
	Seals  int64   `json:"seals"`
	Open   int64   `json:"open"` // lines that no seal covers yet
	Head   string  `json:"head"` // hash of the newest seal
	Breaks []Break `json:"breaks"`
	// Restored are the backups that were restored: what came between the backup and
	// its restoration is not in the log.
	Restored []Break `json:"restored"`
	More     bool    `json:"more,omitempty"` // there are more breaks than are listed
	// Trouble is why new lines are not sealed now, and since when; empty: they are.
	Trouble string    `json:"trouble,omitempty"`
	Sealed  time.Time `json:"sealed,omitzero"`
}

// Whole reports whether nothing was touched.
func (r *AuditReport) Whole() bool { return len(r.Breaks) == 0 }

// maxBreaks bounds a report: after so many nobody reads on.
const maxBreaks = 1000

func (r *AuditReport) add(b Break) {
	if len(r.Breaks) == maxBreaks {
		r.More = true
		return
	}
	r.Breaks = append(r.Breaks, b)
}

// VerifyAudit checks the whole audit log: each line, each seal, their order, and
// the head beside the database. Others go on meanwhile.
func (s *Store) VerifyAudit(ctx context.Context) (*AuditReport, error) {
	s.sealer.mu.Lock()
	defer s.sealer.mu.Unlock()
	if err := s.verifyReady(); err != nil {
		return nil, err
	}
	r := new(AuditReport)
	err := s.db.read(ctx, func(t tx) error {
		*r = AuditReport{}
		return s.verifyAudit(t, r)
	})
	if err != nil {
		return nil, err
	}
	if r.Sealed = s.sealer.last; s.sealer.err != nil {
		r.Trouble = s.sealer.err.Error()
	}
	return r, nil
}

func (s *Store) verifyReady() error {
	if s.sealer.head == nil {
		return ErrClosed
	}
	return nil
}

func (s *Store) verifyAudit(t tx, r *AuditReport) error {
	var before seal
	err := s.walkAudit(t, nil, func(l *seal, lines []auditLine) error {
		if l == nil { // lines of no seal
			for i := range lines {
				s.verifyLine(r, &lines[i], false)
				if lines[i].seal != 0 {
					r.add(Break{BreakMissing, lines[i].seal, lines[i].id.String(), "the seal of this line is not there"})
					continue
				}
				r.Open++
			}
			return nil
		}
		s.verifySeal(r, &before, l)
		for i := range lines {
			s.verifyLine(r, &lines[i], l.adopted == 1)
		}
		switch n := int64(len(lines)); {
		case n < l.lines:
			r.add(Break{BreakMissing, l.n, "", fmt.Sprintf("%d of %d lines are there", n, l.lines)})
		case n > l.lines:
			r.add(Break{BreakInserted, l.n, "", fmt.Sprintf("%d lines are there, and it covers %d", n, l.lines)})
		case !bytes.Equal(digestOf(lines), l.digest):
			r.add(Break{BreakReordered, l.n, "", "its lines are not those that it covers"})
		}
		before = *l
		r.Seals++
		return nil
	})
	if err != nil {
		return err
	}
	r.Head = hex.EncodeToString(before.hash(s.vault.id))
	return s.verifyHead(t, r, before)
}

// verifyLine checks a line by itself.
func (s *Store) verifyLine(r *AuditReport, l *auditLine, adopted bool) {
	r.Lines++
	switch {
	case l.mac == nil && adopted:
	case l.mac == nil:
		r.add(Break{BreakInserted, l.seal, l.id.String(), "the service did not write this line"})
	case !hmac.Equal(l.mac, s.vault.lineMAC(l)):
		r.add(Break{BreakAltered, l.seal, l.id.String(), "this line is not what the service wrote"})
	case l.action == actionBroken:
		r.add(Break{BreakRecorded, l.seal, l.id.String(), l.subject + ", found at " + fromUnix(l.at).Format(time.RFC3339)})
	case l.action == actionRestore:
		r.Restored = append(r.Restored, Break{BreakRecorded, l.seal, l.id.String(), "restored from backup of " + l.subject + " at " + fromUnix(l.at).Format(time.RFC3339)})
	}
}

// verifySeal checks a seal by itself and against the one before.
func (s *Store) verifySeal(r *AuditReport, before, l *seal) {
	switch {
	case !hmac.Equal(l.mac, s.vault.sealMAC(l.hash(s.vault.id))):
		r.add(Break{BreakSeal, l.n, "", "this seal is not what the service wrote"})
	case l.n != before.n+1:
		r.add(Break{BreakMissing, before.n + 1, "", fmt.Sprintf("the seals before %d are not there", l.n)})
	case !bytes.Equal(l.prev, before.hash(s.vault.id)) || l.total != before.total+l.lines:
		r.add(Break{BreakReordered, l.n, "", "this seal follows another one than the one before it"})
	}
}

// verifyHead holds the newest seal against the file, and against what this
// process has sealed.
func (s *Store) verifyHead(t tx, r *AuditReport, newest seal) error {
	file, err := s.vault.readHead()
	switch {
	case errors.Is(err, ErrDamaged):
		r.add(Break{BreakHead, newest.n, "", headFile + " is not of this store"})
	case err != nil:
		return err
	case file == nil:
		r.add(Break{BreakHead, newest.n, "", headFile + " is not there"})
	}
	for _, h := range []*head{s.sealer.head, file} {
		if h == nil {
			continue
		}
		known, err := sealOf(t, h.N)
		if err != nil {
			return err
		}
		switch {
		case newest.n < h.N:
			r.add(Break{BreakTruncated, newest.n, "", fmt.Sprintf("it ends at seal %d and had %d, with %d lines", newest.n, h.N, h.Total)})
		case !bytes.Equal(known.hash(s.vault.id), h.Hash):
			r.add(Break{BreakSeal, h.N, "", "another seal stands in its place"})
		default:
			continue
		}
		break // both say the same, mostly
	}
	return nil
}

// walkAudit calls each for every seal with its lines, in their order, and with
// the lines of no seal: nil, and some of them at a time. where narrows the lines.
func (s *Store) walkAudit(t tx, filter func(*auditLine) bool, each func(*seal, []auditLine) error) error {
	const page = 256 // seals at a time: a connection answers one question after the other
	after := int64(0)
	for {
		var seals []seal
		err := t.rows(`SELECT `+sealColumns+` FROM seal WHERE n > $1 ORDER BY n LIMIT $2`, []any{after, int64(page)}, func(s scan) error {
			l, err := scanSeal(s)
			seals = append(seals, l)
			return err
		})
		if err != nil {
			return err
		}
		// From the last seal to the next: lines of seals that are not there show too.
		upTo := int64(1<<63 - 1)
		if len(seals) == page {
			upTo = seals[page-1].n
		}
		var group []auditLine
		flush := func(n int64) error {
			for len(seals) > 0 && seals[0].n <= n {
				l := seals[0]
				seals = seals[1:]
				var own []auditLine
				if l.n == n {
					own, group = group, nil
				}
				if err := each(&l, own); err != nil {
					return err
				}
			}
			if len(group) == 0 {
				return nil
			}
			stray := group
			group = nil
			return each(nil, stray)
		}
		of := int64(-1)
		last := upTo
		if len(seals) > 0 {
			last = seals[len(seals)-1].n
		}
		err = t.rows(`SELECT `+auditColumns+` FROM audit WHERE seal > $1 AND seal <= $2 ORDER BY seal, id`, []any{after, upTo}, func(s scan) error {
			l, err := scanLine(s)
			if err != nil {
				return err
			}
			if l.seal != of {
				if err := flush(of); err != nil {
					return err
				}
				of = l.seal
			}
			if filter == nil || filter(&l) {
				group = append(group, l)
			}
			return nil
		})
		if err == nil {
			err = flush(max(of, last))
		}
		if err != nil {
			return err
		}
		if upTo == 1<<63-1 {
			break
		}
		after = upTo
	}
	var group []auditLine
	err := t.rows(`SELECT `+auditColumns+` FROM audit WHERE seal <= 0 ORDER BY id`, nil, func(s scan) error {
		l, err := scanLine(s)
		if err == nil && (filter == nil || filter(&l)) {
			group = append(group, l)
		}
		if len(group) == sealMost {
			err = errors.Join(err, each(nil, group))
			group = nil
		}
		return err
	})
	if err != nil || len(group) == 0 {
		return err
	}
	return each(nil, group)
}

// AuditLine is a line of the audit log as it is shown. It names nobody: who acted,
// and what the line is about, are identifiers.
type AuditLine struct {
	ID           string    `json:"id"`
	At           time.Time `json:"at"`
	By           string    `json:"by"`
	Action       string    `json:"action"`
	Record       string    `json:"record,omitempty"`
	Subject      string    `json:"subject,omitempty"`
	Organisation string    `json:"organisation,omitempty"`
	Reason       string    `json:"reason,omitempty"`
	Seal         int64     `json:"seal"` // 0: not sealed yet
	MAC          hexBytes  `json:"mac,omitempty"`
}

func (l *auditLine) shown() AuditLine {
	out := AuditLine{
		ID: l.id.String(), At: fromUnix(l.at), By: l.by, Action: l.action, Subject: l.subject, Organisation: l.organisation,
		Reason: l.reason, Seal: l.seal, MAC: l.mac,
	}
	if l.record != (issuer.ID{}) {
		out.Record = l.record.String()
	}
	return out
}

// AuditPage returns lines of an organisation, and of the store's own, newest first:
// those before one, or all where that is zero. A zero time is no bound. next is
// where the following page begins; zero: there is none.
func (s *Store) AuditPage(ctx context.Context, organisation string, from, to time.Time, before issuer.ID, limit int) (page []AuditLine, next issuer.ID, err error) {
	if before == (issuer.ID{}) {
		before = lastID
	}
	where, args := `id < $1 AND (organisation = $2 OR actor = $3)`, []any{before[:], organisation, storeActor}
	for _, bound := range []struct {
		operator string
		at       time.Time
	}{{">=", from}, {"<", to}} {
		if !bound.at.IsZero() {
			args = append(args, bound.at.Unix())
			where += fmt.Sprintf(` AND at %s $%d`, bound.operator, len(args))
		}
	}
	args = append(args, int64(limit)+1)
	var last issuer.ID
	err = s.db.read(ctx, func(t tx) error {
		page, next = nil, issuer.ID{}
		return t.rows(`SELECT `+auditColumns+` FROM audit WHERE `+where+fmt.Sprintf(` ORDER BY id DESC LIMIT $%d`, len(args)), args, func(sc scan) error {
			l, err := scanLine(sc)
			if err != nil {
				return err
			}
			if len(page) == limit {
				next = last
				return nil
			}
			last = l.id
			page = append(page, l.shown())
			return nil
		})
	})
	return page, next, err
}

// exportedSeal follows the lines that it covers. Without the master key anybody
// can check by it that nothing between two exports was changed.
type exportedSeal struct {
	N      int64     `json:"seal"`
	At     time.Time `json:"sealed"`
	Lines  int64     `json:"lines"`
	Total  int64     `json:"total"`
	Digest hexBytes  `json:"digest"`
	Prev   hexBytes  `json:"prev"`
	Hash   hexBytes  `json:"hash"`
}

// ExportAudit writes the lines from one time to another, and each seal after its
// lines, as JSON, one object a line, in the order in which they were sealed. A
// zero time is no bound. An empty organisation is all of them.
func (s *Store) ExportAudit(ctx context.Context, w io.Writer, organisation string, from, to time.Time) error {
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	wanted := func(l *auditLine) bool {
		return (organisation == "" || l.organisation == organisation) && (from.IsZero() || l.at >= from.Unix()) && (to.IsZero() || l.at < to.Unix())
	}
	return s.db.read(ctx, func(t tx) error {
		return s.walkAudit(t, wanted, func(l *seal, lines []auditLine) error {
			for i := range lines {
				if err := out.Encode(lines[i].shown()); err != nil {
					return err
				}
			}
			if l == nil || organisation != "" || (len(lines) == 0 && (!from.IsZero() || !to.IsZero())) {
				return nil
			}
			return out.Encode(exportedSeal{l.n, fromUnix(l.at), l.lines, l.total, l.digest, l.prev, l.hash(s.vault.id)})
		})
	})
}
