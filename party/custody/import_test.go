package custody_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ampoule/party/custody"
	"ampoule/thing/trail"
)

const stockMap = `{
 "products": {"IPV10": {"code": "09521321123458", "system": "https://id.gs1.org/01"}, "opt-ipv": {"code": "09521321123458", "system": "https://id.gs1.org/01"}},
 "locations": {"N01": "` + north + `", "S01": "` + south + `", "OuNorth0001": "` + north + `", "store-north": "` + north + `"},
 "elements": {"DeStockIPV1": {"product": {"code": "09521321123458", "system": "https://id.gs1.org/01"}, "lot": "SPEC-IPV", "expiry": "2027-06-30", "kind": "stock"},
   "DeWasteIPV1.CocLot00001": {"product": {"code": "09521321123458", "system": "https://id.gs1.org/01"}, "lot": "SPEC-IPV", "kind": "wasted"}},
 "tracker": {"product": "DeProduct01", "lot": "DeLot000001", "expiry": "DeExpiry001", "quantity": "DeQuantity1", "kind": "DeKind00001", "kinds": {"REC": "received", "USE": "given"}},
 "at": "2026-11-20", "zone": "Africa/Accra"}`

func readMap(t *testing.T, text string) *custody.StockMap {
	t.Helper()
	m, err := custody.ParseStockMap([]byte(text))
	must(t, err)
	return m
}

// said is a row in a few words.
func said(rows []custody.StockRow) (out []string) {
	for _, r := range rows {
		out = append(out, fmt.Sprintf("%d %s %s %s %s %d %s>%s", r.Line, r.Kind, r.Product.Code, r.Lot, r.Expiry, r.Amount, r.At.UTC().Format("0102T15"), strings.TrimPrefix(r.Place, "https://id.gs1.org/414/952132100")))
	}
	return out
}

