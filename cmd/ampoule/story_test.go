package main

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ampoule/internal/keys"
	"ampoule/internal/storetest"
)

// The products, lots and places of the stories. The facility is the centre of statements.
const (
	storyProducts = `{"vaccines":[
{"name":"Specimen IPV","form":"liquid","storage":"refrigerated","freeze":"harmed","vials":1,"doses":1,"codes":[{"code":"DEMO-POLIO-0001","system":"http://smart.who.int/icvp/CodeSystem/ICVPProductIds"},{"code":"09521321123458","system":"https://id.gs1.org/01"}]},
{"name":"Specimen yellow fever","form":"freeze-dried","storage":"refrigerated","freeze":"not-harmed","vials":1,"doses":1,"codes":[{"code":"DEMO-YF-0001","system":"http://smart.who.int/icvp/CodeSystem/ICVPProductIds"},{"code":"09521321123465","system":"https://id.gs1.org/01"}]}]}`
	storyIPV    = "https://id.gs1.org/01/09521321123458/10/SPEC-IPV"
	storyYellow = "https://id.gs1.org/01/09521321123465/10/SPEC-YF"
	storyNorth  = "https://id.gs1.org/414/9521321000032"
	storySouth  = "https://id.gs1.org/414/9521321000049"
)

// story is a country with two clinics, their refrigerators and its own verifiers, and a
// country beside it that has nothing but what is published.
type story struct {
	*depot
	supervisor *caller
	goods      *caller           // tells events
	fridge     map[string]string // by facility: the device in it
	texts      map[string]string // certificates by what they are called
}

// day is noon of a day of the story.
func (*story) day(n int) time.Time {
	return time.Unix(begin, 0).UTC().Truncate(24*time.Hour).AddDate(0, 0, n).Add(12 * time.Hour)
}

func newStory(t *testing.T) *story {
	s := newBox(t, "", "custody.products=products.json", "custody.key=a/private/dsc-any.key", "custody.authority=XXA", "publish.key=root/private/bundle-root.key", "verifier.catalogue=demo")
	s.run(0, "keys", "make", "a", "--unencrypted")
	for _, root := range []string{"root", "border"} {
		s.run(0, "keys", "make", root, "--kind", "bundle-root", "--unencrypted")
	}
	s.run(0, "keys", "make", "regulator", "--unencrypted")
	s.run(0, "keys", "make", "c", "--unencrypted", "--country", "XC", "--participant", "XXC")
	must(t, os.WriteFile(filepath.Join(s.dir, "products.json"), []byte(storyProducts), 0o600))
	st := &story{fridge: map[string]string{}, texts: map[string]string{}}
	st.depot = newDepot(s)
	files, err := filepath.Glob(filepath.Join(s.store(), signingFolder, "*.key"))
	must(t, err)
	must(t, os.Mkdir(filepath.Join(s.dir, "signers"), 0o700))
	for i, file := range files {
		key, err := keys.Load(file, keys.Unencrypted())
		must(t, err)
		must(t, os.WriteFile(filepath.Join(s.dir, "signers", fmt.Sprint(i, ".pem")), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: key.Certificate().Raw}), 0o600))
	}
	st.supervisor = st.admin.letIn("specimen.supervisor", "supervisor", "")
	st.goods = st.manager.program("custody:capture", "custody:read")
	for _, l := range []struct{ uri, facility string }{{storyNorth, "north"}, {storySouth, "south"}} {
		equipment := st.depot.fridge("Specimen " + l.facility)
		st.fridge[l.facility], _ = st.logger("serial:Specimen/"+l.facility, equipment, false)
		st.manager.want(http.StatusOK, "POST", "/v1/locations", fmt.Sprintf(`{"uri":%q,"version":0,"name":"Specimen %s","facility":%q,"country":"XA"}`, l.uri, l.facility, l.facility))
		st.manager.want(http.StatusOK, "POST", "/v1/locations", fmt.Sprintf(`{"uri":"%s/254/1","version":0,"name":"fridge","facility":%q,"country":"XA","within":%q,"equipment":%q}`, l.uri, l.facility, l.uri, equipment))
	}
	return st
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tell captures what happened to a lot.
func (s *story) tell(id string, at time.Time, lot string, packs int, action, step, rest string) {
	s.t.Helper()
	s.event(fmt.Sprintf(`{"type":"ObjectEvent","eventID":"urn:x:%s","eventTime":%q,"eventTimeZoneOffset":"+00:00","action":%q,"bizStep":%q,"quantityList":[{"epcClass":%q,"quantity":%d}],%s}`,
		url.PathEscape(id), at.Format(time.RFC3339), action, step, lot, packs, rest))
}

