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
	"ampoule/party/verifier"
)

//go:embed pages/*.html
var pageFiles embed.FS

//go:embed pages/style.css
var styleSheet []byte

//go:embed pages/icon.svg
var icon []byte

// views are the pages, each within the same frame.
type views struct{ home, verdict, problem *template.Template }

func parseViews() views {
	functions := template.FuncMap{
		"address": address,
		"visible": format.Visible,
		"tone":    tone,
	}
	frame := template.Must(template.New("frame.html").Funcs(functions).ParseFS(pageFiles, "pages/frame.html"))
	page := func(name string) *template.Template {
		return template.Must(template.Must(frame.Clone()).ParseFS(pageFiles, "pages/"+name))
	}
	return views{page("home.html"), page("verdict.html"), page("problem.html")}
}

var versions = map[string]string{"/style.css": version(styleSheet), "/icon.svg": version(icon)}

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
	Body          any
}

// render writes a page whole, or not at all.
func (s *server) render(w *answer, status int, page *template.Template, f frame) {
	f.Demonstration = s.Demonstration
	var b bytes.Buffer
	if err := page.Execute(&b, f); err != nil {
		panic(fmt.Sprintf("httpapi: page: %v", err)) // templates and their data are ours
	}
	w.send(status, "text/html; charset=utf-8", b.Bytes())
}

type homeView struct {
	Samples      []Sample
	TrustSummary string
	MaxPicture   int // MiB
}

