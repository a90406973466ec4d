package httpapi

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"time"

	"ampoule/cert"
	"ampoule/format"
	"ampoule/internal/messages"
	"ampoule/party/verifier"
)

//go:embed pages/*.html
var pageFiles embed.FS

//go:embed pages/style.css
var styleSheet []byte

//go:embed pages/icon.svg
var icon []byte

// views are the pages in one language, each within the same frame.
type views struct {
	language                     *messages.Language
	home, verdict, problem, docs *template.Template
	access                       map[string]*template.Template // the pages of people
}

func parseViews(l *messages.Language, zone *time.Location) views {
	functions := template.FuncMap{
		"address":   address,
		"visible":   format.Visible,
		"tone":      tone,
		"language":  func() string { return l.Tag },
		"direction": l.Direction,
		"text":      l.Text,
		"plural":    func(key string, count int) string { return l.Plural(key, count) },
		"outcome":   func(o verifier.Outcome) string { return l.Outcome(o).Title },
	}
	frame := template.Must(template.New("frame.html").Funcs(functions).Funcs(accessFunctions(l, zone)).ParseFS(pageFiles, "pages/frame.html"))
	page := func(name string) *template.Template {
		return template.Must(template.Must(frame.Clone()).ParseFS(pageFiles, "pages/"+name))
	}
	people := make(map[string]*template.Template)
	for _, name := range []string{"setup", "login", "invitation", "account", "people", "person", "settings"} {
		people[name] = template.Must(page(name+".html").ParseFS(pageFiles, "pages/access.html"))
	}
	return views{l, page("home.html"), page("verdict.html"), page("problem.html"), page("docs.html"), people}
}

// viewsFor returns the pages in the language that a request asks for.
func (s *server) viewsFor(r *http.Request) views {
	return s.views[s.language(r)]
}

var versions = map[string]string{"/style.css": version(styleSheet), "/icon.svg": version(icon), "/passkey.js": version(passkeyScript)}

// address returns the address of an asset, which changes when the asset does,
// so that it may be kept for long.
func address(path string) string { return path + "?v=" + versions[path] }

func version(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:6])
}

// frame is what every page shows around its own content.
type frame struct {
	Title         string // of the document; holds nothing of a person
	Demonstration bool
	Tour          bool // there is one
	Access        bool // there are accounts
	People        bool // it is a page of people, on which what is entered is kept
	Issues        bool // the reader may issue
	Watches       bool // the reader may look at stores
	Manages       bool // the reader manages people
	Ledger        bool // there is a page of the ledger
	Body          any
}

// render writes a page whole, or not at all.
func (s *server) render(w *answer, status int, page *template.Template, f frame) {
	f.Demonstration, f.Tour, f.Access, f.Ledger = s.Demonstration, s.Scene != nil, s.Access != nil, s.Ledger != nil
	if w.visitor != nil {
		f.Issues, f.Watches = s.issues(w.visitor.Organisation, w.visitor.Grants), s.watches(w.visitor.Organisation, w.visitor.Grants)
		f.Manages = s.Access.Accounts.ManagesPeople(w.visitor)
	}
	var b bytes.Buffer
	if err := page.Execute(&b, f); err != nil {
		panic(fmt.Sprintf("httpapi: page: %v", err)) // templates and their data are ours
	}
	w.send(status, "text/html; charset=utf-8", b.Bytes())
}

type homeView struct {
	Samples      []Sample
	TrustSummary string
	MaxPicture   int  // MiB
	Bundle       bool // there is trust data for the verifier's page
}

func (s *server) home(w *answer, r *http.Request) {
	v := s.viewsFor(r)
	w.Header().Set("Vary", "Accept-Language")
	s.render(w, http.StatusOK, v.home, frame{
		Title: v.language.Text("server.title"),
		Body:  homeView{s.Samples, s.TrustSummary, maxPicture >> 20, s.Bundle != nil},
	})
}

// tone is how an outcome looks: it picks the shape and the colour. Only valid is
// good, and unknown is neither.
func tone(o verifier.Outcome) string {
	switch o {
	case verifier.Valid:
		return "good"
	case verifier.Unknown:
		return "open"
	}
	return "bad"
}

