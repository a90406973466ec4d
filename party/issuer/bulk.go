package issuer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"iter"
	"slices"
	"sync"
	"time"

	"ampoule/cert"
	"ampoule/format"
)

// Bulk turns uploads into certificates: a file is read and kept, every row is
// checked by all the rules of issuing without a signature, and once somebody has
// looked and started it, issued. A row that fails keeps no other from being issued.
//
// Rows are issued by [Registry.Issue] under a request key that follows from their
// content, so that a job which is stopped at any moment goes on with none lost or
// doubled, and a file that comes again under its series brings what is new in it.
type Bulk struct {
	Registry func() *Registry // that issues now
	Jobs     JobBook
	// Hands is how many rows are worked on at once, of all jobs together; 0: 32.
	Hands int
	// Retention is how long failed rows are kept after the end of their job, and how
	// long a job that nobody goes on with is left alone; 0: seven days.
	Retention time.Duration
	// Trouble is told of what stopped a job, which is tried again. Nil: nobody is.
	Trouble func(job ID, err error)

	once  sync.Once
	hands chan struct{}
	wake  chan struct{}

	mu      sync.Mutex
	runners map[ID]*runner
}

// runner is the work on one job. It ends with its context.
type runner struct {
	stop  context.CancelFunc
	since time.Time
	rows  int64 // guarded by Bulk.mu
}

// The sizes of a step: rows that are added at a time, and rows that are marked at
// a time, of which a crash has some asked for again.
const (
	addPage  = 512
	workPage = 256
)

// pollEvery is how often jobs are looked for that need work: those that met
// trouble, and those whose time is over.
const pollEvery = 10 * time.Second

func (b *Bulk) init() {
	b.once.Do(func() {
		if b.Hands == 0 {
			b.Hands = reissueHand
		}
		if b.Retention == 0 {
			b.Retention = 7 * 24 * time.Hour
		}
		b.hands, b.wake, b.runners = make(chan struct{}, b.Hands), make(chan struct{}, 1), make(map[ID]*runner)
	})
}

func (b *Bulk) poke() {
	b.init()
	select {
	case b.wake <- struct{}{}:
	default: // it is awake
	}
}

// Upload reads a file and keeps its rows. An error that is an [UploadError] is
// about the file: nothing of it was kept then.
func (b *Bulk) Upload(ctx context.Context, by Actor, at Place, media Media, u Upload, file io.Reader) (Job, error) {
	// Step 1: refuse what is no job.
	if at == (Place{}) {
		at = by.Within
	}
	if !by.Within.Holds(at) {
		return Job{}, fmt.Errorf("upload: %w", ErrPlace)
	}
	order := Order{By: by, Record: new(cert.Certificate), Wanted: u.Wanted}
	if err := order.check(); err != nil {
		return Job{}, fmt.Errorf("upload: %w", err)
	}
	if u.Series != "" && checkBy(Actor{ID: u.Series}) != nil {
		return Job{}, fmt.Errorf("upload: %w", ErrSeries)
	}
	if u.Dates != DateOrderFound && u.Dates != DayFirst && u.Dates != MonthFirst {
		return Job{}, fmt.Errorf("upload: date order: %w", format.BadCode)
	}
	if media != MediaCSV && media != MediaFHIR && media != MediaNDJSON {
		return Job{}, fmt.Errorf("upload: %w", ErrMedia)
	}
	id, err := NewID(b.Registry().Now(), b.Registry().Rand)
	if err != nil {
		return Job{}, err
	}
	line := b.Registry().line(by, ActionJobUpload)
	line.Record, line.Place = id, at
	job := Job{ID: id, Version: 1, State: JobUploading, Place: at, About: About{By: by.ID, Media: media, Upload: u}, Created: line.At, Changed: line.At}
	if err := b.Jobs.CreateJob(ctx, job); err != nil {
		return Job{}, fmt.Errorf("upload: %w", err)
	}

	// Step 2: read the rows, and keep them as they come. What is not all there is
	// taken away again; after a crash, the book does it.
	in := &upload{bulk: b, ctx: ctx, job: job, sum: sha256.New()}
	in.file = io.TeeReader(&bounded{file, MaxUpload}, in)
	if err = in.read(); err == nil {
		about := job.About
		about.SHA256, about.Size = hex.EncodeToString(in.sum.Sum(nil)), in.size
		job.About, job.State, job.Total, job.Version = about, JobUploaded, in.rows, 2
		err = b.Jobs.MoveJob(ctx, JobMove{Guard: Guard{id, 1}, From: JobUploading, To: JobUploaded, Total: in.rows, About: &about, Line: line})
	}
	if err != nil {
		line.Action = ActionJobDelete
		return Job{}, fmt.Errorf("upload: %w", errors.Join(err, b.Jobs.DeleteJob(context.WithoutCancel(ctx), Guard{id, 1}, line)))
	}

	// Step 3: have them checked.
	b.poke()
	return job, nil
}

