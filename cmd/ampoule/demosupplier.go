package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"ampoule/coldchain"
	"ampoule/coldchain/simulation"
	"ampoule/device"
	"ampoule/internal/access"
	"ampoule/internal/deviceapi"
	"ampoule/internal/httpapi"
	"ampoule/party/fleet"
)

// demoSupplier is a supplier that does not exist: it pushes what two loggers of its own
// say to the door for devices, by DS01 and over TLS. It lives through its first days by a
// clock of its own, which the door goes by too, and breaks some of its duties as others do.
type demoSupplier struct {
	account, token string
	loggers        []*simulated
	address        string
	client         *http.Client
	past           atomic.Int64 // seconds since 1970 by its clock; 0: it is now
	messages       int
}

const (
	supplierDays  = 4
	supplierEvery = 6 * time.Hour
	// supplierInterval is that of the records of DS01.
	supplierInterval = 15 * time.Minute
)

func (p *demoSupplier) now() time.Time {
	if at := p.past.Load(); at != 0 {
		return time.Unix(at, 0)
	}
	return time.Now()
}

// wait lets time go by.
func (p *demoSupplier) wait(ctx context.Context, d time.Duration) error {
	if p.past.Load() != 0 {
		p.past.Add(int64(d / time.Second))
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// transmission is a message of the supplier: when it is sent again its identifier and its
// reports stay.
type transmission struct {
	id      string
	reports []map[string]any
}

// next is what the loggers have measured since the last message.
func (p *demoSupplier) next(records int64) *transmission {
	p.messages++
	t := &transmission{id: fmt.Sprintf("demonstration-%d-%d", p.now().Unix(), p.messages)}
	for _, l := range p.loggers {
		all, _ := l.take(records)
		t.reports = append(t.reports, l.report(all))
	}
	return t
}

// record is one of the first logger's, counted from the last.
func (t *transmission) record(back int) map[string]any {
	records := t.reports[0]["records"].([]map[string]any)
	return records[len(records)-1-back]
}

// push sends it once.
func (p *demoSupplier) push(ctx context.Context, t *transmission) (status int, err error) {
	content, err := json.Marshal(map[string]any{
		"meta": map[string]any{"schemaVersion": "0.8.1", "transferType": "ems", "transferId": t.id, "transferSrc": "org.specimen", "transferredAt": p.now().UTC().Format(time.RFC3339)},
		"data": t.reports,
	})
	if err != nil {
		return 0, err
	}
	var body bytes.Buffer
	z := gzip.NewWriter(&body)
	if _, err := z.Write(content); err != nil {
		return 0, err
	}
	if err := z.Close(); err != nil {
		return 0, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.address+"/cce", &body)
	if err != nil {
		return 0, err
	}
	r.Header = http.Header{"Authorization": {"Bearer " + p.token}, "Content-Type": {fleet.MediaCCE}, "Content-Encoding": {"gzip"}}
	res, err := p.client.Do(r)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode, nil
}

// deliver sends until it is taken, at distances that grow from a minute: Retry-After it has
// never heard of. What is refused for good is given up, and so is what was tried for a day.
func (p *demoSupplier) deliver(ctx context.Context, t *transmission) error {
	for distance, begun := time.Minute, p.now(); p.now().Sub(begun) < 24*time.Hour; distance *= 2 {
		status, err := p.push(ctx, t)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		again := err != nil || status == http.StatusNotFound || status == http.StatusRequestTimeout || status == http.StatusConflict || status == http.StatusTooManyRequests ||
			status >= 500 && status != http.StatusNotImplemented && status != http.StatusHTTPVersionNotSupported
		if !again {
			return nil
		}
		if err := p.wait(ctx, distance); err != nil {
			return err
		}
	}
	return nil
}

// suppliers lets a supplier push: four days at once, and from then on a record at a time.
func (d *demo) suppliers(ctx context.Context, s *service) error {
	p, f := d.supplier, s.fleet
	certificate, err := f.door()
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	api := f.api(nil)
	api.Now = p.now
	server := httpapi.NewServer(api.Handler(), s.log)
	go func() { _ = server.Serve(tls.NewListener(listener, deviceapi.TLS(certificate))) }()
	context.AfterFunc(ctx, func() { _ = server.Close() })
	p.address = "https://" + listener.Addr().String()
	// A redirect is answered like any other status: DS01 has none followed.
	p.client = &http.Client{
		Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: f.ours}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}

	start := time.Now().Add(-supplierDays * 24 * time.Hour).Truncate(supplierInterval)
	for i, kind := range []simulation.Kind{simulation.IceLined, simulation.Mains} {
		l := &simulated{kind: simulatedKinds[i].name, profile: coldchain.Refrigerated}
		if l.name, err = device.NewName(device.Serial, fmt.Sprintf("PEN%s/D-%d", simulatedPEN, i+1)); err != nil {
			return err
		}
		l.unit = simulation.New(uint64(100+i), simulation.Config{Kind: kind, Start: start.Unix(), Interval: int64(supplierInterval / time.Second)})
		p.loggers = append(p.loggers, l)
	}
	p.past.Store(start.Unix())
	if err := p.first(ctx, &f.plans); err != nil {
		return err
	}
	f.plans.Clear(p.account)
	p.past.Store(0)
	go func() {
		for p.wait(ctx, supplierInterval) == nil {
			if err := p.deliver(ctx, p.next(1)); err != nil {
				return
			}
		}
	}()
	return nil
}

// first are its first days, and what went wrong in them.
func (p *demoSupplier) first(ctx context.Context, plans *deviceapi.Plans) error {
	fail := func(faults ...fleet.Fault) error {
		return plans.Set(fleet.Plan{Supplier: p.account, From: p.now().Add(-time.Minute), Until: p.now().Add(supplierEvery), Faults: faults})
	}
	begun, records := p.now(), int64(supplierEvery/supplierInterval)
	for n := range supplierDays * int(24*time.Hour/supplierEvery) {
		p.past.Store(begun.Add(time.Duration(n+1) * supplierEvery).Unix())
		t := p.next(records)
		var err error
		switch n {
		case 2: // the service was away for an hour
			down := fleet.Fault{Status: http.StatusServiceUnavailable}
			err = fail(down, down, down, down, down, down)
		case 4: // and once it asked for more time than it was given
			err = fail(fleet.Fault{Status: http.StatusTooManyRequests, Wait: 600})
		case 6: // a door: told at once
			t.record(0)["ALRM"] = "DOOR"
		case 8: // a sensor that said nothing, without a word of why
			t.record(3)["TVC"] = nil
		case 9: // heat: told with the next regular message
			t.record(5)["ALRM"] = "HEAT"
		}
		if err == nil {
			err = p.deliver(ctx, t)
		}
		if err == nil && n == 7 { // it forgot that this was taken
			if err = p.wait(ctx, 10*time.Minute); err == nil {
				err = p.deliver(ctx, t)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// supplierOf makes the account of the supplier, with a token that may send readings.
func supplierOf(ctx context.Context, accounts *access.Accounts, login *access.Login) (*demoSupplier, error) {
	v := &access.Visitor{Principal: login.Account.Principal(), Account: login.Account, Session: &login.Session}
	_, token, err := accounts.MakeToken(ctx, v, "transmissions", []access.Action{access.ReadingsSend}, "", 90*24*time.Hour)
	return &demoSupplier{account: login.Account.ID, token: token}, err
}
