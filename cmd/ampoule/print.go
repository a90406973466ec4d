package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"ampoule/cert"
	"ampoule/internal/messages"
	"ampoule/internal/paper"
	"ampoule/party/verifier"
)

// paperFlags say how certificates are put on paper.
type paperFlags struct {
	Language string   `default:"en,fr" placeholder:"LL,LL" help:"Languages of the paper: English or French, and another one; a single one is the other to English (${default})."`
	PerSheet int      `enum:"1,2,4" default:"1" help:"Certificates on a sheet of A4: ${enum}."`
	Font     []string `sep:"none" placeholder:"F" help:"Font for scripts that none is built in for, such as Chinese, Japanese and Korean: TrueType, OpenType or a collection."`
}

func (f *paperFlags) options(made time.Time) (paper.Options, error) {
	o := paper.Options{PerSheet: f.PerSheet, Made: made}
	first, second, two := strings.Cut(f.Language, ",")
	if !two {
		first, second = "en", first
	}
	for _, l := range messages.Languages {
		switch l.Tag {
		case first:
			o.First = l
		case second:
			o.Second = l
		}
	}
	if o.First == nil || o.Second == nil {
		var known []string
		for _, l := range messages.Languages {
			known = append(known, l.Tag)
		}
		return o, usageError("--language %q: two different ones of %s", f.Language, strings.Join(known, ", "))
	}
	for _, path := range f.Font {
		data, err := os.ReadFile(path)
		if err != nil {
			return o, usageError("--font: %w", err)
		}
		font, err := paper.ReadFont(data)
		if err != nil {
			return o, usageError("--font %s: %w", path, err)
		}
		o.Fonts = append(o.Fonts, font)
	}
	return o, nil
}

// write prints certificates into a file that only its owner reads: it names
// persons.
func (f *paperFlags) write(path string, o paper.Options, certificates ...paper.Certificate) error {
	data, err := paper.Print(certificates, o)
	if errors.Is(err, paper.ErrGlyph) {
		return usageError("nothing was printed: %w; add a font that has it with --font", err)
	}
	if err != nil {
		return usageError("nothing was printed: %w", err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return exitError{exitUsage, err}
	}
	return nil
}

type printCmd struct {
	trustFlags
	paperFlags
	Out   string   `required:"" placeholder:"F" help:"The PDF to write."`
	Files []string `arg:"" name:"file" help:"Text or picture of a code; '-' is standard input."`
}

// Run prints certificates that exist already, for a copy that was lost or a
// family's on one sheet. What is not valid is not printed: paper would make it
// look better than it is.
func (c *printCmd) Run(t terminal) error {
	v, err := c.verifier(t.err)
	if err != nil {
		return err
	}
	o, err := c.options(v.Now())
	if err != nil {
		return err
	}
	var certificates []paper.Certificate
	for _, file := range c.Files {
		data, err := readInput(file, t.in)
		if err != nil {
			return exitError{exitUndecided, err}
		}
		codes, err := readCodes(data)
		if err != nil {
			return exitError{exitUndecided, fmt.Errorf("%s: %w", file, err)}
		}
		for _, group := range verifier.Group(codes) {
			verdict := v.Verify(group...)
			switch {
			case verdict.Outcome == verifier.Unknown:
				return exitError{exitUndecided, fmt.Errorf("%s: %s (%s); see 'ampoule verify'", file, verdict.Outcome, verdict.Reason)}
			case verdict.Outcome != verifier.Valid:
				return exitError{exitNotValid, fmt.Errorf("%s: %s (%s); see 'ampoule verify'", file, verdict.Outcome, verdict.Reason)}
			case len(group) > 1:
				return usageError("%s: a card in %d parts, which needs as many codes, is not printed", file, len(group))
			}
			certificates = append(certificates, paper.Certificate{
				Format: cert.Format(verdict.Format), Text: group[0], Participant: verdict.Issuer.Participant, Record: verdict.Certificate, Advice: verdict.Advice,
			})
		}
	}
	return c.write(c.Out, o, certificates...)
}
