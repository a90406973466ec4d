package httpapi

import (
	"encoding/json"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"ampoule/internal/messages"
)

var everyProblem = []*problem{
	problemNotFound, problemNotBuilt, problemMethod, problemCrossSite, problemNoSample,
	problemNothing, problemSeveral, problemForm, problemMediaType,
	problemTextTooLarge, problemPictureTooLarge, problemNotPicture, problemNoCode, problemDamaged, problemIncomplete,
	problemBadRequest, problemInvalid, problemNotJSON, problemBodyTooLarge, problemTooMany,
	problemBusy, problemSlow, problemInternal,
	problemWhichFacility, problemNoRecord, problemOrder, problemKeyReused, problemChanged, problemNoVersion,
	problemState, problemSameKey, problemUnreadable, problemNoKey, problemNotPrinted,
	problemNoJob, problemUpload, problemUploadTooLarge, problemNotRows, problemRowsGone,
	problemNobody, problemToken, problemDenied, problemCredentials, problemTooSoon, problemWeak, problemLoginName, problemLoginTaken,
	problemAccountChanged, problemLastOne, problemSetUp, problemSetupToken, problemSetting, problemInvitation, problemCeremony,
	problemNoSuchWay, problemProvider, problemTokenOrder, problemGrant, problemTaken,
	problemOldPassword, problemSettingsChanged,
	problemTransaction, problemNotLogged, problemNotCosigned, problemNoActor, problemNoEntry, problemLedgerAway,
	problemNoEquipment, problemNoDevice, problemNoAlarm, problemNoMessage, problemFleetOrder, problemStoreFull,
	problemNoSession, problemNoLocation, problemWhichLocation, problemUnfit, problemStockOrder, problemProducts, problemSessionEnded, problemNoDose, problemOtherLot, problemNotProduct, problemNoTrace,
	problemNoHandover, problemHandover, problemAnswered,
}

// problemDetails are the problems that have several details.
var problemDetails = map[*problem][]string{
	problemSetting:    {"organisation", "organisation-name", "participant", "country", "language", "time-zone"},
	problemTokenOrder: {"name", "scope", "days"},
}

// TestProblemWords: every problem of the sources has its texts in every language,
// with their values filled in, and the catalogue has no text for another.
func TestProblemWords(t *testing.T) {
	var inSources, known []string
	paths, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		source, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`\bproblem\{.*\bReason: +"([^"]*)"`).FindAllStringSubmatch(string(source), -1) {
			inSources = append(inSources, m[1])
		}
	}
	for _, p := range everyProblem {
		known = append(known, p.Reason)
	}
	slices.Sort(inSources)
	slices.Sort(known)
	if !slices.Equal(inSources, known) {
		t.Errorf("in the sources are\n%v, and in this test\n%v", inSources, known)
	}

	keys := map[string]bool{"problem.error": true, "problem.try": true, "problem.home": true}
	for _, p := range everyProblem {
		stem := "problem." + p.Reason + "."
		keys[stem+"title"], keys[stem+"detail"] = true, true
		for i := range p.tries {
			keys[stem+"try."+strconv.Itoa(i+1)] = true
		}
		for _, word := range problemDetails[p] {
			keys[stem+"detail."+word] = true
		}
		for _, l := range messages.Languages {
			for _, word := range problemDetails[p] {
				if text := p.of(word).in(l).Detail; strings.ContainsAny(text, "⟦{}") {
					t.Errorf("%s: %s: %q", l.Tag, p.Reason, text)
				}
			}
			said := p.in(l)
			if len(said.Try) != p.tries {
				t.Errorf("%s: %s: %d of %d things to try", l.Tag, p.Reason, len(said.Try), p.tries)
			}
			for _, text := range append([]string{said.Title, said.Detail}, said.Try...) {
				if text == "" || strings.ContainsAny(text, "⟦{}") {
					t.Errorf("%s: %s: %q", l.Tag, p.Reason, text)
				}
			}
		}
		if p.Title != "" || p.Detail != "" || p.Try != nil {
			t.Errorf("%s keeps the words of one language", p.Reason)
		}
	}
	for _, l := range messages.Languages {
		data, err := os.ReadFile(filepath.Join("..", "messages", l.Tag+".json"))
		if err != nil {
			t.Fatal(err)
		}
		var texts map[string]string
		if err := json.Unmarshal(data, &texts); err != nil {
			t.Fatal(err)
		}
		maps.DeleteFunc(texts, func(key, _ string) bool { return !strings.HasPrefix(key, "problem.") || keys[key] })
		if len(texts) > 0 {
			t.Errorf("%s has texts that no problem says: %v", l.Tag, slices.Sorted(maps.Keys(texts)))
		}
	}
}

