package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"ampoule/device"
	"ampoule/format"
	"ampoule/internal/fetch"
	"ampoule/internal/qr"
)

// apiFlags name a server of pages, and who asks there.
type apiFlags struct {
	serverFlags
	TokenFile string `placeholder:"F" help:"File whose first line is a token of that server. AMPOULE_TOKEN is used otherwise."`
}

func (f *apiFlags) token() (string, error) {
	if f.TokenFile == "" {
		if token := os.Getenv("AMPOULE_TOKEN"); token != "" {
			return token, nil
		}
		return "", usageError("who asks? give --token-file or AMPOULE_TOKEN")
	}
	data, err := readInput(f.TokenFile, nil)
	if err != nil {
		return "", usageError("--token-file: %w", err)
	}
	line, _, _ := bytes.Cut(data, []byte("\n"))
	return string(bytes.TrimSpace(line)), nil
}

// ask sends a body, and reads the answer into out.
func (f *apiFlags) ask(path string, query url.Values, media string, body []byte, out any) error {
	u, err := f.address()
	if err != nil {
		return err
	}
	token, err := f.token()
	if err != nil {
		return err
	}
	roots, err := f.roots()
	if err != nil {
		return err
	}
	client := clientOf(u, roots, nil, 5*time.Minute)
	res, err := client.Do(context.Background(), http.MethodPost, u.String()+path+"?"+query.Encode(), http.Header{"Authorization": {"Bearer " + token}, "Content-Type": {media}}, body)
	if err != nil {
		return exitError{exitUndecided, hintRoots(err)}
	}
	if res.Status >= 300 {
		return apiProblem(res)
	}
	if err := json.Unmarshal(res.Body, out); err != nil {
		return exitError{exitUndecided, fmt.Errorf("the server's answer: %w", err)}
	}
	return nil
}

// apiProblem is an answer that is none of success (RFC 9457).
func apiProblem(res *fetch.Response) error {
	var p struct{ Reason, Title, Detail string }
	_ = json.Unmarshal(res.Body, &p)
	said := format.Visible(strings.Join(strings.Fields(p.Reason+" "+p.Title+" "+p.Detail), " "))
	code := exitUndecided
	if res.Status == http.StatusUnprocessableEntity || res.Status == http.StatusUnauthorized || res.Status == http.StatusForbidden || res.Status == http.StatusNotFound || res.Status == http.StatusRequestEntityTooLarge {
		code = exitNotValid
	}
	return exitError{code, fmt.Errorf("the server says %d: %s", res.Status, said)}
}

type deviceImportCmd struct {
	apiFlags
	File     string `arg:"" placeholder:"FILE" help:"File of a logger: CSV, LogTag, Fridge-tag; - is standard input."`
	Facility string `placeholder:"F" help:"Facility, of whom has several."`
	Device   string `placeholder:"SCHEME:NAME" help:"Whose it is, where the file does not say: serial:MAKER/1234."`
	Zone     string `placeholder:"Z" help:"Time zone of times without one: Africa/Kigali."`
	Dates    string `enum:",dmy,mdy" default:"" placeholder:"ORDER" help:"Of dates that could be either: dmy or mdy."`
	Unit     string `enum:",C,F" default:"" placeholder:"U" help:"C or F, where the file does not say."`
	Dry      bool   `help:"Tell what is in it, and bring nothing."`
}

// imported is the server's answer.
type imported struct {
	Kind     string           `json:"kind"`
	Serial   string           `json:"serial,omitempty"`
	Model    string           `json:"model,omitempty"`
	From     time.Time        `json:"from,omitzero"`
	Until    time.Time        `json:"until,omitzero"`
	Count    int              `json:"count"`
	Low      int32            `json:"low"`
	High     int32            `json:"high"`
	Asks     []string         `json:"asks,omitempty"`
	Stored   int              `json:"stored"`
	Repeated int              `json:"repeated"`
	Refused  []format.Finding `json:"refused"`
	Findings []format.Finding `json:"findings"`
}

// maxLoggerUpload is what the server takes.
const maxLoggerUpload = 32 << 20

// Run exits 1 where something was refused, 2 where the file does not say enough.
func (c *deviceImportCmd) Run(t terminal) error {
	data, err := readBounded(c.File, t.in, maxLoggerUpload)
	if err != nil {
		return exitError{exitUsage, err}
	}
	query := url.Values{}
	for name, value := range map[string]string{"facility": c.Facility, "device": c.Device, "zone": c.Zone, "dates": c.Dates, "unit": c.Unit} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if c.Dry {
		query.Set("dry", "true")
	}
	var r imported
	if err := c.ask("/v1/imports", query, "application/octet-stream", data, &r); err != nil {
		return err
	}
	line := func(name, text string, args ...any) {
		fmt.Fprintf(t.out, "%-10s %s\n", name, fmt.Sprintf(text, args...))
	}
	if len(r.Asks) > 0 {
		line("asks", "%s", format.Visible(strings.Join(r.Asks, ", ")))
		return exitError{exitUndecided, fmt.Errorf("the file does not say it: give --%s", format.Visible(strings.Join(r.Asks, ", --")))}
	}
	line("kind", "%s", format.Visible(r.Kind))
	if r.Serial != "" {
		line("serial", "%s", format.Visible(r.Serial))
	}
	line("readings", "%d, %s to %s, %.1f to %.1f °C", r.Count, r.From.Format(time.RFC3339), r.Until.Format(time.RFC3339), float64(r.Low)/1000, float64(r.High)/1000)
	for _, f := range r.Findings {
		line("odd", "%s %s", format.Visible(f.Path), f.Reason)
	}
	if c.Dry {
		return nil
	}
	line("stored", "%d", r.Stored)
	line("repeated", "%d", r.Repeated)
	for _, f := range r.Refused {
		line("refused", "%s %s", format.Visible(f.Path), f.Reason)
	}
	if len(r.Refused) > 0 {
		return exitError{code: exitNotValid}
	}
	return nil
}

