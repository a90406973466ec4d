package deviceapi

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"ampoule/device"
	"ampoule/format/oid"
	"ampoule/internal/fleettest"
	"ampoule/party/fleet"
)

const secret = "SPECIMEN-secret-0123456789"

// transmission is one of DS01 with two records, and change is what is put in the place
// of what.
func transmission(id string, change ...string) []byte {
	body := `{"meta":{"schemaVersion":"0.8.1","transferType":"rtm","transferId":"` + id + `","transferSrc":"org.specimen","transferredAt":"2026-11-22T10:16:00Z"},
	"data":[{"AMID":"x","CID":"ATA","EDOP":"2024-01-01","EMFR":"SPECIMEN Radio","EMOD":"R1","EPQS":"E006/2","ESER":"R-2","EMSV":"1","DLST":{"TVC":{"SID":"1","SMFR":"a","SMOD":"b"}},
	"records":[{"ABST":"20261122T100000Z","ALRM":null,"BEMD":1,"EERR":null,"TVC":4},{"ABST":"20261122T100500Z","ALRM":"HEAT","BEMD":1,"EERR":null,"TVC":4.5}]}]}`
	return []byte(strings.NewReplacer(change...).Replace(body))
}

func squeeze(data []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(data)
	_ = z.Close()
	return b.Bytes()
}

// world is a door over TLS with its memory, and what it saw.
type world struct {
	*httptest.Server
	door   *Server
	memory *fleettest.Memory
	plans  *Plans
	log    bytes.Buffer

	mu   sync.Mutex
	seen []fleet.Transmission
}

func open(t *testing.T, change func(*Server)) *world {
	t.Helper()
	self, err := oid.Parse("2.25.77")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{memory: &fleettest.Memory{}, plans: &Plans{}}
	supplier := fleet.Source{Supplier: "specimen", Level: device.LevelMutual}
	w.door = &Server{
		Ingester: w.memory,
		Who: &fleettest.Accounts{
			Secrets:      map[string]fleet.Source{":" + secret: supplier, "user:" + secret: supplier},
			Certificates: map[string]fleet.Source{"urn:oid:2.25.77": {Device: self, Level: device.LevelMutual}}, Nobody: ErrNobody,
		},
		Faults: w.plans, Log: slog.New(slog.NewTextHandler(&w.log, nil)),
		Saw: func(_ fleet.Source, s fleet.Transmission) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.seen = append(w.seen, s)
		},
	}
	if change != nil {
		change(w.door)
	}
	w.Server = httptest.NewUnstartedServer(w.door.Handler())
	w.Server.Config.ErrorLog = nil
	w.Server.TLS = TLS(nil)
	w.Server.TLS.GetCertificate = nil
	w.Server.EnableHTTP2 = true
	w.StartTLS()
	w.Client().CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	t.Cleanup(func() {
		w.Close()
		if strings.Contains(w.log.String(), secret) {
			t.Errorf("a secret is in the log: %s", w.log.String())
		}
	})
	return w
}

// post sends a body; header are pairs.
func (w *world) post(t *testing.T, path string, body []byte, header ...string) (int, http.Header, map[string]any) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.URL+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+secret)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
		if header[i+1] == "" {
			r.Header.Del(header[i])
		}
	}
	answer, err := w.Client().Do(r)
	if err != nil {
		return 0, nil, nil
	}
	defer answer.Body.Close()
	var said map[string]any
	if err := json.NewDecoder(answer.Body).Decode(&said); err != nil {
		t.Fatal(answer.Status, err)
	}
	return answer.StatusCode, answer.Header, said
}

