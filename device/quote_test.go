package device

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"ampoule/format"
)

// quoteOf writes a quote of some registers of the SHA-256 bank, as a TPM does.
func quoteOf(nonce []byte, firmware uint64, values map[int]Hash) []byte {
	sized := func(b, content []byte) []byte {
		return append(binary.BigEndian.AppendUint16(b, uint16(len(content))), content...)
	}
	b := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint32(nil, tpmGenerated), tpmAttestQuote)
	b = sized(sized(b, []byte("name")), nonce)
	b = binary.BigEndian.AppendUint64(b, 1000)
	b = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, 5), 1)
	b = binary.BigEndian.AppendUint64(append(b, 1), firmware)
	b = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint32(b, 1), tpmSHA256)
	bits := make([]byte, 3)
	h := sha256.New()
	for _, i := range sortedKeys(values) {
		bits[i/8] |= 1 << (i % 8)
		v := values[i]
		h.Write(v[:])
	}
	return sized(append(append(b, 3), bits...), h.Sum(nil))
}

func tpmSign(t testing.TB, key *ecdsa.PrivateKey, message []byte) []byte {
	t.Helper()
	sum := sha256.Sum256(message)
	r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	b := []byte{0, tpmECDSA, 0, tpmSHA256, 0, 32}
	b = append(b, r.FillBytes(make([]byte, 32))...)
	return append(append(b, 0, 32), s.FillBytes(make([]byte, 32))...)
}