type deviceRosterCmd struct {
	apiFlags
	File     string `arg:"" placeholder:"FILE" help:"Table in CSV, with a line of column names: maker, model, serial, pqs, giai, oid, dev-eui, ble, rfid, facility, equipment; - is standard input."`
	Facility string `placeholder:"F" help:"Facility of rows that name none."`
	Supplier string `placeholder:"ACCOUNT" help:"Account that may speak for them."`
	Dry      bool   `help:"Tell what would be taken, and take nothing."`
	Out      string `placeholder:"F" help:"Write line, identifier, name and claim code of those that were taken, as CSV. Codes are given out once. Standard output otherwise."`
}

// Run exits 1 where a row was not taken.
func (c *deviceRosterCmd) Run(t terminal) error {
	data, err := readBounded(c.File, t.in, device.MaxRoster)
	if err != nil {
		return exitError{exitUsage, err}
	}
	query := url.Values{}
	for name, value := range map[string]string{"facility": c.Facility, "supplier": c.Supplier} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if c.Dry {
		query.Set("dry", "true")
	}
	// The file is there before the codes are: they are given out once.
	var out *os.File
	if c.Out != "" && !c.Dry {
		if out, err = os.OpenFile(c.Out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
			return exitError{exitUsage, err}
		}
		defer out.Close()
	}
	var r struct {
		Taken int
		Rows  []struct {
			Line              int
			Names             []string
			ID, Label, Reason string
		}
		Findings []format.Finding
	}
	if err := c.ask("/v1/devices/roster", query, "text/csv", data, &r); err != nil {
		if out != nil {
			_ = os.Remove(c.Out)
		}
		return err
	}
	var table bytes.Buffer
	w := csv.NewWriter(&table)
	_ = w.Write([]string{"line", "id", "name", "label"})
	bad := len(r.Findings)
	for _, f := range r.Findings {
		fmt.Fprintf(t.err, "%s: %s\n", format.Visible(f.Path), f.Reason)
	}
	for _, row := range r.Rows {
		name := strings.Join(row.Names, " ")
		if row.Reason != "" {
			bad++
			fmt.Fprintf(t.err, "line %d: %s: %s\n", row.Line, format.Visible(name), format.Visible(row.Reason))
		}
		if row.Label != "" {
			_ = w.Write([]string{fmt.Sprint(row.Line), row.ID, name, row.Label})
		}
	}
	w.Flush()
	switch {
	case c.Dry:
		fmt.Fprintf(t.out, "%d devices could be taken\n", r.Taken)
	case out != nil:
		if _, err := out.Write(table.Bytes()); err != nil {
			return err
		}
		if err := out.Sync(); err != nil {
			return err
		}
		fmt.Fprintf(t.out, "%d devices taken; their claim codes are in %s\n", r.Taken, c.Out)
	default:
		if _, err := t.out.Write(table.Bytes()); err != nil {
			return err
		}
	}
	if bad > 0 {
		return exitError{exitNotValid, fmt.Errorf("%d rows were not taken", bad)}
	}
	return nil
}

type deviceLabelCmd struct {
	Code string  `arg:"" placeholder:"CODE" help:"Claim code, as it was given out."`
	Out  string  `required:"" placeholder:"F" help:"File to write, ending in .svg or .png."`
	Side float64 `name:"mm" default:"20" placeholder:"MM" help:"Side of the printed code, in millimetres."`
}

// Run draws the code.
func (c *deviceLabelCmd) Run(t terminal) error {
	claim, err := device.ParseClaim(c.Code)
	if err != nil {
		return usageError("%w", err)
	}
	symbol, err := qr.Encode(claim.Label(), qr.Q)
	if err != nil {
		return err
	}
	options := qr.Options{Millimetres: c.Side, Title: "Claim code of a device"}
	var data []byte
	switch ext := filepath.Ext(c.Out); ext {
	case ".svg":
		data, err = symbol.SVG(options)
	case ".png":
		data, err = symbol.PNG(options)
	default:
		return usageError("--out %s: the name must end in .svg or .png", c.Out)
	}
	if err != nil {
		return usageError("--mm: %w", err)
	}
	// Whoever has the code can make the device theirs.
	if err := os.WriteFile(c.Out, data, 0o600); err != nil {
		return exitError{exitUsage, err}
	}
	return nil
}
