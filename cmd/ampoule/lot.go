package main

import (
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"ampoule/bundle"
	"ampoule/cert"
	"ampoule/format"
	"ampoule/internal/keys"
	"ampoule/thing"
)

type lotCmd struct {
	State lotStateCmd `cmd:"" help:"Sign a statement about a lot."`
	List  lotListCmd  `cmd:"" help:"List statements with who made them, and whether they are believed."`
}

// lotFlags are the statements about lots that a verifier advises by, and who is
// believed.
type lotFlags struct {
	Lots   []string `sep:"none" placeholder:"F" help:"Statements about lots: one in base64 a line."`
	LotKey []string `sep:"none" placeholder:"ROLE:AUTHORITY=F" help:"Certificate of who is believed about lots, in the role manufacturer, regulator or participant; manufacturer:AUTHORITY:PREFIX=F about products whose codes begin so."`
}

// lots adds the statements to the list of a bundle, under the keys that it
// brought and those that were given; nil where there are none.
func (f *lotFlags) lots(list *thing.LotList, listed thing.LotKeys, now time.Time) (*thing.LotList, error) {
	switch {
	case len(f.Lots) == 0 && len(f.LotKey) == 0:
		return list, nil
	case len(f.Lots) == 0:
		return nil, usageError("--lot-key is for statements about lots, and there are none: give --lots")
	case len(f.LotKey) == 0 && len(listed) == 0:
		return nil, usageError("nobody is believed about lots: give --lot-key")
	}
	keys, err := lotKeys(f.LotKey)
	if err != nil {
		return nil, err
	}
	listed = append(listed, keys...)
	if list == nil {
		list = new(thing.LotList)
	}
	for _, path := range f.Lots {
		data, err := readInput(path, nil)
		if err != nil {
			return nil, usageError("--lots: %w", err)
		}
		if err := list.Add(path, data, listed, now); err != nil {
			return nil, usageError("--lots %w", err)
		}
	}
	return list, nil
}

// readLotKey reads ROLE:AUTHORITY[:PREFIX]=FILE.
func readLotKey(text string) (a bundle.LotAuthority, err error) {
	who, path, ok := strings.Cut(text, "=")
	part := strings.Split(who, ":")
	if !ok || len(part) < 2 || len(part) > 3 {
		return a, fmt.Errorf("it looks like regulator:XXA=certificate.pem")
	}
	data, err := readInput(path, nil)
	if err != nil {
		return a, err
	}
	if block, rest := pem.Decode(data); block != nil {
		if block.Type != "CERTIFICATE" || strings.TrimSpace(string(rest)) != "" {
			return a, fmt.Errorf("%s is not one certificate", path)
		}
		data = block.Bytes
	}
	a = bundle.LotAuthority{Role: part[0], Authority: part[1], Certificate: data}
	if len(part) == 3 {
		a.Products = part[2]
	}
	return a, nil
}

type lotStateCmd struct {
	secretFlags
	Key       string  `required:"" placeholder:"F" help:"Key file of the authority."`
	Role      string  `required:"" help:"Role in which it speaks: manufacturer, regulator or participant."`
	Authority string  `required:"" placeholder:"A" help:"Participant code or organisation id under which verifiers list the key."`
	Product   string  `required:"" placeholder:"CODE" help:"Product, as certificates code it."`
	System    string  `default:"${icvpProducts}" placeholder:"URI" help:"Code system of the product (default: ICVP product ids)."`
	Lot       string  `required:"" placeholder:"L" help:"Lot, as printed."`
	Value     string  `required:"" placeholder:"V" help:"recalled, expires-on, heat, freeze, spoiled, no-concern or withdrawn."`
	Expiry    string  `placeholder:"DATE" help:"Last day of the lot, with expires-on."`
	Measured  float64 `placeholder:"SHARE" help:"Share of the path that was measured, up to 1, with no-concern."`
	Country   string  `placeholder:"CC" help:"Only doses given in this country."`
	Centre    string  `help:"Only doses given at this centre of the country."`
	From      string  `placeholder:"DATE" help:"Only doses given on this day or later."`
	Until     string  `placeholder:"DATE" help:"Only doses given on this day or before."`
	Part      string  `enum:"all,some" default:"all" help:"How much of the lot: ${enum}."`
	Withdraws string  `placeholder:"ID" help:"Statement of the same authority that no longer holds; 'lot list' shows its id."`
	Out       string  `placeholder:"F" help:"Add it to this file. Standard output otherwise."`
}