// verdictView is a verdict as the page shows it.
type verdictView struct {
	Number  int // from 1 where there are several, else 0
	Outcome verifier.Outcome
	Title   string
	Reason  string
	Decided string // the name of the check that decided against it
	Format  string

	ForVerifier, ForHolder string
	Advice                 adviceView
	Issuer                 verifier.Issuer
	Content                []group
	Checks                 []checkView
}

type adviceView struct {
	verifier.Advice
	Title, ForVerifier, ForHolder string
}

type checkView struct {
	verifier.Check
	Number      int
	Question    string
	Answer      string // its result, in words
	ReasonTitle string
	Decided     bool // this check decided against the certificate
}

func verdictFrame(l *messages.Language, verdicts []*verifier.Verdict) frame {
	list := make([]verdictView, len(verdicts))
	for i, v := range verdicts {
		list[i] = viewOf(l, v)
		if len(verdicts) > 1 {
			list[i].Number = i + 1
		}
	}
	title := l.Plural("server.several", len(list))
	if len(list) == 1 {
		title = l.Text("server.verdict-title", "outcome", messages.Own(list[0].Title))
	}
	return frame{Title: title, Body: list}
}

func viewOf(l *messages.Language, verdict *verifier.Verdict) verdictView {
	r := verdict.Report(false)
	outcome, advice := l.Outcome(r.Outcome), l.Advice(r.Advice.Value)
	said, advised := l.Reason(r.Reason, outcome), l.Reason(r.Advice.Reason, advice)
	v := verdictView{
		Outcome: r.Outcome, Title: outcome.Title, Reason: r.Reason, Format: l.Format(r.Format), Issuer: r.Issuer,
		ForVerifier: said.Verifier, ForHolder: said.Holder,
		Advice:  adviceView{r.Advice, advice.Title, advised.Verifier, advised.Holder},
		Content: contentOf(l, r.Certificate),
	}
	if r.Outcome != verifier.Valid {
		v.Decided = verdict.Decided.String()
	}
	for i, c := range r.Checks {
		step := verifier.Step(i)
		v.Checks = append(v.Checks, checkView{
			c, i + 1, l.Question(step), l.Result(step, c.Result), l.Reason(c.Reason, messages.Words{}).Title, c.Name == v.Decided,
		})
	}
	return v
}

// group is a part of a certificate's content.
type group struct {
	Title string
	Facts []fact

	words *messages.Language
}

// fact is a line of it. The value is as the certificate has it: the template
// makes its hidden characters visible.
type fact struct {
	Label, Value string
	Fixed        bool // to be compared letter by letter
}

// add appends a fact under the label of a key, unless it has no value.
func (g *group) add(key, value string) {
	if value != "" {
		g.Facts = append(g.Facts, fact{Label: g.words.Text("fact." + key), Value: value})
	}
}

func (g *group) addFixed(key, value string) {
	if value != "" {
		g.Facts = append(g.Facts, fact{g.words.Text("fact." + key), value, true})
	}
}

// addWord is for a value that the texts have a word for.
func (g *group) addWord(key, value, word string) {
	if value == "" || word == "" {
		return
	}
	if g.words.Has("value." + word) {
		value = g.words.Text("value." + word)
	}
	g.add(key, value)
}

func (g *group) addCode(key string, c cert.Code) {
	switch {
	case c.Display == "" || c.Display == c.Code:
		g.add(key, c.Code)
	case c.Code == "":
		g.add(key, c.Display)
	default:
		g.add(key, c.Display+" ("+c.Code+")")
	}
}

// contentOf lists what a certificate says. It returns nothing for none.
func contentOf(l *messages.Language, c *cert.Certificate) []group {
	if c == nil {
		return nil
	}
	all := []group{personOf(l, &c.Person), eventOf(l, c)}
	for _, e := range c.Earlier {
		g := eventOf(l, &cert.Certificate{Vaccination: e.Vaccination, Test: e.Test})
		g.Title = l.Text("content.earlier.vaccination")
		if e.Test != nil {
			g.Title = l.Text("content.earlier.test")
		}
		all = append(all, g)
	}
	var groups []group
	for _, g := range append(all, datesOf(l, c)) {
		if len(g.Facts) > 0 {
			groups = append(groups, g)
		}
	}
	return groups
}

