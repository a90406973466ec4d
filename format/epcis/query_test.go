package epcis

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ampoule/format"
)

// asked has something of everything that queries ask for.
const asked = `{"type":"ObjectEvent","eventID":"urn:x:1","eventTime":"2026-11-01T09:00:00+02:00","eventTimeZoneOffset":"+02:00","recordTime":"2026-11-02T00:00:00Z",
 "action":"ADD","bizStep":"urn:epcglobal:cbv:bizstep:commissioning","disposition":"active","persistentDisposition":{"set":["completeness_verified"],"unset":["completeness_inferred"]},
 "readPoint":{"id":"urn:epc:id:sgln:9521321.00001.0","note:gate":"7"},"bizLocation":{"id":"https://id.gs1.org/414/9521321000025"},
 "epcList":["urn:epc:id:sgtin:9521321.012345.77","https://example.org/00/095213210000000117"],
 "quantityList":[{"epcClass":"urn:epc:class:lgtin:9521321.012345.SPEC-1","quantity":200.50,"uom":"KGM"},{"epcClass":"https://id.gs1.org/01/09521321123465/10/SPEC-2","quantity":7}],
 "bizTransactionList":[{"type":"po","bizTransaction":"urn:epcglobal:cbv:bt:9521321000018:17"}],
 "sourceList":[{"type":"possessing_party","source":"urn:epc:id:pgln:9521321.00001"}],"destinationList":[{"type":"location","destination":"https://id.gs1.org/414/9521321000032"}],
 "errorDeclaration":{"declarationTime":"2026-11-03T00:00:00Z","reason":"incorrect_data","correctiveEventIDs":["urn:x:2"],"note:who":"auditor"},
 "ilmd":{"cbvmda:lotNumber":"SPEC-1","note:expiry":"2027-01-01T00:00:00Z","note:maker":{"note:site":{"note:number":12}}},
 "note:count":12.5,"note:at":"2026-11-01T00:00:00+01:00","note:tags":["red","blue"],"note:deep":{"note:er":{"note:est":"bottom"}},"note:attributed":{"note:kind":"k","plain":3},
 "sensorElementList":[{"sensorMetadata":{"time":"2026-11-01T07:00:00Z","startTime":"2026-11-01T06:00:00Z","endTime":"2026-11-01T07:00:00Z","deviceID":"urn:x:device","dataProcessingMethod":"urn:x:method","bizRules":"urn:x:rules","note:m":"meta"},
   "sensorReport":[{"type":"Temperature","value":5.50,"minValue":2,"maxValue":7.9,"meanValue":5,"sDev":0.5,"percRank":50,"percValue":5.1,"uom":"CEL","note:r":"report","microorganism":"urn:x:bug","chemicalSubstance":"urn:x:salt"},
     {"type":"RelativeHumidity","stringValue":"dry","booleanValue":false,"hexBinaryValue":"F0","uriValue":"urn:x:value"}],"note:e":"element"}]}`

