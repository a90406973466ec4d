package epcis

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// document wraps events of the tests.
func document(events ...string) string {
	return `{"@context":["` + Context + `",{"note":"https://ns.example.org/"}],"type":"EPCISDocument","schemaVersion":"2.0",
	"creationDate":"2026-11-01T08:00:00Z","epcisBody":{"eventList":[` + strings.Join(events, ",") + `]}}`
}

const shipping = `{"type":"ObjectEvent","eventTime":"2026-11-01T09:00:00.0005+02:00","eventTimeZoneOffset":"+02:00","action":"OBSERVE",
	"bizStep":"shipping","disposition":"in_transit","epcList":["urn:epc:id:sscc:9521321.0000000011"],
	"quantityList":[{"epcClass":"urn:epc:class:lgtin:9521321.012345.SPEC-1","quantity":200.50,"uom":"KGM"}],
	"readPoint":{"id":"urn:epc:id:sgln:9521321.00001.0","note:dock":"7"},
	"sourceList":[{"type":"possessing_party","source":"urn:epc:id:pgln:9521321.00001"}],
	"destinationList":[{"type":"location","destination":"https://example.org/414/9521321000018?x=1"}],
	"bizTransactionList":[{"type":"po","bizTransaction":"urn:epcglobal:cbv:bt:9521321000018:17"}],
	"sensorElementList":[{"sensorMetadata":{"startTime":"2026-11-01T07:00:00Z","deviceID":"urn:epc:id:giai:9521321.L1"},
		"sensorReport":[{"type":"Temperature","minValue":2.0,"maxValue":7.90,"uom":"CEL","exception":"ALARM_CONDITION"}]}],
	"note:text":["b","a"],"note:more":{"note:n":"007"}}`

func one(t *testing.T, text string) *Event {
	t.Helper()
	d, findings, err := Parse([]byte(text))
	if err != nil || len(findings) > 0 || len(d.Events) != 1 {
		t.Fatalf("%v, %v", findings, err)
	}
	return d.Events[0]
}

func TestParse(t *testing.T) {
	e := one(t, document(shipping))
	for _, c := range []struct{ what, got, want string }{
		{"type", string(e.Type), "ObjectEvent"}, {"action", string(e.Action), "OBSERVE"},
		{"time", e.Time.Format(time.RFC3339Nano), "2026-11-01T07:00:00.001Z"},
		{"step", e.Step, Shipping}, {"disposition", e.Disposition, InTransit},
		{"epc", e.EPCs[0], "urn:epc:id:sscc:9521321.0000000011"},
		{"class", e.Quantities[0].Class, "urn:epc:class:lgtin:9521321.012345.SPEC-1"},
		{"amount", e.Quantities[0].Amount + e.Quantities[0].Unit, "200.50KGM"},
		{"read point", e.ReadPoint, "urn:epc:id:sgln:9521321.00001.0"},
		{"source", e.Sources[0].Type, PossessingParty}, {"destination", e.Destinations[0].Type, PartyLocation},
		{"report", e.Sensors[0].Reports[0].Type + e.Sensors[0].Reports[0].Exception, Temperature + Alarm},
		{"highest", e.Sensors[0].Reports[0].High, "7.90"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %q, want %q", c.what, c.got, c.want)
		}
	}
	if v := e.Extension("https://ns.example.org/", "text"); v.Len() != 2 {
		t.Errorf("the extension has %d items", v.Len())
	}
}

