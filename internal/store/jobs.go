package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"ampoule/party/issuer"
)

// A job has two keys: of its rows, and of those that failed. At its end the first
// is overwritten, so that whatever a database or a disk keeps of the rows reads as
// nothing; the second goes when what failed is not needed any more.

var _ issuer.JobBook = (*Store)(nil)

// The kinds of sealed content of a row, each under another key.
const (
	sealUpload = "job row"
	sealFailed = "failed row"
	sealFaults = "faults"
)

// CreateJob implements [issuer.JobBook].
func (s *Store) CreateJob(ctx context.Context, j issuer.Job) error {
	rows, err := s.vault.take()
	if err != nil {
		return err
	}
	kept, err := s.vault.take()
	if err != nil {
		return err
	}
	about, err := json.Marshal(j.About)
	if err != nil {
		return fmt.Errorf("store: job: %w", err)
	}
	return s.db.writeAll(ctx, stmt{
		sql: `INSERT INTO job (id, version, state, organisation, facility, about, created, changed, started, ended, total, ready, done, failed, skipped, warned, rows_slot, kept_slot)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $7, 0, 0, 0, 0, 0, 0, 0, 0, $8, $9)`,
		args: []any{j.ID[:], j.Version, string(j.State), j.Place.Organisation, j.Place.Facility, string(about), unix(j.Created), rows.slot, kept.slot},
	})
}

// jobKeys returns the keys of a job; that of a slot that is gone is nil.
func (s *Store) jobKeys(t tx, id issuer.ID) (rows, kept *recordKey, err error) {
	var slots [2]any
	if err := t.row(`SELECT rows_slot, kept_slot FROM job WHERE id = $1`, []any{id[:]}, &slots[0], &slots[1]); err != nil {
		return nil, nil, err
	}
	var keys [2]*recordKey
	for i, slot := range slots {
		n, ok := slot.(int64)
		if !ok {
			continue
		}
		key, err := s.vault.key(n)
		if err != nil {
			return nil, nil, err
		}
		keys[i] = &key
	}
	return keys[0], keys[1], nil
}

// notFound turns the lack of a row into the lack of what was asked for.
func notFound(err error) error {
	if errors.Is(err, errNoRow) {
		return issuer.ErrNotFound
	}
	return err
}

// AddRows implements [issuer.JobBook].
func (s *Store) AddRows(ctx context.Context, id issuer.ID, rows []issuer.JobRow) error {
	return notFound(s.db.write(ctx, func(t tx) error {
		key, _, err := s.jobKeys(t, id)
		if err != nil {
			return err
		}
		if key == nil {
			return issuer.ErrUnreadable
		}
		stmts := []stmt{{ // that it is still uploading
			sql: `UPDATE job SET changed = changed WHERE id = $1 AND state = $2`, args: []any{id[:], string(issuer.JobUploading)}, one: issuer.ErrConflict,
		}}
		for _, r := range rows {
			stmts = append(stmts, stmt{
				sql:  `INSERT INTO job_row (job, n, line, state, reason, field, record, content, faults) VALUES ($1, $2, $3, $4, '', '', NULL, $5, NULL)`,
				args: []any{id[:], r.N, int64(r.Line), string(issuer.RowNew), key.aead.Seal(nil, nil, r.Source, sealFor(id, sealUpload, int(r.N)))},
			})
		}
		return t.all(stmts...)
	}))
}

const jobColumns = `id, version, state, organisation, facility, about, created, changed, started, ended, total, ready, done, failed, skipped, warned, kept_slot`

// Job implements [issuer.JobBook].
func (s *Store) Job(ctx context.Context, id issuer.ID) (issuer.Job, error) {
	jobs, err := s.jobs(ctx, `WHERE id = $1`, id[:])
	if err == nil && len(jobs) == 0 {
		err = issuer.ErrNotFound
	}
	if err != nil {
		return issuer.Job{}, err
	}
	return jobs[0], nil
}