func (s *server) home(w *answer, _ *http.Request) {
	s.render(w, http.StatusOK, s.views.home, frame{
		Title: "Verify a health certificate",
		Body:  homeView{s.Samples, s.TrustSummary, maxPicture >> 20},
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
	ForVerifier, ForHolder string
}

type checkView struct {
	verifier.Check
	Number   int
	Question string
	Decided  bool // this check decided against the certificate
}

func verdictFrame(verdicts []*verifier.Verdict) frame {
	list := make([]verdictView, len(verdicts))
	for i, v := range verdicts {
		list[i] = viewOf(v)
		if len(verdicts) > 1 {
			list[i].Number = i + 1
		}
	}
	title := fmt.Sprintf("%d verdicts", len(list))
	if len(list) == 1 {
		title = list[0].Outcome.Title() + ": verdict"
	}
	return frame{Title: title, Body: list}
}

func viewOf(verdict *verifier.Verdict) verdictView {
	r := verdict.Report(false)
	v := verdictView{
		Outcome: r.Outcome, Reason: r.Reason, Format: formatName(r.Format), Issuer: r.Issuer,
		Advice:  adviceView{Advice: r.Advice},
		Content: contentOf(r.Certificate),
	}
	v.ForVerifier, v.ForHolder = r.Outcome.Sentence()
	v.Advice.ForVerifier, v.Advice.ForHolder = r.Advice.Value.Sentence()
	if r.Outcome != verifier.Valid {
		v.Decided = verdict.Decided.String()
	}
	for i, c := range r.Checks {
		v.Checks = append(v.Checks, checkView{c, i + 1, verifier.Step(i).Question(), c.Name == v.Decided})
	}
	return v
}

// formatName returns what people call a format.
func formatName(word string) string {
	switch word {
	case "":
		return "not recognised"
	case "icvp":
		return "Digital International Certificate of Vaccination or Prophylaxis"
	case "eu-dcc":
		return "EU Digital COVID Certificate"
	case "ddcc":
		return "WHO Digital Documentation of COVID-19 Certificate"
	case "vhl":
		return "Verifiable Health Link"
	case "shc":
		return "SMART Health Card"
	case "shl":
		return "SMART Health Link"
	case "divoc":
		return "DIVOC certificate"
	case "nl2":
		return "Dutch domestic certificate"
	case "vds-nc":
		return "ICAO visible digital seal"
	}
	return word
}

// group is a part of a certificate's content.
type group struct {
	Title string
	Facts []fact
}

// fact is a line of it. The value is as the certificate has it: the template
// makes its hidden characters visible.
type fact struct {
	Label, Value string
	Fixed        bool // to be compared letter by letter
}

func (g *group) add(label, value string) {
	if value != "" {
		g.Facts = append(g.Facts, fact{Label: label, Value: value})
	}
}

func (g *group) addFixed(label, value string) {
	if value != "" {
		g.Facts = append(g.Facts, fact{label, value, true})
	}
}

func (g *group) addCode(label string, c cert.Code) {
	switch {
	case c.Display == "" || c.Display == c.Code:
		g.add(label, c.Code)
	case c.Code == "":
		g.add(label, c.Display)
	default:
		g.add(label, c.Display+" ("+c.Code+")")
	}
}

// contentOf lists what a certificate says. It returns nothing for none.
func contentOf(c *cert.Certificate) []group {
	if c == nil {
		return nil
	}
	all := []group{personOf(&c.Person), eventOf(c)}
	for _, e := range c.Earlier {
		g := eventOf(&cert.Certificate{Vaccination: e.Vaccination, Test: e.Test})
		g.Title = "Earlier: " + strings.ToLower(g.Title)
		all = append(all, g)
	}
	var groups []group
	for _, g := range append(all, datesOf(c)) {
		if len(g.Facts) > 0 {
			groups = append(groups, g)
		}
	}
	return groups
}

func personOf(p *cert.Person) group {
	g := group{Title: "Person"}
	g.add("Name", p.Name.Full)
	g.add("Family name", p.Name.Family)
	g.add("Given name", p.Name.Given)
	g.addFixed("Name as in a passport's machine-readable zone", p.Name.FullMRZ)
	g.addFixed("Family name as in a passport's machine-readable zone", p.Name.FamilyMRZ)
	g.addFixed("Given name as in a passport's machine-readable zone", p.Name.GivenMRZ)
	g.add("Date of birth", string(p.BirthDate))
	g.add("Sex", p.Sex)
	g.add("Nationality", p.Nationality)
	g.addFixed("Identity document", p.Document.Number)
	switch p.Document.Type {
	case "PPN":
		g.add("Kind of document", "passport")
	case "NI":
		g.add("Kind of document", "national identifier")
	default:
		g.add("Kind of document", p.Document.Type)
	}
	g.add("Parent or guardian", p.Guardian)
	return g
}

func eventOf(c *cert.Certificate) group {
	switch {
	case c.Vaccination != nil:
		v, g := c.Vaccination, group{Title: "Vaccination"}
		g.addCode("Against", v.Disease)
		g.addCode("Kind of vaccine", v.Vaccine)
		g.addCode("Product", v.Product)
		g.addCode("Manufacturer", v.Manufacturer)
		g.addFixed("Lot", v.Lot)
		g.add("Date of vaccination", string(v.Date))
		switch {
		case v.Dose > 0 && v.Doses > 0:
			g.add("Dose", fmt.Sprintf("%d of %d", v.Dose, v.Doses))
		case v.Dose > 0:
			g.add("Dose", strconv.Itoa(v.Dose))
		}
		g.add("Country", v.Country)
		g.add("Clinician", v.Clinician)
		g.add("Counts from", string(v.ValidFrom))
		g.add("Counts until", string(v.ValidUntil))
		return g
	case c.Test != nil:
		t, g := c.Test, group{Title: "Test"}
		g.addCode("For", t.Disease)
		g.addCode("Result", t.Result)
		g.addCode("Kind of test", t.Type)
		g.add("Name of test", t.Name)
		g.addCode("Device", t.Device)
		g.add("Sample taken", t.Sampled)
		g.add("Reported", t.Reported)
		g.add("Test centre", t.Centre)
		g.add("Country", t.Country)
		return g
	case c.Recovery != nil:
		r, g := c.Recovery, group{Title: "Recovery"}
		g.addCode("From", r.Disease)
		g.add("First positive test", string(r.FirstPositive))
		g.add("Country", r.Country)
		g.add("Counts from", string(r.ValidFrom))
		g.add("Counts until", string(r.ValidUntil))
		return g
	case c.Link != nil:
		// The address is shown and not linked: whoever opens it tells its keeper
		// who is being checked, where and when.
		l, g := c.Link, group{Title: "Link to health documents"}
		g.add("Label", l.Label)
		g.addFixed("Address", l.URL)
		g.add("Passcode", map[bool]string{true: "the holder must tell it", false: "none"}[l.Passcode])
		g.add("Documents", map[bool]string{true: "may change", false: ""}[l.LongTerm])
		g.add("Ends", moment(l.Expires))
		return g
	}
	return group{}
}

func datesOf(c *cert.Certificate) group {
	g := group{Title: "Certificate"}
	g.add("Issued by", c.Authority)
	g.addFixed("Identifier", c.ID)
	g.add("Issued", moment(c.Issued))
	g.add("Valid from", moment(c.ValidFrom))
	if c.Expires.IsZero() {
		g.add("Valid until", "no end is stated")
	} else {
		g.add("Valid until", moment(c.Expires))
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
