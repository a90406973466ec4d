package mqttapi

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/autopaho/queue/memory"
	"github.com/eclipse/paho.golang/paho"
	mqtt3 "github.com/eclipse/paho.mqtt.golang"

	"ampoule/device"
	"ampoule/format/oid"
	"ampoule/internal/fleettest"
	"ampoule/party/fleet"
)

const secret = "SPECIMEN-secret-0123456789"

// reading is a pack of one, so many seconds after a time.
func reading(n int) []byte {
	return fmt.Appendf(nil, `[{"n":"a/TVC","u":"Cel","t":%d,"v":4.5}]`, 1_800_000_000+n)
}

// remembered are sessions that outlive a server.
type remembered struct {
	mu  sync.Mutex
	all map[string]Session
}

func (r *remembered) Load(context.Context) (all []Session, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.all {
		all = append(all, s)
	}
	return all, nil
}

func (r *remembered) Save(_ context.Context, s Session) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all[s.ID] = s
	return nil
}

func (r *remembered) Drop(_ context.Context, id string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.all, id)
	return nil
}

// safe is a buffer for a log.
type safe struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safe) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safe) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

type world struct {
	*Server
	memory   *fleettest.Memory
	address  string
	log      *safe
	sessions *remembered
}

func self(t testing.TB) device.ID {
	id, err := oid.Parse("2.25.77")
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func newServer(t testing.TB, memory *fleettest.Memory, sessions *remembered, log *safe) *Server {
	return &Server{
		Ingester: memory, Sessions: sessions, Log: slog.New(slog.NewTextHandler(log, nil)),
		Who: &fleettest.Accounts{
			Secrets: map[string]fleet.Source{
				":" + secret: {Supplier: "specimen", Level: device.LevelMutual}, "user:" + secret: {Supplier: "specimen"}, "other:" + secret: {Supplier: "other"}, "bad:" + secret: {Supplier: "a/b"},
				"device:" + secret: {Device: self(t)},
			},
			Certificates: map[string]fleet.Source{"urn:oid:2.25.77": {Device: self(t), Level: device.LevelMutual}}, Nobody: ErrNobody,
		},
	}
}

// open starts a broker. A second TLS configuration is for all its listeners.
func open(t testing.TB, change func(*Server), secured ...*tls.Config) *world {
	t.Helper()
	w := &world{memory: &fleettest.Memory{}, log: &safe{}, sessions: &remembered{all: map[string]Session{}}}
	w.Server = newServer(t, w.memory, w.sessions, w.log)
	if change != nil {
		change(w.Server)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.address = l.Addr().String()
	on := Listener{Listener: l}
	if len(secured) > 0 {
		on.TLS = secured[0]
	}
	if err := w.Start(on); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = w.Close()
		if strings.Contains(w.log.String(), secret) {
			t.Errorf("a secret is in the log: %s", w.log.String())
		}
	})
	return w
}

// eventually waits for what will be.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for range 1000 {
		if is() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("never: %s", what)
}

// tool runs one of mosquitto's clients.
func tool(t testing.TB, name string, w *world, arguments ...string) (string, error) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skip("no mosquitto-clients")
	}
	host, port, _ := net.SplitHostPort(w.address)
	// Who is disconnected tries for ever.
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, append([]string{"-h", host, "-p", port}, arguments...)...).CombinedOutput()
	return string(out), err
}