// Jobs implements [issuer.JobBook].
func (s *Store) Jobs(ctx context.Context, q issuer.JobQuery) ([]issuer.Job, error) {
	if q.Before == (issuer.ID{}) {
		q.Before = lastID
	}
	args := []any{q.Before[:]}
	where := `WHERE id < $1`
	and := func(condition string, value any) {
		args = append(args, value)
		where += fmt.Sprintf(` AND `+condition, len(args))
	}
	if q.Within.Organisation != "" {
		and(`organisation = $%d`, q.Within.Organisation)
	}
	if q.Within.Facility != "" {
		and(`facility = $%d`, q.Within.Facility)
	}
	if !q.Untouched.IsZero() {
		and(`changed < $%d AND kept_slot IS NOT NULL`, unix(q.Untouched))
	}
	if len(q.States) > 0 {
		where += ` AND state IN (` + places(len(args)+1, len(q.States)) + `)`
		for _, state := range q.States {
			args = append(args, string(state))
		}
	}
	args = append(args, int64(q.Limit))
	return s.jobs(ctx, where+fmt.Sprintf(` ORDER BY id DESC LIMIT $%d`, len(args)), args...)
}

func (s *Store) jobs(ctx context.Context, where string, args ...any) (jobs []issuer.Job, err error) {
	err = s.db.read(ctx, func(t tx) error {
		jobs = nil
		return t.rows(`SELECT `+jobColumns+` FROM job `+where, args, func(s scan) error {
			var j issuer.Job
			var id []byte
			var state, about string
			var created, changed, started, ended int64
			var kept any
			err := s(&id, &j.Version, &state, &j.Place.Organisation, &j.Place.Facility, &about, &created, &changed, &started, &ended,
				&j.Total, &j.Ready, &j.Done, &j.Failed, &j.Skipped, &j.Warned, &kept)
			if err != nil {
				return err
			}
			if err := json.Unmarshal([]byte(about), &j.About); err != nil {
				return fmt.Errorf("store: job: what it is about: %w", ErrDamaged)
			}
			j.ID, j.State, j.Destroyed = issuer.ID(id), issuer.JobState(state), kept == nil
			j.Created, j.Changed, j.Started, j.Ended = fromUnix(created), fromUnix(changed), fromUnix(started), fromUnix(ended)
			jobs = append(jobs, j)
			return nil
		})
	})
	return jobs, err
}

// MoveJob implements [issuer.JobBook].
func (s *Store) MoveJob(ctx context.Context, m issuer.JobMove) error {
	at := unix(m.Line.At)
	set := `version = version + 1, state = $1, changed = $2`
	args := []any{string(m.To), at, m.ID[:], m.Version, string(m.From)}
	more := func(assignment string, value any) {
		args = append(args, value)
		set += fmt.Sprintf(`, `+assignment, len(args))
	}
	switch {
	case m.To == issuer.JobUploaded:
		about, err := json.Marshal(m.About)
		if err != nil {
			return fmt.Errorf("store: job: %w", err)
		}
		more(`about = $%d`, string(about))
		more(`total = $%d`, m.Total)
	case m.From == issuer.JobChecked && m.To == issuer.JobRunning:
		more(`started = $%d`, at)
	case m.To.Ended():
		more(`ended = $%d`, at)
	}
	move := stmt{sql: `UPDATE job SET ` + set + ` WHERE id = $3 AND version = $4 AND state = $5`, args: args, one: issuer.ErrConflict}
	if !m.To.Ended() {
		return s.db.write(ctx, func(t tx) error { return t.all(move, s.audit(m.Line)) })
	}
	err := s.db.write(ctx, func(t tx) error {
		return t.all(move,
			stmt{sql: `INSERT INTO doomed (slot) SELECT rows_slot FROM job WHERE id = $1 AND rows_slot IS NOT NULL`, args: []any{m.ID[:]}},
			stmt{sql: `UPDATE job SET rows_slot = NULL WHERE id = $1`, args: []any{m.ID[:]}},
			stmt{sql: `UPDATE job_row SET content = NULL WHERE job = $1 AND state <> $2 AND content IS NOT NULL`, args: []any{m.ID[:], string(issuer.RowFailed)}},
			s.audit(m.Line))
	})
	if err != nil {
		return err
	}
	return s.bury(ctx)
}

