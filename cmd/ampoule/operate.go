package main

import (
	"context"
	"encoding/hex"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"ampoule/internal/config"
	"ampoule/internal/control"
	"ampoule/internal/httpapi"
	"ampoule/internal/keys"
	"ampoule/internal/redact"
	"ampoule/internal/store"
	"ampoule/internal/telemetry"
)

// newLog is the log of a server: lines of JSON, with the attributes that may stand
// in one.
func newLog(t terminal, c *config.Config) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Log.Level)); err != nil {
		return nil, usageError("log.level: %w", err)
	}
	return slog.New(redact.New(slog.NewJSONHandler(t.err, &slog.HandlerOptions{Level: level}))), nil
}

// operated is what an operator sees of a server: its control socket, metrics,
// traces and checks.
type operated struct {
	measures *measures
	stops    []func() error
}

// operate begins what an operator sees. s is nil where the server has no store,
// and g where it has no gateway.
func operate(c *config.Config, m *measures, s *store.Store, desk control.Desk, g control.Gateway, signing []*keys.Key, f *httpapi.Front, log *slog.Logger) (_ *operated, err error) {
	o := &operated{measures: m}
	defer func() {
		if err != nil {
			o.stop(log)
		}
	}()
	m.store, m.signing = s, signing
	f.Register(m)
	if s != nil {
		f.Checks = append(f.Checks, httpapi.Check{Name: "store", Run: s.Ready})
		stop, err := control.Serve(c.Store.Dir, s, desk, g, log)
		if err != nil {
			return nil, err
		}
		o.stops = append(o.stops, stop)
	}
	if c.Telemetry.OTLP != "" {
		tracer, err := telemetry.Start(c.Telemetry.OTLP, version, log)
		if err != nil {
			return nil, exitError{exitUsage, err}
		}
		f.Answered = func(a httpapi.Answered) {
			tracer.Answered(a.Route, a.Method, a.TraceParent, a.Status, a.Begun, a.Took)
		}
		o.stops = append(o.stops, func() error {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			defer cancel()
			return tracer.Close(ctx)
		})
	}
	return o, nil
}

// stop ends it.
func (o *operated) stop(log *slog.Logger) {
	for _, stop := range o.stops {
		if err := stop(); err != nil {
			log.Warn("not ended well", "error", err.Error())
		}
	}
}

// hangups gives a signal for every SIGHUP: files are to be read again.
func hangups() (<-chan os.Signal, func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP)
	return c, func() { signal.Stop(c) }
}

// loadSigningKeys loads the signing keys of a store: those with a certificate, each
// identifier once.
func loadSigningKeys(c *config.Config) ([]*keys.Key, error) { return loadKeys(c, signingFolder) }

// loadKeys loads those of a folder in that of the store.
func loadKeys(c *config.Config, folder string) (out []*keys.Key, err error) {
	lock, err := storeLock(c)
	if err != nil {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(c.Store.Dir, folder, "*.key"))
	if err != nil {
		return nil, err
	}
	seen := make(map[string]string)
	for _, path := range files {
		k, err := keys.Load(path, lock)
		if err != nil {
			return nil, exitError{exitUsage, err}
		}
		if k.Certificate() == nil {
			return nil, usageError("%s: %w", path, errors.New("the key has no certificate"))
		}
		kid := hex.EncodeToString(k.KID())
		if seen[kid] != "" {
			return nil, usageError("%s and %s have the same key identifier %s", seen[kid], path, kid)
		}
		seen[kid] = path
		out = append(out, k)
	}
	return out, nil
}
