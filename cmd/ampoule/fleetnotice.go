package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"ampoule/internal/fetch"
	"ampoule/internal/messages"
	"ampoule/internal/notify"
	"ampoule/party/fleet"
)

// notices sends what people are to know of alarms.
type notices struct {
	notify.Sender
	page string // address of the page; "": it is not known
}

// newNotices makes the ways out that the settings name. Webhooks are always one.
func (f *fleetNode) newNotices(ctx context.Context) (*notices, error) {
	c := f.settings.Fleet
	o := fetch.Options{Bytes: 64 << 10, Timeout: 20 * time.Second, PrivateHosts: c.Private}
	n := &notices{Sender: notify.Sender{Fetch: fetch.New(o)}}
	if origin := f.settings.Access.Origin; origin != "" {
		n.page = origin + "/coldchain/"
	}
	secretOf := func(setting, path string) (string, error) {
		if path == "" {
			return "", nil
		}
		data, err := readInput(path, nil)
		if err != nil {
			return "", usageError("%s: %w", setting, err)
		}
		return string(bytes.TrimSpace(data)), nil
	}
	if c.Mail != "" {
		host, port, err := net.SplitHostPort(c.Mail)
		if err != nil {
			return nil, usageError("fleet.mail: %q is not like mail.example:587", c.Mail)
		}
		post := &notify.Post{Server: c.Mail, User: c.MailUser, From: c.From, Security: notify.StartTLS}
		switch ip, err := netip.ParseAddr(host); {
		case err == nil && ip.IsLoopback():
			post.Security = notify.Loopback
		case port == "465":
			post.Security = notify.Implicit
		}
		if post.Password, err = secretOf("fleet.mail_secret_file", c.MailSecretFile); err != nil {
			return nil, err
		}
		n.Post = post
	}
	if c.Broker != "" {
		at, err := url.Parse(c.Broker)
		if err != nil {
			return nil, usageError("fleet.broker: %w", err)
		}
		secret, err := secretOf("fleet.broker_secret_file", c.SecretFile)
		if err != nil {
			return nil, err
		}
		b := &notify.Broker{Address: at, User: c.User, Secret: secret, Client: "ampoule-notices"}
		if err := b.Open(ctx); err != nil {
			return nil, err
		}
		n.Publish = b.Publish
	}
	return n, nil
}

// kinds of what is wrong, by the rule: how people call it.
func whatIsWrong(rule string) string {
	switch {
	case rule == fleet.RuleSilent, rule == fleet.RuleForked, rule == "DOOR":
		return strings.ToLower(rule)
	case rule == "POWR":
		return "power"
	case rule == "FRZE" || rule == "T1-FRZ":
		return "freeze"
	case strings.Contains(rule, "LOW"):
		return "cold"
	}
	return "heat"
}

// send sends one notice to one target, in its language.
func (n *notices) send(ctx context.Context, to *fleet.Target, x *fleet.Notice, a *fleet.Alarm) error {
	l := messages.Accept(to.Language)
	zone, err := time.LoadLocation(to.Zone)
	if err != nil {
		zone = time.UTC
	}
	e := &a.Episode
	what := l.Text("notice.what." + whatIsWrong(e.Rule))
	subject := l.Text("notice.subject."+x.Kind, "name", a.Name, "what", what)
	since := time.Unix(e.Since, 0).In(zone).Format("2006-01-02 15:04 MST")
	lines := []string{subject, "", l.Text("notice.since", "time", since)}
	if e.Extreme != 0 {
		lines = append(lines, l.Text("notice.worst", "degrees", e.Extreme.String()))
	}
	if e.Until != 0 && a.State != fleet.Standing {
		lines = append(lines, l.Text("notice.until", "time", time.Unix(e.Until, 0).In(zone).Format("2006-01-02 15:04 MST")))
	}
	lines = append(lines, l.Text("notice.rule", "rule", e.Rule), l.Text("notice.place", "place", strings.Trim(a.Place.Organisation+", "+a.Place.Facility, ", ")))
	if n.page != "" {
		lines = append(lines, "", n.page)
	}
	data, err := json.Marshal(map[string]any{
		"alarm": a.ID, "version": x.Version, "kind": x.Kind, "organisation": a.Place.Organisation, "facility": a.Place.Facility, "equipment": a.Equipment,
		"name": a.Name, "rule": e.Rule, "since": e.Since, "at": e.At, "until": e.Until, "extreme": e.Extreme, "end": e.End, "state": a.State, "statement": a.Statement,
	})
	if err != nil {
		return err
	}
	err = n.Send(ctx, notify.Target{Kind: notify.Kind(to.Channel), Address: to.Address, Secret: to.Secret}, notify.Notice{
		ID: string(x.ID), Type: "alarm." + x.Kind, At: a.Changed, Subject: subject, Text: strings.Join(lines, "\n") + "\n", Data: data,
	})
	if errors.Is(err, notify.ErrPermanent) {
		return fmt.Errorf("%w: %w", fleet.ErrForGood, err)
	}
	return err
}
