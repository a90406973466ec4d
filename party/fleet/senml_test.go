package fleet

import (
	"encoding/hex"
	"errors"
	"testing"
	"time"

	"ampoule/device"
	"ampoule/format"
	"ampoule/format/oid"
	"ampoule/format/senml"
)

func TestFromSenML(t *testing.T) {
	self, err := oid.Parse("2.25.77")
	if err != nil {
		t.Fatal(err)
	}
	gateway, itself := Source{Supplier: "gw"}, Source{Device: self}
	for _, tt := range []struct {
		name   string
		source Source
		pack   string
		want   string // lines
		find   string // the only finding
		err    error
	}{
		{"a MAC address", gateway, `[{"bn":"urn:dev:mac:0024befffe804ff1/","bt":1800000000,"n":"TVC","u":"Cel","v":4.5},{"n":"TVC","u":"Cel","t":60,"v":4.75}]`, "dev-eui:0024befffe804ff1 TVC temperature 60 1800000000=4500 1800000060=4750\n", "", nil},
		{"1-Wire, sensor behind an underscore", gateway, `[{"n":"urn:dev:ow:10E2073a01080063_t","t":1800000000,"u":"K","v":278.15}]`, "serial:1-wire/10e2073a01080063 t temperature 0 1800000000=5000\n", "", nil},
		{"enterprise number", gateway, `[{"n":"urn:dev:os:32473-A.1:hum","t":1800000000,"u":"%RH","v":51.5}]`, "serial:PEN32473/A.1 hum humidity 0 1800000000=51500\n", "", nil},
		{"product and serial number", gateway, `[{"n":"urn:dev:ops:32473-Product-1","t":1800000000.9,"u":"Cel","v":-0.5}]`, "serial:PEN32473/Product-1 1 temperature 0 1800000000=-500\n", "", nil},
		{"an object identifier", gateway, `[{"n":"urn:oid:2.25.9/DORV","t":1800000000,"u":"min","v":2}]`, "oid:2.25.9 DORV door 0 1800000000=120\n", "", nil},
		{"a name of the gateway's", gateway, `[{"n":"fridge7/compressor","t":1800000000,"u":"s","v":30}]`, "local:gw/fridge7 compressor compressor 0 1800000000=30\n", "", nil},
		{"a name below a device", itself, `[{"n":"probe2/TVC","t":1800000000,"u":"Cel","v":3}]`, "local:2.25.77/probe2 TVC temperature 0 1800000000=3000\n", "", nil},
		{"a sensor of the device", itself, `[{"n":"TVC","t":1800000000,"u":"Cel","v":3},{"n":"battery","t":1800000000,"u":"EL","v":43200}]`, "oid:2.25.77 TVC temperature 0 1800000000=3000\noid:2.25.77 battery battery 0 1800000000=500\n", "", nil},
		{"a sensor of nobody", gateway, `[{"n":"TVC","t":1800000000,"u":"Cel","v":3}]`, "", "", ErrNoName},
		{"a URN of no device", gateway, `[{"n":"urn:isbn:1/TVC","t":1800000000,"u":"Cel","v":3}]`, "", "", ErrNoName},
		{"another unit beside", itself, `[{"n":"a","t":1800000000,"u":"Cel","v":3},{"n":"b","t":1800000000,"u":"lx","v":3}]`, "oid:2.25.77 a temperature 0 1800000000=3000\n", `[1].u "lx" unit-unknown`, nil},
		{"another unit alone", itself, `[{"n":"b","t":1800000000,"u":"Far","v":3}]`, "", "", ErrUnit},
		{"no unit", itself, `[{"n":"TVC","t":1800000000,"v":3}]`, "", "", ErrUnit},
		{"seconds of something", itself, `[{"n":"x","t":1800000000,"u":"s","v":3}]`, "", "", ErrQuantity},
		{"no number", itself, `[{"n":"DORV","t":1800000000,"u":"s","vb":true}]`, "", "", ErrNoValue},
		{"no time", itself, `[{"n":"TVC","u":"Cel","v":3}]`, "", "", ErrNoTime},
		{"out of bounds", itself, `[{"n":"TVC","u":"Cel","t":1800000000,"v":1e9}]`, "", "", format.BadValue},
		{"two quantities under one name", itself, `[{"n":"x","u":"Cel","t":1800000000,"v":1},{"n":"x","u":"%RH","t":1800000000,"v":1}]`, "oid:2.25.77 x temperature 0 1800000000=1000\n", "[1] bad-value", nil},
		{"no pack", itself, `{}`, "", "", senml.ErrForm},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, err := FromSenML(tt.source, senml.JSONType, []byte(tt.pack), time.Time{})
			if !errors.Is(err, tt.err) || err != nil && tt.err == nil {
				t.Fatalf("%v, want %v", err, tt.err)
			}
			if err != nil {
				return
			}
			find := ""
			for _, f := range d.Findings {
				find += f.Path + " " + string(f.Reason)
			}
			if got := lines(d.Series); got != tt.want || find != tt.find {
				t.Errorf("%s%s", got, find)
			}
		})
	}
	t.Run("received", func(t *testing.T) {
		d, err := FromSenML(itself, senml.JSONType, []byte(`[{"n":"TVC","u":"Cel","t":-60,"v":3},{"n":"TVC","u":"Cel","v":4}]`), time.Unix(1_800_000_000, 0))
		if err != nil || lines(d.Series) != "oid:2.25.77 TVC temperature 60 1799999940=3000 1800000000=4000\n" {
			t.Error(d, err)
		}
	})
	t.Run("CBOR", func(t *testing.T) {
		// [{-2: "urn:dev:mac:0024befffe804ff1", 6: 1800000000, 1: "Cel", 2: 4.5}]
		body, err := hex.DecodeString("81a4" + "21781c" + hex.EncodeToString([]byte("urn:dev:mac:0024befffe804ff1")) + "061a6b49d200" + "016343656c" + "02f94480")
		if err != nil {
			t.Fatal(err)
		}
		d, err := FromSenML(gateway, senml.CBORType, body, time.Time{})
		if err != nil || lines(d.Series) != "dev-eui:0024befffe804ff1 1 temperature 0 1800000000=4500\n" || d.Media != senml.CBORType {
			t.Error(d, err)
		}
	})
	if _, err := FromSenML(itself, "text/plain", nil, time.Time{}); !errors.Is(err, ErrMedia) {
		t.Error(err)
	}
}

func FuzzFromSenML(f *testing.F) {
	f.Add([]byte(`[{"bn":"urn:dev:ow:10e2073a01080063:","bt":1.8e9,"bu":"Cel","n":"t","v":4.5},{"n":"t","t":60,"v":4.75}]`), true)
	f.Add([]byte(`[{"bn":"urn:oid:2.25.1","u":"s","n":"/DORV","v":4},{"n":"_SVA","u":"min","v":5}]`), false)
	f.Fuzz(func(t *testing.T, body []byte, received bool) {
		var at time.Time
		if received {
			at = time.Unix(1_800_000_000, 0)
		}
		for _, media := range []string{senml.JSONType, senml.CBORType} {
			if d, err := FromSenML(Source{Supplier: "gw", Level: device.LevelToken}, media, body, at); err == nil {
				well(t, d)
			}
		}
	})
}