// upload is a file that is being read.
type upload struct {
	bulk *Bulk
	ctx  context.Context
	job  Job
	file io.Reader
	sum  hash.Hash
	size int64
	rows int64
	page []JobRow
}

// Write counts what was read.
func (u *upload) Write(p []byte) (int, error) {
	u.size += int64(len(p))
	return u.sum.Write(p)
}

func (u *upload) read() error {
	if u.job.About.Media == MediaCSV {
		return u.readCSV()
	}
	data, err := io.ReadAll(u.file)
	if err != nil {
		return err
	}
	read := readFHIR
	if u.job.About.Media == MediaNDJSON {
		read = readNDJSON
	}
	if err := read(data, u.add); err != nil {
		return err
	}
	return u.end(nil)
}

func (u *upload) readCSV() error {
	c, header, err := newCSV(u.file)
	if err != nil {
		return err
	}
	l, err := newLayout(header, c.comma, u.job.About.Upload)
	if err != nil {
		return err
	}
	for {
		cells, line, err := c.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		l.note(cells)
		if err := u.add(encodeCells(cells), line); err != nil {
			return err
		}
	}
	if err := l.settle(u.job.About.Dates); err != nil {
		return err
	}
	return u.end(l)
}

func (u *upload) add(source []byte, line int) error {
	if u.rows++; u.rows > MaxRows {
		return &UploadError{Reason: ErrRows, Line: line, Hint: fmt.Sprintf("at most %d", MaxRows)}
	}
	u.page = append(u.page, JobRow{N: u.rows, Line: line, Source: source})
	if len(u.page) < addPage {
		return nil
	}
	return u.flush()
}

func (u *upload) flush() error {
	if len(u.page) == 0 {
		return nil
	}
	err := u.bulk.Jobs.AddRows(u.ctx, u.job.ID, u.page)
	u.page = u.page[:0]
	return err
}

// end adds what the rows are read by.
func (u *upload) end(l *layout) error {
	if u.rows == 0 {
		return &UploadError{Reason: ErrNoRows}
	}
	data, err := json.Marshal(l)
	if err != nil {
		return err
	}
	u.page = append(u.page, JobRow{N: 0, Source: data})
	return u.flush()
}

// Job returns a job of the actor's place.
func (b *Bulk) Job(ctx context.Context, by Actor, id ID) (Job, error) {
	if err := checkBy(by); err != nil {
		return Job{}, err
	}
	j, err := b.Jobs.Job(ctx, id)
	if err == nil && (!by.Within.Holds(j.Place) || j.State == JobUploading) {
		err = ErrNotFound
	}
	if err != nil {
		return Job{}, fmt.Errorf("job %s: %w", id, err)
	}
	return j, nil
}

