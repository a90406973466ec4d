package main

import (
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ampoule/internal/keys"
	"ampoule/thing/handover"
)

// TestHandoverBetweenServices is a warehouse and a ministry, each with a service of its
// own, that know nothing of each other but their certificates. The goods leave the one and
// come to the other with two packs less; both end with one file that both signed.
func TestHandoverBetweenServices(t *testing.T) {
	onBoth(t, func(t *testing.T, ministry *box) {
		const (
			lot   = "https://id.gs1.org/01/09521321123458/10/SPEC-HAND"
			from  = "https://id.gs1.org/414/9521321000018"
			to    = "https://id.gs1.org/414/9521321000025"
			event = `{"@context":"https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld","type":"ObjectEvent","eventID":"urn:x:%s","eventTime":"2026-11-%02dT09:00:00Z","eventTimeZoneOffset":"+00:00","action":"OBSERVE","bizStep":%q,"quantityList":[{"epcClass":"` + lot + `","quantity":%d}],%s}`
		)
		warehouse := newBox(t, "")
		certificate := map[*box]string{}
		for _, s := range []*box{warehouse, ministry} {
			s.run(0, "keys", "make", "a", "--unencrypted")
			key, err := keys.Load(filepath.Join(s.dir, "a/private/dsc-any.key"), keys.Unencrypted())
			must(t, err)
			certificate[s] = filepath.Join(s.dir, "hands.pem")
			must(t, os.WriteFile(certificate[s], pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: key.Certificate().Raw}), 0o600))
		}
		for s, partner := range map[*box]string{warehouse: "ministry=" + certificate[ministry], ministry: "warehouse=" + certificate[warehouse]} {
			s.set = append(s.set, "custody.key=a/private/dsc-any.key", "custody.authority=XXA", "custody.partners="+partner)
		}
		desk := func(s *box, organisation, uri string) (*caller, *caller) {
			s.start()
			admin := s.setUpAs(organisation)
			c := admin.letIn("specimen.manager", "cold-chain-manager", "").program("custody:capture", "custody:read", "stock:manage")
			c.want(http.StatusOK, "POST", "/v1/locations", fmt.Sprintf(`{"uri":%q,"version":0,"name":"Specimen store"}`, uri))
			return admin, c
		}
		_, gives := desk(warehouse, "warehouse", from)
		admin, takes := desk(ministry, "ministry", to)
		gives.want(http.StatusCreated, "POST", "/epcis/events", fmt.Sprintf(event, "left", 1, "shipping", 60, `"readPoint":{"id":"`+from+`"},"destinationList":[{"type":"location","destination":"`+to+`"}]`))
		takes.want(http.StatusCreated, "POST", "/epcis/events", fmt.Sprintf(event, "came", 2, "receiving", 58, `"bizLocation":{"id":"`+to+`"}`))

		message := func(body map[string]any) string { return fmt.Sprintf(`{"file":%q}`, body["file"]) }
		offer := gives.want(http.StatusOK, "POST", "/v1/handovers", `{"event":"urn:x:left","receiver":"ministry"}`)
		if offer["state"] != "offered" || offer["amount"] != 60.0 {
			t.Fatalf("%v", offer)
		}
		id := offer["id"].(string)
		takes.want(http.StatusNotFound, "POST", "/v1/handovers/"+id+"/accept", `{"event":"urn:x:came"}`)
		takes.want(http.StatusOK, "POST", "/v1/handovers/messages", message(offer))
		// What was taken in is there after the machine stopped.
		ministry.kill()
		ministry.start()
		accepted := takes.want(http.StatusOK, "POST", "/v1/handovers/"+id+"/accept", `{"event":"urn:x:came"}`)
		if a := accepted["answer"].(map[string]any); accepted["state"] != "accepted" || a["amount"] != 58.0 || a["differs"] != true {
			t.Errorf("%v", accepted)
		}
		// An answer whose bytes were changed on the way is taken by nobody.
		data, err := base64.StdEncoding.DecodeString(accepted["file"].(string))
		must(t, err)
		data[len(data)-80] ^= 1
		gives.want(http.StatusUnprocessableEntity, "POST", "/v1/handovers/messages", message(map[string]any{"file": base64.StdEncoding.EncodeToString(data)}))
		gives.want(http.StatusOK, "POST", "/v1/handovers/messages", message(accepted))

		// The same by the command line: a second way of the goods, which is refused.
		gives.want(http.StatusCreated, "POST", "/epcis/events", fmt.Sprintf(event, "left-2", 3, "shipping", 10, `"readPoint":{"id":"`+from+`"},"destinationList":[{"type":"location","destination":"`+to+`"}]`))
		by := func(c *caller, code int, words ...string) string {
			t.Helper()
			token := filepath.Join(c.s.dir, "token")
			must(t, os.WriteFile(token, []byte(c.token), 0o600))
			return c.s.run(code, append(append([]string{"stock", "handover"}, words...), "--server", "http://127.0.0.1:"+c.s.port, "--token-file", token)...)
		}
		offered, refused := filepath.Join(warehouse.dir, "offer.handover"), filepath.Join(ministry.dir, "refused.handover")
		if out := by(gives, exitOK, "offer", "urn:x:left-2", "--receiver", "ministry", "-o", offered); !strings.Contains(out, "state     offered") || !strings.Contains(out, "left      10,") {
			t.Error(out)
		}
		second := strings.Fields(by(takes, exitOK, "take", offered))[1]
		by(takes, exitUndecided, "accept", id, "urn:x:came") // it is answered
		by(takes, exitUsage, "refuse", second, "no-reason")
		by(takes, exitOK, "refuse", second, "damaged", "-o", refused)
		if out := by(gives, exitOK, "take", refused); !strings.Contains(out, "refused   damaged") {
			t.Error(out)
		}
		by(gives, exitNotValid, "take", filepath.Join(warehouse.dir, "hands.pem"))

		for _, c := range []*caller{gives, takes} {
			all := c.want(http.StatusOK, "GET", "/v1/handovers", "")["items"].([]any)
			if len(all) != 2 || all[0].(map[string]any)["state"] != "refused" || all[1].(map[string]any)["file"] != accepted["file"] {
				t.Errorf("%v", all)
			}
		}
		data, err = base64.StdEncoding.DecodeString(accepted["file"].(string))
		must(t, err)
		h, err := handover.Parse(data)
		must(t, err)
		for s, verify := range map[*box]func(any) error{
			warehouse: func(pub any) error { return h.VerifyOffer(pub) }, ministry: func(pub any) error { return h.VerifyAnswer(pub) },
		} {
			list, err := readCertificates(certificate[s])
			must(t, err)
			must(t, verify(list[0].PublicKey))
		}
		audited := admin.letIn("specimen.auditor", "auditor", "").file("/v1/audit")
		for _, action := range []string{"handover-take", "handover-accept"} {
			if !strings.Contains(audited, `"action":"`+action+`"`) {
				t.Errorf("%s is not in %s", action, audited)
			}
		}
	})
}
