package tlog

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/transparency-dev/formats/proof"
	fwitness "github.com/transparency-dev/formats/witness"
	"golang.org/x/mod/sumdb/note"

	"ampoule/format"
)

// federation is a log with witnesses of two regions.
type federation struct {
	log       *NoteSigner
	witnesses map[string]*NoteSigner
	policy    string
}

func newFederation(t testing.TB) *federation {
	t.Helper()
	f := &federation{log: ed25519Signer(t, testOrigin, Ed25519Note), witnesses: map[string]*NoteSigner{}}
	var b strings.Builder
	fmt.Fprintf(&b, "# a federation that does not exist\nlog %s https://log.invalid/\n\n", f.log.Key)
	for i, name := range []string{"X1", "X2", "X3", "Y1", "Y2", "Y3"} {
		oid := fmt.Sprintf("oid/1.3.6.1.4.1.99999.2.%d", i)
		s := ed25519Signer(t, oid, Ed25519Cosignature)
		if i%2 == 0 {
			s = mldsaSigner(t, oid)
		}
		f.witnesses[name] = s
		fmt.Fprintf(&b, " witness\t%s %s https://witness.invalid/%d\n", name, s.Key, i)
	}
	b.WriteString("group X-witnesses 2 X1 X2 X3\ngroup Y-witnesses any Y1 Y2 Y3\ngroup X-and-Y all X-witnesses Y-witnesses\nquorum X-and-Y\n")
	f.policy = b.String()
	return f
}

