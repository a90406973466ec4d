package bundle

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloudflare/circl/sign/mldsa/mldsa65"

	"ampoule/cert"
	"ampoule/format/didlist"
	"ampoule/thing"
	"ampoule/trust"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// roots are made once: three of them, of which the second has an Ed25519 key.
var roots = sync.OnceValue(func() (signers [3]Signer) {
	for i := range signers {
		_, lattice := mldsa65.NewKeyFromSeed((*[32]byte)(bytes.Repeat([]byte{byte(i)}, 32)))
		signers[i].PostQuantum = lattice
		if i == 1 {
			signers[i].Classical = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{9}, 32))
			continue
		}
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			panic(err)
		}
		signers[i].Classical = key
	}
	return signers
})

func root(t testing.TB, i int) Root {
	t.Helper()
	r, err := roots()[i].Root()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// certificate is self-signed, of the country XA.
func certificate(t testing.TB, key *ecdsa.PrivateKey, name string) []byte {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{Country: []string{"XA"}, CommonName: name},
		NotBefore: noon.AddDate(-1, 0, 0), NotAfter: noon.AddDate(1, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// didList is a signed list of n signers, and its pin.
func didList(t testing.TB, n int) (list, pin []byte) {
	t.Helper()
	const host = "did:web:trust.specimen.invalid:v2:trustlist"
	var entries []didlist.Entry
	for i := range n {
		der := certificate(t, newKey(t), fmt.Sprintf("Specimen signer %d", i))
		entries = append(entries, didlist.Entry{Domain: "DCC", Participant: "XXA", KeyUsage: "DSC", Chain: [][]byte{der}})
	}
	doc, err := didlist.New(didlist.ContextDevelop, host, host, host+":signer", entries, nil)
	if err != nil {
		t.Fatal(err)
	}
	key := newKey(t)
	if list, err = doc.Sign(key, rand.Reader, noon, strings.Repeat("0", 32), didlist.FormDER); err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return list, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// rules is an array of n rules of the destination XA.
func rules(t testing.TB, n int) []byte {
	t.Helper()
	var all []map[string]any
	for i := range n {
		all = append(all, map[string]any{
			"Identifier": fmt.Sprintf("VR-XA-%04d", i), "Type": "Acceptance", "Country": "XA", "Version": "1.0.0", "SchemaVersion": "1.0.0",
			"Engine": "CERTLOGIC", "EngineVersion": "1.0.0", "CertificateType": "Vaccination",
			"Description":    []map[string]string{{"lang": "en", "desc": "The series of doses must be complete, says the specimen."}},
			"ValidFrom":      "2021-01-01T00:00:00Z",
			"ValidTo":        "2030-01-01T00:00:00Z",
			"AffectedFields": []string{"v.0.dn", "v.0.sd"},
			"Logic": map[string]any{"if": []any{
				map[string]any{"var": "payload.v.0"},
				map[string]any{">=": []any{map[string]any{"var": "payload.v.0.dn"}, map[string]any{"var": "payload.v.0.sd"}}},
				true,
			}},
		})
	}
	data, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// regulator says things about lots.
type regulator struct {
	key *ecdsa.PrivateKey
	der []byte
}

func newRegulator(t testing.TB) regulator {
	key := newKey(t)
	return regulator{key, certificate(t, key, "Specimen regulator")}
}

func (r regulator) authority() LotAuthority { return LotAuthority{"regulator", "XXA", "", r.der} }

// recalls is a file of n recalls.
func (r regulator) recalls(t testing.TB, n int) (file []byte) {
	t.Helper()
	for i := range n {
		product := thing.Product{Code: "YF-1", System: cert.SystemICVPProduct}
		file = thing.AppendLine(file, r.recall(t, fmt.Sprintf("LOT-%d", i), product, noon.Add(-time.Hour)))
	}
	return file
}

// recall is one signed recall.
func (r regulator) recall(t testing.TB, lot string, product thing.Product, issued time.Time) []byte {
	t.Helper()
	message, err := thing.SignLotStatement(rand.Reader, r.key, []byte(trust.DeriveKeyID(r.der)), &thing.LotStatement{
		Role: thing.Regulator, Authority: "XXA", Issued: issued, Lot: lot, Product: product, Part: thing.All, Value: thing.Recalled,
	})
	if err != nil {
		t.Fatal(err)
	}
	return message
}

const (
	specimenCatalogue = `{"catalogue": "specimen", "products": [{"id": "YF-1", "display": "Specimen vaccine", "disease": "yellow-fever"}]}`
	specimenValueSets = `{"disease-agent-targeted": ["840539006"]}`
	specimenCRL       = `{"kid": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "method": "rid", "ctr": 1, "rids": ["specimen"]}`
)

// input is a bundle of one document of every kind.
func input(t testing.TB, changes ...func(*Input)) Input {
	t.Helper()
	list, pin := didList(t, 2)
	authority := newRegulator(t)
	in := Input{
		Maker: "XXA", Issued: noon, Next: noon.AddDate(0, 0, 7), Signers: []Root{root(t, 0)},
		Documents: []Document{
			{Kind: Trust, Name: "did.json", Data: list},
			{Kind: Status, Name: "crl.json", Data: []byte(specimenCRL)},
			{Kind: Catalogue, Name: "catalogue.json", Data: []byte(specimenCatalogue)},
			{Kind: Rules, Name: "rules.json", Data: rules(t, 2)},
			{Kind: ValueSets, Name: "value-sets.json", Data: []byte(specimenValueSets)},
			{Kind: Lots, Name: "lots.txt", Data: authority.recalls(t, 3)},
		},
		Pins: []Pin{{"pin.pem", pin}}, Authorities: []LotAuthority{authority.authority()},
	}
	for _, change := range changes {
		change(&in)
	}
	return in
}

// sealed makes and signs.
func sealed(t testing.TB, in Input, signers ...Signer) []byte {
	t.Helper()
	b, drops, err := Make(in)
	if err != nil {
		t.Fatal(err)
	}
	if len(drops) > 0 {
		t.Fatalf("dropped: %+v", drops)
	}
	if len(signers) == 0 {
		signers = []Signer{roots()[0]}
	}
	data, err := Sign(rand.Reader, b, signers...)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// bare is a bundle without documents, for tests of what is around them.
func bare(t testing.TB, changes ...func(*Input)) Input {
	t.Helper()
	in := Input{Maker: "XXA", Issued: noon, Next: noon.AddDate(0, 0, 7), Signers: []Root{root(t, 0)}}
	for _, change := range changes {
		change(&in)
	}
	return in
}

// resign signs a payload as it is, good or bad.
func resign(t testing.TB, payload []byte, signers ...crypto.Signer) []byte {
	t.Helper()
	if len(signers) == 0 {
		signers = []crypto.Signer{roots()[0].Classical, roots()[0].PostQuantum}
	}
	data, err := signMulti(payload, signers...)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
