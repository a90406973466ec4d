package httpapi

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"ampoule/cert"
	"ampoule/internal/access"
	"ampoule/internal/keys"
	"ampoule/internal/store"
	"ampoule/internal/storetest"
	"ampoule/ledger/print"
	"ampoule/party/issuer"
	"ampoule/party/verifier"
)

// issuingBed is a server that issues into a store of its own.
type issuingBed struct {
	*bed
	kit     *storetest.Kit
	issuing *Issuing
	handler http.Handler
	who     *access.Principal // of the requests that follow
	// description is what the server says of itself, and schemas compiles parts of it.
	description map[string]any
	schemas     *jsonschema.Compiler
	changed     int // how often the lists were said to have changed
}

var (
	north = issuer.Place{Organisation: "org-a", Facility: "north"}
	clerk = &access.Principal{ID: "u-clerk", Organisation: "org-a", Grants: []access.Grant{{Role: access.Clerk, Facility: "north"}}}
	chief = &access.Principal{ID: "u-chief", Organisation: "org-a", Grants: []access.Grant{{Role: access.Supervisor, Facility: ""}}}
)

func newIssuingBed(t *testing.T, more ...func(*Page)) *issuingBed {
	t.Helper()
	master, err := keys.NewMasterKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	config := store.Config{Dir: t.TempDir(), Master: master, NoSync: true}
	if err := store.Create(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	b := &issuingBed{bed: newBed(t), kit: storetest.NewKit(t, s)}
	b.issuing = &Issuing{
		Registry: b.kit.Registry, Policy: access.NewPolicy(), Participant: "XA", Authority: "Specimen authority", Made: storetest.Day,
		Address: "https://issuer.example/cards", Keys: []byte(`{"keys":[]}`), Changed: func() { b.changed++ },
		Terms:  Terms{Catalogue: cert.DemoCatalogue(), Country: "XA"},
		Outbox: s.Outbox(),
	}
	b.issuing.Bulk = &issuer.Bulk{Registry: func() *issuer.Registry { return b.kit.Registry }, Jobs: s, Trouble: func(id issuer.ID, err error) { t.Errorf("job %s: %v", id, err) }}
	b.page.API, b.page.Issuing = &API{Version: "test"}, b.issuing
	accounts, err := access.New(onePerson{who: &b.who}, access.Config{Idle: time.Hour, Absolute: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	b.page.Access = &Access{Accounts: accounts, Audit: s}
	for _, add := range more {
		add(b.page)
	}
	f := NewFront()
	f.Show(b.page, func() error { return nil })
	front := f.Handler()
	b.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch secret := strings.Repeat("x", 43); {
		case b.who == nil:
		case b.who.Scopes != nil:
			r.Header.Set("Authorization", "Bearer amp_"+secret)
		default:
			r.Header.Add("Cookie", "ampoule="+secret)
		}
		front.ServeHTTP(w, r)
	})
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(readAll(t, ask(b.handler, "GET", "/openapi.json", ""))))
	if err != nil {
		t.Fatal(err)
	}
	b.description, b.schemas = document.(map[string]any), jsonschema.NewCompiler()
	if err := b.schemas.AddResource("openapi.json", document); err != nil {
		t.Fatal(err)
	}
	return b
}

// onePerson is a book of people in which the one who asks is, with a session and a
// token. Nothing else is asked of it here.
type onePerson struct {
	access.Book
	who **access.Principal
}

func (o onePerson) account() access.Account {
	p := *o.who
	return access.Account{ID: p.ID, Organisation: p.Organisation, Grants: p.Grants}
}

func (o onePerson) Session(context.Context, [32]byte) (access.Session, access.Account, error) {
	now := time.Now()
	return access.Session{ID: "s-1", Account: (*o.who).ID, Seen: now, Ends: now.Add(time.Hour)}, o.account(), nil
}

func (o onePerson) Token(context.Context, [32]byte) (access.Token, access.Account, error) {
	now := time.Now().UTC()
	return access.Token{ID: "t-1", Account: (*o.who).ID, Scopes: (*o.who).Scopes, Used: now.Truncate(24 * time.Hour), Ends: now.Add(time.Hour)}, o.account(), nil
}

// order is the request for person n.
func order(n int, more ...string) string {
	r := storetest.Dose(n)
	var record map[string]any
	encode(map[string]any{"person": r.Person, "vaccination": r.Vaccination}, &record)
	delete(record["person"].(map[string]any)["name"].(map[string]any), "full")
	body := map[string]any{"record": record, "formats": []map[string]any{{"format": "eu-dcc", "expires": storetest.Day.AddDate(0, 6, 0)}, {"format": "shc"}}}
	for i := 0; i+1 < len(more); i += 2 {
		body[more[i]] = more[i+1]
	}
	out, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	return string(out)
}