// The files are made by the project, in the form that the documentation and the sources
// of each system give.
func TestReadStock(t *testing.T) {
	for _, c := range []struct {
		name, file string
		rows       []string
		faults     []custody.StockFault
	}{
		{"table", "Kind;Product code;Batch;Expiry date;Facility;Quantity;Date;To\n" +
			"received;IPV10;SPEC-IPV;2027-06-30;N01;50;2026-11-05;\n" +
			"issued;IPV10;SPEC-IPV;;N01;10;2026-11-05;S01\n\n" +
			"perdu;IPV10;SPEC-IPV;;N01;2;2026-11-06T10:00:00+02:00;\n",
			[]string{"2 received 09521321123458 SPEC-IPV 2027-06-30 50 1105T08>0032", "3 issued 09521321123458 SPEC-IPV  10 1105T12>0032", "5 wasted 09521321123458 SPEC-IPV  2 1106T08>0032"}, nil},
		{"table by GTIN, with addresses", "\ufeffgtin,lot,facility,quantity\n09521321123458,SPEC-IPV," + north + ",40\n",
			[]string{"2 stock 09521321123458 SPEC-IPV  40 1120T20>0032"}, nil},
		{"faults of rows", "kind,product,lot,facility,quantity,date,expiry\n" +
			"lost,IPV10,A1,N01,1,2026-11-05,\nstock,XYZ,A1,N01,1,2026-11-05,\nstock,IPV10,--,N01,1,2026-11-05,\nstock,IPV10,A1,N09,1,2026-11-05,\n" +
			"stock,IPV10,A1,N01,-1,2026-11-05,\nstock,IPV10,A1,N01,1.5,2026-11-05,\nstock,IPV10,A1,N01,1,5/11/2026,\nstock,IPV10,A1,N01,1,2026-11-05,06/2027\nissued,IPV10,A1,N01,0,2026-11-05,\nstock,IPV10,A1,N01,1,2026-11-05,,x\n",
			nil, []custody.StockFault{{2, "kind", "bad-code"}, {3, "product", "not-in-the-map"}, {4, "lot", "bad-lot"}, {5, "facility", "not-in-the-map"}, {6, "quantity", "bad-value"},
				{7, "quantity", "bad-value"}, {8, "date", "bad-date"}, {9, "expiry", "bad-date"}, {10, "quantity", "bad-value"}, {11, "", "not-to-be-carried"}}},
		{"rows that are one", "kind,product,lot,facility,quantity,date,paper\n" +
			"issued,IPV10,A1,N01,5,2026-11-05,\nissued,IPV10,A1,N01,5,2026-11-05,\nissued,IPV10,A1,N01,5,2026-11-05,D 7\nstock,IPV10,A1,N01,5,2026-11-05,\nstock,IPV10,A1,N01,5,2026-11-05,\nstock,IPV10,A1,N01,6,2026-11-05,\n",
			[]string{"2 issued 09521321123458 A1  5 1105T12>0032", "4 issued 09521321123458 A1  5 1105T12>0032", "5 stock 09521321123458 A1  5 1105T20>0032"},
			[]custody.StockFault{{3, "", "same-as-another-row"}, {7, "quantity", "two-counts-of-one-time"}}},
		{"DHIS2 data values", `{"dataSet":"DsStock0001","completeDate":"2026-12-01","period":"202611","orgUnit":"OuNorth0001","dataValues":[
			{"dataElement":"DeStockIPV1","categoryOptionCombo":"HllvX50cXC0","attributeOptionCombo":"HllvX50cXC0","value":"40","storedBy":"specimen","followup":false},
			{"dataElement":"DeWasteIPV1","period":"2026W45","orgUnit":"OuNorth0001","categoryOptionCombo":"CocLot00001","value":"3"},
			{"dataElement":"DeOther0001","value":"many"},
			{"dataElement":"DeStockIPV1","period":"202613","value":"1"},
			{"dataElement":"DeStockIPV1","orgUnit":"OuNowhere01","value":"1"}]}`,
			[]string{"1 stock 09521321123458 SPEC-IPV 2027-06-30 40 1130T20>0032", "2 wasted 09521321123458 SPEC-IPV  3 1108T16>0032"},
			[]custody.StockFault{{4, "period", "bad-period"}, {5, "facility", "not-in-the-map"}}},
		{"DHIS2 events", `{"pager":{"page":1},"events":[
			{"event":"EvRec000001","status":"COMPLETED","program":"P","programStage":"S","orgUnit":"OuNorth0001","occurredAt":"2026-11-05T09:30:00.000","dataValues":[
			 {"dataElement":"DeProduct01","value":"opt-ipv"},{"dataElement":"DeLot000001","value":"SPEC-IPV"},{"dataElement":"DeExpiry001","value":"2027-06-30"},{"dataElement":"DeQuantity1","value":"50"},{"dataElement":"DeKind00001","value":"REC"}]},
			{"event":"EvPlan00001","status":"SCHEDULE","orgUnit":"OuNorth0001","dataValues":[]},
			{"event":"EvOdd000001","status":"ACTIVE","orgUnit":"OuNorth0001","occurredAt":"2026-11-05T09:30:00.000","dataValues":[{"dataElement":"DeProduct01","value":"opt-ipv"},{"dataElement":"DeLot000001","value":"A"},{"dataElement":"DeQuantity1","value":"1"},{"dataElement":"DeKind00001","value":"???"}]}]}`,
			[]string{"1 received 09521321123458 SPEC-IPV 2027-06-30 50 1105T09>0032"}, []custody.StockFault{{3, "kind", "bad-code"}}},
		{"OpenLMIS stock cards", `[{"id":"c1","stockOnHand":45,"facility":{"id":"f1","code":"N01","name":"North"},"program":{"code":"EPI"},
			"orderable":{"id":"o1","productCode":"IPV10"},"lot":{"id":"l1","lotCode":"SPEC-IPV","expirationDate":"2027-06-30","tradeItemId":"t1"},
			"lineItems":[{"id":"i1","occurredDate":"2026-11-05","quantity":50,"stockOnHand":50,"source":{"name":"Depot"}},
			 {"id":"i2","occurredDate":"2026-11-06","quantity":3,"stockOnHand":47,"reason":{"name":"Damage","reasonType":"DEBIT"}},
			 {"id":"i3","occurredDate":"2026-11-06","quantity":2,"stockOnHand":45}]},
			{"facility":{"code":"N01"},"orderable":{"productCode":"GAS"},"lineItems":[{"occurredDate":"2026-11-06","stockOnHand":1}]}]`,
			[]string{"1 stock 09521321123458 SPEC-IPV 2027-06-30 50 1105T20>0032", "3 stock 09521321123458 SPEC-IPV 2027-06-30 45 1106T20>0032"},
			[]custody.StockFault{{4, "product", "not-in-the-map"}}},
		{"open mSupply stock lines", `{"data":{"stockLines":{"__typename":"StockLineConnector","totalCount":3,"nodes":[
			{"id":"s1","batch":"SPEC-IPV","expiryDate":"2027-06-30","packSize":10,"totalNumberOfPacks":4,"availableNumberOfPacks":4,"storeId":"store-north","item":{"code":"IPV10","name":"IPV","unitName":"vial"}},
			{"id":"s2","batch":"SPEC-IPV","expiryDate":"2027-06-30","packSize":1,"totalNumberOfPacks":2,"storeId":"store-north","item":{"code":"IPV10"}},
			{"id":"s3","batch":"SPEC-IPV","packSize":3,"totalNumberOfPacks":0.5,"storeId":"store-north","item":{"code":"IPV10"}}]}}}`,
			[]string{"1 stock 09521321123458 SPEC-IPV 2027-06-30 42 1120T20>0032"}, []custody.StockFault{{3, "quantity", "bad-value"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			rows, faults, err := custody.ReadStock([]byte(c.file), readMap(t, stockMap))
			must(t, err)
			if diff := cmp.Diff(c.rows, said(rows)); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(c.faults, faults); diff != "" {
				t.Error(diff)
			}
		})
	}
	for file, want := range map[string]error{
		"": custody.ErrImport, "a,b\n1,2\n": custody.ErrHeader, "lot,batch,quantity\n": custody.ErrColumnTwice, "lot,product\n": custody.ErrImport, "lot,quantity\n\"A,1\n": custody.ErrImport,
		`{"a":1}`: custody.ErrImport, `{"a":1,"a":2}`: nil, `[{"lot":{}}]`: custody.ErrImport, "lot,quantity\nA\x00,1\n": custody.ErrImport, "lot,quantity\n\xff,1\n": custody.ErrImport,
		"lot,quantity\n" + strings.Repeat("A,1\n", 10_001): custody.ErrImportSize, strings.Repeat(" ", custody.MaxImport+1): custody.ErrImportSize,
	} {
		if _, _, err := custody.ReadStock([]byte(file), readMap(t, stockMap)); err == nil || want != nil && !errors.Is(err, want) {
			t.Errorf("%.40q: %v, want %v", file, err, want)
		}
	}
	for _, bad := range []string{`{"unknown":1}`, `{"locations":{"N":"north"}}`, `{"products":{"A":{"code":"1"}}}`, `{"at":"today"}`, `{"zone":"Nowhere/Else"}`, `{"zone":"Local"}`,
		`{"elements":{"A":{"product":{"code":"1","system":"s"},"lot":"","kind":"stock"}}}`, `{"tracker":{"lot":"a"}}`, `{"tracker":{"lot":"a","product":"b","quantity":"c","kinds":{"x":"y"}}}`} {
		if _, err := custody.ParseStockMap([]byte(bad)); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}

// TestImport: what is imported is what is known of the lot; the same file once more adds
// nothing, and another's place is refused.
func TestImport(t *testing.T) {
	k := newKit(t)
	by := custody.Actor{ID: "account", Within: custody.Place{Organisation: "moh"}}
	file := []byte("kind,product,lot,expiry,facility,quantity,date,other\n" +
		"received,IPV10,SPEC-IPV,2027-06-30,N01,50,2026-11-05,S01\nissued,IPV10,SPEC-IPV,,N01,10,2026-11-06,S01\nwasted,IPV10,SPEC-IPV,,N01,2,2026-11-07,\ngiven,IPV10,SPEC-IPV,,N01,8,2026-11-07,\nstock,IPV10,SPEC-IPV,,N01,29,2026-11-08,\n")
	for _, added := range []int{5, 0} {
		got, err := k.Import(t.Context(), by, file, readMap(t, stockMap), false)
		must(t, err)
		if got.Rows != 5 || got.Added != added || len(got.Faults) > 0 {
			t.Errorf("%+v", got)
		}
	}
	trace, err := k.Trail(t.Context(), ipvLot)
	must(t, err)
	if b := trace.Places[north]; b.Here != 290 || b.Given != 80 || b.Gone != 20 /* in doses, ten to a vial */ {
		t.Errorf("at the clinic: %+v", b)
	}
	if len(trace.Imbalances) != 1 || trace.Imbalances[0].Kind != trail.Miscounted || trace.Imbalances[0].Expected != 300 {
		t.Errorf("the vial that is missing: %+v", trace.Imbalances)
	}

	// One row that cannot be read keeps all out, unless they are to proceed.
	k.now = k.now.Add(time.Hour)
	bad := []byte("kind,product,lot,facility,quantity,date\nstock,IPV10,SPEC-IPV,N01,28,2026-11-09\nstock,IPV10,SPEC-IPV,N09,28,2026-11-09\n")
	for _, c := range []struct {
		proceed bool
		added   int
	}{{false, 0}, {true, 1}} {
		got, err := k.Import(t.Context(), by, bad, readMap(t, stockMap), c.proceed)
		must(t, err)
		if got.Added != c.added || len(got.Faults) != 1 || got.Faults[0].Line != 3 {
			t.Errorf("%+v", got)
		}
	}

	// Somebody of the works says nothing of a clinic.
	stranger := custody.Actor{ID: "stranger", Within: custody.Place{Organisation: "works"}}
	got, err := k.Import(t.Context(), stranger, file, readMap(t, stockMap), true)
	must(t, err)
	if got.Added != 0 || len(got.Faults) != 5 || got.Faults[0].Reason != custody.ErrNotYours || got.Faults[4].Line != 6 {
		t.Errorf("%+v", got)
	}
}

func FuzzReadStock(f *testing.F) {
	f.Add([]byte("kind;product;lot;facility;quantity;date\nstock;IPV10;A;N01;1;2026-11-05\n"))
	f.Add([]byte(`{"period":"2026W45","orgUnit":"OuNorth0001","dataValues":[{"dataElement":"DeStockIPV1","value":"1"}]}`))
	f.Add([]byte(`{"events":[{"orgUnit":"OuNorth0001","occurredAt":"2026-11-05","dataValues":[{"dataElement":"DeLot000001","value":"A"}]}]}`))
	f.Add([]byte(`[{"facility":{"code":"N01"},"orderable":{"productCode":"IPV10"},"lot":{"lotCode":"A"},"lineItems":[{"occurredDate":"2026-11-05","stockOnHand":1}]}]`))
	f.Add([]byte(`{"data":{"stockLines":{"nodes":[{"batch":"A","packSize":1,"totalNumberOfPacks":1e300,"storeId":"store-north","item":{"code":"IPV10"}}]}}}`))
	m, err := custody.ParseStockMap([]byte(stockMap))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		rows, faults, err := custody.ReadStock(data, m)
		if err != nil {
			return
		}
		for _, r := range rows {
			if r.Product.Code == "" || r.Place == "" || r.Amount < 0 || r.At.IsZero() {
				t.Errorf("%+v", r)
			}
		}
		for _, x := range faults {
			if x.Line < 1 || x.Reason == "" {
				t.Errorf("%+v", x)
			}
		}
	})
}

func FuzzStockMap(f *testing.F) {
	f.Add([]byte(stockMap))
	f.Fuzz(func(_ *testing.T, data []byte) { _, _ = custody.ParseStockMap(data) })
}
