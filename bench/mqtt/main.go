// Mqtt measures the embedded broker, by turns in one run: the broker of the library as it
// is, ours with the fleet and the store that are served, which keep the reading of every
// message on the disk before it is acknowledged, and mosquitto where it is installed. The
// clients are another process on the same machine.
//
//	go run ./bench/mqtt
//
// The ratios are those of docs/benchmarks.md.
package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"

	"ampoule/internal/mqttapi"
	"ampoule/internal/store"
	"ampoule/party/fleet"
)

const (
	connections = 100
	payloadSize = 200
	first       = 1767225600 // the time of the first reading
	topic       = "s/bench/senml"
)

func main() {
	rounds := flag.Int("rounds", 5, "rounds")
	seconds := flag.Float64("seconds", 3, "of each measurement")
	load := flag.String("load", "", "be the clients of the broker at this address, and nothing else")
	window := flag.Int("window", 1, "messages that a client has on their way, with -load")
	profile := flag.String("profile", "", "write CPU profiles of ours, one a window, to files that begin so")
	flag.Parse()
	var err error
	if *load != "" {
		err = clients(*load, *window, time.Duration(*seconds*float64(time.Second)))
	} else {
		err = run(*rounds, *seconds, *profile)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mqtt:", err)
		os.Exit(1)
	}
}

// result is what the clients saw.
type result struct {
	Acked    int
	Rate     float64 // acknowledged messages a second
	P50, P99 float64 // ms from a message to its acknowledgement
}

// clients send as fast as they are acknowledged, and write a result.
func clients(address string, window int, during time.Duration) error {
	var mu sync.Mutex
	var waits []time.Duration
	var failed error
	var all sync.WaitGroup
	begin := time.Now()
	for i := range connections {
		all.Go(func() {
			own, err := client(address, i, window, begin.Add(during))
			mu.Lock()
			defer mu.Unlock()
			waits = append(waits, own...)
			failed = errors.Join(failed, err)
		})
	}
	all.Wait()
	took := time.Since(begin)
	if failed != nil || len(waits) == 0 {
		return fmt.Errorf("clients: %d messages: %w", len(waits), failed)
	}
	slices.Sort(waits)
	at := func(share float64) float64 { return waits[int(share*float64(len(waits)-1))].Seconds() * 1000 }
	return json.NewEncoder(os.Stdout).Encode(result{len(waits), float64(len(waits)) / took.Seconds(), at(0.5), at(0.99)})
}

// client is one connection of MQTT 3.1.1, no more than is needed for QoS 1.
func client(address string, number, window int, until time.Time) ([]time.Duration, error) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	_ = c.SetDeadline(until.Add(30 * time.Second))
	name := fmt.Sprintf("bench-%d", number)
	connect := append([]byte{0, 4, 'M', 'Q', 'T', 'T', 4, 0x82, 0, 0, 0, byte(len(name))}, name...) // clean session, with a name
	connect = append(connect, 0, 5, 'b', 'e', 'n', 'c', 'h')
	if _, err := c.Write(append([]byte{0x10, byte(len(connect))}, connect...)); err != nil {
		return nil, err
	}
	r := bufio.NewReader(c)
	var answer [4]byte
	if _, err := io.ReadFull(r, answer[:]); err != nil || answer[3] != 0 {
		return nil, fmt.Errorf("not connected: %x: %w", answer, err)
	}
	body := append([]byte{0, byte(len(topic))}, topic...)
	at := len(body)
	body = append(body, 0, 0)
	// A pack of one reading; its time counts on with each message.
	pack := fmt.Sprintf(`[{"n":"urn:dev:mac:0024bef0%08x/TVC","u":"Cel","v":4.5,"t":%010d}`, number, first)
	body = append(body, pack...)
	mark := len(body) - len("0000000000}")
	body = append(append(body, bytes.Repeat([]byte(" "), payloadSize-len(pack)-1)...), ']')
	publish := append(binary.AppendUvarint([]byte{0x32}, uint64(len(body))), body...)
	at += len(publish) - len(body)
	mark += len(publish) - len(body)
	sent := make([]time.Time, window+1)
	var waits []time.Duration
	n := uint64(0)
	send := func(id int) error {
		n++
		binary.BigEndian.PutUint16(publish[at:], uint16(id))
		copy(publish[mark:], strconv.FormatUint(first+n, 10))
		sent[id] = time.Now()
		_, err := c.Write(publish)
		return err
	}
	for id := 1; id <= window; id++ {
		if err := send(id); err != nil {
			return waits, err
		}
	}
	for open := window; open > 0; {
		if _, err := io.ReadFull(r, answer[:]); err != nil || answer[0] != 0x40 {
			return waits, fmt.Errorf("no acknowledgement: %x: %w", answer, err)
		}
		id := int(binary.BigEndian.Uint16(answer[2:]))
		now := time.Now()
		waits = append(waits, now.Sub(sent[id]))
		if now.After(until) {
			open--
			continue
		}
		if err := send(id); err != nil {
			return waits, err
		}
	}
	return waits, nil
}

