package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ampoule/internal/control"
)

// TestCompromise: a signing key leaks. It is stopped, what hangs on it is signed anew
// or revoked, and a verifier with the next bundle knows, the service's restart after
// it included.
func TestCompromise(t *testing.T) {
	onBoth(t, func(t *testing.T, s *box) {
		s.run(0, "keys", "make", "root", "--kind", "bundle-root", "--unencrypted")
		s.start()
		supervisor := s.setUp().letIn("specimen.supervisor", "supervisor", "")
		var issued []map[string]any
		for n := range 12 {
			issued = append(issued, supervisor.want(http.StatusCreated, "POST", "/v1/certificates", s.orderOf(n, 1, "facility", "north")))
		}
		before := s.fetch(supervisor, "before.cbor", "")
		kid := issued[0]["certificates"].([]any)[0].(map[string]any)["kid"].(string)

		said := s.operate(0, "keys", "compromise", kid)
		if !strings.Contains(said, "a key of this service, 12 records in force hang on it") {
			t.Errorf("%s", said)
		}
		s.operate(2, "keys", "compromise", kid, "--reissue", "--agreed", "11")
		if said := s.operate(2, "keys", "compromise", kid, "--reissue", "--agreed", "12"); !strings.Contains(said, "no other key can sign") {
			t.Errorf("%s", said)
		}
		signing := filepath.Join("store", "keys")
		s.run(0, "keys", "signer", "--unencrypted", "--sca", filepath.Join("store", "authority", "private", "sca.key"), "--out", filepath.Join(signing, "next.key"))

		var done control.Compromised
		if err := json.Unmarshal([]byte(s.operate(0, "keys", "compromise", kid, "--reissue", "--agreed", "12", "--json")), &done); err != nil {
			t.Fatal(err)
		}
		if done.Reissued != 24 || done.Left != 0 || done.Serial == 0 || done.Told < done.Stopped {
			t.Errorf("%+v", done)
		}
		t.Logf("stopped after %.2f s, 24 certificates reissued after %.2f s, told after %.2f s", done.Stopped, done.Done, done.Told)
		if _, err := os.Stat(filepath.Join(s.dir, "store", "keys", "compromised", kid+".key")); err != nil {
			t.Error(err)
		}

		check := func(when string) {
			t.Helper()
			for n, record := range issued {
				now := supervisor.want(http.StatusOK, "GET", "/v1/certificates/"+record["id"].(string), "")
				for _, kind := range []string{"eu-dcc", "shc"} {
					name := fmt.Sprintf("%s-%d.txt", kind, n)
					if err := os.WriteFile(filepath.Join(s.dir, "old-"+name), []byte(textsOf(record)[kind]), 0o600); err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(filepath.Join(s.dir, "new-"+name), []byte(textsOf(now)[kind]), 0o600); err != nil {
						t.Fatal(err)
					}
					if said := s.run(1, "verify", "--bundle", "after.cbor", "--root", "root/bundle-root.pem", "old-"+name); !strings.Contains(said, "outcome: unknown-issuer") {
						t.Errorf("%s, the old %s: %s", when, name, said)
					}
					s.run(0, "verify", "--bundle", "after.cbor", "--root", "root/bundle-root.pem", "new-"+name)
				}
			}
		}
		s.fetch(supervisor, "after.cbor", before)
		check("at once")
		s.stop()
		s.start()
		if said := s.operate(0, "keys", "compromise", kid); !strings.Contains(said, "no key of this service, 0 records") {
			t.Errorf("after a restart: %s", said)
		}

		// The next one leaks, too, and what hangs on it is revoked.
		next := supervisor.want(http.StatusOK, "GET", "/v1/certificates/"+issued[0]["id"].(string), "")
		certificates := next["certificates"].([]any)
		kid = certificates[len(certificates)-2].(map[string]any)["kid"].(string)
		s.run(0, "keys", "signer", "--unencrypted", "--sca", filepath.Join("store", "authority", "private", "sca.key"), "--out", filepath.Join(signing, "third.key"))
		if said := s.operate(0, "keys", "compromise", kid, "--revoke", "--agreed", "12"); !strings.Contains(said, "12 records revoked, 0 certificates reissued, 0 left") {
			t.Errorf("%s", said)
		}
		if h := supervisor.want(http.StatusOK, "GET", "/v1/certificates/"+issued[3]["id"].(string), ""); h["state"] != "revoked" || h["reason"] != "key" {
			t.Errorf("%v", h)
		}
		s.stop()
	}, "publish.key=root/private/bundle-root.key")
}

// TestRevokeMany: a lot, and then a list, are taken back by an operator, who is told
// first how many records that is.
func TestRevokeMany(t *testing.T) {
	onBoth(t, func(t *testing.T, s *box) {
		s.start()
		supervisor := s.setUp().letIn("specimen.supervisor", "supervisor", "")
		var issued []map[string]any
		for n := range 6 {
			issued = append(issued, supervisor.want(http.StatusCreated, "POST", "/v1/certificates", s.orderOf(n, 1, "facility", "north")))
		}
		lot := issued[0]["record"].(map[string]any)["vaccination"].(map[string]any)["lot"].(string)
		state := func(n int) any {
			return supervisor.want(http.StatusOK, "GET", "/v1/certificates/"+issued[n]["id"].(string), "")["state"]
		}
		list := filepath.Join(s.dir, "list.txt")
		lines := "\ufeff# withdrawn\n" + issued[0]["id"].(string) + "\n" + issued[1]["record"].(map[string]any)["id"].(string) + "\n\nURN:UVCI:01:XA:NOBODY\n"
		if err := os.WriteFile(list, []byte(lines), 0o600); err != nil {
			t.Fatal(err)
		}
		if said := s.operate(1, "revoke", "--list", "list.txt"); !strings.Contains(said, "2,would-be-revoked\n3,would-be-revoked\n5,no-such-record") {
			t.Errorf("%s", said)
		}
		s.operate(1, "revoke", "--list", "list.txt", "--reason", "fraud", "--out", "results.csv")
		results, err := os.ReadFile(filepath.Join(s.dir, "results.csv"))
		if err != nil || string(results) != "line,result\n2,revoked\n3,revoked\n5,no-such-record\n" {
			t.Errorf("%s %v", results, err)
		}
		if state(0) != "revoked" || state(1) != "revoked" || state(2) != "valid" {
			t.Error("others were revoked than those of the list")
		}
		if said := s.operate(0, "revoke", "--lot", lot); !strings.Contains(said, "4 records in force") {
			t.Errorf("%s", said)
		}
		s.operate(2, "revoke", "--lot", lot, "--reason", "product", "--agreed", "6")
		s.operate(80, "revoke", "--lot", lot, "--reason", "product")
		s.operate(80, "revoke", "--lot", lot, "--list", "list.txt")
		s.operate(80, "revoke")
		if said := s.operate(0, "revoke", "--lot", lot, "--reason", "product", "--agreed", "4"); !strings.Contains(said, "4 records revoked, 0 left") {
			t.Errorf("%s", said)
		}
		if state(5) != "revoked" || s.outcome(textsOf(issued[5])["eu-dcc"]) != "revoked" {
			t.Error("the lot was not taken back")
		}
		s.stop()
	})
}