func parsePolicy(t testing.TB, text string) *Policy {
	t.Helper()
	p, err := ParsePolicy([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestPolicyAgainstOracle asks every set of witnesses of ours and of another
// implementation.
func TestPolicyAgainstOracle(t *testing.T) {
	f := newFederation(t)
	p := parsePolicy(t, f.policy)
	theirs, err := fwitness.ParsePolicy([]byte(f.policy))
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"X1", "X2", "X3", "Y1", "Y2", "Y3"}
	suffice := 0
	for set := range 1 << len(names) {
		signers := []*NoteSigner{f.log}
		have := map[bool]int{}
		for i, name := range names {
			if set>>i&1 == 1 {
				signers = append(signers, f.witnesses[name])
				have[i < 3]++
			}
		}
		data := signed(t, testCheckpoint(3), 1000, signers...)
		c, err := p.Open(data)
		want := have[true] >= 2 && have[false] >= 1
		if c == nil || c.Quorum != want || (err == nil) != want || err != nil && !errors.Is(err, ErrQuorum) {
			t.Fatalf("set %06b: %+v, %v", set, c, err)
		}
		if theirs.Satisfied(data) != want {
			t.Fatalf("set %06b: others say %v", set, !want)
		}
		if len(c.Witnesses) != len(signers)-1 || c.Log.ID != f.log.Key.ID || c.Checkpoint.Size != 3 {
			t.Fatalf("set %06b: %+v", set, c)
		}
		if !slices.Equal(c.Groups[:2], []Standing{{"X-witnesses", have[true], 2}, {"Y-witnesses", have[false], 1}}) {
			t.Fatalf("set %06b: %+v", set, c.Groups)
		}
		for _, w := range c.Witnesses {
			if w.Time != 1000 {
				t.Fatalf("set %06b: %+v", set, w)
			}
		}
		if want {
			suffice++
		}
	}
	if suffice != 4*7 {
		t.Errorf("%d sets suffice", suffice)
	}
}

func TestOpenRefuses(t *testing.T) {
	f := newFederation(t)
	p := parsePolicy(t, f.policy)
	x1, x2, y1 := f.witnesses["X1"], f.witnesses["X2"], f.witnesses["Y1"]
	c := testCheckpoint(3)
	forged := func(s *NoteSigner) []byte {
		n, _ := ParseNote(signed(t, c, 1000, f.log, x1, x2, y1))
		for i := range n.Signatures {
			if n.Signatures[i].ID == s.Key.ID {
				n.Signatures[i].Signature[20] ^= 1
			}
		}
		return n.Encode()
	}
	other := &Checkpoint{Origin: "oid/1.3.6.1.4.1.99999.1.2", Size: 3, Root: c.Root}
	stranger := ed25519Signer(t, "stranger", Ed25519Note)
	for _, x := range []struct {
		name string
		data []byte
		want error
	}{
		{"no note", []byte("x"), ErrNote},
		{"no log", signed(t, c, 1000, x1, x2, y1), ErrUnknownLog},
		{"a log that is not listed", signed(t, c, 1000, stranger, x1, x2, y1), ErrUnknownLog},
		{"nobody known", signed(t, c, 1000, stranger), ErrNoSignature},
		{"another origin", signed(t, other, 1000, f.log, x1, x2, y1), ErrUnknownLog},
		{"the log forged", forged(f.log), ErrSignature},
		{"a witness forged", forged(x2), ErrSignature},
		{"an ML-DSA witness forged", forged(x1), ErrSignature},
		{"one region only", signed(t, c, 1000, f.log, x1, x2, f.witnesses["X3"]), ErrQuorum},
		{"one witness twice", signed(t, c, 1000, f.log, x1, x1, y1), ErrQuorum},
	} {
		t.Run(x.name, func(t *testing.T) {
			if got, err := p.Open(x.data); !errors.Is(err, x.want) || (got != nil) != (x.want == ErrQuorum) {
				t.Errorf("%v, want %v", err, x.want)
			}
		})
	}
	t.Run("the newest time counts", func(t *testing.T) {
		n, _ := ParseNote(signed(t, c, 1000, f.log, x1, x2, y1))
		if err := x2.Sign(nil, n, 2000); err != nil {
			t.Fatal(err)
		}
		got, err := p.Open(n.Encode())
		if err != nil || got.Witnesses[1] != (Witnessed{"X2", 2000}) {
			t.Errorf("%+v, %v", got, err)
		}
	})
	t.Run("quorum none", func(t *testing.T) {
		p := parsePolicy(t, "log "+f.log.Key.String()+"\nquorum none\n")
		if c, err := p.Open(signed(t, c, 0, f.log)); err != nil || !c.Quorum {
			t.Error(err)
		}
	})
	t.Run("quorum of one witness", func(t *testing.T) {
		p := parsePolicy(t, "log "+f.log.Key.String()+"\nwitness w "+x1.Key.String()+"\nquorum w\n")
		if _, err := p.Open(signed(t, c, 5, f.log, x1)); err != nil {
			t.Error(err)
		}
		if _, err := p.Open(signed(t, c, 5, f.log, x2)); !errors.Is(err, ErrQuorum) {
			t.Error(err)
		}
	})
	t.Run("a log that is a witness too", func(t *testing.T) {
		pq := mldsaSigner(t, testOrigin)
		p := parsePolicy(t, "log "+pq.Key.String()+"\nwitness w "+pq.Key.String()+"\nquorum w\n")
		if _, err := p.Open(signed(t, c, 5, pq)); err != nil {
			t.Error(err)
		}
	})
}

func TestParsePolicy(t *testing.T) {
	log := ed25519Signer(t, testOrigin, Ed25519Note).Key.String()
	w1, w2 := ed25519Signer(t, "w1", Ed25519Cosignature), mldsaSigner(t, "w2")
	again := mustKey(NewKey("other-name", Ed25519Cosignature, w1.Key.ed25519))
	head := "log " + log + "\nwitness A " + w1.Key.String() + "\nwitness B " + w2.Key.String() + "\n"
	for _, c := range []struct {
		name, text string
		want       error
	}{
		{"empty", "", ErrPolicy},
		{"no quorum", head, ErrPolicy},
		{"two quorums", head + "quorum A\nquorum A\n", ErrPolicy},
		{"quorum before its witness", "quorum A\n" + head, ErrPolicy},
		{"quorum of nobody", head + "quorum C\n", ErrPolicy},
		{"quorum of two", head + "quorum A B\n", ErrPolicy},
		{"no last line end", head + "quorum A", ErrPolicy},
		{"carriage returns", strings.ReplaceAll(head+"quorum A\n", "\n", "\r\n"), ErrPolicy},
		{"control character", head + "quorum A\x01\n", ErrPolicy},
		{"delete", head + "quorum A\x7f\n", ErrPolicy},
		{"unknown keyword", head + "witnes C\nquorum A\n", ErrPolicy},
		{"comment after a line", head + "quorum A # comment\n", ErrPolicy},
		{"no-break space", head + "quorum\u00a0A\n", ErrPolicy},
		{"log without key", "log\nquorum none\n", ErrPolicy},
		{"log with too much", "log " + log + " a b\nquorum none\n", ErrPolicy},
		{"log twice", head + "log " + log + "\nquorum A\n", ErrPolicy},
		{"key malformed", "log x\nquorum none\n", ErrVerifierKey},
		{"witness without name", "witness " + w1.Key.String() + "\nquorum none\n", ErrPolicy},
		{"witness twice under other names", head + "witness C " + again.String() + "\nquorum A\n", ErrPolicy},
		{"name twice", head + "witness A " + ed25519Signer(t, "w3", Ed25519Cosignature).Key.String() + "\nquorum A\n", ErrPolicy},
		{"witness that is called none", "witness none " + w1.Key.String() + "\nquorum none\n", ErrPolicy},
		{"witness with a key for notes", "witness A " + log + "\nquorum A\n", ErrPolicy},
		{"witness key malformed", "witness A x\nquorum A\n", ErrVerifierKey},
		{"group without members", head + "group G all\nquorum A\n", ErrPolicy},
		{"group of 0", head + "group G 0 A B\nquorum G\n", ErrPolicy},
		{"group of too many", head + "group G 3 A B\nquorum G\n", ErrPolicy},
		{"group of 01", head + "group G 01 A B\nquorum G\n", ErrPolicy},
		{"group of a word", head + "group G some A B\nquorum G\n", ErrPolicy},
		{"group with one twice", head + "group G any A A\nquorum G\n", ErrPolicy},
		{"two groups with one member", head + "group G any A\ngroup H any A B\nquorum G\n", ErrPolicy},
		{"group with itself", head + "group G any G A\nquorum G\n", ErrPolicy},
		{"group with none", head + "group G any none A\nquorum G\n", ErrPolicy},
		{"group with nobody", head + "group G any C\nquorum G\n", ErrPolicy},
		{"group of a name twice", head + "group A any B\nquorum A\n", ErrPolicy},
		{"too large", strings.Repeat("# comment\n", MaxPolicy/10+1), ErrPolicySize},
		{"too many groups", head + "group g0 any A\n" + chain(maxPolicyLines) + "quorum A\n", ErrPolicySize},
		{"good", head + "group G 2 A B\nquorum G\n", nil},
		{"a comment without line end", head + "quorum A\n#", ErrPolicy},
		{"comments, blanks, names in Latin-1", " # \xe9\n\t\n  " + head + "group \xe9 any A\nquorum \xe9\n", nil},
		{"nobody at all", "quorum none\n", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := ParsePolicy([]byte(c.text)); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

// chain defines n groups, each of the one before.
func chain(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "group g%d any g%d\n", i+1, i)
	}
	return b.String()
}

func TestLogProof(t *testing.T) {
	f := newFederation(t)
	tree := newTestTree(70)
	checkpoint := signed(t, testCheckpoint(70), 1000, f.log, f.witnesses["X1"], f.witnesses["X2"], f.witnesses["Y1"])
	path, err := ProveInclusion(33, 70, tree)
	if err != nil {
		t.Fatal(err)
	}
	policy := parsePolicy(t, f.policy)
	leaf := LeafHash(entry(33))
	for _, extra := range [][]byte{nil, []byte("extra data")} {
		p := &LogProof{Extra: extra, Index: 33, Path: path, Checkpoint: checkpoint}
		data, err := p.Encode()
		if err != nil {
			t.Fatal(err)
		}
		var hashes [][HashSize]byte
		for _, h := range path {
			hashes = append(hashes, h)
		}
		theirs := proof.TLogProof{Index: 33, Hashes: hashes, Checkpoint: checkpoint, ExtraData: extra}
		if !bytes.Equal(theirs.Marshal(), data) {
			t.Error("others write another file")
		}
		var read proof.TLogProof
		if err := read.Unmarshal(data); err != nil || read.Index != 33 || len(read.Hashes) != len(path) || !bytes.Equal(read.Checkpoint, checkpoint) {
			t.Errorf("others read %v", err)
		}
		again, err := ParseLogProof(data)
		if err != nil {
			t.Fatal(err)
		}
		c, err := again.Verify(leaf, policy)
		if err != nil || !c.Quorum || c.Checkpoint.Size != 70 {
			t.Errorf("%+v, %v", c, err)
		}
		if _, err := again.Verify(LeafHash(entry(34)), policy); !errors.Is(err, ErrRoot) {
			t.Error(err)
		}
		again.Index = 70
		if _, err := again.Verify(leaf, policy); !errors.Is(err, ErrIndex) {
			t.Error(err)
		}
	}
	// The quorum is missing, the leaf is there: the one is told only with the other.
	weak := signed(t, testCheckpoint(70), 1000, f.log)
	p := &LogProof{Index: 33, Path: path, Checkpoint: weak}
	if c, err := p.Verify(leaf, policy); c == nil || c.Quorum || !errors.Is(err, ErrQuorum) {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err := p.Verify(Hash{}, policy); c != nil || !errors.Is(err, ErrRoot) {
		t.Errorf("%+v, %v", c, err)
	}
	for _, bad := range []*LogProof{
		{Index: MaxSize, Checkpoint: weak},
		{Path: make([]Hash, 64), Checkpoint: weak},
		{Extra: make([]byte, MaxExtra+1), Checkpoint: weak},
	} {
		if _, err := bad.Encode(); !errors.Is(err, ErrLogProofSize) {
			t.Error(err)
		}
	}
	if _, err := (&LogProof{}).Encode(); !errors.Is(err, ErrLogProofSize) {
		t.Error(err)
	}
	if _, err := (&LogProof{Checkpoint: []byte("x")}).Verify(leaf, policy); !errors.Is(err, ErrNote) {
		t.Error(err)
	}
}

// TestLogProofSizes holds the sizes that the design counts with, for 2^30 leaves.
func TestLogProofSizes(t *testing.T) {
	log := ed25519Signer(t, testOrigin, Ed25519Note)
	c := &Checkpoint{Origin: testOrigin, Size: 1 << 30}
	var classical, quantum []*NoteSigner
	for i := range 3 {
		oid := fmt.Sprintf("oid/1.3.6.1.4.1.99999.2.%d", i)
		classical = append(classical, ed25519Signer(t, oid, Ed25519Cosignature))
		quantum = append(quantum, mldsaSigner(t, oid))
	}
	for _, x := range []struct {
		witnesses []*NoteSigner
		most      int
	}{{classical, 2100}, {quantum, 11_600}} {
		p := &LogProof{Index: 1<<30 - 1, Path: make([]Hash, 30), Checkpoint: signed(t, c, 1_780_000_000, append([]*NoteSigner{log}, x.witnesses...)...)}
		data, err := p.Encode()
		if err != nil || len(data) > x.most {
			t.Errorf("%d bytes, %v", len(data), err)
		}
		t.Logf("%d bytes with three cosignatures by %#02x", len(data), byte(x.witnesses[0].Key.Type))
	}
}

func TestParseLogProof(t *testing.T) {
	checkpoint := string(signed(t, testCheckpoint(3), 0, ed25519Signer(t, testOrigin, Ed25519Note)))
	h := base64.StdEncoding.EncodeToString(make([]byte, HashSize)) + "\n"
	const head = "c2sp.org/tlog-proof@v1\n"
	for _, c := range []struct {
		name, data string
		want       error
	}{
		{"empty", "", ErrLogProof},
		{"another version", "c2sp.org/tlog-proof@v2\nindex 1\n\n" + checkpoint, ErrLogProof},
		{"no index", head + h + "\n" + checkpoint, ErrLogProof},
		{"index with zero", head + "index 01\n\n" + checkpoint, ErrLogProof},
		{"index below 0", head + "index -1\n\n" + checkpoint, ErrLogProof},
		{"index beyond", head + "index 9223372036854775807\n\n" + checkpoint, ErrLogProofSize},
		{"index without blank", head + "index1\n\n" + checkpoint, ErrLogProof},
		{"empty extra", head + "extra \nindex 1\n\n" + checkpoint, ErrLogProof},
		{"extra not base64", head + "extra x\nindex 1\n\n" + checkpoint, ErrLogProof},
		{"extra twice", head + "extra AAAA\nextra AAAA\nindex 1\n\n" + checkpoint, ErrLogProof},
		{"extra after index", head + "index 1\nextra AAAA\n\n" + checkpoint, ErrLogProof},
		{"short hash", head + "index 1\nAAAA\n\n" + checkpoint, ErrLogProof},
		{"64 hashes", head + "index 1\n" + strings.Repeat(h, 64) + "\n" + checkpoint, ErrLogProof},
		{"no empty line", head + "index 1\n" + h + checkpoint, ErrLogProof},
		{"no checkpoint", head + "index 1\n" + h + "\n", ErrLogProofSize},
		{"cut off", head + "index 1\n" + h, ErrLogProof},
		{"carriage returns", strings.ReplaceAll(head+"index 1\n\n"+checkpoint, "\n", "\r\n"), ErrLogProof},
		{"too large", head + strings.Repeat("x", maxLogProof), ErrLogProofSize},
		{"good", head + "index 1\n" + h + h + "\n" + checkpoint, nil},
		{"one leaf", head + "index 0\n\n" + checkpoint, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := ParseLogProof([]byte(c.data))
			if !errors.Is(err, c.want) {
				t.Fatalf("%v, want %v", err, c.want)
			}
			if err != nil {
				return
			}
			if again, err := p.Encode(); err != nil || string(again) != c.data {
				t.Errorf("%q, %v", again, err)
			}
		})
	}
}

func FuzzParsePolicy(f *testing.F) {
	f.Add([]byte(newFederation(f).policy))
	f.Add([]byte("quorum none\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := ParsePolicy(data)
		if err != nil {
			if format.Reason(err, "") == "" {
				t.Errorf("%v has no reason word", err)
			}
			return
		}
		for _, l := range p.Logs {
			if _, err := note.NewVerifier(l.Key.String()); err != nil && l.Key.Type == Ed25519Note {
				t.Errorf("others do not take %s", l.Key)
			}
		}
		if p.Quorum == "" {
			t.Error("no quorum")
		}
	})
}

func FuzzParseLogProof(f *testing.F) {
	c := signed(f, testCheckpoint(3), 0, ed25519Signer(f, testOrigin, Ed25519Note))
	data, _ := (&LogProof{Extra: []byte{1}, Index: 2, Path: make([]Hash, 2), Checkpoint: c}).Encode()
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := ParseLogProof(data)
		if err != nil {
			return
		}
		if again, err := p.Encode(); err != nil || !bytes.Equal(again, data) {
			t.Errorf("%q becomes %q, %v", data, again, err)
		}
	})
}
