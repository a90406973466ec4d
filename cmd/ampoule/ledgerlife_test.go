//go:build linux

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

// ledgerNodeOf makes the folder of a node that is alone, in that of the box.
func (s *box) ledgerNodeOf(dir string) {
	s.t.Helper()
	s.run(0, "node", "init", dir, "--unencrypted", "--code", "XA", "--oid", "2.25.32980073.1")
	s.run(0, "node", "genesis", dir)
}

// progress is what a record tells of its EU DCC on the way into the log.
func (c *caller) progress(id string) (state string, index float64) {
	c.s.t.Helper()
	for _, one := range c.want(http.StatusOK, "GET", "/v1/certificates/"+id, "")["certificates"].([]any) {
		one := one.(map[string]any)
		if log, ok := one["log"].(map[string]any); ok && one["format"] == "eu-dcc" {
			index, _ = log["index"].(float64)
			return log["state"].(string), index
		}
	}
	return "", 0
}

// untilLogged waits until the certificates of a record are logged.
func (c *caller) untilLogged(id string) (index float64) {
	c.s.t.Helper()
	return c.untilState(id, "logged")
}

// untilState waits until a record's certificates are so far.
func (c *caller) untilState(id, want string) (index float64) {
	c.s.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		state, index := c.progress(id)
		if state == want {
			return index
		}
		if time.Now().After(deadline) {
			_, outbox, _ := c.ask("GET", "/v1/outbox", "")
			c.s.t.Fatalf("record %s is %q after half a minute, and not %q: %s", id, state, want, outbox)
		}
	}
}

// issueBatch issues for so many persons, from number first on, that a batch is full,
// and returns the first one's record.
func (c *caller) issueBatch(first int) map[string]any {
	c.s.t.Helper()
	record := c.want(http.StatusCreated, "POST", "/v1/certificates", c.s.orderOf(first, 1, "facility", "north"))
	for n := first + 1; n < first+32; n++ { // of two certificates each
		c.want(http.StatusCreated, "POST", "/v1/certificates", c.s.orderOf(n, 1, "facility", "north"))
	}
	return record
}

// proofsOf keeps the certificate of a record and all that proves it, as files.
func (c *caller) proofsOf(record map[string]any, name string) {
	c.s.t.Helper()
	files := map[string]string{".txt": textsOf(record)["eu-dcc"]}
	for _, kind := range []string{"batch-path", "receipt", "with-receipt", "log-proof"} {
		files["."+kind] = c.file("/v1/certificates/" + record["id"].(string) + "/codes/eu-dcc." + kind)
	}
	for ending, data := range files {
		if err := os.WriteFile(filepath.Join(c.s.dir, name+ending), []byte(data), 0o600); err != nil {
			c.s.t.Fatal(err)
		}
	}
}

// bundleWithPlace keeps the first bundle of the service that has the place of a
// certificate's batch.
func (c *caller) bundleWithPlace(name string) {
	c.s.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		c.s.fetch(c, "bundle.cbor", "")
		said := c.s.run(0, "verify", "--bundle", "bundle.cbor", "--root", "root/bundle-root.pem", "--proof", name+".batch-path", name+".txt")
		if strings.Contains(said, "logged: entry ") {
			return
		}
		if time.Now().After(deadline) {
			c.s.t.Fatalf("no bundle has its place: %s", said)
		}
	}
}

// proven verifies a certificate without the service: by its way to the root, by its
// receipt, with that receipt in header 394, and the proof of its batch by the policy.
func (s *box) proven(name string, index float64) {
	s.t.Helper()
	verify := []string{"verify", "--bundle", "bundle.cbor", "--root", "root/bundle-root.pem"}
	place := fmt.Sprintf("logged: entry %.0f of the log oid/2.25.32980073.1.1.1", index)
	for _, words := range [][]string{{"--proof", name + ".batch-path", name + ".txt"}, {"--proof", name + ".receipt", name + ".txt"}, {name + ".with-receipt"}} {
		said := s.run(0, append(verify, words...)...)
		if !strings.Contains(said, "outcome: valid") || !strings.Contains(said, place) {
			s.t.Errorf("%v: %s", words, said)
		}
	}
	said := s.run(0, "log", "verify", "--policy", "policy", name+".log-proof")
	if !strings.Contains(said, fmt.Sprintf("entry      %.0f\n", index)) || !strings.Contains(said, "fp.batch of 2.25.32980073.1.3.1") || !strings.Contains(said, "quorum     met") {
		s.t.Errorf("the proof of the batch: %s", said)
	}
}

