package print

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"slices"
	"testing"

	"ampoule/ledger/tlog"
)

// specimenLedger is a log of ten entries with a signature of its own.
func specimenLedger(t testing.TB) *Ledger {
	t.Helper()
	_, log, _ := ed25519.GenerateKey(rand.Reader)
	signer, err := tlog.NewNoteSigner("oid/2.999.1.1", tlog.Ed25519Note, log)
	if err != nil {
		t.Fatal(err)
	}
	note, err := (&tlog.Checkpoint{Origin: "oid/2.999.1.1", Size: 10, Root: tlog.Hash{1}}).Note()
	if err != nil {
		t.Fatal(err)
	}
	if err := signer.Sign(rand.Reader, note, 0); err != nil {
		t.Fatal(err)
	}
	notary, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, _, _ := ed25519.GenerateKey(rand.Reader)
	l := &Ledger{
		Policy: []byte("log " + signer.Key.String() + "\nquorum none\n"), Checkpoint: note.Encode(),
		Notaries: []crypto.PublicKey{notary.Public(), other}, Places: make(map[tlog.Hash]uint64),
	}
	for i, r := range hashesOf("root", 3) {
		l.Places[r] = uint64(2 * i)
	}
	return l
}

func encoded(t testing.TB, l *Ledger) []byte {
	t.Helper()
	data, err := l.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestLedger: what is written reads back, in one form.
func TestLedger(t *testing.T) {
	l := specimenLedger(t)
	data := encoded(t, l)
	got, err := ParseLedger(data)
	if err != nil {
		t.Fatal(err)
	}
	if got.Origin() != "oid/2.999.1.1" || got.Size() != 10 || len(got.Places) != 3 || got.Places[hashesOf("root", 3)[2]] != 4 || len(got.Notaries) != 2 {
		t.Errorf("%+v", got)
	}
	for _, pub := range l.Notaries {
		kid, err := tlog.ReceiptKID(pub)
		if err != nil || len(got.Notary(kid)) != 1 {
			t.Errorf("notary %x: %d, %v", kid, len(got.Notary(kid)), err)
		}
	}
	if got.Notary([8]byte{}) != nil {
		t.Error("a notary of nobody")
	}

	places := data[len(data)-3*placeSize:]
	head := data[:len(data)-3*placeSize]
	for name, bad := range map[string][]byte{
		"nothing":         nil,
		"another kind":    bytes.Replace(data, []byte("ampoule ledger"), []byte("ampoule ledges"), 1),
		"out of order":    slices.Concat(head, places[placeSize:2*placeSize], places[:placeSize], places[2*placeSize:]),
		"a root twice":    slices.Concat(head, places[:placeSize], places[:placeSize], places[2*placeSize:]),
		"something after": append(slices.Clone(data), 0),
		"cut off":         data[:len(data)-1],
		"beyond the log":  append(slices.Clone(data[:len(data)-1]), 10),
		"no checkpoint":   bytes.Replace(data, []byte("oid/2.999.1.1\n10\n"), []byte("oid/2.999.1.1\n1x\n"), 1),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := ParseLedger(bad); !errors.Is(err, ErrLedger) {
				t.Errorf("got %v", err)
			}
		})
	}
	for name, change := range map[string]func(*Ledger){
		"a notary twice":    func(l *Ledger) { l.Notaries[1] = l.Notaries[0] },
		"too many notaries": func(l *Ledger) { l.Notaries = slices.Repeat(l.Notaries, 9) },
		"a long policy":     func(l *Ledger) { l.Policy = make([]byte, maxPolicy+1) },
		"a place outside":   func(l *Ledger) { l.Places[tlog.Hash{9}] = 10 },
		"no checkpoint":     func(l *Ledger) { l.Checkpoint = nil },
	} {
		t.Run(name, func(t *testing.T) {
			l := specimenLedger(t)
			change(l)
			data, err := l.Encode()
			if err == nil {
				_, err = ParseLedger(data)
			}
			if !errors.Is(err, ErrLedger) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func FuzzParseLedger(f *testing.F) {
	f.Add(encoded(f, specimenLedger(f)))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := ParseLedger(data)
		if err != nil {
			return
		}
		if again := encoded(t, l); !bytes.Equal(again, data) {
			t.Errorf("%x encodes to %x", data, again)
		}
	})
}
