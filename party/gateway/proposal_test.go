package gateway_test

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"ampoule/format/cms"
	"ampoule/format/tng"
	"ampoule/internal/gatewaytest"
	"ampoule/party/gateway"
)

// TestFourEyes: a proposal is applied by two different operators, who approved
// this one, and once.
func TestFourEyes(t *testing.T) {
	n := gatewaytest.New(t, day)
	c := n.NewParty(t, "XC")
	p := n.Propose(gateway.Proposal{Action: gateway.Onboard, Country: "XC", Entries: c.Entries("DCC")})
	proposal, approvals := n.Approve(t, p, "anna", "bela")
	other := *p
	other.Reason = "another"
	_, others := n.Approve(t, &other, "anna", "bela")
	changed := func(a []byte, change func(*gateway.Approval)) []byte {
		var v gateway.Approval
		if err := json.Unmarshal(a, &v); err != nil {
			t.Fatal(err)
		}
		change(&v)
		out, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	for _, tc := range []struct {
		name      string
		gateway   string
		approvals [][]byte
		want      error
	}{
		{"nobody", gatewaytest.Name, nil, gateway.ErrNotApproved},
		{"one", gatewaytest.Name, approvals[:1], gateway.ErrNotApproved},
		{"one twice", gatewaytest.Name, [][]byte{approvals[0], approvals[0]}, gateway.ErrNotApproved},
		{"one of another proposal", gatewaytest.Name, [][]byte{approvals[0], others[1]}, gateway.ErrApproval},
		{"a stranger", gatewaytest.Name, [][]byte{approvals[0], changed(approvals[1], func(a *gateway.Approval) { a.Operator = "carl" })}, gateway.ErrApproval},
		{"one in the name of two", gatewaytest.Name, [][]byte{approvals[0], changed(approvals[0], func(a *gateway.Approval) { a.Operator = "bela" })}, gateway.ErrApproval},
		{"another time than was signed", gatewaytest.Name, [][]byte{approvals[0], changed(approvals[1], func(a *gateway.Approval) { a.At = a.At.Add(time.Second) })}, gateway.ErrApproval},
		{"no approval", gatewaytest.Name, [][]byte{approvals[0], []byte("{}")}, gateway.ErrApproval},
		{"another gateway", "production", approvals, gateway.ErrOtherGateway},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := n.Operator.Apply(t.Context(), tc.gateway, proposal, tc.approvals); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
		})
	}
	n.Advance((gateway.ProposalDays + 1) * 24 * time.Hour)
	if _, err := n.Operator.Apply(t.Context(), gatewaytest.Name, proposal, approvals); !errors.Is(err, gateway.ErrOutdated) {
		t.Errorf("too late: %v", err)
	}
	n.Advance(-(gateway.ProposalDays + 1) * 24 * time.Hour)
	// Two names that are configured with one key are one pair of eyes.
	kept, bela := n.Operator.Operators, n.Operators["bela"]
	n.Operator.Operators = []gateway.OperatorKey{kept[0], {Name: "bela", Key: kept[0].Key}}
	n.Operators["bela"] = n.Operators["anna"]
	_, same := n.Approve(t, p, "anna", "bela")
	if proposal, err := p.Encode(); err != nil {
		t.Fatal(err)
	} else if _, err := n.Operator.Apply(t.Context(), gatewaytest.Name, proposal, same); !errors.Is(err, gateway.ErrNotApproved) {
		t.Errorf("one key under two names: %v", err)
	}
	n.Operator.Operators, n.Operators["bela"] = kept, bela
	if _, err := n.Operator.Apply(t.Context(), gatewaytest.Name, proposal, approvals); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Operator.Apply(t.Context(), gatewaytest.Name, proposal, approvals); !errors.Is(err, gateway.ErrTaken) && !errors.Is(err, gateway.ErrApplied) {
		t.Errorf("again: %v", err)
	}
	// Not either when what it did has been undone.
	n.Apply(t, n.Propose(gateway.Proposal{Action: gateway.Remove, Country: "XC", Everything: true}))
	if _, err := n.Operator.Apply(t.Context(), gatewaytest.Name, proposal, approvals); !errors.Is(err, gateway.ErrApplied) {
		t.Errorf("again, after it was undone: %v", err)
	}
}