// last is the newest transmission that was seen, once so many were.
func (w *world) last(t *testing.T, n int) fleet.Transmission {
	t.Helper()
	for range 200 {
		w.mu.Lock()
		if len(w.seen) >= n {
			defer w.mu.Unlock()
			return w.seen[n-1]
		}
		w.mu.Unlock()
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("only %d were seen", len(w.seen))
	return fleet.Transmission{}
}

func TestReceive(t *testing.T) {
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("user:"+secret))
	good := transmission("a")
	for _, tt := range []struct {
		name   string
		path   string
		body   []byte
		header []string
		status int
		reason string // of a problem
		stored int
	}{
		{"plain", "/cce", good, nil, 200, "", 4},
		{"gzip", "/cce", squeeze(good), []string{"Content-Encoding", "gzip"}, 200, "", 4},
		{"character set", "/cce", good, []string{"Content-Type", "application/json; charset=UTF-8"}, 200, "", 4},
		{"Basic", "/cce", good, []string{"Authorization", basic}, 200, "", 4},
		{"token header", "/cce", good, []string{"Authorization", "", "X-Auth-Token", secret}, 200, "", 4},
		{"no secret", "/cce", good, []string{"Authorization", ""}, 401, "nobody", 0},
		{"another secret", "/cce", good, []string{"Authorization", "Bearer x"}, 401, "nobody", 0},
		{"a rule broken", "/cce", transmission("a", `"BEMD":1,`, ""), nil, 200, "", 2},
		{"no JSON", "/cce", []byte(`{"meta`), nil, 400, "malformed-json", 0},
		{"no transmission", "/cce", []byte(`{}`), nil, 400, "no-transmission", 0},
		{"a name twice", "/cce", []byte(`{"meta":{},"meta":{},"data":[]}`), nil, 400, "duplicate-key", 0},
		{"not UTF-8", "/cce", []byte("{\"meta\":{\"transferId\":\"\xff\"},\"data\":[]}"), nil, 400, "invalid-utf8", 0},
		{"gzip twice", "/cce", squeeze(squeeze(good)), []string{"Content-Encoding", "gzip"}, 400, "encoded-twice", 0},
		{"gzip untold", "/cce", squeeze(good), nil, 400, "encoded-twice", 0},
		{"gzip in base64", "/cce", []byte(base64.StdEncoding.EncodeToString(squeeze(good))), nil, 400, "encoded-twice", 0},
		{"no gzip", "/cce", good, []string{"Content-Encoding", "gzip"}, 400, "bad-gzip", 0},
		{"brotli", "/cce", good, []string{"Content-Encoding", "br"}, 415, "content-encoding", 0},
		{"a form", "/cce", good, []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, "content-type", 0},
		{"another character set", "/cce", good, []string{"Content-Type", "application/json; charset=latin1"}, 415, "content-type", 0},
		{"too large", "/cce", bytes.Repeat([]byte(" "), maxBody+1), nil, 413, "body-too-large", 0},
		{"large inside", "/cce", squeeze(append(bytes.Repeat([]byte(" "), 2<<20), good...)), []string{"Content-Encoding", "gzip"}, 200, "", 4},
		{"a bomb", "/cce", squeeze(make([]byte, maxInflated+1)), []string{"Content-Encoding", "gzip"}, 413, "inflated-too-large", 0},
		{"elsewhere", "/nothing", good, nil, 404, "not-found", 0},
		{"no redirect to a tidy address", "//cce", good, nil, 404, "not-found", 0},
		{"no network server", "/chirpstack", good, nil, 404, "not-found", 0},
		{"SenML", "/senml", []byte(`[{"n":"urn:oid:2.25.9/TVC","u":"Cel","t":1800000000,"v":4}]`), []string{"Content-Type", "application/senml+json"}, 200, "", 1},
		{"SenML without a time", "/senml", []byte(`[{"n":"urn:oid:2.25.9/TVC","u":"Cel","v":4}]`), []string{"Content-Type", "application/senml+json"}, 400, "no-time", 0},
		{"SenML as JSON", "/senml", []byte(`[]`), nil, 415, "content-type", 0},
		{"a segment", "/segments", []byte{0xd2, 0x80}, []string{"Content-Type", fleet.MediaSegment}, 200, "", 1},
		{"two as one", "/segments", []byte{0xd2, 0x80, 0xd2, 0x81, 0}, []string{"Content-Type", fleet.MediaSegment}, 400, "too-many-segments", 0},
		{"two", "/segments", []byte{0xd2, 0x80, 0xd2, 0x81, 0}, []string{"Content-Type", fleet.MediaSegments}, 200, "", 2},
		{"another kind of COSE", "/segments", []byte{0xd2, 0x80}, []string{"Content-Type", `application/cose; cose-type="cose-mac0"`}, 415, "content-type", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := open(t, nil)
			status, header, said := w.post(t, tt.path, tt.body, tt.header...)
			if status != tt.status {
				t.Fatal(status, said)
			}
			if status != 200 {
				if said["reason"] != tt.reason || header.Get("Content-Type") != "application/problem+json" {
					t.Errorf("%v %v", header, said)
				}
			} else if said["stored"] != float64(tt.stored) {
				t.Errorf("%v", said)
			}
			if w.memory.Kept() != tt.stored {
				t.Errorf("%d are kept", w.memory.Kept())
			}
			if status == 401 && len(header.Values("WWW-Authenticate")) != 2 {
				t.Errorf("%v", header)
			}
		})
	}
}