// TestMatches asks one event everything: each question has an answer that it meets, and
// one that it does not.
func TestMatches(t *testing.T) {
	e := one(t, document(asked))
	for _, c := range []struct{ name, yes, no string }{
		{"eventType", `["AggregationEvent","ObjectEvent"]`, `["AggregationEvent"]`},
		{"GE_eventTime", `"2026-11-01T07:00:00Z"`, `"2026-11-01T07:00:00.001Z"`}, {"LT_eventTime", `"2026-11-01T07:00:00.001Z"`, `"2026-11-01T07:00:00Z"`},
		{"GE_recordTime", `"2026-11-02T00:00:00Z"`, `"2026-11-02T00:00:01Z"`}, {"LT_recordTime", `"2026-11-02T00:00:01Z"`, `"2026-11-02T00:00:00Z"`},
		{"EQ_action", `["ADD","DELETE"]`, `["OBSERVE"]`},
		{"EQ_bizStep", `["shipping","commissioning"]`, `["shipping"]`}, {"EQ_bizStep", `["https://ref.gs1.org/cbv/BizStep-commissioning"]`, `["urn:x:commissioning"]`},
		{"EQ_disposition", `["urn:epcglobal:cbv:disp:active"]`, `["recalled"]`},
		{"EQ_persistentDisposition_set", `["completeness_verified"]`, `["completeness_inferred"]`}, {"EQ_persistentDisposition_unset", `["completeness_inferred"]`, `["completeness_verified"]`},
		{"EQ_readPoint", `["https://id.gs1.org/414/9521321000018"]`, `["https://id.gs1.org/414/9521321000025"]`}, {"EQ_bizLocation", `["urn:epc:id:sgln:9521321.00002.0"]`, `["urn:epc:id:sgln:9521321.00002.1"]`},
		{"WD_readPoint", `["https://id.gs1.org/414/9521321000018"]`, `["urn:x:other"]`}, {"WD_bizLocation", `["https://id.gs1.org/414/9521321000025"]`, `["urn:x:other"]`},
		{"EQ_bizTransaction_po", `["urn:epcglobal:cbv:bt:9521321000018:17"]`, `["urn:x:other"]`}, {"EQ_bizTransaction_inv", ``, `["urn:epcglobal:cbv:bt:9521321000018:17"]`},
		{"EQ_source_possessing_party", `["https://id.gs1.org/417/9521321000018"]`, `["urn:x:other"]`}, {"EQ_source_owning_party", ``, `["https://id.gs1.org/417/9521321000018"]`},
		{"EQ_destination_location", `["urn:epc:id:sgln:9521321.00003.0"]`, `["urn:x:other"]`},
		{"EQ_eventID", `["urn:x:1"]`, `["urn:x:2"]`}, {"EQ_transformationID", ``, `["urn:x:1"]`},
		{"MATCH_epc", `["https://id.gs1.org/01/09521321123458/21/77"]`, `["https://id.gs1.org/01/09521321123458/21/78"]`},
		{"MATCH_epc", `["urn:epc:idpat:sgtin:9521321.012345.*"]`, `["urn:epc:idpat:sgtin:9521321.012346.*"]`}, {"MATCH_epc", `["urn:epc:idpat:sgtin:9521321.*.*"]`, `["urn:epc:idpat:sgtin:952132.*.*"]`},
		{"MATCH_epc", `["urn:epc:idpat:sscc:9521321.*"]`, `["urn:epc:idpat:sscc:9521322.*"]`}, {"MATCH_epc", `["urn:epc:idpat:sscc:*.*"]`, `["urn:epc:idpat:grai:*.*.*"]`},
		{"MATCH_anyEPC", `["urn:epc:id:sscc:9521321.0000000011"]`, `["urn:epc:id:sscc:9521321.0000000012"]`},
		{"MATCH_parentID", ``, `["urn:epc:id:sscc:9521321.0000000011"]`}, {"MATCH_inputEPC", ``, `["urn:epc:id:sscc:9521321.0000000011"]`}, {"MATCH_outputEPC", ``, `["urn:epc:id:sscc:9521321.0000000011"]`},
		{"MATCH_epcClass", `["https://id.gs1.org/01/09521321123458/10/SPEC-1"]`, `["https://id.gs1.org/01/09521321123458/10/SPEC-3"]`}, {"MATCH_epcClass", `["urn:epc:class:lgtin:9521321.012346.*"]`, `["urn:epc:class:lgtin:9521321.012347.*"]`},
		{"MATCH_anyEPCClass", `["urn:epc:class:lgtin:9521321.012345.SPEC-1"]`, `["urn:epc:class:lgtin:9521321.012345.SPEC-2"]`}, {"MATCH_inputEPCClass", ``, `["urn:epc:class:lgtin:9521321.012345.SPEC-1"]`}, {"MATCH_outputEPCClass", ``, `["urn:epc:class:lgtin:9521321.012345.SPEC-1"]`},
		{"EQ_quantity", `[7.0]`, `[8]`}, {"GT_quantity", `200`, `200.5`}, {"GE_quantity", `200.5`, `200.51`}, {"LT_quantity", `8`, `7`}, {"LE_quantity", `7`, `6.9`},
		{"EQ_quantity_KGM", `[200.5]`, `[7]`}, {"GT_quantity_KGM", `7`, `201`},
		{"EXISTS_errorDeclaration", `null`, ``}, {"GE_errorDeclarationTime", `"2026-11-03T00:00:00Z"`, `"2026-11-04T00:00:00Z"`}, {"LT_errorDeclaration_Time", `"2026-11-04T00:00:00Z"`, `"2026-11-03T00:00:00Z"`},
		{"EQ_errorReason", `["incorrect_data"]`, `["did_not_occur"]`}, {"EQ_correctiveEventID", `["urn:x:2"]`, `["urn:x:3"]`}, {"EQ_ERROR_DECLARATION_note:who", `["auditor"]`, `["other"]`}, {"EXISTS_ERROR_DECLARATION_note:who", `true`, ``},
		{"EXISTS_sensorElementList", `1`, ``}, {"GE_time", `"2026-11-01T07:00:00Z"`, `"2026-11-01T08:00:00Z"`}, {"LT_startTime", `"2026-11-01T06:00:01Z"`, `"2026-11-01T06:00:00Z"`}, {"GE_endTime", `"2026-11-01T07:00:00Z"`, `"2026-11-01T08:00:00Z"`},
		{"EQ_type", `["Temperature"]`, `["Speed"]`}, {"EQ_deviceID", `["urn:x:device"]`, `["urn:x:other"]`}, {"EQ_dataProcessingMethod", `["urn:x:method"]`, `["urn:x:other"]`}, {"EQ_bizRules", `["urn:x:rules"]`, `["urn:x:other"]`},
		{"EQ_microorganism", `["urn:x:bug"]`, `["urn:x:other"]`}, {"EQ_chemicalSubstance", `["urn:x:salt"]`, `["urn:x:other"]`}, {"EQ_stringValue", `["dry"]`, `["wet"]`}, {"EQ_booleanValue", `false`, `true`}, {"EQ_hexBinaryValue", `["f0"]`, `["f1"]`}, {"EQ_uriValue", `["urn:x:value"]`, `["urn:x:other"]`},
		{"EQ_value_CEL", `[5.5]`, `[5]`}, {"EQ_value_FAH", ``, `[5.5]`}, {"GE_minValue_CEL", `2`, `3`}, {"LT_maxValue_CEL", `8`, `7.9`}, {"GT_meanValue_CEL", `4`, `5`}, {"LE_sDev_CEL", `0.5`, `0.4`}, {"GE_percRank", `50`, `51`}, {"LT_percValue_CEL", `6`, `5`},
		{"EQ_note:count", `12.50`, `12`}, {"GT_note:count", `12`, `12.5`}, {"EQ_note:at", `"2026-10-31T23:00:00Z"`, `"2026-11-01T00:00:00Z"`}, {"LT_note:at", `"2026-11-01T00:00:00Z"`, `"2026-10-31T23:00:00Z"`}, {"EQ_note:tags", `["blue"]`, `["green"]`}, {"EXISTS_note:tags", `null`, ``}, {"EXISTS_note:none", ``, `null`},
		{"EQ_INNER_note:est", `["bottom"]`, `["top"]`}, {"EQ_note:est", ``, `["bottom"]`}, {"EXISTS_INNER_note:er", `null`, ``}, {"EXISTS_INNER_note:deep", ``, `null`},
		{"EQ_ILMD_cbvmda:lotNumber", `["SPEC-1"]`, `["SPEC-2"]`}, {"LT_ILMD_note:expiry", `"2027-02-01T00:00:00Z"`, `"2026-01-01T00:00:00Z"`}, {"EQ_INNER_ILMD_note:number", `[12]`, `[13]`}, {"EXISTS_ILMD_note:maker", `null`, ``},
		{"EQ_SENSORELEMENT_note:e", `["element"]`, `["x"]`}, {"EQ_SENSORMETADATA_note:m", `["meta"]`, `["x"]`}, {"EQ_SENSORREPORT_note:r", `["report"]`, `["x"]`}, {"EQ_readPoint_note:gate", `["7"]`, `["8"]`}, {"EXISTS_bizLocation_note:gate", ``, `null`},
		{"HASATTR_note:attributed", `["note:kind"]`, `["note:other"]`}, {"EQATTR_note:attributed_note:kind", `["k"]`, `["l"]`}, {"EQ_ATTR_note:attributed_plain", `[3.0]`, `[4]`}, {"HASATTR_note:count", ``, `["note:kind"]`},
	} {
		for text, want := range map[string]bool{c.yes: true, c.no: false} {
			if text == "" {
				continue
			}
			q, err := ParseQuery([]byte(`{"@context":[{"note":"https://ns.example.org/"}],"` + c.name + `":` + text + `}`))
			if err != nil {
				t.Errorf("%s %s: %v", c.name, text, err)
				continue
			}
			if got := q.Matches(e); got != want {
				t.Errorf("%s %s: %v", c.name, text, got)
			}
			// What an index says no to, the query says no to.
			keys := map[Key]bool{}
			for _, k := range e.Keys() {
				keys[k] = true
			}
			for _, need := range q.Needs {
				has := false
				for _, k := range need {
					has = has || keys[k]
				}
				if want && !has {
					t.Errorf("%s %s: the index does not have %v", c.name, text, need)
				}
			}
		}
	}
}

