package bundle

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ampoule/format/cbor"
	"ampoule/format/cose"
	"ampoule/ledger/print"
	"ampoule/ledger/tlog"
	"ampoule/thing"
	"ampoule/trust"
)

func signMulti(payload []byte, signers ...crypto.Signer) ([]byte, error) {
	return cose.SignMulti(rand.Reader, payload, signers...)
}

func open(t testing.TB, data []byte, pinned ...Root) *Opened {
	t.Helper()
	o, err := Open(data, pinned, noon)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestOpen(t *testing.T) {
	for _, c := range []struct {
		name   string
		signer int
	}{{"ES256", 0}, {"Ed25519", 1}} {
		t.Run(c.name, func(t *testing.T) {
			in := input(t, func(in *Input) { in.Signers = []Root{root(t, c.signer)} })
			o := open(t, sealed(t, in, roots()[c.signer]), root(t, 2), root(t, c.signer))
			if o.Serial != 1 || o.Previous != (Digest{}) || !o.Issued.Equal(noon) || o.Maker != "XXA" || !o.Signer.Equal(root(t, c.signer)) {
				t.Errorf("%+v", o.Bundle)
			}
			if n := len(o.Contents.Trust.All()); n != 2 {
				t.Errorf("%d keys", n)
			}
			if _, known := o.Contents.Catalogue.Product("YF-1"); !known {
				t.Error("no product")
			}
			if o.Contents.Status == nil || len(o.Contents.Rules) != 2 || o.Contents.ValueSets == nil || len(o.Contents.Lots.Entries()) != 3 || len(o.Contents.LotKeys) != 1 {
				t.Errorf("%+v", o.Contents)
			}
			for _, e := range o.Contents.Lots.Entries() {
				if e.Refused != nil {
					t.Error(e.Refused)
				}
			}
		})
	}
}

func TestOpenEmpty(t *testing.T) {
	o := open(t, sealed(t, bare(t)), root(t, 0))
	if o.Contents.Status != nil || o.Contents.Catalogue != nil || o.Contents.Rules != nil || o.Contents.ValueSets != nil || o.Contents.Lots != nil {
		t.Errorf("an empty bundle says something: %+v", o.Contents)
	}
}

func TestOpenRefuses(t *testing.T) {
	good := sealed(t, input(t))
	first, other := roots()[0], roots()[1]
	m, err := cose.ParseMultiSign(good)
	if err != nil {
		t.Fatal(err)
	}
	payload := []byte(m.Payload)
	pinned := []Root{root(t, 0)}
	for _, c := range []struct {
		name  string
		data  []byte
		roots []Root
		at    time.Time
		want  error
	}{
		{"nobody pinned", good, nil, noon, ErrNoRoot},
		{"another root", good, []Root{root(t, 1), root(t, 2)}, noon, ErrUnknownRoot},
		{"halves of two roots", resign(t, payload, first.Classical, other.PostQuantum), pinned, noon, cose.ErrMissingSignature},
		{"classical alone", resign(t, payload, first.Classical), pinned, noon, cose.ErrMissingSignature},
		{"ML-DSA alone", resign(t, payload, first.PostQuantum), pinned, noon, cose.ErrMissingSignature},
		{"twice classical", resign(t, payload, first.Classical, roots()[2].Classical), pinned, noon, cose.ErrMissingSignature},
		{"a lot statement", resign(t, cbor.AppendText(cbor.AppendArray(nil, 1), "ampoule lot statement")), pinned, noon, ErrNotBundle},
		{"a later version", resign(t, cbor.AppendInt(cbor.AppendText(cbor.AppendArray(nil, 2), payloadType), payloadVersion+1)), pinned, noon, ErrVersion},
		{"dated ahead", good, pinned, noon.Add(-5*time.Minute - time.Second), ErrNotYetIssued},
		{"a COSE_Sign1", []byte{0xd2, 0x84, 0x40, 0xa0, 0x40, 0x40}, pinned, noon, cose.ErrWrongTag},
		{"nothing", nil, pinned, noon, cbor.ErrMalformed},
		{"too large", make([]byte, MaxSize+1), pinned, noon, ErrTooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := Open(c.data, c.roots, c.at); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
	t.Run("a clock that is a little behind", func(t *testing.T) {
		if _, err := Open(good, pinned, noon.Add(-5*time.Minute)); err != nil {
			t.Error(err)
		}
	})
	t.Run("too old is opened, and says so", func(t *testing.T) {
		o, err := Open(good, pinned, noon.AddDate(0, 0, 7))
		if err != nil || !o.TooOld(noon.AddDate(0, 0, 7)) || o.TooOld(noon.AddDate(0, 0, 7).Add(-time.Second)) {
			t.Error(err)
		}
	})
	t.Run("signed by none of the roots that it announces", func(t *testing.T) {
		if _, err := Open(resign(t, payload, other.Classical, other.PostQuantum), []Root{root(t, 1)}, noon); !errors.Is(err, ErrSigner) {
			t.Errorf("%v, want %v", err, ErrSigner)
		}
	})
	t.Run("signed by two roots", func(t *testing.T) {
		both := resign(t, payload, first.Classical, first.PostQuantum, other.Classical, other.PostQuantum)
		for i := range 2 {
			if o := open(t, both, root(t, i)); o.Digest != digest(string(payload)) {
				t.Error("another digest")
			}
		}
	})
}

// TestBitFlips: every bit of the file counts.
func TestBitFlips(t *testing.T) {
	data := sealed(t, bare(t, func(in *Input) {
		in.Signers = []Root{root(t, 1)}
		in.Documents = []Document{{Kind: Catalogue, Name: "c", Data: []byte(specimenCatalogue)}}
	}), roots()[1])
	step := 1
	if testing.Short() {
		step = 37
	}
	for i := 0; i < len(data); i += step {
		for bit := range 8 {
			data[i] ^= 1 << bit
			if _, err := Open(data, []Root{root(t, 1)}, noon); err == nil {
				t.Fatalf("byte %d, bit %d: still good", i, bit)
			}
			data[i] ^= 1 << bit
		}
	}
	for n := 0; n < len(data); n += step {
		if _, err := Open(data[:n], []Root{root(t, 1)}, noon); err == nil {
			t.Fatalf("cut to %d bytes: still good", n)
		}
	}
	if _, err := Open(append(bytes.Clone(data), 0), []Root{root(t, 1)}, noon); !errors.Is(err, cbor.ErrTrailing) {
		t.Error("a byte more:", err)
	}
}

// TestBadPayloads are signed and still refused: a root that is careless or
// stolen must not be able to break a verifier.
func TestBadPayloads(t *testing.T) {
	made, _, err := Make(input(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		change func(b *Bundle)
		want   error
	}{
		{"serial 0", func(b *Bundle) { b.Serial = 0 }, ErrField},
		{"serial over the bound", func(b *Bundle) { b.Serial = maxSerial + 1; b.Previous[0] = 1 }, ErrField},
		{"first with a previous", func(b *Bundle) { b.Previous[0] = 1 }, ErrField},
		{"second without one", func(b *Bundle) { b.Serial = 2 }, ErrField},
		{"next before issue", func(b *Bundle) { b.Next = b.Issued }, ErrField},
		{"fresh for years", func(b *Bundle) { b.Next = b.Issued.Add(MaxLife + time.Second) }, ErrField},
		{"no root", func(b *Bundle) { b.Roots = nil }, ErrField},
		{"five roots", func(b *Bundle) { b.Roots = slices.Repeat(b.Roots, 5) }, ErrField},
		{"a root twice", func(b *Bundle) { b.Roots = slices.Repeat(b.Roots, 2) }, ErrField},
		{"no maker", func(b *Bundle) { b.Maker = "" }, ErrField},
		{"maker that hides", func(b *Bundle) { b.Maker = "XX\u202eA" }, ErrField},
		{"unknown kind", func(b *Bundle) { b.Documents[0].Kind = "log-checkpoint" }, ErrField},
		{"document without a name", func(b *Bundle) { b.Documents[0].Name = "" }, ErrField},
		{"pins for rules", func(b *Bundle) { b.Documents[3].Pins = [][]byte{{1}} }, ErrField},
		{"issuer of a catalogue", func(b *Bundle) { b.Documents[2].Issuer = "https://specimen.invalid" }, ErrField},
		{"too many pins", func(b *Bundle) { b.Documents[0].Pins = make([][]byte, maxPins+1) }, ErrField},
		{"too many documents", func(b *Bundle) { b.Documents = make([]Document, maxDocuments+1) }, ErrField},
		{"large document", func(b *Bundle) { b.Documents[0].Data = make([]byte, maxDocument+1) }, ErrField},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := *made
			b.Documents = slices.Clone(made.Documents)
			c.change(&b)
			if _, err := b.Encode(); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
	for _, c := range []struct {
		name   string
		change func(b *Bundle)
		want   error
	}{
		{"list without its pin", func(b *Bundle) { b.Documents[0].Pins = nil }, trust.ErrNoPin},
		{"list under another pin", func(b *Bundle) { _, pin := didList(t, 1); b.Documents[0].Pins = [][]byte{pin} }, trust.ErrProof},
		{"list that was changed", func(b *Bundle) {
			b.Documents[0].Data = bytes.Replace(b.Documents[0].Data, []byte("XXA"), []byte("XXB"), 1)
		}, trust.ErrProof},
		{"unreadable rule", func(b *Bundle) { b.Documents[3].Data = []byte(`[{}]`) }, nil},
		{"two value sets", func(b *Bundle) { b.Documents = append(b.Documents, b.Documents[4]) }, ErrField},
		{"unreadable statement", func(b *Bundle) { b.Documents[5].Data = []byte("speci men\n") }, thing.ErrLine},
		{"authority of no role", func(b *Bundle) { b.Authorities = []LotAuthority{{"king", "XXA", "", b.Authorities[0].Certificate}} }, thing.ErrField},
		{"authority without a certificate", func(b *Bundle) { b.Authorities = []LotAuthority{{"regulator", "XXA", "", nil}} }, trust.ErrCertificate},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := *made
			b.Documents = slices.Clone(made.Documents)
			c.change(&b)
			payload, err := b.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Open(resign(t, payload), []Root{root(t, 0)}, noon); err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
	t.Run("another encoding", func(t *testing.T) {
		payload, err := made.Encode()
		if err != nil {
			t.Fatal(err)
		}
		// The version in two bytes instead of one.
		at := 1 + 1 + len(payloadType)
		longer := slices.Concat(payload[:at], []byte{0x18, payloadVersion}, payload[at+1:])
		if _, err := Open(resign(t, longer), []Root{root(t, 0)}, noon); !errors.Is(err, ErrEncoding) {
			t.Errorf("%v, want %v", err, ErrEncoding)
		}
	})
	t.Run("an element more", func(t *testing.T) {
		payload, err := made.Encode()
		if err != nil {
			t.Fatal(err)
		}
		longer := append(bytes.Clone(payload), 0)
		longer[0]++
		if _, err := Open(resign(t, longer), []Root{root(t, 0)}, noon); !errors.Is(err, ErrField) {
			t.Errorf("%v, want %v", err, ErrField)
		}
	})
}

// next is the successor of a bundle.
func next(previous *Opened, changes ...func(*Input)) func(*Input) {
	return func(in *Input) {
		in.Previous, in.Issued = previous, previous.Issued.Add(time.Hour)
		for _, change := range changes {
			change(in)
		}
	}
}

func TestAccept(t *testing.T) {
	later := noon.AddDate(0, 0, 1)
	pinned := []Root{root(t, 0)}
	first := sealed(t, bare(t))
	kept, err := Accept(nil, first, pinned, DefaultShrink, later)
	if err != nil {
		t.Fatal(err)
	}
	second := sealed(t, bare(t, next(kept)))
	opened2, err := Accept(kept, second, pinned, DefaultShrink, later)
	if err != nil {
		t.Fatal(err)
	}
	third := sealed(t, bare(t, next(opened2)))
	elsewhere := open(t, sealed(t, bare(t, func(in *Input) { in.Maker = "XXB" })), root(t, 0))
	forked := sealed(t, bare(t, next(elsewhere)))
	forked3 := sealed(t, bare(t, next(open2(t, forked, later))))

	for _, c := range []struct {
		name string
		kept *Opened
		data []byte
		want error
	}{
		{"the successor", kept, second, nil},
		{"the one after it", kept, third, nil},
		{"the same", kept, first, ErrKept},
		{"the same, signed again", opened2, sealed(t, bare(t, next(kept))), ErrKept},
		{"the one before", opened2, first, ErrOlder},
		{"same serial, other content", kept, sealed(t, bare(t, func(in *Input) { in.Maker = "XXB" })), ErrSameSerial},
		{"a fork", kept, forked, ErrFork},
		{"a fork further on cannot be seen", kept, forked3, nil},
		{"dated back", opened2, redated(t, third, opened2.Issued.Add(-time.Minute)), ErrOlder},
		{"signed by nobody known", kept, sealed(t, bare(t, next(kept), func(in *Input) {
			in.Previous = nil
			in.Signers = []Root{root(t, 1)}
		}), roots()[1]), ErrUnknownRoot},
		{"dated ahead", kept, redated(t, third, later.Add(time.Hour)), ErrNotYetIssued},
		{"damaged", kept, second[:len(second)-1], cbor.ErrMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := Accept(c.kept, c.data, pinned, DefaultShrink, later); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

func open2(t testing.TB, data []byte, now time.Time) *Opened {
	t.Helper()
	o, err := Open(data, []Root{root(t, 0)}, now)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// redated gives a bundle another date of issue, under the same root.
func redated(t testing.TB, data []byte, issued time.Time) []byte {
	t.Helper()
	b, _, err := Inspect(data)
	if err != nil {
		t.Fatal(err)
	}
	b.Issued, b.Next = issued, issued.AddDate(0, 0, 7)
	out, err := Sign(rand.Reader, b, roots()[0])
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestRotation follows roots from the first to the third. Who missed a step is
// refused, until it takes the steps in order.
func TestRotation(t *testing.T) {
	later := noon.AddDate(0, 0, 1)
	accept := func(kept *Opened, data []byte) *Opened {
		t.Helper()
		o, err := Accept(kept, data, []Root{root(t, 0)}, DefaultShrink, later)
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	step := func(kept *Opened, signer int, announce ...int) []byte {
		t.Helper()
		return sealed(t, bare(t, next(kept), func(in *Input) {
			in.Signers = []Root{root(t, signer)}
			for _, i := range announce {
				in.Roots = append(in.Roots, root(t, i))
			}
		}), roots()[signer])
	}
	one := accept(nil, sealed(t, bare(t)))
	two := accept(one, step(one, 0, 0, 1)) // announced by the old
	data3 := step(two, 1, 1)               // the new alone from now on
	three := accept(two, data3)
	four := accept(three, step(three, 1, 1, 2))
	five := accept(four, step(four, 2, 2))
	if !five.Signer.Equal(root(t, 2)) || len(five.Roots) != 1 {
		t.Error("the third root does not stand")
	}

	if _, err := Accept(one, data3, []Root{root(t, 0)}, DefaultShrink, later); !errors.Is(err, ErrUnknownRoot) {
		t.Errorf("the step that announces was left out: %v", err)
	}
	// A root that was taken off signs no more, although it was pinned once.
	stolen := *five.Bundle
	stolen.Serial, stolen.Previous, stolen.Roots = 6, five.Digest, []Root{root(t, 0)}
	data, err := Sign(rand.Reader, &stolen, roots()[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Accept(five, data, []Root{root(t, 0)}, DefaultShrink, later); !errors.Is(err, ErrUnknownRoot) {
		t.Errorf("a root that was taken off: %v", err)
	}

	for _, c := range []struct {
		name string
		in   Input
	}{
		{"a root that the previous does not announce", bare(t, next(one), func(in *Input) { in.Signers = []Root{root(t, 1)}; in.Roots = in.Signers })},
		{"roots without the signer", bare(t, next(one), func(in *Input) { in.Roots = []Root{root(t, 1)} })},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, _, err := Make(c.in); !errors.Is(err, ErrSigner) {
				t.Errorf("%v, want %v", err, ErrSigner)
			}
		})
	}
	if _, err := Sign(rand.Reader, five.Bundle, roots()[0]); !errors.Is(err, ErrSigner) {
		t.Errorf("signed by a root that it does not announce: %v", err)
	}
}

func TestMake(t *testing.T) {
	list, pin := didList(t, 1)
	_, unused := didList(t, 1)
	authority, stranger := newRegulator(t), newRegulator(t)
	one := authority.recalls(t, 1)
	lots := slices.Concat([]byte("# recalls\n"), one, one, stranger.recalls(t, 1))
	in := bare(t, func(in *Input) {
		in.Documents = []Document{
			{Kind: Trust, Name: "did.json", Data: list},
			{Kind: Trust, Name: "again.json", Data: list},
			{Kind: Trust, Name: "signer.der", Data: certificate(t, newKey(t), "Specimen")},
			{Kind: Lots, Name: "lots.txt", Data: lots},
		}
		in.Pins = []Pin{{"unused.pem", unused}, {"pin.pem", pin}}
		in.Authorities = []LotAuthority{authority.authority()}
	})
	b, drops, err := Make(in)
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, d := range drops {
		entry, _, _ := strings.Cut(d.Entry, ":")
		told = append(told, strings.TrimSpace(string(d.Kind)+" "+d.Source+" "+entry+" "+d.Reason))
	}
	want := []string{
		"trust again.json  duplicate", "lots lots.txt line 3 duplicate", "lots lots.txt line 4 unknown-authority", "trust unused.pem  unused",
	}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Error(diff)
	}
	if len(b.Documents) != 3 || !bytes.Equal(b.Documents[0].Pins[0], pin) || len(b.Documents[1].Pins) != 0 {
		t.Errorf("%d documents; a pin must go to the list that needs it, and to no other", len(b.Documents))
	}
	if !bytes.Equal(b.Documents[2].Data, one) {
		t.Error("the lots are not the one statement that is believed")
	}

	for _, c := range []struct {
		name   string
		change func(in *Input)
		want   error
	}{
		{"a list without a pin", func(in *Input) { in.Pins = nil }, trust.ErrNoPin},
		{"a list under another pin", func(in *Input) { in.Pins = in.Pins[:1] }, trust.ErrProof},
		{"something else", func(in *Input) { in.Documents[0].Data = []byte("specimen") }, trust.ErrUnknownSource},
		{"a line that is no statement", func(in *Input) { in.Documents[3].Data = []byte("speci men") }, thing.ErrLine},
		{"next in the past", func(in *Input) { in.Next = in.Issued.Add(-time.Hour) }, ErrField},
	} {
		t.Run(c.name, func(t *testing.T) {
			changed := in
			changed.Documents = slices.Clone(in.Documents)
			c.change(&changed)
			if _, _, err := Make(changed); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

func TestShrink(t *testing.T) {
	previous := open(t, sealed(t, input(t)), root(t, 0))
	in := input(t, next(previous), func(in *Input) { in.Documents[3].Data = rules(t, 1) })
	if _, _, err := Make(in); !errors.Is(err, ErrShrunk) {
		t.Errorf("half of the rules are gone: %v", err)
	}
	in.Shrink = 0.5
	if _, _, err := Make(in); err != nil {
		t.Error(err)
	}
	want := []Count{{"keys", 2}, {"authorities", 0}, {"revocations", 1}, {"products", 1}, {"rules", 2}, {"concept-maps", 7}, {"lot-keys", 1}, {"lot-statements", 3}}
	if diff := cmp.Diff(want, previous.Counts()); diff != "" {
		t.Error(diff)
	}
}

func TestRoots(t *testing.T) {
	file, err := EncodeRoots(root(t, 0), root(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := ParseRoots(append([]byte("specimen roots, compared on 2026-03-01\n"), file...))
	if err != nil {
		t.Fatal(err)
	}
	if len(parsed) != 2 || !parsed[0].Equal(root(t, 0)) || !parsed[1].Equal(root(t, 1)) || parsed[0].Equal(parsed[1]) {
		t.Error("the roots are not those that were written")
	}
	if f := parsed[0].Fingerprint(); len(f) != 64 || f == parsed[1].Fingerprint() {
		t.Errorf("fingerprint %q", f)
	}
	one := roots()[0]
	for _, c := range []struct {
		name                   string
		classical, postQuantum crypto.PublicKey
	}{
		{"twice classical", one.Classical.Public(), one.Classical.Public()},
		{"twice ML-DSA", one.PostQuantum.Public(), one.PostQuantum.Public()},
		{"exchanged", one.PostQuantum.Public(), one.Classical.Public()},
		{"nothing", nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := NewRoot(c.classical, c.postQuantum); !errors.Is(err, ErrRoot) {
				t.Errorf("%v, want %v", err, ErrRoot)
			}
		})
	}
	for name, data := range map[string][]byte{
		"empty":                nil,
		"a certificate":        []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
		"something after it":   append(bytes.Clone(file), "specimen"...),
		"nothing in the block": []byte("-----BEGIN AMPOULE BUNDLE ROOT-----\n-----END AMPOULE BUNDLE ROOT-----\n"),
		"five":                 slices.Repeat(file, 3),
		"large":                make([]byte, maxRootFile+1),
	} {
		t.Run(name, func(t *testing.T) {
			if r, err := ParseRoots(data); err == nil {
				t.Errorf("%d roots", len(r))
			}
		})
	}
}

// FuzzOpen changes the file and the payload below good signatures.
func FuzzOpen(f *testing.F) {
	data := sealed(f, input(f))
	m, err := cose.ParseMultiSign(data)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(m.Payload))
	small, _, err := Make(bare(f))
	if err != nil {
		f.Fatal(err)
	}
	payload, err := small.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(payload)
	f.Fuzz(func(t *testing.T, data []byte) {
		if o, err := Open(data, []Root{root(t, 0)}, noon); err == nil && o.Digest != digest(m.Payload) {
			t.Error("forged")
		}
		b, err := decode(string(data))
		if err != nil {
			return
		}
		if again, err := b.Encode(); err != nil || !bytes.Equal(again, data) {
			t.Errorf("reads and writes differently: %v", err)
		}
		_, _ = b.load(noon)
	})
}

func BenchmarkOpen(b *testing.B) {
	list, pin := didList(b, 1000)
	authority := newRegulator(b)
	made, _, err := Make(bare(b, func(in *Input) {
		in.Documents = []Document{
			{Kind: Trust, Name: "did.json", Data: list},
			{Kind: Rules, Name: "rules.json", Data: rules(b, 300)},
			{Kind: Lots, Name: "lots.txt", Data: authority.recalls(b, 1000)},
		}
		in.Pins = []Pin{{"pin.pem", pin}}
		in.Authorities = []LotAuthority{authority.authority()}
	}))
	if err != nil {
		b.Fatal(err)
	}
	data, err := Sign(rand.Reader, made, roots()[0])
	if err != nil {
		b.Fatal(err)
	}
	for _, d := range made.Documents {
		b.Run(string(d.Kind), func(b *testing.B) {
			one := Bundle{Documents: []Document{d}, Authorities: made.Authorities}
			for b.Loop() {
				if _, err := one.load(noon); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(d.Data)), "bytes")
		})
	}
	b.Run("whole", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Open(data, []Root{root(b, 0)}, noon); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(len(data)), "bytes")
	})
	b.Run("signatures", func(b *testing.B) {
		for b.Loop() {
			m, err := parse(data)
			if err == nil {
				_, err = verify(m, []Root{root(b, 0)})
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}

// TestRootWindow: a root counts for what is issued in its window, while it is open.
func TestRootWindow(t *testing.T) {
	good := sealed(t, bare(t))
	day := 24 * time.Hour
	for _, c := range []struct {
		name        string
		from, until time.Time
		at          time.Time
		want        error
	}{
		{"open", noon.Add(-day), noon.Add(30 * day), noon, nil},
		{"from the moment of issue", noon, time.Time{}, noon, nil},
		{"not yet", noon.Add(time.Second), time.Time{}, noon.Add(day), ErrRootWindow},
		{"no more when it was issued", time.Time{}, noon, noon, ErrRootWindow},
		{"no more now", time.Time{}, noon.Add(day), noon.Add(day), ErrRootWindow},
		{"a second before its end", time.Time{}, noon.Add(day), noon.Add(day - time.Second), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			pinned := root(t, 0).During(c.from, c.until)
			if _, err := Open(good, []Root{pinned}, c.at); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
			// The file that is pinned keeps the window.
			file, err := EncodeRoots(pinned)
			if err != nil {
				t.Fatal(err)
			}
			read, err := ParseRoots(file)
			if err != nil || len(read) != 1 || !read[0].From.Equal(c.from) || !read[0].Until.Equal(c.until) || read[0].Fingerprint() != root(t, 0).Fingerprint() {
				t.Errorf("%+v %v", read, err)
			}
		})
	}
	t.Run("two, of which one ended", func(t *testing.T) {
		ended, other := root(t, 0).During(time.Time{}, noon.Add(day)), root(t, 1)
		both := sealed(t, bare(t, func(in *Input) {
			in.Signers = []Root{root(t, 0), other}
		}), roots()[0], roots()[1])
		o, err := Open(both, []Root{ended, other}, noon.Add(2*day))
		if err != nil || !o.Signer.Equal(other) {
			t.Errorf("%v", err)
		}
	})
	t.Run("announced without a window that counts", func(t *testing.T) {
		for name, window := range map[string]Root{
			"it ends before the next is due": root(t, 0).During(time.Time{}, noon.AddDate(0, 0, 7).Add(-time.Second)),
			"it begins later":                root(t, 0).During(noon.Add(time.Second), time.Time{}),
		} {
			if _, _, err := Make(bare(t, func(in *Input) { in.Roots = []Root{window} })); !errors.Is(err, ErrRootWindow) {
				t.Errorf("%s: %v", name, err)
			}
		}
		b, _, err := Make(bare(t, func(in *Input) { in.Roots = []Root{root(t, 0).During(noon.AddDate(0, 0, -9), time.Time{})} }))
		if err != nil {
			t.Fatal(err)
		}
		b.Roots[0] = b.Roots[0].During(noon.AddDate(0, 0, -9), noon.AddDate(0, 0, -8))
		data, err := Sign(rand.Reader, b, roots()[0])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Open(data, []Root{root(t, 0)}, noon); !errors.Is(err, ErrSigner) {
			t.Errorf("%v", err)
		}
	})
	for name, bad := range map[string]Root{
		"backwards":  root(t, 0).During(noon, noon),
		"before all": root(t, 0).During(time.Unix(-1, 0), noon),
		"after all":  root(t, 0).During(noon, time.Unix(maxTime+1, 0)),
	} {
		if _, err := EncodeRoots(bad); !errors.Is(err, ErrRoot) {
			t.Errorf("%s: %v", name, err)
		}
		if _, _, err := Make(bare(t, func(in *Input) { in.Roots = []Root{bad} })); err == nil {
			t.Errorf("%s: announced", name)
		}
	}
}

// TestOptionalDocuments: what a later maker adds is carried, and nothing that this
// reader must know passes as optional.
func TestOptionalDocuments(t *testing.T) {
	checkpoint := Document{Kind: "log-checkpoint", Optional: true, Name: "checkpoint.txt", Data: []byte("specimen")}
	in := input(t, func(in *Input) { in.Documents = append(in.Documents, checkpoint) })
	o := open(t, sealed(t, in), root(t, 0))
	if got := o.Documents[len(o.Documents)-1]; got.Kind != checkpoint.Kind || !got.Optional || string(got.Data) != "specimen" {
		t.Errorf("%+v", got)
	}
	for name, bad := range map[string]Document{
		"not known, and must be":     {Kind: "log-checkpoint", Name: "x"},
		"known, and called optional": {Kind: Status, Optional: true, Name: "x", Data: []byte(specimenCRL)},
		"no word":                    {Kind: "Land marks", Optional: true, Name: "x"},
		"no kind":                    {Optional: true, Name: "x"},
		"pins":                       {Kind: "log-checkpoint", Optional: true, Name: "x", Pins: [][]byte{{1}}},
	} {
		if _, _, err := Make(bare(t, func(in *Input) { in.Documents = []Document{bad} })); !errors.Is(err, ErrField) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestAcceptShrunk: a bundle that has lost much is no newer one, until a person says
// so.
func TestAcceptShrunk(t *testing.T) {
	later := noon.AddDate(0, 0, 1)
	listed := func(n int) func(*Input) {
		return func(in *Input) {
			list, pin := didList(t, n)
			in.Documents, in.Pins = []Document{{Kind: Trust, Name: "did.json", Data: list}}, []Pin{{"pin.pem", pin}}
			in.Shrink = 1
		}
	}
	kept := open(t, sealed(t, bare(t, listed(40))), root(t, 0))
	for _, c := range []struct {
		keys   int
		shrink float64
		want   error
	}{
		{40, 0, nil}, {24, 0, nil}, {23, 0, ErrShrunk}, {20, 0.5, nil}, {19, 0.5, ErrShrunk}, {1, 0.9, ErrShrunk}, {1, 1, nil}, {80, 0, nil},
	} {
		if _, err := Accept(kept, sealed(t, bare(t, next(kept, listed(c.keys)))), nil, c.shrink, later); !errors.Is(err, c.want) {
			t.Errorf("%d of 40 keys, share %g: %v, want %v", c.keys, c.shrink, err, c.want)
		}
	}
}

// TestLandmarks: roots of batches are carried as optional, and read.
func TestLandmarks(t *testing.T) {
	data, err := print.EncodeLandmarks([]tlog.Hash{{1}, {2}})
	if err != nil {
		t.Fatal(err)
	}
	document := Document{Kind: Landmarks, Optional: true, Name: "xa.landmarks", Data: data}
	with := func(d Document) func(*Input) { return func(in *Input) { in.Documents = append(in.Documents, d) } }
	o := open(t, sealed(t, input(t, with(document))), root(t, 0))
	if l := o.Contents.Landmarks; l == nil || l.Len() != 2 || !l.Has(tlog.Hash{2}) {
		t.Errorf("%+v", l)
	}
	if o := open(t, sealed(t, input(t, func(*Input) {})), root(t, 0)); o.Contents.Landmarks != nil {
		t.Error("landmarks of nobody")
	}
	must, cut := document, document
	must.Optional, cut.Data = false, data[:len(data)-1]
	if _, _, err := Make(bare(t, with(must))); !errors.Is(err, ErrField) {
		t.Errorf("as one that must be read: %v", err)
	}
	if _, _, err := Make(bare(t, with(cut))); !errors.Is(err, print.ErrLandmarks) {
		t.Errorf("malformed: %v", err)
	}
}

// TestLedger: what there is of a log is carried as optional, and read.
func TestLedger(t *testing.T) {
	_, log, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := tlog.NewNoteSigner("oid/2.999.1.1", tlog.Ed25519Note, log)
	if err != nil {
		t.Fatal(err)
	}
	note, err := (&tlog.Checkpoint{Origin: "oid/2.999.1.1", Size: 10}).Note()
	if err != nil {
		t.Fatal(err)
	}
	if err := signer.Sign(rand.Reader, note, 0); err != nil {
		t.Fatal(err)
	}
	data, err := (&print.Ledger{Checkpoint: note.Encode(), Places: map[tlog.Hash]uint64{{2}: 3}}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	document := Document{Kind: Ledger, Optional: true, Name: "xa.ledger", Data: data}
	with := func(d Document) func(*Input) {
		return func(in *Input) { in.Documents = append(in.Documents, d) }
	}
	o := open(t, sealed(t, input(t, with(document))), root(t, 0))
	if l := o.Contents.Ledgers; len(l) != 1 || l[0].Places[tlog.Hash{2}] != 3 || l[0].Origin() != "oid/2.999.1.1" {
		t.Errorf("%+v", l)
	}
	cut := document
	cut.Data = data[1:]
	if _, _, err := Make(bare(t, with(cut))); !errors.Is(err, print.ErrLedger) {
		t.Errorf("malformed: %v", err)
	}
}
