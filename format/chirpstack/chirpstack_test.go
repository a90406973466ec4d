package chirpstack

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"ampoule/format/strictjson"
)

// event is as ChirpStack 4 sends it.
const event = `{"deduplicationId":"3ac7e3c4-4401-4b8d-9386-a5c902f9202d","time":"2026-02-14T04:50:03.123456+00:00",
 "deviceInfo":{"tenantId":"52f14cd4-c6f1-4fbd-8f87-4025e1d49242","tenantName":"Specimen","applicationId":"17c82e96-be03-4f38-aef3-f83d48582d97",
  "applicationName":"cold chain","deviceProfileId":"14855bf7-d10d-4aee-b618-ebfcb64dc7ad","deviceProfileName":"probe","deviceName":"fridge 1",
  "devEui":"0080E115000ABCDE","tags":{"site":"1"}},
 "devAddr":"00189440","adr":true,"dr":1,"fCnt":4,"fPort":2,"confirmed":false,"data":"AWcANQJoUQ==",
 "object":{"temperature":5.3,"in":{"battery":2.9}},
 "rxInfo":[{"gatewayId":"0016c001f153a14c","uplinkId":4217106255,"gwTime":"2026-02-14T04:50:03.1+00:00","rssi":-36,"snr":10.5,"context":"E3OWOQ=="}],
 "txInfo":{"frequency":867100000}}`

func TestParseUp(t *testing.T) {
	u, err := ParseUp([]byte(event))
	if err != nil {
		t.Fatal(err)
	}
	want := &Uplink{
		ID: "3ac7e3c4-4401-4b8d-9386-a5c902f9202d", Time: time.Date(2026, 2, 14, 4, 50, 3, 123456000, time.UTC), DevEUI: "0080e115000abcde",
		Name: "fridge 1", Profile: "probe", Counter: 4, Port: 2, Data: []byte{1, 0x67, 0, 0x35, 2, 0x68, 0x51},
		Gateways: []Gateway{{"0016c001f153a14c", -36, time.Date(2026, 2, 14, 4, 50, 3, 100000000, time.UTC)}},
	}
	if diff := cmp.Diff(want, u, cmpopts.IgnoreFields(Uplink{}, "Object")); diff != "" {
		t.Error(diff)
	}
	if n, ok := u.Object.Get("temperature").Number(); !ok || n != "5.3" {
		t.Errorf("%v", u.Object.Any())
	}
	// What is the default of its type may be missing.
	if u, err := ParseUp([]byte(`{"deviceInfo":{"devEui":"0080e115000abcde"}}`)); err != nil || !u.Time.IsZero() || u.Port != 0 || len(u.Data) != 0 {
		t.Errorf("%+v, %v", u, err)
	}
	for name, c := range map[string]struct {
		old, new string
		want     error
	}{
		"no JSON":         {`{"dedup`, `{`, strictjson.ErrMalformed},
		"no device":       {`"devEui"`, `"eui"`, ErrForm},
		"a short device":  {`0080E115000ABCDE`, `0080E115000ABCD`, ErrForm},
		"another device":  {`0080E115000ABCDE`, `0080E115000ABCDX`, ErrForm},
		"no base64":       {`AWcANQJoUQ==`, `AWcANQJoUQ=`, ErrData},
		"too much":        {`AWcANQJoUQ==`, strings.Repeat("AAAA", 81), ErrData},
		"port 256":        {`"fPort":2`, `"fPort":256`, ErrForm},
		"a counter below": {`"fCnt":4`, `"fCnt":-1`, ErrForm},
		"no time":         {`2026-02-14T04:50:03.123456+00:00`, `yesterday`, ErrForm},
		"a name of what":  {`"fridge 1"`, `1`, ErrForm},
	} {
		t.Run(name, func(t *testing.T) {
			if u, err := ParseUp([]byte(strings.Replace(event, c.old, c.new, 1))); !errors.Is(err, c.want) {
				t.Errorf("%+v, %v", u, err)
			}
		})
	}
	if _, err := ParseUp(make([]byte, MaxEvent+1)); !errors.Is(err, ErrSize) {
		t.Error(err)
	}
}

