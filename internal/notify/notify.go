// Package notify sends one notice to one place: by webhook, by mail, by MQTT. It tries
// once, and tells whether another try can help; when to try again, and whom to tell, is
// decided elsewhere.
//
// A webhook is a POST of JSON, signed as Standard Webhooks has it
// (standard-webhooks/standard-webhooks, spec/standard-webhooks.md):
//
//	webhook-id: the notice, the same at each try
//	webhook-timestamp: 1795341600
//	webhook-signature: v1,BASE64(HMAC-SHA256(secret, id.timestamp.body))
//	webhook-signature: v1a,BASE64(Ed25519(key, id.timestamp.body))
package notify

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"ampoule/format"
	"ampoule/internal/fetch"
)

// Why a notice was not sent.
const (
	ErrTemporary format.Defect = "not-delivered-yet" // another try may help
	ErrPermanent format.Defect = "not-deliverable"   // none will, until something is changed
)

// Kind is a way to send.
type Kind string

// The ways.
const (
	Webhook Kind = "webhook"
	Mail    Kind = "mail"
	MQTT    Kind = "mqtt"
)

// Target is where a notice goes.
type Target struct {
	Kind    Kind
	Address string // https URL; address of mail; topic
	// Of webhooks: one or both sign.
	Secret []byte        // of HMAC-SHA256, of 24 to 64 bytes
	Key    crypto.Signer // of Ed25519
}

// Notice is what is sent.
type Notice struct {
	ID      string // letters, digits, points, hyphens and underscores
	Type    string // for programs: alarm.raised
	At      time.Time
	Subject string // for people, of one line
	Text    string
	Data    json.RawMessage // for programs; may be missing
}

// Sender sends. Ways that are nil are not there.
type Sender struct {
	Fetch *fetch.Client
	Post  *Post
	// Publish sends a message to a topic, and returns when the broker has it. Its errors
	// wrap [ErrPermanent], or are temporary.
	Publish func(ctx context.Context, topic string, payload []byte) error
	Now     func() time.Time // nil: time.Now
}

const (
	maxID      = 64
	maxSubject = 200     // bytes
	maxText    = 1 << 20 // bytes
)

func permanent(what string) error { return fmt.Errorf("notice: %s: %w", what, ErrPermanent) }

// Send sends a notice once. The error wraps [ErrTemporary] or [ErrPermanent], and names
// no secret and nobody's address.
func (s *Sender) Send(ctx context.Context, to Target, n Notice) error {
	if n.ID == "" || len(n.ID) > maxID || strings.Trim(n.ID, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-_") != "" {
		return permanent("its identifier is none")
	}
	if len(n.Text) > maxText || len(n.Data) > maxText {
		return permanent("too long")
	}
	switch {
	case to.Kind == Webhook && s.Fetch != nil:
		return s.webhook(ctx, to, n)
	case to.Kind == Mail && s.Post != nil:
		return s.Post.send(ctx, to.Address, n, s.now())
	case to.Kind == MQTT && s.Publish != nil:
		return s.mqtt(ctx, to.Address, n)
	}
	return permanent("no way of this kind")
}

func (s *Sender) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

// body is a notice for programs.
func body(n Notice) ([]byte, error) {
	out, err := json.Marshal(struct {
		ID        string          `json:"id"`
		Type      string          `json:"type"`
		Timestamp time.Time       `json:"timestamp"`
		Subject   string          `json:"subject,omitempty"`
		Text      string          `json:"text,omitempty"`
		Data      json.RawMessage `json:"data,omitempty"`
	}{n.ID, n.Type, n.At.UTC(), n.Subject, n.Text, n.Data})
	if err != nil {
		return nil, permanent("its data are no JSON")
	}
	return out, nil
}

