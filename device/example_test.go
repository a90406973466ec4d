package device

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "make the examples of the specification anew")

const spec = "../docs/spec/"

// TestExamples: the examples of docs/spec are what is written there, and are read.
func TestExamples(t *testing.T) {
	ca := &authority{t: t, key: edKey(16), next: 1}
	ca.cert = ca.certify(&x509.Certificate{
		Subject: pkix.Name{CommonName: "Specimen device CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, SubjectKeyId: []byte("specimen"),
	}, ca.key.Public())
	p := &parties{ca: ca, device: edKey(1), service: edKey(3), id: id(t, specimenDevice)}
	p.certificates = [][]byte{ca.device(p.id, p.device.Public()).Raw, ca.service(p.service.Public()).Raw, ca.cert.Raw}
	segments := chain(t, p.id, 1, p.device, []Reading{{1767225600, 5120}, {1767225660, 5120}, {1767225720, 5230}, {1767225785, -500}}, 3)
	statements := p.alarm(t, p.service)
	key := p.device.Public().(ed25519.PublicKey)
	for file, c := range map[string]struct {
		data []byte
		text bool // stands in the text too
	}{
		"segment.cbor":         {segments[0], true},
		"segment-2.cbor":       {segments[1], true},
		"alarm-statement.cbor": {statements[0], false},
		"device.evidence":      {p.write(t, segments, statements, p.service), false},
		"device-root.pem":      {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw}), false},
	} {
		if *update {
			if err := os.WriteFile(spec+"examples/"+file, c.data, 0o644); err != nil {
				t.Fatal(err)
			}
			if c.text {
				t.Logf("%s: %x", file, c.data)
			}
		}
		got, err := os.ReadFile(spec + "examples/" + file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, c.data) {
			t.Errorf("%s is another one: go test ./device -run Examples -update -v", file)
		}
		text, err := os.ReadFile(spec + "segment.md")
		if err != nil {
			t.Fatal(err)
		}
		plain := strings.Join(strings.Fields(string(text)), "")
		if c.text && (!strings.Contains(plain, hex.EncodeToString(c.data)) || !strings.Contains(plain, hex.EncodeToString(key))) {
			t.Errorf("segment.md does not have %x by %x", c.data, key)
		}
	}
	second, err := ParseSegment(segments[1])
	if err != nil {
		t.Fatal(err)
	}
	first, err := ParseSegment(segments[0])
	if err != nil || first.Head().Follow(second) != Linked || second.Verify(p.device.Public()) != nil {
		t.Error(err)
	}
	data, err := os.ReadFile(spec + "examples/device.evidence")
	if err != nil {
		t.Fatal(err)
	}
	r, err := VerifyEvidence(bytes.NewReader(data), ca.pool(), newYear.AddDate(0, 2, 0))
	if err != nil || !r.Sound() || r.Chains[0].Readings != 4 {
		t.Errorf("%+v, %v", r, err)
	}
}
