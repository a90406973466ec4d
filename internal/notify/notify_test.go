package notify

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"mime"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"

	"ampoule/internal/fetch"
)

var notice = Notice{ID: "01J-specimen", Type: "alarm.raised", At: time.Unix(1_800_000_000, 0), Subject: "Kühlschrank 7: über 8 °C", Text: "Seit 10 Stunden.\n.\nSPECIMEN", Data: []byte(`{"rule":"HEAT"}`)}

func TestWebhook(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	hush := []byte("SPECIMEN-secret-0123456789")
	type got struct {
		header http.Header
		body   []byte
	}
	came := make(chan got, 1)
	status := http.StatusNoContent
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		came <- got{r.Header, body}
		w.Header().Set("Location", "/other")
		w.WriteHeader(status)
	}))
	defer s.Close()
	sender := &Sender{Fetch: fetch.New(fetch.Options{Roots: []*x509.Certificate{s.Certificate()}, PrivateHosts: []string{"127.0.0.1"}, Timeout: 2 * time.Second}), Now: func() time.Time { return time.Unix(1_800_000_100, 0) }}
	to := Target{Kind: Webhook, Address: s.URL + "/hook", Secret: hush, Key: private}
	if err := sender.Send(t.Context(), to, notice); err != nil {
		t.Fatal(err)
	}
	g := <-came
	const want = `{"id":"01J-specimen","type":"alarm.raised","timestamp":"2027-01-15T08:00:00Z","subject":"Kühlschrank 7: über 8 °C","text":"Seit 10 Stunden.\n.\nSPECIMEN","data":{"rule":"HEAT"}}`
	if string(g.body) != want || g.header.Get("Content-Type") != "application/json" {
		t.Errorf("%s", g.body)
	}
	// As a receiver does.
	signed := []byte(g.header.Get("webhook-id") + "." + g.header.Get("webhook-timestamp") + "." + string(g.body))
	if !bytes.HasPrefix(signed, []byte("01J-specimen.1800000100.{")) {
		t.Errorf("%s", signed)
	}
	one, two, _ := strings.Cut(g.header.Get("webhook-signature"), " ")
	mac := hmac.New(sha256.New, hush)
	mac.Write(signed)
	if one != "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)) {
		t.Error(one)
	}
	signature, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(two, "v1a,"))
	if err != nil || !ed25519.Verify(public, signed, signature) {
		t.Error(two, err)
	}
	for code, kind := range map[int]error{200: nil, 202: nil, 302: ErrPermanent, 400: ErrPermanent, 401: ErrPermanent, 408: ErrTemporary, 410: ErrPermanent, 429: ErrTemporary, 500: ErrTemporary, 503: ErrTemporary} {
		status = code
		err := sender.Send(t.Context(), to, notice)
		<-came
		if !errors.Is(err, kind) || kind == nil && err != nil {
			t.Errorf("%d: %v", code, err)
		}
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		change func(*Target, *Notice)
		want   error
	}{
		"not https":         {func(to *Target, _ *Notice) { to.Address = "http://example.org/" }, ErrPermanent},
		"inside":            {func(to *Target, _ *Notice) { to.Address = "https://10.0.0.1/" }, ErrPermanent},
		"nobody there":      {func(to *Target, _ *Notice) { to.Address = "https://127.0.0.1:1/" }, ErrTemporary},
		"no signature":      {func(to *Target, _ *Notice) { to.Secret, to.Key = nil, nil }, ErrPermanent},
		"a short secret":    {func(to *Target, _ *Notice) { to.Secret = []byte("x") }, ErrPermanent},
		"a key of ECDSA":    {func(to *Target, _ *Notice) { to.Key = other }, ErrPermanent},
		"data that is none": {func(_ *Target, n *Notice) { n.Data = []byte("{") }, ErrPermanent},
		"a bad identifier":  {func(_ *Target, n *Notice) { n.ID = "a\r\nb" }, ErrPermanent},
		"no identifier":     {func(_ *Target, n *Notice) { n.ID = "" }, ErrPermanent},
		"too long":          {func(_ *Target, n *Notice) { n.Text = strings.Repeat("x", maxText+1) }, ErrPermanent},
		"no such way":       {func(to *Target, _ *Notice) { to.Kind = Mail }, ErrPermanent},
	} {
		to, n := to, notice
		tt.change(&to, &n)
		if err := sender.Send(t.Context(), to, n); !errors.Is(err, tt.want) || strings.Contains(err.Error(), string(hush)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// mailServer is a small one that works: EHLO, STARTTLS, AUTH PLAIN, MAIL, RCPT, DATA.
type mailServer struct {
	net.Listener
	tls      *tls.Config
	implicit bool
	offers   bool           // STARTTLS
	refuse   map[string]int // status by command

	mu   sync.Mutex
	mail []string // from, to, text
	auth string
}

func (m *mailServer) serve() {
	for {
		c, err := m.Accept()
		if err != nil {
			return
		}
		go m.talk(c)
	}
}

func (m *mailServer) talk(c net.Conn) {
	defer func() { c.Close() }()
	if m.implicit {
		c = tls.Server(c, m.tls)
	}
	r := bufio.NewReader(c)
	say := func(line string) { fmt.Fprintf(c, "%s\r\n", line) }
	say("220 SPECIMEN")
	var from, to string
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		verb := strings.ToUpper(strings.SplitN(line, " ", 2)[0])
		if code := m.refuse[verb]; code != 0 {
			say(fmt.Sprintf("%d no, reader@example.org", code))
			continue
		}
		switch verb {
		case "EHLO":
			say("250-SPECIMEN")
			if m.offers {
				say("250-STARTTLS")
			}
			say("250 AUTH PLAIN")
		case "STARTTLS":
			if !m.offers {
				say("502 no")
				continue
			}
			say("220 go")
			c = tls.Server(c, m.tls)
			r = bufio.NewReader(c)
		case "AUTH":
			m.mu.Lock()
			m.auth = line
			m.mu.Unlock()
			say("235 well")
		case "MAIL":
			from = line
			say("250 well")
		case "RCPT":
			to = line
			say("250 well")
		case "DATA":
			say("354 go")
			var text strings.Builder
			for {
				line, err := r.ReadString('\n')
				if err != nil {
					return
				}
				if line == ".\r\n" {
					break
				}
				text.WriteString(strings.TrimPrefix(line, "."))
			}
			if code := m.refuse["END"]; code != 0 {
				say(fmt.Sprintf("%d no", code))
				continue
			}
			m.mu.Lock()
			m.mail = append(m.mail, from, to, text.String())
			m.mu.Unlock()
			say("250 kept")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("502 what?")
		}
	}
}

func TestMail(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	root, _ := x509.ParseCertificate(der)
	roots := x509.NewCertPool()
	roots.AddCert(root)
	for _, tt := range []struct {
		name     string
		security Security
		server   *mailServer
		change   func(*Post, *Notice, *string)
		want     error
	}{
		{name: "STARTTLS", security: StartTLS, server: &mailServer{offers: true}},
		{name: "TLS", security: Implicit, server: &mailServer{implicit: true}},
		{name: "this machine", security: Loopback},
		{name: "no STARTTLS", security: StartTLS, want: ErrTemporary},
		{name: "not protected elsewhere", security: Loopback, change: func(p *Post, _ *Notice, _ *string) { p.Server = "192.0.2.1:25" }, want: ErrPermanent},
		{name: "not protected", change: nil, want: ErrPermanent},
		{name: "unknown authority", security: StartTLS, server: &mailServer{offers: true}, change: func(p *Post, _ *Notice, _ *string) { p.Roots = x509.NewCertPool() }, want: ErrTemporary},
		{name: "not let in", security: Implicit, server: &mailServer{implicit: true, refuse: map[string]int{"AUTH": 535}}, want: ErrTemporary},
		{name: "no such reader", security: Implicit, server: &mailServer{implicit: true, refuse: map[string]int{"RCPT": 550}}, want: ErrPermanent},
		{name: "grey list", security: Implicit, server: &mailServer{implicit: true, refuse: map[string]int{"RCPT": 450}}, want: ErrTemporary},
		{name: "sender refused", security: Implicit, server: &mailServer{implicit: true, refuse: map[string]int{"MAIL": 553}}, want: ErrPermanent},
		{name: "full", security: Implicit, server: &mailServer{implicit: true, refuse: map[string]int{"END": 452}}, want: ErrTemporary},
		{name: "an address with a line end", security: Implicit, server: &mailServer{implicit: true}, change: func(_ *Post, _ *Notice, to *string) { *to = "a@example.org>\r\nRCPT TO:<b@example.org" }, want: ErrPermanent},
		{name: "a name beside the address", security: Implicit, server: &mailServer{implicit: true}, change: func(_ *Post, _ *Notice, to *string) { *to = "A <a@example.org>" }, want: ErrPermanent},
		{name: "no address", security: Implicit, server: &mailServer{implicit: true}, change: func(_ *Post, _ *Notice, to *string) { *to = "" }, want: ErrPermanent},
		{name: "a subject with headers in it", security: Implicit, server: &mailServer{implicit: true}, change: func(_ *Post, n *Notice, _ *string) { n.Subject = "a\r\nBcc: b@example.org\r\n\r\nx" }},
		{name: "a long subject", security: Implicit, server: &mailServer{implicit: true}, change: func(_ *Post, n *Notice, _ *string) { n.Subject = strings.Repeat("ü", 500) }},
		{name: "a subject that is no UTF-8", security: Implicit, server: &mailServer{implicit: true}, change: func(_ *Post, n *Notice, _ *string) { n.Subject = "\xff\xfe" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := tt.server
			if m == nil {
				m = &mailServer{}
			}
			m.tls = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
			if m.Listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			go m.serve()
			post := &Post{Server: m.Addr().String(), Security: tt.security, Roots: roots, User: "clinic", Password: "SPECIMEN-secret", From: "ampoule@example.org", Timeout: 3 * time.Second}
			n, to := notice, "reader@example.org"
			if tt.change != nil {
				tt.change(post, &n, &to)
			}
			err := (&Sender{Post: post}).Send(t.Context(), Target{Kind: Mail, Address: to}, n)
			if !errors.Is(err, tt.want) || tt.want == nil && err != nil {
				t.Fatal(err)
			}
			m.mu.Lock()
			defer m.mu.Unlock()
			if err != nil {
				if len(m.mail) > 0 || strings.Contains(err.Error(), "SPECIMEN-secret") || strings.Contains(err.Error(), "reader@") {
					t.Errorf("%v; %q", err, m.mail)
				}
				return
			}
			if len(m.mail) != 3 || m.mail[0] != "MAIL FROM:<ampoule@example.org>" || m.mail[1] != "RCPT TO:<reader@example.org>" || m.auth == "" {
				t.Fatalf("%q", m.mail)
			}
			read, err := mail.ReadMessage(strings.NewReader(m.mail[2]))
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, read.Body))
			if err != nil || string(text) != "Seit 10 Stunden.\r\n.\r\nSPECIMEN\r\n" {
				t.Errorf("%q %v", text, err)
			}
			subject, err := new(mime.WordDecoder).DecodeHeader(read.Header.Get("Subject"))
			if err != nil || len(read.Header) != 9 || read.Header.Get("Message-Id") != "<01J-specimen@example.org>" || len(subject) > maxSubject || tt.change == nil && subject != notice.Subject {
				t.Errorf("%v %q %v", read.Header, subject, err)
			}
		})
	}
}

