package tlog

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"filippo.io/mldsa"
	"github.com/cloudflare/circl/sign/mldsa/mldsa44"
	flog "github.com/transparency-dev/formats/log"
	fnote "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"

	"ampoule/format"
)

const testOrigin = "oid/1.3.6.1.4.1.99999.1.1"

// seed makes keys that are the same in every run.
func seed(name string) []byte { h := LeafHash([]byte(name)); return h[:] }

func ed25519Signer(t testing.TB, name string, typ KeyType) *NoteSigner {
	t.Helper()
	s, err := NewNoteSigner(name, typ, ed25519.NewKeyFromSeed(seed(name)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mldsaSigner(t testing.TB, name string) *NoteSigner {
	t.Helper()
	_, private := mldsa44.NewKeyFromSeed((*[mldsa44.SeedSize]byte)(seed(name)))
	s, err := NewNoteSigner(name, MLDSA44Cosignature, private)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func testCheckpoint(size uint64) *Checkpoint {
	return &Checkpoint{Origin: testOrigin, Size: size, Root: newTestTree(size).Root()}
}

func signed(t testing.TB, c *Checkpoint, at int64, signers ...*NoteSigner) []byte {
	t.Helper()
	n, err := c.Note()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range signers {
		when := at
		if s.Key.Type == Ed25519Note {
			when = 0
		}
		if err := s.Sign(rand.Reader, n, when); err != nil {
			t.Fatal(err)
		}
	}
	return n.Encode()
}

// TestNoteAgainstOracle: what we sign is verified by two other implementations of
// notes and by another of ML-DSA, what they sign by us.
func TestNoteAgainstOracle(t *testing.T) {
	c := testCheckpoint(70)
	log, witness, pq := ed25519Signer(t, testOrigin, Ed25519Note), ed25519Signer(t, "witness.example/w1", Ed25519Cosignature), mldsaSigner(t, "oid/1.3.6.1.4.1.99999.2.1")
	data := signed(t, c, 1_780_000_000, log, witness, pq)

	theirLog, err := note.NewVerifier(log.Key.String())
	if err != nil {
		t.Fatal(err)
	}
	theirWitness, err := fnote.NewVerifierForCosignatureV1(witness.Key.String())
	if err != nil {
		t.Fatal(err)
	}
	theirPQ, err := fnote.NewMLDSAVerifier(pq.Key.String())
	if err != nil {
		t.Fatal(err)
	}
	opened, err := note.Open(data, note.VerifierList(theirLog, theirWitness, theirPQ))
	if err != nil || len(opened.Sigs) != 3 || len(opened.UnverifiedSigs) != 0 {
		t.Fatalf("%d signatures, %v", len(opened.Sigs), err)
	}
	for i, s := range opened.Sigs {
		if at, err := fnote.CoSigV1Timestamp(s); i > 0 && (err != nil || at.Unix() != 1_780_000_000) {
			t.Errorf("signature %d: %v, %v", i, at, err)
		}
	}
	parsed, _, _, err := flog.ParseCheckpoint(data, testOrigin, theirLog, theirWitness, theirPQ)
	if err != nil || parsed.Size != c.Size || !bytes.Equal(parsed.Hash, c.Root[:]) {
		t.Errorf("%v, %v", parsed, err)
	}

	// Theirs by ours.
	text, _ := c.Text()
	skey := func(name string, typ KeyType, k *Key, secret []byte) string {
		return fmt.Sprintf("PRIVATE+KEY+%s+%08x+%s", name, k.ID, base64.StdEncoding.EncodeToString(append([]byte{byte(typ)}, secret...)))
	}
	logSigner, err := note.NewSigner(skey(testOrigin, Ed25519Note, log.Key, seed(testOrigin)))
	if err != nil {
		t.Fatal(err)
	}
	mldsaKey, mldsaVKey, err := fnote.GenerateMLDSAKey("oid/1.3.6.1.4.1.99999.2.7")
	if err != nil {
		t.Fatal(err)
	}
	pqSigner, err := fnote.NewSignerForCosignatureV1(mldsaKey)
	if err != nil {
		t.Fatal(err)
	}
	coSecret, coVKey, err := note.GenerateKey(rand.Reader, "witness.example/w9")
	if err != nil {
		t.Fatal(err)
	}
	coSigner, err := fnote.NewSignerForCosignatureV1(coSecret)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := note.Sign(&note.Note{Text: text}, logSigner, pqSigner, coSigner)
	if err != nil {
		t.Fatal(err)
	}
	n, err := ParseNote(theirs)
	if err != nil {
		t.Fatal(err)
	}
	pqKey, err := ParseKey(mldsaVKey)
	if err != nil {
		t.Fatal(err)
	}
	coRaw, err := base64.StdEncoding.DecodeString(strings.SplitN(coVKey, "+", 3)[2])
	if err != nil {
		t.Fatal(err)
	}
	coKey, err := NewKey("witness.example/w9", Ed25519Cosignature, ed25519.PublicKey(coRaw[1:]))
	if err != nil {
		t.Fatal(err)
	}
	verified, err := n.Verify(log.Key, pqKey, coKey)
	if err != nil || len(verified) != 3 || verified[1].Time == 0 || verified[2].Time == 0 {
		t.Fatalf("%v, %v", verified, err)
	}
	if !bytes.Equal(n.Encode(), theirs) {
		t.Error("encoded otherwise")
	}

	// A second implementation of ML-DSA itself.
	other, err := mldsa.NewPublicKey(mldsa.MLDSA44(), pq.Key.raw)
	if err != nil {
		t.Fatal(err)
	}
	ours, _ := ParseNote(data)
	message := c.subtreeMessage(pq.Key.Name, 1_780_000_000)
	if err := mldsa.Verify(other, message, ours.Signatures[2].Signature[timestampSize:], nil); err != nil {
		t.Error(err)
	}
}

// TestPublishedCosignature reads the example of the specification, whose keys are
// not published: it is a note and a checkpoint, signed by nobody we know.
func TestPublishedCosignature(t *testing.T) {
	const text = `example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
`
	n, err := ParseNote([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if string(n.Encode()) != text || len(n.Signatures) != 2 {
		t.Error("encoded otherwise")
	}
	// The example's own text tells the time of the second.
	if at := binary.BigEndian.Uint64(n.Signatures[1].Signature); at != 1679315147 {
		t.Errorf("time %d", at)
	}
	c, err := ParseCheckpoint(n.Text)
	if err != nil || c.Origin != "example.com/behind-the-sofa" || c.Size != 20852163 {
		t.Errorf("%v, %v", c, err)
	}
	if _, err := n.Verify(ed25519Signer(t, "example.com/behind-the-sofa", Ed25519Note).Key); !errors.Is(err, ErrNoSignature) {
		t.Error(err)
	}
}

func TestVerifyNote(t *testing.T) {
	c := testCheckpoint(5)
	log, witness, pq := ed25519Signer(t, testOrigin, Ed25519Note), ed25519Signer(t, "w1", Ed25519Cosignature), mldsaSigner(t, "w2")
	good := signed(t, c, 1000, log, witness, pq)
	for _, k := range []*Key{log.Key, witness.Key, pq.Key} {
		n, _ := ParseNote(good)
		if v, err := n.Verify(k); err != nil || len(v) != 1 || v[0].Key != k {
			t.Errorf("%s: %v, %v", k.Name, v, err)
		}
		again, err := ParseKey(k.String())
		if err != nil || again.ID != k.ID || !again.same(k) {
			t.Errorf("%s: %v", k.Name, err)
		}
	}
	change := func(edit func(n *Note)) *Note {
		n, err := ParseNote(good)
		if err != nil {
			t.Fatal(err)
		}
		edit(n)
		return n
	}
	for _, x := range []struct {
		name string
		key  *Key
		edit func(n *Note)
		want error
	}{
		{"another text, log", log.Key, func(n *Note) { n.Text = strings.Replace(n.Text, "\n5\n", "\n6\n", 1) }, ErrSignature},
		{"another text, witness", witness.Key, func(n *Note) { n.Text = strings.Replace(n.Text, "\n5\n", "\n6\n", 1) }, ErrSignature},
		{"another text, ML-DSA", pq.Key, func(n *Note) { n.Text = strings.Replace(n.Text, "\n5\n", "\n6\n", 1) }, ErrSignature},
		{"another origin, ML-DSA", pq.Key, func(n *Note) { n.Text = "x" + n.Text }, ErrSignature},
		{"no checkpoint, ML-DSA", pq.Key, func(n *Note) { n.Text = "text\n" }, ErrCheckpoint},
		{"another time", witness.Key, func(n *Note) { n.Signatures[1].Signature[7]++ }, ErrSignature},
		{"another time, ML-DSA", pq.Key, func(n *Note) { n.Signatures[2].Signature[7]++ }, ErrSignature},
		{"a time beyond 2^63", witness.Key, func(n *Note) { n.Signatures[1].Signature[0] = 0x80 }, ErrTimestamp},
		{"a signature cut off", log.Key, func(n *Note) { n.Signatures[0].Signature = n.Signatures[0].Signature[:63] }, ErrSignature},
		{"a time cut off", witness.Key, func(n *Note) { n.Signatures[1].Signature = n.Signatures[1].Signature[:7] }, ErrSignature},
		{"ML-DSA cut off", pq.Key, func(n *Note) { n.Signatures[2].Signature = n.Signatures[2].Signature[:100] }, ErrSignature},
		{"another name", log.Key, func(n *Note) { n.Signatures[0].Name = "x" }, ErrNoSignature},
		{"another identifier", log.Key, func(n *Note) { n.Signatures[0].ID++ }, ErrNoSignature},
		{"a second signature that is bad", log.Key, func(n *Note) {
			n.Signatures = append(n.Signatures, NoteSignature{log.Key.Name, log.Key.ID, make([]byte, 64)})
		}, ErrSignature},
		{"an Ed25519 signature of the other type", mustKey(NewKey("w1", Ed25519Note, witness.Key.ed25519)), func(n *Note) { n.Signatures[1].ID = mustKey(NewKey("w1", Ed25519Note, witness.Key.ed25519)).ID }, ErrSignature},
	} {
		t.Run(x.name, func(t *testing.T) {
			if _, err := change(x.edit).Verify(x.key); !errors.Is(err, x.want) {
				t.Errorf("%v, want %v", err, x.want)
			}
		})
	}
	// What an ML-DSA-44 cosignature does not cover.
	extended := change(func(n *Note) { n.Text += "extension\n" })
	if _, err := extended.Verify(pq.Key); err != nil {
		t.Error("an extension line counts for ML-DSA-44:", err)
	}
	if _, err := extended.Verify(witness.Key); !errors.Is(err, ErrSignature) {
		t.Error(err)
	}
}

func mustKey(k *Key, err error) *Key {
	if err != nil {
		panic(err)
	}
	return k
}

func TestParseNote(t *testing.T) {
	line := dash + "name " + base64.StdEncoding.EncodeToString(make([]byte, 8)) + "\n"
	for _, c := range []struct {
		name, data string
		want       error
	}{
		{"empty", "", ErrNote},
		{"no signature", "text\n\n", ErrNote},
		{"no empty line", "text\n" + line, ErrNote},
		{"last line without end", "text\n\n" + line[:len(line)-1], ErrNote},
		{"carriage return", "text\r\n\n" + line, ErrNote},
		{"not UTF-8", "text\xff\n\n" + line, ErrNote},
		{"a hyphen in place of a dash", "text\n\n- name AAAAAAA=\n", ErrNote},
		{"no name", "text\n\n" + dash + " AAAAAAAAAAA=\n", ErrNote},
		{"plus in a name", "text\n\n" + dash + "a+b AAAAAAAAAAA=\n", ErrNote},
		{"a space of Unicode in a name", "text\n\n" + dash + "a\u2003b AAAAAAAAAAA=\n", ErrNote},
		{"no base64", "text\n\n" + dash + "name\n", ErrNote},
		{"base64 without padding", "text\n\n" + dash + "name AAAAAAAAAAA\n", ErrNote},
		{"base64 with bits left", "text\n\n" + dash + "name AAAAAAAAAAB=\n", ErrNote},
		{"URL alphabet", "text\n\n" + dash + "name AAAAAAAAA-8=\n", ErrNote},
		{"four bytes", "text\n\n" + dash + "name AAAAAA==\n", ErrNote},
		{"too many signatures", "text\n\n" + strings.Repeat(line, maxSignatures+1), ErrNote},
		{"too large", strings.Repeat("x", MaxNote) + "\n\n" + line, ErrNoteSize},
		{"good", "text\n\n" + line, nil},
		{"an empty line in the text", "a\n\nb\n\n" + line, nil},
		{"as many signatures as may be", "text\n\n" + strings.Repeat(line, maxSignatures), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, err := ParseNote([]byte(c.data))
			if !errors.Is(err, c.want) {
				t.Fatalf("%v, want %v", err, c.want)
			}
			if err == nil && string(n.Encode()) != c.data {
				t.Errorf("encoded otherwise: %q", n.Encode())
			}
		})
	}
}

func TestParseCheckpoint(t *testing.T) {
	root := base64.StdEncoding.EncodeToString(make([]byte, HashSize))
	for _, c := range []struct {
		name, text string
		want       error
	}{
		{"two lines", "origin\n5\n", ErrCheckpoint},
		{"no last line end", "origin\n5\n" + root, ErrCheckpoint},
		{"no origin", "\n5\n" + root + "\n", ErrCheckpoint},
		{"origin of 256 bytes", strings.Repeat("o", 256) + "\n5\n" + root + "\n", ErrCheckpoint},
		{"leading zero", "origin\n05\n" + root + "\n", ErrCheckpoint},
		{"sign", "origin\n+5\n" + root + "\n", ErrCheckpoint},
		{"beyond 2^63", "origin\n9223372036854775808\n" + root + "\n", ErrCheckpoint},
		{"root of 31 bytes", "origin\n5\n" + base64.StdEncoding.EncodeToString(make([]byte, 31)) + "\n", ErrCheckpoint},
		{"root with bits left", "origin\n5\n" + strings.Replace(root, "A=", "B=", 1) + "\n", ErrCheckpoint},
		{"no leaves and a root", "origin\n0\n" + root + "\n", ErrCheckpoint},
		{"empty extension", "origin\n5\n" + root + "\n\n", ErrCheckpoint},
		{"good", "origin\n5\n" + root + "\n", nil},
		{"extensions", "origin\n5\n" + root + "\none\ntwo\n", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := ParseCheckpoint(c.text)
			if !errors.Is(err, c.want) {
				t.Fatalf("%v, want %v", err, c.want)
			}
			if err != nil {
				return
			}
			if again, err := p.Text(); err != nil || again != c.text {
				t.Errorf("%q, %v", again, err)
			}
		})
	}
	if text, err := (&Checkpoint{Origin: "o", Root: EmptyRoot()}).Text(); err != nil || !strings.HasPrefix(text, "o\n0\n47DEQpj8") {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := (&Checkpoint{Origin: "o\nx", Size: 1}).Text(); !errors.Is(err, ErrCheckpoint) {
		t.Error(err)
	}
}

func TestParseKey(t *testing.T) {
	good := ed25519Signer(t, "name", Ed25519Note).Key.String()
	raw := func(typ byte, n int) string {
		return base64.StdEncoding.EncodeToString(append([]byte{typ}, make([]byte, n)...))
	}
	for _, c := range []struct {
		name, key string
		want      error
	}{
		{"empty", "", ErrVerifierKey},
		{"two parts", "name+00000000", ErrVerifierKey},
		{"another identifier", "name+00000000" + good[13:], ErrVerifierKey},
		{"identifier in capitals", strings.ToUpper(good[:13]) + good[13:], ErrVerifierKey},
		{"no name", good[4:], ErrVerifierKey},
		{"a space in the name", "na me" + good[4:], ErrVerifierKey},
		{"a long name", strings.Repeat("n", 256) + good[4:], ErrVerifierKey},
		{"unknown type", "name+00000000+" + raw(2, 32), ErrKeyType},
		{"no type", "name+00000000+AA==", ErrVerifierKey},
		{"31 bytes", "name+00000000+" + raw(1, 31), ErrVerifierKey},
		{"ML-DSA-44 of 32 bytes", "name+00000000+" + raw(6, 32), ErrVerifierKey},
		{"trailing", good + "+", ErrVerifierKey},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := ParseKey(c.key); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
	if _, err := NewKey("n", MLDSA44Cosignature, ed25519.PublicKey(make([]byte, 32))); !errors.Is(err, ErrKeyType) {
		t.Error(err)
	}
	if _, err := NewKey("n", Ed25519Note, ed25519.PublicKey(make([]byte, 31))); !errors.Is(err, ErrVerifierKey) {
		t.Error(err)
	}
	if _, err := NewKey("n", Ed25519Note, "no key"); !errors.Is(err, ErrKeyType) {
		t.Error(err)
	}
}

// liar signs with another key than it says.
type liar struct{ crypto.Signer }

func (l liar) Public() crypto.PublicKey {
	return ed25519.NewKeyFromSeed(seed("another")).Public()
}

func TestSignRefuses(t *testing.T) {
	n, _ := testCheckpoint(3).Note()
	for _, c := range []struct {
		name   string
		signer *NoteSigner
		at     int64
		want   error
	}{
		{"a time that is not given", ed25519Signer(t, "n", Ed25519Note), 1, ErrTimestamp},
		{"before 1970", ed25519Signer(t, "n", Ed25519Cosignature), -1, ErrTimestamp},
		{"another's signature", &NoteSigner{mustKey(NewKey("n", Ed25519Note, liar{}.Public())), liar{ed25519.NewKeyFromSeed(seed("n"))}}, 0, ErrSignature},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := c.signer.Sign(nil, n, c.at); !errors.Is(err, c.want) || len(n.Signatures) != 0 {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
	if err := mldsaSigner(t, "n").Sign(nil, &Note{Text: "no checkpoint\n"}, 1); !errors.Is(err, ErrCheckpoint) {
		t.Error(err)
	}
}

// TestEveryFlippedBit: no bit of a signed checkpoint can change without its being
// refused, or read as a note of somebody else.
func TestEveryFlippedBit(t *testing.T) {
	log := ed25519Signer(t, testOrigin, Ed25519Note)
	data := signed(t, testCheckpoint(9), 0, log)
	for bit := range 8 * len(data) {
		changed := bytes.Clone(data)
		changed[bit/8] ^= 1 << (bit % 8)
		n, err := ParseNote(changed)
		if err == nil {
			_, err = n.Verify(log.Key)
		}
		if err == nil {
			t.Fatalf("bit %d: accepted", bit)
		}
		if format.Reason(err, "") == "" {
			t.Fatalf("bit %d: %v has no reason word", bit, err)
		}
	}
}

// FuzzParseNote: what is read is written as it was, and another implementation reads
// it too.
func FuzzParseNote(f *testing.F) {
	f.Add(signed(f, testCheckpoint(3), 7, ed25519Signer(f, testOrigin, Ed25519Note), ed25519Signer(f, "w", Ed25519Cosignature)))
	f.Add([]byte("text\n\n— name AAAAAAAAAAA=\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := ParseNote(data)
		if err != nil {
			if format.Reason(err, "") == "" {
				t.Errorf("%v has no reason word", err)
			}
			return
		}
		if !bytes.Equal(n.Encode(), data) {
			t.Errorf("%q becomes %q", data, n.Encode())
		}
		var unverified *note.UnverifiedNoteError
		if _, err := note.Open(data, note.VerifierList()); !errors.As(err, &unverified) || unverified.Note.Text != n.Text {
			t.Errorf("%q: others say %v", data, err)
		}
		c, err := ParseCheckpoint(n.Text)
		if err != nil {
			return
		}
		if text, err := c.Text(); err != nil || text != n.Text {
			t.Errorf("%q, %v", text, err)
		}
		var theirs flog.Checkpoint
		if _, err := theirs.Unmarshal([]byte(n.Text)); err != nil || theirs.Size != c.Size || theirs.Origin != c.Origin {
			t.Errorf("%q: others say %v", n.Text, err)
		}
	})
}

func FuzzParseKey(f *testing.F) {
	f.Add(ed25519Signer(f, "name", Ed25519Note).Key.String())
	f.Add(ed25519Signer(f, "w", Ed25519Cosignature).Key.String())
	f.Add(mldsaSigner(f, "w").Key.String())
	f.Fuzz(func(t *testing.T, s string) {
		k, err := ParseKey(s)
		if err == nil && k.String() != s {
			t.Errorf("%q becomes %q", s, k)
		}
	})
}
