package notify

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/paho"
)

// Broker is an outside broker to which notices are published, in MQTT 5.
type Broker struct {
	Address *url.URL // mqtt or tls
	TLS     *tls.Config
	User    string
	Secret  string
	Client  string // identifier

	manager *autopaho.ConnectionManager
}

// Open begins to connect, and keeps connecting until ctx ends.
func (b *Broker) Open(ctx context.Context) error {
	m, err := autopaho.NewConnection(ctx, autopaho.ClientConfig{
		ServerUrls: []*url.URL{b.Address}, TlsCfg: b.TLS, KeepAlive: 30, CleanStartOnInitialConnection: true, ConnectTimeout: 10 * time.Second,
		ConnectUsername: b.User, ConnectPassword: []byte(b.Secret),
		ReconnectBackoff: func(n int) time.Duration {
			return min(time.Duration(n)*time.Second+100*time.Millisecond, time.Minute)
		},
		ClientConfig: paho.ClientConfig{ClientID: b.Client},
	})
	if err != nil {
		return fmt.Errorf("broker of notices: %w", err)
	}
	b.manager = m
	return nil
}

// publishWithin is how long the broker has to take a notice.
const publishWithin = 15 * time.Second

// Publish is for [Sender.Publish]. It returns when the broker has the message.
func (b *Broker) Publish(ctx context.Context, topic string, payload []byte) error {
	ctx, cancel := context.WithTimeout(ctx, publishWithin)
	defer cancel()
	if err := b.manager.AwaitConnection(ctx); err != nil {
		return fmt.Errorf("no connection: %w", ErrTemporary)
	}
	answer, err := b.manager.Publish(ctx, &paho.Publish{Topic: topic, QoS: 1, Payload: payload, Properties: &paho.PublishProperties{ContentType: "application/json"}})
	if answer == nil {
		return errors.Join(err, ErrTemporary)
	}
	switch answer.ReasonCode {
	case 0x00, 0x10: // taken; taken, and nobody listens
		return nil
	case 0x87, 0x90, 0x99: // not authorised; topic; payload format
		return fmt.Errorf("reason %#x: %w", answer.ReasonCode, ErrPermanent)
	}
	return fmt.Errorf("reason %#x: %w", answer.ReasonCode, ErrTemporary)
}
