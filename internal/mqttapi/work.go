package mqttapi

import (
	"errors"
	"strings"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"ampoule/format"
	"ampoule/party/fleet"
)

// message is one that came and is not kept yet.
type message struct {
	cl    *mqtt.Client
	id    uint16 // of the packet
	qos   byte
	topic string
	media string // content type of MQTT 5
	body  []byte
	at    time.Time // of receipt
}

// joins reports whether a message can be of one delivery with that behind it.
func (m *message) joins(next *message) bool {
	last := m.topic[strings.LastIndexByte(m.topic, '/')+1:]
	return (last == kindSegments || last == kindSenML) && m.topic == next.topic && m.media == next.media
}

// outcome is what became of a message: a reason code, of which 0 is success, or the end
// of the connection.
type outcome struct {
	code packets.Code
	end  bool
}

// keepAll keeps what came of a connection, in its order, and acknowledges it. It reports
// whether all could be kept; after one that could not be it keeps no other, which would
// overtake it, and ends the connection.
func (h *hook) keepAll(c *conn) bool {
	all := c.pending
	c.pending = nil
	var acks []byte
	for len(all) > 0 {
		// Segments, or packs, that wait behind each other are a sequence, as they could have
		// been sent.
		n := 1
		for n < len(all) && all[0].joins(&all[n]) && n < fleet.MaxSegments {
			n++
		}
		got := h.keepOnce(c, all[:n])
		if got.code == packets.ErrPayloadFormatInvalid && n > 1 {
			// One of them cannot be read: each for itself.
			n = 1
			got = h.keepOnce(c, all[:1])
		}
		for _, m := range all[:n] {
			switch {
			case got.end:
			case got.code.Code != 0 && m.cl.Properties.ProtocolVersion == 5:
				// PUBACK with a reason code and no properties (MQTT 5 section 3.4.2).
				acks = append(acks, packets.Puback<<4, 3, byte(m.id>>8), byte(m.id), got.code.Code)
			default:
				acks = append(acks, packets.Puback<<4, 2, byte(m.id>>8), byte(m.id))
			}
		}
		if got.end {
			h.say(c, acks)
			h.end(all[0].cl, got.code)
			return false
		}
		all = all[n:]
	}
	h.say(c, acks)
	return true
}

// say writes acknowledgements. One write is not parted by another of the broker's.
func (h *hook) say(c *conn, acks []byte) {
	if len(acks) > 0 {
		_, _ = c.Write(acks) // who does not hear it sends again
	}
}

// keepOnce keeps messages in one delivery: one, or several that are joined. Where one of
// several cannot be read nothing is kept, and the code says so.
func (h *hook) keepOnce(c *conn, all []message) outcome {
	m := all[0]
	if len(m.body) > largeMessage {
		select {
		case h.large <- struct{}{}:
			defer func() { <-h.large }()
		case <-h.ctx.Done():
			return outcome{packets.ErrServerShuttingDown, true}
		}
	}
	d, unread := h.read(c.source, m.topic, m.media, m.body, m.at)
	if len(all) > 1 && unread == nil {
		size := 0
		for i := range all {
			size += len(all[i].body)
		}
		d.Raw = append(make([]byte, 0, size), d.Raw...)
	}
	for _, next := range all[1:] {
		if unread != nil {
			break
		}
		var more *fleet.Delivery
		if more, unread = h.read(c.source, next.topic, next.media, next.body, next.at); unread == nil {
			unread = d.Join(more)
		}
	}
	if unread != nil {
		if len(all) > 1 {
			return outcome{code: packets.ErrPayloadFormatInvalid}
		}
		d = aside(c.source, m.media, m.body, unread)
	}
	count := func(result string) { h.messages.WithLabelValues(result).Add(float64(len(all))) }
	_, err := h.Ingester.Ingest(h.ctx, d)
	switch {
	case err == nil && unread == nil:
		count("kept")
		return outcome{}
	case err == nil:
		count("unreadable")
		h.refused(c.source, format.Reason(unread, "unreadable"), len(m.body))
		return outcome{code: packets.ErrPayloadFormatInvalid}
	case errors.Is(err, fleet.ErrDenied):
		count("denied")
		h.refused(c.source, string(fleet.ErrDenied), len(m.body))
		// MQTT 3.1.1 has no word for it but the end, and of QoS 2 the broker would refuse by
		// the wrong packet.
		return outcome{packets.ErrNotAuthorized, m.cl.Properties.ProtocolVersion < 5 || m.qos == 2}
	case errors.Is(err, fleet.ErrFull):
		count("full")
		h.refused(c.source, string(fleet.ErrFull), len(m.body))
		return outcome{packets.ErrQuotaExceeded, true}
	}
	count("failed")
	h.Server.Log.Error("a delivery could not be kept", "error", err)
	return outcome{packets.ErrServerBusy, true}
}

// end closes a connection, in MQTT 5 with a word why.
func (h *hook) end(cl *mqtt.Client, why packets.Code) {
	if cl.Properties.ProtocolVersion == 5 {
		_ = h.broker.DisconnectClient(cl, why) // it ends in any case
	}
	cl.Stop(why)
}
