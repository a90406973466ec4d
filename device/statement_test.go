package device

import (
	"bytes"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"ampoule/format/cbor"
)

func statement(t testing.TB) *Statement {
	return &Statement{
		ID: "019ab000-0000-7000-8000-000000000001", Version: 1, Device: id(t, specimenDevice), Stream: 1, Equipment: "fridge 1",
		Rule: "HEAT", Terms: []byte(`{"above":8000,"for":36000}`), Since: 1767225600, At: 1767261600, Until: 1767262000, Extreme: 9120,
		State: Open, Made: 1767262100,
	}
}

func TestStatement(t *testing.T) {
	key := edKey(3)
	first := statement(t)
	data, err := first.Sign(rand.Reader, key)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseStatement(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, got, cmpopts.IgnoreUnexported(Statement{})); diff != "" {
		t.Error(diff)
	}
	if err := got.Verify(key.Public()); err != nil {
		t.Error(err)
	}
	if got.Verify(edKey(4).Public()) == nil {
		t.Error("another key verifies")
	}

	second := statement(t)
	second.Version, second.Prev, second.State, second.End, second.By, second.Comment = 2, first.Hash, Closed, 1767263000, "account 7", "door left open"
	data, err = second.Sign(rand.Reader, key)
	if err != nil {
		t.Fatal(err)
	}
	if got, err = ParseStatement(data); err != nil || !got.Follows(first) || first.Follows(got) {
		t.Errorf("%+v, %v", got, err)
	}
	for i := range 8 * len(data) {
		other := slices.Clone(data)
		other[i/8] ^= 1 << (i % 8)
		if s, err := ParseStatement(other); err == nil && s.Verify(key.Public()) == nil {
			t.Errorf("bit %d of byte %d", i%8, i/8)
		}
	}
}

func TestStatementRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Statement)
		want   error
	}{
		"no name":             {func(s *Statement) { s.ID = "" }, ErrStatement},
		"of nothing":          {func(s *Statement) { s.Device, s.Equipment = "", "" }, ErrStatement},
		"no state":            {func(s *Statement) { s.State = "gone" }, ErrStatement},
		"version 0":           {func(s *Statement) { s.Version = 0 }, ErrStatement},
		"a first with prev":   {func(s *Statement) { s.Prev = Hash{1} }, ErrStatement},
		"a second without":    {func(s *Statement) { s.Version = 2 }, ErrStatement},
		"terms of no JSON":    {func(s *Statement) { s.Terms = []byte("{") }, ErrStatement},
		"met before it began": {func(s *Statement) { s.At = s.Since - 1 }, ErrStatement},
		"over before":         {func(s *Statement) { s.End = s.Since - 1 }, ErrStatement},
		"a long comment":      {func(s *Statement) { s.Comment = strings.Repeat("x", maxComment+1) }, ErrRange},
		"no UTF-8":            {func(s *Statement) { s.Comment = "\xff" }, cbor.ErrUTF8},
		"a time below 0":      {func(s *Statement) { s.Made = -1 }, cbor.ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			s := statement(t)
			c.change(s)
			if _, err := s.Sign(rand.Reader, edKey(3)); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

func FuzzParseStatement(f *testing.F) {
	data, err := statement(f).Sign(rand.Reader, edKey(3))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := ParseStatement(data)
		if err != nil {
			return
		}
		if again := around(appendHeader(nil, s.Algorithm, s.KeyID), s.encode(), s.signature); !bytes.Equal(again, data) {
			t.Errorf("%x becomes %x", data, again)
		}
	})
}
