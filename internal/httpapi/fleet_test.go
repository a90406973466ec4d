package httpapi

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"ampoule/coldchain"
	"ampoule/device"
	"ampoule/internal/access"
	"ampoule/internal/keys"
	"ampoule/internal/store"
	"ampoule/internal/storetest"
	"ampoule/party/fleet"
	"ampoule/party/issuer"
)

// fleetBed is a service that watches one fridge at org-a, north, with an alarm.
type fleetBed struct {
	*issuingBed
	fleet     *fleet.Fleet
	book      *store.Fleet
	equipment *fleet.Equipment
	device    *fleet.Device
	alarm     fleet.Alarm
	target    *fleet.Target
}

// suppliers are those of an organisation, kept in memory.
type suppliers struct{ plans map[string]fleet.Plan }

func (s *suppliers) List(_ context.Context, organisation string) ([]SupplierSeen, error) {
	if organisation != "org-a" {
		return nil, nil
	}
	return []SupplierSeen{{ID: "u-supplier", Last: storetest.Day, Count: 1}}, nil
}

func (s *suppliers) Messages(_ context.Context, organisation, supplier, after string, limit int) ([]MessageKept, error) {
	if organisation != "org-a" || supplier != "u-supplier" {
		return nil, fleet.ErrNoDevice
	}
	return []MessageKept{{ID: "5-m" + after, Media: "application/json", Bytes: 7, Until: storetest.Day}}, nil
}

func (s *suppliers) Message(_ context.Context, by fleet.Actor, supplier, id string) ([]byte, error) {
	if by.Within.Organisation != "org-a" || supplier != "u-supplier" || !strings.Contains(id, "m") {
		return nil, fleet.ErrNoMessage
	}
	return []byte("EXAMPLE"), nil
}

func (s *suppliers) Report(_ context.Context, organisation, supplier string, now time.Time) (*fleet.Conformance, error) {
	if organisation != "org-a" || supplier != "u-supplier" {
		return nil, fleet.ErrNoDevice
	}
	c := fleet.Judge(supplier, []fleet.Transmission{{Supplier: supplier, Received: storetest.Day, Status: 200, Type: "ems"}}, now)
	return &c, nil
}

func (s *suppliers) Plan(_ context.Context, organisation string, p fleet.Plan) error {
	if organisation != "org-a" || p.Supplier != "u-supplier" {
		return fleet.ErrNoDevice
	}
	if err := p.Check(); err != nil {
		return err
	}
	s.plans[p.Supplier] = p
	return nil
}

func (s *suppliers) Clear(_ context.Context, organisation, supplier string) error {
	if organisation != "org-a" || supplier != "u-supplier" {
		return fleet.ErrNoDevice
	}
	delete(s.plans, supplier)
	return nil
}

func (s *suppliers) Planned(supplier string) (fleet.Plan, int, bool) {
	p, ok := s.plans[supplier]
	return p, 0, ok
}

