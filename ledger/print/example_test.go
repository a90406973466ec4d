package print

import (
	"bytes"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"testing"

	"ampoule/format/cose"
	"ampoule/format/hcert"
	"ampoule/format/shc"
	"ampoule/format/vdsnc"
	"ampoule/ledger/tlog"
)

var update = flag.Bool("update", false, "make the example of the specification anew")

const example = "../../docs/spec/examples/fingerprints.json"

// vectors are what docs/spec/examples/fingerprints.json has.
type vectors struct {
	Certificates []vector `json:"certificates"`
	Decoys       string   `json:"decoys"` // how they were made
	Size         int      `json:"size"`
	Root         string   `json:"root"`
}

type vector struct {
	Format  string `json:"format"`
	Text    string `json:"text"`
	Key     string `json:"key"`     // of the HMAC
	Message string `json:"message"` // what was signed
	Leaf    string `json:"leaf"`
	Path    string `json:"path"` // docs/spec/landmark-path.md
}

// decoy is the decoy of a number in the example. Those of real batches are random.
func decoy(n int) Leaf { return sha256.Sum256(fmt.Appendf(nil, "decoy %d", n)) }

// leafOf reads a certificate, and returns what its leaf is made of.
func leafOf(t testing.TB, text string) (name string, leaf Leaf, key, message []byte) {
	t.Helper()
	var err error
	switch {
	case shc.IsCard(text):
		var jws *shc.JWS
		if jws, err = shc.Parse(shc.Strict, text); err == nil {
			name, key, message = "shc", jws.Signature[:32], []byte(jws.Signed())
			leaf, err = OfJWS(jws)
		}
	case vdsnc.Is(text):
		var seal *vdsnc.Seal
		if seal, _, err = vdsnc.Decode(text, vdsnc.Field); err == nil {
			name, key, message = "vds-nc", seal.Signature[:32], seal.Signed()
			leaf, err = OfSeal(seal)
		}
	default:
		var m *hcert.Message
		if m, err = hcert.Decode(text, hcert.Strict); err == nil {
			name, key, message = "eu-dcc", m.Sign1.Signature[:32], m.Sign1.AppendSigStructure(nil)
			leaf, err = OfSign1(m.Sign1)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return name, leaf, key, message
}

// TestExample: the example of docs/spec is what is written there.
func TestExample(t *testing.T) {
	var stream bytes.Buffer
	for n := range 61 {
		d := decoy(n)
		stream.Write(d[:])
	}
	if *update {
		makeExample(t, bytes.NewReader(stream.Bytes()))
	}
	data, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Certificates) != 3 {
		t.Fatalf("%d certificates", len(v.Certificates))
	}
	var leaves []Leaf
	for _, c := range v.Certificates {
		name, leaf, key, message := leafOf(t, c.Text)
		if name != c.Format || hex.EncodeToString(key) != c.Key || hex.EncodeToString(message) != c.Message || hex.EncodeToString(leaf[:]) != c.Leaf {
			t.Errorf("%s: leaf %x of %x and %x", c.Format, leaf, key, message)
		}
		if hmacOf(key, message) != leaf {
			t.Errorf("%s: it is no HMAC of them", c.Format)
		}
		leaves = append(leaves, leaf)
	}
	batch := closeOne(t, leaves, &stream)
	root := batch.Root()
	if hex.EncodeToString(root[:]) != v.Root || batch.Size() != v.Size {
		t.Errorf("root %x of %d", root, batch.Size())
	}
	for i, c := range v.Certificates {
		raw, err := hex.DecodeString(c.Path)
		if err != nil {
			t.Fatal(err)
		}
		path, err := tlog.ParseBatchPath(raw)
		if err != nil {
			t.Fatal(err)
		}
		if err := path.Verify(leaves[i].Hash(), root); err != nil {
			t.Errorf("%s: %v", c.Format, err)
		}
	}
}

// makeExample writes the file. Its signatures are other ones each time.
func makeExample(t *testing.T, decoys *bytes.Reader) {
	key := newKey(t, elliptic.P256())
	// {1: "XA", 6: …, 4: …, -260: {1: {"ver": "1.3.0"}}}: enough to be a CWT.
	claims := []byte{0xa4, 0x01, 0x62, 'X', 'A', 0x04, 0x1a, 0x6b, 0x49, 0xd2, 0x00, 0x06, 0x1a, 0x69, 0x68, 0x9e, 0x80, 0x39, 0x01, 0x03, 0xa1, 0x01, 0xa1, 0x63, 'v', 'e', 'r', 0x65, '1', '.', '3', '.', '0'}
	envelope, err := cose.Sign(rand.Reader, key, []byte("kid-8--x"), claims)
	if err != nil {
		t.Fatal(err)
	}
	dcc, err := hcert.EncodeCOSE(envelope)
	if err != nil {
		t.Fatal(err)
	}
	card, err := shc.Numeric(signCard(t, key))
	if err != nil {
		t.Fatal(err)
	}
	v := vectors{Decoys: `SHA-256 of "decoy 0" to "decoy 60"`}
	var leaves []Leaf
	for _, text := range []string{dcc, card, sealText(t, key)} {
		name, leaf, key, message := leafOf(t, text)
		leaves = append(leaves, leaf)
		v.Certificates = append(v.Certificates, vector{Format: name, Text: text, Key: hex.EncodeToString(key), Message: hex.EncodeToString(message), Leaf: hex.EncodeToString(leaf[:])})
	}
	batch := closeOne(t, leaves, decoys)
	root := batch.Root()
	v.Size, v.Root = batch.Size(), hex.EncodeToString(root[:])
	for i, leaf := range leaves {
		path, err := batch.Path(leaf)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := path.Encode()
		if err != nil {
			t.Fatal(err)
		}
		v.Certificates[i].Path = hex.EncodeToString(raw)
	}
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(example, append(data, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}