// taking is a hook that keeps what is published, and refuses a topic.
type taking struct {
	mqtt.HookBase
	came chan string
}

func (h *taking) ID() string { return "taking" }
func (h *taking) Provides(b byte) bool {
	return b == mqtt.OnPublish || b == mqtt.OnConnectAuthenticate || b == mqtt.OnACLCheck
}
func (h *taking) OnConnectAuthenticate(*mqtt.Client, packets.Packet) bool { return true }
func (h *taking) OnACLCheck(*mqtt.Client, string, bool) bool              { return true }

func (h *taking) OnPublish(_ *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	switch pk.TopicName {
	case "refused":
		return pk, packets.ErrNotAuthorized
	case "busy":
		return pk, packets.ErrQuotaExceeded
	}
	h.came <- pk.TopicName + " " + string(pk.Payload)
	return pk, packets.CodeSuccessIgnore
}

func TestMQTT(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := mqtt.New(&mqtt.Options{Logger: slog.New(slog.DiscardHandler)})
	h := &taking{came: make(chan string, 1)}
	if err := errors.Join(server.AddHook(h, nil), server.AddListener(listeners.NewNet("a", l)), server.Serve()); err != nil {
		t.Fatal(err)
	}
	at, _ := url.Parse("mqtt://" + l.Addr().String())
	b := &Broker{Address: at, Client: "notices"}
	if err := b.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := &Sender{Publish: b.Publish}
	if err := s.Send(t.Context(), Target{Kind: MQTT, Address: "alarms/1"}, notice); err != nil {
		t.Fatal(err)
	}
	if got := <-h.came; !strings.HasPrefix(got, `alarms/1 {"id":"01J-specimen"`) {
		t.Error(got)
	}
	for topic, want := range map[string]error{"refused": ErrPermanent, "busy": ErrTemporary, "a/+": ErrPermanent, "": ErrPermanent, "$SYS/x": ErrPermanent} {
		if err := s.Send(t.Context(), Target{Kind: MQTT, Address: topic}, notice); !errors.Is(err, want) {
			t.Errorf("%q: %v", topic, err)
		}
	}
	server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if err := s.Send(ctx, Target{Kind: MQTT, Address: "alarms/1"}, notice); !errors.Is(err, ErrTemporary) {
		t.Error(err)
	}
}

