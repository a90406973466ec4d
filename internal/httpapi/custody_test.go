package httpapi

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"ampoule/format/epcis"
	"ampoule/internal/access"
	"ampoule/internal/store"
	"ampoule/internal/storetest"
	"ampoule/party/custody"
	"ampoule/party/issuer"
)

const northStore = "https://id.gs1.org/414/9521321000018"

// newGoodsBed is a service that keeps events, and knows one place, at org-a, north.
func newGoodsBed(t *testing.T) *issuingBed {
	return newIssuingBed(t, func(p *Page) {
		kept := p.Access.Audit.(*store.Store).Goods()
		p.Goods = &Goods{Policy: access.NewPolicy(), Custody: &custody.Custody{
			Events: kept, Stock: kept, Secret: kept.Secret(), Now: func() time.Time { return storetest.Day }, Log: slog.New(slog.DiscardHandler),
		}}
		must(t, kept.PutLocation(t.Context(), &custody.Location{URI: northStore, Place: custody.Place{Organisation: "org-a", Facility: "north"}, Version: 1, Name: "North store"}))
	})
}

// stored is an event at a place.
func stored(id, place string) string {
	return fmt.Sprintf(`{"@context":%q,"type":"ObjectEvent","eventID":"urn:x:%s","eventTime":"2026-11-01T09:00:00Z","eventTimeZoneOffset":"+00:00","action":"OBSERVE","bizStep":"storing","epcList":["urn:epc:id:sscc:9521321.0000000011"],"bizLocation":{"id":%q}}`,
		epcis.Context, id, place)
}

// goods is the action that each operation of goods asks for.
var goods = []struct {
	method, path string
	action       access.Action
}{
	{"GET", "/v1/locations", access.CustodyRead}, {"PUT", "/v1/locations", access.StockManage},
	{"GET", "/epcis/events", access.CustodyRead}, {"GET", "/epcis/", access.CustodyRead}, {"GET", "/epcis/capture", access.CustodyRead},
	{"GET", "/epcis/queries", access.CustodyRead}, {"POST", "/epcis/queries", access.CustodyRead}, {"GET", "/epcis/epcs", access.CustodyRead},
	{"POST", "/epcis/events", access.CustodyCapture}, {"POST", "/epcis/capture", access.CustodyCapture},
}

// TestGoodsByRoleAndPlace asks for all as everybody: what the policy allows is done, and
// nothing else is, or told of.
func TestGoodsByRoleAndPlace(t *testing.T) {
	b := newGoodsBed(t)
	n := 0
	for _, o := range goods {
		for _, role := range testedRoles() {
			for place, like := range map[string]*access.Principal{
				"at the place":          {Organisation: "org-a", Grants: []access.Grant{{Facility: "north"}}},
				"the whole":             {Organisation: "org-a", Grants: []access.Grant{{}}},
				"another organisation":  {Organisation: "org-b", Grants: []access.Grant{{Facility: "north"}}},
				"no organisation":       {Grants: []access.Grant{{}}},
				"a token without scope": {Organisation: "org-a", Grants: []access.Grant{{Facility: "north"}}, Scopes: []access.Action{}},
			} {
				n++
				who := *like
				who.ID, who.Grants = "u-asker", []access.Grant{{Role: role, Facility: like.Grants[0].Facility}}
				own := fmt.Sprintf("urn:x:place-%d", n)
				var body string
				header := []string{"Content-Type", "application/json"}
				switch o.method + o.path {
				case "PUT/v1/locations":
					body = fmt.Sprintf(`{"uri":%q,"version":0,"name":"Specimen"}`, own)
				case "POST/epcis/queries":
					body = fmt.Sprintf(`{"name":"q%d","query":{}}`, n)
				case "POST/epcis/events", "POST/epcis/capture":
					if like.Grants[0].Facility != "" { // whose places are registered
						must(t, b.page.Goods.Custody.Stock.PutLocation(t.Context(), &custody.Location{URI: own, Place: custody.Place{Organisation: like.Organisation, Facility: "north"}, Version: 1, Name: "Specimen"}))
					}
					body = stored(fmt.Sprint(n), own)
				default:
					header = nil
				}
				name := fmt.Sprintf("%s %s as %s, %s", o.method, o.path, role, place)
				b.who = nil
				if res := ask(b.handler, o.method, o.path, body, header...); res.StatusCode != 401 {
					t.Errorf("%s %s as nobody: %d", o.method, o.path, res.StatusCode)
				}
				b.who = &who
				allowed, _ := b.issuing.Policy.Allow(&who, o.action, issuer.Place{Organisation: like.Organisation, Facility: like.Grants[0].Facility})
				res := ask(b.handler, o.method, o.path, body, header...)
				text := readAll(t, res)
				if allowed != (res.StatusCode < 300) || !allowed && res.StatusCode != 403 {
					t.Errorf("%s: %d %s", name, res.StatusCode, text)
				}
				if like.Organisation != "org-a" && strings.Contains(text, "North store") {
					t.Errorf("%s is told of another's: %s", name, text)
				}
			}
		}
	}
}

