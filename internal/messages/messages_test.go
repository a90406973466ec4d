package messages

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"ampoule/party/verifier"
	"ampoule/thing"
)

var (
	placeholder = regexp.MustCompile(`\{[a-z]+\}`)
	pluralKey   = regexp.MustCompile(`^(.*)\.(zero|one|two|few|many|other)$`)
)

// isPlural reports whether a key is a plural form: its brother .other exists.
func isPlural(l *Language, key string) (stem string, ok bool) {
	m := pluralKey.FindStringSubmatch(key)
	if m == nil || !l.Has(m[1]+".one") || !l.Has(m[1]+".other") {
		return "", false
	}
	return m[1], true
}

// TestComplete: every language has every text, with the same placeholders, and
// every plural form that its numbers need.
func TestComplete(t *testing.T) {
	for _, l := range Languages {
		forms := map[string]bool{}
		for n := range 1000 {
			forms[l.category(n)] = true
		}
		for key, source := range English.texts {
			if stem, ok := isPlural(English, key); ok {
				for form := range forms {
					if !l.Has(stem + "." + form) {
						t.Errorf("%s lacks %s.%s", l.Tag, stem, form)
					}
				}
				continue
			}
			text, ok := l.texts[key]
			if !ok || text == "" {
				t.Errorf("%s lacks %s", l.Tag, key)
				continue
			}
			if got, want := placeholder.FindAllString(text, -1), placeholder.FindAllString(source, -1); !sameSet(got, want) {
				t.Errorf("%s: %s has the placeholders %v, and English %v", l.Tag, key, got, want)
			}
		}
		for key, text := range l.texts {
			if text != strings.TrimSpace(text) {
				t.Errorf("%s: %s has blanks around it", l.Tag, key)
			}
			if stem, ok := isPlural(l, key); ok {
				if _, known := isPlural(English, stem+".other"); !known {
					t.Errorf("%s: %s is in no other language", l.Tag, key)
				}
			} else if !English.Has(key) {
				t.Errorf("%s: %s is not in English", l.Tag, key)
			}
			if l != English && len(text) > 24 && text == English.texts[key] && !strings.HasPrefix(key, "format.") {
				t.Errorf("%s: %s is not translated", l.Tag, key)
			}
		}
	}
}

func sameSet(a, b []string) bool {
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(slices.Compact(a), slices.Compact(b))
}

// TestNoKeyTwice: a repeated key would hide a text.
func TestNoKeyTwice(t *testing.T) {
	for _, l := range Languages {
		data, err := files.ReadFile(l.Tag + ".json")
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(data), "\n\""); n != len(l.texts) {
			t.Errorf("%s: %d lines hold %d keys", l.Tag, n, len(l.texts))
		}
		if !json.Valid(data) {
			t.Errorf("%s is not JSON", l.Tag)
		}
	}
}

// TestVerdicts: each outcome, advice, check and result has its words, and each
// says something else.
func TestVerdicts(t *testing.T) {
	if n := len(verifier.Outcomes()); n != 15 {
		t.Fatalf("%d outcomes", n)
	}
	for _, l := range Languages {
		said := map[string]string{}
		check := func(of, text string) {
			t.Helper()
			if other, twice := said[text]; twice {
				t.Errorf("%s: %s says what %s says: %q", l.Tag, of, other, text)
			}
			said[text] = of
			if text == "" || strings.Contains(text, "⟦") {
				t.Errorf("%s: %s: %q", l.Tag, of, text)
			}
		}
		all := func(of string, w Words) {
			t.Helper()
			check(of+" title", w.Title)
			for _, sentence := range []string{w.Verifier, w.Holder} {
				check(of, sentence)
				// The part after the semicolon is what to do next.
				if !strings.HasSuffix(sentence, ".") || strings.Count(sentence, ".") != 1 || !strings.ContainsAny(sentence, ";؛") {
					t.Errorf("%s: %s: not one sentence of meaning and advice: %q", l.Tag, of, sentence)
				}
			}
		}
		for _, o := range verifier.Outcomes() {
			all(string(o), l.Outcome(o))
		}
		for _, a := range []verifier.AdviceValue{verifier.Concern, verifier.NoConcern, verifier.NotKnown} {
			all(string(a), l.Advice(a))
		}
		for _, r := range []verifier.Result{verifier.Pass, verifier.Fail, verifier.CannotTell, verifier.NotApplicable, verifier.NotChecked} {
			check(string(r), l.Result(verifier.StepRead, r))
		}
		for s := verifier.StepRead; s <= verifier.StepBinding; s++ {
			check(s.String(), l.Question(s))
		}
	}
}