func TestMosquittoClients(t *testing.T) {
	w := open(t, nil)
	n := 0
	for _, version := range []string{"mqttv31", "mqttv311", "mqttv5"} {
		for qos := range 3 {
			for _, who := range [][]string{{"-u", "user", "-P", secret}, {"-u", secret}} {
				n++
				if out, err := tool(t, "mosquitto_pub", w, append(who, "-V", version, "-q", fmt.Sprint(qos), "-t", "s/specimen/senml", "-m", string(reading(n)))...); err != nil {
					t.Fatalf("%s, QoS %d: %v: %s", version, qos, err, out)
				}
			}
		}
	}
	eventually(t, "all are kept", func() bool { return w.memory.Kept() == n })
	for _, d := range w.memory.Deliveries() {
		if d.Supplier != "specimen" || d.Level > device.LevelToken || d.Via != "mqtt" || d.Media != "application/senml+json" {
			t.Errorf("%+v", d)
		}
	}
	for name, arguments := range map[string][]string{
		"nobody":               {"-t", "s/specimen/senml"},
		"another secret":       {"-u", "user", "-P", "x", "-t", "s/specimen/senml"},
		"a name with a slash":  {"-u", "bad", "-P", secret, "-t", "s/a/b/senml"},
		"another's topic":      {"-u", secret, "-q", "1", "-t", "s/other/senml"},
		"a command":            {"-u", secret, "-q", "1", "-t", "s/specimen/command"},
		"a status topic":       {"-u", secret, "-q", "1", "-t", "$SYS/broker/version"},
		"of a network server":  {"-u", secret, "-q", "1", "-t", "application/1/device/0102030405060708/event/up"},
		"another's in MQTT 5":  {"-u", secret, "-V", "mqttv5", "-q", "1", "-t", "s/other/senml"},
		"a topic of no source": {"-u", secret, "-q", "1", "-t", "d//senml"},
	} {
		_, _ = tool(t, "mosquitto_pub", w, append(arguments, "-m", string(reading(1000)))...)
		if w.memory.Kept() != n {
			t.Errorf("%s: it is kept", name)
			n = w.memory.Kept()
		}
	}
}