// TestRefuses holds one departure from the standard in each case.
func TestRefuses(t *testing.T) {
	object := func(with string) string {
		return document(`{"type":"ObjectEvent","eventTime":"2026-11-01T09:00:00Z","eventTimeZoneOffset":"+00:00","action":"OBSERVE",` +
			`"epcList":[]` + with + `}`)
	}
	event := func(kind, with string) string {
		return document(`{"type":"` + kind + `","eventTime":"2026-11-01T09:00:00Z","eventTimeZoneOffset":"+00:00",` + with + `}`)
	}
	const at = "epcisBody.eventList[0]."
	for _, c := range []struct{ name, text, path, reason string }{
		{"no time", document(`{"type":"ObjectEvent","eventTimeZoneOffset":"+00:00","action":"ADD","epcList":[]}`), at + "eventTime", "required-missing"},
		{"time without offset", strings.Replace(object(""), "09:00:00Z", "09:00:00", 1), at + "eventTime", "bad-value"},
		{"offset", strings.Replace(object(""), "+00:00", "+15:00", 1), at + "eventTimeZoneOffset", "bad-value"},
		{"action", strings.Replace(object(""), "OBSERVE", "WATCH", 1), at + "action", "bad-value"},
		{"no action", strings.Replace(object(""), `"action":"OBSERVE",`, "", 1), at + "action", "required-missing"},
		{"unknown type", event("SomeEvent", `"action":"ADD"`), at + "type", "bad-value"},
		{"unknown step", object(`,"bizStep":"teleporting"`), at + "bizStep", "bad-value"},
		{"old word that there is not", object(`,"bizStep":"urn:epcglobal:cbv:bizstep:teleporting"`), at + "bizStep", "bad-value"},
		{"name without a prefix", object(`,"note":"x"`), at + "note", "unexpected-field"},
		{"of another type of event", object(`,"parentID":"urn:epc:id:sscc:9521321.0000000011"`), at + "parentID", "unexpected-field"},
		{"no URI", object(`,"readPoint":{"id":"dock 7"}`), at + "readPoint.id", "bad-value"},
		{"place without id", object(`,"readPoint":{}`), at + "readPoint.id", "required-missing"},
		{"quantity as text", object(`,"quantityList":[{"epcClass":"urn:x:y","quantity":"2"}]`), at + "quantityList[0].quantity", "bad-type"},
		{"unit", object(`,"quantityList":[{"epcClass":"urn:x:y","quantity":2,"uom":"kilo"}]`), at + "quantityList[0].uom", "bad-value"},
		{"quantity of nothing", object(`,"quantityList":[{"quantity":2}]`), at + "quantityList[0].epcClass", "required-missing"},
		{"twice", strings.Replace(object(""), "[]", `["urn:a:b","urn:a:b"]`, 1), at + "epcList[1]", "repeated"},
		{"source without a type", object(`,"sourceList":[{"source":"urn:a:b"}]`), at + "sourceList[0].type", "required-missing"},
		{"master data of what is not added", object(`,"ilmd":{"note:a":"b"}`), at + "ilmd", "unexpected-field"},
		{"no report", object(`,"sensorElementList":[{}]`), at + "sensorElementList[0].sensorReport", "required-missing"},
		{"report without a type", object(`,"sensorElementList":[{"sensorReport":[{"value":1}]}]`), at + "sensorElementList[0].sensorReport[0].type", "required-missing"},
		{"hexadecimal", object(`,"sensorElementList":[{"sensorReport":[{"type":"Count","hexBinaryValue":"0g"}]}]`), at + "sensorElementList[0].sensorReport[0].hexBinaryValue", "bad-value"},
		{"nothing set", object(`,"persistentDisposition":{}`), at + "persistentDisposition.set", "required-missing"},
		{"declaration without a time", object(`,"errorDeclaration":{"reason":"incorrect_data"}`), at + "errorDeclaration.declarationTime", "required-missing"},
		{"of nothing at no place", event("ObjectEvent", `"action":"OBSERVE"`), at + "epcList", "required-missing"},
		{"no children", event("AggregationEvent", `"action":"ADD","parentID":"urn:a:b"`), at + "childEPCs", "required-missing"},
		{"no parent", event("AssociationEvent", `"action":"ADD","childEPCs":["urn:a:b"]`), at + "parentID", "required-missing"},
		{"no transaction", event("TransactionEvent", `"action":"ADD","epcList":[]`), at + "bizTransactionList", "required-missing"},
		{"no output", event("TransformationEvent", `"inputEPCList":["urn:a:b"]`), at + "outputEPCList", "required-missing"},
		{"no version", strings.Replace(object(""), `"schemaVersion":"2.0",`, "", 1), "schemaVersion", "required-missing"},
		{"no context", strings.Replace(object(""), `"@context"`, `"x:context"`, 1), "@context", "required-missing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, findings, err := Parse([]byte(c.text))
			if err != nil || len(findings) != 1 || findings[0].Path != c.path || string(findings[0].Reason) != c.reason {
				t.Errorf("%v, %v", findings, err)
			}
		})
	}
	for name, text := range map[string]string{
		"no document": `[]`, "no type": `{"@context":"` + Context + `"}`, "no body": `{"@context":"x:y","type":"EPCISDocument"}`,
		"a name twice": strings.Replace(object(""), `"action"`, `"eventTime":"2026-11-01T09:00:00Z","action"`, 1),
	} {
		t.Run(name, func(t *testing.T) {
			if _, _, err := Parse([]byte(text)); err == nil {
				t.Error("it is read")
			}
		})
	}
}