func encode(from, to any) {
	data, err := json.Marshal(from)
	if err == nil {
		err = json.Unmarshal(data, to)
	}
	if err != nil {
		panic(err)
	}
}

// do asks, and reads a JSON answer.
func (b *issuingBed) do(t *testing.T, method, target, body string, want int, header ...string) (*http.Response, map[string]any) {
	t.Helper()
	res := ask(b.handler, method, target, body, header...)
	text := readAll(t, res)
	if res.StatusCode != want {
		t.Fatalf("%s %s: %d, want %d: %s", method, target, res.StatusCode, want, text)
	}
	b.described(t, method, target, res, text)
	var out map[string]any
	if text != "" && strings.Contains(res.Header.Get("Content-Type"), "json") && json.Unmarshal([]byte(text), &out) != nil {
		t.Fatalf("%s %s: %s", method, target, text)
	}
	return res, out
}

// described holds an answer against the published description of its operation.
func (b *issuingBed) described(t *testing.T, method, target string, res *http.Response, body string) {
	t.Helper()
	path, _, _ := strings.Cut(target, "?")
	for pattern, item := range b.description["paths"].(map[string]any) {
		if _, has := item.(map[string]any)[strings.ToLower(method)]; !has || !fits(pattern, path) {
			continue
		}
		at := "openapi.json#/paths/" + strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D").Replace(pattern) + "/" + strings.ToLower(method) + "/responses/"
		status := strconv.Itoa(res.StatusCode)
		responses := b.description["paths"].(map[string]any)[pattern].(map[string]any)[strings.ToLower(method)].(map[string]any)["responses"].(map[string]any)
		if responses[status] == nil && res.StatusCode != http.StatusNotModified {
			t.Errorf("%s %s answers %s, which is not described", method, pattern, status)
			return
		}
		kind := res.Header.Get("Content-Type")
		if body == "" || !strings.Contains(kind, "json") || kind == fhirJSON {
			return
		}
		if res.StatusCode < 300 && responses[status].(map[string]any)["content"].(map[string]any)["application/json"].(map[string]any)["schema"].(map[string]any)["format"] == "binary" {
			return // a document of another specification
		}
		schema, err := b.schemas.Compile(at + status + "/content/" + strings.ReplaceAll(kind, "/", "~1") + "/schema")
		if err != nil {
			t.Fatal(err)
		}
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(body))
		if err == nil {
			err = schema.Validate(v)
		}
		if err != nil {
			t.Errorf("%s %s: %v: %s", method, pattern, err, body)
		}
		return
	}
	t.Errorf("%s %s is not described", method, target)
}

// fits reports whether a path is of a pattern, the more exact one first.
func fits(pattern, path string) bool {
	p, q := strings.Split(pattern, "/"), strings.Split(path, "/")
	for i := range min(len(p), len(q)) {
		if p[i] != q[i] && !(strings.HasPrefix(p[i], "{") && !slices.Contains([]string{"check", "search", "template.csv"}, q[i])) {
			return false
		}
	}
	return len(p) == len(q)
}

func (b *issuingBed) issue(t *testing.T, n int, more ...string) (id string) {
	t.Helper()
	_, answer := b.do(t, "POST", "/v1/certificates", order(n, more...), 201)
	return answer["id"].(string)
}