func TestWhatIsSaidAndSeen(t *testing.T) {
	w := open(t, nil)
	body := transmission("a", `"ESER":"R-2",`, `"ESER":"R-2","LAT":100,`)
	status, _, said := w.post(t, "/cce", squeeze(body), "Content-Encoding", "gzip")
	if status != 200 || fmt.Sprint(said["findings"]) != "[map[path:data[0].LAT reason:bad-value]]" {
		t.Errorf("%d %v", status, said)
	}
	seen := w.last(t, 1)
	if seen.Supplier != "specimen" || seen.Way != "bearer" || !seen.Secure || seen.Encoding != "gzip" || seen.Size != len(squeeze(body)) || seen.Status != 200 || seen.TransferID != "a" || seen.Records != 2 ||
		len(seen.Findings) != 1 || seen.Stored != 4 || seen.Step != 300 || seen.First.Unix() != 1795341600 || !seen.Last.Equal(seen.Alarm) || seen.Answered.Before(seen.Received) {
		t.Errorf("%+v", seen)
	}
	// The same again, dated anew, is a repetition and has the same content.
	if status, _, said := w.post(t, "/cce", bytes.Replace(body, []byte("10:16"), []byte("10:20"), 1)); status != 200 || said["stored"] != 0.0 || said["repeated"] != 4.0 {
		t.Errorf("%d %v", status, said)
	}
	if again := w.last(t, 2); again.Content != seen.Content || again.Content == [32]byte{} || again.Repeated != 4 {
		t.Errorf("%+v", again)
	}
	d := w.memory.Deliveries()[0]
	if d.Level != device.LevelToken || d.Via != "https" || d.Supplier != "specimen" || !bytes.Equal(d.Raw, body) {
		t.Errorf("%+v", d)
	}
	if w.post(t, "/cce", []byte("{")); w.last(t, 3).Unreadable == "" {
		t.Error("it was read")
	}
}

func TestNotKept(t *testing.T) {
	for _, tt := range []struct {
		err    error
		status int
		wait   string
	}{{fleet.ErrFull, 503, "300"}, {fmt.Errorf("2.25.77: %w", fleet.ErrDenied), 403, ""}, {errors.New("disk on fire"), 500, ""}} {
		w := open(t, nil)
		w.memory.Before(func(context.Context, *fleet.Delivery) error { return tt.err })
		if status, header, said := w.post(t, "/cce", transmission("a")); status != tt.status || header.Get("Retry-After") != tt.wait || strings.Contains(fmt.Sprint(said), "fire") {
			t.Errorf("%v: %d %v %v", tt.err, status, header, said)
		}
	}
}

func TestBusy(t *testing.T) {
	for _, places := range []int{1, 4} {
		t.Run(strconv.Itoa(places), func(t *testing.T) { busy(t, places) })
	}
}

// busy fills the places that a supplier may have.
func busy(t *testing.T, places int) {
	w := open(t, func(s *Server) { s.Places = places })
	come, proceed := make(chan struct{}), make(chan struct{})
	w.memory.Before(func(context.Context, *fleet.Delivery) error { close(come); <-proceed; return nil })
	done := make(chan int)
	go func() {
		status, _, _ := w.post(t, "/cce", transmission("a"))
		done <- status
	}()
	<-come
	if status, header, _ := w.post(t, "/cce", transmission("b")); status != 429 || header.Get("Retry-After") != "10" {
		t.Errorf("%d %v", status, header)
	}
	// With one place of four taken the others are for others.
	if status, _, _ := w.post(t, "/cce", transmission("b"), "Authorization", "Bearer x"); places > 1 && status != http.StatusUnauthorized {
		t.Error(status)
	}
	close(proceed)
	if status := <-done; status != 200 {
		t.Error(status)
	}
}

func TestCertificate(t *testing.T) {
	w := open(t, nil)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	shown := func(uri string) {
		at, err := url.Parse(uri)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), URIs: []*url.URL{at}}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		transport := w.Client().Transport.(*http.Transport)
		transport.CloseIdleConnections()
		transport.TLSClientConfig.Certificates = []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
	}
	shown("urn:oid:2.25.77")
	status, _, said := w.post(t, "/senml", []byte(`[{"n":"TVC","u":"Cel","t":1800000000,"v":4}]`), "Content-Type", "application/senml+json", "Authorization", "")
	if status != 200 {
		t.Fatal(status, said)
	}
	if d := w.memory.Deliveries()[0]; d.Device.String() != "2.25.77" || d.Level != device.LevelMutual || d.Series[0].Device.String() != "oid:2.25.77" {
		t.Errorf("%+v", d)
	}
	// A secret does not help who shows another's certificate.
	shown("urn:oid:2.25.78")
	if status, _, _ := w.post(t, "/cce", transmission("a")); status != 401 {
		t.Error(status)
	}
}