func TestParseQuery(t *testing.T) {
	for _, c := range []struct {
		text string
		want error
	}{
		{`[]`, ErrQuery}, {`{"EQ_bizStap":["shipping"]}`, ErrQuery}, {`{"bizStep":["shipping"]}`, ErrQuery}, {`{"EQ_bizStep":["shpping"]}`, ErrQuery}, {`{"EQ_bizStep":[]}`, ErrQuery}, {`{"EQ_bizStep":{"a":1}}`, ErrQuery},
		{`{"GT_eventTime":"2026-11-01T00:00:00Z"}`, ErrQuery}, {`{"GE_eventTime":"2026-11-01"}`, ErrQuery}, {`{"GE_quantity":"many"}`, ErrQuery}, {`{"GE_quantity":[1,2]}`, ErrQuery}, {`{"EQ_action":["LOOK"]}`, ErrQuery},
		{`{"GE_value_celsius":1}`, ErrQuery}, {`{"EQ_x:y":"z"}`, NoPrefix}, {`{"MATCH_epc":["no uri"]}`, ErrQuery}, {`{"MATCH_nothing":["urn:x:y"]}`, ErrQuery}, {`{"orderBy":"bizStep"}`, ErrQuery}, {`{"orderDirection":"UP"}`, ErrQuery},
		{`{"eventCountLimit":0}`, ErrQuery}, {`{"eventCountLimit":1,"maxEventCount":1}`, ErrQuery}, {`{"EXISTS_errorDeclaration":"perhaps"}`, ErrQuery}, {`{"EQ_booleanValue":"yes"}`, ErrQuery}, {`{"HASATTR_bizLocation":["urn:x:y"]}`, ErrQuery}, {`{"WD_source":["urn:x:y"]}`, ErrQuery},
		{`{"EQ_bizTransaction_nothing":["urn:x:y"]}`, ErrQuery}, {`{"GT_note:a":"text","@context":{"note":"urn:n:"}}`, ErrQuery}, {`{"EXISTS_errorDeclaration":false}`, nil}, {`{}`, nil},
	} {
		if _, err := ParseQuery([]byte(c.text)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.text, err, c.want)
		}
	}
	values, err := url.ParseQuery("EQ_bizStep=shipping|receiving&GE_eventTime=2026-11-01T00:00:00Z&EXISTS_n:tags=&orderBy=eventTime&eventCountLimit=5&EQ_eventID=urn:x:1")
	if err != nil {
		t.Fatal(err)
	}
	q, err := ParseParameters(values, Prefixes{"n": "https://ns.example.org/"})
	if err != nil {
		t.Fatal(err)
	}
	if q.OrderBy != "eventTime" || !q.Descending || q.Limit != 5 || len(q.terms) != 4 || !q.From.Equal(time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("%+v", q)
	}
	want := [][]Key{{{ByStep, Receiving}, {ByStep, Shipping}}}
	if diff := cmp.Diff(want, q.Needs); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"urn:x:1"}, q.IDs); diff != "" {
		t.Error(diff)
	}
	for text, descending := range map[string]bool{`{"orderDirection":"ASC","orderBy":"recordTime"}`: false, `{"orderBy":"recordTime","orderDirection":"ASC"}`: false, `{"orderBy":"recordTime"}`: true, `{"orderDirection":"DESC"}`: false} {
		if q, err := ParseQuery([]byte(text)); err != nil || q.Descending != descending {
			t.Errorf("%s: %v, %v", text, q, err)
		}
	}
}

