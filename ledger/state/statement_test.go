package state

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"errors"
	"testing"
)

func TestStatement(t *testing.T) {
	own := []crypto.Signer{ed("member 1"), ml("root 1")}
	made := func(change func(*Statement), signers ...crypto.Signer) []byte {
		s := &Statement{Member: country(1), Validator: validator(1, 1)}
		change(s)
		data, err := s.Sign(rand.Reader, signers...)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	as := func(*Statement) {}
	good := made(as, own...)
	s, err := ParseStatement(good)
	if err != nil {
		t.Fatal(err)
	}
	if s.Member.OID != country(1).OID || s.Validator.Key != validator(1, 1).Key || s.Member.Keys[0].KID != key(own[0]).KID {
		t.Errorf("%+v", s)
	}
	if other, err := ParseStatement(made(as, own[1], own[0])); err != nil || other.Digest() != s.Digest() {
		t.Errorf("the order of the signers counts: %v", err)
	}
	for _, c := range []struct {
		name string
		data []byte
		want error
	}{
		{"too large", make([]byte, MaxTx+1), ErrTooLarge},
		{"nothing", nil, nil},
		{"a byte more", append(bytes.Clone(good), 0), nil},
		{"without the root", made(as, own[0]), ErrPossession},
		{"without the online key", made(as, own[1]), ErrPossession},
		{"another beside", made(as, append(own, ed("stray"))...), ErrPossession},
		{"another in place", made(as, ed("stray"), own[1]), ErrPossession},
		{"the validator of another", made(func(s *Statement) { s.Validator.Member = country(2).OID }, own...), ErrForm},
		{"a genesis", genesis(1, 1).Encode(), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ParseStatement(c.data)
			if err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		if _, err := ParseStatement(bad); err == nil {
			t.Fatalf("byte %d does not count", i)
		}
	}
}

// TestDraft: a draft leaves the state as it is until it is taken, and then makes of
// it what Apply makes.
func TestDraft(t *testing.T) {
	k, other := newKit(t, genesis(2, 1)), newKit(t, genesis(2, 1))
	tx := k.sign(k.tx(country(0).OID, &Put{Role: Issuer, OID: id("3.1"), Keys: keys(ed("issuer")), Scope: ScopeBatch, From: start, Until: start + 1000}), ed("member 0"), ed("issuer"))
	block := &Block{Height: 1, Time: start + 1, Txs: [][]byte{tx}}
	before := k.s.Snapshot()
	d, err := k.s.Draft(block)
	if err != nil || d.Outcome.Results[0].Reason != "" {
		t.Fatal(d.Outcome, err)
	}
	if !bytes.Equal(k.s.Snapshot(), before) {
		t.Fatal("the draft has changed the state")
	}
	if _, err := other.s.Apply(block); err != nil {
		t.Fatal(err)
	}
	want := other.s.AppHash()
	if d.After.AppHash() != want || d.After.LogRoot() != other.s.LogRoot() || d.After.LogSize() != 2 || d.After.Height() != 1 {
		t.Error("the draft tells another state")
	}
	d.Take()
	if !bytes.Equal(k.s.Snapshot(), other.s.Snapshot()) || k.s.AppHash() != want {
		t.Error("the draft makes another state")
	}
}

func FuzzStatement(f *testing.F) {
	data, err := (&Statement{country(1), validator(1, 1)}).Sign(rand.Reader, ed("member 1"), ml("root 1"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		if s, err := ParseStatement(data); err == nil && s.Member.OID != s.Validator.Member {
			t.Fatal("the validator of another")
		}
	})
}

func TestLoad(t *testing.T) {
	k := ready(t)
	s, err := Load(k.s.Rows())
	if err != nil || !bytes.Equal(s.Snapshot(), k.s.Snapshot()) {
		t.Fatal(err)
	}
	for name, rows := range map[string]func(yield func(string, []byte) bool){
		"none": func(func(string, []byte) bool) {},
		"twice": func(yield func(string, []byte) bool) {
			for range 2 {
				if !yield("m/", []byte{0x80}) {
					return
				}
			}
		},
		"no row": func(yield func(string, []byte) bool) { yield("p/params", []byte{0xff}) },
	} {
		if _, err := Load(rows); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