// TestOnlyValidSoundsValid: nothing but valid may be taken for it in haste.
func TestOnlyValidSoundsValid(t *testing.T) {
	for _, o := range verifier.Outcomes() {
		w := English.Outcome(o)
		if affirms := strings.Contains(w.Verifier, "authentic and in force"); affirms != (o == verifier.Valid) {
			t.Errorf("%s: %q", o, w.Verifier)
		}
		if o != verifier.Valid && w.Title == "Valid" {
			t.Errorf("%s is called valid", o)
		}
	}
	if (English.Outcome("green") != Words{}) || (English.Advice("green") != Words{}) {
		t.Error("a word that is no outcome has words")
	}
}

// codecs are the packages that take a certificate apart or judge it: their
// reason words can stand in a verdict.
var codecs = []string{
	"party/verifier", "format", "format/cbor", "format/cose", "format/hcert", "format/eudcc", "format/icvp", "format/ddcc",
	"format/vhl", "format/shc", "format/fhir", "format/deflate", "format/strictjson", "format/vdsnc", "format/divoc", "format/rdfc",
	"cert", "thing", "trust",
}

// elsewhere are words of these packages that stand in no verdict, by where they
// are said instead.
var elsewhere = map[string][]string{
	"lists of lot statements, when they are loaded": {
		"bad-field", "bad-line", "bad-statement-id", "issued-outside-key", "no-country", "not-a-lot-statement", "not-deterministic",
		"not-its-place", "not-its-product", "not-its-value", "too-many-statements", "unknown-authority", "unknown-version",
	},
	"catalogues of products, when they are loaded": {
		"catalogue-bad-product", "catalogue-conflict", "catalogue-empty", "catalogue-incomplete", "catalogue-too-large", "catalogue-unknown-form",
	},
	"trust and status lists, when they are loaded": {
		"bad-key", "deleted", "duplicate", "duplicate-rid", "no-keys", "no-pinned-key", "not-a-did-document", "not-a-revocation-list",
		"not-a-signer", "not-a-snapshot", "not-an-authority", "reference", "snapshot-too-large", "timed-entry", "unknown-status-value",
		"unknown-trust-source", "unreadable", "unsupported-key",
	},
	"gateways' lists, onboarding and audits of lists": {
		"bad-participant", "basic-constraints", "country", "country-mismatch", "duplicate-kid", "ext-key-usage", "issuer-did-not-sign", "issuer-not-trusted",
		"key-identifier", "kid-not-derived", "kid-of-another", "malformed-kid", "no-authority", "no-ca-true", "no-issuer", "not-by-its-uploader",
		"not-by-the-anchor", "not-in-force", "not-unique", "not-verifiable", "not-verified", "on-expired-sca", "outlives-sca", "path-length",
		"private-key", "role-missing", "sca-expired", "sha1-signature", "signature-algorithm", "unexpected-file", "unknown-role", "validity",
		"validity-too-long", "x509-refused",
	},
	"documents behind a link, which the verifier does not open": {"bad-manifest", "malformed-label", "not-decrypted", "not-jwe"},
	"conversions":                     {"concept-table-unknown-form", "not-carried", "too-many-pairs"},
	"transcripts, when they are read": {"not-a-transcript"},
	"bundles, when they are opened":   {"detached-payload", "duplicate-signer", "missing-signature", "not-sign", "too-many-signers"},
}

// TestReasons reads the sources for the reason words that a verdict can have,
// and looks each up in every language.
func TestReasons(t *testing.T) {
	words := map[string]string{}
	for _, dir := range codecs {
		for _, w := range reasonsIn(t, dir) {
			if _, known := words[w]; !known {
				words[w] = dir
			}
		}
	}
	if len(words) < 150 {
		t.Fatalf("only %d words were found: has the way in which they are written changed?", len(words))
	}
	for where, list := range elsewhere {
		for _, w := range list {
			if _, found := words[w]; !found {
				t.Errorf("%q, said of %s, is no word any more", w, where)
			}
			delete(words, w)
		}
	}
	for _, l := range Languages {
		for _, w := range slices.Sorted(maps.Keys(words)) {
			if !l.Has("reason." + w + ".title") {
				t.Errorf("%s has no title for the reason %q of %s", l.Tag, w, words[w])
			}
		}
	}
	for key := range English.texts {
		word, ok := strings.CutPrefix(key, "reason.")
		if !ok || strings.HasSuffix(word, ".holder") {
			continue
		}
		if stem, ok := strings.CutSuffix(word, ".verifier"); ok {
			if !English.Has("reason." + stem + ".holder") {
				t.Errorf("%s has a sentence for the verifier and none for the holder", stem)
			}
			continue
		}
		word = strings.TrimSuffix(word, ".title")
		if _, said := words[word]; !said && !slices.Contains(ours, word) {
			t.Errorf("no verdict says %q", word)
		}
	}
}

