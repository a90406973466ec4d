package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestGoods is a warehouse that tells its ministry's service what it sends, and asks for
// it again, after the service was killed too.
func TestGoods(t *testing.T) {
	onBoth(t, func(t *testing.T, s *box) {
		s.start()
		admin := s.setUp()
		manager := admin.letIn("specimen.manager", "cold-chain-manager", "")
		warehouse := manager.program("custody:capture", "custody:read", "stock:manage")
		const depot = "https://id.gs1.org/414/9521321000018"
		warehouse.want(http.StatusOK, "POST", "/v1/locations", `{"uri":"`+depot+`","version":0,"name":"Specimen depot"}`)
		event := func(id, step, more string) string {
			return fmt.Sprintf(`{"type":"ObjectEvent","eventID":"urn:x:%s","eventTime":"2026-11-01T09:00:00Z","eventTimeZoneOffset":"+00:00","action":"OBSERVE","bizStep":%q,"readPoint":{"id":"urn:epc:id:sgln:9521321.00001.0"},"epcList":["urn:epc:id:sscc:9521321.0000000011"]%s}`, id, step, more)
		}
		document := func(events ...string) string {
			return `{"@context":"https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld","type":"EPCISDocument","schemaVersion":"2.0","creationDate":"2026-11-01T10:00:00Z","epcisBody":{"eventList":[` + strings.Join(events, ",") + `]}}`
		}
		res, text, err := warehouse.ask("POST", "/epcis/capture", document(event("1", "storing", ""), event("2", "shipping", "")))
		if err != nil || res.StatusCode != http.StatusAccepted {
			t.Fatal(err, res, text)
		}
		// Whoever was answered has it on the disk.
		job := res.Header.Get("Location")
		s.kill()
		s.start()
		if done := warehouse.want(http.StatusOK, "GET", job, ""); done["success"] != true || done["running"] != false {
			t.Errorf("%v", done)
		}
		found := warehouse.file("/epcis/events?EQ_bizStep=shipping&MATCH_epc=https://id.gs1.org/00/095213210000000117")
		if !strings.Contains(found, "urn:x:2") || strings.Contains(found, "urn:x:1") {
			t.Error(found)
		}
		warehouse.want(http.StatusCreated, "POST", "/epcis/queries", `{"name":"shipped","query":{"EQ_bizStep":["shipping"]}}`)
		warehouse.want(http.StatusCreated, "POST", "/epcis/queries/shipped/subscriptions", `{"dest":"https://127.0.0.1:1/in","signatureToken":"SPECIMEN-token-0123456789","stream":true}`)
		warehouse.want(http.StatusAccepted, "POST", "/epcis/capture", document(event("3", "shipping", "")))
		// It is sent by the client that goes to no address of this machine.
		for deadline := time.Now().Add(20 * time.Second); !strings.Contains(s.log.String(), "address-refused"); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("no report was refused: %s", s.log.String())
			}
		}
		// A technician has no business here, and neither has nobody.
		admin.letIn("specimen.technician", "technician", "").want(http.StatusForbidden, "GET", "/epcis/events", "")
		s.caller().want(http.StatusUnauthorized, "GET", "/epcis/events", "")
		// Products as they would be are held against what is in stock, by who may.
		file := func(name, content string) string {
			path := filepath.Join(s.dir, name)
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			return path
		}
		reassess := []string{"reassess", "--server", "http://127.0.0.1:" + s.port, "--products", file("would.json", demoProducts)}
		may := append(reassess[:5:5], "--token-file", file("may", manager.program("stock:manage", "trace:read").token))
		if out := s.run(exitOK, may...); !strings.Contains(out, "0 lots at places were assessed by both, 0 move") {
			t.Error(out)
		}
		if out := s.run(exitUndecided, append(may, "--apply")...); !strings.Contains(out, "other-products") {
			t.Error(out)
		}
		if out := s.run(exitNotValid, append(reassess, "--token-file", file("may-not", warehouse.token))...); !strings.Contains(out, "not-allowed") {
			t.Error(out)
		}
		audited := admin.letIn("specimen.auditor", "auditor", "").file("/v1/audit")
		if !strings.Contains(audited, `"action":"events-read"`) || !strings.Contains(audited, "EQ_bizStep=shipping") {
			t.Error(audited)
		}
	})
}
