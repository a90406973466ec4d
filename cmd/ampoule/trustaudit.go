package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"ampoule/format"
	"ampoule/format/strictjson"
	"ampoule/format/tng"
	"ampoule/internal/fetch"
	"ampoule/internal/keep"
	"ampoule/trust"
)

// lookFlags read trust sources for those who look after them.
type lookFlags struct {
	Pin        []string `sep:"none" placeholder:"K" help:"Key that must have signed the lists, or the gateway's trust anchor."`
	Unverified bool     `help:"Look at lists that no pin has signed, too."`
}

// look reads one source: a file, or an address that begins with https://.
func (f *lookFlags) look(source string) (*trust.Survey, error) {
	pins, err := readPins("--pin", f.Pin)
	if err != nil {
		return nil, err
	}
	var data []byte
	if strings.HasPrefix(source, "https://") {
		var r *fetch.Response
		r, err = fetch.New(fetch.Options{Redirects: 3, Bytes: tng.MaxList}).Do(context.Background(), http.MethodGet, source, nil, nil)
		if err == nil && r.Status != http.StatusOK {
			err = fmt.Errorf("%s: it answers %d", source, r.Status)
		}
		if err == nil {
			data = r.Body
		}
	} else {
		data, err = readBounded(source, nil, 2*tng.MaxList)
	}
	if err != nil {
		return nil, err
	}
	return trust.Look(trust.Source{Name: source, Data: data, Pins: pins})
}

type trustAuditCmd struct {
	lookFlags
	Source []string `arg:"" name:"source" help:"Lists of any kind: files, or addresses that begin with https://."`
	Each   bool     `help:"Tell of every entry, not only how many."`
	At     string   `placeholder:"T" help:"Judge as of this time (RFC 3339) instead of now."`
	JSON   bool     `name:"json" help:"One JSON object for each source."`
}

type auditJSON struct {
	Source   string             `json:"source"`
	Kind     string             `json:"kind"`
	Verified bool               `json:"verified"`
	Created  string             `json:"created,omitempty"`
	Entries  map[string]int     `json:"entries"` // by usage
	Summary  []auditSummaryJSON `json:"summary"`
	Findings []auditFindingJSON `json:"findings,omitempty"`
}

type auditSummaryJSON struct {
	Reason format.Defect `json:"reason"`
	Count  int           `json:"count"`
	Who    string        `json:"who"`
	Advice string        `json:"advice"`
}

type auditFindingJSON struct {
	Reason      format.Defect `json:"reason"`
	Entry       string        `json:"entry"`
	Participant string        `json:"participant,omitempty"`
	Detail      string        `json:"detail,omitempty"`
}

// Run exits with 1 where there is something to mend.
func (c *trustAuditCmd) Run(t terminal) error {
	clock, err := parseClock(c.At)
	if err != nil {
		return err
	}
	any := false
	for _, source := range c.Source {
		v, err := c.look(source)
		if err != nil {
			return err
		}
		findings := trust.Audit(v, clock())
		any = any || len(findings) > 0
		out := auditJSON{Source: v.Source, Kind: v.Kind, Verified: v.Verified, Entries: map[string]int{}, Summary: []auditSummaryJSON{}}
		if !v.Created.IsZero() {
			out.Created = v.Created.UTC().Format(time.RFC3339)
		}
		for _, e := range v.Entries {
			out.Entries[e.Usage]++
		}
		out.summarise(findings)
		if c.Each || c.JSON {
			for _, f := range findings {
				out.Findings = append(out.Findings, auditFindingJSON(f))
			}
		}
		if c.JSON {
			writeJSON(t.out, out)
			continue
		}
		out.print(t)
	}
	if any {
		return exitError{code: exitNotValid}
	}
	return nil
}

// summarise counts findings by their reason, the most frequent first.
func (a *auditJSON) summarise(findings []trust.AuditFinding) {
	for _, f := range findings {
		i := slices.IndexFunc(a.Summary, func(s auditSummaryJSON) bool { return s.Reason == f.Reason })
		if i < 0 {
			who, what := trust.Advice(f.Reason)
			a.Summary = append(a.Summary, auditSummaryJSON{f.Reason, 0, who, what})
			i = len(a.Summary) - 1
		}
		a.Summary[i].Count++
	}
	slices.SortStableFunc(a.Summary, func(x, y auditSummaryJSON) int {
		return cmp.Or(cmp.Compare(y.Count, x.Count), cmp.Compare(x.Reason, y.Reason))
	})
}