// List returns a page of the jobs of the actor's place, newest first, and the
// cursor of the next page, which is zero after the last.
func (b *Bulk) List(ctx context.Context, by Actor, cursor ID, limit int) (page []Job, next ID, err error) {
	if err := checkBy(by); err != nil {
		return nil, ID{}, err
	}
	limit = min(max(limit, 1), 1000)
	states := []JobState{JobUploaded, JobChecked, JobRunning, JobPaused, JobFinished, JobCancelled}
	page, err = b.Jobs.Jobs(ctx, JobQuery{Within: by.Within, Before: cursor, States: states, Limit: limit + 1})
	if err != nil {
		return nil, ID{}, fmt.Errorf("jobs: %w", err)
	}
	if len(page) > limit {
		page = page[:limit]
		next = page[limit-1].ID
	}
	return page, next, nil
}

// Start has the rows issued that passed their check.
func (b *Bulk) Start(ctx context.Context, by Actor, g Guard) (Job, error) {
	return b.move(ctx, by, g, JobRunning, ActionJobStart, JobChecked)
}

// Pause stops the work on a job. What is in hand is finished.
func (b *Bulk) Pause(ctx context.Context, by Actor, g Guard) (Job, error) {
	return b.move(ctx, by, g, JobPaused, ActionJobPause, JobRunning)
}

// Resume goes on with a job.
func (b *Bulk) Resume(ctx context.Context, by Actor, g Guard) (Job, error) {
	return b.move(ctx, by, g, JobRunning, ActionJobResume, JobPaused)
}

// Cancel ends a job. What was issued stays; the rest of the file is destroyed, but
// for the rows that failed.
func (b *Bulk) Cancel(ctx context.Context, by Actor, g Guard) (Job, error) {
	return b.move(ctx, by, g, JobCancelled, ActionJobCancel, JobUploaded, JobChecked, JobRunning, JobPaused)
}

func (b *Bulk) move(ctx context.Context, by Actor, g Guard, to JobState, action Action, from ...JobState) (Job, error) {
	j, err := b.Job(ctx, by, g.ID)
	switch {
	case err != nil:
		return Job{}, err
	case j.Version != g.Version:
		return Job{}, fmt.Errorf("job %s: version %d, now %d: %w", g.ID, g.Version, j.Version, ErrConflict)
	case !slices.Contains(from, j.State):
		return Job{}, fmt.Errorf("job %s is %s: %w", g.ID, j.State, ErrState)
	}
	line := b.Registry().line(by, action)
	line.Record, line.Place = g.ID, j.Place
	if err := b.Jobs.MoveJob(ctx, JobMove{Guard: g, From: j.State, To: to, Line: line}); err != nil {
		return Job{}, fmt.Errorf("job %s: %w", g.ID, err)
	}
	b.init()
	b.mu.Lock()
	if r := b.runners[g.ID]; r != nil && to != JobRunning {
		r.stop()
	}
	b.mu.Unlock()
	b.poke()
	return b.Job(ctx, by, g.ID)
}

// Delete deletes a job that has ended, with what is left of its rows. Its
// certificates stay.
func (b *Bulk) Delete(ctx context.Context, by Actor, g Guard) error {
	j, err := b.Job(ctx, by, g.ID)
	if err != nil {
		return err
	}
	if !j.State.Ended() {
		return fmt.Errorf("job %s is %s; cancel it first: %w", g.ID, j.State, ErrState)
	}
	line := b.Registry().line(by, ActionJobDelete)
	line.Record, line.Place = g.ID, j.Place
	if err := b.Jobs.DeleteJob(ctx, g, line); err != nil {
		return fmt.Errorf("job %s: %w", g.ID, err)
	}
	return nil
}

// Rate returns how many rows a second the work on a job takes on, 0 where nobody
// works on it.
func (b *Bulk) Rate(id ID) float64 {
	b.init()
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.runners[id]
	if r == nil {
		return 0
	}
	return float64(r.rows) / max(time.Since(r.since).Seconds(), 0.001)
}

