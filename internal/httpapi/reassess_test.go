package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"ampoule/coldchain"
	"ampoule/internal/access"
	"ampoule/internal/storetest"
	"ampoule/party/custody"
	"ampoule/party/issuer"
	"ampoule/thing/vaccine"
)

// warm is a refrigerator that was at 12 °C all the time.
type warm struct{}

func (warm) InEquipment(_ context.Context, _ string, from, until int64) (r custody.Readings, err error) {
	r.Gap, r.Level = coldchain.Gap, 3
	for at := from - from%900; at <= until; at += 900 {
		r.Readings = append(r.Readings, coldchain.Reading{At: at, T: 12_000})
	}
	return r, nil
}

func (w warm) ByDevice(context.Context, string, int64, int64) (custody.Readings, error) {
	return custody.Readings{}, nil
}

// TestReassessOverHTTP: two days at 12 °C are too much by another budget. It is told, by
// those who may, and held against doses only where the service's own files say the same.
func TestReassessOverHTTP(t *testing.T) {
	b := newStockBed(t)
	registry := storetest.NewKit(t, b.page.Access.Audit.(issuer.Book)).Registry
	record := storetest.Dose(1)
	record.Vaccination.Lot, record.Vaccination.Product.Code, record.Vaccination.Product.System = "SPEC-YF", "DEMO-YF-0001", "http://smart.who.int/icvp/CodeSystem/ICVPProductIds"
	o := storetest.Order("1", record)
	o.At, o.Wanted = issuer.Place(north), []issuer.Wanted{{Format: issuer.SHC}}
	_, err := registry.Issue(t.Context(), o)
	must(t, err)
	b.custody.Fridges = warm{}
	must(t, b.custody.Stock.PutLocation(t.Context(), &custody.Location{URI: stockSite, Place: custody.Place(north), Version: 2, Name: "North clinic", Country: "XA", Equipment: "fridge"}))
	budget := func(hours int) string {
		return strings.Replace(stockTable, `"doses": 10,`, fmt.Sprintf(`"doses": 10, "budget": {"bands": [{"above": 8000, "seconds": %d}], "freezeSensitive": false},`, hours*3600), 1)
	}
	in := func(table string) func() *vaccine.Catalogue {
		c, err := vaccine.Parse([]byte(table))
		must(t, err)
		return func() *vaccine.Catalogue { return c }
	}
	b.custody.Catalogue = in(budget(100))
	files, reloaded := "", error(nil)
	b.page.Stocking.Reload = func() error {
		if reloaded == nil {
			b.custody.Catalogue = in(files)
		}
		return reloaded
	}
	ask := func(table string, apply bool) (int, string, ReassessedBody) {
		t.Helper()
		body, err := json.Marshal(ReassessBody{Products: table, Apply: apply})
		must(t, err)
		res := ask(b.handler, "POST", "/v1/reassess", string(body))
		text := readAll(t, res)
		b.described(t, "POST", "/v1/reassess", res, text)
		var out ReassessedBody
		if res.StatusCode == 200 {
			must(t, json.Unmarshal([]byte(text), &out))
		}
		return res.StatusCode, text, out
	}
	b.who = &access.Principal{ID: "u-cold", Organisation: "org-a", Grants: []access.Grant{{Role: access.ColdChainManager}}}
	if code, text, out := ask(budget(100), false); code != 200 || len(out.Moves) != 0 || out.Judged != 1 {
		t.Errorf("the same: %d %s", code, text)
	}
	code, text, out := ask(budget(24), false)
	if code != 200 || len(out.Moves) != 1 || out.Moves[0].After.Concern != "heat" || out.Moves[0].Before.Concern != "" || out.Moves[0].After.Bands[0].Minutes < 47*60 || out.Moves[0].After.Bands[0].Budget != 24*60 || out.Applied {
		t.Fatalf("%d %s", code, text)
	}
	for _, w := range append(storetest.Families, storetest.Documents) {
		if strings.Contains(strings.ReplaceAll(text, "Specimen yellow fever", ""), w) {
			t.Errorf("%s stands in the answer", w)
		}
	}
	concerns := func() int {
		all, err := b.custody.Stock.Concerns(t.Context(), "")
		must(t, err)
		return len(all)
	}
	if n := concerns(); n != 0 {
		t.Errorf("%d concerns are written by asking", n)
	}

	// Applied: not at a facility, not by files that say otherwise or cannot be read.
	files = budget(100)
	if code, text, _ := ask(budget(24), true); code != 409 || !strings.Contains(text, "other-products") {
		t.Errorf("files that say otherwise: %d %s", code, text)
	}
	reloaded = errors.New("no such file")
	if code, _, _ := ask(budget(24), true); code != 409 {
		t.Errorf("files that cannot be read: %d", code)
	}
	files, reloaded = budget(24), nil
	b.who.Grants[0].Facility = "north"
	if code, _, _ := ask(budget(24), true); code != 403 {
		t.Errorf("at a facility: %d", code)
	}
	if code, _, out := ask(budget(24), false); code != 200 || len(out.Moves) != 1 {
		t.Errorf("asked at a facility: %d", code)
	}
	if n := concerns(); n != 0 {
		t.Errorf("%d concerns are written by what was refused", n)
	}
	b.who.Grants[0].Facility = ""
	if code, text, out := ask(budget(24), true); code != 200 || !out.Applied || out.Concerns != 1 || concerns() != 1 {
		t.Errorf("applied: %d %s", code, text)
	}
	if code, text, out := ask(budget(100), false); code != 200 || len(out.Moves) != 1 || out.Moves[0].After.Concern != "" {
		t.Errorf("and back: %d %s", code, text)
	}

	// No catalogue, and who may not.
	for _, table := range []string{"{", `{"vaccines": [{}]}`, "[]"} {
		if code, text, _ := ask(table, false); code != 422 {
			t.Errorf("%s: %d %s", table, code, text)
		}
	}
	b.who.Scopes = []access.Action{access.StockManage}
	if code, _, _ := ask(budget(24), false); code != 403 {
		t.Errorf("who may not follow lots: %d", code)
	}
}