// read sends what a refrigerator measured every 15 minutes, from one time until another.
func (s *story) read(facility string, from, until time.Time, degrees float64) {
	s.t.Helper()
	pack := fmt.Appendf(nil, `[{"bn":"urn:oid:%s/TVC","bu":"Cel"}`, s.fridge[facility])
	for at := from; at.Before(until); at = at.Add(15 * time.Minute) {
		pack = fmt.Appendf(pack, `,{"t":%d,"v":%g}`, at.Unix(), degrees)
	}
	if status, answer, _, err := s.post("/senml", "application/senml+json", append(pack, ']')); err != nil || status >= 300 {
		s.t.Fatal(status, answer, err)
	}
}

// give issues the certificate of a dose of some day.
func (s *story) give(called string, n int, facility, product, lot string, at time.Time) {
	s.t.Helper()
	s.texts[called] = textsOf(s.issue(n, facility, "", map[string]any{"product": map[string]any{"code": product}, "lot": lot, "date": at.Format(time.DateOnly), "clinician": "Specimen clinic"}))["icvp"]
}

// dose issues the certificate of a dose that is given now, from a session.
func (s *story) dose(n int, facility, session string) map[string]any {
	s.t.Helper()
	return s.issue(n, facility, session, map[string]any{"date": time.Now().UTC().Format(time.DateOnly), "clinician": "Specimen clinic"})
}

func (s *story) issue(n int, facility, session string, vaccination map[string]any) map[string]any {
	s.t.Helper()
	person := storetest.Dose(n).Person
	s.seeded("name", person.Name.Family, person.Name.Given)
	s.seeded("birth date", string(person.BirthDate))
	s.seeded("document", person.Document.Number)
	order := map[string]any{
		"record": map[string]any{
			"person": map[string]any{
				"name": map[string]any{"full": person.Name.Given + " " + person.Name.Family}, "birth_date": person.BirthDate, "sex": "female", "nationality": "XXA",
				"document": map[string]any{"number": person.Document.Number, "type": "PPN"},
			},
			"vaccination": vaccination,
		},
		"facility": facility, "formats": []map[string]any{{"format": "icvp", "expires": time.Now().AddDate(1, 0, 0).Format(time.RFC3339)}},
	}
	if session != "" {
		order["session"] = session
	}
	body, err := json.Marshal(order)
	must(s.t, err)
	return s.supervisor.want(http.StatusCreated, "POST", "/v1/certificates", string(body))
}

// advice verifies every certificate offline by a bundle, and returns what is said of the
// doses. All are valid whatever is said.
func (s *story) advice(bundle, root string) map[string]string {
	s.t.Helper()
	words := []string{"verify", "--json", "--bundle", bundle, "--root", root}
	called := map[string]string{}
	for name, text := range s.texts {
		file := strings.ReplaceAll(name, " ", "-") + ".txt"
		must(s.t, os.WriteFile(filepath.Join(s.dir, file), []byte(text), 0o600))
		words, called[file] = append(words, file), name
	}
	out := map[string]string{}
	for line := range strings.Lines(s.run(0, words...)) {
		var v struct {
			File, Outcome string
			Advice        struct{ Value, Reason string }
		}
		if line[0] != '{' {
			continue // about the bundle
		}
		must(s.t, json.Unmarshal([]byte(line), &v))
		if v.Outcome != "valid" {
			s.t.Errorf("%s: %s", v.File, v.Outcome)
		}
		out[called[v.File]] = v.Advice.Value + " " + v.Advice.Reason
	}
	return out
}

// until waits for a bundle of the country by which a dose is spoken of so.
func (s *story) until(called, want string) (took time.Duration) {
	s.t.Helper()
	begun := time.Now()
	for deadline := begun.Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		must(s.t, os.WriteFile(filepath.Join(s.dir, "a.cbor"), []byte(s.manager.file("/bundle")), 0o600))
		if got := s.advice("a.cbor", "root/bundle-root.pem")[called]; got == want {
			return time.Since(begun)
		} else if time.Now().After(deadline) {
			s.t.Fatalf("%s: %s, want %s", called, got, want)
		}
	}
}

// border makes the bundle of the country beside it.
func (s *story) border(out string, more ...string) {
	s.t.Helper()
	s.run(0, append([]string{
		"bundle", "make", "--unencrypted", "--key", "border/private/bundle-root.key", "--maker", "XXB", "--catalogue", "demo", "--out", out, "--trust", "signers",
		"--trust", "c/trustlist/did.json", "--pin", "c/trustlist/pin.pem", "--join", "XA:root/bundle-root.pem=a.cbor", "--lot-key", "participant:XXA=a/DSC/dsc-any.pem",
	}, more...)...)
}