// Run signs one statement and adds it to a file of them.
func (c *lotStateCmd) Run(t terminal) error {
	lock, err := c.lockOf(c.Key)
	if err != nil {
		return err
	}
	key, err := keys.Load(c.Key, lock)
	if err != nil {
		return exitError{exitUsage, err}
	}
	if key.Certificate() == nil {
		return usageError("%s: the key has no certificate, so no verifier could list it", c.Key)
	}
	s := &thing.LotStatement{
		Role: thing.Role(c.Role), Authority: c.Authority, Issued: time.Now().UTC().Truncate(time.Second),
		Product: thing.Product{Code: c.Product, System: c.System}, Lot: c.Lot, Country: c.Country, Centre: c.Centre,
		From: c.From, Until: c.Until, Part: thing.Part(c.Part), Value: thing.Value(c.Value), Expiry: c.Expiry,
	}
	if s.Measured, err = thing.Share(c.Measured); err != nil {
		return usageError("--measured: %w", err)
	}
	if c.Withdraws != "" {
		if s.Withdraws, err = thing.ParseStatementID(c.Withdraws); err != nil {
			return usageError("--withdraws: %w", err)
		}
	}
	message, err := thing.SignLotStatement(rand.Reader, key.Signer, key.KID(), s)
	if err != nil {
		return usageError("nothing was signed: %w", err)
	}
	// What verifiers that list this key would refuse is not signed in the first place.
	listed, err := thing.NewLotKey(s.Role, s.Authority, "", key.Certificate().Raw)
	if err != nil {
		return usageError("nothing was signed: %w", err)
	}
	signed, err := thing.ParseLotStatement(message)
	if err != nil {
		return err
	}
	if err := (thing.LotKeys{listed}).Believe(signed, s.Issued); err != nil {
		return usageError("no verifier would believe it: %w", err)
	}
	line := thing.AppendLine(nil, message)
	if c.Out == "" {
		_, err := t.out.Write(line)
		return err
	}
	f, err := os.OpenFile(c.Out, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return exitError{exitUsage, err}
	}
	_, err = f.Write(line)
	return errors.Join(err, f.Sync(), f.Close())
}

type lotListCmd struct {
	lotFlags
	JSON bool `name:"json" help:"One JSON object a line."`
}

// listedLot is one line of the list.
type listedLot struct {
	ID        string  `json:"id"`
	Role      string  `json:"role"`
	Authority string  `json:"authority"`
	Issued    string  `json:"issued"`
	Product   string  `json:"product"`
	System    string  `json:"system"`
	Lot       string  `json:"lot"`
	Country   string  `json:"country,omitempty"`
	Centre    string  `json:"centre,omitempty"`
	From      string  `json:"from,omitempty"`
	Until     string  `json:"until,omitempty"`
	Part      string  `json:"part"`
	Value     string  `json:"value"`
	Expiry    string  `json:"expiry,omitempty"`
	Measured  float64 `json:"measured,omitempty"`
	Withdraws string  `json:"withdraws,omitempty"`
	State     string  `json:"state"` // believed, withdrawn, superseded, refused
	Reason    string  `json:"reason,omitempty"`
	Detail    string  `json:"detail,omitempty"`
}

// Run exits 1 where a statement is not believed.
func (c *lotListCmd) Run(t terminal) error {
	if len(c.Lots) == 0 {
		return usageError("there is nothing to list: give --lots")
	}
	list, err := c.lots(nil, nil, time.Now())
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	if !c.JSON {
		fmt.Fprintln(w, "STATE\tLOT\tPRODUCT\tVALUE\tWHERE\tWHEN\tPART\tBY\tISSUED\tID")
	}
	refused := false
	for _, e := range list.Entries() {
		l := newListedLot(e)
		refused = refused || e.Refused != nil
		if c.JSON {
			writeJSON(t.out, l)
			continue
		}
		state, value, when := l.State, l.Value, ""
		if l.Reason != "" {
			state += " (" + l.Reason + ")"
		}
		switch {
		case l.Expiry != "":
			value += " " + l.Expiry
		case l.Measured != 0:
			value += fmt.Sprintf(" %g", l.Measured)
		case l.Withdraws != "":
			value += " " + l.Withdraws
		}
		if l.From != "" || l.Until != "" {
			when = l.From + "/" + l.Until
		}
		where := strings.TrimSpace(l.Country + " " + l.Centre)
		for _, cell := range []string{state, l.Lot, l.Product, value, where, when, l.Part, l.Role + " " + l.Authority, l.Issued} {
			if cell == "" {
				cell = "-"
			}
			fmt.Fprintf(w, "%s\t", format.Visible(cell))
		}
		fmt.Fprintln(w, l.ID)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if refused {
		return exitError{code: exitNotValid}
	}
	return nil
}

func newListedLot(e *thing.LotEntry) listedLot {
	s := e.Statement
	l := listedLot{
		ID: e.ID.String(), Role: string(s.Role), Authority: s.Authority, Issued: s.Issued.Format(time.RFC3339),
		Product: s.Product.Code, System: s.Product.System, Lot: s.Lot, Country: s.Country, Centre: s.Centre,
		From: s.From, Until: s.Until, Part: string(s.Part), Value: string(s.Value), Expiry: s.Expiry,
		Measured: float64(s.Measured) / 10000, State: "believed",
	}
	if s.Withdraws != (thing.StatementID{}) {
		l.Withdraws = s.Withdraws.String()
	}
	switch {
	case e.Refused != nil:
		l.State, l.Reason, l.Detail = "refused", format.Reason(e.Refused, "refused"), e.Refused.Error()
	case e.Withdrawn:
		l.State = "withdrawn"
	case e.Superseded:
		l.State = "superseded"
	}
	return l
}

// icvpProducts is the code system that a product of a statement is of, unless
// another is named.
const icvpProducts = cert.SystemICVPProduct

// lotKeys are the keys of flags --lot-key.
func lotKeys(flags []string) (all thing.LotKeys, err error) {
	for _, text := range flags {
		a, err := readLotKey(text)
		if err != nil {
			return nil, usageError("--lot-key %s: %w", text, err)
		}
		key, err := thing.NewLotKey(thing.Role(a.Role), a.Authority, a.Products, a.Certificate)
		if err != nil {
			return nil, usageError("--lot-key %s: %w", text, err)
		}
		all = append(all, key)
	}
	return all, nil
}
