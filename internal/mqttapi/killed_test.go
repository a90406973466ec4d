package mqttapi

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/paho"

	"ampoule/internal/fleettest"
	"ampoule/party/fleet"
)

// With these in the environment the test binary is a broker, in a folder and at an
// address.
const folderOf, addressOf = "MQTTAPI_TEST_FOLDER", "MQTTAPI_TEST_ADDRESS"

func TestMain(m *testing.M) {
	if folder := os.Getenv(folderOf); folder != "" {
		if err := serve(folder, os.Getenv(addressOf)); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// file is a store of lines, each synced before it counts.
type file struct {
	mu sync.Mutex
	f  *os.File
}

func (f *file) lines(all ...any) error {
	var out []byte
	for _, v := range all {
		text, err := json.Marshal(v)
		if err != nil {
			return err
		}
		out = append(append(out, text...), '\n')
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, err := f.f.Write(out); err != nil {
		return err
	}
	return f.f.Sync()
}

func (f *file) Ingest(_ context.Context, d *fleet.Delivery) (fleet.Receipt, error) {
	var all []any
	for _, s := range d.Series {
		all = append(all, s.Readings[0].At)
	}
	return fleet.Receipt{Stored: len(all)}, f.lines(all...)
}

// sessions of a file: the last line of an identifier counts.
func (f *file) Save(_ context.Context, s Session) error { return f.lines(s) }
func (f *file) Drop(_ context.Context, id string) error { return f.lines(Session{ID: id}) }
func (f *file) Load(context.Context) ([]Session, error) {
	last := map[string]Session{}
	in := bufio.NewScanner(f.f)
	for in.Scan() {
		var s Session
		if json.Unmarshal(in.Bytes(), &s) == nil { // the last line may be cut off
			last[s.ID] = s
		}
	}
	var all []Session
	for _, s := range last {
		if s.Version != 0 {
			all = append(all, s)
		}
	}
	return all, in.Err()
}

func serve(folder, address string) error {
	open := func(name string) (*file, error) {
		f, err := os.OpenFile(filepath.Join(folder, name), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
		return &file{f: f}, err
	}
	readings, err := open("readings")
	if err != nil {
		return err
	}
	sessions, err := open("sessions")
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	s := &Server{
		Ingester: readings, Sessions: sessions, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
		Who: &fleettest.Accounts{Secrets: map[string]fleet.Source{":" + secret: {Supplier: "specimen"}}, Nobody: ErrNobody},
	}
	if err := s.Start(Listener{Listener: l}); err != nil {
		return err
	}
	select {} // until it is killed
}

// A broker is killed, five times, while clients of both versions send; nothing of what
// they handed to their libraries is lost.
func TestSIGKILL(t *testing.T) {
	const each = 400
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address, folder := l.Addr().String(), t.TempDir()
	l.Close()
	var broker *exec.Cmd
	start := func() {
		broker = exec.Command(self)
		broker.Env = append(os.Environ(), folderOf+"="+folder, addressOf+"="+address)
		broker.Stderr = os.Stderr
		if err := broker.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the broker listens", func() bool {
			c, err := net.Dial("tcp", address)
			if err == nil {
				c.Close()
			}
			return err == nil
		})
	}
	kill := func() {
		_ = broker.Process.Kill()
		_ = broker.Wait()
	}
	start()
	t.Cleanup(func() { kill() })
	old := three(t, address, "a", nil)
	m := five(t, address, "b")
	var done sync.WaitGroup
	done.Go(func() {
		for n := range each {
			old.Publish("s/specimen/senml", 1, false, reading(n))
			time.Sleep(2 * time.Millisecond)
		}
	})
	done.Go(func() {
		for n := range each {
			if err := m.PublishViaQueue(t.Context(), &autopaho.QueuePublish{Publish: &paho.Publish{Topic: "s/specimen/senml", QoS: 1, Payload: reading(1000 + n)}}); err != nil {
				t.Error(err)
			}
			time.Sleep(2 * time.Millisecond)
		}
	})
	for range 5 {
		time.Sleep(150 * time.Millisecond)
		kill()
		start()
	}
	done.Wait()
	lines := 0
	eventually(t, fmt.Sprintf("all are kept, of %d", 2*each), func() bool {
		text, err := os.ReadFile(filepath.Join(folder, "readings"))
		if err != nil {
			return false
		}
		kept := map[string]bool{}
		lines = 0
		for line := range strings.Lines(string(text)) {
			kept[line] = true
			lines++
		}
		return len(kept) == 2*each
	})
	t.Logf("%d messages for %d readings", lines, 2*each)
}
