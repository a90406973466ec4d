package thread

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"ampoule/coldchain"
	"ampoule/format"
	"ampoule/format/cose"
	"ampoule/format/strictjson"
)

func least() *Thread {
	return &Thread{
		Made: time.Date(2026, 10, 20, 0, 0, 0, 0, time.UTC), By: "moh", Service: [][]byte{{1}}, Lot: "https://id.gs1.org/01/09521321123458/10/SPEC",
		Place: "https://id.gs1.org/414/9521321000032", Events: []Event{}, Places: []Place{}, Legs: []Leg{}, Statements: [][]byte{}, Withheld: []string{},
		Assessment: coldchain.Assess(nil, coldchain.Bearing{}),
	}
}

// TestParse: what is not in the one form, or beyond its bounds, is no thread.
func TestParse(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(payload []byte) []byte {
		file, err := cose.SignSingle(rand.Reader, payload, key)
		if err != nil {
			t.Fatal(err)
		}
		return file
	}
	file, err := least().Sign(rand.Reader, key)
	if err != nil {
		t.Fatal(err)
	}
	read, err := Parse(file)
	if err != nil || read.By != "moh" {
		t.Fatal(err)
	}
	payload := []byte(read.message.Payload)
	swap := func(old, with string) []byte {
		out := bytes.Replace(payload, []byte(old), []byte(with), 1)
		if bytes.Equal(out, payload) {
			t.Fatalf("%s is not there", old)
		}
		return sign(out)
	}
	for name, c := range map[string]struct {
		data []byte
		want error
	}{
		"nothing":                {nil, nil},
		"no COSE":                {payload, nil},
		"cut":                    {file[:len(file)-1], nil},
		"more":                   {append(bytes.Clone(file), 0), nil},
		"another form":           {swap(`"form":1`, `"form":2`), ErrNotThread},
		"another document":       {swap(`"ampoule thread"`, `"ampoule"`), ErrNotThread},
		"a member of nobody's":   {swap(`"form":1`, `"form":1,"extra":1`), strictjson.ErrMalformed},
		"a member twice":         {swap(`"form":1`, `"form":1,"form":1`), nil},
		"white space":            {swap(`"form":1`, `"form": 1`), cose.ErrNotDeterministic},
		"a leaf of other length": {swap(`"events":[]`, `"certificate":{"format":"x","leaf":"AA=="},"events":[]`), ErrField},
		"nobody signed":          {swap(`"service":["AQ=="]`, `"service":[]`), ErrField},
		"withheld by no word":    {swap(`"withheld":[]`, `"withheld":["people"]`), ErrField},
		"hidden characters":      {swap(`"by":"moh"`, `"by":"m\u202eoh"`), nil},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(c.data)
			if err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
			if format.Reason(err, "") == "" {
				t.Errorf("%v names no defect", err)
			}
		})
	}
}

// TestDeviceName reads the names by which events know devices.
func TestDeviceName(t *testing.T) {
	for uri, want := range map[string]string{
		"https://id.gs1.org/8004/9521321LOG1":  "giai:9521321LOG1",
		"urn:epc:id:giai:9521321.LOG1":         "giai:9521321LOG1",
		"https://id.gs1.org/414/9521321000032": "",
		"urn:epc:id:nothing:1":                 "",
		"urn:uuid:1":                           "",
	} {
		n, ok := DeviceName(uri)
		if ok != (want != "") || ok && n.String() != want {
			t.Errorf("%s: %s, %v", uri, n, ok)
		}
	}
}

func FuzzParse(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	file, err := least().Sign(rand.Reader, key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(nil), []byte(nil))
	f.Add(file, []byte(`{"thread":"ampoule thread","form":1}`))
	f.Fuzz(func(t *testing.T, data, payload []byte) {
		if json.Valid(payload) {
			if signed, err := cose.SignSingle(rand.Reader, payload, key); err == nil {
				data = signed
			}
		}
		s, err := Parse(data)
		if err != nil {
			return
		}
		s.Check(Options{At: time.Unix(1_800_000_000, 0)})
		again, err := s.Thread.Sign(rand.Reader, key)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := Parse(again); err != nil || b.message.Payload != s.message.Payload {
			t.Errorf("it does not write what it read: %v", err)
		}
	})
}