func FuzzCompose(f *testing.F) {
	f.Add("subject", "text")
	f.Add("a\r\nBcc: x@example.org", "a\n.\nb")
	f.Fuzz(func(t *testing.T, subject, text string) {
		read, err := mail.ReadMessage(bytes.NewReader(compose("a@example.org", "b@example.org", Notice{ID: "1", Subject: subject, Text: text}, time.Unix(0, 0))))
		if err != nil || len(read.Header) != 9 || len(read.Header["To"]) != 1 {
			t.Fatal(read, err)
		}
	})
}

// TestReport is a report of events to one who subscribed, who checks the signature by the
// token that they gave.
func TestReport(t *testing.T) {
	token, document := []byte("SPECIMEN-token-0123456789"), []byte(`{"type":"EPCISQueryDocument"}`)
	status := http.StatusOK
	seen := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mac := hmac.New(sha256.New, token)
		mac.Write([]byte(r.Header.Get("webhook-id") + "." + r.Header.Get("webhook-timestamp") + "." + string(body)))
		if want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)); r.Header.Get("GS1-Signature") != want || r.Header.Get("webhook-timestamp") != "1800000000" || !bytes.Equal(body, document) || r.Header.Get("Content-Type") != "application/ld+json" {
			t.Errorf("%v %s", r.Header, body)
		}
		seen++
		w.WriteHeader(status)
	}))
	defer server.Close()
	s := &Sender{Fetch: fetch.New(fetch.Options{Loopback: true, PrivateHosts: []string{"127.0.0.1"}}), Now: func() time.Time { return time.Unix(1_800_000_000, 0) }}
	for want, err := range map[int]error{200: nil, 503: ErrTemporary, 404: ErrPermanent} {
		status = want
		if got := s.Report(t.Context(), server.URL, "r-1", token, document); !errors.Is(got, err) {
			t.Errorf("%d: %v", want, got)
		}
	}
	if err := (&Sender{Fetch: fetch.New(fetch.Options{})}).Report(t.Context(), "https://127.0.0.1:1/", "r-1", token, document); !errors.Is(err, ErrPermanent) || seen != 3 {
		t.Errorf("to an address of this machine: %v", err)
	}
}
