package mqttapi

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"

	"ampoule/internal/fleettest"
	"ampoule/party/fleet"
)

// outside starts mosquitto as the broker elsewhere.
func outside(t *testing.T) *world {
	t.Helper()
	program, err := exec.LookPath("mosquitto")
	if err != nil {
		if program = "/usr/sbin/mosquitto"; !exists(program) {
			t.Skip("no mosquitto")
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_, port, _ := net.SplitHostPort(address)
	l.Close()
	config := filepath.Join(t.TempDir(), "mosquitto.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, "listener %s 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n", port), 0o600); err != nil {
		t.Fatal(err)
	}
	broker := exec.Command(program, "-c", config)
	if err := broker.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = broker.Process.Kill()
		_ = broker.Wait()
	})
	eventually(t, "mosquitto listens", func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return &world{address: address}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func (w *world) consumer(client string, memory *fleettest.Memory, log *safe) *Consumer {
	at, _ := url.Parse("mqtt://" + w.address)
	return &Consumer{Ingester: memory, Broker: at, Client: client, Group: "ampoule", Log: slog.New(slog.NewTextHandler(log, nil)), Window: 16}
}

func TestConsumer(t *testing.T) {
	w := outside(t)
	memory, log := &fleettest.Memory{}, &safe{}
	run := func(client string) (stop func()) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.consumer(client, memory, log).Run(ctx) }()
		return func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
	// The first keeps nothing: the store is full until it is stopped.
	var full atomic.Bool
	var tried atomic.Int32
	full.Store(true)
	memory.Before(func(context.Context, *fleet.Delivery) error {
		tried.Add(1)
		if full.Load() {
			return fleet.ErrFull
		}
		return nil
	})
	stop := run("one")
	eventually(t, "a first message comes", func() bool {
		if out, err := tool(t, "mosquitto_pub", w, "-V", "mqttv5", "-q", "1", "-t", "d/2.25.77/senml", "-m", string(reading(0))); err != nil {
			t.Fatal(out, err)
		}
		return tried.Load() > 0
	})
	for n := 1; n < 40; n++ {
		topic := []string{"d/2.25.77/senml", "s/specimen/senml", "d/2.25.78/senml"}[n%3]
		if out, err := tool(t, "mosquitto_pub", w, "-q", "1", "-t", topic, "-m", string(reading(n))); err != nil {
			t.Fatal(out, err)
		}
	}
	stop()
	if memory.Kept() != 0 {
		t.Fatal("kept")
	}
	// Its place is taken by itself, come again, and by another.
	full.Store(false)
	stop = run("one")
	stopOther := run("two")
	kept := func(n int) func() bool { return func() bool { return memory.Kept() >= n } }
	eventually(t, "all are kept", kept(40))
	for topic, body := range map[string]string{"cce/specimen": "no transmission", "s/a/cce": "{}"} {
		if out, err := tool(t, "mosquitto_pub", w, "-q", "2", "-t", topic, "-m", body); err != nil {
			t.Fatal(out, err)
		}
	}
	eventually(t, "what cannot be read is kept aside", func() bool {
		n := 0
		for _, d := range memory.Deliveries() {
			if len(d.Findings) == 1 && d.Supplier != "" {
				n++
			}
		}
		return n == 2
	})
	for n := 40; n < 60; n++ {
		if out, err := tool(t, "mosquitto_pub", w, "-q", "1", "-t", "s/specimen/senml", "-m", string(reading(n))); err != nil {
			t.Fatal(out, err)
		}
	}
	eventually(t, "both share the work", kept(60))
	stop()
	stopOther()
	if err := (&Consumer{}).Run(t.Context()); err == nil {
		t.Error("a consumer of nothing")
	}
}

func TestOfTopic(t *testing.T) {
	for topic, want := range map[string]string{"d/2.25.77/senml": " 2.25.77", "s/x/cce": "x ", "cce/x": "x ", "d/x/senml": "error", "s//cce": "error", "cce/": "error", "a/b/c": "error", "": "error"} {
		source, err := OfTopic(topic)
		got := source.Supplier + " "
		if source.Device != "" {
			got += source.Device.String()
		}
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%s: %q", topic, got)
		}
	}
}
