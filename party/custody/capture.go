package custody

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"ampoule/format"
	"ampoule/format/epcis"
	"ampoule/thing/trail"
)

// Job is what became of one capture. It is over when it is told of.
type Job struct {
	ID           ID        `json:"-"` // UUIDv7: the order of captures
	Organisation string    `json:"-"`
	By           string    `json:"-"`
	Created      time.Time `json:"created"`
	Finished     time.Time `json:"finished"`
	Proceed      bool      `json:"proceed,omitempty"` // what can be captured was
	Events       int       `json:"events"`            // that were in it
	Added        int       `json:"added"`             // that were not there before
	Errors       []Refused `json:"errors,omitempty"`
}

// Success reports whether nothing was refused.
func (j *Job) Success() bool { return len(j.Errors) == 0 }

// Refused is why an event was not captured.
type Refused struct {
	Event  int           `json:"event"` // of the document, from 0
	Path   string        `json:"path"`
	Reason format.Defect `json:"reason"`
}

// Document reads what is to be captured. It fails where there is no reading on, and where
// it is no document that is captured: then there is no job.
func Document(data []byte) (*epcis.Document, []format.Finding, error) {
	d, findings, err := epcis.Parse(data)
	if err != nil {
		return nil, nil, err
	}
	if d.Query != "" {
		return nil, nil, fmt.Errorf("custody: what a query found is no document to capture: %w", epcis.ErrForm)
	}
	return d, findings, nil
}

// Capture takes the events of a document: those of places that the one who asks answers
// for. Where one is refused, all are, unless they are to proceed.
//
// What was captured is durable when it returns, and so is the job that tells of it. The
// same document once more does no harm.
func (c *Custody) Capture(ctx context.Context, by Actor, data []byte, proceed bool) (*Job, error) {
	d, findings, err := Document(data)
	if err != nil {
		return nil, err
	}
	now := c.Now().UTC().Truncate(time.Millisecond)
	j := &Job{ID: newID(now), Organisation: by.Within.Organisation, By: by.ID, Created: now, Proceed: proceed, Events: len(d.Events)}

	// Step 1: what the standard finds wrong.
	refused := map[int]bool{}
	refuse := func(event int, path string, reason format.Defect) {
		j.Errors = append(j.Errors, Refused{event, path, reason})
		refused[event] = true
	}
	whole := len(findings) >= epcis.MaxFindings // where there may be more, nothing is known of the rest
	for _, f := range findings {
		event, ok := eventOf(f.Path, len(d.Events))
		whole = whole || !ok
		refuse(event, f.Path, f.Reason)
	}

	// Step 2: whose places they are of.
	at := c.sites(ctx)
	events := make([]Event, 0, len(d.Events))
	index := make([]int, 0, len(d.Events))
	first := map[Name][32]byte{}
	for i, e := range d.Events {
		if refused[i] {
			continue
		}
		ours, err := at.ours(by, e)
		if err != nil {
			return nil, err
		}
		if !ours {
			refuse(i, pathOf(d, i), ErrNotYours)
			continue
		}
		n := NewEvent(e, by.Within.Organisation, by.ID, now)
		name := Name{n.ID, n.Declares}
		if before, ok := first[name]; ok && before != n.Hash {
			refuse(i, pathOf(d, i), ErrOtherEvent)
			continue
		}
		first[name] = n.Hash
		events, index = append(events, n), append(index, i)
	}

	// Step 3: which of them are there under another content.
	names := make([]Name, 0, len(first))
	for name := range first {
		names = append(names, name)
	}
	there, err := c.Events.Hashes(ctx, by.Within.Organisation, names)
	if err != nil {
		return nil, err
	}
	kept := events[:0]
	for k, e := range events {
		if hash, ok := there[Name{e.ID, e.Declares}]; ok && hash != e.Hash {
			refuse(index[k], pathOf(d, index[k]), ErrOtherEvent)
			continue
		}
		kept = append(kept, e)
	}

	// Step 4: keep them.
	if (len(j.Errors) == 0 || proceed) && !whole && len(kept) > 0 {
		j.Added, err = c.Events.Capture(ctx, kept)
		if errors.Is(err, ErrOtherEvent) { // told meanwhile by somebody else of the organisation
			j.Errors, err = append(j.Errors, Refused{0, "", ErrOtherEvent}), nil
		}
		if err != nil {
			return nil, err
		}
	}
	j.Finished = c.Now().UTC().Truncate(time.Millisecond)
	if err := c.Events.PutJob(ctx, j); err != nil {
		return nil, err
	}
	if j.Added > 0 {
		c.captured.up()
	}
	return j, nil
}