// TestProblemLanguage: a problem is said in the language that is asked for, on
// the page, as a document, and by the library of the API.
func TestProblemLanguage(t *testing.T) {
	const document, page = "application/problem+json", "text/html"
	_, h := newFrontBed(t, nil)
	for _, tt := range []struct {
		name, method, target, body, accept, languages string
		want                                          *problem
		tag                                           string
	}{
		{"a page in Arabic", "GET", "/nowhere", "", page, "ar-EG,en;q=0.5", problemNotFound, "ar"},
		{"a page in no language", "GET", "/nowhere", "", page, "", problemNotFound, "en"},
		{"a page in Portuguese", "POST", "/verify", "{}", page, "pt-BR", problemMediaType, "pt"},
		{"a document in French", "GET", "/nowhere", "", document, "fr-CA", problemNotFound, "fr"},
		{"a document in no language", "GET", "/nowhere", "", document, "", problemNotFound, "en"},
		{"a document in one that is not spoken", "GET", "/nowhere", "", document, "ja", problemNotFound, "en"},
		{"the API in Spanish", "GET", "/v1/nothing", "", "", "es", problemNotFound, "es"},
		{"the library in French", "POST", "/v1/verify", `{"texts":[]}`, "", "fr", problemInvalid, "fr"},
		{"the library in no language", "POST", "/v1/verify", `{"texts":[]}`, "", "", problemInvalid, "en"},
		{"the library, too large", "POST", "/v1/verify", requestOf(strings.Repeat("x", maxBody)), "", "ar", problemBodyTooLarge, "ar"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			res := ask(h, tt.method, tt.target, tt.body, "Accept", tt.accept, "Accept-Language", tt.languages)
			body := readAll(t, res)
			if got := res.Header.Get("Content-Language"); got != tt.tag {
				t.Errorf("Content-Language: %q", got)
			}
			if got := res.Header.Values("Vary"); !slices.Contains(got, "Accept, Accept-Language") {
				t.Errorf("Vary: %q", got)
			}
			l := messages.Accept(tt.tag)
			want := tt.want.in(l)
			if tt.accept == page {
				for _, part := range []string{
					`<html lang="` + l.Tag + `" dir="` + l.Direction() + `">`, `data-reason="` + want.Reason + `"`,
					"<h1>" + want.Title + "</h1>", want.Detail, l.Text("problem.error", "status", want.Status), l.Text("problem.home"),
				} {
					if !strings.Contains(body, part) {
						t.Errorf("the page lacks %q\n%s", part, body)
					}
				}
				return
			}
			var got problem
			if err := json.Unmarshal([]byte(body), &got); err != nil {
				t.Fatal(err)
			}
			if got.Reason != want.Reason || got.Title != want.Title || !slices.Equal(got.Try, want.Try) && len(want.Try) > 0 {
				t.Errorf("%s\nwant %+v", body, want)
			}
			if tt.want == problemInvalid {
				want.Detail = "body.texts: expected array length >= 1" // as the library words it
			}
			if got.Detail != want.Detail {
				t.Errorf("detail %q, want %q", got.Detail, want.Detail)
			}
		})
	}
	if l := messages.Accept("ar"); l.Direction() != "rtl" {
		t.Errorf("Arabic is written %s", l.Direction())
	}
}

// TestProblemPageTries: what to try is listed under a heading of its language.
func TestProblemPageTries(t *testing.T) {
	b := newBed(t)
	for _, l := range messages.Languages {
		r := httptest.NewRequest("GET", "/verify", nil)
		r.Header.Set("Accept-Language", l.Tag)
		body := wantStatus(t, b.do(t, r), 405, "text/html")
		for _, part := range append(problemMethod.in(l).Try, "<h2>"+l.Text("problem.try")+"</h2>") {
			if !strings.Contains(body, part) {
				t.Errorf("%s: the page lacks %q\n%s", l.Tag, part, body)
			}
		}
	}
}