func TestAppraise(t *testing.T) {
	key := ecKey(t)
	nonce := []byte("twenty bytes of it..")
	values := map[int]Hash{0: {1}, 7: {2}}
	release := Reference{Name: "release 1", Registers: map[int][]Hash{0: {{9}, {1}}, 7: {{2}}}, Firmware: []uint64{42}}
	message := quoteOf(nonce, 42, values)
	maker := newAuthority(t, "Specimen TPM maker")
	certified := func(use asn1.ObjectIdentifier) []*x509.Certificate {
		return []*x509.Certificate{maker.certify(&x509.Certificate{Subject: pkix.Name{CommonName: "AK"}, UnknownExtKeyUsage: []asn1.ObjectIdentifier{use}}, key.Public())}
	}
	ak := certified(asn1.ObjectIdentifier{2, 23, 133, 8, 3})
	good := Attestation{Message: message, Signature: tpmSign(t, key, message), Registers: values}
	expect := Expectation{Nonce: nonce, Pinned: key.Public(), References: []Reference{{Name: "release 0", Registers: map[int][]Hash{0: {{8}}}}, release}, For: time.Hour, Resets: 5}
	signed := func(x *Attestation, message []byte) { x.Message, x.Signature = message, tpmSign(t, key, message) }
	for _, c := range []struct {
		name   string
		change func(*Attestation, *Expectation)
		check  string // the first that fails
		reason format.Defect
	}{
		{name: "pinned"},
		{name: "certified", change: func(x *Attestation, e *Expectation) { e.Pinned, e.Makers, x.Chain = nil, maker.pool(), ak }},
		{name: "neither", change: func(x *Attestation, e *Expectation) { e.Pinned = nil }, check: "endorsement", reason: ErrEndorsed},
		{name: "by another maker", change: func(x *Attestation, e *Expectation) {
			e.Pinned, e.Makers, x.Chain = nil, newAuthority(t, "Another").pool(), ak
		}, check: "endorsement", reason: ErrEndorsed},
		{name: "of no attestation key", change: func(x *Attestation, e *Expectation) {
			e.Pinned, e.Makers, x.Chain = nil, maker.pool(), certified(asn1.ObjectIdentifier{1, 2, 3})
		}, check: "endorsement", reason: ErrEndorsed},
		{name: "another key", change: func(x *Attestation, e *Expectation) { e.Pinned = ecKey(t).Public() }, check: "signature", reason: ErrQuoteSign},
		{name: "an old nonce", change: func(x *Attestation, e *Expectation) { e.Nonce = []byte("another twenty bytes") }, check: "nonce", reason: ErrNonce},
		{name: "no nonce", change: func(x *Attestation, e *Expectation) { e.Nonce = nil; signed(x, quoteOf(nil, 42, values)) }, check: "nonce", reason: ErrNonce},
		{name: "other values", change: func(x *Attestation, e *Expectation) { x.Registers = map[int]Hash{0: {1}, 7: {3}} }, check: "registers", reason: ErrPCRs},
		{name: "a value kept back", change: func(x *Attestation, e *Expectation) { x.Registers = map[int]Hash{0: {1}} }, check: "registers", reason: ErrNoValues},
		{name: "another state", change: func(x *Attestation, e *Expectation) {
			x.Registers = map[int]Hash{0: {1}, 7: {3}}
			signed(x, quoteOf(nonce, 42, x.Registers))
		}, check: "reference", reason: ErrReference},
		{name: "a register not quoted", change: func(x *Attestation, e *Expectation) {
			x.Registers = map[int]Hash{0: {1}}
			signed(x, quoteOf(nonce, 42, x.Registers))
		}, check: "reference", reason: ErrReference},
		{name: "another firmware", change: func(x *Attestation, e *Expectation) { signed(x, quoteOf(nonce, 41, values)) }, check: "reference", reason: ErrFirmware},
		{name: "no state is known", change: func(x *Attestation, e *Expectation) { e.References = nil }, check: "reference", reason: ErrNoPolicies},
		{name: "a state of nothing", change: func(x *Attestation, e *Expectation) { e.References = []Reference{{Name: "any"}} }, check: "reference", reason: ErrReference},
		{name: "another TPM", change: func(x *Attestation, e *Expectation) { e.Resets = 6 }, check: "clock", reason: ErrBackwards},
		{name: "no quote", change: func(x *Attestation, e *Expectation) {
			x.Message = bytes.Replace(message, []byte{0x80, 0x18}, []byte{0x80, 0x17}, 1)
		}, check: "form", reason: ErrQuoteType},
		{name: "made outside", change: func(x *Attestation, e *Expectation) { x.Message = append([]byte{0}, message[1:]...) }, check: "form", reason: ErrQuoteType},
	} {
		t.Run(c.name, func(t *testing.T) {
			x, e := good, expect
			if c.change != nil {
				c.change(&x, &e)
			}
			a := Appraise(&x, &e, newYear)
			i := slices.IndexFunc(a.Checks, func(c Check) bool { return !c.Pass })
			switch {
			case c.check == "" && (i >= 0 || !a.Until.Equal(newYear.Add(time.Hour)) || a.Reference != "release 1" || len(a.Checks) != 7):
				t.Errorf("%+v", a)
			case c.check != "" && (i < 0 || a.Checks[i].Name != c.check || a.Checks[i].Reason != c.reason || a.Good()):
				t.Errorf("%+v", a)
			}
		})
	}
	for i := range message {
		if _, err := ParseQuote(message[:i]); err == nil {
			t.Errorf("cut at %d", i)
		}
	}
	if _, err := ParseQuote(append(slices.Clone(message), 0)); err == nil {
		t.Error("a byte more")
	}
}

// needs skips where a tool is missing, but not in the checks.
func needs(t *testing.T, tools ...string) {
	t.Helper()
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatalf("%s is missing", tool)
			}
			t.Skipf("SKIPPED: %s is missing", tool)
		}
	}
}