// TestLifeOverHTTP takes one record through everything that can be done to it.
func TestLifeOverHTTP(t *testing.T) {
	b := newIssuingBed(t)
	b.who = clerk
	_, checked := b.do(t, "POST", "/v1/certificates/check", order(1), 200)
	if len(checked["findings"].([]any)) != 0 || len(checked["same"].([]any)) != 0 {
		t.Errorf("check: %v", checked)
	}
	res, made := b.do(t, "POST", "/v1/certificates", order(1), 201, "Idempotency-Key", "row 1")
	id := made["id"].(string)
	if res.Header.Get("Location") != "/v1/certificates/"+id || res.Header.Get("ETag") != `"1"` || made["facility"] != "north" || made["replayed"] != false {
		t.Errorf("issued: %v %v", res.Header, made)
	}
	texts := map[string]string{}
	for _, c := range made["certificates"].([]any) {
		c := c.(map[string]any)
		texts[c["format"].(string)] = c["text"].(string)
		if got := b.kit.Verify(t, c["text"].(string), nil); got != verifier.Valid {
			t.Errorf("%s: %s", c["format"], got)
		}
	}
	if _, again := b.do(t, "POST", "/v1/certificates", order(1), 200, "Idempotency-Key", "row 1"); again["id"] != id || again["replayed"] != true {
		t.Errorf("again: %v", again)
	}
	if _, p := b.do(t, "POST", "/v1/certificates", order(2), 422, "Idempotency-Key", "row 1"); p["reason"] != "request-key-reused" {
		t.Errorf("the key for another: %v", p)
	}
	_, checked = b.do(t, "POST", "/v1/certificates/check", order(1), 200)
	if same := checked["same"].([]any); len(same) != 1 || same[0].(map[string]any)["id"] != id {
		t.Errorf("same: %v", checked)
	}

	person := storetest.Dose(1).Person
	_, found := b.do(t, "POST", "/v1/certificates/search", fmt.Sprintf(`{"document":%q}`, person.Document.Number), 200)
	if items := found["items"].([]any); len(items) != 1 || items[0].(map[string]any)["id"] != id {
		t.Errorf("found: %v", found)
	}
	if _, p := b.do(t, "POST", "/v1/certificates/search", `{"birth_date":"1950-01-01"}`, 422); p["reason"] != "cannot-issue" && p["reason"] != "invalid-request" {
		t.Errorf("a search for nothing: %v", p)
	}
	_, read := b.do(t, "GET", "/v1/certificates/"+id, "", 200)
	if read["record"].(map[string]any)["person"].(map[string]any)["birth_date"] != string(person.BirthDate) {
		t.Errorf("read: %v", read)
	}
	b.do(t, "GET", "/v1/certificates/"+id, "", 304, "If-None-Match", `"1"`)

	for file, kind := range map[string]string{
		"certificate.pdf": "application/pdf", "codes/eu-dcc.svg": "image/svg+xml", "codes/shc.png": "image/png", "codes/eu-dcc.txt": "text/plain; charset=utf-8",
		"codes/shc.smart-health-card": "application/smart-health-card",
	} {
		res := ask(b.handler, "GET", "/v1/certificates/"+id+"/"+file, "")
		body := readAll(t, res)
		if res.StatusCode != 200 || res.Header.Get("Content-Type") != kind || res.Header.Get("Cache-Control") != "no-store" || len(body) < 100 {
			t.Errorf("%s: %d %s, %d bytes", file, res.StatusCode, res.Header.Get("Content-Type"), len(body))
		}
		if file == "codes/eu-dcc.txt" && strings.TrimSpace(body) != texts["eu-dcc"] {
			t.Error("another code")
		}
	}
	// The way to a landmark is there when the batch is closed.
	for _, path := range []string{"/v1/certificates/" + id + "/codes/eu-dcc.batch-path", "/v1/landmarks"} {
		b.do(t, "GET", path, "", 404)
	}
	b.kit.CloseBatches(t)
	landmarks := ask(b.handler, "GET", "/v1/landmarks", "")
	if roots := readAll(t, landmarks); landmarks.StatusCode != 200 || landmarks.Header.Get("Content-Type") != print.LandmarksType {
		t.Errorf("landmarks: %d %s", landmarks.StatusCode, landmarks.Header)
	} else {
		for format, text := range texts {
			res := ask(b.handler, "GET", "/v1/certificates/"+id+"/codes/"+format+".batch-path", "")
			path := readAll(t, res)
			if check := b.kit.Proof(t, text, []byte(roots), []byte(path)); res.StatusCode != 200 || res.Header.Get("Content-Type") != batchPathType || check.Result != verifier.Pass {
				t.Errorf("%s: %d, %+v", format, res.StatusCode, check)
			}
		}
	}
	b.do(t, "GET", "/v1/landmarks", "", 304, "If-None-Match", landmarks.Header.Get("ETag"))
	for _, file := range []string{"codes/icvp.batch-path", "codes/icvp.svg", "codes/eu-dcc.exe", "codes/eu-dcc", "codes/eu-dcc.smart-health-card"} {
		b.do(t, "GET", "/v1/certificates/"+id+"/"+file, "", 404)
	}

	// What takes back is the supervisor's.
	b.do(t, "POST", "/v1/certificates/"+id+"/revoke", `{"reason":"wrong-data"}`, 403, "If-Match", `"1"`)
	b.who = chief
	b.do(t, "POST", "/v1/certificates/"+id+"/revoke", `{"reason":"wrong-data"}`, 428)
	b.do(t, "POST", "/v1/certificates/"+id+"/revoke", `{"reason":"wrong-data"}`, 412, "If-Match", `"7"`)
	b.do(t, "POST", "/v1/certificates/"+id+"/revoke", `{"reason":"wrong-data"}`, 412, "If-Match", `W/"1"`)
	b.do(t, "POST", "/v1/certificates/"+id+"/revoke", `{"reason":"because Specimen said so"}`, 422, "If-Match", `"1"`)
	res, revoked := b.do(t, "POST", "/v1/certificates/"+id+"/revoke", `{"reason":"wrong-data"}`, 200, "If-Match", `"1"`)
	if revoked["state"] != "revoked" || res.Header.Get("ETag") != `"2"` || b.changed != 1 {
		t.Errorf("revoked: %v", revoked)
	}
	b.do(t, "POST", "/v1/certificates/"+id+"/revoke", `{"reason":"wrong-data"}`, 409, "If-Match", `"2"`)
	for f, text := range texts {
		if got := b.kit.Verify(t, text, b.kit.Lists(t)); got != verifier.Revoked {
			t.Errorf("%s, revoked: %s", f, got)
		}
	}
	if _, back := b.do(t, "POST", "/v1/certificates/"+id+"/reinstate", "", 200, "If-Match", `"2"`); back["state"] != "valid" {
		t.Errorf("reinstated: %v", back)
	}
	_, corrected := b.do(t, "POST", "/v1/certificates/"+id+"/correct", order(3, "reason", "wrong-data"), 201, "If-Match", `"3"`)
	if corrected["corrects"] != id || corrected["facility"] != "north" {
		t.Errorf("corrected: %v", corrected)
	}
	if _, old := b.do(t, "GET", "/v1/certificates/"+id, "", 200); old["state"] != "superseded" || old["correction"] != corrected["id"] {
		t.Errorf("the old one: %v", old)
	}
	_, erased := b.do(t, "DELETE", "/v1/certificates/"+id, "", 200)
	if len(erased["erased"].([]any)) != 2 {
		t.Errorf("erased: %v", erased)
	}
	b.do(t, "GET", "/v1/certificates/"+id, "", 404)
	if strings.Contains(b.log.String(), person.Name.Family) || strings.Contains(b.log.String(), person.Document.Number) {
		t.Errorf("logged: %s", b.log.String())
	}
}

