package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"time"

	"ampoule/format"
	"ampoule/internal/httpapi"
	"ampoule/thing/handover"
	"ampoule/thing/trail"
)

type stockHandoverCmd struct {
	Offer  handoverOfferCmd  `cmd:"" help:"Sign that goods left for another's place, by the event that tells of it."`
	Take   handoverTakeCmd   `cmd:"" help:"Take in the file of a partner: an offer, or the answer to one."`
	Accept handoverAcceptCmd `cmd:"" help:"Sign that goods came, by the event that tells of it. Exit code 1: another amount came than had left."`
	Refuse handoverRefuseCmd `cmd:"" help:"Sign that goods are not taken."`
}

// handoverFlags are what all of them have.
type handoverFlags struct {
	apiFlags
	Facility string `placeholder:"F" help:"Facility, of whom has several."`
	Out      string `short:"o" placeholder:"F" help:"Keep the hand-over in a file, for the service of the other party."`
	JSON     bool   `name:"json" help:"One JSON object, as the service tells it."`
}

// send asks the service, and tells what it says.
func (f *handoverFlags) send(t terminal, path string, body map[string]any) error {
	query := url.Values{}
	if f.Facility != "" {
		query.Set("facility", f.Facility)
	}
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	var h httpapi.HandoverBody
	if err := f.ask("/v1/handovers"+path, query, "application/json", data, &h); err != nil {
		return err
	}
	if f.Out != "" {
		if err := os.WriteFile(f.Out, h.File, 0o644); err != nil {
			return exitError{exitUndecided, err}
		}
	}
	if f.JSON {
		writeJSON(t.out, h)
	} else {
		tellHandover(t, &h)
	}
	if h.Answer != nil && h.Answer.Differs {
		return exitError{exitNotValid, nil}
	}
	return nil
}

func tellHandover(t terminal, h *httpapi.HandoverBody) {
	amount := func(n int64, unit string) string {
		switch {
		case n == trail.Many:
			return "not told"
		case unit == trail.Doses:
			return fmt.Sprint(n, " doses")
		}
		return fmt.Sprint(n)
	}
	line := func(name, format string, args ...any) {
		fmt.Fprintf(t.out, "%-9s"+format+"\n", append([]any{name}, args...)...)
	}
	line("hand-over", " %s", h.ID)
	line("state", " %s", h.State)
	line("thing", " %s", format.Visible(h.Thing))
	line("from", " %s, %s", format.Visible(h.Giver.Name), format.Visible(h.Giver.Place))
	line("to", " %s, %s", format.Visible(h.Receiver.Name), format.Visible(h.Receiver.Place))
	line("left", " %s, %s", amount(h.Amount, h.Unit), h.Left.Format(time.RFC3339))
	line("path", " %s, %d.%02d%% measured, %d minutes outside", format.Visible(h.Path.Outcome), h.Path.Measured/100, h.Path.Measured%100, h.Path.Outside)
	switch a := h.Answer; {
	case a == nil:
	case a.Reason != "":
		line("refused", " %s", format.Visible(a.Reason))
	default:
		differs := ""
		if a.Differs {
			differs = ": another amount than had left"
		}
		line("came", " %s, %s%s", amount(a.Amount, a.Unit), a.Arrived.Format(time.RFC3339), differs)
	}
}

type handoverOfferCmd struct {
	handoverFlags
	Event    string `arg:"" placeholder:"EVENT" help:"Name of the event of shipping."`
	Thing    string `placeholder:"URI" help:"Lot, item or container, of an event of several."`
	To       string `placeholder:"URI" help:"Where it goes, where the event does not tell."`
	Receiver string `placeholder:"NAME" help:"Partner, where the place is at another service."`
}

func (c *handoverOfferCmd) Run(t terminal) error {
	body := map[string]any{"event": c.Event}
	for name, value := range map[string]string{"facility": c.Facility, "thing": c.Thing, "to": c.To, "receiver": c.Receiver} {
		if value != "" {
			body[name] = value
		}
	}
	c.Facility = "" // it is in the body
	return c.send(t, "", body)
}

type handoverTakeCmd struct {
	handoverFlags
	File string `arg:"" placeholder:"FILE" help:"As the other service gave it; - is standard input."`
}

func (c *handoverTakeCmd) Run(t terminal) error {
	data, err := readBounded(c.File, t.in, handover.MaxFile)
	if err != nil {
		return usageError("%w", err)
	}
	if _, err := handover.Parse(data); err != nil {
		return exitError{exitNotValid, err}
	}
	return c.send(t, "/messages", map[string]any{"file": data})
}

type handoverAcceptCmd struct {
	handoverFlags
	ID    string `arg:"" placeholder:"ID" help:"Of the hand-over."`
	Event string `arg:"" placeholder:"EVENT" help:"Name of the event of receiving."`
}

func (c *handoverAcceptCmd) Run(t terminal) error {
	return c.send(t, "/"+url.PathEscape(c.ID)+"/accept", map[string]any{"event": c.Event})
}

type handoverRefuseCmd struct {
	handoverFlags
	ID     string `arg:"" placeholder:"ID" help:"Of the hand-over."`
	Reason string `arg:"" enum:"not-arrived,other-goods,damaged,cold-chain,other" placeholder:"REASON" help:"not-arrived, other-goods, damaged, cold-chain or other."`
}

func (c *handoverRefuseCmd) Run(t terminal) error {
	return c.send(t, "/"+url.PathEscape(c.ID)+"/refuse", map[string]any{"reason": c.Reason})
}
