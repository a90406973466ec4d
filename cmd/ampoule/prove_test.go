package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"log/slog"
	"slices"
	"testing"
	"time"

	"ampoule/coldchain"
	"ampoule/device"
	"ampoule/ledger/tlog"
	"ampoule/party/fleet"
)

// damaged is a book in which one byte of a segment is another.
type damaged struct {
	fleet.Book
	seq uint64 // 0: none
}

func (b damaged) Segments(ctx context.Context, stream int64, o fleet.Origin, from uint64, limit int) ([]fleet.Block, error) {
	all, err := b.Book.Segments(ctx, stream, o, from, limit)
	for i := range all {
		if all[i].Seq == b.seq {
			all[i].Data = bytes.Clone(all[i].Data)
			all[i].Data[len(all[i].Data)/2] ^= 1
		}
	}
	return all, err
}

// TestProver: what a refrigerator measured is proven by its segments, under their root;
// what is unsigned is counted, and a segment that was changed, or whose signer nobody
// stands for, is told.
func TestProver(t *testing.T) {
	k := newFleetKit(t)
	must := func(err error) { t.Helper(); must(t, err) }
	now, authority, service, kid, book := k.now, k.authority, k.service, k.kid, k.book
	clock := now
	open := func(seq uint64) *fleet.Fleet {
		return &fleet.Fleet{Book: damaged{book, seq}, Signer: service.Signer, KID: kid, Now: func() time.Time { return clock }, Log: slog.New(slog.DiscardHandler)}
	}
	f := open(0)
	by := fleet.Actor{ID: "specimen", Within: fleet.Place{Organisation: "moh"}}
	fridge := &fleet.Equipment{Place: by.Within, Name: "fridge", Kind: fleet.Fridge, Silence: 900, Lost: 6 * 3600}
	terms, _ := coldchain.TermsOf("refrigerated")
	must(f.PutEquipment(t.Context(), by, fridge, terms))
	name, err := device.NewName(device.Serial, "Specimen/1")
	must(err)
	d := &fleet.Device{Place: by.Within, Names: []device.Name{name}, Supplier: "supplier"}
	must(f.Register(t.Context(), by, d))
	d, err = f.Move(t.Context(), by, d.ID, "", fridge.ID, now.Unix())
	must(err)
	// Three times as many as a segment is closed at, and some that wait.
	const n, step = 3*device.SealSize + 10, 60
	for part := range 4 {
		var readings []device.Reading
		for i := part * device.SealSize; i < min(n, (part+1)*device.SealSize); i++ {
			readings = append(readings, device.Reading{At: now.Unix() + int64(i)*step, Value: 5000 + int32(i%7)})
		}
		clock = now.Add(time.Duration((part+1)*device.SealSize*step) * time.Second)
		_, err := f.Ingest(t.Context(), &fleet.Delivery{Source: fleet.Source{Supplier: "supplier", Level: device.LevelToken, Organisation: "moh"}, Series: []fleet.Series{{Device: name, Sensor: "TVC", Quantity: device.Temperature, Interval: step, Readings: readings}}})
		must(err)
		for range 2 {
			for more := true; more; {
				more, err = f.Evaluate(t.Context())
				must(err)
			}
			_, err = f.Seal(t.Context())
			must(err)
		}
	}
	roots, own := x509.NewCertPool(), [][]byte{service.Certificate().Raw, authority.Certificate().Raw}
	roots.AddCert(authority.Certificate())
	stream, err := book.StreamsOf(t.Context(), d.ID)
	must(err)
	blocks, err := book.Segments(t.Context(), stream[0].N, fleet.Sealed, 1, 10)
	must(err)
	if len(blocks) != 3 {
		t.Fatalf("%d segments", len(blocks))
	}
	var leaves []tlog.Hash
	for _, b := range blocks {
		leaves = append(leaves, tlog.LeafHash(b.Hash[:]))
	}
	end := now.Unix() + n*step
	prove := func(f *fleet.Fleet, roots *x509.CertPool, from, until int64) fleet.Proof {
		t.Helper()
		found, err := f.Prover(own, roots).Inside(t.Context(), fridge.ID, from, until)
		must(err)
		if len(found) != 1 {
			t.Fatalf("%+v", found)
		}
		return found[0]
	}
	whole := prove(f, roots, now.Unix(), end)
	if whole.Segments != 3 || whole.Readings != 3*device.SealSize || whole.Unsigned != 10 || len(whole.Findings) != 0 || whole.Root != tlog.NewTree(leaves).Root() ||
		!bytes.Equal(whole.Signer, kid) || whole.From != now.Unix() || whole.Until != now.Unix()+(3*device.SealSize-1)*step || whole.Device != d.ID {
		t.Errorf("%+v", whole)
	}
	// A time within the second segment takes it alone.
	middle := now.Unix() + (device.SealSize+device.SealSize/2)*step
	if part := prove(f, roots, middle, middle+step); part.Segments != 1 || part.Root != leaves[1] || part.Unsigned != 0 {
		t.Errorf("%+v", part)
	}
	reasons := func(p fleet.Proof) (words []string) {
		for _, x := range p.Findings {
			words = append(words, string(x.Reason))
		}
		return words
	}
	if p := prove(open(2), roots, now.Unix(), end); len(p.Findings) == 0 {
		t.Errorf("a segment that was changed: %+v", p)
	}
	if p := prove(f, x509.NewCertPool(), now.Unix(), end); !slices.Contains(reasons(p), string(device.ErrUntrusted)) {
		t.Errorf("under no root: %v", reasons(p))
	}
	// What measured elsewhere, or nobody has, proves nothing.
	for name, ask := range map[string]func() ([]fleet.Proof, error){
		"other equipment": func() ([]fleet.Proof, error) {
			return f.Prover(own, roots).Inside(t.Context(), "none", now.Unix(), end)
		},
		"another time": func() ([]fleet.Proof, error) {
			return f.Prover(own, roots).Inside(t.Context(), fridge.ID, now.Unix()-1e7, now.Unix()-1e6)
		},
		"no such device": func() ([]fleet.Proof, error) {
			return f.Prover(own, roots).Along(t.Context(), device.Name{Scheme: device.GIAI, Value: "9521321X"}, now.Unix(), end)
		},
	} {
		if found, err := ask(); err != nil || len(found) != 0 {
			t.Errorf("%s: %+v, %v", name, found, err)
		}
	}
	if found, err := f.Prover(own, roots).Along(t.Context(), name, now.Unix(), end); err != nil || len(found) != 1 || found[0].Segments != 3 {
		t.Errorf("along: %+v, %v", found, err)
	}
}