// counted are the columns that count the rows of a state.
var counted = map[issuer.RowState]string{
	issuer.RowReady: "ready", issuer.RowDone: "done", issuer.RowFailed: "failed", issuer.RowSkipped: "skipped",
}

// MarkRows implements [issuer.JobBook].
func (s *Store) MarkRows(ctx context.Context, id issuer.ID, marks []issuer.RowMark) error {
	if len(marks) == 0 {
		return nil
	}
	return notFound(s.db.write(ctx, func(t tx) error {
		_, kept, err := s.jobKeys(t, id)
		if err != nil {
			return err
		}
		counts := map[string]int64{"ready": 0, "done": 0, "failed": 0, "skipped": 0, "warned": 0}
		var stmts []stmt
		for _, m := range marks {
			set := `state = $1, reason = $2, field = $3, record = $4`
			args := []any{string(m.To), m.Reason, m.Column, idOrNone(m.Record), id[:], m.N, string(m.From)}
			switch m.To {
			case issuer.RowFailed:
				if kept == nil {
					return issuer.ErrConflict // it was emptied
				}
				faults, err := json.Marshal(m.Faults)
				if err != nil {
					return fmt.Errorf("store: job: %w", err)
				}
				set += `, content = $8, faults = $9`
				args = append(args,
					kept.aead.Seal(nil, nil, m.Source, sealFor(id, sealFailed, int(m.N))),
					kept.aead.Seal(nil, nil, faults, sealFor(id, sealFaults, int(m.N))))
			case issuer.RowDone, issuer.RowSkipped:
				set += `, content = NULL`
			}
			stmts = append(stmts, stmt{sql: `UPDATE job_row SET ` + set + ` WHERE job = $5 AND n = $6 AND state = $7`, args: args, one: issuer.ErrConflict})
			counts[counted[m.To]]++
			if from := counted[m.From]; from != "" {
				counts[from]--
			}
			if m.To == issuer.RowReady && m.Reason != "" {
				counts["warned"]++
			}
		}
		stmts = append(stmts, stmt{
			sql:  `UPDATE job SET ready = ready + $1, done = done + $2, failed = failed + $3, skipped = skipped + $4, warned = warned + $5 WHERE id = $6`,
			args: []any{counts["ready"], counts["done"], counts["failed"], counts["skipped"], counts["warned"], id[:]}, one: issuer.ErrConflict,
		})
		return t.all(stmts...)
	}))
}

