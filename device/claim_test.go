package device

import (
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ampoule/format"
)

func TestClaim(t *testing.T) {
	seen := map[string]bool{}
	for range 200 {
		c, err := NewClaim(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		code := c.String()
		if seen[code] || len(code) != 23 {
			t.Fatalf("%s again, or of another length", code)
		}
		seen[code] = true
		for _, text := range []string{code, c.Label(), strings.ToLower(code), " " + strings.ReplaceAll(code, "-", "") + " ", strings.NewReplacer("1", "l", "0", "o").Replace(code)} {
			got, err := ParseClaim(text)
			if err != nil || got != c || !got.Matches(c.Hash()) {
				t.Errorf("%q: %s, %v", text, got, err)
			}
		}
		if c.Matches(Hash{}) {
			t.Error("any hash matches")
		}
		// One wrong character, and any two that changed places.
		plain := []byte(strings.ReplaceAll(code, "-", ""))
		for i := range plain {
			other := slices.Clone(plain)
			other[i] = crockford[(strings.IndexByte(crockford, plain[i])+1)%32]
			if _, err := ParseClaim(string(other)); !errors.Is(err, ErrClaim) {
				t.Errorf("%s for %s", other, plain)
			}
			for j := range i {
				other := slices.Clone(plain)
				other[i], other[j] = other[j], other[i]
				if _, err := ParseClaim(string(other)); err == nil && other[i] != other[j] {
					t.Errorf("%s for %s", other, plain)
				}
			}
		}
	}
	for _, text := range []string{"", "AMPOULE-CLAIM:", strings.Repeat("0", 19), strings.Repeat("0", 21), "U" + strings.Repeat("0", 19), strings.Repeat("0-", 60), "ü" + strings.Repeat("0", 18)} {
		if _, err := ParseClaim(text); !errors.Is(err, ErrClaim) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestLife: no way leads out of retirement, and only what is heard is not stopped.
func TestLife(t *testing.T) {
	all := []Life{"", Announced, Claimed, Enrolled, Active, Suspended, Retired}
	for from, want := range map[Life][]Life{
		"":        {Announced, Claimed},
		Announced: {Claimed, Retired},
		Claimed:   {Enrolled, Active, Suspended, Retired},
		Enrolled:  {Active, Suspended, Retired},
		Active:    {Suspended, Retired},
		Suspended: {Active, Retired},
		Retired:   {},
		"gone":    {},
	} {
		for _, to := range all {
			var reason Reason
			if to == Suspended || to == Retired {
				reason = Lost
				if Step(from, to, "") == nil {
					t.Errorf("%q to %q without a reason", from, to)
				}
			} else if Step(from, to, Lost) == nil {
				t.Errorf("%q to %q with a reason", from, to)
			}
			if err := Step(from, to, reason); (err == nil) != slices.Contains(want, to) {
				t.Errorf("%q to %q: %v", from, to, err)
			}
		}
		if got := from.Next(); len(got) != len(want) {
			t.Errorf("%q leads to %v", from, got)
		}
		if from.Heard() != slices.Contains([]Life{Announced, Claimed, Enrolled, Active}, from) {
			t.Errorf("%q is heard: %v", from, from.Heard())
		}
	}
	if err := Step(Active, Suspended, EndOfLife); !errors.Is(err, ErrLife) {
		t.Errorf("suspended for the end of its life: %v", err)
	}
}

func TestParseRoster(t *testing.T) {
	text := "\ufeffMaker;Model;Serial;dev_eui;Facility\r\n" +
		"Specimen Ltd;S-1;0001;;Centre 1\n" +
		"Specimen Ltd;S-1;0001;;Centre 2\n" +
		";;;00-80-E1-15-00-0A-BC-DE;\n" +
		"Specimen Ltd;S-1;;;\n" +
		"Specimen Ltd;S-1;0002;xyz;\n" +
		"Specimen Ltd;S-1\n" +
		";S-1;0003;;\n" +
		"\"Specimen; Ltd\";S-2;0004;;Centre 3\n" +
		"\"open;S-2;0005;;\n"
	all, findings, err := ParseRoster([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	wantFindings := []format.Finding{
		{Path: "line 3, serial", Reason: ErrDuplicate}, {Path: "line 5", Reason: ErrNoName}, {Path: "line 6, dev-eui", Reason: ErrName},
		{Path: "line 7", Reason: ErrRow}, {Path: "line 8, serial", Reason: ErrName}, {Path: "line 10", Reason: ErrRow},
	}
	if diff := cmp.Diff(wantFindings, findings); diff != "" {
		t.Error(diff)
	}
	want := []Listed{
		{Line: 2, Names: []Name{{Serial, "Specimen Ltd/0001"}}, Maker: "Specimen Ltd", Model: "S-1", Facility: "Centre 1"},
		{Line: 4, Names: []Name{{DevEUI, "0080e115000abcde"}}},
		{Line: 9, Names: []Name{{Serial, "Specimen; Ltd/0004"}}, Maker: "Specimen; Ltd", Model: "S-2", Facility: "Centre 3"},
	}
	if diff := cmp.Diff(want, all); diff != "" {
		t.Error(diff)
	}
	for text, want := range map[string]error{"": ErrRow, "maker,colour\n": ErrColumn, "maker,maker\n": ErrColumn, "\xff": ErrRow} {
		if _, _, err := ParseRoster([]byte(text)); !errors.Is(err, want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, _, err := ParseRoster(make([]byte, MaxRoster+1)); !errors.Is(err, ErrSize) {
		t.Errorf("too large: %v", err)
	}
	many := "ble\n" + strings.Repeat("x\n", maxRows+1)
	if _, _, err := ParseRoster([]byte(many)); !errors.Is(err, ErrSize) {
		t.Errorf("too many rows: %v", err)
	}
}

func FuzzParseRoster(f *testing.F) {
	f.Add([]byte("maker,serial\nSpecimen,1\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		all, _, err := ParseRoster(data)
		if err != nil {
			return
		}
		seen := map[Name]bool{}
		for _, one := range all {
			for _, n := range one.Names {
				if again, err := ParseName(n.String()); err != nil || again != n || seen[n] {
					t.Errorf("%s: %s, %v", n, again, err)
				}
				seen[n] = true
			}
		}
	})
}

func FuzzParseClaim(f *testing.F) {
	f.Add("AMPOULE-CLAIM:00000-00000-00000-00000")
	f.Fuzz(func(t *testing.T, text string) {
		if c, err := ParseClaim(text); err == nil {
			if again, err := ParseClaim(c.Label()); err != nil || again != c {
				t.Errorf("%s: %v", c, err)
			}
		}
	})
}
