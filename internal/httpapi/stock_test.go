package httpapi

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"ampoule/format/epcis"
	"ampoule/internal/access"
	"ampoule/internal/keys"
	"ampoule/internal/store"
	"ampoule/internal/storetest"
	"ampoule/party/custody"
	"ampoule/party/issuer"
	"ampoule/thing/trail"
	"ampoule/thing/vaccine"
)

const (
	stockSite  = "https://id.gs1.org/414/9521321000032"
	stockLot   = "https://id.gs1.org/01/09521321123458/10/SPEC-YF"
	stockGTIN  = "09521321123458"
	stockTable = `{"vaccines": [{"name": "Specimen yellow fever", "form": "freeze-dried", "storage": "refrigerated", "freeze": "not-harmed", "doses": 10,
		"codes": [{"code": "09521321123458", "system": "https://id.gs1.org/01"}, {"code": "DEMO-YF-0001", "system": "http://smart.who.int/icvp/CodeSystem/ICVPProductIds"}]}]}`
)

// stockBed is a service with one site at org-a, north, at which ten packs arrived.
type stockBed struct {
	*issuingBed
	custody *custody.Custody
}

func newStockBed(t *testing.T) *stockBed {
	t.Helper()
	catalogue, err := vaccine.Parse([]byte(stockTable))
	must(t, err)
	b := &stockBed{}
	authority, err := keys.NewDeviceCA(storetest.Day.AddDate(-1, 0, 0), nil)
	must(t, err)
	signer, err := keys.NewService(authority, storetest.Day.AddDate(-1, 0, 0), nil)
	must(t, err)
	b.issuingBed = newIssuingBed(t, func(p *Page) {
		goods := p.Access.Audit.(*store.Store).Goods()
		b.custody = &custody.Custody{
			Events: goods, Stock: goods, Catalogue: func() *vaccine.Catalogue { return catalogue },
			Signer: &custody.Signer{Key: signer.Signer, Certificates: [][]byte{signer.Certificate().Raw, authority.Certificate().Raw}},
			Now:    func() time.Time { return storetest.Day }, Log: slog.New(slog.DiscardHandler),
		}
		p.Stocking = &Stocking{Custody: b.custody, Policy: access.NewPolicy()}
	})
	must(t, b.custody.Stock.PutLocation(t.Context(), &custody.Location{URI: stockSite, Place: custody.Place(north), Version: 1, Name: "North clinic", Country: "XA"}))
	b.told(t, 1, storetest.Day.Add(-48*time.Hour), "ADD", "commissioning", 10)
	return b
}

// told captures an event at the site.
func (b *stockBed) told(t *testing.T, n int, at time.Time, action, step string, packs int) {
	t.Helper()
	d, findings, err := epcis.Parse(fmt.Appendf(nil, `{"@context":%q,"type":"ObjectEvent","eventID":"urn:x:%d","eventTime":%q,"eventTimeZoneOffset":"+00:00","action":%q,"bizStep":%q,
		"bizLocation":{"id":%q},"quantityList":[{"epcClass":%q,"quantity":%d}]}`, epcis.Context, n, at.UTC().Format(time.RFC3339), action, step, stockSite, stockLot, packs))
	if err != nil || len(findings) > 0 {
		t.Fatalf("%v, %v", findings, err)
	}
	e := d.Events[0]
	_, err = b.custody.Events.Capture(t.Context(), []custody.Event{{ID: e.ID, Hash: e.Hash(), At: e.Time, Recorded: at, Organisation: "org-a", By: "u-1", Kept: e.Keep(e.ID, at), Moves: trail.Moves(e)}})
	must(t, err)
}

