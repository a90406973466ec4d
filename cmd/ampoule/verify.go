package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	"ampoule/cert"
	"ampoule/format"
	"ampoule/internal/keys"
	"ampoule/internal/messages"
	"ampoule/party/verifier"
)

type verifyCmd struct {
	trustFlags
	Show          bool   `help:"Show the content even where the certificate is not valid."`
	JSON          bool   `name:"json" help:"One JSON object a line."`
	Proof         string `placeholder:"F" help:"Proof that came beside the one certificate: its way to a landmark of the bundle, or a notary's receipt."`
	Transcript    string `placeholder:"P" help:"Write a signed transcript of the verdict to this file, or of each verdict into this folder; 'replay' runs it again."`
	TranscriptKey string `placeholder:"F" help:"Key file that signs transcripts; a key that is forgotten afterwards otherwise."`
	secretFlags
	Files []string `arg:"" name:"file" help:"Text or picture (PNG, JPEG, GIF) of a code; '-' is standard input."`
}

// maxProof bounds the file of a proof: none that can be read is as large.
const maxProof = 1 << 16

// judged is the answer for one file: a verdict for each code in it, or why it
// could not be read.
type judged struct {
	file     string
	verdicts []*verifier.Verdict
	written  [][]byte // the transcript of each verdict, where they are asked for
	err      error
}

// Run exits 0 if every code is valid, 1 if any is not, 2 if any could not be
// decided and none is invalid.
func (c *verifyCmd) Run(t terminal) error {
	var record *recorder
	switch {
	case c.Transcript != "":
		var err error
		if record, err = newRecorder(c.Transcript, c.TranscriptKey, func() (keys.Lock, error) { return c.lockOf(c.TranscriptKey) }); err != nil {
			return err
		}
		if c.At == "" { // the sources are read at the time of the verdict
			c.At = time.Now().UTC().Format(time.RFC3339)
		}
	case c.TranscriptKey != "":
		return usageError("--transcript-key signs transcripts: say by --transcript where to")
	}
	v, b, err := c.opened(t.err)
	if err != nil {
		return err
	}
	if record != nil {
		if record.known.Sources, err = c.sources(b); err != nil {
			return err
		}
	}
	if c.Proof != "" {
		if len(c.Files) != 1 {
			return usageError("--proof is of one certificate, and there are %d files", len(c.Files))
		}
		o := verifier.Options{}
		if o.Proof, err = readBounded(c.Proof, t.in, maxProof); err != nil {
			return usageError("--proof: %w", err)
		}
		v = v.With(o)
	}
	if len(c.Trust) == 0 && c.Bundle == "" {
		fmt.Fprintln(t.err, "ampoule: no --trust was given, so every issuer is unknown")
	}
	invalid, undecided := false, false
	count := 0
	for result := range c.judge(t, v, record) {
		count++
		c.progress(t, count)
		if result.err != nil {
			undecided = true
			c.printError(t, result)
			continue
		}
		for i, verdict := range result.verdicts {
			file := result.file
			if len(result.verdicts) > 1 {
				file = fmt.Sprintf("%s#%d", file, i+1)
			}
			switch verdict.Outcome {
			case verifier.Valid:
			case verifier.Unknown:
				undecided = true
			default:
				invalid = true
			}
			c.print(t, file, verdict)
			if record != nil {
				path, err := record.write(result.written[i])
				if err != nil {
					return err
				}
				fmt.Fprintf(t.err, "ampoule: %s: transcript %s\n", file, path)
			}
		}
	}
	switch {
	case invalid:
		return exitError{code: exitNotValid}
	case undecided:
		return exitError{code: exitUndecided}
	}
	return nil
}

// judge verifies the files side by side and yields them in the order given.
func (c *verifyCmd) judge(t terminal, v *verifier.Verifier, record *recorder) func(yield func(judged) bool) {
	return func(yield func(judged) bool) {
		results := make([]chan judged, len(c.Files))
		slots := make(chan struct{}, runtime.GOMAXPROCS(0))
		done := make(chan struct{})
		defer close(done)
		for i := range results {
			results[i] = make(chan judged, 1)
		}
		go func() {
			for i, file := range c.Files {
				select {
				case slots <- struct{}{}:
				case <-done:
					return
				}
				go func() {
					defer func() { <-slots }()
					results[i] <- judgeFile(file, t.in, v, record)
				}()
			}
		}()
		for i := range results {
			if !yield(<-results[i]) {
				return
			}
		}
	}
}