// Rows implements [issuer.JobBook].
func (s *Store) Rows(ctx context.Context, id issuer.ID, after int64, limit int, states ...issuer.RowState) ([]issuer.JobRow, error) {
	var out []issuer.JobRow
	var rows, kept *recordKey
	var contents, faults [][]byte
	err := s.db.read(ctx, func(t tx) (err error) {
		out, contents, faults = nil, nil, nil
		if rows, kept, err = s.jobKeys(t, id); err != nil {
			return err
		}
		where, args := ``, []any{id[:], after}
		if len(states) > 0 {
			where = ` AND state IN (` + places(3, len(states)) + `)`
			for _, state := range states {
				args = append(args, string(state))
			}
		}
		args = append(args, int64(limit))
		return t.rows(`SELECT n, line, state, reason, field, record, content, faults FROM job_row WHERE job = $1 AND n > $2`+where+
			fmt.Sprintf(` ORDER BY n LIMIT $%d`, len(args)), args, func(s scan) error {
			var r issuer.JobRow
			var state string
			var line int64
			var record, content, fault []byte
			if err := s(&r.N, &line, &state, &r.Reason, &r.Column, &record, &content, &fault); err != nil {
				return err
			}
			r.Line, r.State = int(line), issuer.RowState(state)
			copy(r.Record[:], record)
			out, contents, faults = append(out, r), append(contents, content), append(faults, fault)
			return nil
		})
	})
	if err != nil {
		return nil, notFound(err)
	}
	open := func(key *recordKey, data []byte, kind string, n int64) ([]byte, error) {
		if key == nil || data == nil {
			return nil, nil // it was destroyed
		}
		plain, err := key.aead.Open(nil, nil, data, sealFor(id, kind, int(n)))
		if err != nil {
			return nil, fmt.Errorf("store: job %s, row %d: %w", id, n, ErrDamaged)
		}
		return plain, nil
	}
	for i := range out {
		r := &out[i]
		key, kind := rows, sealUpload
		if r.State == issuer.RowFailed {
			key, kind = kept, sealFailed
		}
		if r.Source, err = open(key, contents[i], kind, r.N); err != nil {
			return nil, err
		}
		data, err := open(kept, faults[i], sealFaults, r.N)
		if err != nil {
			return nil, err
		}
		if data != nil && json.Unmarshal(data, &r.Faults) != nil {
			return nil, fmt.Errorf("store: job %s, row %d: %w", id, r.N, ErrDamaged)
		}
	}
	return out, nil
}

// Look implements [issuer.JobBook].
func (s *Store) Look(ctx context.Context, organisation string, probes []issuer.Probe, line issuer.Line) ([]issuer.Seen, error) {
	var asked, terms []any
	ofKey, ofTerm := make(map[string][]int), make(map[string][]int)
	for i, p := range probes {
		if p.Key != "" {
			mac := s.vault.mac("request key", p.Key)
			asked = append(asked, mac)
			ofKey[string(mac)] = append(ofKey[string(mac)], i)
		}
		for _, t := range p.Terms {
			mac := s.termMAC(t)
			if ofTerm[string(mac)] == nil {
				terms = append(terms, mac)
			}
			ofTerm[string(mac)] = append(ofTerm[string(mac)], i)
		}
	}
	if len(asked) == 0 {
		return make([]issuer.Seen, len(probes)), nil
	}
	var seen []issuer.Seen
	err := s.db.write(ctx, func(t tx) error {
		seen = make([]issuer.Seen, len(probes))
		found := make(map[issuer.ID][]int)
		stmts := []stmt{s.audit(line), {
			sql: `SELECT asked, id FROM record WHERE asked IN (` + places(1, len(asked)) + `)`, args: asked,
			each: func(s scan) error {
				var mac, id []byte
				if err := s(&mac, &id); err != nil {
					return err
				}
				for _, i := range ofKey[string(mac)] {
					seen[i].Record = issuer.ID(id)
				}
				return nil
			},
		}}
		if len(terms) > 0 {
			// Not joined to the records: see findTerms.
			stmts = append(stmts, stmt{
				sql: `SELECT mac, record FROM term WHERE mac IN (` + places(1, len(terms)) + `)`, args: terms,
				each: func(s scan) error {
					var mac, id []byte
					if err := s(&mac, &id); err != nil {
						return err
					}
					found[issuer.ID(id)] = append(found[issuer.ID(id)], ofTerm[string(mac)]...)
					return nil
				},
			})
		}
		if err := t.all(stmts...); err != nil {
			return err
		}
		for id, rows := range found {
			var state, of string
			if err := t.row(`SELECT state, organisation FROM record WHERE id = $1`, []any{id[:]}, &state, &of); err != nil {
				return err
			}
			if state != string(issuer.Valid) || of != organisation {
				continue
			}
			for _, i := range rows {
				seen[i].Same = true
			}
		}
		return nil
	})
	return seen, err
}