// TestHash holds that the form of an event does not count for its name, and that what
// it tells does.
func TestHash(t *testing.T) {
	base := one(t, document(shipping))
	want := "eventType=ObjectEventeventTime=2026-11-01T07:00:00.001ZeventTimeZoneOffset=+02:00" +
		"epcListepc=https://id.gs1.org/00/095213210000000117" +
		"quantityListquantityElementepcClass=https://id.gs1.org/01/09521321123458/10/SPEC-1quantity=200.5uom=KGM" +
		"action=OBSERVEbizStep=" + Shipping + "disposition=" + InTransit +
		"readPointid=https://id.gs1.org/414/9521321000018{https://ns.example.org/}dock=7" +
		"sensorElementListsensorElementsensorMetadatastartTime=2026-11-01T07:00:00.000ZdeviceID=https://id.gs1.org/8004/9521321L1" +
		"sensorReporttype=" + Temperature + "exception=" + Alarm + "minValue=2maxValue=7.9uom=CEL" +
		"bizTransactionListtype=https://ref.gs1.org/cbv/BTT-pobizTransaction=urn:epcglobal:cbv:bt:9521321000018:17" +
		"destinationListtype=https://ref.gs1.org/cbv/SDT-locationdestination=https://id.gs1.org/414/9521321000018" +
		"sourceListtype=https://ref.gs1.org/cbv/SDT-possessing_partysource=https://id.gs1.org/417/9521321000018" +
		"{https://ns.example.org/}more{https://ns.example.org/}n=7{https://ns.example.org/}text=a{https://ns.example.org/}text=b"
	if diff := cmp.Diff(want, string(base.prehash())); diff != "" {
		t.Error(diff)
	}
	same := map[string][2]string{
		"offset of the time": {`"eventTime":"2026-11-01T09:00:00.0005+02:00"`, `"eventTime":"2026-11-01T07:00:00.001Z"`},
		"word as URI":        {`"bizStep":"shipping"`, `"bizStep":"https://ref.gs1.org/cbv/BizStep-shipping"`},
		"word of old":        {`"bizStep":"shipping"`, `"bizStep":"urn:epcglobal:cbv:bizstep:shipping"`},
		"word with prefix":   {`"bizStep":"shipping"`, `"bizStep":"cbv:BizStep-shipping"`},
		"key as link":        {`urn:epc:id:sscc:9521321.0000000011`, `https://example.org/some/00/095213210000000117?99=x`},
		"number":             {`200.50`, `2.005e2`},
		"order":              {`["b","a"]`, `["a","b"]`},
		"prefix":             {`"note`, `"n`},
		"name and record":    {`"type":"ObjectEvent"`, `"type":"ObjectEvent","eventID":"urn:x:y","recordTime":"2026-11-02T00:00:00Z"`},
		"comment":            {`"type":"ObjectEvent"`, `"type":"ObjectEvent","rdfs:comment":"of no importance"`},
	}
	for name, c := range same {
		t.Run("same "+name, func(t *testing.T) {
			e := one(t, strings.ReplaceAll(document(shipping), c[0], c[1]))
			if diff := cmp.Diff(string(base.prehash()), string(e.prehash())); diff != "" {
				t.Error(diff)
			}
		})
	}
	for name, c := range map[string][2]string{
		"quantity": {`200.50`, `200.51`}, "note": {`"b"`, `"c"`}, "note gone": {`["b","a"]`, `["b"]`}, "place": {`00001.0`, `00002.0`},
		"namespace": {`https://ns.example.org/`, `https://ns.example.org/v2/`}, "time zone": {`Offset":"+02:00"`, `Offset":"+01:00"`},
	} {
		t.Run("other "+name, func(t *testing.T) {
			if e := one(t, strings.ReplaceAll(document(shipping), c[0], c[1])); e.Hash() == base.Hash() {
				t.Errorf("%s has the same hash", e.prehash())
			}
		})
	}
	if id := base.HashID(); !strings.HasPrefix(id, "ni:///sha-256;") || !strings.HasSuffix(id, "?ver=CBV2.0") || len(id) != 14+64+11 {
		t.Error(id)
	}
}

