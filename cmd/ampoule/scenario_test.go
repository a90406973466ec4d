//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"ampoule/internal/storetest"
)

// rounds is how often a test that kills is made: once, or as often as FAULTS says.
func rounds(t *testing.T) int {
	t.Helper()
	text := os.Getenv("FAULTS")
	if text == "" {
		return 1
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// dice are other ones in each run; SEED makes those of an earlier one.
func dice(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

// TestClinicMorning is the first acceptance scenario: of a file of 300 doses with 7
// faults 293 are issued and 7 explained, while the server is killed again and again;
// what was acknowledged is there, once, and the file put right issues those 7.
func TestClinicMorning(t *testing.T) {
	onBoth(t, func(t *testing.T, s *box) {
		s.start()
		admin := s.setUp()
		clerk := admin.letIn("specimen.clerk", "clerk", "north").program("job:run", "job:read", "certificate:read", "certificate:list")
		random := dice(t)
		for round := range rounds(t) {
			clerk.morning(round, random)
		}
		s.stop()
		if said := s.operate(0, "audit", "verify"); !strings.Contains(said, "whole: ") {
			t.Errorf("%s", said)
		}
	})
}

// morning is one file, of persons that no other round has.
func (c *caller) morning(round int, random *rand.Rand) {
	t, s := c.s.t, c.s
	t.Helper()
	rows, good := make([]string, 300), make([]string, 300)
	wrong := make(map[int]int) // row → fault
	for n := range rows {
		person := storetest.Dose(round*300 + n).Person
		s.seeded("name", person.Name.Family, person.Name.Given)
		s.seeded("birth date", string(person.BirthDate))
		s.seeded("document", person.Document.Number)
		rows[n] = storetest.CSVRow(round*300 + n)
		good[n] = strings.Replace(rows[n], "2026-10-01", lately, 1)
	}
	for i, f := range storetest.Faults {
		n := 41*i + 3
		rows[n], wrong[n] = strings.Replace(rows[n], f.Old, f.New, 1), i
	}
	for n := range rows {
		rows[n] = strings.Replace(rows[n], "2026-10-01", lately, 1)
	}
	address := "/v1/jobs?format=eu-dcc&format=shc&series=morning-" + fmt.Sprint(round) + "&expires=" + time.Now().AddDate(0, 6, 0).UTC().Format(time.RFC3339)

	// Step 1: the upload. The server is killed while it comes in, or a little later.
	killed := make(chan struct{})
	go func() {
		time.Sleep(time.Duration(random.IntN(40)) * time.Millisecond)
		s.kill()
		close(killed)
	}()
	res, text, err := c.ask("POST", address, storetest.CSV(rows...), "Content-Type", "text/csv")
	<-killed
	s.start()
	if err != nil || res.StatusCode != http.StatusCreated {
		res, text, err = c.ask("POST", address, storetest.CSV(rows...), "Content-Type", "text/csv")
		if err != nil || res.StatusCode != http.StatusCreated {
			t.Fatalf("the second upload: %v %s", err, text)
		}
	}
	var made struct{ ID string }
	if err := json.Unmarshal([]byte(text), &made); err != nil {
		t.Fatal(err)
	}
	job := "/v1/jobs/" + made.ID

	// Step 2: the check, which is begun again after each kill.
	time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond)
	s.kill()
	s.start()
	j := c.until(job, "checked")
	if got := countsOf(j); got != (counts{Total: 300, Ready: 293, Failed: 7}) {
		t.Fatalf("checked: %+v", got)
	}
	explained := 0
	for _, item := range c.want(http.StatusOK, "GET", job+"/rows?state=failed", "")["items"].([]any) {
		row := item.(map[string]any)
		n := int(row["row"].(float64)) - 1
		i, planted := wrong[n]
		if !planted {
			t.Errorf("row %d has failed: %v", n+1, row)
			continue
		}
		f := storetest.Faults[i]
		if row["line"] != float64(n+2) || row["column"] != f.Column || row["reason"] != f.Reason || len(row["faults"].([]any)) != 1 {
			t.Errorf("%v, want %s %s", row, f.Column, f.Reason)
		}
		explained++
	}
	if explained != 7 {
		t.Errorf("%d rows are explained", explained)
	}

	// Step 3: issuing. What the server has told of before each kill is what it must
	// have afterwards.
	acknowledged := make(map[float64]string) // row → record
	note := func() {
		for _, item := range c.want(http.StatusOK, "GET", job+"/rows?state=done&limit=1000", "")["items"].([]any) {
			row := item.(map[string]any)
			n, record := row["row"].(float64), row["record"].(string)
			if before := acknowledged[n]; before != "" && before != record {
				t.Errorf("row %v was record %s and is %s", n, before, record)
			}
			acknowledged[n] = record
		}
	}
	c.want(http.StatusOK, "POST", job+"/start", "", "If-Match", fmt.Sprintf(`"%v"`, j["version"]))
	kills, known := 0, 0
	for kills < 5 {
		// Rows are told of some hundred at a time: a moment and no number of rows. The
		// first is early, since a fast machine is done soon; the third is late.
		time.Sleep(time.Duration(random.IntN(10+30*kills)) * time.Millisecond)
		j := c.want(http.StatusOK, "GET", job, "")
		for kills == 2 && countsOf(j).Done == 0 {
			j = c.want(http.StatusOK, "GET", job, "")
		}
		if j["state"] == "finished" {
			break
		}
		note()
		known = len(acknowledged)
		s.kill()
		kills++
		s.start()
	}
	if kills == 0 {
		t.Error("it was not killed in the middle")
	}
	if got := countsOf(c.until(job, "finished")); got != (counts{Total: 300, Done: 293, Failed: 7}) {
		t.Errorf("finished: %+v", got)
	}
	note()
	t.Logf("killed %d times while it issued, %d rows told of before the last", kills, known)
	if len(acknowledged) != 293 {
		t.Errorf("%d rows are issued", len(acknowledged))
	}

	// Step 4: the failed rows put right are issued, they alone; the whole file again
	// issues nothing.
	right := c.file(job + "/errors.csv")
	for n := range wrong {
		if !strings.Contains(right, rows[n]) {
			t.Errorf("row %d did not come back: %s", n+1, right)
		}
		right = strings.Replace(right, rows[n], good[n], 1)
	}
	if got := c.run(address, right); got != (counts{Total: 7, Done: 7}) {
		t.Errorf("put right: %+v", got)
	}
	if got := c.run(address, storetest.CSV(good...)); got != (counts{Total: 300, Skipped: 300}) {
		t.Errorf("the whole file again: %+v", got)
	}

	// Step 5: everybody has one certificate.
	all := c.documents()
	if len(all) != 300*(round+1) {
		t.Errorf("%d persons have certificates", len(all))
	}
	for number, ids := range all {
		if len(ids) != 1 {
			t.Errorf("%s has %d certificates", number, len(ids))
		}
	}
	for n, record := range acknowledged {
		number := storetest.Dose(round*300 + int(n) - 1).Person.Document.Number
		if ids := all[number]; len(ids) != 1 || ids[0] != record {
			t.Errorf("row %v: %v, and %s was acknowledged", n, ids, record)
		}
	}
}

// counts are the rows of a job.
type counts struct{ Total, Ready, Done, Failed, Skipped int64 }

func countsOf(job map[string]any) (out counts) {
	for name, to := range map[string]*int64{"total": &out.Total, "ready": &out.Ready, "done": &out.Done, "failed": &out.Failed, "skipped": &out.Skipped} {
		*to = int64(job["rows"].(map[string]any)[name].(float64))
	}
	return out
}

// until waits until a job is in a state.
func (c *caller) until(job, state string) map[string]any {
	c.s.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		j := c.want(http.StatusOK, "GET", job, "")
		if j["state"] == state {
			return j
		}
		if time.Now().After(deadline) {
			c.s.t.Fatalf("want %s: %v", state, j)
		}
	}
}

// run uploads a file, starts it and waits for its end.
func (c *caller) run(address, file string) counts {
	c.s.t.Helper()
	made := c.want(http.StatusCreated, "POST", address, file, "Content-Type", "text/csv")
	job := "/v1/jobs/" + made["id"].(string)
	j := c.until(job, "checked")
	c.want(http.StatusOK, "POST", job+"/start", "", "If-Match", fmt.Sprintf(`"%v"`, j["version"]))
	return countsOf(c.until(job, "finished"))
}

// TestKilledWhileIssuing: four desks issue, each order under a key of its own, and
// the server is killed at some moment. Every certificate that was handed out is
// there; every order that is repeated gives the certificate that it gave before.
func TestKilledWhileIssuing(t *testing.T) {
	onBoth(t, func(t *testing.T, s *box) {
		s.start()
		clerk := s.setUp().letIn("specimen.clerk", "clerk", "north").program("certificate:issue", "certificate:read", "certificate:list")
		random := dice(t)
		var mu sync.Mutex // held while the maps are used
		asked, answered := make(map[int]string), make(map[int]string)
		person := 0
		issue := func(n int, order string) (id string, status int, err error) {
			res, text, err := clerk.ask("POST", "/v1/certificates", order, "Idempotency-Key", fmt.Sprint("order-", n))
			if err != nil {
				return "", 0, err
			}
			var made struct{ ID string }
			if err := json.Unmarshal([]byte(text), &made); err != nil {
				return "", 0, err // cut off
			}
			return made.ID, res.StatusCode, nil
		}
		for range 3 * rounds(t) {
			var desks sync.WaitGroup
			for range 4 {
				desks.Go(func() {
					for {
						mu.Lock()
						n := person
						person++
						order := s.orderOf(n, 1)
						asked[n] = order
						mu.Unlock()
						id, status, err := issue(n, order)
						if err != nil {
							return // killed
						}
						if status != http.StatusCreated {
							t.Errorf("order %d: %d", n, status)
							return
						}
						mu.Lock()
						answered[n] = id
						mu.Unlock()
					}
				})
			}
			time.Sleep(time.Duration(30+random.IntN(200)) * time.Millisecond)
			s.kill()
			desks.Wait()
			s.start()
		}
		for n, order := range asked {
			id, status, err := issue(n, order)
			switch before := answered[n]; {
			case err != nil:
				t.Fatal(err)
			case before != "" && (id != before || status != http.StatusOK):
				t.Errorf("order %d gave %s, and gives %d %s", n, before, status, id)
			case before == "" && status != http.StatusOK && status != http.StatusCreated:
				t.Errorf("order %d: %d", n, status)
			}
			answered[n] = id
		}
		all := clerk.documents()
		if len(all) != len(asked) || len(asked) < 10 {
			t.Errorf("%d persons, and %d were asked for", len(all), len(asked))
		}
		for n, id := range answered {
			if ids := all[storetest.Dose(n).Person.Document.Number]; len(ids) != 1 || ids[0] != id {
				t.Errorf("order %d is %s, and there is %v", n, id, ids)
			}
		}
		t.Logf("%d orders", len(asked))
		s.stop()
	})
}

// TestCorrection is the second acceptance scenario: a dose has the wrong number and
// is corrected. Without a network, yesterday's bundle calls the wrong certificate
// valid and tells its age; today's calls it revoked.
func TestCorrection(t *testing.T) {
	onBoth(t, func(t *testing.T, s *box) {
		s.run(0, "keys", "make", "root", "--kind", "bundle-root", "--unencrypted")
		s.start()
		supervisor := s.setUp().letIn("specimen.supervisor", "supervisor", "")
		wrong := supervisor.want(http.StatusCreated, "POST", "/v1/certificates", s.orderOf(1, 1, "facility", "north"))
		root := filepath.Join("root", "bundle-root.pem")
		yesterday := s.fetch(supervisor, "yesterday.cbor", "")

		id := wrong["id"].(string)
		right := supervisor.want(http.StatusCreated, "POST", "/v1/certificates/"+id+"/correct", s.orderOf(1, 2, "reason", "wrong-data"), "If-Match", `"1"`)
		if right["corrects"] != id {
			t.Errorf("%v", right)
		}
		today := s.fetch(supervisor, "today.cbor", yesterday)
		for _, kind := range []string{"eu-dcc", "shc"} {
			for name, record := range map[string]map[string]any{"wrong": wrong, "right": right} {
				if err := os.WriteFile(filepath.Join(s.dir, name+"-"+kind+".txt"), []byte(textsOf(record)[kind]), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			// A verifier that has had no network since, a day and an hour later.
			later := time.Now().Add(25 * time.Hour).UTC().Format(time.RFC3339)
			said := s.run(0, "verify", "--at", later, "--bundle", "yesterday.cbor", "--root", root, "wrong-"+kind+".txt", "right-"+kind+".txt")
			if strings.Count(said, "outcome: valid") != 2 || !strings.Contains(said, "(1 day ago)") {
				t.Errorf("%s with yesterday's bundle: %s", kind, said)
			}
			said = s.run(1, "verify", "--bundle", "today.cbor", "--root", root, "wrong-"+kind+".txt")
			if !strings.Contains(said, "outcome: superseded") {
				t.Errorf("%s with today's bundle: %s", kind, said)
			}
			s.run(0, "verify", "--bundle", "today.cbor", "--root", root, "right-"+kind+".txt")
			// The service itself does not wait for a bundle.
			if got := s.outcome(textsOf(wrong)[kind]); got != "superseded" {
				t.Errorf("%s at the service: %s", kind, got)
			}
		}
		// Of the two versions, each tells of the other.
		old := supervisor.want(http.StatusOK, "GET", "/v1/certificates/"+id, "")
		if old["state"] != "superseded" || old["correction"] != right["id"] {
			t.Errorf("%v", old)
		}
		if today <= yesterday {
			t.Errorf("the bundles %s and %s", yesterday, today)
		}
		s.stop()
	}, "publish.key=root/private/bundle-root.key")
}

// fetch keeps the bundle that the service gives away, once it is another than one
// before, and returns its number.
func (s *box) fetch(c *caller, file, before string) string {
	s.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		trust := c.want(http.StatusOK, "GET", "/v1/trust", "")
		if b, ok := trust["bundle"].(map[string]any); ok {
			if serial := fmt.Sprintf("%09.0f", b["serial"]); serial != before {
				if err := os.WriteFile(filepath.Join(s.dir, file), []byte(c.file("/bundle")), 0o600); err != nil {
					s.t.Fatal(err)
				}
				return serial
			}
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("no new bundle: %v", trust)
		}
	}
}

// outcome is what the service says of a text, which it takes some moments to know.
func (s *box) outcome(text string) string {
	s.t.Helper()
	body, err := json.Marshal(map[string]any{"texts": []string{text}})
	if err != nil {
		s.t.Fatal(err)
	}
	verdicts := s.caller().want(http.StatusOK, "POST", "/v1/verify", string(body))["verdicts"].([]any)
	return verdicts[0].(map[string]any)["outcome"].(string)
}

// TestLogsNameNobody makes everything happen that a service does and refuses, at the
// most talkative level. What was seeded is looked for when the test ends.
func TestLogsNameNobody(t *testing.T) {
	onBoth(t, func(t *testing.T, s *box) {
		s.run(0, "keys", "make", "root", "--kind", "bundle-root", "--unencrypted")
		s.start()
		nobody := s.caller()
		nobody.want(http.StatusForbidden, "POST", "/setup", url.Values{
			"token": {"specimen-wrong-token"}, "organisation": {"org-1"}, "name": {"Health authority of the tests"}, "participant": {"XA"}, "country": {"XA"},
			"language": {"en"}, "zone": {"UTC"}, "login": {"specimen.thief"}, "password": {"specimen stolen battery"},
		}.Encode())
		s.seeded("login name", "specimen.thief", "specimen.unknown")
		s.seeded("password", "specimen stolen battery")
		s.seeded("token", "specimen-wrong-token", "specimenwrongtoken", "amp_")
		admin := s.setUp()
		supervisor := admin.letIn("specimen.supervisor", "supervisor", "")
		clerk := admin.letIn("specimen.clerk", "clerk", "north")
		auditor := admin.letIn("specimen.auditor", "auditor", "")
		desk := clerk.program("certificate:issue", "certificate:read", "certificate:search", "job:run", "job:read")

		// Who may not.
		for _, login := range []string{"specimen.clerk", "specimen.unknown"} {
			nobody.want(http.StatusUnauthorized, "POST", "/login", url.Values{"login": {login}, "password": {"specimen stolen battery"}}.Encode())
		}
		nobody.want(http.StatusUnauthorized, "GET", "/v1/session", "", "Authorization", "Bearer specimenwrongtoken")
		nobody.want(http.StatusNotFound, "GET", "/invitation/specimenwrongtoken", "")
		clerk.want(http.StatusForbidden, "GET", "/v1/audit", "")

		// A record through everything.
		first := desk.want(http.StatusCreated, "POST", "/v1/certificates", s.orderOf(1, 1), "Idempotency-Key", "Specimen 1")
		person := storetest.Dose(1).Person
		texts := textsOf(first)
		s.seeded("certificate", texts["eu-dcc"][:40], texts["shc"][:40])
		id := "/v1/certificates/" + first["id"].(string)
		desk.want(http.StatusOK, "POST", "/v1/certificates/check", s.orderOf(1, 1))
		desk.want(http.StatusOK, "POST", "/v1/certificates/search", fmt.Sprintf(`{"document":%q}`, person.Document.Number))
		desk.want(http.StatusOK, "POST", "/v1/certificates/search", fmt.Sprintf(`{"name":{"family":%q,"given":%q},"birth_date":%q}`, person.Name.Family, person.Name.Given, person.BirthDate))
		desk.want(http.StatusOK, "GET", id, "")
		desk.file(id + "/certificate.pdf")
		desk.file(id + "/codes/eu-dcc.svg")
		if got := s.outcome(texts["eu-dcc"]); got != "valid" {
			t.Errorf("%s", got)
		}
		supervisor.want(http.StatusOK, "POST", id+"/revoke", `{"reason":"fraud"}`, "If-Match", `"1"`)
		supervisor.want(http.StatusOK, "POST", id+"/reinstate", "", "If-Match", `"2"`)
		supervisor.want(http.StatusCreated, "POST", id+"/correct", s.orderOf(2, 2, "reason", "wrong-data"), "If-Match", `"3"`)
		supervisor.want(http.StatusOK, "DELETE", id, "")
		desk.want(http.StatusNotFound, "GET", id, "")

		// Bulk, with what is wrong in it.
		rows := []string{storetest.CSVRow(3), storetest.CSVRow(4), strings.Replace(storetest.CSVRow(5), ",AT,", ",A1,", 1)}
		for n := 3; n < 6; n++ {
			p := storetest.Dose(n).Person
			s.seeded("name", p.Name.Given)
			s.seeded("birth date", string(p.BirthDate))
			s.seeded("document", p.Document.Number)
		}
		address := "/v1/jobs?format=eu-dcc&series=today&expires=" + time.Now().AddDate(0, 6, 0).UTC().Format(time.RFC3339)
		if got := desk.run(address, strings.ReplaceAll(storetest.CSV(rows...), "2026-10-01", lately)); got != (counts{Total: 3, Done: 2, Failed: 1}) {
			t.Errorf("%+v", got)
		}
		desk.want(http.StatusUnprocessableEntity, "POST", address, "Specimen,Adalovelace,"+person.Document.Number+"\r\n", "Content-Type", "text/csv")

		// Requests that are wrong, with persons where there should be none.
		desk.want(http.StatusBadRequest, "POST", "/v1/certificates", `{"record": Specimen `+person.Document.Number)
		desk.want(http.StatusUnprocessableEntity, "POST", "/v1/certificates", strings.Replace(s.orderOf(6, 1), `"AT"`, `"Specimen"`, 1))
		desk.want(http.StatusUnprocessableEntity, "POST", "/v1/certificates", s.orderOf(7, 1), "Idempotency-Key", strings.Repeat(person.Document.Number, 30))
		desk.want(http.StatusUnprocessableEntity, "GET", "/v1/certificates?limit="+person.Document.Number, "")
		desk.want(http.StatusNotFound, "GET", "/v1/certificates/"+person.Document.Number, "")
		nobody.want(http.StatusNotFound, "GET", "/"+person.Document.Number+"?name=Specimen", "")
		nobody.want(http.StatusUnsupportedMediaType, "POST", "/v1/verify", texts["eu-dcc"], "Content-Type", "text/Specimen")
		nobody.want(http.StatusOK, "POST", "/v1/verify", fmt.Sprintf(`{"texts":[%q]}`, texts["eu-dcc"][:200]+person.Document.Number))
		nobody.want(http.StatusMethodNotAllowed, "SPECIMEN", "/v1/verify", "")
		nobody.want(http.StatusRequestEntityTooLarge, "POST", "/v1/certificates/search", `{"document":"`+strings.Repeat(person.Document.Number, 500000)+`"}`, "Authorization", "Bearer "+desk.token)

		// The audit log has all of it, and names nobody either.
		page := auditor.want(http.StatusOK, "GET", "/v1/audit?limit=1000", "")
		seen := make(map[string]bool)
		for _, item := range page["items"].([]any) {
			seen[item.(map[string]any)["action"].(string)] = true
		}
		for _, action := range []string{"issue", "search", "read", "revoke", "reinstate", "correct", "erase", "job-upload", "job-start", "account-created", "token-made", "break-glass"} {
			if !seen[action] {
				t.Errorf("the audit log has no %s: %v", action, seen)
			}
		}
		s.operate(0, "audit", "export", "--out", "audit.json")
		exported, err := os.ReadFile(filepath.Join(s.dir, "audit.json"))
		if err != nil {
			t.Fatal(err)
		}
		s.namesNobody(string(exported))
		s.stop()
		// That there is a log, of what was asked.
		for _, pattern := range []string{`"pattern":"/v1/certificates/{id}/correct"`, `"pattern":"/v1/jobs"`, `"pattern":"/login"`, `"msg":"stopping"`} {
			if !strings.Contains(s.log.String(), pattern) {
				t.Errorf("the log has no %s", pattern)
			}
		}
	}, "publish.key=root/private/bundle-root.key")
}
