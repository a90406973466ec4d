//go:build linux

package main

import (
	"bytes"
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
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/paho"
	mqtt3 "github.com/eclipse/paho.mqtt.golang"

	"ampoule/coldchain"
	"ampoule/device"
	"ampoule/format/oid"
	"ampoule/internal/store"
	"ampoule/party/fleet"
)

// depot is a service with devices, and with a manager of its cold chain.
type depot struct {
	*box
	admin, manager    *caller
	secret, account   string // of a program that sends readings
	https, mqtt, mtls string // the doors
	door              *http.Client
}

// newDepot starts a service with doors for devices.
func newDepot(s *box) *depot {
	s.t.Helper()
	d := &depot{box: s}
	for _, p := range []struct {
		setting string
		at      *string
	}{{"fleet.listen", &d.https}, {"fleet.plain_mqtt", &d.mqtt}, {"fleet.mqtt", &d.mtls}} {
		port, err := freePort()
		if err != nil {
			s.t.Fatal(err)
		}
		*p.at = "127.0.0.1:" + port
		s.set = append(s.set, p.setting+"="+*p.at)
	}
	d.door = &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	s.start()
	d.admin = s.setUp()
	d.manager = d.admin.letIn("specimen.manager", "cold-chain-manager", "")
	sender := d.manager.program("readings:send")
	d.secret = sender.token
	d.account = d.manager.want(http.StatusOK, "GET", "/v1/session", "")["id"].(string)
	return d
}

// fridge makes equipment at 2 to 8 °C, of which silence is no alarm.
func (d *depot) fridge(name string) string {
	d.t.Helper()
	return d.manager.want(http.StatusOK, "POST", "/v1/equipment", fmt.Sprintf(`{"name":%q,"kind":"fridge","profile":"refrigerated"}`, name))["id"].(string)
}

// logger registers a device of the account, in equipment since begin.
func (d *depot) logger(name, equipment string, claim bool) (id, label string) {
	d.t.Helper()
	made := d.manager.want(http.StatusOK, "POST", "/v1/devices", fmt.Sprintf(`{"names":[%q],"supplier":%q,"claim":%v}`, name, d.account, claim))
	id = made["id"].(string)
	label, _ = made["label"].(string)
	d.seeded("claim code", label)
	if equipment != "" {
		d.manager.want(http.StatusOK, "POST", "/v1/devices/"+id+"/stays", fmt.Sprintf(`{"equipment":%q,"from":%d}`, equipment, begin))
	}
	return id, label
}

// begin is when the readings of the tests begin: they are of a past week, whose minutes
// no clock of the test disturbs.
var begin = time.Now().Add(-240*24*time.Hour).Unix() / 900 * 900

// nth is a reading: sound but for 12 hours of heat and two hours of frost in each 40.
func nth(n int) device.Reading {
	r := device.Reading{At: begin + int64(n)*900, Value: int32(5000 + n%7*100)}
	switch k := n % 160; {
	case k >= 40 && k < 90:
		r.Value = 9500
	case k >= 120 && k < 128:
		r.Value = -1500
	}
	return r
}

func senmlOf(name string, r device.Reading) string {
	return fmt.Sprintf(`[{"n":%q,"u":"Cel","t":%d,"v":%g}]`, name, r.At, float64(r.Value)/1000)
}

func cceOf(serial string, n int, r device.Reading) string {
	return fmt.Sprintf(`{"meta":{"schemaVersion":"0.8.1","transferType":"ems","transferId":"%s-%d","transferSrc":"org.specimen","transferredAt":%q},
"data":[{"LSV":"1.0","EMSV":"1.1","CID":"DEU","ADOP":"2024-01-01","AMFR":"Specimen","AMOD":"F1","APQS":"E003/001","ASER":"A-1","LDOP":"2024-01-01","LMFR":"Specimen","LMOD":"L1","LPQS":"E006/001","LSER":%q,"EDOP":"2024-01-01","EMFR":"Specimen","EMOD":"R1","EPQS":"E006/002","ESER":"R-1","LID":"LID-1","EID":"desk",
"records":[{"ABST":%q,"ALRM":null,"EERR":null,"LERR":null,"BEMD":13,"BLOG":12,"CMPR":0,"DORV":0,"SVA":900,"HOLD":3,"TAMB":24,"TCON":40,"TVC":%g}]}]}`,
		serial, n, time.Unix(r.At, 0).UTC().Format(time.RFC3339), serial, time.Unix(r.At, 0).UTC().Format("20060102T150405Z"), float64(r.Value)/1000)
}

