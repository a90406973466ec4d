package main

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"ampoule/format"
	"ampoule/format/epcis"
	"ampoule/format/hcert"
	"ampoule/format/shc"
	"ampoule/format/vdsnc"
	"ampoule/internal/httpapi"
	"ampoule/internal/keep"
	"ampoule/ledger/print"
	"ampoule/party/issuer"
	"ampoule/thing/thread"
)

type traceCmd struct {
	Follow traceFollowCmd `cmd:"" default:"withargs" help:"Ask a running service for the proof behind a dose, from its certificate to the readings of the refrigerators."`
	Verify traceVerifyCmd `cmd:"" help:"Check the file of a thread, with no server."`
}

type traceFollowCmd struct {
	apiFlags
	Code     string `arg:"" optional:"" placeholder:"CODE" help:"Text of the code of a certificate, or a file with its text or picture; - is standard input."`
	Record   string `placeholder:"ID" help:"Record of a dose, instead."`
	Session  string `placeholder:"ID" help:"Session of a clinic, instead."`
	Lot      string `placeholder:"LOT" help:"Lot, by its name in events or its number, instead."`
	Place    string `placeholder:"URI" help:"Of a lot: the site to which it is followed. The one that it came to last otherwise."`
	Facility string `placeholder:"F" help:"Facility, of whom has several."`
	Out      string `short:"o" placeholder:"F" help:"Keep the thread in a file, for 'ampoule trace verify'."`
	JSON     bool   `name:"json" help:"One JSON object, as the service tells it."`
}

// Run exits 1 where something is wrong with the thread, as the service sees it.
func (c *traceFollowCmd) Run(t terminal) error {
	wanted := httpapi.TraceWanted{Record: c.Record, Session: c.Session, Lot: c.Lot, Place: c.Place, Facility: c.Facility}
	given := 0
	for _, text := range []string{c.Code, c.Record, c.Session, c.Lot} {
		if text != "" {
			given++
		}
	}
	if given != 1 {
		return usageError("give one of CODE, --record, --session and --lot")
	}
	var err error
	if c.Code != "" {
		if wanted.Code, err = codeOf(c.Code, t.in); err != nil {
			return err
		}
	}
	body, err := json.Marshal(wanted)
	if err != nil {
		return err
	}
	var out httpapi.TraceBody
	if err := c.ask("/v1/trace", nil, "application/json", body, &out); err != nil {
		return err
	}
	signed, err := thread.Parse(out.File)
	if err != nil {
		return exitError{exitUndecided, fmt.Errorf("the server's answer: %w", err)}
	}
	if c.Out != "" {
		if err := keep.Replace(c.Out, out.File, 0o644); err != nil {
			return exitError{exitUsage, err}
		}
	}
	if c.JSON {
		writeJSON(t.out, out)
	} else {
		var findings []thread.Finding
		for _, f := range out.Findings {
			findings = append(findings, thread.Finding{Check: f.Check, Result: thread.Result(f.Result), Reason: f.Reason, Leg: f.Leg, Subject: f.Subject, Detail: f.Detail})
		}
		printThread(t.out, &signed.Thread, findings)
	}
	if out.Result == string(thread.Fail) {
		return exitError{code: exitNotValid}
	}
	return nil
}

// codeOf is the text of one code: what was given, where it is one, and what is in a file
// otherwise.
func codeOf(given string, stdin io.Reader) (string, error) {
	if strings.HasPrefix(given, hcert.Prefix) || shc.IsCard(given) || vdsnc.Is(given) {
		return given, nil
	}
	data, err := readInput(given, stdin)
	if err != nil {
		return "", usageError("%w", err)
	}
	codes, err := readCodes(data)
	switch {
	case err != nil:
		return "", exitError{exitUndecided, err}
	case len(codes) != 1:
		return "", usageError("%s: %d codes; one is traced at a time", given, len(codes))
	}
	return codes[0], nil
}

type traceVerifyCmd struct {
	File   string   `arg:"" placeholder:"FILE" help:"A thread."`
	CA     string   `name:"ca" placeholder:"F" help:"Certificate of the authority of the service and its devices, in PEM. Without it nobody vouches for who signed, and the answer is undecided."`
	Policy string   `placeholder:"F" help:"Whose signatures count in the ledger (C2SP tlog-policy): holds the proofs in it against it."`
	LotKey []string `sep:"none" placeholder:"ROLE:AUTHORITY=F" help:"Certificate of who is believed about lots, in the role manufacturer, regulator or participant."`
	Code   string   `placeholder:"CODE" help:"Text of the code of a certificate, or a file with it: is the thread of this one?"`
	At     string   `placeholder:"T" help:"Judge as of this time (RFC 3339) instead of now."`
	JSON   bool     `name:"json" help:"One JSON object."`
}

// shownThread is what a thread shows.
type shownThread struct {
	Result     thread.Result    `json:"result"`
	Made       time.Time        `json:"made"`
	By         string           `json:"by"`
	Lot        string           `json:"lot"`
	Place      string           `json:"place"`
	Outcome    string           `json:"outcome"`
	Logged     time.Time        `json:"logged,omitzero"`
	Withheld   []string         `json:"withheld"`
	Findings   []thread.Finding `json:"findings"`
	Evidence   []shownMeasure   `json:"evidence"`
	Authority  string           `json:"authority"` // given, or not checked
	Assessment any              `json:"assessment"`
}

// shownMeasure is the evidence of one device on one leg.
type shownMeasure struct {
	Leg int `json:"leg"`
	shownEvidence
}

