package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ampoule/format/epcis"
	"ampoule/internal/storetest"
)

// TestThread is a clinic whose refrigerator freezes on one day: from the certificate of a
// dose that was given later the thread leads to the readings, and is checked without the
// service, under its authority and the policy of its ledger. What was changed is found.
func TestThread(t *testing.T) {
	if testing.Short() {
		t.Skip("certificates by the hundred")
	}
	onBoth(t, func(t *testing.T, s *box) {
		const (
			works  = "https://id.gs1.org/414/9521321000018"
			clinic = "https://id.gs1.org/414/9521321000032"
			spot   = clinic + "/254/1"
			gtin   = "https://id.gs1.org/01/09521321123458/10/"
		)
		write := func(name string, data []byte) {
			t.Helper()
			if err := os.WriteFile(filepath.Join(s.dir, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write("products.json", []byte(`{"vaccines": [{"name": "Specimen vaccine", "form": "liquid", "storage": "refrigerated", "freeze": "harmed", "doses": 10,
			"codes": [{"code": "09521321123458", "system": "https://id.gs1.org/01"}, {"code": "EU/1/20/1528", "system": "https://ec.europa.eu/health/documents/community-register/html/"}],
			"budget": {"bands": [{"above": 8000, "seconds": 172800}], "freezeSensitive": true}}]}`))
		s.run(0, "keys", "make", "root", "--kind", "bundle-root", "--unencrypted")
		s.ledgerNodeOf("ledger")

		// Step 1: a service with a ledger, a refrigerator and its logger.
		d := newDepot(s)
		if said := s.run(0, "node", "issuer", "ledger", "--notary", s.url(""), "--unencrypted"); !strings.Contains(said, "cosigned") {
			t.Fatal(said)
		}
		s.stop()
		s.start()
		admin := s.caller()
		admin.want(http.StatusSeeOther, "POST", "/login", url.Values{"login": {"specimen.administrator"}, "password": {"correct specimen battery"}}.Encode())
		supervisor := admin.letIn("specimen.supervisor", "supervisor", "")
		fridge := d.fridge("fridge")
		logger, _ := d.logger("giai:9521321L1", fridge, false)
		first := time.Now().AddDate(0, 0, -30).UTC().Truncate(24 * time.Hour)
		for day := range 30 {
			var records []string
			for n := range 96 {
				r := 5.0
				if day == 5 && n < 20 {
					r = -2.5
				}
				records = append(records, fmt.Sprintf(`{"n":"urn:oid:%s/TVC","u":"Cel","t":%d,"v":%g}`, logger, first.AddDate(0, 0, day).Unix()+int64(n)*900, r))
			}
			body := "[" + strings.Join(records, ",") + "]"
			if status, said, _, err := d.post("/senml", "application/senml+json", []byte(body)); err != nil || status >= 300 {
				t.Fatal(status, said, err)
			}
		}

		// Step 2: two lots come to the clinic, and into the refrigerator.
		d.manager.want(http.StatusOK, "POST", "/v1/locations", `{"uri":"`+clinic+`","version":0,"name":"Specimen clinic","country":"XA","facility":"north"}`)
		d.manager.want(http.StatusOK, "POST", "/v1/locations", `{"uri":"`+spot+`","version":0,"name":"fridge","within":"`+clinic+`","equipment":"`+fridge+`","facility":"north"}`)
		warehouse := d.manager.program("custody:capture", "custody:read", "trace:read")
		var events []string
		for i, l := range []string{gtin + storetest.Lots, gtin + "OTHER-LOT"} {
			for k, e := range []struct{ action, step, rest string }{
				{"ADD", "commissioning", `"bizLocation":{"id":"` + works + `"}`},
				{"OBSERVE", "shipping", `"readPoint":{"id":"` + works + `"},"destinationList":[{"type":"location","destination":"` + clinic + `"}]`},
				{"OBSERVE", "receiving", `"bizLocation":{"id":"` + clinic + `"}`},
				{"OBSERVE", "storing", `"bizLocation":{"id":"` + spot + `"}`},
			} {
				events = append(events, fmt.Sprintf(`{"type":"ObjectEvent","eventID":"urn:x:%d:%d","eventTime":%q,"eventTimeZoneOffset":"+00:00","action":%q,"bizStep":%q,"quantityList":[{"epcClass":%q,"quantity":20}],%s}`,
					i, k, first.Add(time.Duration(k)*time.Hour).Format(time.RFC3339), e.action, e.step, l, e.rest))
			}
		}
		warehouse.want(http.StatusAccepted, "POST", "/epcis/capture", `{"@context":"`+epcis.Context+`","type":"EPCISDocument","schemaVersion":"2.0","creationDate":"2026-11-01T10:00:00Z","epcisBody":{"eventList":[`+strings.Join(events, ",")+`]}}`)

		// Step 3: certificates of doses that were given after the frost, in the ledger.
		held := supervisor.issueBatch(0)
		s.stop() // a batch that is full is closed at the start, or within the minute
		s.start()
		supervisor.untilLogged(held["id"].(string))
		codes := textsOf(held)
		write("code.txt", []byte(codes["eu-dcc"]))
		write("other.txt", []byte(textsOf(supervisor.want(http.StatusCreated, "POST", "/v1/certificates", s.orderOf(90, 2, "facility", "north")))["eu-dcc"]))
		policy, err := os.ReadFile(filepath.Join(s.dir, "ledger", "policy"))
		if err != nil {
			t.Fatal(err)
		}
		write("policy", policy)
		tracer := supervisor.program("trace:read")
		write("token", []byte(tracer.token+"\n"))
		ask := func(code int, words ...string) string {
			t.Helper()
			return s.run(code, append([]string{"trace", "--server", s.url(""), "--token-file", "token"}, words...)...)
		}
		said := ask(0, "code.txt", "-o", "dose.thread")
		for _, want := range []string{"Specimen vaccine", "Specimen clinic, fridge", "readings of -2.5 to 5 °C", "freeze", "certificate", "logged", "leg 3"} {
			if !strings.Contains(said, want) {
				t.Errorf("%q is not told: %s", want, said)
			}
		}
		for _, w := range append(storetest.Families[1:], codes["eu-dcc"]) {
			if strings.Contains(said, w) {
				t.Error("somebody is named")
			}
		}
		ask(0, codes["eu-dcc"], "--json")
		ask(0, "--record", held["id"].(string))
		ask(0, "--lot", "OTHER-LOT", "-o", "other.thread")
		ask(1, "--lot", "NO-SUCH-LOT")
		ask(80, "--lot", "A", "--record", "B")
		ask(80)

		// Step 4: the service is gone, and the file stands.
		s.stop()
		verify := func(code int, file string, words ...string) string {
			t.Helper()
			return s.run(code, append([]string{"trace", "verify", file}, words...)...)
		}
		ca := []string{"--ca", filepath.Join(s.store(), "devices", "authority.pem")}
		all := append(ca, "--policy", "policy", "--code", "code.txt")
		if said := verify(0, "dose.thread", all...); !strings.Contains(said, "certificate  pass     logged") || !strings.Contains(said, "assessment   pass     follows: freeze") || !strings.Contains(said, "code         pass     same") {
			t.Error(said)
		}
		verify(0, "dose.thread", append(all, "--json")...)
		verify(0, "other.thread", ca...)
		verify(2, "dose.thread", "--policy", "policy")
		verify(1, "dose.thread", append(ca, "--code", "other.txt")...)
		verify(1, "other.thread", append(ca, "--code", "code.txt")...)
		verify(1, "dose.thread", append(ca, "--at", "2020-01-01T00:00:00Z")...)
		verify(1, "code.txt", ca...)
		verify(80, "nothing", ca...)
		verify(80, "dose.thread", "--ca", "code.txt")
		file, err := os.ReadFile(filepath.Join(s.dir, "dose.thread"))
		if err != nil {
			t.Fatal(err)
		}
		for i := 5; i < len(file); i += len(file) / 40 {
			changed := bytes.Clone(file)
			changed[i] ^= 1
			write("changed.thread", changed)
			verify(1, "changed.thread", ca...)
		}
		t.Logf("%d bytes", len(file))
	}, "ledger.dir=ledger", "publish.key=root/private/bundle-root.key", "fingerprints.full=64", "custody.products=products.json")
}