func judgeFile(file string, stdin io.Reader, v *verifier.Verifier, record *recorder) judged {
	data, err := readInput(file, stdin)
	if err != nil {
		return judged{file: file, err: err}
	}
	codes, err := readCodes(data)
	if err != nil {
		return judged{file: file, err: err}
	}
	j := judged{file: file}
	for _, group := range verifier.Group(codes) {
		verdict, transcript, err := record.judge(v, group)
		if err != nil {
			return judged{file: file, err: err}
		}
		j.verdicts, j.written = append(j.verdicts, verdict), append(j.written, transcript)
	}
	return j
}

// progress shows how far a long run is, to a person.
func (c *verifyCmd) progress(t terminal, done int) {
	f, ok := t.err.(*os.File)
	if !ok || len(c.Files) < 20 {
		return
	}
	if info, err := f.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return
	}
	fmt.Fprintf(f, "\r%d of %d", done, len(c.Files))
	if done == len(c.Files) {
		fmt.Fprint(f, "\r\033[K")
	}
}

func (c *verifyCmd) printError(t terminal, j judged) {
	if c.JSON {
		writeJSON(t.out, map[string]string{"file": j.file, "outcome": string(verifier.Unknown), "reason": format.Reason(j.err, "unreadable-file"), "detail": j.err.Error()})
		return
	}
	fmt.Fprintf(t.out, "%s\n  outcome: %s\n  the file could not be read: %v\n", j.file, verifier.Unknown, j.err)
}

func writeJSON(w io.Writer, v any) {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil && !errors.Is(err, os.ErrClosed) {
		fmt.Fprintln(os.Stderr, "ampoule:", err)
	}
}

func (c *verifyCmd) print(t terminal, file string, v *verifier.Verdict) {
	report := v.Report(c.Show)
	report.File = file
	if c.JSON {
		fmt.Fprintf(t.out, "%s\n", report.JSON())
		return
	}
	fmt.Fprintf(t.out, "%s\n  outcome: %s\n", file, v.Outcome)
	if v.Outcome != verifier.Valid {
		fmt.Fprintf(t.out, "  reason: %s\n", v.Reason)
	}
	fmt.Fprintf(t.out, "  %s\n", messages.English.Outcome(v.Outcome).Verifier)
	if v.Format != "" {
		fmt.Fprintf(t.out, "  format: %s\n", v.Format)
	}
	switch {
	case v.Issuer.Participant != "":
		fmt.Fprintf(t.out, "  issuer: %s, key %s\n", format.Visible(v.Issuer.Participant), v.Issuer.KID)
	case v.Issuer.KID != "":
		fmt.Fprintf(t.out, "  key: %s\n", v.Issuer.KID)
	}
	fmt.Fprintf(t.out, "  dose advice: %s (%s)\n", v.Advice.Value, v.Advice.Reason)
	if v.Advice.Asks() {
		words := messages.English.Reason(v.Advice.Reason, messages.English.Advice(v.Advice.Value))
		fmt.Fprintf(t.out, "    %s\n    %s: %s\n", words.Verifier, messages.English.Text("verdict.for-holder"), words.Holder)
	}
	fmt.Fprintln(t.out, "  checks:")
	for _, check := range v.Checks {
		line := fmt.Sprintf("    %-12s %-14s %s", check.Name, check.Result, check.Reason)
		if check.Detail != "" {
			line += ": " + format.Visible(check.Detail)
		}
		fmt.Fprintln(t.out, strings.TrimRight(line, " "))
	}
	if report.Certificate != nil {
		printCertificate(t.out, report.Certificate)
	}
}

// printCertificate writes the content for a person, line by line.
func printCertificate(w io.Writer, c *cert.Certificate) {
	fmt.Fprintln(w, "  certificate:")
	for _, line := range c.Lines() {
		fmt.Fprintf(w, "    %-14s %s\n", line.Name, format.Visible(line.Value))
	}
}