// notDuties are words of the sources below that no report of a supplier has, nor a file
// that somebody brings: answers of the door to who is nobody's supplier or about faults of
// ours, and a plan that is none.
var notDuties = []string{"bad-fault-plan", "busy", "fault-on-purpose", "internal", "method-not-allowed", "nobody", "not-found"}

// TestDuties reads the sources for what can be wrong with a transmission of DS01, and with
// a file of a logger, and looks each word up in every language: no page shows a bare one.
func TestDuties(t *testing.T) {
	words := []string{"required-missing", "bad-type", "bad-date", "bad-value", "no-device-named", "no-such-device", "device-denied", "time-out-of-range", "too-many-announced"}
	for _, source := range []string{"party/fleet/conformance.go", "format/cce/*.go", "format/strictjson/*.go", "internal/deviceapi/deviceapi.go", "format/loggerfile/*.go"} {
		found := reasonsOf(t, source)
		if len(found) == 0 {
			t.Errorf("no word was found in %s: has the way in which they are written changed?", source)
		}
		words = append(words, found...)
	}
	for _, word := range notDuties {
		if !slices.Contains(words, word) {
			t.Errorf("%q is no word any more", word)
		}
	}
	slices.Sort(words)
	for _, word := range slices.Compact(words) {
		for _, l := range Languages {
			if !slices.Contains(notDuties, word) && !l.Has("cold.wrong."+word) {
				t.Errorf("%s has no text for %q", l.Tag, word)
			}
		}
	}
	for key := range English.texts {
		if word, ok := strings.CutPrefix(key, "cold.wrong."); ok && !slices.Contains(words, word) {
			t.Errorf("nothing says %q", word)
		}
	}
	source, err := os.ReadFile("../../party/fleet/conformance.go")
	if err != nil {
		t.Fatal(err)
	}
	figures := regexp.MustCompile(`d\.figure\("(\w+)"`).FindAllStringSubmatch(string(source), -1)
	if len(figures) == 0 {
		t.Error("no figure was found")
	}
	for _, f := range figures {
		if !English.Has("cold.duty-figure." + f[1]) {
			t.Errorf("no text for the figure %q", f[1])
		}
	}
}

// ours are the words that are put together or said outside of the packages
// above: by the command line for a file, by the table
// of readers, by the proof of step 10, by the zero state of step 9 and the end of all steps, and the dates
// of HCERT, whose words are made of two halves.
var ours = []string{
	"unreadable-file",
	"hcert", "smart-health-card", "divoc-archive", "visible-digital-seal", "not-read", "all-required-checks-passed",
	"malformed-batch-path", "malformed-receipt",
	"exp-float", "exp-tagged", "iat-float", "iat-tagged", "nbf-float", "nbf-tagged",
}

// reasonsIn finds the reason words in the sources of a package: sentinels of
// type Defect, constants that are named after what they are, and the literals
// that are given for one.
func reasonsIn(t *testing.T, dir string) []string {
	t.Helper()
	return reasonsOf(t, dir+"/*.go")
}

// reasonsOf finds them in the sources of a pattern.
func reasonsOf(t *testing.T, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("..", "..", filepath.FromSlash(pattern)))
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s: %v, %d files", pattern, err, len(paths))
	}
	var words []string
	add := func(e ast.Expr) {
		if l, ok := e.(*ast.BasicLit); ok && l.Kind == token.STRING {
			if w, err := strconv.Unquote(l.Value); err == nil && w != "" {
				words = append(words, w)
			}
		}
	}
	named := func(name string) bool {
		for _, prefix := range []string{"reason", "Reason", "key", "rule", "note", "irregular"} {
			if strings.HasPrefix(name, prefix) {
				return true
			}
		}
		return false
	}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				switch name := callee(n); {
				case name == "Defect" && len(n.Args) == 1:
					add(n.Args[0])
				case name == "set" && len(n.Args) == 4:
					add(n.Args[2])
				case name == "irregular" && len(n.Args) >= 2, name == "Reason" && len(n.Args) == 2:
					add(n.Args[len(n.Args)-1])
				case name == "append" && len(n.Args) == 2 && strings.HasSuffix(fmt.Sprint(last(n.Args[0])), "Remarks"):
					add(n.Args[1])
				}
			case *ast.KeyValueExpr:
				if k, ok := n.Key.(*ast.Ident); ok && k.Name == "Reason" {
					add(n.Value)
				}
			case *ast.ValueSpec:
				for i, value := range n.Values {
					if fmt.Sprint(last(n.Type)) == "Defect" || named(n.Names[i].Name) {
						add(value)
					}
				}
			case *ast.AssignStmt:
				for i, to := range n.Lhs {
					if id, ok := to.(*ast.Ident); ok && id.Name == "reason" && i < len(n.Rhs) {
						add(n.Rhs[i])
					}
				}
			}
			return true
		})
	}
	return words
}