// TestTPM: quotes of a TPM, by its own tools.
func TestTPM(t *testing.T) {
	needs(t, "swtpm", "tpm2_createek", "tpm2_quote", "tpm2_pcrextend")
	dir := t.TempDir()
	port := startTPM(t, dir)
	run := func(t *testing.T, name string, args ...string) []byte {
		t.Helper()
		c := exec.Command(name, args...)
		c.Dir, c.Env = dir, append(os.Environ(), fmt.Sprintf("TPM2TOOLS_TCTI=swtpm:host=127.0.0.1,port=%d", port))
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		return out
	}
	read := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	nonce := make([]byte, 20)
	if _, err := rand.Read(nonce); err != nil {
		t.Fatal(err)
	}
	run(t, "tpm2_createek", "-c", "ek.ctx", "-G", "ecc", "-u", "ek.pub")
	for _, scheme := range []struct{ algorithm, scheme string }{{"ecc", "ecdsa"}, {"rsa", "rsassa"}, {"rsa", "rsapss"}} {
		t.Run(scheme.scheme, func(t *testing.T) {
			run(t, "tpm2_flushcontext", "-t")
			run(t, "tpm2_createak", "-C", "ek.ctx", "-c", "ak.ctx", "-G", scheme.algorithm, "-g", "sha256", "-s", scheme.scheme, "-u", "ak.pem", "-f", "pem")
			block, _ := pem.Decode(read("ak.pem"))
			key, err := x509.ParsePKIXPublicKey(block.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			attest := func() *Attestation {
				t.Helper()
				run(t, "tpm2_flushcontext", "-t")
				text := run(t, "tpm2_quote", "-c", "ak.ctx", "-l", "sha256:0,7,16", "-q", hex.EncodeToString(nonce), "-m", "q.msg", "-s", "q.sig", "-o", "q.pcrs", "-g", "sha256", "--scheme", scheme.scheme)
				x := &Attestation{Message: read("q.msg"), Signature: read("q.sig"), Registers: map[int]Hash{}}
				for _, m := range regexp.MustCompile(`(?m)^\s*(\d+)\s*: 0x([0-9A-Fa-f]{64})`).FindAllSubmatch(text, -1) {
					i, _ := strconv.Atoi(string(m[1]))
					v, err := hex.DecodeString(string(m[2]))
					if err != nil {
						t.Fatal(err)
					}
					x.Registers[i] = Hash(v)
				}
				return x
			}
			run(t, "tpm2_pcrreset", "16")
			x := attest()
			if len(x.Registers) != 3 {
				t.Fatalf("%d registers", len(x.Registers))
			}
			expect := &Expectation{Nonce: nonce, Pinned: crypto.PublicKey(key), For: time.Hour, References: []Reference{{Name: "now", Registers: map[int][]Hash{}}}}
			for i, v := range x.Registers {
				expect.References[0].Registers[i] = []Hash{v}
			}
			if a := Appraise(x, expect, newYear); !a.Good() {
				t.Fatalf("%+v", a)
			}
			// Something else runs.
			run(t, "tpm2_pcrextend", "16:sha256="+hex.EncodeToString(bytes.Repeat([]byte{1}, 32)))
			if a := Appraise(attest(), expect, newYear); a.Good() || a.Checks[len(a.Checks)-2].Reason != ErrReference {
				t.Errorf("%+v", a)
			}
		})
	}
}

func startTPM(t *testing.T, dir string) int {
	t.Helper()
	for try := range 5 {
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
		ended := make(chan error, 1)
		go func() { ended <- c.Wait() }()
		for range 100 {
			select {
			case err := <-ended: // another took one of the ports
				t.Logf("swtpm, try %d: %v", try, err)
				goto next
			case <-time.After(50 * time.Millisecond):
			}
			// The control port: whoever connects to the other is its one client.
			if conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port+1)); err == nil {
				conn.Close()
				t.Cleanup(func() { _ = c.Process.Kill(); <-ended })
				return port
			}
		}
		_ = c.Process.Kill()
		<-ended
	next:
	}
	t.Fatal("swtpm does not start")
	return 0
}

func FuzzParseQuote(f *testing.F) {
	f.Add(quoteOf([]byte("nonce"), 1, map[int]Hash{0: {1}, 23: {2}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		q, err := ParseQuote(data)
		if err != nil {
			return
		}
		_ = q.fits(map[int]Hash{0: {1}})
		_ = verifyQuote(&ecdsa.PublicKey{}, nil, data[:min(len(data), 3)])
	})
}
