//go:build linux

package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"ampoule/device"
	"ampoule/internal/keys"
)

// fleetBox is a service with doors for devices.
type fleetBox struct {
	*box
	door, mqtt string // addresses
	manager    *caller
	token      string // a file with the manager's token
}

func newFleetBox(t *testing.T, set ...string) *fleetBox {
	t.Helper()
	f := &fleetBox{}
	var ports []string
	for range 2 {
		port, err := freePort()
		if err != nil {
			t.Fatal(err)
		}
		ports = append(ports, port)
	}
	f.door, f.mqtt = "https://127.0.0.1:"+ports[0], "mqtts://127.0.0.1:"+ports[1]
	f.box = newBox(t, "", append([]string{"fleet.listen=127.0.0.1:" + ports[0], "fleet.mqtt=127.0.0.1:" + ports[1]}, set...)...)
	f.start()
	f.manager = f.setUp().letIn("specimen.technician", "technician", "").program("fleet:manage", "fleet:read", "readings:send")
	f.token = filepath.Join(f.dir, "token")
	if err := os.WriteFile(f.token, []byte(f.manager.token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return f
}

// root is the certificate of the authority of the devices.
func (f *fleetBox) root() string { return filepath.Join(f.store(), devicesFolder, rootFile) }

// register puts a device into the registry, and returns its identifier and claim code.
func (f *fleetBox) register(serial string) (id, label string) {
	f.t.Helper()
	made := f.manager.want(http.StatusOK, "POST", "/v1/devices", fmt.Sprintf(`{"names":["serial:Specimen/%s"],"claim":true}`, serial))
	f.seeded("claim code", made["label"].(string))
	return made["id"].(string), made["label"].(string)
}

// enrol makes the folder of a device.
func (f *fleetBox) enrol(serial string) (id, dir string) {
	f.t.Helper()
	id, label := f.register(serial)
	dir = filepath.Join(f.dir, "logger-"+serial)
	said := f.run(0, "device", "enrol", "--server", f.door, "--ca", f.root(), "--claim", label, "--dir", dir, "--unencrypted")
	if !strings.Contains(said, "device "+id+"\n") {
		f.t.Fatalf("%s", said)
	}
	return id, dir
}

// evidence fetches that of a device into a file.
func (f *fleetBox) evidence(id string) string {
	f.t.Helper()
	path := filepath.Join(f.dir, id+".evidence")
	if err := os.WriteFile(path, []byte(f.manager.file("/v1/devices/"+id+"/evidence")), 0o600); err != nil {
		f.t.Fatal(err)
	}
	return path
}

// verified is what evidence shows.
func (f *fleetBox) verified(code int, id string) (shown shownEvidence) {
	f.t.Helper()
	text := f.run(code, "device", "verify", "--ca", f.root(), "--json", f.evidence(id))
	if err := json.Unmarshal([]byte(text), &shown); err != nil {
		f.t.Fatalf("%v: %s", err, text)
	}
	return shown
}

// TestDeviceEnrol: a claim code is good once, and for nobody who shows another authority.
func TestDeviceEnrol(t *testing.T) {
	f := newFleetBox(t)
	id, label := f.register("E-1")
	dir := filepath.Join(f.dir, "logger")
	to := []string{"device", "enrol", "--server", f.door, "--dir", dir, "--unencrypted"}
	with := func(words ...string) []string { return append(append([]string{}, to...), words...) }
	f.run(80, with("--claim", "AMPOULE-CLAIM:00000-00000-00000-00001", "--ca", f.root())...)
	f.run(80, with("--ca", f.root())...)
	if said := f.run(2, with("--claim", label)...); !strings.Contains(said, "--fingerprint") {
		t.Errorf("no hint: %s", said)
	}
	said := f.run(1, with("--claim", label, "--fingerprint", strings.Repeat("00", 32))...)
	m := regexp.MustCompile(`another authority: ([0-9a-f]{64})`).FindStringSubmatch(said)
	if m == nil || !strings.Contains(f.log.String(), m[1]) {
		t.Fatalf("the fingerprint is not that of the log: %s", said)
	}
	if said := f.run(0, with("--claim", label, "--fingerprint", m[1])...); !strings.Contains(said, id) {
		t.Errorf("%s", said)
	}
	f.run(80, with("--claim", label, "--ca", f.root())...)
	other := append([]string{}, to...)
	other[5] = filepath.Join(f.dir, "thief")
	f.run(1, append(other, "--claim", label, "--ca", f.root())...)
	// Another code is good, and ends the one before.
	first := f.manager.want(http.StatusOK, "POST", "/v1/devices/"+id+"/claim", "")["label"].(string)
	second := f.manager.want(http.StatusOK, "POST", "/v1/devices/"+id+"/claim", "")["label"].(string)
	f.seeded("claim code", first, second)
	f.run(1, append(other, "--claim", first, "--ca", f.root())...)
	f.run(0, append(other, "--claim", second, "--ca", f.root())...)

	// The next certificate is for another key, and the chain goes on under it.
	run := []string{"device", "run", "--dir", dir, "--server", f.door, "--unencrypted", "--simulate", "1", "--interval", "1s", "--batch", "2", "--count", "2"}
	f.run(0, run...)
	before, err := keys.Load(filepath.Join(dir, deviceKeyFile), keys.Unencrypted())
	if err != nil {
		t.Fatal(err)
	}
	f.run(0, "device", "renew", "--dir", dir, "--server", f.door, "--unencrypted")
	after, err := keys.Load(filepath.Join(dir, deviceKeyFile), keys.Unencrypted())
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(before.Certificate().RawSubjectPublicKeyInfo, after.Certificate().RawSubjectPublicKeyInfo) {
		t.Error("the key is the same")
	}
	time.Sleep(time.Second) // there is one reading of a second
	f.run(0, run...)
	shown := f.verified(0, id)
	if len(shown.Streams) != 4 || shown.Streams[0].Segments != 2 || shown.Streams[0].Signer != "device" || shown.Streams[0].Readings != 4 {
		t.Errorf("%+v", shown.Streams)
	}
	// Nobody vouches: undecided. One byte is another: wrong.
	path := f.evidence(id)
	f.run(2, "device", "verify", path)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	f.run(1, "device", "verify", "--ca", f.root(), path)
	f.stop()
}

// TestDeviceRunKilled: a logger is killed again and again, and its server too. What it
// counted as measured arrives, once, on one chain without a fork.
func TestDeviceRunKilled(t *testing.T) {
	f := newFleetBox(t)
	random := dice(t)
	id, dir := f.enrol("K-1")
	for _, server := range []string{f.door, f.mqtt} {
		for range 4 * rounds(t) {
			c := exec.Command("ampoule", "device", "run", "--dir", dir, "--server", server, "--unencrypted", "--simulate", "1", "--interval", "1s", "--batch", "1")
			c.Dir, c.Env, c.Stderr = f.dir, clean(), os.Stderr
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			if random.IntN(2) == 0 {
				f.kill()
				time.Sleep(time.Duration(random.IntN(1500)) * time.Millisecond)
				f.start()
			}
			time.Sleep(time.Duration(500+random.IntN(1500)) * time.Millisecond)
			_ = c.Process.Kill()
			_ = c.Wait()
		}
	}
	said := f.run(0, "device", "run", "--dir", dir, "--server", f.door, "--unencrypted", "--simulate", "1", "--interval", "1s", "--batch", "1", "--count", "1")
	if !strings.Contains(said, "ended; 0 segments wait") {
		t.Errorf("%s", said)
	}
	key, err := keys.Load(filepath.Join(dir, deviceKeyFile), keys.Unencrypted())
	if err != nil {
		t.Fatal(err)
	}
	s, err := openSpool(dir, mustID(t, key), key)
	if err != nil {
		t.Fatal(err)
	}
	shown := f.verified(0, id)
	for _, x := range shown.Streams {
		if head := s.chains[x.Stream].head.Seq; uint64(x.Segments) != head || head < 4 {
			t.Errorf("stream %d: the server has %d segments, the logger made %d", x.Stream, x.Segments, head)
		}
	}
	f.stop()
}

func mustID(t *testing.T, k *keys.Key) device.ID {
	t.Helper()
	id, err := device.CertificateID(k.Certificate())
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// TestDeviceRunOffline: without a server a logger goes on, ends cleanly by a signal, and
// brings all of it later; one that was suspended brings it when it may again.
func TestDeviceRunOffline(t *testing.T) {
	f := newFleetBox(t)
	id, dir := f.enrol("O-1")
	f.stop()
	probe := filepath.Join(f.dir, "temp")
	if err := os.WriteFile(probe, []byte("5120\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.Command("ampoule", "device", "run", "--dir", dir, "--server", f.door, "--unencrypted", "--read", probe, "--interval", "1s", "--batch", "2")
	var said output
	c.Dir, c.Env, c.Stderr = f.dir, clean(), &said
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(3500 * time.Millisecond)
	// Two at a time would fork the chain.
	f.run(80, "device", "run", "--dir", dir, "--server", f.door, "--unencrypted", "--read", probe)
	_ = c.Process.Signal(syscall.SIGTERM)
	if err := c.Wait(); err != nil || !strings.Contains(said.String(), "again in 1s") {
		t.Errorf("%v: %s", err, said.String())
	}
	again := []string{"device", "run", "--dir", dir, "--server", f.door, "--unencrypted", "--read", "-", "--count", "1", "--batch", "2", "--drain", "2s"}
	f.run(2, again...)
	f.start()
	f.manager.want(http.StatusOK, "POST", "/v1/devices/"+id+"/state", `{"state":"suspended","reason":"maintenance"}`)
	f.run(2, again...)
	f.manager.want(http.StatusOK, "POST", "/v1/devices/"+id+"/state", `{"state":"active"}`)
	f.run(0, again...)
	shown := f.verified(0, id)
	if len(shown.Streams) != 1 || shown.Streams[0].Readings < 3 || shown.Streams[0].Min != 5120 || shown.Streams[0].Max != 5120 {
		t.Errorf("%+v", shown.Streams)
	}
	f.stop()
}

// TestDeviceForked: of two copies of a logger the second to speak is known for one.
func TestDeviceForked(t *testing.T) {
	f := newFleetBox(t)
	id, dir := f.enrol("F-1")
	copied := filepath.Join(f.dir, "copy")
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(copied, deviceKeyFile), 0o600); err != nil {
		t.Fatal(err)
	}
	for i, d := range []string{dir, copied} {
		f.run(0, "device", "run", "--dir", d, "--server", f.door, "--unencrypted", "--simulate", fmt.Sprint(i), "--interval", "1s", "--batch", "1", "--count", "1")
	}
	shown := f.verified(1, id)
	if !strings.Contains(strings.Join(shown.Findings, "\n"), string(device.ErrForked)) {
		t.Errorf("%q", shown.Findings)
	}
	f.stop()
}

// TestDeviceRoster: rows that cannot be are told, the others get their codes, which are
// good for a certificate, once.
func TestDeviceRoster(t *testing.T) {
	f := newFleetBox(t)
	f.manager.want(http.StatusOK, "POST", "/v1/equipment", `{"name":"Fridge 1","kind":"fridge"}`)
	table := filepath.Join(f.dir, "roster.csv")
	text := "maker,model,serial,equipment\nSpecimen,L,R-1,Fridge 1\nSpecimen,L,R-2,\nSpecimen,L,R-2,\nSpecimen,L,R-3,No such fridge\n"
	if err := os.WriteFile(table, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	roster := []string{"device", "roster", table, "--server", "http://127.0.0.1:" + f.port, "--token-file", f.token}
	if said := f.run(1, append(roster, "--dry")...); !strings.Contains(said, "2 devices could be taken") {
		t.Errorf("%s", said)
	}
	if n := len(f.manager.want(http.StatusOK, "GET", "/v1/devices", "")["items"].([]any)); n != 0 {
		t.Errorf("a dry run took %d", n)
	}
	codes := filepath.Join(f.dir, "codes.csv")
	said := f.run(1, append(roster, "--out", codes)...)
	for _, want := range []string{"2 devices taken", "line 4, serial: duplicate-device", "line 5: serial:Specimen/R-3: no-such-equipment"} {
		if !strings.Contains(said, want) {
			t.Errorf("no %q in %s", want, said)
		}
	}
	file, err := os.Open(codes)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(file).ReadAll()
	file.Close()
	if err != nil || len(rows) != 3 {
		t.Fatalf("%v %v", rows, err)
	}
	for _, row := range rows[1:] {
		f.seeded("claim code", row[3])
	}
	stays := f.manager.want(http.StatusOK, "GET", "/v1/devices/"+rows[1][1], "")["stays"].([]any)
	if len(stays) != 1 {
		t.Errorf("%v", stays)
	}
	f.run(1, append(roster, "--out", codes+"2")...)
	f.run(0, "device", "enrol", "--server", f.door, "--ca", f.root(), "--claim", rows[2][3], "--dir", filepath.Join(f.dir, "r2"), "--unencrypted")
	// Somebody who may not manage is refused.
	nobody := filepath.Join(f.dir, "nobody")
	if err := os.WriteFile(nobody, []byte("nobody"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.run(1, "device", "roster", table, "--server", "http://127.0.0.1:"+f.port, "--token-file", nobody)
	f.stop()
}

// TestDeviceImport: the file of a logger is told, taken once, and known again.
func TestDeviceImport(t *testing.T) {
	f := newFleetBox(t)
	f.register("I-1")
	table := filepath.Join(f.dir, "log.csv")
	if err := os.WriteFile(table, []byte("time,temperature °C\n2026-11-01T10:00:00Z,5.1\n2026-11-01T10:15:00Z,5.3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	bring := []string{"device", "import", table, "--server", "http://127.0.0.1:" + f.port, "--token-file", f.token}
	if said := f.run(2, bring...); !strings.Contains(said, "--device") {
		t.Errorf("%s", said)
	}
	bring = append(bring, "--device", "serial:Specimen/I-1")
	for _, tt := range []struct{ more, want string }{{"--dry", "2, 2026-11-01T10:00:00Z to 2026-11-01T10:15:00Z, 5.1 to 5.3"}, {"", "stored     2"}, {"", "repeated   2"}} {
		words := bring
		if tt.more != "" {
			words = append(append([]string{}, bring...), tt.more)
		}
		if said := f.run(0, words...); !strings.Contains(said, tt.want) {
			t.Errorf("no %q in %s", tt.want, said)
		}
	}
	f.stop()
}

// TestDeviceSimulate: a fleet in each format arrives whole, and what is true is told.
func TestDeviceSimulate(t *testing.T) {
	f := newFleetBox(t)
	for i, format := range []string{"cce", "senml", "segments"} {
		words := []string{"device", "simulate", "--server", "http://127.0.0.1:" + f.port, "--token-file", f.token, "--devices", "6", "--days", "1", "--per", "24", "--seed", fmt.Sprint(i + 1), "--faults", "power-cut,drawn", "--faulty", "0.5", "--format", format}
		if format == "segments" {
			words = append(words, "--door", f.door, "--door-ca", f.root())
		}
		said := f.run(0, words...)
		m := regexp.MustCompile(`(\d+) readings in 4 messages .* (\d+) stored, 0 repeated, 0 refused, 0 messages lost`).FindStringSubmatch(said)
		if m == nil || m[1] != "576" {
			t.Fatalf("%s: %s", format, said)
		}
		if n := strings.Count(said, `"truth":"store"`); n != 6 {
			t.Errorf("%s: %d stores", format, n)
		}
		if !strings.Contains(said, `"truth":"fault"`) {
			t.Errorf("%s: no faults", format)
		}
	}
	if n := len(f.manager.want(http.StatusOK, "GET", "/v1/devices", "")["items"].([]any)); n != 18 {
		t.Errorf("%d devices", n)
	}
	f.stop()
}

// TestDeviceAttested: what a device signs is of level 4 for as long as its TPM has shown
// that it is in a state which somebody took in, and no longer than it shows another.
func TestDeviceAttested(t *testing.T) {
	for _, name := range []string{"swtpm", "tpm2_createek", "tpm2_createak", "tpm2_quote", "tpm2_pcrextend"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("%s is not installed: nothing of attestation is tested", name)
		}
	}
	f := newFleetBox(t)
	id, dir := f.enrol("A-1")
	key, err := keys.Load(filepath.Join(dir, deviceKeyFile), keys.Unencrypted())
	if err != nil {
		t.Fatal(err)
	}
	pem1, err := os.ReadFile(f.root())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem1)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{{Certificate: rawChain(key)[:1], PrivateKey: key.Signer}}}}}
	ask := func(method string, body any, status int) map[string]any {
		t.Helper()
		data, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		r, err := http.NewRequest(method, f.door+"/attestation", bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != status {
			t.Fatalf("%s: %v %d: %s", method, err, res.StatusCode, text)
		}
		var out map[string]any
		if err := json.Unmarshal(text, &out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	ask("GET", nil, http.StatusConflict) // nobody has taken its key in

	port := softTPM(t)
	work := t.TempDir()
	tpm := func(name string, args ...string) []byte {
		t.Helper()
		c := exec.Command(name, args...)
		c.Dir, c.Env = work, append(os.Environ(), fmt.Sprintf("TPM2TOOLS_TCTI=swtpm:host=127.0.0.1,port=%d", port))
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		return out
	}
	file := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join(work, name))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	quote := func(nonce []byte) map[string]any {
		t.Helper()
		tpm("tpm2_flushcontext", "-t")
		text := tpm("tpm2_quote", "-c", "ak.ctx", "-l", "sha256:0,7,16", "-q", hex.EncodeToString(nonce), "-m", "q.msg", "-s", "q.sig", "-o", "q.pcrs", "-g", "sha256")
		registers := map[string]string{}
		for _, m := range regexp.MustCompile(`(?m)^\s*(\d+)\s*: 0x([0-9A-Fa-f]{64})`).FindAllSubmatch(text, -1) {
			registers[string(m[1])] = strings.ToLower(string(m[2]))
		}
		return map[string]any{"attest": file("q.msg"), "signature": file("q.sig"), "registers": registers}
	}
	tpm("tpm2_createek", "-c", "ek.ctx", "-G", "ecc", "-u", "ek.pub")
	tpm("tpm2_flushcontext", "-t")
	tpm("tpm2_createak", "-C", "ek.ctx", "-c", "ak.ctx", "-G", "ecc", "-g", "sha256", "-s", "ecdsa", "-u", "ak.pem", "-f", "pem")
	if block, _ := pem.Decode(file("ak.pem")); block == nil {
		t.Fatal("no key")
	}
	states := map[string][]string{}
	for n, v := range quote([]byte("for its registers"))["registers"].(map[string]string) {
		states[n] = []string{v}
	}
	order, err := json.Marshal(map[string]any{"form": "tpm", "key": string(file("ak.pem")), "releases": []any{map[string]any{"name": "1.0", "registers": states}}})
	if err != nil {
		t.Fatal(err)
	}
	equipment := f.manager.want(http.StatusOK, "POST", "/v1/equipment", `{"name":"Fridge 1","kind":"fridge"}`)["id"].(string)
	f.manager.want(http.StatusOK, "POST", "/v1/devices/"+id+"/stays", fmt.Sprintf(`{"equipment":%q,"from":%d}`, equipment, time.Now().Unix()-60))
	f.manager.want(http.StatusUnprocessableEntity, "POST", "/v1/devices/"+id+"/endorsement", `{"form":"tpm","key":"none"}`)
	f.manager.want(http.StatusOK, "POST", "/v1/devices/"+id+"/endorsement", string(order))

	level := func(want float64) {
		t.Helper()
		c := exec.Command("ampoule", "device", "run", "--dir", dir, "--server", f.door, "--unencrypted", "--read", "-")
		c.Dir, c.Env, c.Stdin = f.dir, clean(), strings.NewReader("5.1\n")
		time.Sleep(1100 * time.Millisecond) // the next second
		since := time.Now().Unix()
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if got := f.lastLevel(id, equipment, since); got != want {
			t.Errorf("level %v, want %v", got, want)
		}
	}
	level(3)
	nonce := func() []byte {
		t.Helper()
		var b []byte
		text, _ := json.Marshal(ask("GET", nil, http.StatusOK)["nonce"])
		if err := json.Unmarshal(text, &b); err != nil {
			t.Fatal(err)
		}
		return b
	}
	// An answer to no question, and one that is given again.
	ask("POST", quote([]byte("of nobody's asking")), http.StatusForbidden)
	shown := quote(nonce())
	if got := ask("POST", shown, http.StatusOK); got["reference"] != "1.0" {
		t.Errorf("%v", got)
	}
	ask("POST", shown, http.StatusForbidden)
	level(4)
	// Another state is running.
	tpm("tpm2_pcrextend", "16:sha256="+strings.Repeat("01", 32))
	if got := ask("POST", quote(nonce()), http.StatusForbidden); !strings.Contains(fmt.Sprint(got), string(device.ErrReference)) {
		t.Errorf("%v", got)
	}
	level(3)
	f.stop()
}

// lastLevel is the level of the newest reading of a device, which must be in equipment.
func (f *fleetBox) lastLevel(id, equipment string, since int64) float64 {
	f.t.Helper()
	at := int64(0)
	for range 100 { // until it was held against the rules
		streams := f.manager.want(http.StatusOK, "GET", "/v1/devices/"+id, "")["streams"].([]any)
		if at = int64(streams[0].(map[string]any)["at"].(float64)); at >= since {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	chart := f.manager.want(http.StatusOK, "GET", fmt.Sprintf("/v1/equipment/%s/chart?from=%d&until=%d", equipment, at, at+1), "")
	return chart["lines"].([]any)[0].(map[string]any)["level"].(float64)
}

// softTPM starts a TPM in software.
func softTPM(t *testing.T) int {
	t.Helper()
	dir := t.TempDir()
	for range 5 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		l.Close()
		c := exec.Command("swtpm", "socket", "--tpm2", "--tpmstate", "dir="+dir, "--flags", "not-need-init,startup-clear",
			"--server", fmt.Sprintf("type=tcp,port=%d", port), "--ctrl", fmt.Sprintf("type=tcp,port=%d", port+1))
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { _ = c.Wait(); close(ended) }()
		for range 100 {
			time.Sleep(50 * time.Millisecond)
			// The control port: whoever connects to the other is its one client.
			if conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port+1)); err == nil {
				conn.Close()
				t.Cleanup(func() { _ = c.Process.Kill(); <-ended })
				return port
			}
		}
		_ = c.Process.Kill()
		<-ended
	}
	t.Fatal("swtpm does not start")
	return 0
}
