//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ampoule/internal/storetest"
)

// box is a machine with `ampoule serve` on it: a process and a folder. Its log
// is kept over all its lives, and must name nobody when the test ends.
type box struct {
	t        *testing.T
	dir      string // that of the test; the store's is in it
	postgres string // connection string; empty: SQLite
	port     string
	set      []string // settings besides
	command  *exec.Cmd
	ended    chan struct{} // closed when it has ended
	out, log output
	mu       sync.Mutex // held while secrets is used
	secrets  map[string]string
}

// output is what a process has written so far.
type output struct {
	mu   sync.Mutex // held while text is used
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// onBoth runs a test against a new service on SQLite and one on PostgreSQL.
func onBoth(t *testing.T, f func(t *testing.T, s *box), set ...string) {
	for _, database := range []string{"sqlite", "postgresql"} {
		t.Run(database, func(t *testing.T) {
			t.Parallel()
			dsn := ""
			if database == "postgresql" {
				dsn, _ = storetest.Postgres(t)
			}
			f(t, newBox(t, dsn, set...))
		})
	}
}

func newBox(t *testing.T, dsn string, set ...string) *box {
	t.Helper()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	s := &box{t: t, dir: t.TempDir(), postgres: dsn, port: port, set: set, secrets: make(map[string]string)}
	t.Cleanup(func() {
		if s.command != nil {
			s.kill()
		}
		// What is printed at the first run is for who stands before it.
		s.namesNobody(s.log.String() + printedToken.ReplaceAllString(s.out.String(), ""))
	})
	return s
}

// store is the folder of the store.
func (s *box) store() string { return filepath.Join(s.dir, "store") }

// settings are those of all commands on the service.
func (s *box) settings() (out []string) {
	for _, set := range append([]string{
		"listen=127.0.0.1:" + s.port, "log.level=debug", "http.rate=0", "http.stop=2s", "verifier.refresh=1s",
		"store.dir=" + s.store(), "store.postgres=" + s.postgres, "cards.address=https://issuer.example/cards",
	}, s.set...) {
		out = append(out, "--set", set)
	}
	return out
}

// clean is the environment without settings of Ampoule.
func clean() (out []string) {
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "AMPOULE_") })
}

// run runs a command on the service, and wants an exit code.
func (s *box) run(code int, words ...string) string {
	s.t.Helper()
	c := exec.Command("ampoule", words...)
	c.Dir, c.Env = s.dir, clean()
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if c.ProcessState == nil || c.ProcessState.ExitCode() != code {
		s.t.Fatalf("ampoule %s: %v, want %d\n%s%s", strings.Join(words, " "), err, code, out, stderr.String())
	}
	return string(out) + stderr.String()
}

// operate runs a command of an operator, with the settings of the service.
func (s *box) operate(code int, words ...string) string {
	s.t.Helper()
	return s.run(code, append(words, s.settings()...)...)
}

// start starts the server, and waits until it is ready.
func (s *box) start() {
	s.t.Helper()
	s.command = exec.Command("ampoule", append([]string{"serve"}, s.settings()...)...)
	s.command.Dir, s.command.Env = s.dir, clean()
	s.command.Stdout, s.command.Stderr = &s.out, &s.log
	s.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.command.Start(); err != nil {
		s.t.Fatal(err)
	}
	command, ended := s.command, make(chan struct{})
	s.ended = ended
	go func() { _ = command.Wait(); close(ended) }()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if res, err := http.Get(s.url("/readyz")); err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-ended:
			s.t.Fatalf("the server has ended: %s", s.log.String())
		default:
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("the server is not ready: %s", s.log.String())
		}
	}
}

func (s *box) url(path string) string { return "http://127.0.0.1:" + s.port + path }

// kill ends the server as a machine that stops does, as far as a process can.
func (s *box) kill() {
	_ = s.command.Process.Kill()
	<-s.ended
	s.command = nil
}

// stop ends it as an operator does.
func (s *box) stop() {
	s.t.Helper()
	_ = s.command.Process.Signal(syscall.SIGTERM)
	<-s.ended
	if code := s.command.ProcessState.ExitCode(); code != 0 {
		s.t.Errorf("the server ended with %d: %s", code, s.log.String())
	}
	s.command = nil
}