// Rows returns a page of rows after one, without their content, for a preview.
func (b *Bulk) Rows(ctx context.Context, by Actor, id ID, after int64, limit int, states ...RowState) ([]JobRow, error) {
	j, err := b.Job(ctx, by, id)
	if err != nil {
		return nil, err
	}
	line := b.Registry().line(by, ActionJobRead)
	line.Record, line.Place = id, j.Place
	if err := b.Jobs.Note(ctx, line); err != nil {
		return nil, fmt.Errorf("job %s: %w", id, err)
	}
	rows, err := b.Jobs.Rows(ctx, id, max(after, 0), min(max(limit, 1), 1000), states...)
	if err != nil {
		return nil, fmt.Errorf("job %s: %w", id, err)
	}
	for i := range rows {
		rows[i].Source = nil
	}
	return rows, nil
}

// Errors writes the rows that failed as CSV: the line of the file, the column, the
// reason word and a sentence, and then the row as it came. They stand in front since
// a row may have more cells than columns. Put right, the file can be uploaded again.
// Rows of FHIR come without what they were made of.
//
// A cell that a spreadsheet would compute begins with an apostrophe, those of the
// uploader too; it is taken off when the file comes again.
func (b *Bulk) Errors(ctx context.Context, by Actor, id ID, w io.Writer) error {
	// Step 1: it hands out what is personal.
	j, err := b.Job(ctx, by, id)
	if err != nil {
		return err
	}
	if j.Destroyed {
		return fmt.Errorf("job %s: its rows were destroyed: %w", id, ErrUnreadable)
	}
	line := b.Registry().line(by, ActionJobRead)
	line.Record, line.Place = id, j.Place
	if err := b.Jobs.Note(ctx, line); err != nil {
		return fmt.Errorf("job %s: %w", id, err)
	}

	// Step 2: the header. After the end of a job the layout is kept with the failed
	// rows, in each.
	wrote := false
	for after := int64(0); ; {
		rows, err := b.Jobs.Rows(ctx, id, after, workPage, RowFailed)
		if err != nil {
			return fmt.Errorf("job %s: %w", id, err)
		}
		// Step 3: the rows.
		var out []byte
		for _, row := range rows {
			after = row.N
			header, comma, cells := row.original()
			if !wrote {
				out = appendCSV([]byte("\ufeff"), comma, slices.Concat(answered, header)...)
				wrote = true
			}
			var where, why, what string
			for n, f := range row.Faults {
				if n > 0 {
					where, why, what = where+"; ", why+"; ", what+"; "
				}
				where, why, what = where+f.Column, why+f.Reason, what+f.Text
			}
			out = appendCSV(out, comma, append([]string{fmt.Sprint(row.Line), where, why, what}, cells...)...)
		}
		if len(rows) == 0 && !wrote {
			out = appendCSV([]byte("\ufeff"), ',', answered...)
		}
		if _, err := w.Write(out); err != nil {
			return err
		}
		if len(rows) == 0 {
			return nil
		}
	}
}

// failed is what is kept of a failed row of a CSV file.
type failed struct {
	Header []string `json:"header"`
	Comma  string   `json:"comma"`
	Cells  []string `json:"cells"`
}

// original returns the columns and cells of a failed row, without those that we
// once added.
func (row JobRow) original() (header []string, comma byte, cells []string) {
	var f failed
	if err := json.Unmarshal(row.Source, &f); err != nil || f.Comma == "" {
		return nil, ',', nil // of FHIR
	}
	for i, name := range f.Header {
		if at, known := columnOf[headerKey(name)]; known && at < 0 {
			continue
		}
		header = append(header, name)
		cell := ""
		if i < len(f.Cells) {
			cell = f.Cells[i]
		}
		cells = append(cells, cell)
	}
	// Cells beyond the last column are what is wrong with the row.
	for i := len(f.Header); i < len(f.Cells); i++ {
		cells = append(cells, f.Cells[i])
	}
	return header, f.Comma[0], cells
}