// run measures the systems by turns.
func run(rounds int, seconds float64, profile string) error {
	folder, err := os.MkdirTemp("", "mqtt")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	systems := []struct {
		name  string
		start func(folder string) (address string, stop func(acked int) error, err error)
	}{{"mochi", startMochi}, {"ours, nothing kept", startIdle}, {"ours, on the disk", startOurs}, {"ours, messages too", startRaw}, {"mosquitto", startMosquitto}}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for _, window := range []int{1, 16} {
		all := map[string][]result{}
		cpu := map[string][]float64{}
		for round := range rounds {
			for _, s := range systems {
				place := filepath.Join(folder, fmt.Sprint(window, round, len(all[s.name]), s.name))
				if err := os.Mkdir(place, 0o700); err != nil {
					return err
				}
				address, stop, err := s.start(place)
				if errors.Is(err, exec.ErrNotFound) {
					continue
				} else if err != nil {
					return fmt.Errorf("%s: %w", s.name, err)
				}
				stopProfile, err := profiled(profile, window, s.name == "ours, on the disk" && round == rounds-1)
				if err != nil {
					return err
				}
				before := used()
				out, err := exec.Command(self, "-load", address, "-window", fmt.Sprint(window), "-seconds", fmt.Sprint(seconds)).Output()
				spent := used() - before
				var r result
				if err == nil {
					err = json.Unmarshal(out, &r)
				}
				if err := errors.Join(err, stopProfile(), stop(r.Acked)); err != nil {
					return fmt.Errorf("%s: %w", s.name, err)
				}
				all[s.name] = append(all[s.name], r)
				cpu[s.name] = append(cpu[s.name], spent.Seconds()*1e6/(r.Rate*seconds))
			}
		}
		fmt.Printf("window %d, %d connections, QoS 1, %d bytes, median of %d\n", window, connections, payloadSize, rounds)
		for _, s := range systems {
			if len(all[s.name]) == 0 {
				fmt.Printf("  %-20s not installed\n", s.name)
				continue
			}
			line := fmt.Sprintf("  %-20s %7.0f messages/s  p50 %6.2f ms  p99 %6.2f ms", s.name, median(all[s.name], func(r result) float64 { return r.Rate }),
				median(all[s.name], func(r result) float64 { return r.P50 }), median(all[s.name], func(r result) float64 { return r.P99 }))
			if s.name != "mosquitto" {
				line += fmt.Sprintf("  %5.1f µs of CPU", median(cpu[s.name], func(f float64) float64 { return f }))
			}
			fmt.Println(line)
		}
		ratio := func(of, by string) {
			var each []float64
			for i := range min(len(all[of]), len(all[by])) {
				each = append(each, all[of][i].Rate/all[by][i].Rate)
			}
			if len(each) > 0 {
				fmt.Printf("  %s / %s: %.2f (%.2f to %.2f)\n", of, by, median(each, func(f float64) float64 { return f }), slices.Min(each), slices.Max(each))
			}
		}
		ratio("ours, on the disk", "mochi")
		ratio("ours, messages too", "mochi")
		ratio("ours, nothing kept", "mochi")
		ratio("ours, on the disk", "mosquitto")
	}
	return nil
}

// profiled begins a profile of this process where one is wanted.
func profiled(begins string, window int, wanted bool) (stop func() error, err error) {
	if begins == "" || !wanted {
		return func() error { return nil }, nil
	}
	f, err := os.Create(fmt.Sprintf("%s%d", begins, window))
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, err
	}
	return func() error { pprof.StopCPUProfile(); return f.Close() }, nil
}

func median[T any](all []T, of func(T) float64) float64 {
	var f []float64
	for _, one := range all {
		f = append(f, of(one))
	}
	slices.Sort(f)
	return f[len(f)/2]
}