// TestUnfitProposals: what nobody may approve is refused, approved or not.
func TestUnfitProposals(t *testing.T) {
	b := newBed(t)
	c := b.NewParty(t, "XC")
	other := gatewaytest.New(t, day)
	for _, tc := range []struct {
		name    string
		entries []gateway.ProposedEntry
		resign  func(*gateway.ProposedEntry)
		want    error
	}{
		{"a country of the folder only", b.NewParty(t, "XD").Entries("DCC"), nil, gateway.ErrEntry},
		{"an unknown domain", c.Entries("DISNEY"), nil, gateway.ErrEntry},
		{"a type that participants upload", []gateway.ProposedEntry{{Type: tng.DSC, Domain: "DCC", Certificate: c.UP.Cert.Raw}}, nil, gateway.ErrEntry},
		{"no certificate", []gateway.ProposedEntry{{Type: tng.CSCA, Domain: "DCC", Certificate: []byte("text")}}, nil, gateway.ErrEntry},
		{"a right that there is not", []gateway.ProposedEntry{{Type: tng.Authentication, Domain: "DCC", Certificate: c.TLS.Cert.Raw, Rights: []gateway.Right{"Root"}}}, nil, gateway.ErrEntry},
		{"another anchor", c.Entries("DCC"), func(e *gateway.ProposedEntry) {
			var err error
			if e.Signature, err = cms.Sign(rand.Reader, e.Certificate, other.Anchor.Cert, other.Anchor.Key, day, false); err != nil {
				t.Fatal(err)
			}
		}, gateway.ErrNotAnchored},
		{"a signature of another entry", c.Entries("DCC"), func(e *gateway.ProposedEntry) {
			var err error
			if e.Signature, err = cms.Sign(rand.Reader, c.SCA.Cert.Raw[1:], b.Anchor.Cert, b.Anchor.Key, day, false); err != nil {
				t.Fatal(err)
			}
		}, gateway.ErrNotAnchored},
		{"one key for two uses", []gateway.ProposedEntry{{Type: tng.UploadType, Domain: "DCC", Certificate: sameKey(t, b, "XA", b.a.TLS)}}, nil, gateway.ErrEntry},
		{"another participant's key", []gateway.ProposedEntry{{Type: tng.Authentication, Domain: "DCC", Certificate: sameKey(t, b, "XC", b.a.TLS)}}, nil, gateway.ErrEntry},
		{"expired", []gateway.ProposedEntry{{Type: tng.CSCA, Domain: "DCC", Certificate: c.Signer(t, x509.Certificate{NotBefore: day.AddDate(-2, 0, 0), NotAfter: day.AddDate(-1, 0, 0)}, nil).Cert.Raw}}, nil, gateway.ErrEntry},
	} {
		t.Run(tc.name, func(t *testing.T) {
			country := "XC"
			if strings.HasPrefix(tc.name, "one key") {
				country = "XA"
			}
			p := b.Propose(gateway.Proposal{Action: gateway.Onboard, Country: country, Entries: tc.entries})
			err := gateway.SignProposal(rand.Reader, p, b.Anchor.Cert, b.Anchor.Key, day)
			if err == nil {
				if tc.resign != nil {
					tc.resign(&p.Entries[0])
				}
				var proposal []byte
				if proposal, err = p.Encode(); err != nil {
					t.Fatal(err)
				}
				var approvals [][]byte
				for _, name := range []string{"anna", "bela"} {
					a, err := gateway.Approve(rand.Reader, proposal, name, b.Operators[name], day)
					if err != nil {
						t.Fatal(err)
					}
					approvals = append(approvals, a)
				}
				_, err = b.Operator.Apply(t.Context(), gatewaytest.Name, proposal, approvals)
			}
			if !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
		})
	}
}

// sameKey is a certificate of a country for a key that has another already.
func sameKey(t testing.TB, b *bed, country string, of *gatewaytest.Pair) []byte {
	t.Helper()
	template := x509.Certificate{NotBefore: day.Add(-time.Hour), NotAfter: day.AddDate(1, 0, 0)}
	template.Subject.Country, template.Subject.CommonName = []string{country}, "again"
	return gatewaytest.Issue(t, template, nil, of.Key).Cert.Raw
}

// TestRemoval: with an authority goes what it issued, unless it has another
// certificate for the same key.
func TestRemoval(t *testing.T) {
	b := newBed(t)
	dsc := b.a.Signer(t, x509.Certificate{}, nil)
	upload := func() error {
		_, err := b.Operator.UploadSigner(t.Context(), b.a.Participant(t), b.a.Upload(t, dsc.Cert.Raw))
		return err
	}
	if err := upload(); err != nil {
		t.Fatal(err)
	}
	template, err := x509.ParseCertificate(b.a.SCA.Cert.Raw)
	if err != nil {
		t.Fatal(err)
	}
	renewal := x509.Certificate{
		Subject: template.Subject, NotBefore: day, NotAfter: day.AddDate(4, 0, 0), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, SubjectKeyId: template.SubjectKeyId,
	}
	renewed := gatewaytest.Issue(t, renewal, nil, b.a.SCA.Key)
	b.Apply(t, b.Propose(gateway.Proposal{Action: gateway.Onboard, Country: "XA", Entries: []gateway.ProposedEntry{{Type: tng.CSCA, Domain: "DCC", Certificate: renewed.Cert.Raw}}}))
	if a := b.Apply(t, b.Propose(gateway.Proposal{Action: gateway.Remove, Country: "XA", Remove: []string{tng.Thumbprint(b.a.SCA.Cert.Raw)}})); a.Removed != 1 {
		t.Errorf("with the old one went %d", a.Removed-1)
	}
	if b.listed(t, dsc.Cert.Raw) == nil {
		t.Fatal("the signer went with the old certificate of its authority")
	}
	if a := b.Apply(t, b.Propose(gateway.Proposal{Action: gateway.Remove, Country: "XA", Remove: []string{tng.Thumbprint(renewed.Cert.Raw)}})); a.Removed != 2 {
		t.Errorf("with the last one went %d", a.Removed-1)
	}
	if b.listed(t, dsc.Cert.Raw) != nil {
		t.Error("the signer outlives its authority")
	}
	refused(t, upload(), gateway.Bad, "0x004")
	p := b.Propose(gateway.Proposal{Action: gateway.Remove, Country: "XA", Remove: []string{tng.Thumbprint(renewed.Cert.Raw)}})
	proposal, approvals := b.Approve(t, p, "anna", "bela")
	if _, err := b.Operator.Apply(t.Context(), gatewaytest.Name, proposal, approvals); !errors.Is(err, gateway.ErrNothing) && !errors.Is(err, gateway.ErrApplied) {
		t.Errorf("what is not there: %v", err)
	}
}

