// Package mqttapi is the MQTT door for devices, for the gateways before them and for
// suppliers: a broker, embedded, that acknowledges when what came is on the disk, and a
// [Consumer] of a broker elsewhere.
//
//	d/{oid}/segments   signed segments, one or a sequence      of the device {oid}
//	d/{oid}/senml      a pack of SenML, JSON or CBOR
//	d/{oid}/cce        a transmission of DS01
//	s/{supplier}/…     the same, of a supplier or a gateway
//	cce/{supplier}     as s/{supplier}/cce
//	application/{id}/device/{eui}/event/{kind}    of ChirpStack's integration
//	d/{oid}/command, s/{supplier}/command         what may be subscribed to, each its own
//
// Who connects shows a client certificate over TLS, or a name and a secret; a secret may
// stand alone as the name. A device has one connection, a supplier one for each client
// identifier.
//
// PUBACK and PUBREC go out after Ingest has returned, which gets segments together that a
// client has sent in one go. What cannot be kept now ends the
// connection, for a client sends again only when it connects anew: no answer alone makes
// none send twice. What cannot be read is kept aside and acknowledged, in MQTT 5 with
// reason 0x99. What a source may not send is 0x87 in MQTT 5, and ends the connection in
// 3.1.1. Each connection is served in the order in which it sent.
//
// Nothing is retained, no topic aliases are taken, and a will is not sent on: that a
// connection was lost is told to [Server.Presence].
package mqttapi

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/storage"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
	"github.com/prometheus/client_golang/prometheus"

	"ampoule/device"
	"ampoule/format"
	"ampoule/party/fleet"
)

// Who tells who connects. It must be usable concurrently.
type Who interface {
	// Secret returns the source that a secret belongs to; user may be empty. Nobody's
	// secret is an error.
	Secret(ctx context.Context, user, secret string) (fleet.Source, error)
	// Certificate returns the source that a client certificate was given to. That the
	// client has its key was shown; nothing else was.
	Certificate(ctx context.Context, c *x509.Certificate) (fleet.Source, error)
}

// ErrNobody is a secret, or a certificate, of nobody.
const ErrNobody format.Defect = "nobody"

// Session is a session that outlives its connection. Of what a client sends nothing is
// in it: that is on the disk, or the client has it. But a client that hears that we know
// no session of it throws away what it has not brought to us yet (MQTT 5 section
// 3.2.2.1.1), so that a server which starts anew must remember its sessions.
type Session struct {
	ID         string // of the source and of the client
	Version    byte   // of the protocol: 3, 4, 5
	Expiry     uint32 // seconds after the connection; MQTT 5
	Subscribed bool   // to its commands
}

// Sessions keep sessions. What Save was given is on the disk when it returns.
type Sessions interface {
	Load(context.Context) ([]Session, error)
	Save(context.Context, Session) error
	Drop(ctx context.Context, id string) error
}

// Limits bound the broker; zero fields have the values of [DefaultLimits].
type Limits struct {
	Connections int
	PacketSize  int           // bytes
	Window      int           // messages that a client may have unacknowledged
	Keepalive   time.Duration // the longest
	Session     time.Duration // for which a session outlives its connection
}

// DefaultLimits are for a server of one or two cores.
var DefaultLimits = Limits{Connections: 2000, PacketSize: 256 << 10, Window: 64, Keepalive: 20 * time.Minute, Session: 7 * 24 * time.Hour}

// Short messages may wait for those that came with them; large ones take one of few places
// while they are read.
const (
	shortMessage = 4 << 10
	largeMessage = 32 << 10
	largePlaces  = 4
)

// Listener is where connections come in; TLS nil: they are not encrypted.
type Listener struct {
	net.Listener
	TLS *tls.Config
}

// Server is the embedded broker.
type Server struct {
	Reader
	Ingester fleet.Ingester
	Who      Who
	Sessions Sessions // nil: they end with the server
	Limits   Limits
	// Presence is told of connections, and whether one was lost without a word; nil: nobody
	// is. It must be quick.
	Presence func(source fleet.Source, connected, lost bool)
	Log      *slog.Logger
	Now      func() time.Time // nil: time.Now

	broker   *mqtt.Server
	gates    []*gate
	ctx      context.Context // of Ingest; ends with the server
	cancel   context.CancelFunc
	large    chan struct{}
	messages *prometheus.CounterVec
}

// TLS returns the configuration of a listener. A certificate may be shown; whose it is,
// [Who] says.
func TLS(certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: certificate, ClientAuth: tls.RequestClientCert}
}