// TestRecordPages walks the list by its cursor and its link.
func TestRecordPages(t *testing.T) {
	b := newIssuingBed(t)
	b.who = clerk
	var made []string
	for n := range 7 {
		made = append(made, b.issue(t, n))
	}
	slices.Sort(made) // their times are one, and chance decides
	slices.Reverse(made)
	var seen []string
	for target := "/v1/certificates?limit=3"; target != ""; {
		res, page := b.do(t, "GET", target, "", 200)
		for _, item := range page["items"].([]any) {
			seen = append(seen, item.(map[string]any)["id"].(string))
			if strings.Contains(fmt.Sprint(item), "Specimen") {
				t.Errorf("personal: %v", item)
			}
		}
		target, _, _ = strings.Cut(strings.TrimPrefix(res.Header.Get("Link"), "<"), ">")
	}
	if !slices.Equal(seen, made) {
		t.Errorf("%v, want %v", seen, made)
	}
	b.do(t, "GET", "/v1/certificates?cursor=nonsense", "", 422)
	b.do(t, "GET", "/v1/certificates?limit=100000", "", 422)
}

// TestPublished: what anybody may have, unasked who they are.
func TestPublished(t *testing.T) {
	b := newIssuingBed(t)
	b.who = chief
	id := b.issue(t, 1, "facility", "north")
	b.do(t, "POST", "/v1/certificates/"+id+"/revoke", `{"reason":"fraud"}`, 200, "If-Match", `"1"`)
	b.who = nil
	_, lists := b.do(t, "GET", "/v1/status", "", 200)
	if len(lists["lists"].([]any)) != 3 { // batches, card list, snapshot
		t.Fatalf("%v", lists)
	}
	for _, l := range lists["lists"].([]any) {
		l := l.(map[string]any)
		res, _ := b.do(t, "GET", l["address"].(string), "", 200)
		tag := res.Header.Get("ETag")
		if tag == "" || res.Header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%v: %v", l, res.Header)
		}
		b.do(t, "GET", l["address"].(string), "", 304, "If-None-Match", tag)
		if l["scheme"] == "shc-rid" {
			_, crl := b.do(t, "GET", "/.well-known/crl/"+l["kid"].(string)+".json", "", 200)
			if crl["kid"] != l["kid"] || len(crl["rids"].([]any)) != 1 {
				t.Errorf("card list: %v", crl)
			}
		}
	}
	b.do(t, "GET", "/v1/status/dcc-signature/00", "", 404)
	b.do(t, "GET", "/.well-known/crl/nobody.json", "", 404)
	b.do(t, "GET", "/.well-known/jwks.json", "", 200)
	if _, k := b.do(t, "GET", "/v1/keys", "", 200); len(k["keys"].([]any)) != 2 {
		t.Errorf("keys: %v", k)
	}
}

