package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"ampoule/format"
	"ampoule/format/cbor"
	"ampoule/format/cose"
	"ampoule/format/hcert"
)

type inspectCmd struct {
	JSON bool   `name:"json" help:"As JSON objects."`
	File string `arg:"" name:"file" help:"Text or picture of a code; '-' is standard input."`
}

// layers is what can be seen of a code from outside in. A layer that cannot be
// read ends it, with the reason.
type layers struct {
	Unverified  string          `json:"unverified"`
	Characters  int             `json:"characters"`
	Prefix      string          `json:"prefix,omitempty"`
	Compressed  int             `json:"compressed_bytes,omitempty"`
	Inflated    int             `json:"inflated_bytes,omitempty"`
	Tags        []uint64        `json:"tags,omitempty"`
	Protected   json.RawMessage `json:"protected,omitempty"`
	Unprotected json.RawMessage `json:"unprotected,omitempty"`
	Algorithm   string          `json:"algorithm,omitempty"`
	KID         string          `json:"kid,omitempty"`
	Signature   string          `json:"signature,omitempty"`
	Claims      json.RawMessage `json:"claims,omitempty"`
	IssuedAt    string          `json:"iat,omitempty"`
	NotBefore   string          `json:"nbf,omitempty"`
	ExpiresAt   string          `json:"exp,omitempty"`
	Kind        string          `json:"subclaim,omitempty"`
	Remarks     []string        `json:"remarks,omitempty"`
	Stopped     string          `json:"stopped,omitempty"`
}

// Run exits 2 where a layer could not be read.
func (c *inspectCmd) Run(t terminal) error {
	data, err := readInput(c.File, t.in)
	if err != nil {
		return err
	}
	codes, err := readCodes(data)
	if err != nil {
		return err
	}
	stopped := false
	for _, code := range codes {
		l := inspect(code)
		stopped = stopped || l.Stopped != ""
		if c.JSON {
			writeJSON(t.out, l)
		} else {
			l.print(t.out)
		}
	}
	if stopped {
		return exitError{code: exitUndecided}
	}
	return nil
}

const unverified = "nothing here was verified: anyone could have written it"

func inspect(text string) *layers {
	l := &layers{Unverified: unverified}
	text = format.TrimText(text)
	l.Characters = len(text)
	if err := l.read(text); err != nil {
		l.Stopped = err.Error()
	}
	return l
}

func (l *layers) read(text string) error {
	body, _, err := hcert.Unprefix(text, hcert.Field)
	if err != nil {
		return err
	}
	l.Prefix = text[:len(text)-len(body)]
	if len(text) > hcert.MaxText {
		return fmt.Errorf("%d characters, more than a QR code holds (%d): %w", len(text), hcert.MaxText, hcert.ErrTextTooLong)
	}
	compressed, err := hcert.DecodeBase45(body)
	if err != nil {
		return err
	}
	l.Compressed = len(compressed)
	message, err := hcert.Inflate(compressed)
	if err != nil {
		return err
	}
	l.Inflated = len(message)
	m, err := cose.Parse(message, cbor.DefaultLimits)
	if err != nil {
		return err
	}
	l.Tags = m.Tags
	l.Protected, l.Unprotected = m.Header.AppendJSON(nil), m.Unprotected.AppendJSON(nil)
	l.Algorithm, l.KID, l.Signature = m.Alg.String(), hex.EncodeToString(m.KID), hex.EncodeToString(m.Signature)
	claims, err := cbor.Parse(m.Payload, cbor.DefaultLimits)
	if err != nil {
		return err
	}
	l.Claims = claims.AppendJSON(nil)
	full, err := hcert.DecodeCOSE(message, hcert.Field)
	if err != nil {
		return err
	}
	l.IssuedAt, l.NotBefore, l.ExpiresAt = instant(full.Claims.IssuedAt), instant(full.Claims.NotBefore), instant(full.Claims.ExpiresAt)
	l.Kind, l.Remarks = full.Subclaim.String(), full.Remarks
	return nil
}

func instant(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.RFC3339)
}

func (l *layers) print(w io.Writer) {
	fmt.Fprintf(w, "UNVERIFIED: %s\n", l.Unverified)
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%-12s "+format+"\n", append([]any{name}, args...)...)
	}
	line("text", "%d characters, prefix %q", l.Characters, l.Prefix)
	if l.Compressed > 0 {
		line("base45", "%d bytes", l.Compressed)
	}
	if l.Inflated > 0 {
		line("zlib", "%d bytes", l.Inflated)
	}
	if l.Signature != "" || l.Protected != nil {
		line("COSE_Sign1", "tags %v", l.Tags)
		line("  protected", "%s", l.Protected)
		line("  header", "%s", l.Unprotected)
		line("  algorithm", "%s", l.Algorithm)
		line("  key", "%s", l.KID)
		line("  signature", "%s", l.Signature)
	}
	for _, d := range [][2]string{{"issued", l.IssuedAt}, {"valid from", l.NotBefore}, {"expires", l.ExpiresAt}, {"holds", l.Kind}} {
		if d[1] != "" {
			line(d[0], "%s", d[1])
		}
	}
	if len(l.Remarks) > 0 {
		line("remarks", "%s", strings.Join(l.Remarks, ", "))
	}
	if l.Claims != nil {
		var pretty strings.Builder
		enc := json.NewEncoder(&pretty)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if enc.Encode(l.Claims) == nil {
			fmt.Fprintf(w, "claims\n%s", pretty.String())
		}
	}
	if l.Stopped != "" {
		line("stopped", "%s", l.Stopped)
	}
}