func callee(c *ast.CallExpr) string { return last(c.Fun) }

// last is the last name of a selector, or the name itself.
func last(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

func TestText(t *testing.T) {
	l := &Language{Tag: "en", tag: English.tag, texts: map[string]string{
		"a": "{name} of {count}", "n.one": "{count} code", "n.other": "{count} codes",
	}}
	for _, tt := range []struct{ got, want string }{
		{l.Text("a", "name", "سارة", "count", 3), "\u2068سارة\u2069 of 3"},
		{l.Text("a"), "{name} of {count}"},
		{l.Text("b"), "⟦b⟧"},
		{l.Plural("n", 1), "1 code"},
		{l.Plural("n", 0), "0 codes"},
		{l.Plural("m", 0), "⟦m⟧"},
		{English.Reason("recalled", English.Advice(verifier.Concern)).Title, "The lot was recalled"},
		{English.Reason("truncated", English.Outcome(verifier.Malformed)).Holder, English.Outcome(verifier.Malformed).Holder},
		{English.Reason("new-word", Words{}).Title, "new-word"},
		{English.Format("icvp"), "Digital International Certificate of Vaccination or Prophylaxis"},
		{English.Format(""), "not recognised"},
		{English.Format("new"), "new"},
	} {
		if tt.got != tt.want {
			t.Errorf("%q, want %q", tt.got, tt.want)
		}
	}
}

func TestAccept(t *testing.T) {
	for header, want := range map[string]string{
		"": "en", "*": "en", "xx": "en", "fr": "fr", "fr-CA,en;q=0.5": "fr", "de,es-MX;q=0.8,en;q=0.1": "es",
		"ar-EG": "ar", "pt-BR": "pt", "en-GB,fr": "en", ";;": "en",
	} {
		if got := Accept(header).Tag; got != want {
			t.Errorf("%q: %s, want %s", header, got, want)
		}
	}
}

// TestAdviceSaysWhatToDo: whatever makes a holder ask has a sentence of its own for the
// verifier and for the holder, in every language, and none is that of another.
func TestAdviceSaysWhatToDo(t *testing.T) {
	reasons := []string{
		thing.ReasonRecalled, thing.ReasonExpired, thing.ReasonSpoiled, thing.ReasonHeat, thing.ReasonFrozen, "dose-listed",
		thing.ReasonPart, thing.ReasonPlace, thing.ReasonDate, thing.ReasonSensitivity, thing.ReasonNotMapped,
	}
	for _, l := range Languages {
		seen := map[string]string{}
		for i, reason := range reasons {
			a := verifier.Advice{Value: verifier.Concern, Reason: reason}
			if i > 5 {
				a.Value = verifier.NotKnown
			}
			if !a.Asks() {
				t.Errorf("%s: nobody asks", reason)
			}
			general := l.Advice(a.Value)
			words := l.Reason(reason, general)
			for _, sentence := range []string{words.Verifier, words.Holder} {
				if other, twice := seen[sentence]; twice || sentence == general.Verifier || sentence == general.Holder || sentence == "" {
					t.Errorf("%s: %s says %q, as does %q", l.Tag, reason, sentence, other)
				}
				seen[sentence] = reason
			}
		}
	}
	for _, reason := range []string{thing.ReasonMeasured, thing.ReasonStoodFreeze, thing.ReasonInDate, thing.ReasonNotCovered, thing.ReasonNoStatement, thing.ReasonNoLot, "no-lot-list", "bundle-too-old"} {
		if (verifier.Advice{Value: verifier.NotKnown, Reason: reason}).Asks() {
			t.Errorf("%s: somebody asks", reason)
		}
	}
}