// TestAuditPages: an auditor walks the log by its cursor, of one organisation and of
// some time; it has every step and no person.
func TestAuditPages(t *testing.T) {
	b := newIssuingBed(t)
	b.who = clerk
	var want []string
	for n := range 4 {
		id := b.issue(t, n)
		b.do(t, "GET", "/v1/certificates/"+id, "", 200)
		want = append(want, "issue "+id, "read "+id)
	}
	slices.Reverse(want)
	b.who = &access.Principal{ID: "u-other", Organisation: "org-b", Grants: []access.Grant{{Role: access.Clerk}}}
	b.issue(t, 9)

	b.do(t, "GET", "/v1/audit", "", 403)
	b.who = &access.Principal{ID: "u-auditor", Organisation: "org-a", Grants: []access.Grant{{Role: access.Auditor}}}
	var seen []string
	for target := "/v1/audit?limit=3"; target != ""; {
		res, page := b.do(t, "GET", target, "", 200)
		for _, item := range page["items"].([]any) {
			l := item.(map[string]any)
			seen = append(seen, fmt.Sprint(l["action"], " ", l["record"]))
			if l["by"] != clerk.ID || l["organisation"] != "org-a" {
				t.Errorf("%v", l)
			}
		}
		if text := fmt.Sprint(page); strings.Contains(text, "Specimen") || strings.Contains(text, storetest.Documents) {
			t.Errorf("personal: %s", text)
		}
		target, _, _ = strings.Cut(strings.TrimPrefix(res.Header.Get("Link"), "<"), ">")
	}
	// Identifiers are of milliseconds: within one, chance decides.
	slices.Sort(want)
	slices.Sort(seen)
	if !slices.Equal(seen, want) {
		t.Errorf("%v, want %v", seen, want)
	}
	at := url.QueryEscape(storetest.Day.Add(time.Hour).Format(time.RFC3339))
	for query, want := range map[string]int{"from=" + at: 0, "to=" + at: 8} {
		if _, page := b.do(t, "GET", "/v1/audit?"+query, "", 200); len(page["items"].([]any)) != want {
			t.Errorf("%s: %v", query, page)
		}
	}
	for _, query := range []string{"cursor=nonsense", "limit=0", "limit=100000", "from=yesterday"} {
		b.do(t, "GET", "/v1/audit?"+query, "", 422)
	}
}

// needs is the action that each operation asks for; the empty one is anybody's who
// is logged in.
var needs = map[string]access.Action{
	"issue": access.CertificateIssue, "check": access.CertificateIssue, "list": access.CertificateList, "search": access.CertificateSearch,
	"read": access.CertificateRead, "paper": access.CertificateRead, "code": access.CertificateRead, "healthCardsIssue": access.CertificateRead,
	"revoke": access.CertificateRevoke, "reinstate": access.CertificateReinstate, "correct": access.CertificateCorrect, "erase": access.CertificateErase,
	"reissue": access.KeyReissue, "issuing": "", "jobTemplate": "",
	"jobUpload": access.JobRun, "jobs": access.JobRead, "job": access.JobRead, "jobRows": access.JobRead, "jobErrors": access.JobRun, "jobCertificates": access.CertificateRead,
	"jobStart": access.JobRun, "jobPause": access.JobRun, "jobResume": access.JobRun, "jobCancel": access.JobRun, "jobDelete": access.JobRun,
	"affected": access.CertificateRevoke, "revokeMany": access.CertificateRevoke, "revokeListed": access.CertificateRevoke,
	"audit": access.AuditRead, "outbox": access.AuditRead,
	"adverseReport": access.AdverseReport, "adverseReports": access.CertificateRead,
}

// anybodys are the operations that ask for no login.
var anybodys = []string{"verify", "trust", "statusLists", "statusList", "cardRevocationList", "cardKeys", "keys", "landmarks", "places", "capabilities",
	"ledgerStatus", "ledgerMembers", "ledgerValidators", "ledgerProposals", "ledgerProposal", "ledgerActor", "ledgerSubmit", "ledgerStanding",
	"ledgerEntry", "ledgerEntries", "ledgerProof", "ledgerReceipt", "ledgerResolve"}

// ofPeople are addresses of people, which have a table of their own.
var ofPeople = []string{"/v1/session", "/v1/tokens", "/v1/people", "/v1/settings"}

// testedRoles are all roles; in the short tests, which look for races, some of them.
func testedRoles() []access.Role {
	if testing.Short() {
		return []access.Role{access.Clerk, access.Administrator}
	}
	return access.Roles
}