// open opens a session over the API.
func (b *stockBed) open(t *testing.T, more string) StockSessionBody {
	t.Helper()
	res := ask(b.handler, "POST", "/v1/stock/sessions", `{"lot":"`+stockLot+`","expiry":"2030-01-31"`+more+`}`)
	text := readAll(t, res)
	if res.StatusCode != 200 {
		t.Fatalf("%d %s", res.StatusCode, text)
	}
	b.described(t, "POST", "/v1/stock/sessions", res, text)
	var out StockSessionBody
	must(t, json.Unmarshal([]byte(text), &out))
	return out
}

// stocks are the actions of which each operation on stock asks for one; none: everybody
// who is known.
var stocks = map[string][]access.Action{
	"stock": {access.SessionRun, access.StockManage}, "stockFitness": {access.SessionRun}, "scan": nil, "products": nil,
	"stockSessions": {access.SessionRun}, "stockOpen": {access.SessionRun}, "stockSession": {access.SessionRun}, "stockWaste": {access.SessionRun}, "stockEnd": {access.SessionRun},
	"imbalances": {access.SessionRun, access.StockManage}, "locations": {access.SessionRun, access.StockManage}, "locationPut": {access.StockManage},
	"recall": {access.TraceRead}, "recallRecords": {access.TraceRead}, "concerns": {access.SessionRun, access.StockManage, access.TraceRead},
	"adverseCounts": {access.TraceRead},
	"trace":         {access.TraceRead}, "traceLot": {access.TraceRead},
	"handovers": {access.CustodyRead}, "handoverOffer": {access.CustodyCapture}, "handoverTake": {access.CustodyCapture},
	"handoverAccept": {access.CustodyCapture}, "handoverRefuse": {access.CustodyCapture},
	"reassess":      {access.StockManage},
	"stockImport":   {access.CustodyCapture},
	"lotStatements": nil, "lotState": {access.LotState},
}