// used is the CPU time of this process.
func used() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func listen() (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") }

// everybody lets all in.
type everybody struct{ mochi.HookBase }

func (*everybody) ID() string { return "everybody" }
func (*everybody) Provides(b byte) bool {
	return b == mochi.OnConnectAuthenticate || b == mochi.OnACLCheck
}
func (*everybody) OnConnectAuthenticate(*mochi.Client, packets.Packet) bool { return true }
func (*everybody) OnACLCheck(*mochi.Client, string, bool) bool              { return true }

func startMochi(string) (string, func(int) error, error) {
	l, err := listen()
	if err != nil {
		return "", nil, err
	}
	s := mochi.New(&mochi.Options{Logger: slog.New(slog.DiscardHandler), SysTopicResendInterval: 3600})
	if err := errors.Join(s.AddHook(new(everybody), nil), s.AddListener(listeners.NewNet("bench", l)), s.Serve()); err != nil {
		return "", nil, err
	}
	return l.Addr().String(), func(int) error { return s.Close() }, nil
}

// account is the only one who sends.
type account struct{}

func (account) Secret(context.Context, string, string) (fleet.Source, error) {
	return fleet.Source{Supplier: "bench", Organisation: "bench"}, nil
}
func (account) Certificate(context.Context, *x509.Certificate) (fleet.Source, error) {
	return fleet.Source{}, mqttapi.ErrNobody
}

func start(into fleet.Ingester, end func(acked int) error) (string, func(int) error, error) {
	l, err := listen()
	if err != nil {
		return "", nil, err
	}
	s := &mqttapi.Server{Ingester: into, Who: account{}, Log: slog.New(slog.DiscardHandler)}
	if err := s.Start(mqttapi.Listener{Listener: l}); err != nil {
		return "", nil, err
	}
	return l.Addr().String(), func(acked int) error { return errors.Join(s.Close(), end(acked)) }, nil
}

// idle keeps nothing.
type idle struct{}

func (idle) Ingest(context.Context, *fleet.Delivery) (fleet.Receipt, error) {
	return fleet.Receipt{Stored: 1}, nil
}

func startIdle(string) (string, func(int) error, error) {
	return start(idle{}, func(int) error { return nil })
}

// startOurs is the broker on the store of readings as it is served. What the clients send
// is a pack of one reading, of a device for each client.
func startOurs(folder string) (string, func(int) error, error) { return startStore(folder, 0) }

// startRaw keeps the messages as they came too.
func startRaw(folder string) (string, func(int) error, error) {
	return startStore(folder, 30*24*time.Hour)
}

func startStore(folder string, raw time.Duration) (string, func(int) error, error) {
	book, err := store.OpenFleet(context.Background(), store.Config{Dir: folder})
	if err != nil {
		return "", nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", nil, err
	}
	f := &fleet.Fleet{Book: book, Signer: key, Now: time.Now, Log: slog.New(slog.DiscardHandler), KeepRaw: raw}
	return start(f, func(acked int) error {
		kept := 0
		for last := int64(0); ; {
			page, err := book.Arrived(context.Background(), last, 1000)
			if err != nil || len(page) == 0 {
				if kept != acked {
					err = errors.Join(err, fmt.Errorf("%d readings are kept, and %d were acknowledged", kept, acked))
				}
				return errors.Join(err, book.Close())
			}
			for i := range page {
				kept, last = kept+page[i].Count, page[i].N
			}
		}
	})
}

func startMosquitto(folder string) (string, func(int) error, error) {
	program, err := exec.LookPath("mosquitto")
	if err != nil {
		if program, err = exec.LookPath("/usr/sbin/mosquitto"); err != nil {
			return "", nil, exec.ErrNotFound
		}
	}
	l, err := listen()
	if err != nil {
		return "", nil, err
	}
	address := l.Addr().String()
	_, port, _ := net.SplitHostPort(address)
	l.Close()
	config := filepath.Join(folder, "mosquitto.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, "listener %s 127.0.0.1\nallow_anonymous true\nmax_inflight_messages 0\nlog_type none\n", port), 0o600); err != nil {
		return "", nil, err
	}
	c := exec.Command(program, "-c", config)
	var said bytes.Buffer
	c.Stderr = &said
	if err := c.Start(); err != nil {
		return "", nil, err
	}
	for range 200 {
		if probe, err := net.Dial("tcp", address); err == nil {
			probe.Close()
			return address, func(int) error { _ = c.Process.Kill(); _ = c.Wait(); return nil }, nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	_ = c.Process.Kill()
	_ = c.Wait()
	return "", nil, fmt.Errorf("mosquitto does not listen: %s", said.String())
}
