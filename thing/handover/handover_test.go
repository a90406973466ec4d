package handover

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ampoule/coldchain"
	"ampoule/format"
	"ampoule/format/cose"
	"ampoule/thing/trail"
)

var day = time.Date(2026, 11, 5, 8, 0, 0, 0, time.UTC)

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func offered() *Offer {
	return &Offer{
		Thing: "https://id.gs1.org/01/09521321123458/10/SPEC-1", Amount: 50,
		Giver:    Party{"works", "https://id.gs1.org/414/9521321000018"},
		Receiver: Party{"moh", "https://id.gs1.org/414/9521321000025"},
		Left:     day, Offered: day.Add(time.Hour), Events: []Sum{{1}, {2}},
		Path: Path{Outcome: coldchain.Sound, Measured: 9900, Outside: 3, By: []string{"a", "b"}},
	}
}

func taken() *Answer {
	return &Answer{Outcome: Accepted, Amount: 48, Arrived: day.Add(5 * time.Hour), Answered: day.Add(6 * time.Hour), Events: []Sum{{3}}}
}

// signed is a file with the keys of both.
func signed(t testing.TB, o *Offer, a *Answer) (file []byte, giver, receiver crypto.PublicKey) {
	t.Helper()
	from, to := newKey(t), newKey(t)
	file, err := o.Sign(rand.Reader, from)
	if err != nil {
		t.Fatal(err)
	}
	if a != nil {
		h, err := Parse(file)
		if err != nil {
			t.Fatal(err)
		}
		if file, err = h.Sign(rand.Reader, to, a); err != nil {
			t.Fatal(err)
		}
	}
	return file, from.Public(), to.Public()
}

func TestHandover(t *testing.T) {
	for _, c := range []struct {
		name    string
		answer  *Answer
		differs bool
	}{
		{"offered", nil, false},
		{"accepted", &Answer{Outcome: Accepted, Amount: 50, Arrived: day.Add(5 * time.Hour), Answered: day.Add(6 * time.Hour), Events: []Sum{{3}}}, false},
		{"accepted with less", taken(), true},
		{"refused", &Answer{Outcome: Refused, Reason: "damaged", Amount: trail.Many, Answered: day.Add(6 * time.Hour)}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			file, giver, receiver := signed(t, offered(), c.answer)
			h, err := Parse(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(offered(), h.Offer) + cmp.Diff(c.answer, h.Answer); diff != "" || h.Differs() != c.differs {
				t.Errorf("%s, differs %t", diff, h.Differs())
			}
			if err := h.VerifyOffer(giver); err != nil {
				t.Error(err)
			}
			if err := h.VerifyOffer(receiver); err == nil {
				t.Error("the offer holds under the key of who receives")
			}
			switch err := h.VerifyAnswer(receiver); {
			case c.answer == nil && !errors.Is(err, cose.ErrMissingSignature):
				t.Errorf("without an answer: %v", err)
			case c.answer != nil && err != nil:
				t.Error(err)
			}
			if h.VerifyAnswer(giver) == nil {
				t.Error("the answer holds under the key of who gives")
			}
		})
	}
}

// TestRefuses: what is not of the form is neither signed nor read, and an answer stays
// with its offer.
func TestRefuses(t *testing.T) {
	for name, change := range map[string]func(*Offer){
		"no thing":            func(o *Offer) { o.Thing = "" },
		"an amount below -1":  func(o *Offer) { o.Amount = -2 },
		"another unit":        func(o *Offer) { o.Unit = "KGM" },
		"nobody receives":     func(o *Offer) { o.Receiver.Name = "" },
		"hidden characters":   func(o *Offer) { o.Giver.Name = "wor\u202eks" },
		"no time":             func(o *Offer) { o.Left = time.Time{} },
		"parts of seconds":    func(o *Offer) { o.Left = day.Add(time.Millisecond) },
		"no event":            func(o *Offer) { o.Events = nil },
		"events out of order": func(o *Offer) { o.Events = []Sum{{2}, {1}} },
		"an event twice":      func(o *Offer) { o.Events = []Sum{{1}, {1}} },
		"another outcome":     func(o *Offer) { o.Path.Outcome = "good" },
		"more than the path":  func(o *Offer) { o.Path.Measured = 10001 },
		"a device twice":      func(o *Offer) { o.Path.By = []string{"a", "a"} },
	} {
		t.Run(name, func(t *testing.T) {
			o := offered()
			change(o)
			if _, err := o.Sign(rand.Reader, newKey(t)); !errors.Is(err, ErrField) {
				t.Error(err)
			}
		})
	}
	for name, change := range map[string]func(*Answer){
		"neither":                  func(a *Answer) { a.Outcome = "" },
		"accepted for a reason":    func(a *Answer) { a.Reason = "damaged" },
		"accepted and not arrived": func(a *Answer) { a.Arrived = time.Time{} },
		"accepted without event":   func(a *Answer) { a.Events = nil },
		"refused and arrived":      func(a *Answer) { a.Outcome, a.Reason = Refused, "damaged" },
		"refused without reason":   func(a *Answer) { *a = Answer{Outcome: Refused, Amount: trail.Many, Answered: a.Answered} },
	} {
		t.Run(name, func(t *testing.T) {
			file, _, _ := signed(t, offered(), nil)
			h, err := Parse(file)
			if err != nil {
				t.Fatal(err)
			}
			a := taken()
			change(a)
			if _, err := h.Sign(rand.Reader, newKey(t), a); !errors.Is(err, ErrField) {
				t.Error(err)
			}
		})
	}
	t.Run("the answer of another offer", func(t *testing.T) {
		one, _, _ := signed(t, offered(), taken())
		more := offered()
		more.Amount++
		two, _, _ := signed(t, more, nil)
		h1, err1 := Parse(one)
		h2, err2 := Parse(two)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		if _, err := Parse(file(h2.offer, h1.answer)); !errors.Is(err, ErrOtherOffer) {
			t.Error(err)
		}
		if _, err := Parse(file(h1.answer, nil)); !errors.Is(err, ErrNotHandover) {
			t.Errorf("an answer in the place of an offer: %v", err)
		}
	})
	t.Run("any byte changed", func(t *testing.T) {
		file, giver, receiver := signed(t, offered(), taken())
		for i := range file {
			changed := bytes.Clone(file)
			changed[i] ^= 1
			h, err := Parse(changed)
			if err == nil && h.VerifyOffer(giver) == nil && h.VerifyAnswer(receiver) == nil {
				t.Fatalf("byte %d may be changed", i)
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	one, _, _ := signed(f, offered(), taken())
	two, _, _ := signed(f, offered(), nil)
	f.Add(one)
	f.Add(two)
	f.Add([]byte{0x82, 0x40, 0x40})
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := Parse(data)
		if err != nil {
			if _, ok := errors.AsType[format.Defect](err); !ok {
				t.Fatalf("%v is no defect", err)
			}
			return
		}
		if !bytes.Equal(file(h.offer, h.answer), data) {
			t.Fatal("another form of the same was taken")
		}
	})
}
