// Package chirpstack reads what the LoRaWAN network server ChirpStack (version 4) tells
// an application: its "up" events in JSON, and what devices put into the few bytes of
// an uplink, by codecs that are tables and not programs.
//
// An uplink has the time at which the network received it. The time at which something
// was measured is the device's to say, and few do; it is never taken from the network.
package chirpstack

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"

	"ampoule/format"
	"ampoule/format/strictjson"
)

// The kinds of defect.
const (
	ErrSize  format.Defect = "too-large"
	ErrForm  format.Defect = "no-uplink"
	ErrData  format.Defect = "bad-payload"
	ErrCodec format.Defect = "bad-codec"
	ErrRange format.Defect = "out-of-range"
)

const (
	// MaxEvent bounds an event, in bytes: a frame of 242 bytes, its decoded object, and
	// what each gateway heard of it.
	MaxEvent = 256 << 10
	// maxPayload is the largest payload of any data rate (LoRaWAN regional parameters).
	maxPayload = 242

	maxGateways = 64
	maxText     = 200
)

// Uplink is an "up" event (integration.UplinkEvent of ChirpStack's API).
type Uplink struct {
	ID        string    // deduplicationId: the same for the same event sent again
	Time      time.Time // when the network received it; zero: it does not say
	DevEUI    string    // 16 hexadecimal digits in lower case
	Name      string    // deviceName
	Profile   string    // deviceProfileName
	Counter   uint32    // fCnt
	Port      uint8     // fPort
	Confirmed bool
	Data      []byte
	Object    strictjson.Value // as a codec of the server decoded it; may be missing
	Gateways  []Gateway
}

// Gateway is how one gateway heard an uplink.
type Gateway struct {
	ID   string
	RSSI int // dBm
	Time time.Time
}

// ParseUp reads an event. Members with the default of their type may be missing, as
// protobuf's JSON leaves them out.
func ParseUp(data []byte) (*Uplink, error) {
	if len(data) > MaxEvent {
		return nil, fmt.Errorf("chirpstack: %d bytes: %w", len(data), ErrSize)
	}
	v, err := strictjson.Parse(data, strictjson.Limits{Bytes: MaxEvent, Depth: 16})
	if err != nil {
		return nil, fmt.Errorf("chirpstack: %w", err)
	}
	info := v.Get("deviceInfo")
	eui, _ := info.Get("devEui").Text()
	if eui = strings.ToLower(eui); len(eui) != 16 || strings.Trim(eui, "0123456789abcdef") != "" {
		return nil, fmt.Errorf("chirpstack: no devEui: %w", ErrForm)
	}
	u := &Uplink{DevEUI: eui, Object: v.Get("object")}
	for _, x := range []struct {
		to   *string
		from strictjson.Value
	}{{&u.ID, v.Get("deduplicationId")}, {&u.Name, info.Get("deviceName")}, {&u.Profile, info.Get("deviceProfileName")}} {
		if *x.to, err = text(x.from); err != nil {
			return nil, fmt.Errorf("chirpstack: %w", err)
		}
	}
	counter, err1 := number(v.Get("fCnt"), 1<<32-1)
	port, err2 := number(v.Get("fPort"), 255)
	if err1 != nil || err2 != nil {
		return nil, fmt.Errorf("chirpstack: fCnt or fPort: %w", ErrForm)
	}
	u.Counter, u.Port = uint32(counter), uint8(port)
	u.Confirmed = v.Get("confirmed").Any() == true
	if u.Time, err = when(v.Get("time")); err != nil {
		return nil, fmt.Errorf("chirpstack: time: %w", err)
	}
	payload, _ := v.Get("data").Text()
	if u.Data, err = base64.StdEncoding.DecodeString(payload); err != nil || len(u.Data) > maxPayload {
		return nil, fmt.Errorf("chirpstack: data of %d characters: %w", len(payload), ErrData)
	}
	for g := range v.Get("rxInfo").All() {
		if len(u.Gateways) == maxGateways {
			break
		}
		id, err := text(g.Get("gatewayId"))
		if err != nil {
			return nil, fmt.Errorf("chirpstack: rxInfo: %w", err)
		}
		heard := Gateway{ID: id}
		if n, ok := g.Get("rssi").Number(); ok {
			rssi, _ := strconv.ParseInt(n.String(), 10, 16)
			heard.RSSI = int(rssi)
		}
		heard.Time, _ = when(g.Get("gwTime"))
		u.Gateways = append(u.Gateways, heard)
	}
	return u, nil
}

func text(v strictjson.Value) (string, error) {
	s, ok := v.Text()
	if v.Exists() && !ok || len(s) > maxText {
		return "", ErrForm
	}
	return s, nil
}

func number(v strictjson.Value, most uint64) (uint64, error) {
	n, ok := v.Number()
	if !ok {
		if v.Exists() {
			return 0, ErrForm
		}
		return 0, nil
	}
	i, err := strconv.ParseUint(n.String(), 10, 64)
	if err != nil || i > most {
		return 0, ErrForm
	}
	return i, nil
}

func when(v strictjson.Value) (time.Time, error) {
	s, ok := v.Text()
	if !ok {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}, ErrForm
	}
	return t.UTC(), nil
}