// TestEveryRouteByRoleAndPlace asks for every operation as everybody: what the
// policy allows at the record's place is done, and nothing else is, or told of.
func TestEveryRouteByRoleAndPlace(t *testing.T) {
	b := newIssuingBed(t)
	description := newServer(b.page).describe(http.NewServeMux())
	type operation struct{ id, method, path string }
	var operations []operation
	for _, path := range slices.Sorted(maps.Keys(description.Paths)) {
		item := description.Paths[path]
		if item.Get != nil {
			operations = append(operations, operation{item.Get.OperationID, "GET", path})
		}
		if item.Post != nil {
			operations = append(operations, operation{item.Post.OperationID, "POST", path})
		}
		if item.Delete != nil {
			operations = append(operations, operation{item.Delete.OperationID, "DELETE", path})
		}
	}
	places := map[string]*access.Principal{
		"at the place":          {Organisation: "org-a", Grants: []access.Grant{{Facility: "north"}}},
		"the whole":             {Organisation: "org-a", Grants: []access.Grant{{}}},
		"another facility":      {Organisation: "org-a", Grants: []access.Grant{{Facility: "south"}}},
		"another organisation":  {Organisation: "org-b", Grants: []access.Grant{{Facility: "north"}}},
		"another's whole":       {Organisation: "org-b", Grants: []access.Grant{{}}},
		"no organisation":       {Grants: []access.Grant{{}}},
		"a token without scope": {Organisation: "org-a", Grants: []access.Grant{{Facility: "north"}}, Scopes: []access.Action{}},
	}
	n := 100
	asked := 0
	for _, o := range operations {
		action, known := needs[o.id]
		if !known {
			if !slices.Contains(anybodys, o.id) && !slices.ContainsFunc(ofPeople, func(prefix string) bool { return strings.HasPrefix(o.path, prefix) }) {
				t.Errorf("%s %s: this table does not know it", o.method, o.path)
			}
			continue
		}
		for _, role := range testedRoles() {
			for place, like := range places {
				b.who = clerk
				n++
				id := b.issue(t, n)
				document := storetest.Dose(n).Person.Document.Number
				who := *like
				who.ID, who.Grants = "u-asker", []access.Grant{{Role: role, Facility: like.Grants[0].Facility}}
				own := like.Organisation == "org-a" && like.Grants[0].Facility != "south" && like.Scopes == nil
				// What names no record is done at the asker's own place.
				named := strings.Contains(o.path, "{id}")
				at := issuer.Place{Organisation: like.Organisation, Facility: like.Grants[0].Facility}
				if named {
					at = north
				}
				if o.id == "audit" || o.id == "outbox" { // they have no facilities
					at.Facility = ""
				}
				allowed, _ := b.issuing.Policy.Allow(&who, action, at)
				if action == "" {
					allowed = true
				}

				body, header, query := "", []string(nil), ""
				switch o.id {
				case "jobUpload":
					_, query, _ = strings.Cut(upload, "?")
					body, header = storetest.CSV(storetest.CSVRow(n)), []string{"Content-Type", "text/csv"}
				case "jobTemplate":
					query = "format=eu-dcc"
				case "job", "jobRows", "jobErrors", "jobCertificates", "jobStart", "jobPause", "jobResume", "jobCancel", "jobDelete":
					var version int64
					state := map[string]issuer.JobState{"jobPause": issuer.JobRunning, "jobResume": issuer.JobPaused, "jobDelete": issuer.JobFinished}[o.id]
					id, version = b.uploaded(t, n, cmp.Or(state, issuer.JobChecked))
					header = []string{"If-Match", etag(version)}
				case "issue", "check":
					n++
					body = order(n)
				case "search":
					body = fmt.Sprintf(`{"document":%q}`, document)
				case "revoke":
					body, header = `{"reason":"fraud"}`, []string{"If-Match", `"1"`}
				case "affected":
					body = `{"lot":"no such lot"}`
				case "revokeMany":
					body = `{"lot":"no such lot","reason":"fraud","agreed":0}`
				case "revokeListed":
					body = fmt.Sprintf(`{"lines":[%q],"reason":"fraud"}`, id)
				case "correct":
					n++
					body, header = order(n, "reason", "fraud"), []string{"If-Match", `"1"`}
				case "reinstate":
					b.who = chief
					b.do(t, "POST", "/v1/certificates/"+id+"/revoke", `{"reason":"fraud"}`, 200, "If-Match", `"1"`)
					header = []string{"If-Match", `"2"`}
				case "adverseReport":
					body = feverReport
				case "healthCardsIssue":
					body = `{"resourceType":"Parameters","parameter":[{"name":"credentialType","valueUri":"Immunization"}]}`
				}
				path := strings.NewReplacer("{id}", id, "{file}", "eu-dcc.txt", "{kid}", "00ff").Replace(o.path) + "?" + query
				name := fmt.Sprintf("%s as %s, %s", o.id, role, place)

				b.who = nil
				if res := ask(b.handler, o.method, path, body, header...); res.StatusCode != 401 {
					t.Errorf("%s %s as nobody: %d", o.method, o.path, res.StatusCode)
				}
				before := b.state(t)
				b.who = &who
				res := ask(b.handler, o.method, path, body, header...)
				text := readAll(t, res)
				asked++
				switch {
				case allowed && res.StatusCode >= 300:
					t.Errorf("%s: %d %s", name, res.StatusCode, text)
				case !allowed && res.StatusCode != 403 && res.StatusCode != 404:
					t.Errorf("%s: %d", name, res.StatusCode)
				case !allowed && b.state(t) != before:
					t.Errorf("%s: refused, and something was done", name)
				}
				if !own && (strings.Contains(text, id) || strings.Contains(text, document)) {
					t.Errorf("%s is told of another's record: %s", name, text)
				}
				if !own && named && res.StatusCode != 404 {
					t.Errorf("%s: %d tells that there is such a record", name, res.StatusCode)
				}
			}
		}
	}
	if want := len(needs) * len(testedRoles()) * len(places); asked != want {
		t.Errorf("%d were asked, want %d", asked, want)
	}
}