// Certificates yields the records that a job issued, in the order of its rows. Of
// those that were erased there are none. Each is read with a line on the audit log.
func (b *Bulk) Certificates(ctx context.Context, by Actor, id ID) iter.Seq2[*Held, error] {
	return func(yield func(*Held, error) bool) {
		b.init()
		if _, err := b.Job(ctx, by, id); err != nil {
			yield(nil, err)
			return
		}
		for after := int64(0); ; {
			rows, err := b.Jobs.Rows(ctx, id, after, reissueHand, RowDone)
			if err != nil {
				yield(nil, fmt.Errorf("job %s: %w", id, err))
				return
			}
			if len(rows) == 0 {
				return
			}
			after = rows[len(rows)-1].N
			held, errs := make([]*Held, len(rows)), make([]error, len(rows))
			var wg sync.WaitGroup // so that the audit lines share the disk's syncs
			for i, row := range rows {
				wg.Go(func() { held[i], errs[i] = b.Registry().Read(ctx, by, row.Record) })
			}
			wg.Wait()
			for i := range rows {
				if errors.Is(errs[i], ErrNotFound) {
					continue
				}
				if !yield(held[i], errs[i]) || errs[i] != nil {
					return
				}
			}
		}
	}
}

// Serve works on jobs until its context ends: those that are there when it begins,
// and those that come. It returns when nothing is in hand any more.
func (b *Bulk) Serve(ctx context.Context) {
	b.init()
	var wg sync.WaitGroup
	defer wg.Wait()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		if err := b.round(ctx, &wg); err != nil && ctx.Err() == nil {
			b.trouble(ID{}, err)
		}
		select {
		case <-ctx.Done():
			return
		case <-b.wake:
		case <-tick.C:
		}
	}
}

func (b *Bulk) trouble(id ID, err error) {
	if b.Trouble != nil {
		b.Trouble(id, err)
	}
}

// round gives every job that needs work a runner, and ends those whose time is over.
func (b *Bulk) round(ctx context.Context, wg *sync.WaitGroup) error {
	jobs, err := b.Jobs.Jobs(ctx, JobQuery{States: []JobState{JobUploaded, JobRunning}, Limit: 1000})
	if err != nil {
		return err
	}
	for _, j := range jobs {
		b.mu.Lock()
		if b.runners[j.ID] == nil {
			ctx, stop := context.WithCancel(ctx)
			r := &runner{stop: stop, since: time.Now()}
			b.runners[j.ID] = r
			wg.Go(func() {
				defer stop()
				err := b.work(ctx, j, r)
				b.mu.Lock()
				delete(b.runners, j.ID)
				b.mu.Unlock()
				if err != nil && ctx.Err() == nil {
					b.trouble(j.ID, err) // after the next tick again
				} else {
					b.poke() // it may have been resumed while this one was ending
				}
			})
		}
		b.mu.Unlock()
	}
	return b.sweep(ctx)
}

// sweep empties jobs that ended long ago, and cancels those that nobody went on
// with.
func (b *Bulk) sweep(ctx context.Context) error {
	old, err := b.Jobs.Jobs(ctx, JobQuery{
		States:    []JobState{JobChecked, JobPaused, JobFinished, JobCancelled},
		Untouched: b.Registry().Now().Add(-b.Retention), Limit: 1000,
	})
	if err != nil {
		return err
	}
	for _, j := range old {
		line := b.Registry().line(Actor{"bulk", j.Place}, ActionJobEmpty)
		line.Record = j.ID
		if j.State.Ended() {
			err = b.Jobs.EmptyJob(ctx, Guard{j.ID, j.Version}, line)
		} else {
			line.Action = ActionJobCancel
			err = b.Jobs.MoveJob(ctx, JobMove{Guard: Guard{j.ID, j.Version}, From: j.State, To: JobCancelled, Line: line})
		}
		if err != nil && !errors.Is(err, ErrConflict) {
			return fmt.Errorf("job %s: %w", j.ID, err)
		}
	}
	return nil
}