// One captures the one event of a document, or fails with what is wrong with it.
func (c *Custody) One(ctx context.Context, by Actor, data []byte) (id string, err error) {
	d, findings, err := Document(data)
	switch {
	case err != nil:
		return "", err
	case len(findings) > 0:
		return "", fmt.Errorf("custody: %s: %w", findings[0].Path, findings[0].Reason)
	case len(d.Events) != 1:
		return "", fmt.Errorf("custody: %d events, and one is captured so: %w", len(d.Events), epcis.ErrForm)
	}
	e := d.Events[0]
	ours, err := c.sites(ctx).ours(by, e)
	if err != nil {
		return "", err
	}
	if !ours {
		return "", fmt.Errorf("custody: %w", ErrNotYours)
	}
	n := NewEvent(e, by.Within.Organisation, by.ID, c.Now().UTC().Truncate(time.Millisecond))
	added, err := c.Events.Capture(ctx, []Event{n})
	if err != nil {
		return "", err
	}
	if added > 0 {
		c.captured.up()
	}
	return n.ID, nil
}

// ours reports whether an event is of places that the one who tells it answers for. One
// that nobody registered, or none at all, is the whole organisation's. Both places
// count: what left is told of where it was read, what arrived of where it is now.
func (s *sites) ours(by Actor, e *epcis.Event) (bool, error) {
	placed := false
	for _, uri := range []string{e.Location, e.ReadPoint} {
		if uri == "" {
			continue
		}
		placed = true
		at := Place{Organisation: by.Within.Organisation}
		if l := s.find(trail.Name(uri)); l != nil {
			at = l.Place
		}
		if !by.Within.Holds(at) {
			return false, s.err
		}
	}
	return placed || by.Within.Facility == "", s.err
}

// eventOf is the number of the event that a path leads into; false where it is none of
// one.
func eventOf(path string, events int) (int, bool) {
	_, rest, ok := strings.Cut(path, "eventList[")
	if !ok {
		return 0, events == 1 && !strings.HasPrefix(path, "epcis") && !documentFields[path]
	}
	number, rest, _ := strings.Cut(rest, "]")
	n, err := strconv.Atoi(number)
	// What is no event at all has no place in the list of those that were read.
	return n, err == nil && rest != ""
}

var documentFields = map[string]bool{"@context": true, "schemaVersion": true, "creationDate": true, "id": true, "sender": true, "receiver": true, "instanceIdentifier": true}

// pathOf is where an event stands in its document.
func pathOf(d *epcis.Document, i int) string {
	if d.Created.IsZero() {
		return cmp.Or(d.Events[i].ID, "event")
	}
	return "epcisBody.eventList[" + strconv.Itoa(i) + "]"
}

// Job returns what became of a capture of one's own organisation; of one facility alone
// one sees one's own.
func (c *Custody) Job(ctx context.Context, by Actor, id ID) (*Job, error) {
	j, err := c.Events.Job(ctx, id)
	if err != nil {
		return nil, err
	}
	if j.Organisation != by.Within.Organisation || by.Within.Facility != "" && j.By != by.ID {
		return nil, ErrNoJob
	}
	return j, nil
}

// Jobs are captures, newest first, and what the next page begins after.
func (c *Custody) Jobs(ctx context.Context, by Actor, token string, limit int) (jobs []Job, next string, err error) {
	var before ID
	if err := c.unseal(by, "jobs", token, &before); err != nil {
		return nil, "", err
	}
	account := ""
	if by.Within.Facility != "" {
		account = by.ID
	}
	jobs, err = c.Events.Jobs(ctx, by.Within.Organisation, account, before, limit+1)
	if err != nil || len(jobs) <= limit {
		return jobs, "", err
	}
	jobs = jobs[:limit]
	return jobs, c.seal(by, "jobs", jobs[limit-1].ID), nil
}