// state tells how the newest records stand.
func (b *issuingBed) state(t *testing.T) string {
	t.Helper()
	page, _, err := b.kit.Registry.List(t.Context(), issuer.Actor{ID: "test"}, issuer.ID{}, 5)
	if err != nil {
		t.Fatal(err)
	}
	jobs, _, err := b.issuing.Bulk.List(t.Context(), issuer.Actor{ID: "test"}, issuer.ID{}, 5)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(page, jobs)
}

// TestBadOrders: what is wrong is named, and nothing is issued; a member that is
// not an order's is refused, be it one that records have.
func TestBadOrders(t *testing.T) {
	b := newIssuingBed(t)
	b.who = clerk
	good := order(1)
	for name, tt := range map[string]struct {
		old, new string
		status   int
		says     string
	}{
		"an identifier of their own": {`"record":{`, `"record":{"id":"URN:UVCI:01:XA:MINE#1",`, 422, "id"},
		"a date of issue":            {`"record":{`, `"record":{"issued":"2020-01-01T00:00:00Z",`, 422, "issued"},
		"a state":                    {`{"formats"`, `{"state":"valid","formats"`, 422, "state"},
		"a transliteration":          {`"given":`, `"family_mrz":"OTHER","given":`, 422, "family_mrz"},
		"another's facility":         {`{"formats"`, `{"facility":"south","formats"`, 403, ""},
		"no such format":             {`"shc"`, `"paper"`, 422, "formats"},
		"a format twice":             {`"shc"`, `"eu-dcc"`, 422, "twice"},
		"no record":                  {`"record"`, `"recorded"`, 422, "record"},
		"a future dose":              {`"2026-10-01"`, `"2036-10-01"`, 422, "vaccination.date"},
		"an impossible day":          {`"2026-10-01"`, `"2026-02-30"`, 422, "vaccination.date"},
		"a negative dose":            {`"dose":1`, `"dose":-1`, 422, "dose"},
		"no JSON":                    {`{`, `<`, 400, ""},
	} {
		body := strings.Replace(good, tt.old, tt.new, 1)
		if body == good {
			t.Fatalf("%s: the request is the same", name)
		}
		res := ask(b.handler, "POST", "/v1/certificates", body)
		text := readAll(t, res)
		var p problem
		if err := json.Unmarshal([]byte(text), &p); err != nil || res.StatusCode != tt.status || !strings.Contains(p.Detail, tt.says) {
			t.Errorf("%s: %d %s", name, res.StatusCode, text)
		}
		if strings.Contains(text, "Adalovelace") || strings.Contains(text, storetest.Dose(1).Person.Document.Number) {
			t.Errorf("%s: the answer repeats what was sent: %s", name, text)
		}
	}
	if page, _, err := b.kit.Registry.List(t.Context(), issuer.Actor{ID: "test"}, issuer.ID{}, 5); err != nil || len(page) != 0 {
		t.Errorf("issued: %v, %v", page, err)
	}
	large := strings.Replace(good, `"eu-dcc"`, `"`+strings.Repeat("x", maxBody)+`"`, 1)
	if res := ask(b.handler, "POST", "/v1/certificates", large); res.StatusCode != 413 {
		t.Errorf("too large: %d", res.StatusCode)
	}
}

// TestCrossSiteWithCookie: a page elsewhere has a browser send its cookie along.
func TestCrossSiteWithCookie(t *testing.T) {
	b := newIssuingBed(t)
	b.who = chief
	id := b.issue(t, 1, "facility", "north")
	for _, tt := range []struct{ method, path string }{{"DELETE", "/v1/certificates/" + id}, {"POST", "/v1/certificates/" + id + "/reinstate"}} {
		res := ask(b.handler, tt.method, tt.path, "", "Cookie", "ampoule=x", "Sec-Fetch-Site", "cross-site", "If-Match", `"1"`)
		if res.StatusCode != 403 {
			t.Errorf("%s %s: %d", tt.method, tt.path, res.StatusCode)
		}
	}
	b.do(t, "GET", "/v1/certificates/"+id, "", 200)
}

