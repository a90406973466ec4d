package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"ampoule/bundle"
	"ampoule/format"
	"ampoule/internal/config"
	"ampoule/internal/doctor"
	"ampoule/internal/keys"
	"ampoule/internal/store"
	"ampoule/trust"
)

type doctorCmd struct {
	configFlags
	JSON  bool   `name:"json" help:"One JSON object a line."`
	Host  string `placeholder:"NAME" help:"Name that clients call the server by: its TLS certificate must be for it."`
	Ready bool   `help:"Only ask the server that runs whether it is ready: for a container's health check."`
}

// Run looks for what an operator can get wrong. The exit code is 0 where all is
// well, 1 where something fails, and 2 where there are warnings only.
func (c *doctorCmd) Run(t terminal) error {
	settings, _, err := c.load()
	if c.Ready {
		if err != nil {
			return err
		}
		return askReady(t, settings)
	}
	ctx := context.Background()
	h := &doctor.Host{Now: time.Now(), Settings: settings, Hostname: c.Host}
	if err != nil {
		h.Settings, h.ConfigErr = nil, err
	} else {
		done := c.fill(ctx, h)
		defer done()
	}
	results := doctor.Run(ctx, h)
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	for _, r := range results {
		if c.JSON {
			writeJSON(t.out, r)
			continue
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", r.Level, r.Check, format.Visible(r.Means))
		if r.Fix != "" {
			fmt.Fprintf(w, "\t\t%s\n", format.Visible(r.Fix))
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	switch doctor.Worst(results) {
	case doctor.Fail:
		return exitError{exitNotValid, nil}
	case doctor.Warn:
		return exitError{exitUndecided, nil}
	}
	return nil
}

// fill tells the doctor where things are. done closes what was opened for it.
func (c *doctorCmd) fill(ctx context.Context, h *doctor.Host) (done func()) {
	settings := h.Settings
	h.Trust = func() (*trust.List, *bundle.Opened, error) { return loadTrust(settings, h.Now) }
	h.Backups = func() map[string]time.Time {
		out := make(map[string]time.Time)
		for kind, b := range readBackups(settings.Store.Dir) {
			out[kind] = b.At
		}
		return out
	}
	if settings.Store.Dir == "" {
		return func() {}
	}
	h.Master = masterFile(settings)
	h.Lock = func() (keys.Lock, error) { return storeLock(settings) }
	s, server, err := openSource(ctx, settings)
	h.Running = server
	if err != nil {
		h.Health = func(context.Context) (*store.Health, error) { return nil, err }
		return func() {}
	}
	h.Health, h.Audit = s.Health, s.VerifyAudit
	return func() { _ = s.Close() }
}

// loadTrust loads what the verifier of a server goes by, as serve does.
func loadTrust(settings *config.Config, now time.Time) (*trust.List, *bundle.Opened, error) {
	var opened *bundle.Opened
	if v := settings.Verifier; v.Bundle != "" {
		data, err := readBounded(v.Bundle, nil, bundle.MaxSize)
		if err != nil {
			return nil, nil, fmt.Errorf("verifier.bundle: %w", err)
		}
		roots, err := readRoots(v.Root)
		if err != nil {
			return nil, nil, err
		}
		if opened, err = bundle.Open(data, roots, now); err != nil {
			return nil, nil, fmt.Errorf("verifier.bundle: %w", err)
		}
	}
	flags := verifierFlags(settings)
	flags.HotKeys = 0
	v, err := flags.verifierOf(opened, func() time.Time { return now })
	if err != nil {
		return nil, nil, err
	}
	return v.Trust, opened, nil
}

// askReady asks the server of a configuration whether it is ready.
func askReady(t terminal, settings *config.Config) error {
	host, port, err := net.SplitHostPort(settings.Listen)
	if err != nil {
		return usageError("listen: %w", err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	scheme := "http"
	if settings.TLS.Certificate != "" {
		scheme = "https"
	}
	// The certificate is for the name that others call the server by. Nothing secret
	// is asked, and nothing that is answered is believed by anybody but a supervisor
	// of the same machine.
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	res, err := client.Get(scheme + "://" + net.JoinHostPort(host, port) + "/readyz")
	if err != nil {
		return exitError{exitNotValid, err}
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 4096))
	if err != nil {
		return exitError{exitNotValid, err}
	}
	said := format.Visible(strings.TrimSpace(string(text)))
	if res.StatusCode != http.StatusOK {
		return exitError{exitNotValid, errors.New(said)}
	}
	fmt.Fprintln(t.out, said)
	return nil
}