func TestSchedule(t *testing.T) {
	after := time.Date(2026, 11, 20, 10, 30, 15, 500, time.UTC) // a Friday
	for _, c := range []struct {
		s    Schedule
		want string
	}{
		{Schedule{}, "2026-11-20T10:30:16Z"}, {Schedule{Second: "0"}, "2026-11-20T10:31:00Z"}, {Schedule{Second: "0", Minute: "5", Hour: "1"}, "2026-11-21T01:05:00Z"},
		{Schedule{Second: "10,[14-15],40"}, "2026-11-20T10:30:40Z"}, {Schedule{Second: "0", Minute: "0", Hour: "[8-9]", DayOfWeek: "1"}, "2026-11-23T08:00:00Z"},
		{Schedule{Second: "0", Minute: "0", Hour: "0", DayOfMonth: "29", Month: "2"}, "2028-02-29T00:00:00Z"}, {Schedule{Second: "0", Minute: "0", Hour: "0", DayOfMonth: "29", Month: "2", DayOfWeek: "7"}, "2032-02-29T00:00:00Z"},
		{Schedule{Minute: "30", Hour: "10"}, "2026-11-20T10:30:16Z"}, {Schedule{Minute: "29"}, "2026-11-20T11:29:00Z"},
	} {
		if got := c.s.Next(after).Format(time.RFC3339); got != c.want || c.s.Check() != nil {
			t.Errorf("%+v: %s, want %s", c.s, got, c.want)
		}
	}
	for _, s := range []Schedule{{Second: "60"}, {Hour: "24"}, {DayOfMonth: "0"}, {Month: "13"}, {DayOfWeek: "0"}, {Minute: "[5-1]"}, {Minute: "5-7"}, {Minute: "[5"}, {Minute: ","}, {DayOfMonth: "30", Month: "2"}, {Hour: strings.Repeat("1,", 300)}} {
		if err := s.Check(); !errors.Is(err, ErrQuery) {
			t.Errorf("%+v: %v", s, err)
		}
	}
}