// TestHealthCardsIssue: the cards of a person, and of nobody else.
func TestHealthCardsIssue(t *testing.T) {
	b := newIssuingBed(t)
	b.who = clerk
	first := b.issue(t, 1)
	second := storetest.Dose(1)
	second.Vaccination.Date, second.Vaccination.Dose, second.Vaccination.Lot = "2026-10-20", 2, "SPEC-LOT-8"
	record := map[string]any{"person": second.Person, "vaccination": second.Vaccination}
	body, err := json.Marshal(map[string]any{"record": record, "formats": []map[string]any{{"format": "eu-dcc", "expires": storetest.Day.AddDate(0, 6, 0)}}})
	if err != nil {
		t.Fatal(err)
	}
	b.do(t, "POST", "/v1/certificates", string(body), 201)
	// Somebody of the same name and birthday, with another passport.
	second.Person.Document.Number = "OTHER1"
	record["person"] = second.Person
	if body, err = json.Marshal(map[string]any{"record": record, "formats": []map[string]any{{"format": "shc"}}}); err != nil {
		t.Fatal(err)
	}
	b.do(t, "POST", "/v1/certificates", string(body), 201)

	operation := func(patient string, parameters string) string {
		t.Helper()
		res := ask(b.handler, "POST", "/fhir/Patient/"+patient+"/$health-cards-issue", `{"resourceType":"Parameters","parameter":[`+parameters+`]}`, "Content-Type", fhirJSON)
		if res.Header.Get("Content-Type") != fhirJSON {
			t.Errorf("%s", res.Header.Get("Content-Type"))
		}
		return readAll(t, res)
	}
	for asked, want := range map[string]int{
		`{"name":"credentialType","valueUri":"Immunization"}`: 2,
		`{"name":"credentialType","valueUri":"https://smarthealth.cards#covid19"},{"name":"credentialType","valueUri":"https://smarthealth.cards#immunization"}`: 2,
		`{"name":"credentialType","valueUri":"Immunization"},{"name":"_since","valueDateTime":"2026-10-15"}`:                                                     1,
		`{"name":"credentialType","valueUri":"Immunization"},{"name":"_since","valueDateTime":"2027"}`:                                                           0,
		`{"name":"credentialType","valueUri":"Observation"}`:                                                                                                     0,
	} {
		text := operation(first, asked)
		var p parameters
		if err := json.Unmarshal([]byte(text), &p); err != nil || p.ResourceType != "Parameters" || len(p.Parameter) != want {
			t.Errorf("%s: %s", asked, text)
		}
		for _, c := range p.Parameter {
			if got := b.kit.Verify(t, c.String, nil); c.Name != "verifiableCredential" || got != verifier.Valid {
				t.Errorf("%s: %s", c.Name, got)
			}
		}
	}
	for patient, parameters := range map[string]string{
		first: ``, "nobody": `{"name":"credentialType","valueUri":"Immunization"}`,
	} {
		if text := operation(patient, parameters); !strings.Contains(text, "OperationOutcome") {
			t.Errorf("%s", text)
		}
	}
	if text := operation(first, `{"name":"credentialType","valueString":"Immunization"}`); !strings.Contains(text, "parameter[0].valueUri") {
		t.Errorf("%s", text)
	}
	if _, c := b.do(t, "GET", "/fhir/metadata", "", 200); c["fhirVersion"] != "4.0.1" {
		t.Errorf("%v", c)
	}
}

// TestCheckSpelling: the check tells the passport spelling of a name, and the offer
// what each format cannot do without.
func TestCheckSpelling(t *testing.T) {
	b := newIssuingBed(t)
	b.who = clerk
	for _, tt := range []struct{ name, want string }{
		{`{"family":"Spécimen-Müller","given":"Ada"}`, `map[family:SPECIMEN<MUELLER given:ADA]`},
		{`{"full":"سارة"}`, `map[full:SARXAH]`},
		{`{"family":"Specimen 山"}`, `map[family:SPECIMEN unmapped:山]`},
	} {
		_, checked := b.do(t, "POST", "/v1/certificates/check", `{"record":{"person":{"name":`+tt.name+`},"vaccination":{"date":"2026-10-01"}},"formats":[{"format":"ddcc"}]}`, 200)
		if got := fmt.Sprint(checked["spelling"]); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
	_, offer := b.do(t, "GET", "/v1/issuing", "", 200)
	for _, f := range offer["formats"].([]any) {
		if required := f.(map[string]any)["required"].([]any); !slices.Contains(required, any("date")) {
			t.Errorf("%v", f)
		}
	}
	for _, c := range offer["sets"].(map[string]any)["country-2-codes"].([]any) {
		if c := c.(map[string]any); c["code"] == "CH" && c["alpha3"] != "CHE" {
			t.Errorf("%v", c)
		}
	}
}