// post sends a body to the door for devices.
func (d *depot) post(path, media string, body []byte) (status int, answer string, header http.Header, err error) {
	r, err := http.NewRequest("POST", "https://"+d.https+path, bytes.NewReader(body))
	if err != nil {
		return 0, "", nil, err
	}
	r.Header.Set("Content-Type", media)
	r.Header.Set("Authorization", "Bearer "+d.secret)
	res, err := d.door.Do(r)
	if err != nil {
		return 0, "", nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return res.StatusCode, string(text), res.Header, err
}

// three is a client of MQTT 3.1.1 that comes again, and sends again what was not
// acknowledged.
func three(t *testing.T, address, name, secret string, config *tls.Config) mqtt3.Client {
	t.Helper()
	scheme := "tcp://"
	if config != nil {
		scheme = "ssl://"
	}
	o := mqtt3.NewClientOptions().AddBroker(scheme + address).SetClientID(name).SetUsername(secret).SetCleanSession(false).SetProtocolVersion(4).SetTLSConfig(config).
		SetAutoReconnect(true).SetMaxReconnectInterval(100 * time.Millisecond).SetConnectTimeout(5 * time.Second).
		SetStore(mqtt3.NewOrderedMemoryStore()) // or it sends again in any order, and alarms begin late and are withdrawn
	c := mqtt3.NewClient(o)
	if token := c.Connect(); !token.WaitTimeout(10*time.Second) || token.Error() != nil {
		t.Fatal(token.Error())
	}
	t.Cleanup(func() { c.Disconnect(0) })
	return c
}

// five is one of MQTT 5, which comes again by itself.
func five(t *testing.T, address, name, secret string, ended func(*paho.Disconnect)) *autopaho.ConnectionManager {
	t.Helper()
	m, err := autopaho.NewConnection(t.Context(), autopaho.ClientConfig{
		ServerUrls: []*url.URL{{Scheme: "mqtt", Host: address}}, KeepAlive: 10, SessionExpiryInterval: 3600, ConnectUsername: secret,
		ReconnectBackoff: func(int) time.Duration { return 50 * time.Millisecond },
		ClientConfig:     paho.ClientConfig{ClientID: name, OnServerDisconnect: ended},
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

// bring publishes until it is acknowledged.
func bring(ctx context.Context, m *autopaho.ConnectionManager, topic string, body []byte) error {
	for {
		if err := m.AwaitConnection(ctx); err != nil {
			return err
		}
		once, cancel := context.WithTimeout(ctx, 5*time.Second)
		answer, err := m.Publish(once, &paho.Publish{Topic: topic, QoS: 1, Payload: body})
		cancel()
		if err == nil && answer.ReasonCode == 0 {
			return nil
		}
		if answer != nil && answer.ReasonCode != 0 {
			return fmt.Errorf("reason %#x", answer.ReasonCode)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// kept reads every reading of a device's temperature behind the back of the service,
// which has ended: each as often as it is kept.
func (d *depot) kept(id string) map[device.Reading]int {
	d.t.Helper()
	s, err := store.OpenFleet(d.t.Context(), store.Config{Dir: d.store(), Postgres: d.postgres, NoSync: true})
	if err != nil {
		d.t.Fatal(err)
	}
	defer s.Close()
	name, err := oid.Parse(id)
	if err != nil {
		d.t.Fatal(err)
	}
	streams, err := s.StreamsOf(d.t.Context(), name)
	if err != nil {
		d.t.Fatal(err)
	}
	out := make(map[device.Reading]int)
	for _, x := range streams {
		if x.Quantity != device.Temperature {
			continue
		}
		blocks, err := s.Blocks(d.t.Context(), x.N, 0, 1<<40)
		if err != nil {
			d.t.Fatal(err)
		}
		for i := range blocks {
			all, err := blocks[i].Readings(nil)
			if err != nil {
				d.t.Fatal(err)
			}
			for _, r := range all {
				out[r]++
			}
		}
	}
	return out
}

// wantKept wants the first n readings, each once.
func (d *depot) wantKept(what, id string, n int) {
	d.t.Helper()
	kept := d.kept(id)
	missing, twice := 0, 0
	for i := range n {
		switch k := kept[nth(i)]; {
		case k == 0:
			missing++
		case k > 1:
			twice++
		}
	}
	if missing > 0 || twice > 0 || len(kept) != n {
		d.t.Errorf("%s: of %d acknowledged readings %d are missing and %d there twice; %d are there", what, n, missing, twice, len(kept))
	}
}

// told are all alarms by the API, as text that does not depend on when they were learned
// of.
func (d *depot) told() (out []string) {
	d.t.Helper()
	for cursor, more := "", true; more; {
		page := d.manager.want(http.StatusOK, "GET", "/v1/alarms?limit=200&cursor="+cursor, "")
		for _, a := range page["items"].([]any) {
			a := a.(map[string]any)
			out = append(out, fmt.Sprintf("%v %v %v %v %v %v", a["name"], a["rule"], int64(a["since"].(float64)-float64(begin))/900, int64(a["at"].(float64)-float64(begin))/900, a["state"], a["end"]))
		}
		cursor, more = page["next"].(string)
	}
	slices.Sort(out)
	return out
}

// wanted are the alarms of so many readings in each of some fridges, by a fleet to which
// nothing has happened.
func wanted(t *testing.T, counts map[string]int) (out []string) {
	t.Helper()
	s, err := store.OpenFleet(t.Context(), store.Config{Dir: t.TempDir(), NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	f := &fleet.Fleet{Book: s, Signer: key, Now: time.Now, Log: slog.New(slog.DiscardHandler)}
	by := fleet.Actor{ID: "specimen", Within: fleet.Place{Organisation: "org-1"}}
	check := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	terms, _ := coldchain.TermsOf("refrigerated")
	for name, n := range counts {
		e := &fleet.Equipment{Place: by.Within, Name: name, Kind: fleet.Fridge}
		check(f.PutEquipment(t.Context(), by, e, terms))
		serial, err := device.NewName(device.Serial, "Specimen/"+strings.ReplaceAll(name, " ", "-"))
		check(err)
		l := &fleet.Device{Place: by.Within, Names: []device.Name{serial}, Supplier: "specimen"}
		check(f.Register(t.Context(), by, l))
		_, err = f.Move(t.Context(), by, l.ID, "", e.ID, begin)
		check(err)
		all := make([]device.Reading, n)
		for i := range all {
			all[i] = nth(i)
		}
		_, err = f.Ingest(t.Context(), &fleet.Delivery{Source: fleet.Source{Supplier: "specimen"}, Series: []fleet.Series{{Device: serial, Sensor: "TVC", Quantity: device.Temperature, Interval: 900, Readings: all}}})
		check(err)
	}
	for more := true; more; {
		more, err = f.Evaluate(t.Context())
		check(err)
	}
	all, err := f.Alarms(t.Context(), by, "", "", 10_000)
	check(err)
	for _, a := range all {
		out = append(out, fmt.Sprintf("%v %v %v %v %v %v", a.Name, a.Episode.Rule, (a.Episode.Since-begin)/900, (a.Episode.At-begin)/900, a.State, ended(a.Episode.End)))
	}
	slices.Sort(out)
	return out
}

// ended is as JSON has it.
func ended(end string) any {
	if end == "" {
		return nil
	}
	return end
}

// until waits until what is told is what is wanted.
func (d *depot) until(want []string) {
	d.t.Helper()
	var got []string
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if got = d.told(); slices.Equal(got, want) {
			return
		}
	}
	d.t.Errorf("alarms:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
}

// enrol gives a device a certificate by its claim code, and returns its key.
func (d *depot) enrol(id, label string) *ecdsa.PrivateKey {
	d.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		d.t.Fatal(err)
	}
	name, err := oid.Parse(id)
	if err != nil {
		d.t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{URIs: []*url.URL{device.URI(name)}}, key)
	if err != nil {
		d.t.Fatal(err)
	}
	r, err := http.NewRequest("POST", "https://"+d.https+"/.well-known/est/simpleenroll", strings.NewReader(base64.StdEncoding.EncodeToString(der)))
	if err != nil {
		d.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/pkcs10")
	r.SetBasicAuth("device", claimOf(d.t, label))
	res, err := d.door.Do(r)
	if err != nil {
		d.t.Fatal(err)
	}
	defer res.Body.Close()
	if text, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusOK {
		d.t.Fatalf("enrolment: %s %s", res.Status, text)
	}
	return key
}

func claimOf(t *testing.T, label string) string {
	t.Helper()
	c, err := device.ParseClaim(label)
	if err != nil {
		t.Fatal(err)
	}
	return c.String()
}

// chain makes the segments of a device, of one reading each.
type chain struct {
	id   device.ID
	key  *ecdsa.PrivateKey
	head device.Head
}

func newChain(t *testing.T, id string, key *ecdsa.PrivateKey) *chain {
	name, err := oid.Parse(id)
	if err != nil {
		t.Fatal(err)
	}
	return &chain{id: name, key: key}
}

func (c *chain) next(readings ...device.Reading) []byte {
	s := &device.Segment{Device: c.id, Stream: 1, Quantity: device.Temperature, Seq: c.head.Seq + 1, Prev: c.head.Hash, Interval: 900, Clock: device.ClockSet, Readings: readings}
	data, err := s.Sign(rand.Reader, c.key)
	if err != nil {
		panic(err) // of readings that the test made
	}
	c.head = s.Head()
	return data
}

// TestFleetKilled kills a server again and again while devices send by MQTT 3.1.1 and 5
// and by HTTPS, unsigned and signed: what was acknowledged is there, once, and the alarms
// are those of a server that was never killed.
func TestFleetKilled(t *testing.T) {
	onBoth(t, func(t *testing.T, s *box) {
		d := newDepot(s)
		random := dice(t)
		ids := make(map[string]string)
		var key *ecdsa.PrivateKey
		for i, name := range []string{"three", "five", "push", "signed"} {
			id, label := d.logger(fmt.Sprintf("serial:Specimen/L-%d", i), d.fridge(name), name == "signed")
			if ids[name] = id; name == "signed" {
				key = d.enrol(id, label)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute*time.Duration(rounds(t)))
		defer cancel()
		var enough atomic.Bool
		counts := make(map[string]*int)
		var senders sync.WaitGroup
		// Each sends one after the other until the killing is over, in windows: the first of a
		// window is acknowledged or not when the server dies, and so are the others.
		sender := func(name string, send func(n int) error) {
			count := new(int)
			counts[name] = count
			senders.Go(func() {
				for !enough.Load() || *count < 200 {
					if err := send(*count); err != nil {
						t.Errorf("%s: %v", name, err)
						return
					}
					*count++
				}
			})
		}
		old := three(t, d.mqtt, "three", d.secret, nil)
		window := make(chan mqtt3.Token, 16)
		sender("three", func(n int) error {
			token := old.Publish("s/"+d.account+"/senml", 1, false, senmlOf("urn:oid:"+ids["three"]+"/TVC", nth(n)))
			select {
			case window <- token:
				return nil
			default:
			}
			first := <-window
			window <- token
			select {
			case <-first.Done():
				return first.Error()
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		m := five(t, d.mqtt, "five", d.secret, nil)
		sender("five", func(n int) error {
			return bring(ctx, m, "s/"+d.account+"/senml", []byte(senmlOf("urn:oid:"+ids["five"]+"/TVC", nth(n))))
		})
		push := func(path, media string, body []byte) error {
			for {
				status, answer, _, err := d.post(path, media, body)
				switch {
				case err == nil && status == http.StatusOK && !strings.Contains(answer, "refused"):
					return nil
				case err == nil && status < 500:
					return fmt.Errorf("%d: %s", status, answer)
				case ctx.Err() != nil:
					return ctx.Err()
				}
				time.Sleep(20 * time.Millisecond)
			}
		}
		sender("push", func(n int) error { return push("/cce", "application/json", []byte(cceOf("L-2", n, nth(n)))) })
		c := newChain(t, ids["signed"], key)
		signed := five(t, d.mqtt, "signed", d.secret, nil)
		sender("signed", func(n int) error {
			data := c.next(nth(n))
			if n%2 == 0 {
				return push("/segments", fleet.MediaSegment, data)
			}
			return bring(ctx, signed, "s/"+d.account+"/segments", data)
		})
		for range 4 * rounds(t) {
			time.Sleep(time.Duration(200+random.IntN(400)) * time.Millisecond)
			d.kill()
			d.start()
		}
		enough.Store(true)
		senders.Wait()
		for len(window) > 0 {
			if token := <-window; !token.WaitTimeout(20 * time.Second) {
				t.Error("a message of MQTT 3.1.1 is not acknowledged")
			}
		}
		all := make(map[string]int)
		for name, n := range counts {
			all[name] = *n
		}
		t.Log(all)
		d.until(wanted(t, all))
		if own := d.manager.want(http.StatusOK, "GET", "/v1/devices/"+ids["signed"], "")["streams"].([]any)[0].(map[string]any)["own"]; int(own.(float64)) != all["signed"] {
			t.Errorf("the chain has %v segments, want %d", own, all["signed"])
		}
		d.stop()
		for name, n := range all {
			d.wantKept(name, ids[name], n)
		}
	})
}

// TestBrokerRestart reads an outside broker that is restarted, as is the server.
func TestBrokerRestart(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("mosquitto")
	if err != nil {
		if program, err = exec.LookPath("/usr/sbin/mosquitto"); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatal("mosquitto is not installed")
			}
			t.Skip("mosquitto is not installed")
		}
	}
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	s := newBox(t, "", "fleet.broker=mqtt://127.0.0.1:"+port, "fleet.broker_organisation=org-1")
	folder := t.TempDir()
	config := filepath.Join(folder, "mosquitto.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, "listener %s 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location %s/\nmax_queued_messages 0\nuser root\n", port, folder), 0o600); err != nil {
		t.Fatal(err)
	}
	var broker *exec.Cmd
	run := func() {
		broker = exec.Command(program, "-c", config)
		broker.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := broker.Start(); err != nil {
			t.Fatal(err)
		}
		for range 500 {
			if c, err := net.Dial("tcp", "127.0.0.1:"+port); err == nil {
				c.Close()
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Fatal("mosquitto does not listen")
	}
	run()
	t.Cleanup(func() { _ = broker.Process.Kill(); _ = broker.Wait() })
	d := newDepot(s)
	id, _ := d.logger("serial:Specimen/L-0", d.fridge("outside"), false)
	old := three(t, "127.0.0.1:"+port, "outside", "anybody", nil)
	n := 0
	send := func(count int) {
		t.Helper()
		for range count {
			token := old.Publish("s/"+d.account+"/senml", 1, false, senmlOf("urn:oid:"+id+"/TVC", nth(n)))
			if !token.WaitTimeout(20*time.Second) || token.Error() != nil {
				t.Fatal(token.Error())
			}
			n++
		}
	}
	// What comes before the server has subscribed for the first time is nobody's. The same
	// message again does no harm.
	for deadline := time.Now().Add(20 * time.Second); len(d.manager.want(http.StatusOK, "GET", "/v1/devices/"+id, "")["streams"].([]any)) == 0 && time.Now().Before(deadline); n = 0 {
		send(1)
		time.Sleep(50 * time.Millisecond)
	}
	send(60)
	for range 2 {
		// The broker writes down what it holds when it is ended, and not when it is killed.
		_ = broker.Process.Signal(syscall.SIGTERM)
		_ = broker.Wait()
		run()
		send(40)
		d.kill()
		send(40)
		d.start()
		send(20)
	}
	d.until(wanted(t, map[string]int{"outside": n}))
	last := func() float64 {
		all := d.manager.want(http.StatusOK, "GET", "/v1/devices/"+id, "")["streams"].([]any)
		if len(all) == 0 {
			return 0
		}
		return all[0].(map[string]any)["at"].(float64)
	}
	for deadline := time.Now().Add(20 * time.Second); int64(last()) != nth(n-1).At && time.Now().Before(deadline); {
		time.Sleep(100 * time.Millisecond)
	}
	d.stop()
	d.wantKept("outside", id, n)
}

// TestFleetDiskFull fills the file system of a server with SQLite: it refuses in words
// that a device understands, loses nothing that it acknowledged, and goes on when there
// is room.
func TestFleetDiskFull(t *testing.T) {
	s := newBox(t, "", "fleet.raw=0s")
	if err := os.Mkdir(s.store(), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("ampoule-test", s.store(), "tmpfs", 0, "size=24m"); err != nil {
		t.Skipf("NOT TESTED: no small file system can be made here: %v", err)
	}
	t.Cleanup(func() {
		if s.command != nil {
			s.kill()
		}
		if err := syscall.Unmount(s.store(), 0); err != nil {
			t.Error(err)
		}
	})
	d := newDepot(s)
	id, _ := d.logger("serial:Specimen/L-0", d.fridge("full"), false)
	words := make(chan byte, 100)
	m := five(t, d.mqtt, "full", d.secret, func(x *paho.Disconnect) { words <- x.ReasonCode })
	n := 0
	post := func(name string, r device.Reading) (int, string, http.Header) {
		t.Helper()
		status, answer, header, err := d.post("/senml", "application/senml+json", []byte(senmlOf(name, r)))
		if err != nil {
			t.Fatal(err)
		}
		return status, answer, header
	}
	take := func(count int) {
		t.Helper()
		for range count {
			if status, answer, _ := post("urn:oid:"+id+"/TVC", nth(n)); status != http.StatusOK {
				t.Fatalf("%d: %s", status, answer)
			}
			n++
		}
	}
	take(50)
	for round := range 2 {
		// Step 1: not a byte is left.
		ballast, err := os.Create(filepath.Join(s.store(), "ballast"))
		if err != nil {
			t.Fatal(err)
		}
		for block := make([]byte, 1<<16); err == nil; {
			_, err = ballast.Write(block)
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		ballast.Close()
		// Step 2: what still goes in is acknowledged, and then it is refused.
		refused := false
		for !refused && n < 20_000 {
			status, answer, header := post("urn:oid:"+id+"/TVC", nth(n))
			switch {
			case status == http.StatusOK:
				n++
			case status == http.StatusServiceUnavailable && strings.Contains(answer, "store-full") && header.Get("Retry-After") != "":
				refused = true
			default:
				t.Fatalf("round %d, %d: %s", round, status, answer)
			}
		}
		if !refused {
			t.Fatal("nothing is refused")
		}
		if status, answer, _ := post("somewhere/TVC", nth(0)); status != http.StatusServiceUnavailable || !strings.Contains(answer, "store-full") {
			t.Errorf("a new device: %d %s", status, answer)
		}
		once, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		if _, err := m.Publish(once, &paho.Publish{Topic: "s/" + d.account + "/senml", QoS: 1, Payload: []byte(senmlOf("urn:oid:"+id+"/TVC", nth(n)))}); err == nil {
			t.Error("a message was acknowledged that could not be kept")
		}
		cancel()
		select {
		case why := <-words:
			if why != 0x97 { // Quota exceeded
				t.Errorf("the connection ended with %#x", why)
			}
		case <-time.After(5 * time.Second):
			t.Error("the connection did not end")
		}
		// Step 3: there is room again.
		if err := os.Remove(ballast.Name()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		if err := bring(ctx, m, "s/"+d.account+"/senml", []byte(senmlOf("urn:oid:"+id+"/TVC", nth(n)))); err != nil {
			t.Fatal(err)
		}
		cancel()
		n++
		take(20)
		for len(words) > 0 {
			<-words
		}
	}
	d.until(wanted(t, map[string]int{"full": n}))
	d.stop()
	d.wantKept("full", id, n)
}

// TestChainShown has a device whose chain is reordered, edited, broken and forked: what
// is sound of it counts, and what is not is shown.
func TestChainShown(t *testing.T) {
	t.Parallel()
	d := newDepot(newBox(t, ""))
	id, label := d.logger("serial:Specimen/L-0", d.fridge("forked"), true)
	c := newChain(t, id, d.enrol(id, label))
	send := func(what, want string, segments ...[]byte) {
		t.Helper()
		status, answer, _, err := d.post("/segments", fleet.MediaSegments, slices.Concat(segments...))
		if err != nil || status != http.StatusOK || !strings.Contains(answer, want) {
			t.Errorf("%s: %d %s %v, want %s", what, status, answer, err, want)
		}
	}
	stream := func() map[string]any {
		return d.manager.want(http.StatusOK, "GET", "/v1/devices/"+id, "")["streams"].([]any)[0].(map[string]any)
	}
	own := func(what string, want int) {
		t.Helper()
		if got := int(stream()["own"].(float64)); got != want {
			t.Errorf("%s: the chain has %d segments, want %d", what, got, want)
		}
	}
	one, two := c.next(nth(0)), c.next(nth(1))
	before := c.head
	three, four, five := c.next(nth(2)), c.next(nth(3)), c.next(nth(4))
	send("a segment", `"stored":1`, one)
	send("reordered", `"stored":2`, four, three)
	own("reordered, and one is missing", 1)
	send("the missing one", `"stored":1`, two)
	own("whole again", 4)
	send("repeated", `"stored":0,"repeated":4`, one, two, three, four)
	edited := bytes.Clone(five)
	edited[len(edited)-67] ^= 1 // the last of its value, before 66 octets of signature
	send("edited", `"reason":"segment-signature"`, edited)
	own("edited", 4)
	send("the next", `"stored":1`, five)
	own("the next", 5)
	// Its memory was put back to an earlier day: it signs another third.
	other := &chain{id: c.id, key: c.key, head: before}
	send("forked", `"stored":0`, other.next(device.Reading{At: nth(2).At, Value: -4000}))
	own("forked", 5)
	// One follows by its number, and names another before it.
	broken := &chain{id: c.id, key: c.key, head: device.Head{Seq: 5, Hash: other.head.Hash}}
	send("broken", `"stored":1`, broken.next(nth(5)))
	own("broken", 5)
	var got []string
	for deadline := time.Now().Add(10 * time.Second); len(got) == 0 && time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		got = d.told()
	}
	if len(got) != 1 || !strings.HasPrefix(got[0], "forked FORKED ") {
		t.Errorf("alarms: %s", got)
	}
	chart, err := json.Marshal(d.manager.want(http.StatusOK, "GET", fmt.Sprintf("/v1/equipment/%s/chart?from=%d&until=%d", d.manager.want(http.StatusOK, "GET", "/v1/equipment", "")["items"].([]any)[0].(map[string]any)["id"], begin, begin+86400), "")["lines"])
	if err != nil || bytes.Contains(chart, []byte("-4000")) {
		t.Errorf("a reading of a fork counts: %s %v", chart, err)
	}
	d.stop()
	for reading, n := range d.kept(id) {
		if n != 1 {
			t.Errorf("%v is there %d times", reading, n)
		}
	}
}

// TestEnrolledDevice gets a device its certificate with openssl and curl, by the code of
// its label, and has it speak by it: curl, mosquitto_pub and paho.
func TestEnrolledDevice(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"openssl", "curl", "mosquitto_pub"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	d := newDepot(newBox(t, ""))
	id, label := d.logger("serial:Specimen/L-0", d.fridge("enrolled"), true)
	dir := t.TempDir()
	tool := func(name string, args ...string) string {
		t.Helper()
		c := exec.Command(name, args...)
		c.Dir = dir
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %s: %v %s", name, strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	at := "https://" + d.https + "/.well-known/est/"
	tool("curl", "-sSfk", at+"cacerts", "-o", "ca.b64")
	tool("openssl", "base64", "-d", "-in", "ca.b64", "-out", "ca.p7")
	tool("openssl", "pkcs7", "-inform", "DER", "-in", "ca.p7", "-print_certs", "-out", "ca.pem")
	tool("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "device.key", "-subj", "/CN=device", "-addext", "subjectAltName=URI:urn:oid:"+id, "-outform", "DER", "-out", "device.csr")
	tool("openssl", "base64", "-in", "device.csr", "-out", "device.csr64")
	enrol := []string{"-sS", "--cacert", "ca.pem", "-u", "device:" + claimOf(t, label), "-H", "Content-Type: application/pkcs10", "--data-binary", "@device.csr64", at + "simpleenroll", "-o", "device.b64", "-w", "%{http_code}"}
	if status := tool("curl", enrol...); status != "200" {
		t.Fatal(status)
	}
	tool("openssl", "base64", "-d", "-in", "device.b64", "-out", "device.p7")
	tool("openssl", "pkcs7", "-inform", "DER", "-in", "device.p7", "-print_certs", "-out", "device.pem")
	if status := tool("curl", enrol...); status != "403" {
		t.Errorf("the code is good twice: %s", status)
	}
	n := 0
	pack := func() string { n++; return senmlOf("TVC", nth(n-1)) }
	if answer := tool("curl", "-sSf", "--cacert", "ca.pem", "--cert", "device.pem", "--key", "device.key", "-H", "Content-Type: application/senml+json", "-d", pack(), "https://"+d.https+"/senml"); !strings.Contains(answer, `"stored":1`) {
		t.Error(answer)
	}
	_, port, _ := net.SplitHostPort(d.mtls)
	for _, version := range []string{"mqttv311", "mqttv5"} {
		tool("mosquitto_pub", "-h", "127.0.0.1", "-p", port, "--cafile", "ca.pem", "--cert", "device.pem", "--key", "device.key", "-V", version, "-q", "1", "-i", "device", "-t", "d/"+id+"/senml", "-m", pack())
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "device.pem"), filepath.Join(dir, "device.key"))
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	client := three(t, d.mtls, "device", "", &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}})
	if token := client.Publish("d/"+id+"/senml", 1, false, pack()); !token.WaitTimeout(10*time.Second) || token.Error() != nil {
		t.Error(token.Error())
	}
	// A device that is suspended is nobody.
	d.manager.want(http.StatusOK, "POST", "/v1/devices/"+id+"/state", `{"state":"suspended","reason":"lost"}`)
	refused := exec.Command("curl", "-sS", "--cacert", "ca.pem", "--cert", "device.pem", "--key", "device.key", "-H", "Content-Type: application/senml+json", "-d", senmlOf("TVC", nth(n)), "-w", "%{http_code}", "https://"+d.https+"/senml")
	refused.Dir = dir
	if out, _ := refused.CombinedOutput(); !bytes.HasSuffix(out, []byte("401")) {
		t.Errorf("a suspended device: %s", out)
	}
	d.stop()
	d.wantKept("enrolled", id, n)
}

// TestDoorTaken: a server that cannot open the door of its devices says so and ends,
// although much of it works by then.
func TestDoorTaken(t *testing.T) {
	there, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	for _, setting := range []string{"fleet.listen", "fleet.mqtt", "fleet.plain_mqtt"} {
		s := newBox(t, "", setting+"="+there.Addr().String())
		if said := s.operate(exitUsage, "serve"); !strings.Contains(said, setting+": listen") {
			t.Errorf("%s: %s", setting, said)
		}
	}
}

// TestMessages: a message that broke rules is kept as it came. Who manages devices reads
// it back, and the audit log has that; nobody else does.
func TestMessages(t *testing.T) {
	t.Parallel()
	d := newDepot(newBox(t, "", "fleet.raw=0s"))
	good, odd := cceOf("M-1", 1, nth(0)), strings.Replace(cceOf("M-1", 2, nth(1)), `"TAMB":24`, `"TAMB":6000`, 1)
	for _, body := range []string{good, odd} {
		if status, answer, _, err := d.post("/cce", "application/json", []byte(body)); err != nil || status != http.StatusOK {
			t.Fatalf("%d %s %v", status, answer, err)
		}
	}
	path := "/v1/suppliers/" + d.account + "/messages"
	// What was taken whole is not kept; what is read back was written a moment later.
	var items []any
	for n := 0; len(items) == 0 && n < 100; n++ {
		items = d.manager.want(http.StatusOK, "GET", path, "")["items"].([]any)
		time.Sleep(20 * time.Millisecond)
	}
	if len(items) != 1 || items[0].(map[string]any)["bytes"] != float64(len(odd)) || items[0].(map[string]any)["media"] != "application/json" {
		t.Fatalf("%v", items)
	}
	id := items[0].(map[string]any)["id"].(string)
	if body := d.manager.file(path + "/" + id); body != odd {
		t.Errorf("not as it came: %s", body)
	}
	if rest := d.manager.want(http.StatusOK, "GET", path+"?cursor="+id, "")["items"].([]any); len(rest) != 0 {
		t.Errorf("after the last: %v", rest)
	}
	d.manager.want(http.StatusNotFound, "GET", path+"/"+strings.Repeat("0", len(id)), "")
	d.manager.want(http.StatusNotFound, "GET", "/v1/suppliers/u-nobody/messages", "")
	reader := d.manager.program("fleet:read", "readings:send")
	reader.want(http.StatusForbidden, "GET", path, "")
	reader.want(http.StatusForbidden, "GET", path+"/"+id, "")
	d.stop()
	d.operate(0, "audit", "export", "--out", "audit.json")
	log, err := os.ReadFile(filepath.Join(d.dir, "audit.json"))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(log), `"message-read"`); n != 1 || !strings.Contains(string(log), id) {
		t.Errorf("%d lines tell that it was read", n)
	}
}
