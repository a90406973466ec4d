package main

import (
	"bytes"
	"fmt"
	"strings"
	"text/tabwriter"

	"ampoule/cert"
	"ampoule/format"
	"ampoule/format/strictjson"
	"ampoule/party/verifier"
)

type convertCmd struct {
	trustFlags
	To         string `enum:"icvp,eu-dcc,ddcc,shc,vds-nc,divoc," default:"" help:"Format to convert to: icvp, eu-dcc, ddcc, shc, vds-nc or divoc. With --loss alone: all of them."`
	Loss       bool   `help:"Report what is lost, changed and missing, instead of the record."`
	Unverified bool   `help:"Convert what is not valid, too."`
	JSON       bool   `name:"json" help:"The report as JSON, one object a line."`
	File       string `arg:"" help:"Text or picture of a code, or a record in JSON; '-' is standard input."`
}

// Run prints the record as 'ampoule issue --in' takes it, or the report. It exits
// 1 if the certificate is not valid, or lacks what the format asks for.
func (c *convertCmd) Run(t terminal) error {
	if c.To == "" && !c.Loss {
		return usageError("--to is missing: the format to convert to")
	}
	v, err := c.verifier(t.err)
	if err != nil {
		return err
	}
	record, err := c.record(t, v)
	if err != nil {
		return err
	}
	targets := []cert.Format{cert.Format(c.To)}
	if c.To == "" {
		targets = cert.Formats()
	}
	lacking := false
	for _, to := range targets {
		conversion, err := record.Convert(to, v.Concepts, v.Catalogue)
		switch {
		case err != nil && c.To == "":
			c.printNotCarried(t, to, err)
			continue
		case err != nil:
			return exitError{exitNotValid, err}
		case c.Loss:
			c.print(t, conversion)
			continue
		}
		for _, m := range conversion.Missing {
			lacking = true
			fmt.Fprintf(t.err, "ampoule: %s asks for more: %s\n", to, m)
		}
		writeJSON(t.out, conversion.Record)
	}
	if lacking {
		return exitError{code: exitNotValid}
	}
	return nil
}

// record reads a record, or the content of a certificate that is valid.
func (c *convertCmd) record(t terminal, v *verifier.Verifier) (*cert.Certificate, error) {
	data, err := readInput(c.File, t.in)
	if err != nil {
		return nil, exitError{exitUndecided, err}
	}
	if isRecord(data) {
		r := new(cert.Certificate)
		if err := strictjson.UnmarshalKnown(data, r, strictjson.Limits{}); err != nil {
			return nil, usageError("%s: %w", c.File, err)
		}
		return r, nil
	}
	codes, err := readCodes(data)
	if err != nil {
		return nil, exitError{exitUndecided, err}
	}
	groups := verifier.Group(codes)
	if len(groups) != 1 {
		return nil, usageError("%s: %d certificates; one at a time is converted", c.File, len(groups))
	}
	verdict := v.Verify(groups[0]...)
	report := verdict.Report(c.Unverified)
	switch {
	case report.Certificate == nil && c.Unverified, verdict.Outcome != verifier.Valid && !c.Unverified:
		code := exitNotValid
		if verdict.Outcome == verifier.Unknown {
			code = exitUndecided
		}
		return nil, exitError{code, fmt.Errorf("%s: %s (%s); see 'ampoule verify'", c.File, verdict.Outcome, verdict.Reason)}
	case verdict.Outcome != verifier.Valid:
		fmt.Fprintf(t.err, "ampoule: %s is %s (%s), and converted all the same\n", c.File, verdict.Outcome, verdict.Reason)
	}
	return report.Certificate, nil
}

// isRecord tells a record of ours from the text of a code, which can be JSON too.
func isRecord(data []byte) bool {
	data = bytes.TrimSpace(data)
	if !bytes.HasPrefix(data, []byte("{")) {
		return false
	}
	v, err := strictjson.Decode(data, strictjson.Limits{})
	if err != nil {
		return false
	}
	_, has := v.(map[string]any)["person"]
	return has
}

// lossReport is the report on one format.
type lossReport struct {
	Format    cert.Format    `json:"format"`
	Reason    string         `json:"reason,omitempty"` // why the format cannot carry the record at all
	Losses    []cert.Loss    `json:"losses,omitempty"`
	Missing   []cert.Missing `json:"missing,omitempty"`
	Issuable  bool           `json:"issuable"`
	Unchanged bool           `json:"unchanged"`
}

func (c *convertCmd) print(t terminal, x *cert.Conversion) {
	r := lossReport{
		Format: x.Format, Losses: x.Losses, Missing: x.Missing,
		Issuable: len(x.Missing) == 0, Unchanged: x.Read != nil && len(x.Losses) == 0,
	}
	if c.JSON {
		writeJSON(t.out, r)
		return
	}
	fmt.Fprintln(t.out, x.Format)
	if r.Unchanged {
		fmt.Fprintln(t.out, "  nothing is lost")
	}
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	for _, l := range x.Losses {
		fmt.Fprintf(w, "  %s\t%s\t%s\n", l.Kind, l.Path, lossDetail(l))
	}
	w.Flush()
	for _, m := range x.Missing {
		fmt.Fprintf(t.out, "  missing: %s\n", m)
	}
}