func (a *auditJSON) print(t terminal) {
	proven := "not verified"
	if a.Verified {
		proven = "verified under a pin"
	}
	fmt.Fprintf(t.out, "%s: %s, %s\n", a.Source, a.Kind, proven)
	var usages []string
	for u := range a.Entries {
		usages = append(usages, u)
	}
	slices.Sort(usages)
	for i, u := range usages {
		usages[i] = fmt.Sprintf("%d %s", a.Entries[u], u)
	}
	if a.Created != "" {
		usages = append(usages, "made "+a.Created)
	}
	fmt.Fprintf(t.out, "%s\n", strings.Join(usages, ", "))
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	for _, s := range a.Summary {
		fmt.Fprintf(w, "%d\t%s\t%s: %s\n", s.Count, s.Reason, s.Who, s.Advice)
	}
	for _, f := range a.Findings {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", f.Reason, f.Participant, f.Entry, f.Detail)
	}
	w.Flush()
	if len(a.Summary) == 0 {
		fmt.Fprintln(t.out, "nothing to mend")
	}
}

type trustWatchCmd struct {
	lookFlags
	Source      []string `arg:"" name:"source" help:"One source, or two that should hold the same: files, or addresses that begin with https://."`
	Participant string   `placeholder:"CCC" help:"Only the keys of this participant."`
	State       string   `placeholder:"DIR" help:"Folder in which is kept what was seen last."`
	JSON        bool     `name:"json" help:"One JSON object a line."`
}

// watchState is what is kept between two looks.
type watchState struct {
	Version int                    `json:"watchState"`
	Sources map[string]*trust.Seen `json:"sources"`
}

// Run exits with 1 where something is to be told, and with 2 where a source
// cannot be read or is not proven: no news of it is no good news.
func (c *trustWatchCmd) Run(t terminal) error {
	if len(c.Source) > 2 {
		return usageError("one source or two")
	}
	var surveys []*trust.Survey
	for _, source := range c.Source {
		v, err := c.look(source)
		if err != nil {
			return err
		}
		if !v.Verified && !c.Unverified {
			return fmt.Errorf("%s: no pin has signed it: %w; give --pin, or --unverified to watch it all the same", source, trust.ErrProof)
		}
		surveys = append(surveys, v)
	}
	var events []trust.WatchEvent
	if c.State != "" {
		changes, err := c.remember(surveys)
		if err != nil {
			return err
		}
		events = changes
	}
	if len(surveys) == 2 {
		events = append(events, trust.Differ(surveys[0], surveys[1], c.Participant)...)
	}
	for _, e := range events {
		if c.JSON {
			writeJSON(t.out, e)
			continue
		}
		fmt.Fprintln(t.out, strings.TrimSpace(fmt.Sprintf("%s  %s  %s  %s", e.Kind, e.Source, e.Key, e.Detail)))
	}
	if len(events) > 0 {
		return exitError{code: exitNotValid}
	}
	return nil
}

// remember compares each source with what was seen of it, and keeps what is seen
// now.
func (c *trustWatchCmd) remember(surveys []*trust.Survey) (events []trust.WatchEvent, err error) {
	if err := os.MkdirAll(c.State, 0o755); err != nil {
		return nil, exitError{exitUsage, err}
	}
	path := filepath.Join(c.State, "watch.json")
	unlock, err := keep.Lock(path)
	if err != nil {
		return nil, exitError{exitUsage, err}
	}
	defer unlock()
	state := watchState{Version: 1, Sources: map[string]*trust.Seen{}}
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	default:
		state.Version = 0
		if err := strictjson.UnmarshalKnown(data, &state, strictjson.Limits{Bytes: 256 << 20}); err != nil || state.Version != 1 {
			return nil, usageError("%s is damaged, or of another version; without it nothing is known of what was there: %w", path, err)
		}
	}
	for _, v := range surveys {
		name := v.Source
		if c.Participant != "" {
			name += " " + c.Participant
		}
		changes, after := trust.Watch(state.Sources[name], v, c.Participant)
		events = append(events, changes...)
		state.Sources[name] = after
	}
	if data, err = json.Marshal(state); err != nil {
		return nil, err
	}
	return events, keep.Replace(path, data, 0o644)
}