// TestLedgerLife is a service with a node of its own, from a certificate to a verdict
// without a network; the process is killed between the steps, a person is erased, and
// the folder of the node is lost for a while.
func TestLedgerLife(t *testing.T) {
	if testing.Short() {
		t.Skip("certificates by the hundred")
	}
	onBoth(t, func(t *testing.T, s *box) {
		// Step 1: keys, a node, a service, and the service's entry in the ledger.
		s.run(0, "keys", "make", "root", "--kind", "bundle-root", "--unencrypted")
		s.ledgerNodeOf("ledger")
		s.start()
		admin := s.setUp()
		said := s.run(0, "node", "issuer", "ledger", "--notary", s.url(""), "--unencrypted")
		if !strings.Contains(said, "cosigned") {
			t.Fatal(said)
		}
		s.stop()
		s.start()
		supervisor := admin.letIn("specimen.supervisor", "supervisor", "")

		// Step 2: a batch is full. The process is killed, and closes it when it is back.
		held := supervisor.issueBatch(0)
		id := held["id"].(string)
		s.kill()
		s.start()
		supervisor.untilLogged(id)
		s.kill()
		s.start()
		index := supervisor.untilLogged(id)

		// Step 3: what the holder keeps is verified without the service.
		supervisor.proofsOf(held, "held")
		supervisor.bundleWithPlace("held")
		policy, err := os.ReadFile(filepath.Join(s.dir, "ledger", "policy"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(s.dir, "policy"), policy, 0o600); err != nil {
			t.Fatal(err)
		}
		s.proven("held", index)

		// Step 4: a person is erased whose certificate is in the same log.
		supervisor.want(http.StatusOK, "DELETE", "/v1/certificates/"+id, "", "If-Match", `"1"`)
		whole := func() {
			t.Helper()
			for _, log := range []string{"ledger/log", s.url("/ledger")} {
				if said := s.run(0, "log", "fsck", "--log", log, "--policy", "policy"); !strings.Contains(said, "nothing is wrong") {
					t.Error(said)
				}
			}
			s.proven("held", index)
		}
		whole()

		// Step 5: the folder of the node is taken away, while it runs and at the next
		// start. Certificates are issued and verified, and it is told what is wrong.
		if err := os.Rename(filepath.Join(s.dir, "ledger"), filepath.Join(s.dir, "elsewhere")); err != nil {
			t.Fatal(err)
		}
		later := supervisor.issueBatch(100)
		s.kill()
		s.start()
		supervisor.untilState(later["id"].(string), "closed") // in the background, after the start
		last := supervisor.want(http.StatusCreated, "POST", "/v1/certificates", s.orderOf(200, 1, "facility", "north"))
		if got := s.outcome(textsOf(last)["eu-dcc"]); got != "valid" {
			t.Errorf("a certificate that was issued without a ledger is %s", got)
		}
		auditor := admin.letIn("specimen.auditor", "auditor", "")
		if box := auditor.want(http.StatusOK, "GET", "/v1/outbox", ""); box["ledger"] != true || box["trouble"] != "no-genesis" || box["waiting"] == 0.0 {
			t.Errorf("the outbox: %v", box)
		}
		if metrics := s.caller().file("/metrics"); !strings.Contains(metrics, `ampoule_ledger_trouble{reason="no-genesis"} 1`) {
			t.Error(metrics)
		}
		if said := s.operate(1, "doctor"); !strings.Contains(said, "the folder of the ledger's node cannot be read") {
			t.Error(said)
		}

		// Step 6: it is brought back, and what waited is logged.
		s.kill()
		if err := os.RemoveAll(filepath.Join(s.dir, "ledger")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(s.dir, "elsewhere"), filepath.Join(s.dir, "ledger")); err != nil {
			t.Fatal(err)
		}
		s.start()
		supervisor.untilLogged(later["id"].(string))
		if box := auditor.want(http.StatusOK, "GET", "/v1/outbox", ""); box["trouble"] != nil {
			t.Errorf("the outbox: %v", box)
		}
		whole()
		s.stop()
		if said := s.run(0, "node", "replay", "ledger"); !strings.Contains(said, "the same") {
			t.Error(said)
		}
	}, "publish.key=root/private/bundle-root.key", "ledger.dir=ledger", "fingerprints.full=64")
}