// lossDetail shows codes, and by whose maps they were replaced.
func lossDetail(l cert.Loss) string {
	var parts []string
	if l.From != nil && l.From.Code != "" {
		parts = append(parts, codeWords(*l.From))
	}
	if l.To != nil && l.To.Code != "" {
		parts = append(parts, "-> "+codeWords(*l.To))
	}
	if len(l.Maps) > 0 {
		parts = append(parts, "by "+format.Visible(strings.Join(l.Maps, ", ")))
	}
	for _, m := range l.Related {
		parts = append(parts, fmt.Sprintf("(%s: %s)", m.Equivalence, codeWords(m.Code)))
	}
	return strings.Join(parts, " ")
}

func codeWords(c cert.Code) string {
	return format.Visible(strings.TrimSpace(c.Code + " " + c.Display))
}

func (c *convertCmd) printNotCarried(t terminal, to cert.Format, err error) {
	if c.JSON {
		writeJSON(t.out, lossReport{Format: to, Reason: format.Reason(err, "not-carried")})
		return
	}
	fmt.Fprintf(t.out, "%s\n  %v\n", to, err)
}

// addConceptMaps adds those of the files.
func addConceptMaps(maps *cert.ConceptMaps, paths []string) error {
	for _, path := range paths {
		data, err := readInput(path, nil)
		if err != nil {
			return usageError("--map: %w", err)
		}
		if err := maps.Add(path, data); err != nil {
			return usageError("--map %w", err)
		}
	}
	return nil
}

type conceptsCmd struct {
	List      conceptsListCmd      `cmd:"" help:"List concept maps with their licences."`
	Translate conceptsTranslateCmd `cmd:"" help:"Show what the maps say of a code."`
}

type conceptsListCmd struct {
	Map  []string `sep:"none" placeholder:"F" help:"Concept maps beside the built-in ones: FHIR R4 ConceptMap in JSON, or a table (CSV)."`
	JSON bool     `name:"json" help:"One JSON object a line."`
}

func (c *conceptsListCmd) Run(t terminal) error {
	maps := cert.BuiltinConceptMaps()
	if err := addConceptMaps(maps, c.Map); err != nil {
		return err
	}
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	if !c.JSON {
		fmt.Fprintln(w, "MAP\tPAIRS\tLICENCE")
	}
	for _, s := range maps.Sources() {
		if c.JSON {
			writeJSON(t.out, s)
			continue
		}
		licence := s.Licence
		if licence == "" {
			licence = "not stated"
		}
		fmt.Fprintf(w, "%s\t%d\t%s\n", format.Visible(s.Name), s.Pairs, format.Visible(licence))
	}
	return w.Flush()
}

type conceptsTranslateCmd struct {
	Map  []string `sep:"none" placeholder:"F" help:"Concept maps beside the built-in ones: FHIR R4 ConceptMap in JSON, or a table (CSV)."`
	To   string   `required:"" placeholder:"SYSTEM" help:"Code system to translate into: its URI, or one of atc, cvx, eu-product, icd11, icvp-product, loinc, snomed."`
	JSON bool     `name:"json" help:"One JSON object a line."`
	Code string   `arg:"" name:"system|code" help:"The code behind its system: cvx|208."`
}

// Run exits 1 where nothing may stand for the code.
func (c *conceptsTranslateCmd) Run(t terminal) error {
	maps := cert.BuiltinConceptMaps()
	if err := addConceptMaps(maps, c.Map); err != nil {
		return err
	}
	at := strings.LastIndexByte(c.Code, '|')
	if at < 0 {
		return usageError("%q: a code stands behind its system: cvx|208", c.Code)
	}
	from := cert.Code{Code: c.Code[at+1:], System: cert.SystemNamed(c.Code[:at])}
	to := cert.SystemNamed(c.To)
	best, found := maps.Translate(from, to)
	for _, m := range maps.Matches(from, to) {
		stands := found && m.Code == best.Code && m.Equivalence == best.Equivalence
		if c.JSON {
			writeJSON(t.out, struct {
				cert.Match
				Stands bool `json:"stands_for_it"`
			}{m, stands})
			continue
		}
		mark := " "
		if stands {
			mark = "*"
		}
		fmt.Fprintf(t.out, "%s %s %s, by %s\n", mark, m.Equivalence, codeWords(m.Code), format.Visible(strings.Join(m.Maps, ", ")))
	}
	if !found {
		return exitError{exitNotValid, fmt.Errorf("no code of %s may stand for %s", to, c.Code)}
	}
	return nil
}