// TestStockByRoleAndPlace asks for every operation on stock as everybody.
func TestStockByRoleAndPlace(t *testing.T) {
	b := newStockBed(t)
	b.told(t, 2, storetest.Day.Add(-24*time.Hour), "OBSERVE", "receiving", 10)
	b.told(t, 3, storetest.Day.Add(-12*time.Hour), "OBSERVE", "shipping", 1)
	works := b.partner(t, "works")
	clerk := &access.Principal{ID: "u-clerk", Organisation: "org-a", Grants: []access.Grant{{Role: access.Clerk, Facility: "north"}}}
	description := newServer(b.page).describe(http.NewServeMux())
	type operation struct{ id, method, path string }
	var operations []operation
	for _, path := range slices.Sorted(maps.Keys(description.Paths)) {
		for method, o := range map[string]*huma.Operation{"GET": description.Paths[path].Get, "POST": description.Paths[path].Post} {
			if o != nil && slices.Contains(o.Tags, "stock") {
				operations = append(operations, operation{o.OperationID, method, path})
			}
		}
	}
	if len(operations) != len(stocks) {
		t.Fatalf("%d operations are described, the table has %d", len(operations), len(stocks))
	}
	n := 0
	for _, o := range operations {
		asked, ours := stocks[o.id]
		if !ours {
			t.Errorf("%s is not in the table", o.id)
		}
		b.who = clerk
		session := b.open(t, "")
		path := strings.Replace(o.path, "{id}", session.ID, 1)
		for _, role := range testedRoles() {
			for _, like := range []*access.Principal{
				{Organisation: "org-a", Grants: []access.Grant{{Facility: "north"}}},
				{Organisation: "org-a", Grants: []access.Grant{{Facility: "south"}}},
				{Organisation: "org-b", Grants: []access.Grant{{Facility: "north"}}},
				{Organisation: "org-a", Grants: []access.Grant{{Facility: "north"}}, Scopes: []access.Action{}},
			} {
				n++
				who := *like
				who.ID, who.Grants = "u-asker", []access.Grant{{Role: role, Facility: like.Grants[0].Facility}}
				at := issuer.Place{Organisation: like.Organisation, Facility: like.Grants[0].Facility}
				named := strings.Contains(o.path, "{id}")
				if named {
					at = north
				}
				body, header := "", []string(nil)
				switch o.id {
				case "stockFitness", "stockOpen":
					body = `{"lot":"` + stockLot + `"}`
				case "handoverOffer":
					body = fmt.Sprintf(`{"event":"urn:x:3","to":"urn:x:works:%d","receiver":"works"}`, n)
				case "handoverTake":
					file, err := json.Marshal(map[string][]byte{"file": b.offered(t, works, n)})
					must(t, err)
					body = string(file)
				case "handoverAccept", "handoverRefuse":
					h, err := b.custody.Take(t.Context(), custody.Actor{ID: "u-1", Within: custody.Place(north)}, b.offered(t, works, n))
					must(t, err)
					path = strings.Replace(o.path, "{id}", h.ID, 1)
					body = `{"event":"urn:x:2"}`
					if o.id == "handoverRefuse" {
						body = `{"reason":"damaged"}`
					}
				case "scan":
					body = `{"text":"(01)09521321123458(10)SPEC-YF"}`
				case "stockWaste":
					b.who = clerk
					session = b.open(t, "")
					path = strings.Replace(o.path, "{id}", session.ID, 1)
					body, header = `{"doses":1,"reason":"broken"}`, []string{"If-Match", `"1"`}
				case "stockEnd":
					b.who = clerk
					session = b.open(t, "")
					path = strings.Replace(o.path, "{id}", session.ID, 1)
					body, header = `{}`, []string{"If-Match", `"1"`}
				case "stockImport":
					body = fmt.Sprintf(`{"file":"gtin,lot,facility,quantity,date\n%s,SPEC-YF,%s,9,2026-11-%02d\n"}`, stockGTIN, stockSite, 1+n%28)
				case "recall", "recallRecords", "adverseCounts":
					path += "?system=https%3A%2F%2Fid.gs1.org%2F01&code=" + stockGTIN + "&lot=SPEC-YF"
				case "trace":
					body = `{"lot":"` + stockLot + `"}`
				case "traceLot":
					path = o.path + "?lot=SPEC-YF"
				case "reassess":
					body, _ = func() (string, error) {
						b, err := json.Marshal(map[string]string{"products": stockTable})
						return string(b), err
					}()
				case "lotState":
					body, at.Facility = `{"product":{"code":"SPEC-YF","system":"urn:x:codes"},"lot":"SPEC-YF","value":"recalled"}`, ""
				case "locationPut":
					body = fmt.Sprintf(`{"uri":"urn:x:place:%d","name":"Shelf","within":%q}`, n, stockSite)
					if at != north {
						body = fmt.Sprintf(`{"uri":"urn:x:place:%d","name":"South"}`, n)
					}
				}
				allowed := asked == nil
				for _, action := range asked {
					ok, _ := b.issuing.Policy.Allow(&who, action, at)
					allowed = allowed || ok
				}
				// Elsewhere there are other sites, or none: nothing of this lot is known there.
				nowhere := slices.Contains([]string{"stockFitness", "stockOpen", "trace", "traceLot", "handoverOffer", "handoverTake"}, o.id) && at != north
				b.who = nil
				if res := ask(b.handler, o.method, path, body, header...); res.StatusCode != 401 {
					t.Errorf("%s as nobody: %d", o.id, res.StatusCode)
				}
				b.who = &who
				res := ask(b.handler, o.method, path, body, header...)
				text := readAll(t, res)
				b.described(t, o.method, path, res, text)
				switch ok := res.StatusCode < 300; {
				case allowed && nowhere && (res.StatusCode == 422 || res.StatusCode == 404):
				case ok != allowed:
					t.Errorf("%s as %s of %+v: %d %s", o.id, role, at, res.StatusCode, text)
				case !ok && res.StatusCode != 403 && res.StatusCode != 404:
					t.Errorf("%s as %s of %+v: %d %s", o.id, role, at, res.StatusCode, text)
				case at != north && (strings.Contains(text, session.ID) || strings.Contains(text, "North clinic")):
					t.Errorf("%s as %s of %+v is told of another's: %s", o.id, role, at, text)
				}
			}
		}
	}
}