// TestRemovedMeanwhile: who was taken away while it uploads does not upload.
func TestRemovedMeanwhile(t *testing.T) {
	b := newBed(t)
	before := b.a.Participant(t) // as of now
	b.Apply(t, b.Propose(gateway.Proposal{Action: gateway.Remove, Country: "XA", Everything: true}))
	_, err := b.Operator.UploadSigner(t.Context(), before, b.a.Upload(t, b.a.Signer(t, x509.Certificate{}, nil).Cert.Raw))
	refused(t, err, gateway.Missing, "0x005")
}

func TestIssuers(t *testing.T) {
	b := newBed(t)
	keys := gateway.ProposedKeys{Name: "Specimen issuer", URL: "https://xa.example/jwks", Type: tng.IssuerHTTP, Domain: "PH4H", KeyStorageType: "JWKS"}
	b.Apply(t, b.Propose(gateway.Proposal{Action: gateway.Onboard, Country: "XA", Issuers: []gateway.ProposedKeys{keys}}))
	list, err := b.Operator.Issuers(t.Context(), gateway.CertificateQuery{Countries: []string{"XA"}})
	if err != nil || len(list) != 1 || list[0].URL != keys.URL || list[0].Domain != "PH4H" {
		t.Fatalf("%+v, %v", list, err)
	}
	if o, err := cms.Open(list[0].Signature, []byte(list[0].SignedText())); err != nil || !bytes.Equal(o.Certificate.Raw, b.Anchor.Cert.Raw) {
		t.Errorf("signature: %v", err)
	}
	keys.Name = "a;b"
	p := b.Propose(gateway.Proposal{Action: gateway.Onboard, Country: "XA", Issuers: []gateway.ProposedKeys{keys}})
	if err := gateway.SignProposal(rand.Reader, p, b.Anchor.Cert, b.Anchor.Key, day); !errors.Is(err, gateway.ErrEntry) {
		t.Errorf("a name with a semicolon: %v", err)
	}
}

// TestProposalForm: two files that read alike have one digest, or one of them is
// refused.
func TestProposalForm(t *testing.T) {
	b := newBed(t)
	p := b.Propose(gateway.Proposal{Action: gateway.Remove, Country: "XA", Remove: []string{"x"}, Reason: "<why>"})
	good, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := gateway.ParseProposal(good); err != nil {
		t.Fatal(err)
	}
	text := string(good)
	for name, bad := range map[string]string{
		"compact":          strings.ReplaceAll(strings.ReplaceAll(text, "\n", ""), "  ", ""),
		"a member more":    strings.Replace(text, `"proposal"`, `"more": 1, "proposal"`, 1),
		"a member twice":   strings.Replace(text, `"proposal": 1,`, `"proposal": 1, "proposal": 1,`, 1),
		"another spelling": strings.Replace(text, `"action"`, `"Action"`, 1),
		"another version":  strings.Replace(text, `"proposal": 1`, `"proposal": 2`, 1),
		"another action":   strings.Replace(text, `"remove",`, `"keep",`, 1),
		"two actions":      strings.Replace(text, `"remove": [`, `"everything": true, "remove": [`, 1),
		"no country":       strings.Replace(text, `"XA"`, `""`, 1),
		"cut off":          text[:len(text)-3],
		"something after":  text + " ",
	} {
		if _, err := gateway.ParseProposal([]byte(bad)); !errors.Is(err, gateway.ErrProposal) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParseProposal(f *testing.F) {
	p := &gateway.Proposal{
		Version: 1, Gateway: "g", Action: gateway.Onboard, Participant: "XXA", Country: "XA", Made: day,
		Entries: []gateway.ProposedEntry{{Type: tng.CSCA, Domain: "DCC", Certificate: []byte{0x30, 0}, Rights: gateway.Rights}},
		Issuers: []gateway.ProposedKeys{{Name: "n", URL: "u", Type: "HTTP"}},
	}
	good, err := p.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := gateway.ParseProposal(data)
		if err != nil {
			return
		}
		again, err := p.Encode()
		if err != nil || !bytes.Equal(again, data) {
			t.Errorf("%q became %q: %v", data, again, err)
		}
		_ = p.Summary()
	})
}