// EmptyJob implements [issuer.JobBook].
func (s *Store) EmptyJob(ctx context.Context, g issuer.Guard, line issuer.Line) error {
	return s.dispose(ctx, g, line,
		stmt{sql: `UPDATE job_row SET content = NULL, faults = NULL WHERE job = $1`, args: []any{g.ID[:]}},
		stmt{sql: `UPDATE job SET rows_slot = NULL, kept_slot = NULL WHERE id = $1`, args: []any{g.ID[:]}})
}

// DeleteJob implements [issuer.JobBook].
func (s *Store) DeleteJob(ctx context.Context, g issuer.Guard, line issuer.Line) error {
	return s.dispose(ctx, g, line,
		stmt{sql: `DELETE FROM job_row WHERE job = $1`, args: []any{g.ID[:]}},
		stmt{sql: `DELETE FROM job WHERE id = $1`, args: []any{g.ID[:]}})
}

// dispose destroys the keys of a job, after the rows under them.
func (s *Store) dispose(ctx context.Context, g issuer.Guard, line issuer.Line, stmts ...stmt) error {
	stmts = append([]stmt{
		{sql: `UPDATE job SET version = version WHERE id = $1 AND version = $2`, args: []any{g.ID[:], g.Version}, one: issuer.ErrConflict},
		doomJob(`id = $1`, g.ID[:]),
	}, append(stmts, s.audit(line))...)
	if err := s.db.write(ctx, func(t tx) error { return t.all(stmts...) }); err != nil {
		return err
	}
	return s.bury(ctx)
}

// doomJob lists the keys of jobs to be overwritten.
func doomJob(where string, args ...any) stmt {
	return stmt{sql: `INSERT INTO doomed (slot) SELECT rows_slot FROM job WHERE rows_slot IS NOT NULL AND ` + where +
		` UNION SELECT kept_slot FROM job WHERE kept_slot IS NOT NULL AND ` + where, args: args}
}

// bury overwrites the keys that are listed for it.
func (s *Store) bury(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx) // what was decided is done
	var slots []int64
	var args []any
	err := s.db.read(ctx, func(t tx) error {
		slots, args = nil, nil
		return t.rows(`SELECT slot FROM doomed ORDER BY slot LIMIT 1000`, nil, func(s scan) error {
			var slot int64
			err := s(&slot)
			slots, args = append(slots, slot), append(args, slot)
			return err
		})
	})
	if err != nil || len(slots) == 0 {
		return err
	}
	if err := s.vault.drop(slots); err != nil {
		return err
	}
	return s.db.writeAll(ctx, stmt{sql: `DELETE FROM doomed WHERE slot IN (` + places(1, len(slots)) + `)`, args: args})
}

// reconcileJobs takes away uploads that a crash cut off, and finishes what it left
// of the destruction of keys.
func (s *Store) reconcileJobs(ctx context.Context) error {
	var top int64
	err := s.db.write(ctx, func(t tx) error {
		if err := t.row(`SELECT coalesce(max(slot), -1) FROM (SELECT max(rows_slot) AS slot FROM job UNION ALL SELECT max(kept_slot) FROM job) AS slots`, nil, &top); err != nil {
			return err
		}
		if have, _ := s.vault.counts(); top >= have {
			return fmt.Errorf("store: the key file has %d keys and a job needs key %d: %w; the key file is an older copy, bring back the newest", have, top, ErrMismatch)
		}
		uploading := []any{string(issuer.JobUploading)}
		return t.all(
			doomJob(`state = $1`, uploading...),
			stmt{sql: `DELETE FROM job_row WHERE job IN (SELECT id FROM job WHERE state = $1)`, args: uploading},
			stmt{sql: `DELETE FROM job WHERE state = $1`, args: uploading})
	})
	if err != nil {
		return err
	}
	return s.bury(ctx)
}

// Note implements [issuer.JobBook].
func (s *Store) Note(ctx context.Context, line issuer.Line) error {
	return s.db.writeAll(ctx, s.audit(line))
}