// TestStockSession is a day of one vial: opened, given from with certificates, wasted,
// ended.
func TestStockSession(t *testing.T) {
	b := newStockBed(t)
	b.who = &access.Principal{ID: "u-clerk", Organisation: "org-a", Grants: []access.Grant{{Role: access.Clerk, Facility: "north"}}}
	session := b.open(t, "")
	if session.Doses != 10 || session.Product.Code != "DEMO-YF-0001" || !session.Reconstituted || session.Rest != 10 {
		t.Errorf("%+v", session)
	}
	issue := func(name, vaccination, from string) (int, string) {
		t.Helper()
		res := ask(b.handler, "POST", "/v1/certificates", fmt.Sprintf(`{"session":%q,"record":{"person":{"name":{"full":%q},"birth_date":"1990-01-02"},
			"vaccination":{"date":%q,"disease":{"code":"840539006","system":"http://snomed.info/sct"},"vaccine":{"code":"1119349007","system":"http://snomed.info/sct"},"manufacturer":{"code":"ORG-100030215"},"dose":1,"country":"XA"%s}},
			"formats":[{"format":"ddcc"}]}`, from, name, storetest.Day.Format(time.DateOnly), vaccination))
		text := readAll(t, res)
		b.described(t, "POST", "/v1/certificates", res, text)
		return res.StatusCode, text
	}
	for _, c := range []struct {
		name, vaccination, session string
		want                       int
		said                       string
	}{
		{"Ada Specimen", "", session.ID, 201, `"lot":"SPEC-YF"`},
		{"Ben Specimen", `,"lot":"spec-yf","product":{"code":"DEMO-YF-0001"}`, session.ID, 201, `"code":"DEMO-YF-0001"`},
		{"Cleo Specimen", `,"lot":"OTHER"`, session.ID, 422, "other-lot"},
		{"Dara Specimen", "", "01900000-0000-7000-8000-000000000000", 404, "no-such-session"},
	} {
		if status, text := issue(c.name, c.vaccination, c.session); status != c.want || !strings.Contains(text, c.said) {
			t.Errorf("%s: %d %s", c.name, status, text)
		}
	}
	act := func(path, body string, version int) (int, StockSessionBody, string) {
		t.Helper()
		res := ask(b.handler, "POST", "/v1/stock/sessions/"+session.ID+path, body, "If-Match", fmt.Sprintf(`"%d"`, version))
		text := readAll(t, res)
		b.described(t, "POST", "/v1/stock/sessions/"+session.ID+path, res, text)
		var out StockSessionBody
		_ = json.Unmarshal([]byte(text), &out)
		return res.StatusCode, out, text
	}
	if status, _, text := act("/waste", `{"doses":1,"reason":"broken"}`, 1); status != 412 {
		t.Errorf("two were given since: %d %s", status, text)
	}
	if status, got, text := act("/waste", `{"doses":1,"reason":"broken"}`, 3); status != 200 || got.Rest != 7 || got.Given != 2 {
		t.Errorf("%d %s", status, text)
	}
	if status, _, text := act("/end", `{"left":8}`, 4); status != 422 {
		t.Errorf("more goes back than is there: %d %s", status, text)
	}
	if status, got, text := act("/end", `{"unrecorded":3}`, 4); status != 200 || got.Rest != 0 || got.Wasted != 5 || got.Ended.IsZero() {
		t.Errorf("%d %s", status, text)
	}
	if status, _, _ := act("/end", `{}`, 5); status != 409 {
		t.Errorf("twice: %d", status)
	}
	if status, text := issue("Elif Specimen", "", session.ID); status != 409 || !strings.Contains(text, "no-dose-in-session") {
		t.Errorf("after its end: %d %s", status, text)
	}
	text := readAll(t, ask(b.handler, "GET", "/v1/stock", ""))
	for _, want := range []string{`"here":90`, `"given":5`, `"gone":5`, `"unit":"dose"`, `"counted":true`} {
		if !strings.Contains(text, want) {
			t.Errorf("the stock has no %s: %s", want, text)
		}
	}
	if text := readAll(t, ask(b.handler, "GET", "/v1/imbalances", "")); !strings.Contains(text, `"items":[]`) {
		t.Error(text)
	}
	b.told(t, 2, storetest.Day.Add(time.Hour), "OBSERVE", "stock_taking", 8)
	if text := readAll(t, ask(b.handler, "GET", "/v1/imbalances", "")); !strings.Contains(text, `"kind":"count-differs","expected":90,"found":80`) {
		t.Error(text)
	}
}

