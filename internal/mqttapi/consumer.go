package mqttapi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/paho"

	"ampoule/device"
	"ampoule/format"
	"ampoule/format/oid"
	"ampoule/party/fleet"
)

// Consumer takes what comes from a broker elsewhere. A message is acknowledged when
// it is on the disk; until then the broker has it, and brings it again if this server
// dies. What cannot be kept now is tried again here, while the broker holds the rest.
type Consumer struct {
	Reader
	Ingester fleet.Ingester
	Broker   *url.URL // mqtt or tls (mqtts)
	TLS      *tls.Config
	User     string
	Secret   string
	Client   string // identifier; of each server another
	// Group is that of a shared subscription (MQTT 5 section 4.8.2), the same for all servers
	// that share the work; empty: the subscription is of this one alone. mosquitto 2.0
	// forgets shared ones when it is restarted, and drops what comes until the next.
	Group string
	// Topics are filters; none: those that the package names, without ChirpStack's.
	Topics []string
	// Source tells whose a message is, by its topic; nil: [OfTopic]. That broker has found
	// out who sends, by means that are not seen here: no level is above a token's.
	Source func(topic string) (fleet.Source, error)
	Window int // messages that are not acknowledged at a time; 0: 256
	Log    *slog.Logger
	Now    func() time.Time // nil: time.Now
}

// lanes are how many messages are kept at a time; those of one topic stay in their order.
const lanes = 32

// sessionOf is for how long the broker holds messages for a consumer that is away, in
// seconds.
const sessionOf = 7 * 24 * 3600

// OfTopic tells whose a topic is, of those that the package names.
func OfTopic(topic string) (fleet.Source, error) {
	part := strings.Split(topic, "/")
	switch {
	case len(part) == 3 && part[0] == "d":
		id, err := oid.Parse(part[1])
		return fleet.Source{Device: id, Level: device.LevelToken}, err
	case len(part) == 3 && part[0] == "s" && part[1] != "", len(part) == 2 && part[0] == kindCCE && part[1] != "":
		return fleet.Source{Supplier: part[1], Level: device.LevelToken}, nil
	}
	return fleet.Source{}, ErrTopic
}

// Run takes messages until ctx ends. It comes back to a broker that goes away.
func (c *Consumer) Run(ctx context.Context) error {
	if c.Broker == nil || c.Client == "" || strings.ContainsAny(c.Group, "/+#") {
		return fmt.Errorf("consumer of MQTT: no broker, client or group: %w", ErrTopic)
	}
	window := c.Window
	if window == 0 {
		window = 256
	}
	topics := c.Topics
	if len(topics) == 0 {
		topics = []string{kindCCE + "/+"}
		for _, kind := range []string{kindCCE, kindSenML, kindSegments} {
			topics = append(topics, "d/+/"+kind, "s/+/"+kind)
		}
	}
	subscribe, shared := &paho.Subscribe{}, ""
	if c.Group != "" {
		shared = "$share/" + c.Group + "/"
	}
	for _, t := range topics {
		subscribe.Subscriptions = append(subscribe.Subscriptions, paho.SubscribeOptions{Topic: shared + t, QoS: 1})
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var working sync.WaitGroup
	lane := make([]chan paho.PublishReceived, lanes)
	for i := range lane {
		// The broker sends no more than the window before an acknowledgement: no lane is full.
		lane[i] = make(chan paho.PublishReceived, window)
		working.Go(func() {
			for {
				select {
				case m := <-lane[i]:
					c.take(ctx, m)
				case <-ctx.Done():
					return
				}
			}
		})
	}
	seed := maphash.MakeSeed()
	config := autopaho.ClientConfig{
		ServerUrls: []*url.URL{c.Broker}, TlsCfg: c.TLS, KeepAlive: 30, SessionExpiryInterval: sessionOf, ConnectTimeout: 10 * time.Second,
		ConnectUsername: c.User, ConnectPassword: []byte(c.Secret),
		ReconnectBackoff: func(n int) time.Duration {
			return min(time.Duration(n)*time.Second+100*time.Millisecond, 30*time.Second)
		},
		ConnectPacketBuilder: func(p *paho.Connect, _ *url.URL) (*paho.Connect, error) {
			most := uint16(min(window, 65535))
			p.Properties.ReceiveMaximum = &most
			return p, nil
		},
		OnConnectionUp: func(m *autopaho.ConnectionManager, _ *paho.Connack) {
			go func() {
				if _, err := m.Subscribe(ctx, subscribe); err != nil && ctx.Err() == nil {
					// The broker may know the subscription from before; where it does not, the next
					// connection tries again.
					c.Log.Error("the broker does not let us subscribe", "broker", c.Broker.Host, "error", err)
				}
			}()
		},
		OnConnectError: func(err error) { c.Log.Warn("no connection to the broker", "broker", c.Broker.Host, "error", err) },
		ClientConfig: paho.ClientConfig{
			ClientID: c.Client, EnableManualAcknowledgment: true,
			OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(m paho.PublishReceived) (bool, error) {
				select {
				case lane[maphash.String(seed, m.Packet.Topic)%lanes] <- m:
				case <-ctx.Done():
				}
				return true, nil
			}},
		},
	}
	manager, err := autopaho.NewConnection(ctx, config)
	if err != nil {
		return fmt.Errorf("consumer of MQTT: %w", err)
	}
	<-ctx.Done()
	<-manager.Done()
	working.Wait()
	return nil
}

// Between tries to keep a message.
const (
	firstTry = 200 * time.Millisecond
	lastTry  = 30 * time.Second
)

// take keeps one message and acknowledges it.
func (c *Consumer) take(ctx context.Context, m paho.PublishReceived) {
	p := m.Packet
	media := ""
	if p.Properties != nil {
		media = p.Properties.ContentType
	}
	of := c.Source
	if of == nil {
		of = OfTopic
	}
	now := time.Now
	if c.Now != nil {
		now = c.Now
	}
	source, err := of(p.Topic)
	source.Via = "mqtt"
	source.Level = min(source.Level, device.LevelToken)
	var d *fleet.Delivery
	if err == nil {
		d, err = c.read(source, p.Topic, media, p.Payload, now())
	}
	if err != nil {
		c.Log.Warn("a message of the broker cannot be read", "broker", c.Broker.Host, "reason", format.Reason(err, "unreadable"), "bytes", len(p.Payload))
		d = aside(source, media, p.Payload, err)
	}
	for wait := firstTry; ; wait = min(2*wait, lastTry) {
		_, err := c.Ingester.Ingest(ctx, d)
		if err == nil {
			break
		}
		if errors.Is(err, fleet.ErrDenied) {
			c.Log.Warn("a message of the broker was refused", "broker", c.Broker.Host, "reason", string(fleet.ErrDenied), "bytes", len(p.Payload))
			break
		}
		if ctx.Err() != nil {
			return
		}
		c.Log.Error("a message of the broker could not be kept yet", "broker", c.Broker.Host, "error", err)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
	// Where the connection is another by now the broker brings it again.
	if err := m.Client.Ack(p); err != nil && ctx.Err() == nil {
		c.Log.Debug("a message could not be acknowledged", "error", err)
	}
}
