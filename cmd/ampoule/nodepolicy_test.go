package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"testing"

	"ampoule/internal/keys"
	"ampoule/internal/ledgertest"
)

// FuzzNotaryKeys: what is taken is written as the same bytes, and can stand in a
// policy.
func FuzzNotaryKeys(f *testing.F) {
	cosigner, err := keys.NewCosigner(rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	known := &notaryKeys{
		OID: ledgertest.OID("9.1"), Code: "XA", Log: ledgertest.Ed25519("log 1").Public(), Cosigner: cosigner.Public(), Receipts: ledgertest.ES256("notary").Public(),
	}
	told, err := known.encode()
	if err != nil {
		f.Fatal(err)
	}
	if _, err := parseNotaryKeys(told); err != nil {
		f.Fatal(err)
	}
	f.Add(told)
	f.Add(bytes.Replace(told, []byte(" XA"), []byte(" X\tA"), 1))
	f.Add(bytes.Replace(told, []byte(" XA"), []byte(" +"), 1))
	f.Fuzz(func(t *testing.T, data []byte) {
		k, err := parseNotaryKeys(data)
		if err != nil {
			return
		}
		if again, err := k.encode(); err != nil || !bytes.Equal(again, data) {
			t.Errorf("%q becomes %q, %v", data, again, err)
		}
		if _, err := policyText(ledgertest.OID("9"), []*notaryKeys{k}, nil); err != nil {
			t.Errorf("%q: %v", data, err)
		}
	})
}

// FuzzParams: all parameters are there, or none is taken.
func FuzzParams(f *testing.F) {
	f.Add([]byte(`{"maxLife": 1000}`))
	f.Add([]byte(`{"maxLife":1,"blockBytes":2,"blockWork":3,"reserved":4,"quotaWindow":5,"quotaTxs":6,"quotaBytes":7,"quotaUrgent":8,"epochBlocks":9,` +
		`"voteSeconds":10,"emergencySeconds":11,"emergencyMembers":12,"openProposals":13,"minClass":14}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := parseParams(data)
		if err != nil {
			return
		}
		var given map[string]uint64
		if err := json.Unmarshal(data, &given); err != nil || len(given) != 14 || given["minClass"] != p.MinClass || given["maxLife"] != p.MaxLife {
			t.Errorf("%s: %+v, %v", data, p, err)
		}
	})
}