// work does what a job needs: the check of its rows, or their issue.
func (b *Bulk) work(ctx context.Context, j Job, r *runner) error {
	head, err := b.Jobs.Rows(ctx, j.ID, -1, 1)
	if err != nil {
		return err
	}
	l := new(layout)
	if len(head) != 1 || head[0].N != 0 || json.Unmarshal(head[0].Source, l) != nil {
		return fmt.Errorf("job %s: %w", j.ID, ErrUnreadable)
	}
	next, action := JobFinished, ActionJobFinish
	if j.State == JobUploaded {
		next, action = JobChecked, ActionJobCheck
		err = b.check(ctx, &j, l, r)
	} else {
		err = b.issue(ctx, &j, l, r)
	}
	line := b.Registry().line(j.actor(), action)
	line.Record = j.ID
	if err == nil {
		err = b.Jobs.MoveJob(ctx, JobMove{Guard: Guard{j.ID, j.Version}, From: j.State, To: next, Line: line})
	}
	if errors.Is(err, ErrConflict) {
		return nil // it was paused or cancelled meanwhile
	}
	return err
}

// still returns [ErrConflict] if a job is in another state than the work began in:
// it may have been paused before there was a runner to stop, or by another office.
func (b *Bulk) still(ctx context.Context, j *Job) error {
	now, err := b.Jobs.Job(ctx, j.ID)
	if err == nil && now.Version != j.Version {
		err = ErrConflict
	}
	return err
}

// each does something with each row of a page, as many at once as there are hands.
func (b *Bulk) each(n int, do func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		b.hands <- struct{}{}
		wg.Go(func() {
			defer func() { <-b.hands }()
			do(i)
		})
	}
	wg.Wait()
}

func (b *Bulk) progress(r *runner, rows int) {
	b.mu.Lock()
	r.rows += int64(rows)
	b.mu.Unlock()
}

// fail marks a row as failed, with what is given back of it.
func (j *Job) fail(l *layout, row JobRow, faults []Fault) RowMark {
	m := RowMark{N: row.N, From: row.State, To: RowFailed, Reason: faults[0].Reason, Column: faults[0].Column, Faults: faults}
	if j.About.Media == MediaCSV {
		f := failed{Header: l.Header, Comma: l.Comma}
		_ = json.Unmarshal(row.Source, &f.Cells) // it was read before
		m.Source, _ = json.Marshal(f)
	}
	return m
}