func TestClockless(t *testing.T) {
	w := open(t, func(s *Server) {
		s.Clockless = func(fleet.Source) bool { return true }
		s.Now = func() time.Time { return time.Unix(1_800_000_000, 0) }
	})
	if status, _, said := w.post(t, "/senml", []byte(`[{"n":"a/TVC","u":"Cel","v":4}]`), "Content-Type", "application/senml+json"); status != 200 || w.memory.Deliveries()[0].Series[0].Readings[0].At != 1_800_000_000 {
		t.Error(status, said)
	}
}

func TestMounted(t *testing.T) {
	w := open(t, func(s *Server) {
		s.EST = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, `{"est":true}`) })
		s.ChirpStack = func(source fleet.Source, event string, body []byte) (*fleet.Delivery, error) {
			return &fleet.Delivery{Source: source, Segments: [][]byte{[]byte(event)}}, nil
		}
	})
	if status, _, said := w.post(t, "/.well-known/est/cacerts", nil); status != 200 || said["est"] != true {
		t.Error(status, said)
	}
	if status, _, _ := w.post(t, "/chirpstack?event=up", []byte(`{}`)); status != 200 || string(w.memory.Deliveries()[0].Segments[0]) != "up" {
		t.Error(status)
	}
}

// A supplier that does as DS01 says meets every fault, and passes; nothing is stored
// before the answer was 2xx.
func TestFaults(t *testing.T) {
	now := time.Now()
	w := open(t, nil)
	plan := fleet.Plan{Supplier: "specimen", From: now.Add(-time.Minute), Until: now.Add(time.Hour), Faults: []fleet.Fault{
		{Status: 500}, {Status: 503}, {Status: 408}, {Status: 429, Wait: 1}, {Close: true}, {Status: 404}, {Delay: 50 * time.Millisecond},
	}}
	if err := w.plans.Set(plan); err != nil {
		t.Fatal(err)
	}
	attempts := 0
	for {
		attempts++
		status, header, _ := w.post(t, "/cce", transmission("a"))
		if want := plan.Faults[attempts-1].Status; want != 0 && status != want || want == 429 && header.Get("Retry-After") != "1" {
			t.Errorf("attempt %d: %d, %v", attempts, status, header)
		}
		if status == 200 {
			break
		}
		if w.memory.Kept() != 0 {
			t.Fatal("stored, and not said")
		}
		wait, _ := strconv.Atoi(header.Get("Retry-After"))
		time.Sleep(time.Duration(wait)*time.Second + time.Duration(attempts)*20*time.Millisecond)
	}
	if attempts != 7 || w.memory.Kept() != 4 {
		t.Errorf("%d attempts, %d kept", attempts, w.memory.Kept())
	}
	w.last(t, 7)
	answers := map[string]fleet.Answer{}
	for _, d := range fleet.Judge("specimen", w.seen, time.Now()).Duties {
		answers[d.ID] = d.Answer
	}
	for id, want := range map[string]fleet.Answer{"1.1": fleet.Pass, "1.8": fleet.Pass, "2.1": fleet.Pass, "3.1": fleet.Pass, "4.1": fleet.Pass, "4.2": fleet.Pass, "4.4": fleet.Pass, "4.5": fleet.Pass, "1.5": fleet.NotSeen} {
		if answers[id] != want {
			t.Errorf("%s: %s, want %s", id, answers[id], want)
		}
	}
	// Another plan: a redirect, of which one that follows it is seen.
	plan.Faults = []fleet.Fault{{Status: 302}}
	if err := w.plans.Set(plan); err != nil {
		t.Fatal(err)
	}
	status, header, _ := w.post(t, "/cce", transmission("b"))
	if status != 302 || header.Get("Location") == "" {
		t.Fatal(status, header)
	}
	if status, _, _ := w.post(t, header.Get("Location"), nil); status != 404 || !w.last(t, 9).Followed {
		t.Error(status)
	}
	for _, d := range fleet.Judge("specimen", w.seen, time.Now()).Duties {
		if d.ID == "1.5" && d.Answer != fleet.Fail {
			t.Errorf("%+v", d)
		}
	}
	if status, _, _ := w.post(t, "/cce", transmission("b")); status != 200 {
		t.Error(status)
	}
	w.plans.Clear("specimen")
	if _, _, ok := w.plans.Left("specimen"); ok {
		t.Error("the plan is still there")
	}
}

func FuzzInflate(f *testing.F) {
	f.Add(squeeze([]byte("x")))
	f.Fuzz(func(t *testing.T, data []byte) {
		if out, err := inflate(data); err == nil && len(out) > maxInflated {
			t.Fatal(len(out))
		}
	})
}
