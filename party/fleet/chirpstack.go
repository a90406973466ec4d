package fleet

import (
	"fmt"
	"slices"

	"ampoule/device"
	"ampoule/format"
	"ampoule/format/chirpstack"
)

// MediaChirpStack is the type of an event of a LoRaWAN network server.
const MediaChirpStack = "application/json"

// ReasonNoCodec says that there is no table for what a device sends.
const ReasonNoCodec format.Defect = "no-codec"

// FromChirpStack makes a delivery of an event of ChirpStack's integration. Only uplinks
// have readings. A payload is read by the codec of the device's profile, or else as
// Cayenne LPP. A device that has no clock has measured when the network heard it: that
// is the network's time, and what the sender says.
func FromChirpStack(codecs []chirpstack.Codec) func(Source, string, []byte) (*Delivery, error) {
	return func(source Source, event string, body []byte) (*Delivery, error) {
		d := &Delivery{Source: source, Raw: body, Media: MediaChirpStack}
		if event != "up" {
			return d, nil // joins, acknowledgements, states of the link
		}
		u, err := chirpstack.ParseUp(body)
		if err != nil {
			return nil, err
		}
		name, err := device.NewName(device.DevEUI, u.DevEUI)
		if err != nil {
			return nil, err
		}
		d.Key, d.Sent = u.ID, u.Time
		d.Describes = []Description{{Device: name, Model: u.Profile}}
		codec := chirpstack.Codec{Form: chirpstack.LPP}
		if at := slices.IndexFunc(codecs, func(c chirpstack.Codec) bool { return c.Name == u.Profile && (c.Port == 0 || c.Port == u.Port) }); at >= 0 {
			codec = codecs[at]
		}
		all, err := codec.Decode(u)
		if err != nil {
			if codec.Name == "" {
				err = ReasonNoCodec
			}
			d.Findings = append(d.Findings, format.Finding{Path: "data", Reason: format.Defect(format.Reason(err, "bad-payload"))})
			return d, nil
		}
		for i, m := range all {
			if m.At == 0 && !u.Time.IsZero() {
				m.At = u.Time.Unix()
			}
			q := device.Quantity(m.Quantity)
			if m.At == 0 || !q.Known() {
				d.Findings = append(d.Findings, format.Finding{Path: fmt.Sprintf("data[%d]", i), Reason: format.BadValue})
				continue
			}
			at := slices.IndexFunc(d.Series, func(s Series) bool { return s.Sensor == m.Sensor && s.Quantity == q })
			if at < 0 {
				at = len(d.Series)
				d.Series = append(d.Series, Series{Device: name, Sensor: m.Sensor, Quantity: q})
			}
			d.Series[at].Readings = append(d.Series[at].Readings, device.Reading{At: m.At, Value: m.Value})
		}
		for i := range d.Series {
			slices.SortStableFunc(d.Series[i].Readings, byTime)
		}
		return d, nil
	}
}
