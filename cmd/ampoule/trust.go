package main

import (
	"encoding/hex"
	"fmt"
	"text/tabwriter"
	"time"

	"ampoule/trust"
)

type trustCmd struct {
	Audit   trustAuditCmd   `cmd:"" help:"Say what is wrong with how a list is kept, and who should mend it."`
	Watch   trustWatchCmd   `cmd:"" help:"Tell when a key appears, vanishes, changes or comes back, or when two lists differ."`
	Publish trustPublishCmd `cmd:"" help:"Sign the tree of DID trust lists, as the WHO's network publishes it, and replace it whole."`
	Explain trustExplainCmd `cmd:"" help:"List every key and every entry that did not become one, with the reason."`
}

type trustExplainCmd struct {
	trustFlags
	JSON bool   `name:"json" help:"One JSON object a line."`
	KID  string `arg:"" optional:"" name:"kid" help:"Only this key identifier, in hexadecimal."`
}

// explained is one line of the explanation.
type explained struct {
	Source      string   `json:"source"`
	Entry       string   `json:"entry,omitempty"`
	Domain      string   `json:"domain,omitempty"`
	Participant string   `json:"participant,omitempty"`
	KID         string   `json:"kid,omitempty"`
	Algorithm   string   `json:"algorithm,omitempty"`
	Usages      string   `json:"usages,omitempty"`
	NotBefore   string   `json:"not_before,omitempty"`
	NotAfter    string   `json:"not_after,omitempty"`
	State       string   `json:"state"` // usable, or why not
	Detail      string   `json:"detail,omitempty"`
	Notes       []string `json:"notes,omitempty"`
}

func (c *trustExplainCmd) Run(t terminal) error {
	if len(c.Trust) == 0 && c.Bundle == "" {
		return usageError("there is nothing to explain: give --trust or --bundle")
	}
	v, err := c.verifier(t.err)
	if err != nil {
		return err
	}
	var lines []explained
	for _, k := range v.Trust.All() {
		if kid := hex.EncodeToString([]byte(k.ID)); c.KID == "" || c.KID == kid {
			lines = append(lines, explainKey(k, kid, v.Now()))
		}
	}
	if c.KID == "" {
		for _, d := range v.Trust.Drops() {
			lines = append(lines, explained{Source: d.Source, Entry: d.Entry, Participant: d.Participant, State: d.Reason, Detail: d.Detail})
		}
	}
	if c.JSON {
		for _, l := range lines {
			writeJSON(t.out, l)
		}
		return nil
	}
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "STATE\tDOMAIN\tPARTICIPANT\tKEY\tALGORITHM\tMAY SIGN\tUNTIL\tSOURCE")
	usable, dropped := 0, 0
	for _, l := range lines {
		if l.State == "usable" {
			usable++
		}
		if l.Entry != "" {
			dropped++
			fmt.Fprintf(w, "%s\t\t%s\t\t\t\t\t%s\n", l.State, l.Participant, l.Entry)
			continue
		}
		domain := l.Domain
		if domain == "" {
			domain = "(any)"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", l.State, domain, l.Participant, l.KID, l.Algorithm, l.Usages, l.NotAfter, l.Source)
	}
	w.Flush()
	fmt.Fprintf(t.out, "%d keys, %d of them usable now; %d entries dropped\n", len(lines)-dropped, usable, dropped)
	return nil
}

func explainKey(k *trust.Key, kid string, now time.Time) explained {
	e := explained{
		Source: k.Source, Domain: string(k.Domain), Participant: k.Participant, KID: kid,
		Algorithm: k.Algorithm.String(), Usages: k.Usages.String(), State: "usable", Notes: k.Notes,
	}
	if !k.NotAfter.IsZero() {
		e.NotBefore, e.NotAfter = k.NotBefore.UTC().Format(time.DateOnly), k.NotAfter.UTC().Format(time.DateOnly)
	}
	switch {
	case k.Revoked:
		e.State = "revoked"
	case k.Algorithm == 0:
		e.State, e.Algorithm = "unsupported-key", ""
	case k.Weak:
		e.State = "weak-key"
	case !k.NotAfter.IsZero() && now.After(k.NotAfter):
		e.State = "expired"
	case now.Before(k.NotBefore):
		e.State = "not-yet-valid"
	}
	return e
}