func personOf(l *messages.Language, p *cert.Person) group {
	g := group{Title: l.Text("content.person"), words: l}
	g.add("name", p.Name.Full)
	g.add("family", p.Name.Family)
	g.add("given", p.Name.Given)
	g.addFixed("name-mrz", p.Name.FullMRZ)
	g.addFixed("family-mrz", p.Name.FamilyMRZ)
	g.addFixed("given-mrz", p.Name.GivenMRZ)
	g.add("born", string(p.BirthDate))
	g.addWord("sex", p.Sex, p.Sex)
	g.add("nationality", p.Nationality)
	g.addFixed("document", p.Document.Number)
	switch p.Document.Type {
	case "PPN":
		g.add("document-kind", l.Text("value.passport"))
	case "NI":
		g.add("document-kind", l.Text("value.national-identifier"))
	default:
		g.add("document-kind", p.Document.Type)
	}
	g.add("guardian", p.Guardian)
	return g
}

func eventOf(l *messages.Language, c *cert.Certificate) group {
	switch {
	case c.Vaccination != nil:
		v, g := c.Vaccination, group{Title: l.Text("content.vaccination"), words: l}
		g.addCode("against", v.Disease)
		g.addCode("vaccine", v.Vaccine)
		g.addCode("product", v.Product)
		g.addCode("manufacturer", v.Manufacturer)
		g.addFixed("lot", v.Lot)
		g.add("vaccinated", string(v.Date))
		switch {
		case v.Dose > 0 && v.Doses > 0:
			g.add("dose", l.Text("value.dose-of", "dose", v.Dose, "doses", v.Doses))
		case v.Dose > 0:
			g.add("dose", strconv.Itoa(v.Dose))
		}
		g.add("country", v.Country)
		g.add("clinician", v.Clinician)
		g.add("counts-from", string(v.ValidFrom))
		g.add("counts-until", string(v.ValidUntil))
		return g
	case c.Test != nil:
		t, g := c.Test, group{Title: l.Text("content.test"), words: l}
		g.addCode("test-for", t.Disease)
		g.addCode("result", t.Result)
		g.addCode("test-kind", t.Type)
		g.add("test-name", t.Name)
		g.addCode("device", t.Device)
		g.add("sampled", t.Sampled)
		g.add("reported", t.Reported)
		g.add("centre", t.Centre)
		g.add("country", t.Country)
		return g
	case c.Recovery != nil:
		r, g := c.Recovery, group{Title: l.Text("content.recovery"), words: l}
		g.addCode("recovered-from", r.Disease)
		g.add("first-positive", string(r.FirstPositive))
		g.add("country", r.Country)
		g.add("counts-from", string(r.ValidFrom))
		g.add("counts-until", string(r.ValidUntil))
		return g
	case c.Link != nil:
		// The address is shown and not linked: whoever opens it tells its keeper
		// who is being checked, where and when.
		link, g := c.Link, group{Title: l.Text("content.link"), words: l}
		g.add("label", link.Label)
		g.addFixed("address", link.URL)
		g.add("passcode", l.Text(map[bool]string{true: "value.passcode-needed", false: "value.passcode-none"}[link.Passcode]))
		if link.LongTerm {
			g.add("documents", l.Text("value.may-change"))
		}
		g.add("ends", moment(link.Expires))
		return g
	}
	return group{words: l}
}

func datesOf(l *messages.Language, c *cert.Certificate) group {
	g := group{Title: l.Text("content.certificate"), words: l}
	g.add("issued-by", c.Authority)
	g.addFixed("identifier", c.ID)
	g.add("issued", moment(c.Issued))
	g.add("valid-from", moment(c.ValidFrom))
	if c.Expires.IsZero() {
		g.add("valid-until", l.Text("value.no-end"))
	} else {
		g.add("valid-until", moment(c.Expires))
	}
	return g
}

// moment writes a time for people; midnight is a date.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return strings.TrimSuffix(t.UTC().Format("2006-01-02 15:04 UTC"), " 00:00 UTC")
}