func TestPlainNumber(t *testing.T) {
	for in, want := range map[string]string{
		"0": "0", "-0": "0", "+1": "1", "007": "7", "1.50": "1.5", ".5": "0.5", "1e3": "1000", "12e-3": "0.012", "1.25e1": "12.5",
		"-0.10": "-0.1", "340123451111111111": "340123451111111111", "1e-999": "0." + strings.Repeat("0", 998) + "1",
	} {
		if got := plainNumber(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

// TestKeep takes events through a repository and back: all that they told is there.
func TestKeep(t *testing.T) {
	at := time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)
	other := strings.ReplaceAll(document(shipping), "https://ns.example.org/", "https://ns.example.com/")
	first, second := one(t, document(shipping)), one(t, other)
	kept := []Kept{first.Keep("urn:x:1", at), second.Keep("urn:x:2", at)}
	d, findings, err := Parse(AppendQueryDocument(nil, at, "q", "s", kept))
	if err != nil || len(findings) > 0 {
		t.Fatalf("%v, %v", findings, err)
	}
	if d.Query != "q" || d.Subscription != "s" || len(d.Events) != 2 {
		t.Fatalf("%+v", d)
	}
	for i, want := range []*Event{first, second} {
		got := d.Events[i]
		if got.Hash() != want.Hash() {
			t.Errorf("event %d: %s", i, got.prehash())
		}
		if got.ID != fmt.Sprintf("urn:x:%d", i+1) || !got.RecordTime.Equal(at) {
			t.Errorf("event %d: %s, %v", i, got.ID, got.RecordTime)
		}
		again, err := kept[i].Event()
		if err != nil || again.Hash() != want.Hash() {
			t.Errorf("kept event %d: %v", i, err)
		}
		alone, findings, err := Parse(kept[i].AppendAlone(nil))
		if err != nil || len(findings) > 0 || alone.Events[0].Hash() != want.Hash() {
			t.Errorf("event %d alone: %v, %v", i, findings, err)
		}
		var was, is map[string]any
		if err := json.Unmarshal(want.Value().AppendJSON(nil), &was); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(kept[i].JSON, &is); err != nil {
			t.Fatal(err)
		}
		delete(is, "eventID")
		delete(is, "recordTime")
		if diff := cmp.Diff(was, is); diff != "" {
			t.Error(diff)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(document(shipping)))
	f.Add([]byte(document(`{"type":"TransformationEvent","inputEPCList":["urn:a:b"],"eventTime":"1","transformationID":"x:y"}`)))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, findings, err := Parse(data)
		if err != nil || len(findings) > 0 {
			return
		}
		for _, e := range d.Events {
			again, err := e.Keep("urn:x:y", time.Unix(0, 0)).Event()
			if err != nil {
				t.Fatalf("what was kept is not read: %v", err)
			}
			// What a document asks to leave out of the hash is told by the document alone.
			if len(e.ignored) == 0 && again.Hash() != e.Hash() {
				t.Fatalf("%s\n%s", e.prehash(), again.prehash())
			}
		}
	})
}

// BenchmarkEvent reads, checks, names and keeps an event without sensors.
func BenchmarkEvent(b *testing.B) {
	start, end := strings.Index(shipping, `"sensorElementList"`), strings.Index(shipping, `"note:text"`)
	data := []byte(document(shipping[:start] + shipping[end:]))
	b.ReportAllocs()
	for b.Loop() {
		d, findings, err := Parse(data)
		if err != nil || len(findings) > 0 {
			b.Fatal(err, findings)
		}
		e := d.Events[0]
		e.Keep(e.HashID(), e.Time)
	}
}