// Run exits 1 where something is wrong, 2 where nobody vouches for who signed.
func (c *traceVerifyCmd) Run(t terminal) error {
	clock, err := parseClock(c.At)
	if err != nil {
		return err
	}
	o := thread.Options{At: clock()}
	if c.Policy != "" {
		if o.Policy, err = (&logPolicyFlag{c.Policy}).read(); err != nil {
			return err
		}
		o.Anchor = anchorUnder(o.Policy)
	}
	shown := shownThread{Authority: "not checked", Evidence: []shownMeasure{}}
	if c.CA != "" {
		data, err := readInput(c.CA, nil)
		if err != nil {
			return usageError("--ca: %w", err)
		}
		roots, err := parseRoots(c.CA, data)
		if err != nil {
			return err
		}
		o.Roots = x509.NewCertPool()
		for _, r := range roots {
			o.Roots.AddCert(r)
		}
		shown.Authority = "given"
	}
	if o.Keys, err = lotKeys(c.LotKey); err != nil {
		return err
	}
	if c.Code != "" {
		text, err := codeOf(c.Code, t.in)
		if err != nil {
			return err
		}
		var leaf print.Leaf
		if leaf, err = issuer.LeafOf(text); err != nil {
			return exitError{exitNotValid, fmt.Errorf("--code: %w", err)}
		}
		o.Code = &leaf
	}
	data, err := readBounded(c.File, t.in, thread.MaxFile)
	if err != nil {
		return exitError{exitUsage, err}
	}
	signed, err := thread.Parse(data)
	if err != nil {
		return exitError{exitNotValid, err}
	}
	report := signed.Check(o)
	if c.JSON {
		shown.Result, shown.Made, shown.By, shown.Lot, shown.Place = report.Result(), signed.Made, signed.By, signed.Lot, signed.Place
		shown.Outcome, shown.Logged, shown.Withheld, shown.Findings = string(report.Assessment.Outcome), report.Logged, signed.Withheld, report.Findings
		shown.Assessment = report.Assessment
		for _, m := range report.Measures {
			if m.Report == nil {
				continue
			}
			one := shownMeasure{Leg: m.Leg + 1, shownEvidence: newShownEvidence()}
			one.of(m.Report)
			one.Authority = shown.Authority
			shown.Evidence = append(shown.Evidence, one)
		}
		writeJSON(t.out, shown)
	} else {
		printThread(t.out, &signed.Thread, report.Findings)
	}
	switch report.Result() {
	case thread.Fail:
		return exitError{code: exitNotValid}
	case thread.Unknown:
		return exitError{exitUndecided, errors.New("nobody vouches for who signed: give --ca, the certificate of the authority of the service")}
	}
	return nil
}

// printThread writes a thread from the factory to the arm, and what was found of it.
func printThread(w io.Writer, t *thread.Thread, findings []thread.Finding) {
	line := func(name, text string, args ...any) {
		fmt.Fprintf(w, "  %-11s %s\n", name, format.Visible(fmt.Sprintf(text, args...)))
	}
	moment := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	fmt.Fprintln(w, format.Visible(t.Lot))
	if t.Product != nil {
		line("product", "%s", t.Product.Name)
	}
	line("made", "%s, as %s sees it", moment(t.Made), t.By)
	if c := t.Certificate; c != nil {
		line("certificate", "%s, fingerprint %x", c.Format, c.Leaf)
	}
	if d := t.Dose; d != nil {
		line("dose", "record %s, given on %s", d.Record, d.Day)
	}
	if s := t.Session; s != nil {
		line("session", "%s, %d doses, opened %s", s.ID, s.Doses, moment(s.Opened))
	}
	for _, x := range t.Events {
		e, err := epcis.Kept{JSON: x.Event, Prefixes: x.Prefixes}.Event()
		if err != nil {
			continue // the findings tell of it
		}
		line("event", "%s %s, told by %s, %s", moment(e.Time), shortStep(e.Step, string(e.Type)), x.Organisation, x.Hash)
	}
	for i := range t.Legs {
		l := &t.Legs[i]
		if !l.Until.After(l.From) {
			continue // it was told of, and over at once
		}
		line(fmt.Sprintf("leg %d", i+1), "%s, %s to %s", l.Where, moment(l.From), moment(l.Until))
		readings, err := l.Readings()
		if err != nil || len(readings) == 0 {
			line("", "not measured")
			continue
		}
		low, high := readings[0].T, readings[0].T
		for _, r := range readings {
			low, high = min(low, r.T), max(high, r.T)
		}
		var devices []string
		for _, x := range l.Watches {
			devices = append(devices, x.Device)
		}
		slices.Sort(devices)
		line("", "%d readings of %s to %s °C by %s", len(readings), low, high, strings.Join(devices, ", "))
	}
	a := t.Assessment
	said := string(a.Outcome)
	if a.Why != "" {
		said += " (" + a.Why + ")"
	}
	if a.At != 0 {
		said += ", " + a.Where + ", " + moment(time.Unix(a.At, 0))
	}
	line("assessment", "%s; %d of %d seconds were measured", said, a.Measured, a.Whole)
	for _, x := range t.Withheld {
		line("withheld", "%s", x)
	}
	for _, f := range findings {
		text := fmt.Sprintf("%-12s %-8s %s", f.Check, f.Result, f.Reason)
		if f.Leg > 0 {
			text += fmt.Sprintf(": leg %d", f.Leg)
		}
		for _, more := range []string{f.Subject, f.Detail} {
			if more != "" {
				text += ": " + more
			}
		}
		fmt.Fprintf(w, "  %s\n", format.Visible(text))
	}
}

// shortStep is the last word of a step of the vocabulary; of an event without one, its
// type.
func shortStep(step, otherwise string) string {
	if step == "" {
		return otherwise
	}
	return step[strings.LastIndexAny(step, ":-/")+1:]
}
