package interop

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"ampoule/format/gs1"
	"ampoule/format/linkset"
)

// runGS1 reads the Digital Link URIs, turns the EPC URNs into Digital Links and back,
// and compares our table of Application Identifiers with the published one.
func runGS1(t *testing.T, b *board, dir string) {
	runGS1URIs(t, b, filepath.Join(dir, "parse-uri.json"))
	runGS1URNs(t, b, filepath.Join(dir, "urn-to-dl.json"))
	runGS1Dictionary(t, b, filepath.Join(dir, "gs1-syntax-dictionary.txt"))
}

var (
	// wordForAI is one of the words that earlier versions of the standard had.
	wordForAI = regexp.MustCompile(`/(gtin|sscc)/`)
	shortGTIN = regexp.MustCompile(`[/?&]01[/=](\d{8}|\d{12,13})([/?&]|$)`)
)

func runGS1URIs(t *testing.T, b *board, file string) {
	var uris []struct {
		ID       string `json:"id"`
		OK       bool   `json:"ok"`
		URI      string `json:"uri"`
		Elements string `json:"expect_ai_data"`
	}
	readJSON(t, file, &uris)
	both := map[string]map[bool]bool{}
	for _, c := range uris {
		if both[c.URI] == nil {
			both[c.URI] = map[bool]bool{}
		}
		both[c.URI][c.OK] = true
	}
	for _, c := range uris {
		r := result{format: "gs1-digital-link", group: "parse-uri", name: c.ID, judgement: agree}
		d, err := gs1.ParseDigitalLink(c.URI)
		if err == nil {
			err = d.Elements().Check()
		}
		switch {
		case len(both[c.URI]) == 2:
			r.judgement, r.rule, r.detail = notApplicable, "an option of the source", c.URI
		case (err == nil) != c.OK:
			r.judgement, r.detail = disagree, fmt.Sprintf("%s: accepted %t, want %t: %v", c.URI, err == nil, c.OK, err)
			switch {
			case c.OK && wordForAI.MatchString(c.URI):
				r.rule = "words for Application Identifiers"
			case !c.OK && shortGTIN.MatchString(c.URI):
				r.rule = "a GTIN of fewer than 14 digits"
			}
		case c.OK && d.Elements().Symbol('^') != c.Elements:
			r.judgement, r.detail = disagree, fmt.Sprintf("%s, want %s", d.Elements().Symbol('^'), c.Elements)
		case c.OK:
			// What a symbol would hold is read to the same, and so is the link that we write,
			// plain and compressed.
			es, err := gs1.ParseElements(c.Elements)
			if err != nil || !slices.Equal(es, d.Elements()) {
				r.judgement, r.detail = disagree, fmt.Sprintf("%s: %v: %v", c.Elements, es, err)
			}
			if again, err := gs1.ParseDigitalLink(d.String()); err != nil || again.String() != d.String() {
				r.judgement, r.detail = disagree, fmt.Sprintf("%s again is %s: %v", d, again, err)
			}
			for _, text := range []string{d.Compress(), d.CompressPartly()} {
				again, err := gs1.Decompress(text)
				if text == d.String() {
					again, err = d, nil // nothing to compress beside the key
				}
				if err != nil || again.Canonical() != d.Canonical() {
					r.judgement, r.detail = disagree, fmt.Sprintf("%s is %s, want %s: %v", text, again, d, err)
				}
			}
		}
		b.add(r)
	}
}

// runGS1URNs turns each URN into a link, and that back with a company prefix of the same
// length. The source writes links without escapes.
func runGS1URNs(t *testing.T, b *board, file string) {
	var urns []struct {
		ID   string `json:"id"`
		URN  string `json:"urn"`
		Link string `json:"digital_link"`
	}
	readJSON(t, file, &urns)
	for _, c := range urns {
		r := result{format: "gs1-digital-link", group: "urn-to-dl", name: c.ID, judgement: agree}
		u, err := gs1.ParseURN(c.URN)
		if err != nil {
			r.judgement, r.detail = disagree, fmt.Sprintf("%s: %v", c.URN, err)
			if errors.Is(err, gs1.ErrValue) && strings.Contains(c.URN, ":itip:") {
				r.rule = "a piece beyond the total"
			}
		} else if got, err := url.PathUnescape(u.Key.DigitalLink()); err != nil || got != loose(c.Link) {
			r.judgement, r.detail = disagree, fmt.Sprintf("%s, want %s", got, c.Link)
		} else if back, err := u.Key.URN(u.Prefix); err != nil || loose(back) != loose(c.URN) {
			r.judgement, r.detail = disagree, fmt.Sprintf("back %s of %s: %v", back, c.URN, err)
		}
		b.add(r)
	}
}

// runGS1Dictionary compares each row of the syntax dictionary with each AI of ours that
// it is about, word by word, and asks that there is no other.
func runGS1Dictionary(t *testing.T, b *board, file string) {
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	ours := map[string]string{}
	for _, ai := range gs1.AIs() {
		ours[ai.Code] = ai.String()
	}
	for line := range strings.Lines(string(data)) {
		if line[0] < '0' || line[0] > '9' {
			continue
		}
		definition, title, _ := strings.Cut(line, "# ")
		words := strings.Fields(definition)
		first, last, _ := strings.Cut(words[0], "-")
		from, _ := strconv.Atoi(first)
		to, _ := strconv.Atoi(cmp.Or(last, first))
		for n := from; n <= to; n++ {
			code := fmt.Sprintf("%0*d", len(first), n)
			r := result{format: "gs1-digital-link", group: "dictionary", name: code, judgement: agree}
			want := slices.Clone(words[1:])
			if title != "" {
				want = append(want, strings.Fields("# "+title)...)
			} else {
				want = append(want, "#")
			}
			got := strings.Fields(ours[code])
			if len(got) == 0 || !sameWords(got[1:], want) {
				r.judgement, r.detail = disagree, fmt.Sprintf("%q, want %q", got, want)
			}
			delete(ours, code)
			b.add(r)
		}
	}
	for code := range ours {
		b.add(result{format: "gs1-digital-link", group: "dictionary", name: code, judgement: disagree, detail: "not in the dictionary"})
	}
}

// sameWords compares two definitions, of which the attributes may stand in any order.
func sameWords(a, b []string) bool {
	sorted := func(words []string) []string {
		words = slices.Clone(words)
		slices.Sort(words)
		return words
	}
	return slices.Equal(sorted(a), sorted(b))
}

// runLinkset reads each linkset: valid-* and the models are what the schema of GS1
// allows, and invalid-* are not.
func runLinkset(t *testing.T, b *board, dir string) {
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		if strings.HasSuffix(name, "schema.json") {
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		r := result{format: "gs1-linkset", group: "examples", name: name, judgement: agree}
		set, findings, err := linkset.Parse(data)
		valid := err == nil && len(findings) == 0
		if valid == strings.HasPrefix(name, "invalid-") {
			r.judgement, r.detail = disagree, fmt.Sprintf("%v %v", err, findings)
		} else if valid {
			var got, want any
			again, err := linkset.Marshal(set)
			if err := errors.Join(err, json.Unmarshal(again, &got), json.Unmarshal(data, &want)); err != nil || !same(got, want) {
				r.judgement, r.detail = disagree, fmt.Sprintf("written as %s: %v", again, err)
			}
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