func FuzzQuery(f *testing.F) {
	f.Add([]byte(`{"@context":{"note":"https://ns.example.org/"},"EQ_INNER_ILMD_note:number":[12],"MATCH_epc":["urn:epc:idpat:sgtin:*.*.*"]}`), "EQ_bizStep=shipping|receiving&WD_readPoint=urn:x:y")
	f.Add([]byte(`{"EQATTR_note:a_b":1,"GE_value_CEL":1e400}`), "EQATTR_urn:x:a_=1&LT_percRank=1e999")
	d, _, err := Parse([]byte(document(asked)))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte, address string) {
		values, _ := url.ParseQuery(address)
		one, err1 := ParseQuery(body)
		two, err2 := ParseParameters(values, nil)
		for q, err := range map[*Query]error{one: err1, two: err2} {
			if d := format.Defect(""); err != nil && !errors.As(err, &d) {
				t.Fatal(err)
			}
			if q == nil {
				continue
			}
			keys := map[Key]bool{}
			for _, k := range d.Events[0].Keys() {
				keys[k] = true
			}
			if !q.Matches(d.Events[0]) {
				continue
			}
			for _, need := range q.Needs {
				has := false
				for _, k := range need {
					has = has || keys[k]
				}
				if !has {
					t.Fatalf("the index does not have %v of an event that answers", need)
				}
			}
		}
	})
}