func newFleetBed(t *testing.T) *fleetBed {
	t.Helper()
	master, err := keys.NewMasterKey(rand.Reader)
	must(t, err)
	book, err := store.OpenFleet(t.Context(), store.Config{Dir: t.TempDir(), Master: master, NoSync: true})
	must(t, err)
	t.Cleanup(func() { must(t, book.Close()) })
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	b := &fleetBed{book: book}
	live := new(Live)
	b.fleet = &fleet.Fleet{Book: book, Signer: signer, Now: func() time.Time { return storetest.Day.Add(30 * time.Hour) }, Log: slog.New(slog.DiscardHandler), Changed: live.Tell}
	by := fleet.Actor{ID: "u-technician", Within: fleet.Place{Organisation: "org-a", Facility: "north"}}
	terms, _ := coldchain.TermsOf("refrigerated")
	b.equipment = &fleet.Equipment{Place: by.Within, Name: "North fridge", Kind: fleet.Fridge}
	must(t, b.fleet.PutEquipment(t.Context(), by, b.equipment, terms))
	name, err := device.NewName(device.Serial, "Example/1")
	must(t, err)
	b.device = &fleet.Device{Place: by.Within, Names: []device.Name{name}, Supplier: "u-supplier"}
	must(t, b.fleet.Register(t.Context(), by, b.device))
	b.device, err = b.fleet.Move(t.Context(), by, b.device.ID, "", b.equipment.ID, storetest.Day.Unix())
	must(t, err)
	var readings []device.Reading
	for i := range 60 {
		readings = append(readings, device.Reading{At: storetest.Day.Unix() + int64(900*i), Value: 9000})
	}
	_, err = b.fleet.Ingest(t.Context(), &fleet.Delivery{Source: fleet.Source{Supplier: "u-supplier", Level: device.LevelToken}, Series: []fleet.Series{{Device: name, Sensor: "TVC", Quantity: device.Temperature, Interval: 900, Readings: readings}}})
	must(t, err)
	_, err = b.fleet.Evaluate(t.Context())
	must(t, err)
	alarms, err := book.Alarms(t.Context(), fleet.Place{}, "", "", 10)
	must(t, err)
	if len(alarms) != 1 {
		t.Fatalf("%d alarms", len(alarms))
	}
	b.alarm = alarms[0]
	b.target = &fleet.Target{Place: by.Within, Channel: "mail", Address: "someone@example.org"}
	must(t, b.fleet.SetTarget(t.Context(), by, b.target))
	b.issuingBed = newIssuingBed(t, func(p *Page) {
		p.Watching = &Watching{
			Fleet: b.fleet, Policy: access.NewPolicy(), Suppliers: &suppliers{make(map[string]fleet.Plan)}, Live: live,
			Read: func(data []byte, q FileQuestion) (*fleet.Delivery, *FileAnswer, error) {
				if string(data) != "EXAMPLE" {
					return nil, nil, errors.New("no file of a logger")
				}
				return &fleet.Delivery{Series: []fleet.Series{{Device: name, Sensor: "TVC", Quantity: device.Temperature, Readings: readings[:2]}}}, &FileAnswer{Kind: "table", Count: 2}, nil
			},
		}
	})
	return b
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// watches is the action that each operation of the cold chain asks for.
var watches = map[string]access.Action{
	"equipment": access.FleetRead, "equipmentOne": access.FleetRead, "equipmentChart": access.FleetRead, "equipmentMake": access.FleetManage, "equipmentChange": access.FleetManage,
	"devices": access.FleetRead, "device": access.FleetRead, "deviceEvidence": access.FleetRead, "deviceMake": access.FleetManage, "deviceTurn": access.FleetManage,
	"deviceMove": access.FleetManage, "deviceCorrect": access.FleetManage, "deviceCalibrate": access.FleetManage, "deviceEndorse": access.FleetManage,
	"alarms": access.FleetRead, "alarm": access.FleetRead, "alarmAcknowledge": access.AlarmAcknowledge,
	"targets": access.FleetManage, "targetMake": access.FleetManage, "targetDrop": access.FleetManage,
	"suppliers": access.FleetRead, "supplierReport": access.FleetRead, "supplierMessages": access.FleetManage, "supplierMessage": access.FleetManage, "supplierPlan": access.FleetManage, "supplierClear": access.FleetManage, "import": access.ReadingsSend,
}

// TestWatchingByRoleAndPlace asks for every operation of the cold chain as everybody:
// what the policy allows at the place is done, and nothing else is, or told of.
func TestWatchingByRoleAndPlace(t *testing.T) {
	b := newFleetBed(t)
	description := newServer(b.page).describe(http.NewServeMux())
	type operation struct{ id, method, path string }
	var operations []operation
	for _, path := range slices.Sorted(maps.Keys(description.Paths)) {
		item := description.Paths[path]
		for method, o := range map[string]*huma.Operation{"GET": item.Get, "POST": item.Post, "PUT": item.Put, "DELETE": item.Delete} {
			if o == nil {
				continue
			}
			if _, ours := watches[o.OperationID]; ours {
				operations = append(operations, operation{o.OperationID, method, path})
			}
		}
	}
	if len(operations) != len(watches) {
		t.Fatalf("%d operations are described, the table has %d", len(operations), len(watches))
	}
	places := map[string]*access.Principal{
		"at the place":          {Organisation: "org-a", Grants: []access.Grant{{Facility: "north"}}},
		"the whole":             {Organisation: "org-a", Grants: []access.Grant{{}}},
		"another facility":      {Organisation: "org-a", Grants: []access.Grant{{Facility: "south"}}},
		"another organisation":  {Organisation: "org-b", Grants: []access.Grant{{Facility: "north"}}},
		"no organisation":       {Grants: []access.Grant{{}}},
		"a token without scope": {Organisation: "org-a", Grants: []access.Grant{{Facility: "north"}}, Scopes: []access.Action{}},
	}
	n := 0
	for _, o := range operations {
		for _, role := range testedRoles() {
			for place, like := range places {
				n++
				who := *like
				who.ID, who.Grants = "u-asker", []access.Grant{{Role: role, Facility: like.Grants[0].Facility}}
				at := issuer.Place{Organisation: like.Organisation, Facility: like.Grants[0].Facility}
				id, body, header, media := "", "", []string(nil), ""
				named := strings.Contains(o.path, "{id}")
				switch {
				case strings.Contains(o.path, "/suppliers"):
					id, at.Facility = "u-supplier", "" // they have no facilities
					named = false
				case strings.Contains(o.path, "/equipment"):
					id = string(b.equipment.ID)
				case strings.Contains(o.path, "/devices"):
					id = b.device.ID.String()
				case strings.Contains(o.path, "/alarms"):
					id = string(b.alarm.ID)
				case strings.Contains(o.path, "/alarm-targets"):
					id = string(b.target.ID)
				}
				if named {
					at = north
				}
				switch o.id {
				case "equipmentMake":
					body = `{"name":"Another","kind":"fridge","profile":"frozen"}`
				case "equipmentChange":
					now, err := b.book.Equipment(t.Context(), b.equipment.ID)
					must(t, err)
					body, header = `{"name":"North fridge","kind":"fridge"}`, []string{"If-Match", etag(now.Version)}
				case "deviceMake":
					body = fmt.Sprintf(`{"names":["serial:Example/made-%d"],"claim":true}`, n)
				case "deviceTurn":
					now, err := b.book.Device(t.Context(), b.device.ID)
					must(t, err)
					body = `{"state":"suspended","reason":"maintenance"}`
					if now.State == device.Suspended {
						body = `{"state":"active"}`
					}
				case "deviceMove":
					body = fmt.Sprintf(`{"equipment":%q,"from":%d}`, b.equipment.ID, storetest.Day.Unix())
				case "deviceCorrect":
					body = `{"from":1,"until":2,"offset":3600,"why":"summer time"}`
				case "deviceEndorse":
					body = `{"form":"none"}`
				case "deviceRoster":
					body, media = fmt.Sprintf("maker,serial\nExample,roster-%d\n", n), "text/csv"
				case "deviceCalibrate":
					body = `{"at":"2026-01-01T00:00:00Z","until":"2027-01-01T00:00:00Z","by":"Example laboratory"}`
				case "alarmAcknowledge":
					body = `{"comment":"seen"}`
				case "targetMake":
					body = `{"channel":"mail","address":"other@example.org","rank":0,"quiet_from":0,"quiet_until":0}`
				case "targetDrop":
					must(t, b.book.PutTarget(t.Context(), b.target))
				case "supplierPlan":
					body = `{"from":"2026-01-01T00:00:00Z","until":"2026-01-02T00:00:00Z","faults":[{"status":503}]}`
				case "import":
					body, media = "EXAMPLE", "application/octet-stream"
				}
				if media != "" {
					header = append(header, "Content-Type", media)
				}
				allowed, _ := b.issuing.Policy.Allow(&who, watches[o.id], at)
				path := strings.ReplaceAll(o.path, "{id}", id)
				name := fmt.Sprintf("%s as %s, %s", o.id, role, place)
				b.who = nil
				if res := ask(b.handler, o.method, path, body, header...); res.StatusCode != 401 {
					t.Errorf("%s %s as nobody: %d", o.method, o.path, res.StatusCode)
				}
				b.who = &who
				res := ask(b.handler, o.method, path, body, header...)
				text := readAll(t, res)
				b.described(t, o.method, path, res, text)
				switch {
				case allowed && res.StatusCode >= 300:
					t.Errorf("%s: %d %s", name, res.StatusCode, text)
				case !allowed && res.StatusCode != 403 && res.StatusCode != 404:
					t.Errorf("%s: %d %s", name, res.StatusCode, text)
				}
				own := like.Organisation == "org-a" && like.Grants[0].Facility != "south" && like.Scopes == nil
				if !own && (strings.Contains(text, "North fridge") || strings.Contains(text, "Example/1\"")) {
					t.Errorf("%s is told of another's: %s", name, text)
				}
				if !own && named && res.StatusCode != 404 {
					t.Errorf("%s: %d tells that there is such a thing", name, res.StatusCode)
				}
			}
		}
	}
}

// TestWatching: what is refused says why, in an answer that is described.
func TestWatching(t *testing.T) {
	b := newFleetBed(t)
	b.who = &access.Principal{ID: "u-manager", Organisation: "org-a", Grants: []access.Grant{{Role: access.ColdChainManager, Facility: "north"}}}
	equipment, device := "/v1/equipment/"+string(b.equipment.ID), "/v1/devices/"+b.device.ID.String()
	for _, tt := range []struct {
		method, path, body string
		want               int
		header             []string
	}{
		{"GET", "/v1/equipment/none", "", 404, nil},
		{"GET", "/v1/devices/none", "", 404, nil},
		{"GET", "/v1/devices/2.25.1", "", 404, nil},
		{"GET", "/v1/alarms/none", "", 404, nil},
		{"GET", "/v1/alarms?state=lost", "", 422, nil},
		{"GET", "/v1/devices?cursor=x", "", 422, nil},
		{"GET", equipment + "/chart?from=20&until=10", "", 422, nil},
		{"GET", equipment + "/chart?points=1", "", 422, nil},
		{"POST", "/v1/equipment", `{"name":"x","kind":"car"}`, 422, nil},
		{"POST", "/v1/equipment", `{"name":"x\u0007","kind":"fridge"}`, 422, nil},
		{"POST", "/v1/equipment", `{"name":"x","kind":"fridge","latitude":5}`, 422, nil},
		{"POST", "/v1/equipment", `{"facility":"south","name":"x","kind":"fridge"}`, 403, nil},
		{"PUT", equipment, `{"name":"x","kind":"fridge"}`, 428, nil},
		{"PUT", equipment, `{"name":"x","kind":"fridge"}`, 412, []string{"If-Match", `"7"`}},
		{"POST", "/v1/devices", `{"names":["colour:red"]}`, 422, nil},
		{"POST", "/v1/devices", `{"names":["serial:Example/1"]}`, 422, nil},
		{"POST", device + "/state", `{"state":"claimed"}`, 422, nil},
		{"POST", device + "/state", `{"state":"suspended"}`, 422, nil},
		{"POST", device + "/stays", `{"equipment":"none","from":1}`, 404, nil},
		{"POST", device + "/corrections", `{"from":5,"until":2,"offset":1,"why":"x"}`, 422, nil},
		{"POST", device + "/calibrations", `{"at":"2026-01-02T00:00:00Z","until":"2026-01-01T00:00:00Z","by":"x"}`, 422, nil},
		{"POST", "/v1/alarms/" + string(b.alarm.ID) + "/acknowledgements", `{"comment":"` + strings.Repeat("x", 1001) + `"}`, 422, nil},
		{"POST", "/v1/alarm-targets", `{"channel":"pigeon","address":"x","rank":0,"quiet_from":0,"quiet_until":0}`, 422, nil},
		{"POST", "/v1/alarm-targets", `{"channel":"mail","address":"x@example.org","rank":0,"quiet_from":0,"quiet_until":5,"zone":"Nowhere/Here"}`, 422, nil},
		{"POST", "/v1/imports", "no such file", 422, []string{"Content-Type", "application/octet-stream"}},
		{"POST", "/v1/imports?zone=Nowhere/Here", "EXAMPLE", 422, []string{"Content-Type", "application/octet-stream"}},
		{"PUT", "/v1/suppliers/u-supplier/faults", `{"from":"2026-01-01T00:00:00Z","until":"2026-01-02T00:00:00Z","faults":[{"status":503}]}`, 403, nil},
	} {
		b.do(t, tt.method, tt.path, tt.body, tt.want, tt.header...)
	}
	_, chart := b.do(t, "GET", equipment+"/chart", "", 200)
	if lines := chart["lines"].([]any); len(lines) != 1 || len(chart["alarms"].([]any)) != 1 {
		t.Errorf("%v", chart)
	}
	_, dry := b.do(t, "POST", "/v1/imports?dry=true", "EXAMPLE", 200, "Content-Type", "application/octet-stream")
	if dry["stored"] != 0.0 || dry["count"] != 2.0 {
		t.Errorf("%v", dry)
	}
	b.do(t, "POST", "/v1/alarms/"+string(b.alarm.ID)+"/acknowledgements", `{"comment":"seen"}`, 200)
	_, a := b.do(t, "GET", "/v1/alarms/"+string(b.alarm.ID), "", 200)
	if a["version"] != 2.0 || len(a["statements"].([]any)) != 2 || a["acknowledged"].([]any)[0].(map[string]any)["by"] != "u-manager" {
		t.Errorf("%v", a)
	}
	_, at := b.do(t, "GET", "/v1/equipment", "", 200)
	if state := at["items"].([]any)[0].(map[string]any)["state"]; state != "acknowledged" {
		t.Errorf("%v", state)
	}
}

// TestEquipmentPages goes through equipment by the cursor: all of it once, each page with
// what it needs to know how its equipment stands.
func TestEquipmentPages(t *testing.T) {
	b := newFleetBed(t)
	b.who = &access.Principal{ID: "u-manager", Organisation: "org-a", Grants: []access.Grant{{Role: access.ColdChainManager, Facility: "north"}}}
	for n := range 6 {
		b.do(t, "POST", "/v1/equipment", fmt.Sprintf(`{"name":"Fridge %d","kind":"fridge"}`, 9-n), 200)
	}
	seen := map[string]int{}
	pages := 0
	for path := "/v1/equipment?facility=north&limit=3"; path != ""; pages++ {
		res, page := b.do(t, "GET", path, "", 200)
		for _, item := range page["items"].([]any) {
			e := item.(map[string]any)
			seen[e["name"].(string)]++
			if standing := e["standing"].([]any); (e["id"] == string(b.equipment.ID)) != (len(standing) == 1 && len(e["readings"].([]any)) == 1) {
				t.Errorf("%v: %d standing", e["name"], len(standing))
			}
		}
		link, next := res.Header.Get("Link"), ""
		if page["next"] != nil {
			next = link[1:strings.Index(link, ">")]
			if !strings.Contains(next, "facility=north") || !strings.Contains(next, "limit=3") || !strings.Contains(next, page["next"].(string)) {
				t.Errorf("the next page is at %s", link)
			}
		}
		path = next
	}
	if len(seen) != 7 || pages != 3 {
		t.Errorf("%v in %d pages", seen, pages)
	}
	for name, n := range seen {
		if n != 1 {
			t.Errorf("%s %d times", name, n)
		}
	}
	if _, none := b.do(t, "GET", "/v1/equipment?cursor=z", "", 200); len(none["items"].([]any)) != 0 || none["next"] != nil {
		t.Errorf("after the last: %v", none)
	}
	b.do(t, "GET", "/v1/equipment?limit=1001", "", 422)
}

// TestLive: who looks is told of what is at their place, and of nothing else.
func TestLive(t *testing.T) {
	b := newFleetBed(t)
	b.who = nil
	if res := ask(b.handler, "GET", "/v1/fleet/events", ""); res.StatusCode != 401 {
		t.Errorf("nobody: %d", res.StatusCode)
	}
	server := httptest.NewServer(b.handler)
	defer server.Close()
	b.who = &access.Principal{ID: "u-manager", Organisation: "org-a", Grants: []access.Grant{{Role: access.ColdChainManager, Facility: "north"}}}
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	r, err := http.NewRequestWithContext(ctx, "GET", server.URL+"/v1/fleet/events", nil)
	must(t, err)
	res, err := server.Client().Do(r)
	must(t, err)
	defer res.Body.Close()
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%d %s", res.StatusCode, res.Header.Get("Content-Type"))
	}
	var got []byte
	buf := make([]byte, 4096)
	read := func(until string) {
		for !bytes.Contains(got, []byte(until)) {
			n, err := res.Body.Read(buf)
			must(t, err)
			got = append(got, buf[:n]...)
		}
	}
	read("retry:")
	live := b.page.Watching.Live
	live.Tell(fleet.Change{Place: fleet.Place{Organisation: "org-b", Facility: "north"}, Equipment: "theirs"})
	live.Tell(fleet.Change{Place: fleet.Place{Organisation: "org-a", Facility: "south"}, Equipment: "south"})
	live.Tell(fleet.Change{Place: fleet.Place{Organisation: "org-a", Facility: "north"}, Equipment: "ours"})
	live.Tell(fleet.Change{Place: fleet.Place{Organisation: "org-a", Facility: "north"}, Equipment: "ours", Alarm: "a1"})
	read("a1")
	text := string(got)
	if !strings.Contains(text, "event: readings\ndata: {\"alarm\":\"\",\"equipment\":\"ours\"}") || !strings.Contains(text, "event: alarm\n") || strings.Contains(text, "theirs") || strings.Contains(text, "south") {
		t.Errorf("%q", text)
	}
}
