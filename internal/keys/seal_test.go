package keys

import (
	"bytes"
	"errors"
	"testing"
	"time"
)

func TestSealKeys(t *testing.T) {
	p := Participant{Country: "XA", Organization: "Ministry of Health", Name: "CSCA"}
	csca, err := NewCSCA(p, "XXA", now, nil)
	if err != nil {
		t.Fatal(err)
	}
	authority := csca.Key.Certificate()
	if got := Lint(authority, RoleSCA); got != nil {
		t.Errorf("lint: %q", got)
	}
	if err := authority.CheckSignatureFrom(authority); err != nil {
		t.Error(err)
	}
	for _, oid := range [][]int{oidSubjectAltName, oidIssuerAltName} {
		found := false
		for _, e := range authority.Extensions {
			found = found || e.Id.Equal(oid) && bytes.HasSuffix(e.Value, []byte("XXA"))
		}
		if !found {
			t.Errorf("the extension %v does not name the state", oid)
		}
	}

	k, err := csca.IssueSealSigner("01", now, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := k.Certificate()
	if err := c.CheckSignatureFrom(authority); err != nil {
		t.Error(err)
	}
	if want := now.Truncate(time.Second); !c.NotBefore.Equal(want) || !c.NotAfter.Equal(want.AddDate(2, 0, 0)) {
		t.Errorf("valid from %v to %v", c.NotBefore, c.NotAfter)
	}
	if len(c.UnknownExtKeyUsage) != 1 || c.UnknownExtKeyUsage[0].String() != "2.23.136.1.1.14.2" || c.IsCA || len(k.Chain) != 2 {
		t.Errorf("%v", c.UnknownExtKeyUsage)
	}
	if got := c.Subject.String(); got != "CN=01,C=XA" {
		t.Error(got)
	}

	for _, state := range []string{"", "XA", "xxa", "XXAA"} {
		if _, err := NewCSCA(p, state, now, nil); !errors.Is(err, ErrParticipant) {
			t.Errorf("state %q: %v", state, err)
		}
	}
	if _, err := NewCSCA(Participant{Country: "XA"}, "XXA", now, nil); !errors.Is(err, ErrParticipant) {
		t.Error(err)
	}
	if _, err := csca.IssueSealSigner("02", now.AddDate(3, 0, 0), nil); !errors.Is(err, ErrValidity) {
		t.Error(err)
	}
	if _, err := (&SCA{Key: new(Key)}).IssueSealSigner("02", now, nil); !errors.Is(err, ErrNotCA) {
		t.Error(err)
	}
}
