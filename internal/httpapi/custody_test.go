package httpapi

import (
	"fmt"
	"log/slog"
	"net/http"
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
		p.Stocking = &Stocking{Policy: access.NewPolicy(), Custody: &custody.Custody{
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
				case "POST/epcis/queries":
					body = fmt.Sprintf(`{"name":"q%d","query":{}}`, n)
				case "POST/epcis/events", "POST/epcis/capture":
					if like.Grants[0].Facility != "" { // whose places are registered
						must(t, b.page.Stocking.Custody.Stock.PutLocation(t.Context(), &custody.Location{URI: own, Place: custody.Place{Organisation: like.Organisation, Facility: "north"}, Version: 1, Name: "Specimen"}))
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

func TestEventsFromAnotherSite(t *testing.T) {
	b := newGoodsBed(t)
	b.who = &access.Principal{ID: "u-1", Organisation: "org-a", Grants: []access.Grant{{Role: access.Supervisor}}}
	// What a browser sends along by itself from another site is refused.
	res := ask(b.handler, http.MethodPost, "/epcis/events", stored("x", northStore), "Content-Type", "application/json", "Sec-Fetch-Site", "cross-site", "Origin", "https://elsewhere.example")
	if res.StatusCode != 403 {
		t.Errorf("from another site: %d", res.StatusCode)
	}
}
