package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"ampoule/format"
	"ampoule/internal/httpapi"
	"ampoule/party/custody"
	"ampoule/thing"
	"ampoule/thing/vaccine"
)

type reassessCmd struct {
	apiFlags
	Products string `required:"" placeholder:"F" help:"Catalogue of products as they would be, in JSON. Each takes the place of the one that shares a code with it; the others stay."`
	Facility string `placeholder:"F" help:"Facility, of whom has several."`
	Apply    bool   `help:"Hold against doses what follows. The server's own files of products (custody.products) must say the same already; it reads them again."`
	JSON     bool   `name:"json" help:"One JSON object."`
}

// Run exits 0 whether something moves or not, 2 where what moves rests on readings that are
// not all signed, or not soundly.
func (c *reassessCmd) Run(t terminal) error {
	data, err := readInput(c.Products, t.in)
	if err != nil {
		return usageError("--products: %w", err)
	}
	if _, err := vaccine.Parse(data); err != nil {
		return usageError("--products %s: %w", c.Products, err)
	}
	body, err := json.Marshal(httpapi.ReassessBody{Products: string(data), Apply: c.Apply})
	if err != nil {
		return err
	}
	query := url.Values{}
	if c.Facility != "" {
		query.Set("facility", c.Facility)
	}
	var out httpapi.ReassessedBody
	if err := c.ask("/v1/reassess", query, "application/json", body, &out); err != nil {
		return err
	}
	if c.JSON {
		writeJSON(t.out, out)
	} else {
		tellReassessed(t, &out)
	}
	for _, m := range out.Moves {
		if len(m.Proof) == 0 || slices.ContainsFunc(m.Proof, func(e custody.Evidence) bool { return !e.Sound() }) {
			return exitError{code: exitUndecided}
		}
	}
	return nil
}

func tellReassessed(t terminal, out *httpapi.ReassessedBody) {
	fmt.Fprintf(t.out, "%d lots at places were assessed by both, %d move\n", out.Judged, len(out.Moves))
	for _, m := range out.Moves {
		fmt.Fprintf(t.out, "\nlot %s at %s, %s\n", format.Visible(m.Number), format.Visible(m.Name), format.Visible(m.Product))
		fmt.Fprintf(t.out, "  before: %s\n  after:  %s\n", judgedText(&m.Before), judgedText(&m.After))
		tell := func(what string, n *custody.Affected) {
			if n.Doses == 0 {
				return
			}
			var formats []string
			for name, count := range n.ByFormat {
				formats = append(formats, fmt.Sprintf("%d %s", count, name))
			}
			slices.Sort(formats)
			fmt.Fprintf(t.out, "  %s: %d doses, %d certificates (%s)\n", what, n.Doses, n.Certificates, strings.Join(formats, ", "))
		}
		tell("in doubt", &m.Doubted)
		tell("cleared", &m.Cleared)
		if m.Doubted.Doses+m.Cleared.Doses == 0 {
			fmt.Fprintln(t.out, "  no dose given here is on record")
		}
		for _, e := range m.Proof {
			holds := "holds"
			if !e.Sound() {
				holds = strings.Join(append(slices.Clone(e.Faults), fmt.Sprintf("%d readings unsigned", e.Unsigned)), ", ")
			}
			fmt.Fprintf(t.out, "  evidence: device %s, sensor %s, %s to %s, %d segments, root %s: %s\n", e.Device, format.Visible(e.Sensor), minute(e.From), minute(e.Until), e.Segments, orNone(e.Root), holds)
		}
		if len(m.Proof) == 0 {
			fmt.Fprintln(t.out, "  evidence: none")
		}
	}
	if out.Applied {
		fmt.Fprintf(t.out, "\napplied: %d concerns changed; statements and lists follow\n", out.Concerns)
	}
}

func minute(at int64) string { return time.Unix(at, 0).UTC().Format("2006-01-02T15:04Z") }

// judgedText is one line about a lot by one catalogue.
func judgedText(j *custody.Judged) string {
	text := "no concern found"
	switch {
	case j.Concern != "":
		verb := map[thing.Value]string{thing.Heat: "heat", thing.Freeze: "freeze"}[j.Concern]
		text = fmt.Sprintf("concern (%s) from %s, in %s", verb, j.From.Format("2006-01-02T15:04Z"), format.Visible(j.Where))
	case j.Why != "":
		text = fmt.Sprintf("%s (%s)", j.Outcome, j.Why)
	}
	for _, b := range j.Bands {
		text += fmt.Sprintf("; above %.1f °C %d of %d minutes", float64(b.Above)/1000, b.Minutes, b.Budget)
	}
	return text
}
