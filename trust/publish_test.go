package trust_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"ampoule/format/didlist"
	"ampoule/internal/keys"
	"ampoule/trust"
)

// publishable is what three operators have: XA in two domains, XB in one, and a
// signer of XB that XA's authority issued.
func publishable(t *testing.T) (a, b *member, files []trust.Material) {
	a, b = newMember(t, "XA"), newMember(t, "XB")
	add := func(path string, k *keys.Key) {
		files = append(files, trust.Material{Path: path, Data: pemOf(k.Certificate().Raw)})
	}
	for _, domain := range []string{"DCC", "PH4H"} {
		add(domain+"/XXA/SCA/sca.pem", a.sca.Key)
		add(domain+"/XXA/DSC/dsc.pem", a.dsc)
	}
	add("DCC/XXB/SCA/sca.pem", b.sca.Key)
	add("DCC/XXB/DSC/dsc.pem", b.dsc)
	return a, b, files
}

func TestPublish(t *testing.T) {
	a, b, files := publishable(t)
	impostor := newMember(t, "XB")
	files = append(files,
		trust.Material{Path: "DCC/XXB/DSC/impostor.pem", Data: pemOf(impostor.dsc.Certificate().Raw)},
		trust.Material{Path: "DCC/XXB/DSC/foreign.pem", Data: pemOf(a.dsc.Certificate().Raw)},
		trust.Material{Path: "DCC/Utopia/SCA/a.pem", Data: pemOf(a.sca.Key.Certificate().Raw)},
		trust.Material{Path: "README", Data: []byte("text")})
	listed, drops := trust.ListCertificates("folder", files)
	var reasons []string
	for _, d := range drops {
		reasons = append(reasons, d.Reason)
	}
	if want := []string{"bad-participant", "unexpected-file", "country-mismatch", "issuer-not-trusted"}; !slices.Equal(reasons, want) || len(listed) != 6 {
		t.Fatalf("%d listed, %+v", len(listed), drops)
	}

	for _, form := range []didlist.SignatureForm{didlist.FormDER, didlist.FormRS} {
		t.Run(string(form), func(t *testing.T) {
			p := trust.Publication{
				DID: "did:web:trust.example", Context: didlist.ContextUAT, KeyDID: "did:web:trust.example:signer",
				Signer: a.up.Signer, Random: rand.Reader, Form: form, Now: gatewayNow,
			}
			tree, expired, err := p.Tree(listed)
			if err != nil || len(expired) > 0 {
				t.Fatalf("%v, %+v", err, expired)
			}
			counts := map[string]int{}
			for _, path := range slices.Sorted(maps.Keys(tree)) {
				doc, err := didlist.Parse(tree[path])
				if err != nil {
					t.Fatalf("%s: %v", path, err)
				}
				if err := doc.VerifyProof(a.up.Signer.Public()); err != nil || doc.Proof.SignatureForm != form || !doc.Created.Equal(gatewayNow) {
					t.Errorf("%s: %v, %s", path, err, doc.Proof.SignatureForm)
				}
				if want := "did:web:trust.example:" + strings.ReplaceAll(strings.TrimSuffix(path, "/did.json"), "/", ":"); doc.ID != want {
					t.Errorf("%s is %s", path, doc.ID)
				}
				counts[path] = len(doc.Entries) + len(doc.References)
				for _, e := range doc.Entries {
					if e.Err != nil || len(e.Problems) > 0 {
						t.Errorf("%s: %s: %v %v", path, e.ID, e.Err, e.Problems)
					}
					if chain := len(e.Chain); chain != map[string]int{"SCA": 1, "DSC": 2}[e.KeyUsage] {
						t.Errorf("%s: %s: %d certificates", path, e.ID, chain)
					}
				}
				for _, r := range doc.References {
					target := strings.ReplaceAll(strings.TrimPrefix(r, "did:web:trust.example:"), ":", "/") + "/did.json"
					if tree[target] == nil {
						t.Errorf("%s names %s, which is not there", path, r)
					}
				}
			}
			for path, want := range map[string]int{
				"v2/trustlist/did.json": 6, "v2/trustlist/DCC/did.json": 4, "v2/trustlist/DCC/XXA/did.json": 2, "v2/trustlist/DCC/XXA/DSC/did.json": 1,
				"v2/trustlist/PH4H/-/DSC/did.json": 1, "v2/trustlist/-/XXA/did.json": 4, "v2/trustlist/-/XXA/SCA/did.json": 2, "v2/trustlist/-/-/DSC/did.json": 3,
				"v2/trustlist-ref/did.json": 2, "v2/trustlist-ref/DCC/did.json": 2, "v2/trustlist-ref/DCC/XXA/did.json": 2, "v2/trustlist-ref/DCC/XXA/DSC/did.json": 1,
				"v2/trustlist/PH4H/XXB/did.json": 0,
			} {
				if counts[path] != want {
					t.Errorf("%s holds %d, want %d", path, counts[path], want)
				}
			}

			// Read as any verifier reads it, under the pin and under no other.
			list := new(trust.List)
			if err := list.Add(trust.Source{Name: "did.json", Data: tree["v2/trustlist/did.json"], Pins: []crypto.PublicKey{a.up.Signer.Public()}}); err != nil || len(list.All()) != 3 {
				t.Errorf("%v, %d keys", err, len(list.All()))
			}
			if err := new(trust.List).Add(trust.Source{Name: "did.json", Data: tree["v2/trustlist/did.json"], Pins: []crypto.PublicKey{b.up.Signer.Public()}}); err == nil {
				t.Error("believed under another key")
			}
			// Of an entry that was moved to another domain nothing is left.
			moved := bytes.Replace(tree["v2/trustlist/did.json"], []byte(`"#PH4H"`), []byte(`"#DCC"`), 1)
			if !json.Valid(moved) || new(trust.List).Add(trust.Source{Name: "did.json", Data: moved, Pins: []crypto.PublicKey{a.up.Signer.Public()}}) == nil {
				t.Error("believed after a change")
			}
		})
	}

	t.Run("expired", func(t *testing.T) {
		p := trust.Publication{
			DID: "did:web:trust.example", Context: didlist.ContextProduction, KeyDID: "did:web:trust.example:signer",
			Signer: a.up.Signer, Random: rand.Reader, Form: didlist.FormDER, Now: gatewayNow.AddDate(3, 0, 0),
		}
		for _, keep := range []bool{false, true} {
			p.Expired = keep
			tree, expired, err := p.Tree(listed)
			if err != nil {
				t.Fatal(err)
			}
			doc, err := didlist.Parse(tree["v2/trustlist/did.json"])
			if err != nil || (len(doc.Entries) == 6) != keep || (len(expired) == 3) == keep {
				t.Errorf("kept %v: %d entries, %d expired, %v", keep, len(doc.Entries), len(expired), err)
			}
		}
	})
}
