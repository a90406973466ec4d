package bundle

import (
	"bytes"
	"encoding/pem"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"ampoule/thing"
)

var update = flag.Bool("update", false, "make the examples of the specification anew")

const examples = "../docs/spec/examples"

// TestExamples: the examples of docs/spec are what is written there, and open.
func TestExamples(t *testing.T) {
	// An Ed25519 key, whose signatures are of one form.
	signer := roots()[1]
	signer.From, signer.Until = time.Unix(1767225600, 0), time.Unix(1924991999, 0)
	authority := newRegulator(t)
	if *update {
		first := bare(t, func(in *Input) {
			in.Issued, in.Next = time.Unix(1772366400, 0), time.Unix(1772971200, 0)
			r, err := signer.Root()
			if err != nil {
				t.Fatal(err)
			}
			in.Signers = []Root{r}
			in.Documents = []Document{
				{Kind: Status, Name: "crl.json", Data: []byte(specimenCRL)},
				{Kind: "log-checkpoint", Optional: true, Name: "checkpoint.cbor", Data: []byte{0x80}},
			}
		})
		file := sealed(t, first, signer)
		opened, err := Open(file, first.Signers, first.Issued)
		if err != nil {
			t.Fatal(err)
		}
		second := first
		second.Previous, second.Issued = opened, first.Issued.Add(time.Hour)
		delta, err := Delta(file, sealed(t, second, signer))
		if err != nil {
			t.Fatal(err)
		}
		root, err := EncodeRoots(first.Signers...)
		if err != nil {
			t.Fatal(err)
		}
		line := thing.AppendLine(nil, authority.recall(t, "AB-12", thing.Product{Code: "DEMO-YF-0001", System: "https://specimen.invalid/products"}, first.Issued))
		certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.der})
		for name, data := range map[string][]byte{
			"bundle.cbor": file, "bundle-2.delta": delta, "bundle-root.pem": root, "lot-statement.txt": line, "lot-authority.pem": certificate,
		} {
			if err := os.WriteFile(filepath.Join(examples, name), data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	read := func(name string) []byte {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(examples, name))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	roots, err := ParseRoots(read("bundle-root.pem"))
	if err != nil {
		t.Fatal(err)
	}
	kept, err := Accept(nil, read("bundle.cbor"), roots, DefaultShrink, noon)
	if err != nil {
		t.Fatal(err)
	}
	d := kept.Documents
	if kept.Serial != 1 || kept.Issued.Unix() != 1772366400 || kept.Next.Unix() != 1772971200 || kept.Maker != "XXA" ||
		kept.Roots[0].From.Unix() != 1767225600 || kept.Roots[0].Until.Unix() != 1924991999 ||
		len(d) != 2 || d[0].Kind != Status || d[0].Name != "crl.json" || !bytes.HasPrefix(d[0].Data, []byte{0x7b, 0x22}) ||
		d[1].Kind != "log-checkpoint" || !d[1].Optional || !bytes.Equal(d[1].Data, []byte{0x80}) {
		t.Errorf("%+v", kept.Bundle)
	}
	file, err := Apply(read("bundle.cbor"), read("bundle-2.delta"))
	if err != nil {
		t.Fatal(err)
	}
	if next, err := Accept(kept, file, nil, DefaultShrink, noon.Add(time.Hour)); err != nil || next.Serial != 2 {
		t.Errorf("%v", err)
	}

	block, _ := pem.Decode(read("lot-authority.pem"))
	key, err := thing.NewLotKey(thing.Regulator, "XXA", "", block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	lots := new(thing.LotList)
	if err := lots.Add("lot-statement.txt", read("lot-statement.txt"), thing.LotKeys{key}, noon.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if e := lots.Entries(); len(e) != 1 || e[0].Refused != nil || e[0].Statement.Lot != "AB-12" || e[0].Statement.Value != thing.Recalled || e[0].Statement.Issued.Unix() != 1772366400 {
		t.Errorf("%+v", e)
	}
}