// TestStockOverride: a clerk may not, a supervisor may, and an auditor reads that.
func TestStockOverride(t *testing.T) {
	b := newStockBed(t)
	order := `{"lot":"` + stockLot + `","expiry":"2020-01-31"%s}`
	for _, c := range []struct {
		role access.Role
		more string
		want int
		said string
	}{
		{access.Clerk, "", 409, "unfit-stock"},
		{access.Clerk, `,"override":"outbreak"`, 403, "not-allowed"},
		{access.Supervisor, "", 409, `"detail":"expired"`},
		{access.Supervisor, `,"override":"outbreak"`, 200, `"against":["expired"]`},
	} {
		b.who = &access.Principal{ID: "u-asker", Organisation: "org-a", Grants: []access.Grant{{Role: c.role, Facility: "north"}}}
		res := ask(b.handler, "POST", "/v1/stock/sessions", fmt.Sprintf(order, c.more))
		if text := readAll(t, res); res.StatusCode != c.want || !strings.Contains(text, c.said) {
			t.Errorf("%s %s: %d %s", c.role, c.more, res.StatusCode, text)
		}
	}
	b.who = &access.Principal{ID: "u-auditor", Organisation: "org-a", Grants: []access.Grant{{Role: access.Auditor}}}
	if text := readAll(t, ask(b.handler, "GET", "/v1/audit", "")); !strings.Contains(text, `"action":"session-override"`) || !strings.Contains(text, `"reason":"outbreak: expired"`) {
		t.Error(text)
	}
}

// TestScan: what a code says, whichever way it comes.
func TestScan(t *testing.T) {
	b := newStockBed(t)
	b.who = &access.Principal{ID: "u-clerk", Organisation: "org-a", Grants: []access.Grant{{Role: access.Clerk, Facility: "north"}}}
	for _, text := range []string{
		"(01)09521321123458(17)300131(10)SPEC-YF(21)7",
		"]d2010952132112345817300131" + "10SPEC-YF\x1d217",
		"https://id.gs1.org/01/09521321123458/10/SPEC-YF/21/7?17=300131",
	} {
		body, err := json.Marshal(map[string]string{"text": text})
		must(t, err)
		got := readAll(t, ask(b.handler, "POST", "/v1/scan", string(body)))
		for _, want := range []string{`"code":"` + stockGTIN + `"`, `"number":"SPEC-YF"`, `"expiry":"2030-01-31"`, `"serial":"7"`, `"name":"Specimen yellow fever"`} {
			if !strings.Contains(got, want) {
				t.Errorf("%q: no %s in %s", text, want, got)
			}
		}
	}
	for _, text := range []string{"HC1:ABC", "(10)SPEC-YF", "(01)09521321123459", "https://example.org/"} {
		res := ask(b.handler, "POST", "/v1/scan", `{"text":"`+text+`"}`)
		if got := readAll(t, res); res.StatusCode != 422 || !strings.Contains(got, "not-a-product-code") {
			t.Errorf("%s: %d %s", text, res.StatusCode, got)
		}
	}
}
