package vdsnc

import (
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"io"
	"strings"
	"testing"

	"ampoule/format"

	"github.com/google/go-cmp/cmp"
	"github.com/gowebpki/jcs"
)

// What is written is the canonical form of what was read.
func TestEncode(t *testing.T) {
	for name, data := range map[string]string{"vaccination": vaccination, "test": testResult} {
		t.Run(name, func(t *testing.T) {
			if name == "vaccination" { // which has a dose without a lot
				data = strings.Replace(data, `"seq":2,`, `"seq":2,"lot":"L2",`, 1)
			}
			s, _, err := Decode(seal(data, "ES256", "AQID", ""), Strict)
			if err != nil {
				t.Fatal(err)
			}
			got, findings := Encode(s)
			want, err := jcs.Transform([]byte(data))
			if err != nil || len(findings) > 0 || string(got) != string(want) {
				t.Errorf("%v %v\n%s\n%s", err, findings, got, want)
			}
		})
	}
}

// A key of each curve signs what its verifier checks, and others do not sign.
func TestSign(t *testing.T) {
	s, _, err := Decode(seal(testResult, "ES256", "AQID", ""), Strict)
	if err != nil {
		t.Fatal(err)
	}
	data, _ := Encode(s)
	for alg, curve := range map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()} {
		k := newKey(t, curve)
		for range 20 { // r and s begin with a zero byte now and then
			text, err := Sign(rand.Reader, k, []byte{1, 2, 3, 4}, data)
			if err != nil {
				t.Fatal(err)
			}
			got, findings, err := Decode(text, Strict)
			if err != nil || len(findings) > 0 || got.Algorithm != alg || string(got.Certificate) != "\x01\x02\x03\x04" {
				t.Fatal(alg, err, findings)
			}
			if err := got.Verify(k.Public()); err != nil {
				t.Error(alg, err)
			}
		}
	}
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Sign(rand.Reader, r, []byte{1}, data); !errors.Is(err, ErrAlgNotAllowed) {
		t.Error(err)
	}
	if _, err := Sign(rand.Reader, newKey(t, elliptic.P224()), []byte{1}, data); !errors.Is(err, ErrAlgNotAllowed) {
		t.Error(err)
	}
	if _, err := Sign(rand.Reader, newKey(t, elliptic.P256()), nil, data); !errors.Is(err, ErrNoCertificate) {
		t.Error(err)
	}
}

func TestEncodeFindings(t *testing.T) {
	read := func(t *testing.T, data string) *Seal {
		s, _, err := Decode(seal(data, "ES256", "AQID", ""), Strict)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	complete := strings.Replace(vaccination, `"seq":2,`, `"seq":2,"lot":"L2",`, 1)
	for _, tc := range []struct {
		name, data string
		edit       func(s *Seal)
		want       []format.Finding
	}{
		{"no state", complete, func(s *Seal) { s.Issuer = "" }, []format.Finding{{Path: "hdr.is", Reason: format.BadCode}}},
		{"a state of two letters", complete, func(s *Seal) { s.Issuer = "UT" }, []format.Finding{{Path: "hdr.is", Reason: format.BadCode}}},
		{"no person", complete, func(s *Seal) { s.Vaccination.Person.Name = "" }, []format.Finding{{Path: "pid.n", Reason: format.RequiredMissing}}},
		{"another document alone", complete, func(s *Seal) {
			p := &s.Vaccination.Person
			p.BirthDate, p.Document, p.OtherDocument = "", "", "Y1"
		}, []format.Finding{{Path: "pid.dob|pid.i", Reason: format.RequiredMissing}}},
		{"no number of the dose", complete, func(s *Seal) { s.Vaccination.Events[0].Doses[0].Number = 0 }, []format.Finding{
			{Path: "ve[0].vd[0].seq", Reason: format.RequiredMissing, Tolerable: true}, {Path: "ve[0].vd[0].seq", Reason: format.BadValue},
		}},
		{"no lot", vaccination, func(*Seal) {}, []format.Finding{{Path: "ve[0].vd[1].lot", Reason: format.RequiredMissing}}},
		{"no doses", complete, func(s *Seal) { s.Vaccination.Events[0].Doses = nil }, []format.Finding{{Path: "ve[0].vd", Reason: format.RequiredMissing}}},
		{"not UTF-8", complete, func(s *Seal) { s.Vaccination.Events[0].Doses[0].Lot = "\xff" }, []format.Finding{{Reason: format.BadValue}}},
		{"a state that is not UTF-8", complete, func(s *Seal) { s.Issuer = "\xff" }, []format.Finding{{Reason: format.BadValue}}},
		{"nothing", complete, func(s *Seal) { s.Vaccination = nil }, []format.Finding{{Path: "hdr.t", Reason: format.RequiredMissing}}},
		{"both", complete, func(s *Seal) { s.Test = new(Test) }, []format.Finding{{Path: "hdr.t", Reason: format.RequiredMissing}}},

		{"a test of no kind", testResult, func(s *Seal) { s.Test.Method = "PCR" }, []format.Finding{{Path: "tr.tc", Reason: format.BadCode}}},
		{"a result in other words", testResult, func(s *Seal) { s.Test.Result = "Not detected" }, []format.Finding{{Path: "tr.r", Reason: format.BadCode}}},
		{"a document of no kind", testResult, func(s *Seal) { s.Test.Person.NumberType = "X" }, []format.Finding{{Path: "pid.dt", Reason: format.BadCode}}},
		{"no telephone", testResult, func(s *Seal) { s.Test.Phone = "" }, []format.Finding{{Path: "sp.cd.p", Reason: format.RequiredMissing}}},
		{"no time of the report", testResult, func(s *Seal) { s.Test.Reported = "" }, []format.Finding{{Path: "dat.ri", Reason: format.RequiredMissing}}},
		{"a day for a time", testResult, func(s *Seal) { s.Test.Sampled = "2026-10-30" }, []format.Finding{{Path: "dat.sc", Reason: format.BadDate, Tolerable: true}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := read(t, tc.data)
			tc.edit(s)
			if _, got := Encode(s); cmp.Diff(tc.want, got) != "" {
				t.Error(cmp.Diff(tc.want, got))
			}
		})
	}
}

// nonsense is a signer whose signature is none.
type nonsense struct{ crypto.Signer }

func (nonsense) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return []byte{0x30, 3, 2, 1, 0xff}, nil
}

func TestSignerFails(t *testing.T) {
	if _, err := Sign(rand.Reader, nonsense{newKey(t, elliptic.P256())}, []byte{1}, []byte("{}")); !errors.Is(err, ErrSignature) {
		t.Error(err)
	}
}
