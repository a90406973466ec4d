package main

import (
	"context"
	"crypto"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ampoule/internal/config"
	"ampoule/internal/gatewayapi"
	"ampoule/internal/httpapi"
	"ampoule/internal/store"
	"ampoule/party/gateway"
)

// newOperator makes the operator of the gateway that the settings name.
func newOperator(c *config.Config, book gateway.Book) (*gateway.Operator, error) {
	g := c.Gateway
	o := &gateway.Operator{Book: book, Now: time.Now, Properties: g.Properties}
	for _, path := range g.Anchors {
		key, err := publicKey(path)
		if err != nil {
			return nil, usageError("gateway.anchors: %w", err)
		}
		o.Anchors = append(o.Anchors, key)
	}
	for _, text := range g.Operators {
		name, path, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return nil, usageError("gateway.operators: %q is not like anna=anna.key.pem", text)
		}
		key, err := publicKey(path)
		if err != nil {
			return nil, usageError("gateway.operators: %w", err)
		}
		for _, other := range o.Operators {
			if e, ok := key.(interface{ Equal(crypto.PublicKey) bool }); other.Name == name || ok && e.Equal(other.Key) {
				return nil, usageError("gateway.operators: %s and %s have one name or one key: four eyes need two", other.Name, name)
			}
		}
		o.Operators = append(o.Operators, gateway.OperatorKey{Name: name, Key: key})
	}
	for _, text := range g.Domains {
		name, aliases, _ := strings.Cut(text, "=")
		d := gateway.Domain{Name: name}
		if aliases != "" {
			d.Aliases = strings.Split(aliases, "|")
		}
		o.Domains = append(o.Domains, d)
	}
	for _, text := range g.Rights {
		if !slices.Contains(gateway.Rights, gateway.Right(text)) {
			return nil, usageError("gateway.rights: there is no right %q", text)
		}
		o.Rights = append(o.Rights, gateway.Right(text))
	}
	for _, text := range g.Strict {
		switch text {
		case "dates":
			o.Strict.Dates = true
		case "keys":
			o.Strict.Keys = true
		case "usage":
			o.Strict.Usage = true
		case "outlive":
			o.Strict.Outlive = true
		default:
			return nil, usageError("gateway.strict: %q is none of dates, keys, usage, outlive", text)
		}
	}
	if g.ValueSets == "" {
		return o, nil
	}
	files, err := filepath.Glob(filepath.Join(g.ValueSets, "*.json"))
	if err != nil {
		return nil, usageError("gateway.value_sets: %w", err)
	}
	o.ValueSets = make(map[string][]byte)
	for _, path := range files {
		data, err := readInput(path, nil)
		if err != nil {
			return nil, usageError("gateway.value_sets: %w", err)
		}
		if !json.Valid(data) {
			return nil, usageError("gateway.value_sets: %s is not JSON", path)
		}
		o.ValueSets[strings.TrimSuffix(filepath.Base(path), ".json")] = data
	}
	return o, nil
}

// newGatewayDoor makes the gateway of a server, or nil where the settings name
// none.
func newGatewayDoor(c *config.Config, s *store.Store, log *slog.Logger) (*gatewayapi.Server, *namedGateway, error) {
	if c.Gateway.Name == "" {
		return nil, nil, nil
	}
	o, err := newOperator(c, s.Gateway())
	if err != nil {
		return nil, nil, err
	}
	door := &gatewayapi.Server{Operator: o, Log: log, Rate: c.Gateway.Rate, Burst: c.Gateway.Burst}
	for _, text := range c.Gateway.Proxies {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, nil, usageError("gateway.proxies: %q is no network such as 10.0.0.0/8", text)
		}
		door.Proxies = append(door.Proxies, network)
	}
	if c.Gateway.Public != "" {
		door.Public = os.DirFS(c.Gateway.Public)
	}
	return door, &namedGateway{o, c.Gateway.Name}, nil
}

// sweepEvery is how often batches are looked through for those that have expired.
const sweepEvery = time.Hour

// serveGateway serves the gateway until end is called.
func serveGateway(ctx context.Context, c *config.Config, door *gatewayapi.Server, failed chan<- error, log *slog.Logger) (end func(), err error) {
	listener, err := net.Listen("tcp", c.Gateway.Listen)
	if err != nil {
		return nil, exitError{exitUsage, fmt.Errorf("gateway: listen: %w", err)}
	}
	scheme := "http"
	if c.Gateway.Certificate != "" {
		scheme = "https"
		renewed := &renewedCertificate{certificate: c.Gateway.Certificate, key: c.Gateway.Key, log: log}
		if _, err := renewed.get(nil); err != nil {
			return nil, errors.Join(usageError("gateway: %w", err), listener.Close())
		}
		listener = tls.NewListener(listener, gatewayapi.TLS(renewed.get, door.Public != nil))
	}
	server := httpapi.NewServer(door.Handler(), log)
	go func() { failed <- server.Serve(listener) }()
	log.Info("serving the gateway", "address", scheme+"://"+listener.Addr().String())
	sweeping, stop := context.WithCancel(ctx)
	swept := make(chan struct{})
	go func() {
		defer close(swept)
		tick := time.NewTicker(sweepEvery)
		defer tick.Stop()
		for {
			if n, err := door.Operator.ExpireBatches(sweeping); err != nil && sweeping.Err() == nil {
				log.Error("expired batches stay", "error", err.Error())
			} else if n > 0 {
				log.Info("expired batches deleted", "count", n)
			}
			select {
			case <-tick.C:
			case <-sweeping.Done():
				return
			}
		}
	}()
	return func() {
		stop()
		<-swept
		shutdown, cancel := context.WithTimeout(context.Background(), c.HTTP.Stop)
		defer cancel()
		if err := server.Shutdown(shutdown); err != nil {
			log.Warn("the gateway has not ended well", "error", err.Error())
		}
	}, nil
}
