package httpapi

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"ampoule/cert"
	"ampoule/internal/access"
	"ampoule/internal/storetest"
	"ampoule/party/issuer"
	"ampoule/thing/thread"
)

// TestTraceOverHTTP asks with a code, a record, a session and a lot; nobody is named in
// what is answered, and no code is in an address.
func TestTraceOverHTTP(t *testing.T) {
	b := newStockBed(t)
	clerk := &access.Principal{ID: "u-clerk", Organisation: "org-a", Grants: []access.Grant{{Role: access.Clerk, Facility: "north"}}}
	b.who = clerk
	session := b.open(t, "")
	registry := storetest.NewKit(t, b.page.Access.Audit.(issuer.Book)).Registry
	issue := func(n int, session string, format issuer.Format) *issuer.Receipt {
		t.Helper()
		record := storetest.Dose(n)
		record.Vaccination.Lot, record.Vaccination.Product.Code, record.Vaccination.Product.System = "SPEC-YF", "DEMO-YF-0001", "http://smart.who.int/icvp/CodeSystem/ICVPProductIds"
		record.Vaccination.Date = cert.Date(storetest.Day.Format(time.DateOnly))
		o := storetest.Order(fmt.Sprint(n), record)
		o.At, o.Session, o.Wanted = issuer.Place(north), session, []issuer.Wanted{{Format: format}}
		r, err := registry.Issue(t.Context(), o)
		must(t, err)
		return r
	}
	given := issue(1, session.ID, issuer.SHC)
	loose := issue(2, "", issuer.DDCC)
	order := func(member, value string) string {
		body, err := json.Marshal(map[string]string{member: value})
		must(t, err)
		return string(body)
	}
	super := &access.Principal{ID: "u-super", Organisation: "org-a", Grants: []access.Grant{{Role: access.Supervisor}}}
	south := &access.Principal{ID: "u-south", Organisation: "org-a", Grants: []access.Grant{{Role: access.Supervisor, Facility: "south"}}}
	other := &access.Principal{ID: "u-other", Organisation: "org-b", Grants: []access.Grant{{Role: access.Supervisor}}}
	for _, c := range []struct {
		name   string
		who    *access.Principal
		body   string
		status int
		record string
	}{
		{"a code", super, order("code", given.Artefacts[0].Text), 200, given.ID.String()},
		{"a code of a dose from no session", super, order("code", loose.Artefacts[0].Text), 200, loose.ID.String()},
		{"a record", super, order("record", given.ID.String()), 200, given.ID.String()},
		{"a session", super, order("session", session.ID), 200, ""},
		{"a lot", super, order("lot", stockLot), 200, ""},
		{"a lot by its number", super, order("lot", "spec yf"), 200, ""},
		{"another facility's code", south, order("code", given.Artefacts[0].Text), 404, ""},
		{"another organisation's code", other, order("code", given.Artefacts[0].Text), 404, ""},
		{"another organisation's record", other, order("record", given.ID.String()), 404, ""},
		{"another organisation's session", other, order("session", session.ID), 404, ""},
		{"another organisation's lot", other, order("lot", stockLot), 404, ""},
		{"a record that is none", super, order("record", "none"), 404, ""},
		{"a text that is no code", super, order("code", "HC1:NOTHING"), 422, ""},
		{"nothing", super, `{}`, 422, ""},
		{"two things", super, `{"lot":"x","session":"y"}`, 422, ""},
		{"a lot of which nobody told", super, order("lot", "NOTHING"), 404, ""},
		{"a clerk", clerk, order("session", session.ID), 403, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b.who = c.who
			res := ask(b.handler, "POST", "/v1/trace", c.body)
			text := readAll(t, res)
			b.described(t, "POST", "/v1/trace", res, text)
			if res.StatusCode != c.status {
				t.Fatalf("%d %s", res.StatusCode, text)
			}
			for _, w := range append(storetest.Families, storetest.Documents, given.Artefacts[0].Text) {
				if w != "Specimen" && strings.Contains(text, w) { // products are specimens too
					t.Errorf("%.40s stands in the answer", w)
				}
			}
			if c.status != 200 {
				return
			}
			var out TraceBody
			must(t, json.Unmarshal([]byte(text), &out))
			signed, err := thread.Parse(out.File)
			must(t, err)
			if out.Lot != stockLot || out.Place != "North clinic" || len(out.Legs) != 1 || (c.record != "") != (out.Dose != nil) || c.record != "" && out.Dose.Record != c.record {
				t.Errorf("%s", text)
			}
			if c.record != "" {
				kept := given
				if c.record == loose.ID.String() {
					kept = loose
				}
				leaf, err := issuer.LeafOf(kept.Artefacts[0].Text)
				must(t, err)
				if signed.Certificate == nil || string(signed.Certificate.Leaf) != string(leaf[:]) {
					t.Error("it is of another certificate")
				}
				report := signed.Check(thread.Options{At: storetest.Day.Add(time.Hour), Code: &leaf})
				if report.Result() != thread.Unknown { // no authority is given
					t.Errorf("%+v", report.Findings)
				}
				leaf[0] ^= 1
				if signed.Check(thread.Options{At: storetest.Day.Add(time.Hour), Code: &leaf}).Result() != thread.Fail {
					t.Error("another code is taken for its own")
				}
			}
		})
	}
	b.who = super
	res := ask(b.handler, "GET", "/v1/trace?lot="+url.QueryEscape(stockLot), "")
	text := readAll(t, res)
	b.described(t, "GET", "/v1/trace", res, text)
	if res.StatusCode != 200 || strings.Contains(text, `"dose":`) {
		t.Errorf("%d %s", res.StatusCode, text)
	}
}
