package httpapi

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"ampoule/internal/access"
	"ampoule/internal/keys"
	"ampoule/internal/storetest"
	"ampoule/party/custody"
	"ampoule/party/issuer"
	"ampoule/thing"
)

const recallQuery = "?system=https%3A%2F%2Fid.gs1.org%2F01&code=" + stockGTIN + "&lot=spec%20yf"

// TestRecallOverHTTP counts what a recall reaches, and signs one.
func TestRecallOverHTTP(t *testing.T) {
	b := newStockBed(t)
	kit := storetest.NewKit(t, b.page.Access.Audit.(issuer.Book))
	registry := kit.Registry
	for n := range 3 {
		record := storetest.Dose(n)
		record.Vaccination.Lot, record.Vaccination.Product.Code, record.Vaccination.Product.System = "SPEC-YF", "DEMO-YF-0001", "http://smart.who.int/icvp/CodeSystem/ICVPProductIds"
		o := storetest.Order(fmt.Sprint(n), record)
		o.At, o.Wanted = issuer.Place(north), []issuer.Wanted{{Format: issuer.SHC}}
		if _, err := registry.Issue(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	b.who = &access.Principal{ID: "u-super", Organisation: "org-a", Grants: []access.Grant{{Role: access.Supervisor}}}
	res := ask(b.handler, "GET", "/v1/recall"+recallQuery, "")
	text := readAll(t, res)
	b.described(t, "GET", "/v1/recall", res, text)
	var found RecalledBody
	must(t, json.Unmarshal([]byte(text), &found))
	if found.Doses != 3 || found.Certificates != 3 || len(found.Places) != 1 || found.Places[0].Doses != 3 || found.Places[0].Here == nil || *found.Places[0].Here != 100 {
		t.Errorf("%s", text)
	}
	for _, w := range append(storetest.Families, storetest.Documents) {
		if strings.Contains(text, w) {
			t.Errorf("%s stands in the answer", w)
		}
	}
	var page struct {
		Items []string
		Next  string
	}
	seen := map[string]bool{}
	for next := ""; ; next = page.Next {
		page.Next, page.Items = "", nil
		res := ask(b.handler, "GET", "/v1/recall/records"+recallQuery+"&limit=2&cursor="+next, "")
		must(t, json.Unmarshal([]byte(readAll(t, res)), &page))
		for _, id := range page.Items {
			seen[id] = true
		}
		if page.Next == "" {
			break
		}
	}
	if len(seen) != 3 {
		t.Errorf("%d records", len(seen))
	}
	const recall = `{"product":{"code":"DEMO-YF-0001","system":"http://smart.who.int/icvp/CodeSystem/ICVPProductIds"},"lot":"SPEC-YF","value":"recalled"}`
	if res := ask(b.handler, "POST", "/v1/lots/statements", recall); res.StatusCode != 422 {
		t.Errorf("a service that speaks in nobody's name: %d %s", res.StatusCode, readAll(t, res))
	}
	sca, err := keys.NewSCA(keys.Participant{Country: "XA", Organization: "Specimen agency", Name: "XA"}, storetest.Day.AddDate(-1, 0, 0), nil)
	must(t, err)
	key, err := sca.IssueDSC(keys.DSCProfile{}, storetest.Day.Add(-time.Hour), nil)
	must(t, err)
	listed, err := thing.NewLotKey(thing.Regulator, "SPECREG", "", key.Certificate().Raw)
	must(t, err)
	told := 0
	b.page.Stocking.Authority = &custody.Authority{Role: thing.Regulator, Name: "SPECREG", Signer: key.Signer, KID: key.KID(), Listed: listed}
	b.page.Stocking.Changed = func() { told++ }
	for body, want := range map[string]int{
		recall: 200,
		strings.Replace(recall, `"recalled"`, `"spoiled"`, 1):             422, // not a regulator's to say
		strings.Replace(recall, `"recalled"`, `"expires-on"`, 1):          422, // on which day
		strings.Replace(recall, `"lot":"SPEC-YF"`, `"lot":"-"`, 1):        422,
		strings.Replace(recall, `"value":"recalled"`, `"value":"hot"`, 1): 422,
	} {
		res := ask(b.handler, "POST", "/v1/lots/statements", body)
		if text := readAll(t, res); res.StatusCode != want {
			t.Errorf("%s: %d %s", body, res.StatusCode, text)
		}
	}
	if told != 1 {
		t.Errorf("%d times it was told", told)
	}
	var said struct{ Items []string }
	must(t, json.Unmarshal([]byte(readAll(t, ask(b.handler, "GET", "/v1/lots/statements", ""))), &said))
	list := new(thing.LotList)
	must(t, list.Add("service", []byte(strings.Join(said.Items, "\n")), thing.LotKeys{listed}, storetest.Day.Add(time.Hour)))
	if len(list.Numbers()) != 1 || list.Entries()[0].Refused != nil {
		t.Errorf("%d statements: %v", len(said.Items), list.Entries())
	}

	// Who reads a record of that lot is told what to tell the holder, and the paper says it.
	for _, c := range []struct {
		lots *thing.LotList
		want string
	}{{list, "recalled"}, {nil, ""}} {
		v := kit.Verifier(t)
		v.Lots = c.lots
		b.page.Verifier = v
		for id := range seen {
			res := ask(b.handler, "GET", "/v1/certificates/"+id, "")
			text := readAll(t, res)
			b.described(t, "GET", "/v1/certificates/{id}", res, text)
			var held HeldBody
			must(t, json.Unmarshal([]byte(text), &held))
			if (held.Advice != nil) != (c.want != "") || held.Advice != nil && held.Advice.Reason != c.want {
				t.Errorf("advice %+v, want %q", held.Advice, c.want)
			}
			if res := ask(b.handler, "GET", "/v1/certificates/"+id+"/certificate.pdf", ""); res.StatusCode != 200 {
				t.Errorf("on paper: %d %s", res.StatusCode, readAll(t, res))
			}
		}
	}
}