// seeded notes texts that must not stand in a log.
func (s *box) seeded(what string, texts ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, text := range texts {
		if text != "" {
			s.secrets[text] = what
		}
	}
}

// namesNobody looks for everything that was seeded.
func (s *box) namesNobody(text string) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for secret, what := range s.secrets {
		if at := strings.Index(text, secret); at >= 0 {
			s.t.Errorf("%s %q is in the log: …%s…", what, secret, text[max(0, at-200):min(len(text), at+200)])
		}
	}
}

// caller asks the service as somebody.
type caller struct {
	s     *box
	http  *http.Client
	token string
}

func (s *box) caller() *caller {
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return &caller{s, &http.Client{Jar: jar, Timeout: time.Minute, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, ""}
}

// ask asks, and returns what was answered: nothing, where the server went away.
func (c *caller) ask(method, path, body string, header ...string) (*http.Response, string, error) {
	r, err := http.NewRequest(method, c.s.url(path), strings.NewReader(body))
	if err != nil {
		return nil, "", err
	}
	if body != "" {
		kind := "application/x-www-form-urlencoded"
		if strings.HasPrefix(body, "{") {
			kind = "application/json"
		}
		r.Header.Set("Content-Type", kind)
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := c.http.Do(r)
	if err != nil {
		return nil, "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return res, string(text), err
}

// want asks, and wants a status. A JSON answer is read into a map.
func (c *caller) want(status int, method, path, body string, header ...string) map[string]any {
	c.s.t.Helper()
	res, text, err := c.ask(method, path, body, header...)
	if err != nil {
		c.s.t.Fatalf("%s %s: %v", method, path, err)
	}
	if res.StatusCode != status {
		c.s.t.Fatalf("%s %s: %d, want %d: %.600s", method, path, res.StatusCode, status, text)
	}
	var out map[string]any
	if strings.Contains(res.Header.Get("Content-Type"), "json") && json.Unmarshal([]byte(text), &out) != nil {
		c.s.t.Fatalf("%s %s: %s", method, path, text)
	}
	return out
}

// file asks for something that is no JSON object.
func (c *caller) file(path string) string {
	c.s.t.Helper()
	res, text, err := c.ask("GET", path, "")
	if err != nil || res.StatusCode != http.StatusOK {
		c.s.t.Fatalf("GET %s: %v %v", path, res, err)
	}
	return text
}

var printedToken = regexp.MustCompile(`token: +(\S+)`)

// setUp goes through the first run, and returns its administrator.
func (s *box) setUp() *caller {
	s.t.Helper()
	return s.setUpAs("org-1")
}

// setUpAs sets it up for an organisation.
func (s *box) setUpAs(organisation string) *caller {
	s.t.Helper()
	m := printedToken.FindAllStringSubmatch(s.out.String(), -1)
	if m == nil {
		s.t.Fatalf("no token: %s", s.out.String())
	}
	token, password := m[len(m)-1][1], "correct specimen battery"
	s.seeded("set-up token", token)
	s.seeded("password", password)
	s.seeded("login name", "specimen.administrator")
	admin := s.caller()
	admin.want(http.StatusSeeOther, "POST", "/setup", url.Values{
		"token": {token}, "organisation": {organisation}, "name": {"Health authority of the tests"}, "participant": {"XA"}, "country": {"XA"},
		"language": {"en"}, "zone": {"UTC"}, "login": {"specimen.administrator"}, "password": {password},
	}.Encode())
	return admin
}

// letIn invites somebody with a role, who accepts with a password.
func (c *caller) letIn(login, role, facility string) *caller {
	s := c.s
	s.t.Helper()
	password := "correct battery of the " + role
	s.seeded("login name", login)
	s.seeded("password", password)
	made := c.want(http.StatusCreated, "POST", "/v1/people", fmt.Sprintf(`{"login":%q,"grants":[{"role":%q,"facility":%q}]}`, login, role, facility))
	secret := made["invitation"].(map[string]any)["secret"].(string)
	s.seeded("invitation", secret)
	one := s.caller()
	one.want(http.StatusSeeOther, "POST", "/invitation/"+secret, url.Values{"password": {password}}.Encode())
	return one
}

// program makes a token for some actions, and returns who asks by it.
func (c *caller) program(scopes ...string) *caller {
	c.s.t.Helper()
	list, err := json.Marshal(scopes)
	if err != nil {
		c.s.t.Fatal(err)
	}
	made := c.want(http.StatusCreated, "POST", "/v1/tokens", fmt.Sprintf(`{"name":"desk","scopes":%s,"days":2}`, list))
	p := c.s.caller()
	p.token = made["secret"].(string)
	c.s.seeded("token", p.token)
	return p
}

// lately is a day in the last weeks, on which the doses of the tests were given.
var lately = time.Now().AddDate(0, 0, -20).Format(time.DateOnly)

// orderOf asks for an EU DCC and a SMART Health Card of person n.
func (s *box) orderOf(n, dose int, more ...string) string {
	s.t.Helper()
	r := storetest.Dose(n)
	s.seeded("name", r.Person.Name.Family, r.Person.Name.Given)
	s.seeded("birth date", string(r.Person.BirthDate))
	s.seeded("document", r.Person.Document.Number)
	v := r.Vaccination
	body := map[string]any{
		"record": map[string]any{
			"person": map[string]any{
				"name":       map[string]any{"family": r.Person.Name.Family, "given": r.Person.Name.Given},
				"birth_date": r.Person.BirthDate, "sex": r.Person.Sex, "document": r.Person.Document,
			},
			"vaccination": map[string]any{
				"disease": v.Disease, "vaccine": v.Vaccine, "product": v.Product, "manufacturer": v.Manufacturer, "lot": v.Lot,
				"date": lately, "dose": dose, "doses": 2, "country": "AT",
			},
		},
		"formats": []map[string]any{{"format": "eu-dcc", "expires": time.Now().AddDate(0, 6, 0).Format(time.RFC3339)}, {"format": "shc"}},
	}
	for i := 0; i+1 < len(more); i += 2 {
		body[more[i]] = more[i+1]
	}
	out, err := json.Marshal(body)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(out)
}

// textsOf are the texts of a record's codes, by their format.
func textsOf(record map[string]any) map[string]string {
	out := make(map[string]string)
	for _, c := range record["certificates"].([]any) {
		c := c.(map[string]any)
		out[c["format"].(string)] = c["text"].(string)
	}
	return out
}

// documents returns the identifiers of the records of each document that there is.
func (c *caller) documents() map[string][]string {
	c.s.t.Helper()
	var ids []string
	for cursor, more := "", true; more; {
		page := c.want(http.StatusOK, "GET", "/v1/certificates?limit=500&cursor="+cursor, "")
		for _, item := range page["items"].([]any) {
			ids = append(ids, item.(map[string]any)["id"].(string))
		}
		cursor, more = page["next"].(string)
	}
	// Each reading waits for its line on the audit log: side by side they wait less.
	var mu sync.Mutex // held while out and failed are used
	out, failed := make(map[string][]string), error(nil)
	var readers sync.WaitGroup
	for n := range 8 {
		readers.Go(func() {
			for i := n; i < len(ids); i += 8 {
				var read struct {
					Record struct {
						Person struct{ Document struct{ Number string } }
					}
				}
				res, text, err := c.ask("GET", "/v1/certificates/"+ids[i], "")
				if err == nil && res.StatusCode != http.StatusOK {
					err = fmt.Errorf("%s: %s", res.Status, text)
				}
				if err == nil {
					err = json.Unmarshal([]byte(text), &read)
				}
				number := read.Record.Person.Document.Number
				mu.Lock()
				failed = errors.Join(failed, err)
				out[number] = append(out[number], ids[i])
				mu.Unlock()
			}
		})
	}
	readers.Wait()
	if failed != nil {
		c.s.t.Fatal(failed)
	}
	return out
}
