// Package messages holds every text that people read on a page or on paper, in
// every language: one JSON file each, a flat object of keys. The verifier's page
// imports the same files, so that server, page and paper say the same.
//
// English is the source: en.json has every key, and the others have the same,
// with the same {placeholders}. Where a text depends on a number, the key ends
// in a plural category of CLDR (".one", ".few", ".other").
//
// What is said about a verdict is under "outcome.", "advice.", "reason.",
// "check." and "result.", with the engine's stable words behind the dot. For
// outcomes and advices there are a title and two sentences of meaning and of
// what to do next: for the one who verifies, and for the holder, who stands at
// the same desk and is rarely at fault. A reason has a title, and sentences of
// its own only where it says more than its outcome does.
//
// What the server answers with instead is under "problem.", with the reason word
// of the problem behind the dot: a title, a detail, and numbered things to try.
// The pages of people have theirs under "access.", "role." and "action.". The
// verifier's page does not load these, nor what is under "paper.".
package messages

import (
	"embed"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/text/feature/plural"
	"golang.org/x/text/language"

	"ampoule/party/verifier"
)

//go:embed *.json
var files embed.FS

// Language is the texts of one language.
type Language struct {
	Tag   string // of BCP 47: what the lang attribute takes
	texts map[string]string
	tag   language.Tag
}

// Languages are those that are complete, the source first.
var Languages = []*Language{load("en"), load("fr"), load("es"), load("ar"), load("pt")}

// English is the source, and what is spoken where nothing else is asked for.
var English = Languages[0]

func load(tag string) *Language {
	data, err := files.ReadFile(tag + ".json")
	l := &Language{Tag: tag, tag: language.MustParse(tag)}
	if err == nil {
		err = json.Unmarshal(data, &l.texts)
	}
	if err != nil {
		panic(fmt.Sprintf("messages: %s: %v", tag, err)) // the file is ours, and a test reads it
	}
	return l
}

var matcher = func() language.Matcher {
	var tags []language.Tag
	for _, l := range Languages {
		tags = append(tags, l.tag)
	}
	return language.NewMatcher(tags)
}()

// Accept returns the language that fits the Accept-Language header of a request
// (RFC 9110 section 12.5.4).
func Accept(header string) *Language { return AcceptOr(header, English) }

// AcceptOr is Accept with another language for those who ask for none of ours.
func AcceptOr(header string, otherwise *Language) *Language {
	wanted, _, err := language.ParseAcceptLanguage(header)
	if err != nil || len(wanted) == 0 {
		return otherwise
	}
	_, i, confidence := matcher.Match(wanted...)
	if confidence == language.No {
		return otherwise
	}
	return Languages[i]
}

// Direction returns the dir attribute of the language: ltr or rtl.
func (l *Language) Direction() string {
	if l.Tag == "ar" {
		return "rtl"
	}
	return "ltr"
}

// Text returns the text of a key, with the placeholders filled in: pairs of a
// name and a value. A value that is a text is isolated (U+2068, U+2069), so that
// a name or a code keeps its own direction inside a sentence of another.
func (l *Language) Text(key string, pairs ...any) string {
	text, ok := l.texts[key]
	if !ok {
		return missing(key)
	}
	return fill(text, pairs)
}

// Plural is Text for a key that depends on {count}.
func (l *Language) Plural(key string, count int, pairs ...any) string {
	text, ok := l.texts[key+"."+l.category(count)]
	if !ok {
		if text, ok = l.texts[key+".other"]; !ok {
			return missing(key)
		}
	}
	return fill(text, append(pairs, "count", count))
}

// Has reports whether there is a text for a key: of a word that another program
// sent, mostly.
func (l *Language) Has(key string) bool {
	_, ok := l.texts[key]
	return ok
}

// missing marks a key without a text. The tests of the pages look for the mark.
func missing(key string) string { return "⟦" + key + "⟧" }

var categories = map[plural.Form]string{
	plural.Zero: "zero", plural.One: "one", plural.Two: "two", plural.Few: "few", plural.Many: "many", plural.Other: "other",
}

func (l *Language) category(count int) string {
	return categories[plural.Cardinal.MatchPlural(l.tag, count, 0, 0, 0, 0)]
}

// Own is a value in the language of the text around it, which needs no isolation.
type Own string

func fill(text string, pairs []any) string {
	for i := 0; i+1 < len(pairs); i += 2 {
		var value string
		switch v := pairs[i+1].(type) {
		case int:
			value = strconv.Itoa(v)
		case Own:
			value = string(v)
		default:
			value = "\u2068" + fmt.Sprint(v) + "\u2069"
		}
		text = strings.ReplaceAll(text, fmt.Sprintf("{%s}", pairs[i]), value)
	}
	return text
}

// Words are what is said about an outcome, an advice or a reason.
type Words struct{ Title, Verifier, Holder string }

// Outcome returns the words for an outcome.
func (l *Language) Outcome(o verifier.Outcome) Words { return l.words("outcome." + string(o)) }

// Advice returns the words for an advice on the dose.
func (l *Language) Advice(a verifier.AdviceValue) Words { return l.words("advice." + string(a)) }

// Reason returns the words for a reason of an outcome or of an advice, whose own
// words stand in where the reason says no more than they do. The title of a
// reason that is not known here is the word itself.
func (l *Language) Reason(reason string, general Words) Words {
	w := Words{reason, general.Verifier, general.Holder}
	if t, ok := l.texts["reason."+reason+".title"]; ok {
		w.Title = t
	}
	if t, ok := l.texts["reason."+reason+".verifier"]; ok {
		w.Verifier = t
	}
	if t, ok := l.texts["reason."+reason+".holder"]; ok {
		w.Holder = t
	}
	return w
}

func (l *Language) words(key string) Words {
	if !l.Has(key + ".title") {
		return Words{}
	}
	return Words{l.Text(key + ".title"), l.Text(key + ".verifier"), l.Text(key + ".holder")}
}

// Result returns the result of a check as people read it. A dose that something
// is known against did not fail.
func (l *Language) Result(s verifier.Step, r verifier.Result) string {
	if s == verifier.StepDose && r == verifier.Fail {
		return l.Text("result.concern")
	}
	return l.Text("result." + string(r))
}

// Question returns what a step asks.
func (l *Language) Question(s verifier.Step) string { return l.Text("check." + s.String()) }

// Format returns what people call a format.
func (l *Language) Format(word string) string {
	switch {
	case word == "":
		return l.Text("format.none")
	case l.Has("format." + word):
		return l.Text("format." + word)
	}
	return word
}
