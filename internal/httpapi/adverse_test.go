package httpapi

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"ampoule/internal/access"
	"ampoule/internal/storetest"
	"ampoule/party/issuer"
)

const feverReport = `{"what":["fever"],"onset":"2026-10-02","hours":20,"outcome":"recovered","text":"slept badly"}`

// TestAdverseOverHTTP reports, puts right, reads and counts.
func TestAdverseOverHTTP(t *testing.T) {
	b := newStockBed(t)
	registry := storetest.NewKit(t, b.page.Access.Audit.(issuer.Book)).Registry
	var ids []string
	for n := range 7 {
		record := storetest.Dose(n)
		record.Vaccination.Lot, record.Vaccination.Product.Code, record.Vaccination.Product.System = "SPEC-YF", "DEMO-YF-0001", "http://smart.who.int/icvp/CodeSystem/ICVPProductIds"
		o := storetest.Order(fmt.Sprint(n), record)
		o.At, o.Wanted = issuer.Place(north), []issuer.Wanted{{Format: issuer.SHC}}
		r, err := registry.Issue(t.Context(), o)
		must(t, err)
		ids = append(ids, r.ID.String())
	}
	who := func(role access.Role, facility string) *access.Principal {
		return &access.Principal{ID: "u-" + string(role), Organisation: "org-a", Grants: []access.Grant{{Role: role, Facility: facility}}}
	}
	const described = "/v1/certificates/{id}/adverse-events"
	send := func(n int, body string, want int) (out AdverseBody) {
		t.Helper()
		res := ask(b.handler, "POST", "/v1/certificates/"+ids[n]+"/adverse-events", body)
		text := readAll(t, res)
		b.described(t, "POST", described, res, text)
		if res.StatusCode != want {
			t.Fatalf("%s: %d %s", body, res.StatusCode, text)
		}
		if want == 201 {
			must(t, json.Unmarshal([]byte(text), &out))
		}
		return out
	}
	counted := func(query string) (out LotAdverseBody, text string) {
		t.Helper()
		res := ask(b.handler, "GET", "/v1/adverse-events"+recallQuery+query, "")
		text = readAll(t, res)
		b.described(t, "GET", "/v1/adverse-events", res, text)
		if res.StatusCode != 200 {
			t.Fatalf("%d %s", res.StatusCode, text)
		}
		must(t, json.Unmarshal([]byte(text), &out))
		return out, text
	}
	is := func(c *ToldBody, from, to int) bool {
		return c != nil && c.From == from && (to < 0) == (c.To == nil) && (to < 0 || *c.To == to)
	}

	b.who = who(access.Clerk, "north")
	first := send(0, feverReport, 201)
	if first.Version != 1 || first.Role != "clerk" || first.Record != ids[0] || first.Reported.IsZero() {
		t.Errorf("%+v", first)
	}
	corrects := fmt.Sprintf(`,"corrects":%q,"version":1}`, first.ID)
	for body, want := range map[string]int{
		`{}`: 422,
		strings.Replace(feverReport, `"fever"`, `"cold"`, 1):                 422,
		strings.Replace(feverReport, "2026-10-02", "2026-09-30", 1):          422,
		strings.Replace(feverReport, `"hours":20`, `"hours":90`, 1):          422,
		strings.Replace(feverReport, `"recovered"`, `"died"`, 1):             422,
		strings.Replace(feverReport, `"text"`, `"name"`, 1):                  422,
		strings.Replace(feverReport, "}", `,"corrects":"x","version":1}`, 1): 422,
		`{"withdrawn":true}`: 422,
	} {
		send(0, body, want)
	}
	send(1, strings.Replace(feverReport, "}", corrects, 1), 422) // of another record
	b.who = who(access.Supervisor, "north")
	second := send(0, strings.Replace(strings.Replace(feverReport, "}", corrects, 1), `"hours":20`, `"hours":21,"serious":["hospitalisation"]`, 1), 201)
	if second.ID != first.ID || second.Version != 2 || second.Role != "supervisor" {
		t.Errorf("%+v", second)
	}
	send(0, strings.Replace(feverReport, "}", corrects, 1), 412) // it was changed meanwhile

	var page struct{ Items []AdverseBody }
	res := ask(b.handler, "GET", "/v1/certificates/"+ids[0]+"/adverse-events", "")
	text := readAll(t, res)
	b.described(t, "GET", described, res, text)
	must(t, json.Unmarshal([]byte(text), &page))
	if len(page.Items) != 1 || *page.Items[0].Hours != 21 || page.Items[0].Text != "slept badly" || page.Items[0].Outcome != issuer.Recovered {
		t.Errorf("%s", text)
	}

	// One is few; and who sees records and follows no lots counts nothing.
	c, text := counted("")
	if !c.Told || !is(&c.Doses, 7, 7) || !is(c.Reports, 1, 4) || !is(c.Serious, 1, 4) || c.Facility != "north" {
		t.Errorf("%s", text)
	}
	if fever, abscess := c.What[issuer.Fever], c.What[issuer.Abscess]; !is(&fever, 1, 4) || !is(&abscess, 0, 0) || len(c.What) != len(issuer.Untowards) {
		t.Errorf("%s", text)
	}
	for n := 1; n < 6; n++ {
		send(n, feverReport, 201)
	}
	if c, text := counted(""); !is(c.Reports, 5, -1) || !is(c.Serious, 1, 4) {
		t.Errorf("one of six is serious: %s", text)
	}
	send(0, fmt.Sprintf(`{"withdrawn":true,"corrects":%q,"version":2}`, first.ID), 201)
	send(0, fmt.Sprintf(`{"withdrawn":true,"corrects":%q,"version":3}`, first.ID), 409) // it is

	// The whole is told to whom it is granted, whatever part is asked for; and no person,
	// no record and no report is in it.
	b.who = who(access.Auditor, "")
	c, text = counted("&facility=north")
	if !is(c.Reports, 5, 5) || !is(c.Serious, 0, 0) || c.Facility != "" {
		t.Errorf("%s", text)
	}
	for _, w := range append(append(append([]string{storetest.Documents, first.ID, "slept"}, storetest.Families...), storetest.Givens...), ids...) {
		if strings.Contains(text, w) {
			t.Errorf("%s stands in the answer", w)
		}
	}
	if res := ask(b.handler, "GET", "/v1/certificates/"+ids[0]+"/adverse-events", ""); res.StatusCode != 404 {
		t.Errorf("an auditor reads: %d", res.StatusCode)
	}
	if res := ask(b.handler, "GET", "/v1/adverse-events?system=x&code=y&lot=-", ""); res.StatusCode != 422 {
		t.Errorf("no lot: %d", res.StatusCode)
	}
	several := who(access.Auditor, "north")
	several.Grants = append(several.Grants, access.Grant{Role: access.Auditor, Facility: "south"})
	b.who = several
	if c, text := counted("&facility=south"); c.Told || c.Reports != nil || !is(&c.Doses, 0, 0) {
		t.Errorf("%s", text)
	}

	// What was read, and what was reported, is on the audit log.
	lines := map[string]int{}
	for _, l := range b.auditLines(t) {
		lines[l]++
	}
	if lines["adverse-event"] != 8 || lines["read"] != 1 {
		t.Errorf("%v", lines)
	}
}

// auditLines are the actions on the audit log.
func (b *stockBed) auditLines(t *testing.T) (out []string) {
	t.Helper()
	b.who = &access.Principal{ID: "u-auditor", Organisation: "org-a", Grants: []access.Grant{{Role: access.Auditor}}}
	var page struct {
		Items []struct{ Action string }
	}
	must(t, json.Unmarshal([]byte(readAll(t, ask(b.handler, "GET", "/v1/audit?limit=1000", ""))), &page))
	for _, l := range page.Items {
		out = append(out, l.Action)
	}
	return out
}
