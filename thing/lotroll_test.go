package thing

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ampoule/format"
	"ampoule/format/cbor"
	"ampoule/format/cose"
)

// roll signs a roll.
func (s signer) roll(t testing.TB, statements ...*LotStatement) []byte {
	t.Helper()
	message, err := SignLotRoll(rand.Reader, s.key, s.kid(), statements)
	if err != nil {
		t.Fatal(err)
	}
	return message
}

// frosts are what a participant says of some lots of two products at two places.
func frosts(n int) (out []*LotStatement) {
	for i := range n {
		out = append(out, &LotStatement{
			Role: Participant, Authority: "XXA", Issued: noon.Add(-time.Duration(i) * time.Second), Product: icvp(fmt.Sprint("IPV-", i%2)), Lot: fmt.Sprint("L", i),
			Country: "XA", Centre: []string{"", "north"}[i%2], From: "2026-02-01", Part: []Part{All, Some}[i%2], Value: []Value{Freeze, Heat, Spoiled}[i%3],
		})
	}
	return out
}

// TestRoll is a roll of which each statement counts as if it had been said alone.
func TestRoll(t *testing.T) {
	s := newSigner(t, "XA")
	said := append(frosts(40), &LotStatement{
		Role: Participant, Authority: "XXA", Issued: noon, Product: icvp("IPV-0"), Lot: "L 6", Country: "XA", Until: "2026-02-28", Part: All, Value: Unharmed, Measured: 9200,
	})
	alone, together := new(LotList), new(LotList)
	keys := LotKeys{s.as(t, Participant, "XXA", "")}
	var lines []byte
	for _, x := range said {
		lines = AppendLine(lines, s.sign(t, x))
	}
	for list, data := range map[*LotList][]byte{alone: lines, together: AppendLine(nil, s.roll(t, said...))} {
		if err := list.Add("said", data, keys, noon); err != nil {
			t.Fatal(err)
		}
	}
	for i, e := range together.Entries() {
		a := alone.Entries()[i]
		if diff := cmp.Diff(a.Statement, e.Statement); diff != "" || a.ID != e.ID || e.Refused != nil {
			t.Errorf("statement %d: %s %s %s %v", i, diff, a.ID, e.ID, e.Refused)
		}
	}
	// A later withdrawal of one of them, said alone.
	e := together.Entries()[3]
	gone := *e.Statement
	gone.Issued, gone.Value, gone.Withdraws = noon, Withdrawn, e.ID
	if err := together.Add("later", AppendLine(nil, s.sign(t, &gone)), keys, noon); err != nil {
		t.Fatal(err)
	}
	if !e.Withdrawn || together.Entries()[4].Withdrawn {
		t.Error("the one that is withdrawn, and no other")
	}
	// What one of them may not say is refused for itself; a signature, for all.
	foreign := frosts(3)
	foreign[1].Country = "XB"
	mixed := new(LotList)
	if err := mixed.Add("said", AppendLine(nil, s.roll(t, foreign...)), keys, noon); err != nil {
		t.Fatal(err)
	}
	for i, want := range []error{nil, ErrNotItsPlace, nil} {
		if got := mixed.Entries()[i].Refused; !errors.Is(got, want) {
			t.Errorf("statement %d: %v, want %v", i, got, want)
		}
	}
	forged := s.roll(t, said...)
	forged[len(forged)-1] ^= 1
	lie := new(LotList)
	if err := lie.Add("said", AppendLine(nil, forged), keys, noon); err != nil {
		t.Fatal(err)
	}
	for i, e := range lie.Entries() {
		if !errors.Is(e.Refused, cose.ErrSignature) {
			t.Errorf("statement %d of a forged roll: %v", i, e.Refused)
		}
	}
	full := frosts(MaxRoll)
	for i, x := range full { // each of its own product and place
		x.Product.Code, x.Centre = fmt.Sprint("IPV-", i), fmt.Sprint("centre ", i)
	}
	if signed, err := ParseLots(s.roll(t, full...)); err != nil || len(signed) != MaxRoll {
		t.Errorf("%d statements of a full roll: %v", len(signed), err)
	}
	if n := len(base64.StdEncoding.EncodeToString(s.roll(t, frosts(1000)...))); n > 48_000 {
		t.Errorf("1,000 statements take %d bytes", n)
	}
}

func TestRollRefuses(t *testing.T) {
	other := frosts(2)
	other[1].Authority = "XXB"
	for name, statements := range map[string][]*LotStatement{"none": nil, "of two": other, "too many": frosts(MaxRoll + 1)} {
		if _, err := encodeRoll(statements); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	payload, err := encodeRoll(frosts(2))
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func([]byte) []byte{
		"another version": func(b []byte) []byte { return bytes.Replace(b, []byte(rollType+"\x01"), []byte(rollType+"\x02"), 1) },
		"another order":   func(b []byte) []byte { return bytes.Replace(b, []byte("IPV-0"), []byte("IPV-1"), 1) },
		"a longer number": func(b []byte) []byte { return bytes.Replace(b, []byte("bL0\x00"), []byte("bL0\x18\x00"), 1) },
		"a product that is not there": func(b []byte) []byte {
			return bytes.Replace(b, []byte("\x00bL0\x00"), []byte("\x05bL0\x00"), 1)
		},
		"more behind": func(b []byte) []byte { return append(b, 0) },
	} {
		changed := change(bytes.Clone(payload))
		if bytes.Equal(changed, payload) {
			t.Errorf("%s: the case changes nothing", name)
		}
		v, err := cbor.Parse(changed, rollLimits)
		if err == nil {
			_, err = decodeRoll(changed, v)
		}
		if format.Reason(err, "") == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParseLots(f *testing.F) {
	s := newSigner(f, "XA")
	f.Add(s.roll(f, frosts(5)...))
	f.Add(s.sign(f, full()))
	f.Fuzz(func(t *testing.T, message []byte) {
		signed, err := ParseLots(message)
		if err != nil {
			if format.Reason(err, "") == "" {
				t.Errorf("%v has no reason", err)
			}
			return
		}
		for _, x := range signed {
			if payload, err := x.Statement.Encode(); err != nil || idOf(payload) != x.ID {
				t.Errorf("%v, %v", x.Statement, err)
			}
		}
	})
}

// BenchmarkLotList reads 100,000 statements in rolls, and looks doses up in them.
func BenchmarkLotList(b *testing.B) {
	const lots = 100_000
	s := newSigner(b, "XA")
	keys := LotKeys{s.as(b, Participant, "XXA", "")}
	said := frosts(lots)
	var lines []byte
	for from := 0; from < lots; from += MaxRoll {
		lines = AppendLine(lines, s.roll(b, said[from:min(from+MaxRoll, lots)]...))
	}
	list := new(LotList)
	b.Run("read", func(b *testing.B) {
		b.ReportMetric(float64(len(lines)), "bytes")
		b.ReportAllocs()
		for b.Loop() {
			list = new(LotList)
			if err := list.Add("said", lines, keys, noon); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("look up", func(b *testing.B) {
		n := 0
		for b.Loop() {
			n = (n + 7919) % lots
			x := said[n]
			if a := list.Advise(Dose{Products: []Product{x.Product}, Lot: x.Lot, Country: "XA", Centre: "north", Given: "2026-02-03"}); a.Reason == ReasonNoStatement {
				b.Fatal(n, a)
			}
		}
	})
}
