package issuer

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"ampoule/cert"
	"ampoule/format/dccrevocation"
)

// TestID: identifiers sort by the moment they were made, and read back.
func TestID(t *testing.T) {
	var last ID
	for n := range 1000 {
		id, err := NewID(today.Add(time.Duration(n)*time.Microsecond), nil)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Compare(last[:], id[:]) >= 0 {
			t.Fatalf("%s after %s", id, last)
		}
		if id[6]>>4 != 7 || id[8]>>6 != 2 {
			t.Errorf("%s is no UUIDv7", id)
		}
		read, err := ParseID(id.String())
		if err != nil || read != id {
			t.Errorf("%s, %v", read, err)
		}
		last = id
	}
	for _, text := range []string{"", "01a19716c7d870009951-01e14b296c5d", "01a19716-c7d8-7000-9951-01e14b296c5", "01a19716-c7d8-7000-9951-01e14b296cxx", "01a19716_c7d8_7000_9951_01e14b296c5d"} {
		if _, err := ParseID(text); err == nil {
			t.Errorf("%q was read", text)
		}
	}
}

// TestNameKey: spellings that mean one name are one, others are not.
func TestNameKey(t *testing.T) {
	for _, tt := range []struct {
		a, b cert.Name
		same bool
	}{
		{cert.Name{Family: "Spécimen", Given: "Ada"}, cert.Name{Full: "ADA SPECIMEN"}, true},
		{cert.Name{Family: "Spécimen", Given: "Ada"}, cert.Name{FamilyMRZ: "SPECIMEN", GivenMRZ: "ADA"}, true},
		{cert.Name{Family: "O'Specimen-Demo", Given: "Ada"}, cert.Name{Full: "Ada Ospecimen Demo"}, true},
		{cert.Name{Family: "Größe", Given: "Ada"}, cert.Name{Full: "Ada Groesse"}, true},
		{cert.Name{Family: "日本", Given: "花子"}, cert.Name{Full: "花子 日本"}, true},
		{cert.Name{Family: "日本", Given: "花子"}, cert.Name{Full: "日本"}, false},
		{cert.Name{Family: "Specimen", Given: "Ada"}, cert.Name{Full: "Ada"}, false},
		{cert.Name{Family: "Specimen", Given: "Ada"}, cert.Name{Full: "Adaspecimen"}, false},
	} {
		if a, b := nameKey(tt.a), nameKey(tt.b); (a == b) != tt.same || a == "" {
			t.Errorf("%q and %q; the same: %v", a, b, tt.same)
		}
	}
	if k := nameKey(cert.Name{}); k != "" {
		t.Errorf("%q for no name", k)
	}
}

// TestBatches: batches fill up to what the gateway takes, grow at their end, and
// stay where they are when one of theirs is reinstated.
func TestBatches(t *testing.T) {
	r := &Registry{Country: "XA"}
	l := Listed{Scheme: SchemeSignature, KID: []byte("kid-8--x")}
	for change := int64(1); change <= 1000; change++ {
		for format := range 3 {
			mark := make([]byte, 16)
			mark[0], mark[1], mark[2] = byte(change), byte(change>>8), byte(format)
			l.Items = append(l.Items, ListedItem{Change: change, Mark: mark, Expires: today.Add(time.Duration(change) * time.Hour)})
		}
	}
	l.Items[0].Expires = time.Time{}
	read := func(l Listed) (raw []json.RawMessage, batches []dccrevocation.Batch) {
		t.Helper()
		data, err := r.batches(l)
		if err != nil {
			t.Fatal(err)
		}
		if batches, err = dccrevocation.Parse(data); err != nil {
			t.Fatal(err)
		}
		var outer struct{ Batches []json.RawMessage }
		if err := json.Unmarshal(data, &outer); err != nil {
			t.Fatal(err)
		}
		return outer.Batches, batches
	}
	raw, batches := read(l)
	total := 0
	for i, b := range batches {
		total += len(b.Hashes)
		if i < 3 && len(b.Hashes) != 3*changesPerBatch {
			t.Errorf("batch %d has %d", i, len(b.Hashes))
		}
	}
	if total != 3000 || len(batches) != 4 || !batches[0].Expires.Equal(noEnd) || !batches[1].Expires.Equal(today.Add(2*changesPerBatch*time.Hour)) {
		t.Errorf("%d hashes in %d batches until %s, %s", total, len(batches), batches[0].Expires, batches[1].Expires)
	}
	// One more at the end, one in the middle less.
	more := l
	more.Items = append(more.Items[:len(more.Items):len(more.Items)], ListedItem{Change: 1001, Mark: make([]byte, 16), Expires: today})
	less := l
	less.Items = append(append([]ListedItem(nil), l.Items[:1500]...), l.Items[1503:]...)
	longer, _ := read(more)
	shorter, _ := read(less)
	for i := range raw {
		if bytes.Equal(raw[i], longer[i]) != (i < 3) {
			t.Errorf("one more: batch %d", i)
		}
		if bytes.Equal(raw[i], shorter[i]) != (i != 1) {
			t.Errorf("one less: batch %d", i)
		}
	}
	if none, _ := read(Listed{KID: l.KID}); len(none) != 0 {
		t.Errorf("%d batches of nothing", len(none))
	}
	l.Items[0].Mark = nil
	if _, err := r.batches(l); err == nil {
		t.Error("a hash of no length")
	}
}