// TestStories are a refrigerator that freezes and a lot that is recalled, from the
// reading and the regulator to an offline verifier in another country.
func TestStories(t *testing.T) {
	s := newStory(t)
	where := func(uri string) string { return `"bizLocation":{"id":"` + uri + `"}` }
	for lot, name := range map[string]string{storyIPV: "ipv", storyYellow: "yf"} {
		for uri, site := range map[string]string{storyNorth: "north", storySouth: "south"} {
			s.tell(name+site, s.day(1), lot, 50, "OBSERVE", "receiving", where(uri))
			s.tell(name+site+"cold", s.day(1), lot, 50, "OBSERVE", "storing", where(uri+"/254/1"))
		}
	}
	for site := range s.fridge {
		s.read(site, s.day(1), s.day(12), 5)
	}
	s.read("south", s.day(12), s.day(20), 5)
	s.give("before", 1, "north", "DEMO-POLIO-0001", "SPEC-IPV", s.day(11))
	s.give("after", 2, "north", "DEMO-POLIO-0001", "SPEC-IPV", s.day(15))
	s.give("yellow fever", 3, "north", "DEMO-YF-0001", "SPEC-YF", s.day(15))
	s.give("elsewhere", 4, "south", "DEMO-POLIO-0001", "SPEC-IPV", s.day(15))
	s.until("after", "not-known no-lot-list")

	// It freezes. What stood in it is assessed when the alarm is raised, and not an hour
	// later: the first bundle after it has the certificate, and the first dose is not in it.
	s.read("north", s.day(12), s.day(12).Add(3*time.Hour), -3)
	t.Logf("from the reading to a verdict by the bundle: %s", s.until("after", "concern dose-listed").Round(10*time.Millisecond))
	s.hears("a.cbor", "root/bundle-root.pem", map[string]string{"after": "concern dose-listed"})

	// A country beside it, which takes over what it says of its own doses and places.
	s.run(0, "issue", "--unencrypted", "--key", "c/private/dsc-any.key", "--participant", "XXC", "--catalogue", "demo", "--name", "SPECIMEN DEMO", "--born", "1990-02-03", "--sex", "female", "--nationality", "XXC",
		"--product", "DEMO-POLIO-0001", "--lot", "spec ipv", "--date", s.day(15).Format(time.DateOnly), "--clinician", "Specimen clinic of XC", "--expires", time.Now().AddDate(1, 0, 0).Format(time.DateOnly), "--out", "c.txt")
	text, err := os.ReadFile(filepath.Join(s.dir, "c.txt"))
	must(t, err)
	s.texts["third country"] = strings.TrimSpace(string(text))
	s.border("b.cbor")
	s.hears("b.cbor", "border/bundle-root.pem", map[string]string{"after": "concern dose-listed"})

	// What a third country says of a place that is not its own is not believed.
	s.run(0, "lot", "state", "--unencrypted", "--key", "c/private/dsc-any.key", "--role", "participant", "--authority", "XXC", "--product", "DEMO-YF-0001", "--lot", "SPEC-YF", "--country", "XC", "--value", "spoiled", "--out", "foreign.txt")
	s.run(0, "lot", "state", "--unencrypted", "--key", "c/private/dsc-any.key", "--role", "participant", "--authority", "XXA", "--product", "DEMO-YF-0001", "--lot", "SPEC-YF", "--country", "XC", "--value", "spoiled", "--out", "stolen.txt")
	s.border("foreign.cbor", "--lots", "foreign.txt", "--lots", "stolen.txt", "--lot-key", "participant:XXC=c/DSC/dsc-any.pem")
	s.hears("foreign.cbor", "border/bundle-root.pem", map[string]string{"after": "concern dose-listed"})

	// A regulator recalls the lot: every certificate of it shows that, whoever issued it.
	s.run(0, "lot", "state", "--unencrypted", "--key", "regulator/private/dsc-any.key", "--role", "regulator", "--authority", "XREG", "--product", "DEMO-POLIO-0001", "--lot", "Spec-IPV", "--value", "recalled", "--out", "recall.txt")
	s.border("recalled.cbor", "--lots", "recall.txt", "--lot-key", "regulator:XREG=regulator/DSC/dsc-any.pem")
	s.hears("recalled.cbor", "border/bundle-root.pem", map[string]string{
		"before": "concern recalled", "after": "concern recalled", "elsewhere": "concern recalled", "third country": "concern recalled",
	})

	// Nobody is named in what crossed the border.
	for _, name := range []string{"a.cbor", "b.cbor", "recalled.cbor"} {
		data, err := os.ReadFile(filepath.Join(s.dir, name))
		must(t, err)
		s.namesNobody(string(data))
	}
}

