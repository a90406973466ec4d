package verifier

import (
	"strings"
	"testing"
)

func TestSentences(t *testing.T) {
	if len(severity) != 15 || len(outcomeWords) != len(severity) || len(adviceWords) != 3 {
		t.Fatalf("%d outcomes, words for %d of them and for %d advices", len(severity), len(outcomeWords), len(adviceWords))
	}
	said := map[string]string{}
	check := func(of, text string, sentence bool) {
		t.Helper()
		if other, twice := said[text]; twice {
			t.Errorf("%s says what %s says: %q", of, other, text)
		}
		said[text] = of
		if text == "" || text != strings.TrimSpace(text) {
			t.Errorf("%s: %q", of, text)
		}
		if sentence && (!strings.HasSuffix(text, ".") || strings.Count(text, ".") != 1 || !strings.Contains(text, "; ")) {
			// The part after the semicolon is what to do next.
			t.Errorf("%s: not one sentence of meaning and advice: %q", of, text)
		}
	}
	for o := range severity {
		verifier, holder := o.Sentence()
		check(string(o)+" title", o.Title(), false)
		check(string(o)+" verifier", verifier, true)
		check(string(o)+" holder", holder, true)
	}
	for _, a := range []AdviceValue{Concern, NoConcern, NotKnown} {
		verifier, holder := a.Sentence()
		check(string(a)+" title", a.Title(), false)
		check(string(a)+" verifier", verifier, true)
		check(string(a)+" holder", holder, true)
	}
	for _, r := range []Result{Pass, Fail, CannotTell, NotApplicable, NotChecked} {
		check(string(r), r.Title(), false)
	}
	for s := range steps {
		check(s.String(), s.Question(), false)
	}
}

// TestOnlyValidSoundsValid: nothing but valid may be taken for it in haste.
func TestOnlyValidSoundsValid(t *testing.T) {
	for o := range severity {
		verifier, _ := o.Sentence()
		if affirms := strings.Contains(verifier, "authentic and in force"); affirms != (o == Valid) {
			t.Errorf("%s: %q", o, verifier)
		}
		if o != Valid && o.Title() == "Valid" {
			t.Errorf("%s is called valid", o)
		}
	}
	if v, h := Outcome("green").Sentence(); v != "" || h != "" {
		t.Error("a word that is no outcome has a sentence")
	}
	if v, h := AdviceValue("green").Sentence(); v != "" || h != "" {
		t.Error("a word that is no advice has a sentence")
	}
}