// authority makes a certificate of a server, and those of clients.
func authority(t *testing.T) (folder string, server *tls.Config) {
	t.Helper()
	folder = t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	secretKey, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, der []byte) {
		if err := os.WriteFile(filepath.Join(folder, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("key.pem", "EC PRIVATE KEY", secretKey)
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "SPECIMEN"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	rootDER, err := x509.CreateCertificate(rand.Reader, root, root, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	write("root.pem", "CERTIFICATE", rootDER)
	for _, id := range []string{"2.25.77", "2.25.78"} {
		at, _ := url.Parse("urn:oid:" + id)
		leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: id}, NotAfter: time.Now().Add(time.Hour), URIs: []*url.URL{at}}
		der, err := x509.CreateCertificate(rand.Reader, leaf, root, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		write(id+".pem", "CERTIFICATE", der)
	}
	server = TLS(nil)
	server.GetCertificate = nil
	server.Certificates = []tls.Certificate{{Certificate: [][]byte{rootDER}, PrivateKey: key}}
	return folder, server
}

func TestCertificates(t *testing.T) {
	folder, config := authority(t)
	w := open(t, nil, config)
	at := func(name string) string { return filepath.Join(folder, name) }
	if out, err := tool(t, "mosquitto_pub", w, "--cafile", at("root.pem"), "--cert", at("2.25.77.pem"), "--key", at("key.pem"), "-q", "1", "-t", "d/2.25.77/senml", "-m", `[{"n":"TVC","u":"Cel","t":1800000000,"v":4.5}]`); err != nil {
		t.Fatal(out, err)
	}
	if w.memory.Kept() != 1 {
		t.Fatal("not kept")
	}
	if d := w.memory.Deliveries()[0]; d.Device != self(t) || d.Level != device.LevelMutual || d.Series[0].Device.String() != "oid:2.25.77" {
		t.Errorf("%+v", d)
	}
	if out, err := tool(t, "mosquitto_pub", w, "--cafile", at("root.pem"), "--cert", at("2.25.78.pem"), "--key", at("key.pem"), "-u", secret, "-q", "1", "-t", "s/specimen/senml", "-m", string(reading(1))); err == nil {
		t.Errorf("another's certificate: %s", out)
	}
	if _, err := tool(t, "mosquitto_pub", w, "-u", secret, "-q", "1", "-t", "s/specimen/senml", "-m", string(reading(1))); err == nil {
		t.Error("not encrypted, and taken")
	}
	if out, err := tool(t, "mosquitto_pub", w, "--cafile", at("root.pem"), "-u", secret, "-q", "1", "-t", "s/specimen/senml", "-m", string(reading(1))); err != nil {
		t.Error(out, err)
	}
}

// three connects a client of MQTT 3.1.1.
func three(t testing.TB, address, name string, change func(*mqtt3.ClientOptions)) mqtt3.Client {
	t.Helper()
	o := mqtt3.NewClientOptions().AddBroker("tcp://" + address).SetClientID(name).SetUsername(secret).SetCleanSession(false).SetProtocolVersion(4).
		SetAutoReconnect(true).SetMaxReconnectInterval(100 * time.Millisecond).SetConnectRetry(false).SetOrderMatters(true)
	if change != nil {
		change(o)
	}
	c := mqtt3.NewClient(o)
	if token := c.Connect(); !token.WaitTimeout(10*time.Second) || token.Error() != nil {
		t.Fatal(token.Error())
	}
	t.Cleanup(func() { c.Disconnect(0) })
	return c
}

// five connects a client of MQTT 5 that holds what it could not bring yet.
func five(t testing.TB, address, name string) *autopaho.ConnectionManager {
	t.Helper()
	at, err := url.Parse("mqtt://" + address)
	if err != nil {
		t.Fatal(err)
	}
	m, err := autopaho.NewConnection(t.Context(), autopaho.ClientConfig{
		ServerUrls: []*url.URL{at}, KeepAlive: 10, SessionExpiryInterval: 3600, ConnectUsername: secret, Queue: memory.New(),
		ReconnectBackoff: func(int) time.Duration { return 50 * time.Millisecond },
		ClientConfig:     paho.ClientConfig{ClientID: name},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := m.AwaitConnection(ctx); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestAcknowledgedAfterCommit(t *testing.T) {
	for _, qos := range []byte{1, 2} {
		w := open(t, nil)
		var held atomic.Bool
		release := make(chan struct{})
		w.memory.Before(func(context.Context, *fleet.Delivery) error { held.Store(true); <-release; return nil })
		token := three(t, w.address, "a", nil).Publish("s/specimen/senml", qos, false, reading(1))
		eventually(t, "it comes", held.Load)
		if token.WaitTimeout(300 * time.Millisecond) {
			t.Error("acknowledged before it was kept")
		}
		close(release)
		if !token.WaitTimeout(5*time.Second) || token.Error() != nil || w.memory.Kept() != 1 {
			t.Error("not acknowledged", token.Error())
		}
	}
}

// What cannot be kept now comes again, by itself, in both versions.
func TestFull(t *testing.T) {
	for _, why := range []error{fleet.ErrFull, errors.New("disk on fire")} {
		w := open(t, nil)
		var times atomic.Int32
		w.memory.Before(func(context.Context, *fleet.Delivery) error {
			if times.Add(1)%3 != 0 {
				return why
			}
			return nil
		})
		if token := three(t, w.address, "a", nil).Publish("s/specimen/senml", 1, false, reading(1)); !token.WaitTimeout(10*time.Second) || token.Error() != nil {
			t.Error(token.Error())
		}
		m := five(t, w.address, "b")
		if err := m.PublishViaQueue(t.Context(), &autopaho.QueuePublish{Publish: &paho.Publish{Topic: "s/specimen/senml", QoS: 1, Payload: reading(2)}}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "both are kept", func() bool { return w.memory.Kept() == 2 })
		if times.Load() != 6 {
			t.Errorf("%d times", times.Load())
		}
	}
}

func TestReasons(t *testing.T) {
	w := open(t, nil)
	var denied atomic.Bool
	w.memory.Before(func(context.Context, *fleet.Delivery) error {
		if denied.Load() {
			return fleet.ErrDenied
		}
		return nil
	})
	m := five(t, w.address, "a")
	for _, tt := range []struct {
		name, topic string
		body        []byte
		denied      bool // by Ingest
		want        byte
	}{
		{"good", "s/specimen/senml", reading(1), false, 0},
		{"not readable", "s/specimen/senml", []byte(`[{}]`), false, 0x99},
		{"another's topic", "s/other/senml", reading(1), false, 0x87},
		{"denied", "s/specimen/senml", reading(2), true, 0x87},
	} {
		denied.Store(tt.denied)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		answer, err := m.Publish(ctx, &paho.Publish{Topic: tt.topic, QoS: 1, Payload: tt.body})
		cancel()
		if answer == nil || answer.ReasonCode&^1 != tt.want&^1 {
			t.Errorf("%s: %+v %v", tt.name, answer, err)
		}
	}
	// What cannot be read is kept aside, and in 3.1.1 acknowledged: it would come for ever.
	denied.Store(false)
	if token := three(t, w.address, "b", nil).Publish("s/specimen/segments", 1, false, []byte{0xff}); !token.WaitTimeout(5*time.Second) || token.Error() != nil {
		t.Error(token.Error())
	}
	all := w.memory.Deliveries()
	if last := all[len(all)-1]; len(last.Findings) != 1 || !bytes.Equal(last.Raw, []byte{0xff}) || last.Supplier != "specimen" {
		t.Errorf("%+v", last)
	}
}

func TestCommands(t *testing.T) {
	w := open(t, nil)
	heard := make(chan string, 10)
	c := three(t, w.address, "a", func(o *mqtt3.ClientOptions) {
		o.SetUsername("device").SetPassword(secret).SetDefaultPublishHandler(func(_ mqtt3.Client, m mqtt3.Message) { heard <- m.Topic() + " " + string(m.Payload()) })
	})
	listen := func(topic string) byte {
		token := c.Subscribe(topic, 1, nil)
		if !token.WaitTimeout(5 * time.Second) {
			t.Fatal("no answer")
		}
		for _, code := range token.(*mqtt3.SubscribeToken).Result() {
			return code
		}
		t.Fatal("no code")
		return 0
	}
	for _, topic := range []string{"#", "d/+/command", "d/2.25.78/command", "d/2.25.77/senml", "s/specimen/command", "$SYS/#", "$share/x/d/2.25.77/command"} {
		if code := listen(topic); code < 0x80 {
			t.Errorf("%s: %#x", topic, code)
		}
	}
	if code := listen("d/2.25.77/command"); code >= 0x80 {
		t.Fatalf("%#x", code)
	}
	if err := w.Command(fleet.Source{Device: self(t)}, []byte("attest")); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-heard:
		if got != "d/2.25.77/command attest" {
			t.Error(got)
		}
	case <-time.After(5 * time.Second):
		t.Error("nothing was heard")
	}
	// Another's will is no way to send one.
	other := three(t, w.address, "b", func(o *mqtt3.ClientOptions) { o.SetWill("d/2.25.77/command", "erase", 1, true).SetAutoReconnect(false) })
	if token := other.Publish("s/other/senml", 1, false, reading(1)); token.WaitTimeout(time.Second) && token.Error() == nil {
		t.Error("it was not disconnected")
	}
	select {
	case got := <-heard:
		t.Error(got)
	case <-time.After(300 * time.Millisecond):
	}
	if err := w.Command(fleet.Source{}, nil); !errors.Is(err, ErrTopic) {
		t.Error(err)
	}
}

func TestPresence(t *testing.T) {
	type event struct {
		supplier        string
		connected, lost bool
	}
	events := make(chan event, 10)
	w := open(t, func(s *Server) {
		s.Presence = func(source fleet.Source, connected, lost bool) { events <- event{source.Supplier, connected, lost} }
	})
	next := func(want event) {
		t.Helper()
		select {
		case got := <-events:
			if got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
		case <-time.After(5 * time.Second):
			t.Errorf("nothing, want %+v", want)
		}
	}
	orderly := three(t, w.address, "a", nil)
	next(event{"specimen", true, false})
	orderly.Disconnect(100)
	next(event{"specimen", false, false})
	var wire net.Conn
	three(t, w.address, "b", func(o *mqtt3.ClientOptions) {
		o.SetUsername("other").SetPassword(secret).SetAutoReconnect(false).SetCustomOpenConnectionFn(func(uri *url.URL, _ mqtt3.ClientOptions) (c net.Conn, err error) {
			wire, err = net.Dial("tcp", uri.Host)
			return wire, err
		})
	})
	next(event{"other", true, false})
	wire.Close()
	next(event{"other", false, true})
}

// By another's client identifier nobody comes to its session.
func TestClientIdentifier(t *testing.T) {
	w := open(t, nil)
	mine := three(t, w.address, "same", nil)
	three(t, w.address, "same", func(o *mqtt3.ClientOptions) { o.SetUsername("other").SetPassword(secret) })
	if token := mine.Publish("s/specimen/senml", 1, false, reading(1)); !token.WaitTimeout(5*time.Second) || token.Error() != nil || !mine.IsConnectionOpen() {
		t.Error("it was disconnected")
	}
	w.sessions.mu.Lock()
	defer w.sessions.mu.Unlock()
	if len(w.sessions.all) != 2 {
		t.Errorf("%v", w.sessions.all)
	}
}

func TestLimits(t *testing.T) {
	w := open(t, func(s *Server) { s.Limits = Limits{Connections: 2, PacketSize: 1000, Window: 4} })
	c := three(t, w.address, "a", func(o *mqtt3.ClientOptions) { o.SetAutoReconnect(false) })
	lost := func(c mqtt3.Client) func() bool { return func() bool { return !c.IsConnectionOpen() } }
	c.Publish("s/specimen/senml", 1, false, make([]byte, 1001))
	eventually(t, "a large packet ends it", lost(c))
	idle, err := net.Dial("tcp", w.address)
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	eventually(t, "one place is taken", func() bool { return w.gates[0].count() == 1 })
	three(t, w.address, "b", nil)
	third := mqtt3.NewClient(mqtt3.NewClientOptions().AddBroker("tcp://" + w.address).SetClientID("c").SetUsername(secret).SetConnectTimeout(time.Second))
	if token := third.Connect(); token.WaitTimeout(5*time.Second) && token.Error() == nil {
		t.Error("a third is connected")
	}
	// A broker that closes does not wait for who says nothing.
	begin := time.Now()
	if err := w.Close(); err != nil || time.Since(begin) > closeWithin {
		t.Error(err, time.Since(begin))
	}
	w.Server = newServer(t, w.memory, w.sessions, w.log)
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
}

// hiccups is a listener that runs out of descriptors once.
type hiccups struct {
	net.Listener
	once sync.Once
}

func (h *hiccups) Accept() (c net.Conn, err error) {
	h.once.Do(func() { err = errors.New("too many open files") })
	if err != nil {
		return nil, err
	}
	return h.Listener.Accept()
}

func TestGate(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{Listener: &hiccups{Listener: l}, limit: 1, within: 100 * time.Millisecond, open: map[*conn]struct{}{}}
	defer g.Close()
	silent, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	c, err := g.Accept()
	if err != nil || g.count() != 1 {
		t.Fatal(g.count(), err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("who says nothing: %v", err)
	}
	c.Close()
	c.Close()
	if g.count() != 0 {
		t.Error(g.count())
	}
	l.Close()
	if _, err := g.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

// A server is cut off while clients of both versions send, and another takes its place.
func TestKilled(t *testing.T) {
	const each = 300
	w := open(t, nil)
	w.memory.Before(func(context.Context, *fleet.Delivery) error { time.Sleep(time.Millisecond); return nil })
	old := three(t, w.address, "a", nil)
	m := five(t, w.address, "b")
	var tokens []mqtt3.Token
	var done sync.WaitGroup
	done.Go(func() {
		for n := range each {
			tokens = append(tokens, old.Publish("s/specimen/senml", 1, false, reading(n)))
			time.Sleep(time.Millisecond)
		}
	})
	done.Go(func() {
		for n := range each {
			if err := m.PublishViaQueue(t.Context(), &autopaho.QueuePublish{Publish: &paho.Publish{Topic: "s/specimen/senml", QoS: 1, Payload: reading(1000 + n)}}); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Millisecond)
		}
	})
	for range 3 {
		time.Sleep(100 * time.Millisecond)
		// No word to the clients, and what is being kept is not acknowledged.
		w.gates[0].Listener.Close()
		w.gates[0].end()
		_ = w.Close()
		var l net.Listener
		eventually(t, "the port is free", func() (ok bool) {
			var err error
			l, err = net.Listen("tcp", w.address)
			return err == nil
		})
		w.Server = newServer(t, w.memory, w.sessions, w.log)
		if err := w.Start(Listener{Listener: l}); err != nil {
			t.Fatal(err)
		}
	}
	done.Wait()
	for i, token := range tokens {
		// One that ends with an error was being written when the server went, and comes again.
		if !token.WaitTimeout(20 * time.Second) {
			t.Fatalf("%d is never acknowledged", i)
		}
	}
	eventually(t, fmt.Sprintf("all are kept, of %d", 2*each), func() bool { return w.memory.Kept() == 2*each })
	t.Logf("%d deliveries for %d readings", len(w.memory.Deliveries()), 2*each)
}

func TestOrder(t *testing.T) {
	w := open(t, nil)
	c := three(t, w.address, "a", nil)
	for n := range 200 {
		c.Publish("s/specimen/senml", 1, false, reading(n))
	}
	eventually(t, "all are kept", func() bool { return w.memory.Kept() == 200 })
	n := int64(0)
	for _, d := range w.memory.Deliveries() {
		for _, s := range d.Series {
			if got := s.Readings[0].At; got != 1_800_000_000+n {
				t.Fatalf("%d is at %d", got, n)
			}
			n++
		}
	}
}

// What waits behind each other is kept in one go, unless one of it cannot be read.
func TestTogether(t *testing.T) {
	w := open(t, nil)
	held, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	w.memory.Before(func(context.Context, *fleet.Delivery) error {
		once.Do(func() { close(held); <-release })
		return nil
	})
	c := three(t, w.address, "a", nil)
	var tokens []mqtt3.Token
	send := func(topic string, qos byte, body []byte) {
		tokens = append(tokens, c.Publish("s/specimen/"+topic, qos, false, body))
	}
	segment := func(n int) []byte { return []byte{0x82, 0x18, byte(0x20 + n), 0} }
	send("segments", 1, segment(0))
	<-held
	for n := 1; n < 10; n++ {
		send("segments", 1, segment(n))
	}
	send("senml", 1, reading(1))
	send("senml", 1, reading(2))
	for n := 10; n < 15; n++ {
		send("segments", 1, segment(n))
	}
	send("segments", 1, []byte{0xff})
	send("segments", 2, segment(15))
	time.Sleep(200 * time.Millisecond) // the client has written them
	close(release)
	for i, token := range tokens {
		if !token.WaitTimeout(5*time.Second) || token.Error() != nil {
			t.Fatal(i, token.Error())
		}
	}
	var got []int
	next := 0
	for _, d := range w.memory.Deliveries() {
		got = append(got, len(d.Segments))
		if raw := slices.Concat(reading(1), reading(2)); len(d.Series) > 0 && (len(d.Series) != 2 || !bytes.Equal(raw, d.Raw)) {
			t.Errorf("%d series of %q", len(d.Series), d.Raw)
		}
		if raw := bytes.Join(d.Segments, nil); len(d.Segments) > 0 && !bytes.Equal(raw, d.Raw) {
			t.Errorf("%x is not %x", d.Raw, raw)
		}
		for _, s := range d.Segments {
			if !bytes.Equal(s, segment(next)) {
				t.Errorf("%x is at %d", s, next)
			}
			next++
		}
	}
	if want := "[1 9 0 1 1 1 1 1 0 1]"; fmt.Sprint(got) != want || next != 16 {
		t.Errorf("%v, want %s", got, want)
	}
}

// What comes behind one that could not be kept does not overtake it.
func TestNotOvertaken(t *testing.T) {
	w := open(t, nil)
	var first atomic.Bool
	held, release := make(chan struct{}), make(chan struct{})
	w.memory.Before(func(context.Context, *fleet.Delivery) error {
		if !first.Swap(true) {
			close(held)
			<-release
			return fleet.ErrFull
		}
		return nil
	})
	c := three(t, w.address, "a", func(o *mqtt3.ClientOptions) { o.SetAutoReconnect(false) })
	for n := range 20 {
		c.Publish("s/specimen/senml", 1, false, reading(n))
	}
	<-held
	time.Sleep(200 * time.Millisecond) // the client has written them
	close(release)
	eventually(t, "the connection ends", func() bool { return !c.IsConnectionOpen() })
	time.Sleep(200 * time.Millisecond)
	if w.memory.Kept() != 0 {
		t.Errorf("%d are kept", w.memory.Kept())
	}
}

func TestChirpStack(t *testing.T) {
	w := open(t, func(s *Server) {
		s.ChirpStack = func(source fleet.Source, event string, body []byte) (*fleet.Delivery, error) {
			return &fleet.Delivery{Source: source, Segments: [][]byte{append([]byte(event+" "), body...)}}, nil
		}
	})
	c := three(t, w.address, "a", nil)
	if token := c.Publish("application/1/device/0102030405060708/event/up", 1, false, []byte("{}")); !token.WaitTimeout(5*time.Second) || w.memory.Kept() != 1 || string(w.memory.Deliveries()[0].Segments[0]) != "up {}" {
		t.Errorf("%+v", w.memory.Deliveries())
	}
}

func FuzzRead(f *testing.F) {
	f.Add("s/x/senml", "", reading(1))
	f.Add("cce/x", "", []byte(`{"meta":{},"data":[]}`))
	f.Add("d/2.25.1/segments", "application/cbor", []byte{0xd2, 0x80})
	f.Fuzz(func(t *testing.T, topic, media string, body []byte) {
		r := &Reader{}
		source, err := OfTopic(topic)
		if err != nil {
			return
		}
		d, err := r.read(source, topic, media, body, time.Unix(1, 0))
		if (d == nil) == (err == nil) {
			t.Fatal(d, err)
		}
		if d == nil {
			d = aside(source, media, body, err)
		}
		if !bytes.Equal(d.Raw, body) {
			t.Fatal("the message is not kept")
		}
	})
}
