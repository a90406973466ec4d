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

	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"
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

// lookAhead compiles the patterns of the linkset schema. Go has no look-ahead, and the one of
// the schema stands before one of two alternatives.
func lookAhead(pattern string) (jsonschema.Regexp, error) {
	rest, ok := strings.CutPrefix(pattern, "(?!(anchor|itemDescription))^([a-z-]+$)|")
	re, err := regexp.Compile(rest)
	if !ok {
		return re, err
	}
	return relationPattern{re}, err
}

type relationPattern struct{ *regexp.Regexp }

var smallWord = regexp.MustCompile(`^[a-z-]+$`)

func (p relationPattern) MatchString(s string) bool {
	return smallWord.MatchString(s) && !strings.HasPrefix(s, "anchor") && !strings.HasPrefix(s, "itemDescription") || p.Regexp.MatchString(s)
}

// TestGS1LinksetSchema draws sets, mostly sound and with something odd here and there,
// and compares what we find in them with the schema that GS1's own tests use.
func TestGS1LinksetSchema(t *testing.T) {
	file := filepath.Join(vectors(t), "gs1-linkset", "gs1-linkset-schema.json")
	compiler := jsonschema.NewCompiler()
	compiler.UseRegexpEngine(lookAhead)
	schema, err := compiler.Compile(file)
	if err != nil {
		t.Fatal(err)
	}
	names := rapid.SampledFrom([]string{"anchor", "itemDescription", "next", "prev", "anchored", "Next", "ne_xt", "", "gs1:pip", "https://ref.gs1.org/voc/pip", "https://gs1.org/voc/a_b", "https://a.b/c-d", "http://", "http:///", "itemDescriptions"})
	texts := rapid.SampledFrom([]string{"", "A", "https://a", "https://", "http://_", "http://-", "https://a-b.c/d?e", "HTTPS://a", "en", "en-GB", "eng", "e", "EN_GB", "12", "text/html", "text", "a/", "/a", "x /y", "a/-", "a;/b/c"})
	members := rapid.SampledFrom([]string{"href", "title", "hreflang", "type", "context", "fwqs", "public", "title*", "Href"})
	rapid.Check(t, func(t *rapid.T) {
		odd := func(usual any) any {
			switch rapid.IntRange(0, 20).Draw(t, "odd") {
			case 0:
				return texts.Draw(t, "text")
			case 1:
				return []any{texts.Draw(t, "text")}
			case 2:
				return rapid.SampledFrom([]any{nil, true, json.Number("1"), map[string]any{}, []any{}, []any{json.Number("1")}}).Draw(t, "value")
			}
			return usual
		}
		link := func() any {
			l := map[string]any{"href": odd("https://example.org/x"), "title": odd("A")}
			for range rapid.IntRange(0, 3).Draw(t, "members") {
				name := members.Draw(t, "member")
				usual := map[string]any{"hreflang": []any{"en"}, "type": "text/html", "context": []any{"CH"}, "fwqs": true, "public": false}[name]
				if usual == nil {
					usual = "A"
				}
				l[name] = odd(usual)
			}
			if rapid.IntRange(0, 9).Draw(t, "leave out") == 0 {
				delete(l, members.Draw(t, "member"))
			}
			return l
		}
		context := map[string]any{"anchor": odd("https://id.gs1.org/01/09501101530003"), "itemDescription": odd("A")}
		for range rapid.IntRange(0, 2).Draw(t, "relations") {
			context[names.Draw(t, "relation")] = odd([]any{odd(link())})
		}
		if rapid.IntRange(0, 9).Draw(t, "leave out") == 0 {
			delete(context, names.Draw(t, "relation"))
		}
		set := map[string]any{"linkset": odd([]any{odd(context)})}
		if rapid.IntRange(0, 19).Draw(t, "more") == 0 {
			set[names.Draw(t, "beside")] = "A"
		}
		data, err := json.Marshal(set)
		if err != nil {
			t.Fatal(err)
		}
		document, err := jsonschema.UnmarshalJSON(strings.NewReader(string(data)))
		if err != nil {
			t.Fatal(err)
		}
		invalid := schema.Validate(document)
		_, findings, err := linkset.Parse(data)
		if sound := err == nil && len(findings) == 0; sound != (invalid == nil) {
			t.Fatalf("%s: %v %v, the schema: %v", data, err, findings, invalid)
		}
	})
}
