package deviceapi

import (
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"testing"

	"ampoule/device"
)

// TestRegisterTwice: a register has one name, so that no two values can be of one.
func TestRegisterTwice(t *testing.T) {
	value := hex.EncodeToString(make([]byte, len(device.Hash{})))
	for _, tt := range []struct {
		registers string
		good      bool
	}{
		{`{"0":"` + value + `","7":"` + value + `"}`, true},
		{`{"0":"` + value + `","00":"` + value + `"}`, false},
		{`{"07":"` + value + `"}`, false},
		{`{"256":"` + value + `"}`, false},
		{`{"0":"` + value[2:] + `"}`, false},
	} {
		if _, p := readAttestation("application/json", []byte(`{"registers":`+tt.registers+`}`)); (p == nil) != tt.good {
			t.Errorf("%s: %v", tt.registers, p)
		}
	}
}

// FuzzReadAttestation: a body is read, or there is a problem, and what was read is the same
// when it is written and read again.
func FuzzReadAttestation(f *testing.F) {
	f.Add("application/json", []byte(`{"attest":"AQI=","signature":"Aw==","registers":{"0":"`+hex.EncodeToString(make([]byte, len(device.Hash{})))+`"}}`))
	f.Add("application/json; charset=utf-8", []byte(`{"attest":"","signature":null,"registers":{"256":"00"}}`))
	f.Add(mediaEAT, []byte{0xd2, 0x84})
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		a, p := readAttestation(contentType, body)
		if (a == nil) == (p == nil) {
			t.Fatalf("%v and %v", a, p)
		}
		if a == nil {
			return
		}
		if a.Token != nil {
			if !slices.Equal(a.Token, body) || a.Message != nil {
				t.Fatal("a token was changed")
			}
			return
		}
		if len(a.Registers) > 256 {
			t.Fatalf("%d registers", len(a.Registers))
		}
		registers := map[string]string{}
		for n, h := range a.Registers {
			registers[strconv.Itoa(n)] = hex.EncodeToString(h[:])
		}
		again, err := json.Marshal(map[string]any{"attest": a.Message, "signature": a.Signature, "registers": registers})
		if err != nil {
			t.Fatal(err)
		}
		b, p := readAttestation("application/json", again)
		if p != nil || !slices.Equal(a.Message, b.Message) || !slices.Equal(a.Signature, b.Signature) || !maps.Equal(a.Registers, b.Registers) {
			t.Fatalf("%s: %v, %+v", again, p, b)
		}
	})
}