func TestLocations(t *testing.T) {
	b := newGoodsBed(t)
	as := func(organisation, facility string) {
		b.who = &access.Principal{ID: "u-1", Organisation: organisation, Grants: []access.Grant{{Role: access.Supervisor, Facility: facility}}}
	}
	for _, c := range []struct {
		name, organisation, facility, body string
		want                               int
	}{
		{"a fridge in a store, by another form of its name", "org-a", "north", `{"uri":"urn:uuid:1","version":0,"name":"Fridge","within":"urn:epc:id:sgln:9521321.00001.0"}`, 200},
		{"once more as new", "org-a", "north", `{"uri":"urn:uuid:1","version":0,"name":"Fridge"}`, 412},
		{"changed", "org-a", "north", `{"uri":"urn:uuid:1","version":1,"name":"Fridge 2","within":"` + northStore + `","equipment":"e"}`, 200},
		{"another's", "org-b", "", `{"uri":"` + northStore + `","version":1,"name":"Mine"}`, 403},
		{"another's, in another form", "org-b", "", `{"uri":"urn:epc:id:sgln:9521321.00001.0","version":0,"name":"Mine"}`, 403},
		{"another facility's", "org-a", "south", `{"uri":"` + northStore + `","version":1,"name":"Mine"}`, 403},
		{"for another facility", "org-a", "south", `{"uri":"urn:uuid:2","facility":"north","version":0,"name":"Mine"}`, 403},
		{"within another's", "org-b", "", `{"uri":"urn:uuid:2","version":0,"name":"Mine","within":"` + northStore + `"}`, 422},
		{"within itself", "org-a", "", `{"uri":"` + northStore + `","facility":"north","version":1,"name":"North","within":"urn:uuid:1"}`, 422},
		{"from one facility to another", "org-a", "", `{"uri":"urn:uuid:1","facility":"south","version":2,"name":"Fridge 2"}`, 200},
		{"without a name", "org-a", "", `{"uri":"urn:uuid:3","version":0,"name":""}`, 422},
	} {
		as(c.organisation, c.facility)
		res := ask(b.handler, http.MethodPut, "/v1/locations", c.body, "Content-Type", "application/json")
		text := readAll(t, res)
		b.described(t, http.MethodPut, "/v1/locations", res, text)
		if res.StatusCode != c.want {
			t.Errorf("%s: %d %s", c.name, res.StatusCode, text)
		}
	}
	as("org-a", "")
	page := ask(b.handler, http.MethodGet, "/v1/locations?limit=1", "")
	if text := readAll(t, page); !strings.Contains(text, `"name":"North store"`) || page.Header.Get("Link") != `</v1/locations?cursor=`+url.QueryEscape(northStore)+`&limit=1>; rel="next"` {
		t.Errorf("%s, %v", text, page.Header)
	}
	// What a browser sends along by itself from another site is refused.
	res := ask(b.handler, http.MethodPost, "/epcis/events", stored("x", northStore), "Content-Type", "application/json", "Sec-Fetch-Site", "cross-site", "Origin", "https://elsewhere.example")
	if res.StatusCode != 403 {
		t.Errorf("from another site: %d", res.StatusCode)
	}
}