// hears wants concern for some doses by a bundle, and none for others.
func (s *story) hears(bundle, root string, want map[string]string) {
	s.t.Helper()
	for called, got := range s.advice(bundle, root) {
		if want[called] != got && (want[called] != "" || strings.HasPrefix(got, "concern")) {
			s.t.Errorf("%s: %s: %s, want %s", bundle, called, got, want[called])
		}
	}
}

// TestRecall is the sixth acceptance scenario: from a lot over its boxes and the clinics
// to the doses, in the numbers that were dealt; those who are to be told are listed, and
// an auditor has the thread of one of them checked from its file alone.
func TestRecall(t *testing.T) {
	s := newStory(t)
	random := dice(t)
	const opening = 12 // doses of a session
	const other = "https://id.gs1.org/01/09521321123458/10/SPEC-IPV-2"
	at := time.Now().UTC().AddDate(0, 0, -30).Truncate(time.Hour)
	depot := "https://id.gs1.org/414/9521321000025"
	s.manager.want(http.StatusOK, "POST", "/v1/locations", fmt.Sprintf(`{"uri":%q,"version":0,"name":"Specimen depot","facility":"depot","country":"XA"}`, depot))
	where := func(uri string) string { return `"bizLocation":{"id":"` + uri + `"}` }
	sites := map[string]string{"north": storyNorth, "south": storySouth}

	// Boxes of two lots go to the clinics; one of the recalled lot is still on its way.
	boxes := 0
	arrived := map[string]int{}
	for lot, recalled := range map[string]bool{storyIPV: true, other: false} {
		name := lot[strings.LastIndex(lot, "/")+1:]
		s.tell(name+" made", at, lot, 1000, "OBSERVE", "receiving", where(depot))
		send := func(facility string, packs int, arrives bool) {
			boxes++
			box := fmt.Sprintf("https://id.gs1.org/00/%018d", 95213210000000000+boxes)
			sent := at.Add(time.Duration(boxes) * time.Hour)
			s.event(fmt.Sprintf(`{"type":"AggregationEvent","eventID":"urn:x:pack%d","eventTime":%q,"eventTimeZoneOffset":"+00:00","action":"ADD","bizStep":"packing","parentID":%q,"childQuantityList":[{"epcClass":%q,"quantity":%d}],%s}`,
				boxes, sent.Format(time.RFC3339), box, lot, packs, where(depot)))
			s.event(fmt.Sprintf(`{"type":"ObjectEvent","eventID":"urn:x:send%d","eventTime":%q,"eventTimeZoneOffset":"+00:00","action":"OBSERVE","bizStep":"shipping","epcList":[%q],"readPoint":{"id":%q},"destinationList":[{"type":"location","destination":%q}]}`,
				boxes, sent.Add(time.Hour).Format(time.RFC3339), box, depot, sites[facility]))
			if !arrives {
				return
			}
			s.event(fmt.Sprintf(`{"type":"ObjectEvent","eventID":"urn:x:come%d","eventTime":%q,"eventTimeZoneOffset":"+00:00","action":"OBSERVE","bizStep":"receiving","epcList":[%q],%s}`,
				boxes, sent.Add(3*time.Hour).Format(time.RFC3339), box, where(sites[facility])))
			s.event(fmt.Sprintf(`{"type":"AggregationEvent","eventID":"urn:x:open%d","eventTime":%q,"eventTimeZoneOffset":"+00:00","action":"DELETE","bizStep":"unpacking","parentID":%q,%s}`,
				boxes, sent.Add(4*time.Hour).Format(time.RFC3339), box, where(sites[facility])))
		}
		for facility := range sites {
			for range 2 + random.IntN(2) {
				packs := 20 + random.IntN(10)
				send(facility, packs, true)
				if recalled {
					arrived[facility] += packs
				}
			}
		}
		if recalled {
			send("south", 33, false)
		}
	}

	// Sessions at both clinics; some certificates are revoked since, some doses wasted.
	given, inForce := map[string]int{}, map[string]int{}
	var one string // a record of the recalled lot at the north
	wanted := map[string]bool{}
	n := 0
	for _, lot := range []string{storyIPV, other} {
		for facility, site := range sites {
			opened := s.supervisor.want(http.StatusOK, "POST", "/v1/stock/sessions", fmt.Sprintf(`{"facility":%q,"lot":%q,"location":%q,"doses":%d,"expiry":%q}`, facility, lot, site, opening, time.Now().AddDate(1, 0, 0).Format(time.DateOnly)))
			session := opened["id"].(string)
			for range 3 + random.IntN(5) {
				n++
				made := s.dose(n, facility, session)
				id := made["id"].(string)
				if lot != storyIPV {
					continue
				}
				given[facility]++
				if random.IntN(4) == 0 {
					s.supervisor.want(http.StatusOK, "POST", "/v1/certificates/"+id+"/revoke", `{"reason":"wrong-data"}`, "If-Match", `"1"`)
					continue
				}
				inForce[facility]++
				if wanted[id] = true; facility == "north" {
					one = id
				}
			}
			version := s.supervisor.want(http.StatusOK, "GET", "/v1/stock/sessions/"+session, "")["version"]
			s.supervisor.want(http.StatusOK, "POST", "/v1/stock/sessions/"+session+"/waste", `{"doses":1,"reason":"broken"}`, "If-Match", fmt.Sprintf(`"%v"`, version))
			version = s.supervisor.want(http.StatusOK, "GET", "/v1/stock/sessions/"+session, "")["version"]
			s.supervisor.want(http.StatusOK, "POST", "/v1/stock/sessions/"+session+"/end", `{}`, "If-Match", fmt.Sprintf(`"%v"`, version))
		}
	}

	q := "?system=https://id.gs1.org/01&code=09521321123458&lot=spec-ipv"
	r := s.supervisor.want(http.StatusOK, "GET", "/v1/recall"+q, "")
	got := map[string]float64{"doses": r["doses"].(float64), "certificates": r["certificates"].(float64), "on the way": r["on_the_way"].(float64)}
	want := map[string]float64{"doses": float64(len(wanted)), "certificates": float64(len(wanted)), "on the way": 33, "here depot": 1000 - 33}
	for _, x := range r["places"].([]any) {
		place := x.(map[string]any)
		facility := place["facility"].(string)
		got["here "+facility] = place["here"].(float64)
		if facility == "depot" {
			continue
		}
		got["given "+facility], got["gone "+facility], got["doses "+facility] = place["given"].(float64), place["gone"].(float64), place["doses"].(float64)
		want["here depot"] -= float64(arrived[facility])
		want["here "+facility], want["given "+facility] = float64(arrived[facility]-opening), float64(given[facility])
		want["gone "+facility], want["doses "+facility] = float64(opening-given[facility]), float64(inForce[facility])
		if sessions := place["sessions"].([]any); len(sessions) != 1 {
			t.Errorf("sessions of %s: %v", facility, sessions)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}

	// Those who are to be told are these, and nobody else; a clinic sees its own.
	records := func(by *caller) map[string]bool {
		out := map[string]bool{}
		for cursor := ""; ; {
			page := by.want(http.StatusOK, "GET", "/v1/recall/records"+q+"&limit=2&cursor="+cursor, "")
			for _, id := range page["items"].([]any) {
				out[id.(string)] = true
			}
			next, more := page["next"].(string)
			if !more || next == "" {
				return out
			}
			cursor = next
		}
	}
	if diff := cmp.Diff(wanted, records(s.supervisor)); diff != "" {
		t.Error(diff)
	}
	if own := records(s.admin.letIn("specimen.north", "supervisor", "north")); len(own) != inForce["north"] {
		t.Errorf("the clinic sees %d records of its %d", len(own), inForce["north"])
	}

	// An auditor has the file, and no service.
	tracer := s.supervisor.program("trace:read")
	must(t, os.WriteFile(filepath.Join(s.dir, "token"), []byte(tracer.token+"\n"), 0o600))
	s.run(0, "trace", "--server", s.url(""), "--token-file", "token", "--record", one, "-o", "dose.thread")
	s.stop()
	if said := s.run(0, "trace", "verify", "dose.thread", "--ca", filepath.Join(s.store(), "devices", "authority.pem")); !strings.Contains(said, "SPEC-IPV") {
		t.Error(said)
	}
}

// event captures one event.
func (s *story) event(text string) {
	s.t.Helper()
	res, said, err := s.goods.ask("POST", "/epcis/capture", `{"@context":"https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld","type":"EPCISDocument","schemaVersion":"2.0","creationDate":"2026-11-01T10:00:00Z","epcisBody":{"eventList":[`+text+`]}}`)
	if err != nil || res.StatusCode != http.StatusAccepted {
		s.t.Fatal(err, said)
	}
	if done := s.goods.want(http.StatusOK, "GET", res.Header.Get("Location"), ""); done["success"] != true {
		s.t.Fatalf("%s: %v", text, done)
	}
}