// webhook sends by POST.
func (s *Sender) webhook(ctx context.Context, to Target, n Notice) error {
	content, err := body(n)
	if err != nil {
		return err
	}
	at := strconv.FormatInt(s.now().Unix(), 10)
	signature, err := sign(to, n.ID, at, content)
	if err != nil {
		return err
	}
	header := http.Header{"Content-Type": {"application/json"}}
	header.Set("webhook-id", n.ID)
	header.Set("webhook-timestamp", at)
	header.Set("webhook-signature", signature)
	return s.post(ctx, to.Address, header, content)
}

// Report posts a document of EPCIS to one who subscribed, once. It is signed with the
// token that the subscriber gave, over the same as a webhook, in the header that EPCIS 2.0
// has for it:
//
//	webhook-id: the report, the same at each try
//	webhook-timestamp: 1795341600
//	GS1-Signature: v1,BASE64(HMAC-SHA256(token, id.timestamp.body))
func (s *Sender) Report(ctx context.Context, address, id string, token, document []byte) error {
	at := strconv.FormatInt(s.now().Unix(), 10)
	mac := hmac.New(sha256.New, token)
	mac.Write(append([]byte(id+"."+at+"."), document...))
	header := http.Header{"Content-Type": {"application/ld+json"}}
	header.Set("webhook-id", id)
	header.Set("webhook-timestamp", at)
	header.Set("GS1-Signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	header.Set("GS1-EPCIS-Version", "2.0.0")
	header.Set("GS1-CBV-Version", "2.0.0")
	return s.post(ctx, address, header, document)
}

// post posts, and tells whether another try can help.
func (s *Sender) post(ctx context.Context, address string, header http.Header, content []byte) error {
	answer, err := s.Fetch.Do(ctx, http.MethodPost, address, header, content)
	switch {
	case errors.Is(err, fetch.ErrAddress), errors.Is(err, fetch.ErrScheme), errors.Is(err, fetch.ErrBadTarget), errors.Is(err, fetch.ErrRedirect):
		return fmt.Errorf("webhook: %w: %w", err, ErrPermanent)
	case err != nil:
		return fmt.Errorf("webhook: %w: %w", err, ErrTemporary)
	}
	switch status := answer.Status; {
	case status >= 200 && status < 300:
		return nil
	case status == 408, status == 409, status == 425, status == 429, status >= 500:
		return fmt.Errorf("webhook: status %d: %w", status, ErrTemporary)
	default:
		return fmt.Errorf("webhook: status %d: %w", status, ErrPermanent)
	}
}

// sign returns the signatures of a webhook, with a blank between.
func sign(to Target, id, at string, content []byte) (string, error) {
	signed := append([]byte(id+"."+at+"."), content...)
	var all []string
	if to.Secret != nil {
		if len(to.Secret) < 24 || len(to.Secret) > 64 {
			return "", permanent("its secret is not of 24 to 64 bytes")
		}
		mac := hmac.New(sha256.New, to.Secret)
		mac.Write(signed)
		all = append(all, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	if to.Key != nil {
		if _, ok := to.Key.Public().(ed25519.PublicKey); !ok {
			return "", permanent("its key is none of Ed25519")
		}
		signature, err := to.Key.Sign(nil, signed, crypto.Hash(0))
		if err != nil {
			return "", fmt.Errorf("webhook: signing: %w: %w", err, ErrTemporary)
		}
		all = append(all, "v1a,"+base64.StdEncoding.EncodeToString(signature))
	}
	if len(all) == 0 {
		return "", permanent("nothing to sign it with")
	}
	return strings.Join(all, " "), nil
}

// mqtt publishes.
func (s *Sender) mqtt(ctx context.Context, topic string, n Notice) error {
	if topic == "" || len(topic) > 1000 || strings.ContainsAny(topic, "+#\x00") || strings.HasPrefix(topic, "$") {
		return permanent("its topic is none")
	}
	content, err := body(n)
	if err != nil {
		return err
	}
	switch err := s.Publish(ctx, topic, content); {
	case err == nil:
		return nil
	case errors.Is(err, ErrPermanent):
		return err
	default:
		return fmt.Errorf("mqtt: %w: %w", err, ErrTemporary)
	}
}
