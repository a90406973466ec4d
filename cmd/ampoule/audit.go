package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"time"

	"ampoule/format"
	"ampoule/internal/keep"
	"ampoule/internal/store"
)

type auditCmd struct {
	Verify auditVerifyCmd `cmd:"" help:"Say whether the audit log is as it was written, and where it is not; also while a server runs."`
	Export auditExportCmd `cmd:"" help:"Write the audit log with its seals to a file, as JSON, one object a line; also while a server runs."`
}

type auditVerifyCmd struct {
	configFlags
	JSON bool `name:"json" help:"As a JSON object."`
}

// Run exits 0 if the audit log is whole, 1 if it was touched, and 2 if that could
// not be decided.
func (c *auditVerifyCmd) Run(t terminal) error {
	settings, _, err := c.load()
	if err != nil {
		return err
	}
	ctx := context.Background()
	s, _, err := openSource(ctx, settings)
	if err != nil {
		return err
	}
	defer s.Close()
	r, err := s.VerifyAudit(ctx)
	if err != nil {
		return exitError{exitUndecided, err}
	}
	if c.JSON {
		writeJSON(t.out, r)
	} else {
		printAudit(t.out, r)
	}
	switch {
	case !r.Whole():
		return exitError{exitNotValid, nil}
	case r.Trouble != "":
		return exitError{exitUndecided, nil}
	}
	return nil
}

func printAudit(w io.Writer, r *store.AuditReport) {
	word := "whole"
	if !r.Whole() {
		word = "broken"
	}
	fmt.Fprintf(w, "%s: %d lines under %d seals, %d lines not sealed yet\nhead: %s\n", word, r.Lines, r.Seals, r.Open, r.Head)
	for _, b := range r.Breaks {
		where := fmt.Sprintf("seal %d", b.Seal)
		if b.Seal == 0 {
			where = "no seal"
		}
		if b.Line != "" {
			where += ", line " + b.Line
		}
		fmt.Fprintf(w, "%s at %s: %s\n", b.Kind, where, format.Visible(b.Detail))
	}
	if r.More {
		fmt.Fprintln(w, "there are more breaks than these")
	}
	for _, b := range r.Restored {
		fmt.Fprintf(w, "%s; what came between is not in the log\n", format.Visible(b.Detail))
	}
	if r.Trouble != "" {
		fmt.Fprintf(w, "new lines are not sealed: %s\n", format.Visible(r.Trouble))
	}
}

type auditExportCmd struct {
	configFlags
	From string `placeholder:"TIME" help:"First moment, such as 2026-11-22 or 2026-11-22T10:00:00Z; a day begins at midnight in UTC."`
	To   string `placeholder:"TIME" help:"First moment that is left out."`
	Out  string `required:"" placeholder:"F" help:"File to write; it must not exist."`
}

func (c *auditExportCmd) Run(t terminal) error {
	settings, _, err := c.load()
	if err != nil {
		return err
	}
	from, err := moment("--from", c.From)
	if err != nil {
		return err
	}
	to, err := moment("--to", c.To)
	if err != nil {
		return err
	}
	ctx := context.Background()
	s, _, err := openSource(ctx, settings)
	if err != nil {
		return err
	}
	defer s.Close()
	counts := new(auditCounter)
	sum := sha256.New()
	err = keep.Create(c.Out, func(w io.Writer) error {
		return s.AuditLines(ctx, io.MultiWriter(w, sum, counts), from, to)
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(t.out, "%s: %d lines, %d seals, SHA-256 %x\n", c.Out, counts.lines, counts.seals, sum.Sum(nil))
	return nil
}

// moment reads a day or a time; the zero time of an empty text.
func moment(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		at, err = time.Parse(time.DateOnly, text)
	}
	if err != nil {
		return time.Time{}, usageError("%s %q: a time looks like 2026-11-22 or 2026-11-22T10:00:00Z", flag, text)
	}
	return at, nil
}

// auditCounter counts what an export has: a seal begins with its number, and a line
// with its identifier.
type auditCounter struct {
	lines, seals int
	begun        []byte // of the object that is not at its end
}

func (c *auditCounter) Write(p []byte) (int, error) {
	const enough = len(`{"seal":`)
	for rest := p; len(rest) > 0; {
		piece, after, ended := bytes.Cut(rest, []byte("\n"))
		if room := enough - len(c.begun); room > 0 {
			c.begun = append(c.begun, piece[:min(room, len(piece))]...)
		}
		if ended {
			if string(c.begun) == `{"seal":` {
				c.seals++
			} else {
				c.lines++
			}
			c.begun = c.begun[:0]
		}
		rest = after
	}
	return len(p), nil
}