func TestDecodeLPP(t *testing.T) {
	for name, c := range map[string]struct {
		data string
		want []Measurement
		err  error
	}{
		"two temperatures":            {"03670110056700ff", []Measurement{{"3", "temperature", 0, 27200}, {"5", "temperature", 0, 25500}}, nil},
		"below zero, and others":      {"0167ffd7 0671 04d2fb2e0000 026851", []Measurement{{"1", "temperature", 0, -4100}, {"2", "humidity", 0, 40500}}, nil},
		"with the time of the device": {"01670035 0085 698ffd1b", []Measurement{{"1", "temperature", 0x698ffd1b, 5300}}, nil},
		"nothing":                     {"", nil, nil},
		"a byte alone":                {"01", nil, ErrData},
		"cut off":                     {"016700", nil, ErrData},
		"a type of no length":         {"01ff00", nil, ErrData},
	} {
		t.Run(name, func(t *testing.T) {
			data, err := hex.DecodeString(strings.ReplaceAll(c.data, " ", ""))
			if err != nil {
				t.Fatal(err)
			}
			got, err := DecodeLPP(data)
			if !errors.Is(err, c.err) {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCodecs(t *testing.T) {
	codecs, err := ParseCodecs([]byte(`[
	 {"name":"lpp","form":"cayenne-lpp"},
	 {"name":"probe","port":2,"form":"fixed","fields":[
	  {"sensor":"1","quantity":"temperature","at":2,"bytes":2,"signed":true,"little":true,"times":10,"none":32767},
	  {"sensor":"2","quantity":"temperature","at":4,"bytes":2,"signed":true,"times":1000,"by":16,"plus":-50},
	  {"sensor":"","quantity":"time","at":6,"bytes":4}]},
	 {"name":"server","form":"object","fields":[
	  {"sensor":"1","quantity":"temperature","path":"temperature","times":1000},
	  {"sensor":"1","quantity":"humidity","path":"humidity","times":1000},
	  {"sensor":"b","quantity":"battery","path":"in.battery","times":-100}]}]`))
	if err != nil {
		t.Fatal(err)
	}
	u, err := ParseUp([]byte(event))
	if err != nil {
		t.Fatal(err)
	}
	got, err := codecs[0].Decode(u)
	if diff := cmp.Diff([]Measurement{{"1", "temperature", 0, 5300}, {"2", "humidity", 0, 40500}}, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	got, err = codecs[2].Decode(u)
	if diff := cmp.Diff([]Measurement{{"1", "temperature", 0, 5300}, {"b", "battery", 0, -290}}, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	u.Data = []byte{0, 0, 0xf0, 0xff, 0, 0x50, 0x69, 0x8f, 0xfd, 0x1b}
	got, err = codecs[1].Decode(u)
	if diff := cmp.Diff([]Measurement{{"1", "temperature", 0x698ffd1b, -160}, {"2", "temperature", 0x698ffd1b, 4950}}, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	u.Data[2], u.Data[3] = 0xff, 0x7f // no reading
	if got, err = codecs[1].Decode(u); err != nil || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
	u.Data = u.Data[:9]
	if _, err = codecs[1].Decode(u); !errors.Is(err, ErrData) {
		t.Error(err)
	}
	u.Port = 3
	if _, err = codecs[1].Decode(u); !errors.Is(err, ErrCodec) {
		t.Error(err)
	}
	for name, text := range map[string]string{
		"no form":            `[{"name":"x"}]`,
		"LPP with fields":    `[{"form":"cayenne-lpp","fields":[{"quantity":"temperature"}]}]`,
		"no fields":          `[{"form":"fixed"}]`,
		"five bytes":         `[{"form":"fixed","fields":[{"quantity":"temperature","bytes":5}]}]`,
		"before the first":   `[{"form":"fixed","fields":[{"quantity":"temperature","at":-1,"bytes":1}]}]`,
		"behind the last":    `[{"form":"fixed","fields":[{"quantity":"temperature","at":242,"bytes":1}]}]`,
		"a path in bytes":    `[{"form":"fixed","fields":[{"quantity":"temperature","bytes":1,"path":"x"}]}]`,
		"no path":            `[{"form":"object","fields":[{"quantity":"temperature"}]}]`,
		"no quantity":        `[{"form":"object","fields":[{"path":"x"}]}]`,
		"divided by nothing": `[{"form":"object","fields":[{"quantity":"temperature","path":"x","by":-1}]}]`,
	} {
		if _, err := ParseCodecs([]byte(text)); !errors.Is(err, ErrCodec) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ParseCodecs([]byte(`[{"form":"packed","colour":1}]`)); err == nil {
		t.Error("an unknown member is passed over")
	}
}

func TestPacked(t *testing.T) {
	readings := []Measurement{{"3", "temperature", 1771044600, 5120}, {"3", "temperature", 1771045500, 5080}, {"3", "temperature", 1771047300, 6350}}
	data, ok := AppendPacked(nil, 3, 900, readings)
	if !ok || hex.EncodeToString(data) != "0103698ffef803840200fc807f" {
		t.Fatalf("%x, %v", data, ok)
	}
	for name, other := range map[string][]Measurement{
		"none":                   nil,
		"thousandths":            {{At: 0, Value: 1}},
		"too cold":               {{At: 0, Value: -327690}},
		"too steep":              {{At: 0, Value: 0}, {At: 900, Value: 1280}},
		"the mark of no reading": {{At: 0, Value: 0}, {At: 900, Value: -1280}},
		"at another distance":    {{At: 0, Value: 0}, {At: 901, Value: 0}},
		"backwards":              {{At: 900, Value: 0}, {At: 0, Value: 0}},
		"a long gap":             {{At: 0, Value: 0}, {At: 900 * 240, Value: 0}},
		"before 1970":            {{At: -900, Value: 0}},
	} {
		if data, ok := AppendPacked(nil, 3, 900, other); ok {
			t.Errorf("%s: %x", name, data)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		at, value := rapid.Int64Range(0, 1<<31).Draw(t, "at"), rapid.Int32Range(-10000, 10000).Draw(t, "first")
		var readings []Measurement
		for range rapid.IntRange(1, 60).Draw(t, "n") {
			readings = append(readings, Measurement{"7", "temperature", at, value * 10})
			at += 60 * rapid.Int64Range(1, 3).Draw(t, "gap")
			value += rapid.Int32Range(-127, 127).Draw(t, "step")
		}
		data, ok := AppendPacked(nil, 7, 60, readings)
		if !ok {
			t.Fatal("does not fit")
		}
		got, err := DecodePacked(data)
		if diff := cmp.Diff(readings, got); diff != "" || err != nil {
			t.Fatal(diff, err)
		}
	})
	for _, data := range [][]byte{nil, make([]byte, 10), data[:9], {1, 0, 0, 0, 0, 0, 0, 0, 0, 0}} {
		if _, err := DecodePacked(data); !errors.Is(err, ErrData) {
			t.Errorf("%x: %v", data, err)
		}
	}
}

func FuzzParseUp(f *testing.F) {
	f.Add([]byte(event))
	f.Fuzz(func(t *testing.T, data []byte) {
		u, err := ParseUp(data)
		if err != nil {
			return
		}
		for _, form := range []Form{LPP, Packed} {
			_, _ = (&Codec{Form: form}).Decode(u)
		}
	})
}

func FuzzPayload(f *testing.F) {
	f.Add([]byte{1, 0x67, 0, 0x35})
	f.Add([]byte{1, 3, 0x69, 0x8f, 0xfe, 0xf8, 3, 0x84, 2, 0, 0xfc, 0x80, 0x7f})
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = DecodeLPP(data)
		_, _ = DecodePacked(data)
	})
}

func FuzzParseCodecs(f *testing.F) {
	f.Add([]byte(`[{"form":"fixed","fields":[{"quantity":"temperature","at":2,"bytes":2,"times":-5}]}]`), []byte{1, 2, 3, 4})
	f.Fuzz(func(t *testing.T, data, payload []byte) {
		codecs, err := ParseCodecs(data)
		if err != nil {
			return
		}
		for _, c := range codecs {
			_, _ = c.Decode(&Uplink{Data: payload, Port: c.Port})
		}
	})
}