// Collectors are the metrics of the door. They must be asked for before Start.
func (s *Server) Collectors() []prometheus.Collector {
	s.messages = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "ampoule_mqtt_messages_total", Help: "Messages that came by MQTT, by what became of them."}, []string{"result"})
	return []prometheus.Collector{s.messages, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "ampoule_mqtt_connections", Help: "Connections to the embedded broker."}, func() float64 {
		n := 0
		for _, g := range s.gates {
			n += g.count()
		}
		return float64(n)
	})}
}

// Start opens the broker on listeners. The server must not be changed any more.
func (s *Server) Start(on ...Listener) error {
	if s.messages == nil {
		s.Collectors()
	}
	if s.Now == nil {
		s.Now = time.Now
	}
	l := &s.Limits
	for _, f := range []struct{ is, or *int }{{&l.Connections, &DefaultLimits.Connections}, {&l.PacketSize, &DefaultLimits.PacketSize}, {&l.Window, &DefaultLimits.Window}} {
		if *f.is == 0 {
			*f.is = *f.or
		}
	}
	if l.Keepalive == 0 {
		l.Keepalive = DefaultLimits.Keepalive
	}
	if l.Session == 0 {
		l.Session = DefaultLimits.Session
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.large = make(chan struct{}, largePlaces)
	c := mqtt.NewDefaultServerCapabilities()
	c.MaximumClients = int64(l.Connections)
	c.MaximumPacketSize = uint32(l.PacketSize)
	c.ReceiveMaximum = uint16(min(l.Window, 65535))
	c.MaximumInflight = 64            // commands that a client has not acknowledged
	c.MaximumClientWritesPending = 64 // and those before its connection: a slow one loses them
	c.MaximumSessionExpiryInterval = uint32(l.Session / time.Second)
	c.TopicAliasMaximum = 0
	c.SharedSubAvailable, c.WildcardSubAvailable, c.SubIDAvailable = 0, 0, 0
	// What the broker logs has payloads in it, and passwords where a client is confused.
	s.broker = mqtt.New(&mqtt.Options{Capabilities: c, Logger: slog.New(slog.DiscardHandler), InlineClient: true, SysTopicResendInterval: 3600})
	h := &hook{Server: s, known: map[string]Session{}}
	if s.Sessions != nil {
		all, err := s.Sessions.Load(s.ctx)
		if err != nil {
			return fmt.Errorf("sessions of MQTT: %w", err)
		}
		for _, one := range all {
			h.known[one.ID] = one
		}
	}
	if err := s.broker.AddHook(h, nil); err != nil {
		return fmt.Errorf("broker: %w", err)
	}
	for i, on := range on {
		g := &gate{Listener: on.Listener, tls: on.TLS, limit: l.Connections, within: connectWithin, open: map[*conn]struct{}{}}
		s.gates = append(s.gates, g)
		if err := s.broker.AddListener(listeners.NewNet(fmt.Sprint(i), g)); err != nil {
			return fmt.Errorf("broker: %w", err)
		}
	}
	if err := s.broker.Serve(); err != nil {
		return fmt.Errorf("broker: %w", err)
	}
	return nil
}

// closeWithin is how long clients have to hear that the server ends, and what they sent
// has to be kept.
const closeWithin = 5 * time.Second

// Close ends the broker.
func (s *Server) Close() error {
	for _, g := range s.gates {
		_ = g.Close()
		g.settle()
	}
	late := time.AfterFunc(closeWithin, func() {
		s.cancel()
		for _, g := range s.gates {
			g.end()
		}
	})
	defer late.Stop()
	defer s.cancel()
	// Who has not said who it is is no client of the broker's, which would wait for it.
	waiting := time.AfterFunc(closeWithin/10, func() {
		for _, g := range s.gates {
			g.endNobody()
		}
	})
	defer waiting.Stop()
	return s.broker.Close() // it waits for those who read, and they for what is being kept
}

// Command sends a command to a source that listens. Whether it heard is not known.
func (s *Server) Command(to fleet.Source, payload []byte) error {
	if own(to) == "" {
		return ErrTopic
	}
	if err := s.broker.Publish(own(to)+command, payload, false, 1); err != nil {
		return fmt.Errorf("command: %w", err)
	}
	return nil
}

// hook is where the broker asks.
type hook struct {
	*Server
	mqtt.HookBase

	mu    sync.Mutex
	known map[string]Session // that are kept
}

func (h *hook) ID() string { return "fleet" }

func (h *hook) Provides(b byte) bool {
	return bytes.IndexByte([]byte{
		mqtt.OnConnect, mqtt.OnConnectAuthenticate, mqtt.OnACLCheck, mqtt.OnPublish, mqtt.OnWill, mqtt.OnSessionEstablish, mqtt.OnSessionEstablished, mqtt.OnDisconnect,
		mqtt.OnSubscribed, mqtt.OnUnsubscribed, mqtt.OnClientExpired, mqtt.StoredClients, mqtt.StoredSubscriptions,
	}, b) >= 0
}

// OnConnect bounds for how long a client may be silent.
func (h *hook) OnConnect(cl *mqtt.Client, _ packets.Packet) error {
	if most := uint16(min(h.Limits.Keepalive/time.Second, 65535)); cl.State.Keepalive == 0 || cl.State.Keepalive > most {
		cl.State.Keepalive, cl.State.ServerKeepalive = most, true
	}
	return nil
}

// OnConnectAuthenticate finds out who connects, and puts its name before the client's
// own: by no client identifier does anybody come to another's session.
func (h *hook) OnConnectAuthenticate(cl *mqtt.Client, pk packets.Packet) bool {
	c, ok := cl.Net.Conn.(*conn)
	if !ok {
		return false
	}
	source, err := h.identify(c, pk)
	if err == nil && own(source) == "" {
		err = ErrTopic
	}
	if err != nil {
		h.messages.WithLabelValues("not-connected").Inc()
		h.Server.Log.Warn("a connection by MQTT was refused", "reason", format.Reason(err, "internal"))
		return false
	}
	source.Via = "mqtt"
	c.source = source
	c.known.Store(true)
	c.keep = func() { h.keepAll(c) }
	id := own(source)
	if source.Device == "" {
		id += cl.ID
	}
	cl.ID = id
	longest := uint32(h.Limits.Session / time.Second)
	cl.Properties.Props.SessionExpiryInterval = min(cl.Properties.Props.SessionExpiryInterval, longest)
	// Sessions without a connection take memory too.
	if _, old := h.broker.Clients.Get(id); !old && h.broker.Clients.Len() >= 4*h.Limits.Connections {
		h.Server.Log.Warn("a connection by MQTT was refused", "reason", "too-many-sessions")
		return false
	}
	return true
}

func (h *hook) identify(c *conn, pk packets.Packet) (fleet.Source, error) {
	if secured, ok := c.Conn.(*tls.Conn); ok {
		if shown := secured.ConnectionState().PeerCertificates; len(shown) > 0 {
			return h.Who.Certificate(h.ctx, shown[0])
		}
	}
	user, secret := string(pk.Connect.Username), string(pk.Connect.Password)
	if secret == "" {
		user, secret = "", user
	}
	if secret == "" {
		return fleet.Source{}, ErrNobody
	}
	source, err := h.Who.Secret(h.ctx, user, secret)
	// A shared secret raises nobody above its level, whatever the account has.
	source.Level = min(source.Level, device.LevelToken)
	return source, err
}

// OnACLCheck lets a source send below its own topics, and hear its own commands.
func (h *hook) OnACLCheck(cl *mqtt.Client, topic string, write bool) bool {
	c, ok := cl.Net.Conn.(*conn)
	switch {
	case !ok:
		// A session without a connection: the topic was granted when it subscribed.
		return !write
	case write:
		return h.may(c.source, topic)
	}
	return topic == own(c.source)+command
}

// OnPublish takes a message over. Of QoS 1 a short one waits for those that came with it,
// until the connection has to be read again: see [wire]. All others are kept at once, after
// those that wait.
func (h *hook) OnPublish(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	c, ok := cl.Net.Conn.(*conn)
	if !ok {
		return pk, nil // a command of ours
	}
	m := message{cl: cl, id: pk.PacketID, topic: pk.TopicName, qos: pk.FixedHeader.Qos, media: pk.Properties.ContentType, body: pk.Payload, at: h.Now()}
	if pk.FixedHeader.Qos == 1 && len(pk.Payload) <= shortMessage {
		if c.pending = append(c.pending, m); len(c.pending) >= h.Limits.Window {
			h.keepAll(c)
		}
		return pk, packets.ErrRejectPacket // by the broker; it is acknowledged when it is kept
	}
	if !h.keepAll(c) {
		return pk, packets.ErrRejectPacket
	}
	got := h.keepOnce(c, []message{m})
	switch {
	case got.end:
		h.end(cl, got.code)
		return pk, packets.ErrRejectPacket
	case got.code.Code != 0 && cl.Properties.ProtocolVersion == 5 && pk.FixedHeader.Qos == 1:
		return pk, got.code
	}
	return pk, packets.CodeSuccessIgnore
}

func (h *hook) refused(source fleet.Source, reason string, size int) {
	h.Server.Log.Warn("a delivery by MQTT was refused", "supplier", source.Supplier, "device", source.Device.String(), "reason", reason, "bytes", size)
}

// OnWill keeps a will from being sent on.
func (h *hook) OnWill(*mqtt.Client, mqtt.Will) (mqtt.Will, error) { return mqtt.Will{}, nil }

// lasting tells whether the session of a client outlives its connection.
func lasting(cl *mqtt.Client) bool {
	if cl.Properties.ProtocolVersion == 5 {
		return cl.Properties.Props.SessionExpiryInterval > 0
	}
	return !cl.Properties.Clean
}

// keep keeps a session, or ends the connection: a client must not count on one that a
// restart would forget.
func (h *hook) keep(cl *mqtt.Client, change func(*Session)) {
	if h.Sessions == nil {
		return
	}
	h.mu.Lock()
	one, known := h.known[cl.ID]
	before := one
	one.ID, one.Version, one.Expiry = cl.ID, cl.Properties.ProtocolVersion, cl.Properties.Props.SessionExpiryInterval
	change(&one)
	h.known[cl.ID] = one
	h.mu.Unlock()
	if known && one == before {
		return
	}
	if err := h.Sessions.Save(h.ctx, one); err != nil {
		h.mu.Lock()
		delete(h.known, cl.ID)
		h.mu.Unlock()
		h.Server.Log.Error("a session of MQTT could not be kept", "error", err)
		cl.Stop(packets.ErrServerBusy)
	}
}

// forget drops a session that is kept.
func (h *hook) forget(cl *mqtt.Client) {
	h.mu.Lock()
	_, known := h.known[cl.ID]
	delete(h.known, cl.ID)
	h.mu.Unlock()
	if known {
		if err := h.Sessions.Drop(h.ctx, cl.ID); err != nil {
			h.Server.Log.Error("a session of MQTT could not be dropped", "error", err)
		}
	}
}

// OnSessionEstablish comes before the client hears that it is connected.
func (h *hook) OnSessionEstablish(cl *mqtt.Client, pk packets.Packet) {
	if !lasting(cl) {
		h.forget(cl)
		return
	}
	h.keep(cl, func(s *Session) { s.Subscribed = s.Subscribed && !pk.Connect.Clean })
}

func (h *hook) OnSessionEstablished(cl *mqtt.Client, _ packets.Packet) {
	if c, ok := cl.Net.Conn.(*conn); ok && h.Presence != nil {
		h.Presence(c.source, true, false)
	}
}

func (h *hook) OnDisconnect(cl *mqtt.Client, err error, expire bool) {
	if expire && !cl.IsTakenOver() {
		h.forget(cl)
	}
	c, ok := cl.Net.Conn.(*conn)
	if ok {
		h.keepAll(c) // what came before the end
	}
	if !ok || c.source == (fleet.Source{}) || cl.IsTakenOver() || h.Presence == nil {
		return
	}
	cause := cl.StopCause()
	h.Presence(c.source, false, err != nil || cause != nil && !errors.Is(cause, packets.CodeDisconnect))
}

func (h *hook) OnSubscribed(cl *mqtt.Client, _ packets.Packet, reasons []byte) {
	if bytes.ContainsAny(reasons, "\x00\x01\x02") && lasting(cl) {
		h.keep(cl, func(s *Session) { s.Subscribed = true })
	}
}

func (h *hook) OnUnsubscribed(cl *mqtt.Client, _ packets.Packet) {
	if _, ok := cl.Net.Conn.(*conn); ok && lasting(cl) && !cl.Closed() {
		h.keep(cl, func(s *Session) { s.Subscribed = false })
	}
}

func (h *hook) OnClientExpired(cl *mqtt.Client) { h.forget(cl) }

// StoredClients gives back the sessions of before.
func (h *hook) StoredClients() (all []storage.Client, err error) {
	for _, one := range h.known {
		all = append(all, storage.Client{ID: one.ID, ProtocolVersion: one.Version, Properties: storage.ClientProperties{SessionExpiryInterval: one.Expiry, SessionExpiryIntervalFlag: true}})
	}
	return all, nil
}

// StoredSubscriptions gives back what they had subscribed to.
func (h *hook) StoredSubscriptions() (all []storage.Subscription, err error) {
	for _, one := range h.known {
		if one.Subscribed {
			all = append(all, storage.Subscription{Client: one.ID, Filter: commandOf(one.ID), Qos: 1})
		}
	}
	return all, nil
}

// commandOf returns the command topic of the source of a session.
func commandOf(id string) string {
	second := bytes.IndexByte([]byte(id)[2:], '/') + 3
	return id[:second] + command
}
