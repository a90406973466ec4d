package mqttapi

import (
	"strings"
	"time"

	"ampoule/format"
	"ampoule/format/senml"
	"ampoule/party/fleet"
)

// Reader turns messages into deliveries, by their topics.
type Reader struct {
	// ChirpStack reads events of a LoRaWAN network server, of the kind that the topic
	// names; nil: they are not taken.
	ChirpStack func(source fleet.Source, event string, body []byte) (*fleet.Delivery, error)
	// Clockless reports whether a source is known to have no clock, so that what it sends
	// without a time counts from the time of receipt; nil: none is.
	Clockless func(fleet.Source) bool
}

// The kinds of messages, last in a topic.
const (
	kindCCE      = "cce"
	kindSenML    = "senml"
	kindSegments = "segments"
	command      = "command"
)

// ErrTopic is a topic below which nothing is taken.
const ErrTopic format.Defect = "no-such-topic"

// own returns what the topics of a source begin with, or nothing where its name cannot
// stand in a topic.
func own(source fleet.Source) string {
	switch {
	case source.Device != "":
		return "d/" + source.Device.String() + "/"
	case source.Supplier != "" && !strings.ContainsAny(source.Supplier, "/+#\x00"):
		return "s/" + source.Supplier + "/"
	}
	return ""
}

// event returns the kind of event of a topic of ChirpStack's MQTT integration:
// application/ID/device/EUI/event/KIND.
func event(topic string) (string, bool) {
	part := strings.Split(topic, "/")
	if len(part) != 6 || part[0] != "application" || part[2] != "device" || part[4] != "event" {
		return "", false
	}
	return part[5], true
}

// may reports whether a source may send to a topic.
func (r *Reader) may(source fleet.Source, topic string) bool {
	if _, ok := event(topic); ok {
		return r.ChirpStack != nil && source.Supplier != ""
	}
	if source.Supplier != "" && source.Device == "" && topic == kindCCE+"/"+source.Supplier {
		return own(source) != ""
	}
	below, ok := strings.CutPrefix(topic, own(source))
	return ok && own(source) != "" && (below == kindCCE || below == kindSenML || below == kindSegments)
}

// read turns a message into a delivery. media is the content type of MQTT 5, or empty.
func (r *Reader) read(source fleet.Source, topic, media string, body []byte, received time.Time) (*fleet.Delivery, error) {
	if kind, ok := event(topic); ok {
		if r.ChirpStack == nil {
			return nil, ErrTopic
		}
		return r.ChirpStack(source, kind, body)
	}
	last := topic[strings.LastIndexByte(topic, '/')+1:]
	switch {
	case last == kindCCE, strings.HasPrefix(topic, kindCCE+"/"):
		d, _, err := fleet.FromCCE(source, body)
		return d, err
	case last == kindSegments:
		return fleet.FromSegments(source, body)
	case last == kindSenML:
		// MQTT 3.1.1 has no content type: JSON begins with a bracket, which in CBOR would be a
		// byte string.
		if media == "" {
			media = senml.CBORType
			if strings.HasPrefix(strings.TrimLeft(string(body[:min(len(body), 64)]), " \t\r\n"), "[") {
				media = senml.JSONType
			}
		}
		if r.Clockless == nil || !r.Clockless(source) {
			received = time.Time{}
		}
		return fleet.FromSenML(source, media, body, received)
	}
	return nil, ErrTopic
}

// aside is a message that cannot be read, as it came: it is kept with what is the matter,
// since a sender of MQTT 3.1.1 that hears nothing would send it for ever.
func aside(source fleet.Source, media string, body []byte, why error) *fleet.Delivery {
	return &fleet.Delivery{Source: source, Raw: body, Media: media, Findings: []format.Finding{{Reason: format.Defect(format.Reason(why, "unreadable"))}}}
}
