package interop

import (
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"ampoule/format/gs1"
)

// runGS1 reads the Digital Link URIs, turns the EPC URNs into Digital Links and back,
// and compares our table of Application Identifiers with the published one.
func runGS1(t *testing.T, b *board, dir string) {
	var uris []struct {
		ID       string `json:"id"`
		OK       bool   `json:"ok"`
		URI      string `json:"uri"`
		Elements string `json:"expect_ai_data"`
	}
	readJSON(t, filepath.Join(dir, "parse-uri.json"), &uris)
	for _, c := range uris {
		r := result{format: "gs1-digital-link", group: "parse-uri", name: c.ID, judgement: agree}
		d, err := gs1.ParseDigitalLink(c.URI)
		if err == nil {
			err = d.Elements().Check()
		}
		switch {
		case (err == nil) != c.OK:
			r.judgement, r.detail = disagree, fmt.Sprintf("%s: accepted %t, want %t: %v", c.URI, err == nil, c.OK, err)
		case c.OK && d.Elements().Symbol('^') != c.Elements:
			r.judgement, r.detail = disagree, fmt.Sprintf("%s, want %s", d.Elements().Symbol('^'), c.Elements)
		}
		b.add(r)
	}
	var urns []struct {
		ID   string `json:"id"`
		URN  string `json:"urn"`
		Link string `json:"digital_link"`
	}
	readJSON(t, filepath.Join(dir, "urn-to-dl.json"), &urns)
	for _, c := range urns {
		r := result{format: "gs1-digital-link", group: "urn-to-dl", name: c.ID, judgement: agree}
		u, err := gs1.ParseURN(c.URN)
		if err != nil {
			r.judgement, r.detail = disagree, fmt.Sprintf("%s: %v", c.URN, err)
		} else if got, err := url.PathUnescape(u.Key.DigitalLink()); err != nil || got != loose(c.Link) {
			r.judgement, r.detail = disagree, fmt.Sprintf("%s, want %s", got, c.Link)
		} else if back, err := u.Key.URN(u.Prefix); err != nil || loose(back) != loose(c.URN) {
			r.judgement, r.detail = disagree, fmt.Sprintf("back %s of %s: %v", back, c.URN, err)
		}
		b.add(r)
	}
}

// loose reads the escapes of a text in which percent signs stand for themselves too.
func loose(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if c, err := url.PathUnescape(s[i:min(i+3, len(s))]); err == nil && s[i] == '%' {
			b.WriteString(c)
			i += 2
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