// check makes the dry run. It goes over all rows, those too that were checked
// before a crash: a repetition is one of a row further up.
func (b *Bulk) check(ctx context.Context, j *Job, l *layout, r *runner) error {
	keys, known := make(map[[16]byte]bool), make(map[[16]byte]bool)
	for after := int64(0); ; {
		// Step 1: the next rows.
		if err := b.still(ctx, j); err != nil {
			return err
		}
		rows, err := b.Jobs.Rows(ctx, j.ID, after, workPage)
		if err != nil || len(rows) == 0 {
			return err
		}
		after = rows[len(rows)-1].N
		if slices.ContainsFunc(rows, func(r JobRow) bool { return r.State == RowNew && r.Source == nil }) {
			return ErrConflict // cancelled meanwhile
		}

		// Step 2: each by itself, by the rules of issuing.
		marks, probes := make([]RowMark, len(rows)), make([]Probe, len(rows))
		b.each(len(rows), func(i int) {
			row := rows[i]
			if row.State != RowNew && row.State != RowReady {
				return
			}
			record, faults := j.record(l, row.Source)
			if len(faults) == 0 && row.State == RowNew {
				if err := b.Registry().CheckOrder(j.order(record)); err != nil {
					faults = faultsOf(err)
				}
			}
			if len(faults) > 0 {
				marks[i] = j.fail(l, row, faults)
				return
			}
			marks[i] = RowMark{N: row.N, From: row.State, To: RowReady}
			probes[i] = Probe{askedKey(j.actor(), j.rowKey(record)), doses(record)}
		})

		// Step 3: those that passed, against the book and against each other.
		line := b.Registry().line(j.actor(), ActionJobCheck)
		line.Record = j.ID
		seen, err := b.Jobs.Look(ctx, j.Place.Organisation, probes, line)
		if err != nil {
			return err
		}
		for i := range marks {
			m := &marks[i]
			if m.To != RowReady {
				continue
			}
			key := sum16(probes[i].Key)
			duplicate := false
			for _, t := range probes[i].Terms {
				sum := sum16(string(t.Kind) + "|" + t.Text)
				duplicate = duplicate || known[sum]
				known[sum] = true
			}
			switch {
			case keys[key]:
				m.To, m.Reason = RowSkipped, Repeated
			case seen[i].Record != (ID{}):
				m.To, m.Reason = RowSkipped, AlreadyIssued
			case duplicate:
				m.Reason = DuplicateInFile
			case seen[i].Same:
				m.Reason = DuplicateInBook
			}
			keys[key] = true
		}

		// Step 4: what was not marked before.
		marks = slices.DeleteFunc(marks, func(m RowMark) bool { return m.From != RowNew })
		if err := b.Jobs.MarkRows(ctx, j.ID, marks); err != nil {
			return err
		}
		b.progress(r, len(rows))
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

func sum16(s string) [16]byte {
	sum := sha256.Sum256([]byte(s))
	return [16]byte(sum[:16])
}

// issue issues the rows that are ready.
func (b *Bulk) issue(ctx context.Context, j *Job, l *layout, r *runner) error {
	for after := int64(0); ; {
		// Step 1: the next rows. None before them is left: the work ends with an error.
		if err := b.still(ctx, j); err != nil {
			return err
		}
		rows, err := b.Jobs.Rows(ctx, j.ID, after, workPage, RowReady)
		if err != nil || len(rows) == 0 {
			return err
		}
		after = rows[len(rows)-1].N

		// Step 2: issue each. Those that were issued before a crash are handed out again.
		marks, errs := make([]RowMark, len(rows)), make([]error, len(rows))
		b.each(len(rows), func(i int) { marks[i], errs[i] = b.issueRow(ctx, j, l, rows[i]) })
		marks = slices.DeleteFunc(marks, func(m RowMark) bool { return m.N == 0 })

		// Step 3: note it. A job that is being stopped has its work noted all the same.
		if err := b.Jobs.MarkRows(context.WithoutCancel(ctx), j.ID, marks); err != nil {
			return err
		}
		b.progress(r, len(marks))
		if err := firstOf(ctx.Err(), errs); err != nil {
			return err
		}
	}
}

// firstOf returns the first error there is.
func firstOf(first error, more []error) error {
	for _, err := range append([]error{first}, more...) {
		if err != nil {
			return err
		}
	}
	return nil
}

// issueRow issues one row. An error means that it is not known yet what becomes of
// it: the store failed, or the work is to end.
func (b *Bulk) issueRow(ctx context.Context, j *Job, l *layout, row JobRow) (RowMark, error) {
	if err := ctx.Err(); err != nil {
		return RowMark{}, err
	}
	if row.Source == nil {
		return RowMark{}, ErrConflict // cancelled meanwhile
	}
	record, faults := j.record(l, row.Source)
	if len(faults) > 0 {
		return j.fail(l, row, faults), nil // it passed before: a newer version reads it otherwise
	}
	mark := RowMark{N: row.N, From: RowReady, To: RowDone, Reason: row.Reason}
	o := j.order(record)
	receipt, err := b.Registry().Issue(ctx, o)
	switch {
	case errors.Is(err, ErrKeyReused):
		mark.To, mark.Reason = RowSkipped, AlreadyIssued
	case err != nil:
		// What is wrong with the row is found without the book; the rest is trouble.
		if wrong := b.Registry().CheckOrder(o); wrong != nil {
			return j.fail(l, row, faultsOf(wrong)), nil
		}
		return RowMark{}, err
	case receipt.Replayed && receipt.Issued.Before(j.Started):
		mark.To, mark.Reason = RowSkipped, AlreadyIssued
	default:
		mark.Record = receipt.ID
	}
	return mark, nil
}
