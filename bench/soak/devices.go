package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	_ "modernc.org/sqlite"

	"ampoule/coldchain"
	"ampoule/device"
	"ampoule/internal/store"
	"ampoule/party/fleet"
)

// shape is how many devices speak in which way, each once a minute.
type shape struct{ connections, each int }

var shapes = map[string]shape{"gateways": {1000, 100}, "direct": {20000, 1}}

// sparedFiles are for all but connections.
const sparedFiles = 200

// crowd is devices under way.
type crowd struct {
	*soak
	shape
	broker, secret, account string

	acked, sent, again atomic.Int64 // readings; connections that were lost

	mu    sync.Mutex // guards waits
	waits []time.Duration
}

func deviceName(n int) string { return fmt.Sprintf("0024bef0%08x", n) }

// runDevices loads the door for devices.
func runDevices(binary, kind string, last time.Duration) error {
	how, known := shapes[kind]
	if !known {
		return fmt.Errorf("-devices %s: gateways or direct", kind)
	}
	// Each side holds one end of every connection.
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return err
	}
	files.Cur = files.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return err
	}
	how.connections = min(how.connections, int(files.Max)-sparedFiles)
	dir, err := os.MkdirTemp("", "ampoule-soak-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if binary, err = filepath.Abs(binary); err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	c := &crowd{soak: &soak{binary: binary, dir: dir}, shape: how, broker: l.Addr().String()}
	l.Close()
	c.set = []string{"fleet.plain_mqtt=" + c.broker, "fleet.connections=25000", "fleet.raw=0s"}
	// Step 1: a service with as many devices, each in equipment of its own.
	server, stdout, err := c.serve()
	if err != nil {
		return err
	}
	desk, err := openDesk(context.Background(), c.address, stdout, "cold-chain-manager", "readings:send", "fleet:read")
	if err != nil {
		return errors.Join(err, server.Process.Kill())
	}
	c.secret, c.account = desk.token, desk.account
	if err := errors.Join(server.Process.Signal(os.Interrupt), server.Wait()); err != nil {
		return err
	}
	begun := time.Now()
	if err := c.seed(); err != nil {
		return err
	}
	fmt.Printf("%d devices registered in %.1f s\n", c.connections*c.each, time.Since(begun).Seconds())
	begun = time.Now()
	if server, _, err = c.serve(); err != nil {
		return err
	}
	fmt.Printf("ready %.1f s after the start\n", time.Since(begun).Seconds())
	// Step 2: they speak, each at its second of the minute.
	ctx, cancel := context.WithTimeout(context.Background(), last+time.Minute)
	defer cancel()
	var group sync.WaitGroup
	start := time.Now()
	for n := range c.connections {
		group.Go(func() { c.speak(ctx, n, start.Add(time.Duration(n)*time.Minute/time.Duration(c.connections))) })
	}
	// Step 3: what the server is by then. In the first minute they come.
	var samples []sample
	fmt.Println("| minute | memory, MB | goroutines | CPU of two cores | readings/s | p50 ms | p99 ms | lost connections |")
	fmt.Println("|---|---|---|---|---|---|---|---|")
	every := max(last/60, time.Second)
	tick := time.NewTicker(every)
	defer tick.Stop()
	shown, usedBefore, ackedBefore := start, cpuOf(server.Process.Pid), int64(0)
	for ctx.Err() == nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
			continue
		}
		got, err := c.sample()
		if err != nil {
			c.failed(err)
			continue
		}
		if time.Since(start) > time.Minute {
			samples = append(samples, got)
		}
		if since := time.Since(shown); since >= 30*time.Second {
			c.mu.Lock()
			waits := c.waits
			c.waits = nil
			c.mu.Unlock()
			slices.Sort(waits)
			at := func(share float64) float64 {
				if len(waits) == 0 {
					return 0
				}
				return waits[int(share*float64(len(waits)-1))].Seconds() * 1000
			}
			used, acked := cpuOf(server.Process.Pid), c.acked.Load()
			fmt.Printf("| %.1f | %.0f | %.0f | %.2f | %.0f | %.1f | %.1f | %d |\n", time.Since(start).Minutes(), got.rss/(1<<20), got.goroutines,
				(used-usedBefore).Seconds()/since.Seconds()/2, float64(acked-ackedBefore)/since.Seconds(), at(0.5), at(0.99), c.again.Load())
			shown, usedBefore, ackedBefore = time.Now(), used, acked
		}
	}
	group.Wait()
	// Step 4: what was acknowledged is there.
	if err := server.Process.Signal(os.Interrupt); err != nil {
		c.failed(err)
	}
	if err := server.Wait(); err != nil {
		c.failed(fmt.Errorf("the server: %w", err))
	}
	db, err := sql.Open("sqlite", filepath.Join(dir, "store", "readings.db"))
	if err != nil {
		return err
	}
	defer db.Close()
	var kept, watched int64
	if err := db.QueryRow(`SELECT coalesce(sum(count), 0), (SELECT count(*) FROM stream) FROM block`).Scan(&kept, &watched); err != nil {
		return err
	}
	fmt.Printf("%d readings of %d streams sent, %d acknowledged, %d kept\n", c.sent.Load(), watched, c.acked.Load(), kept)
	if kept < c.acked.Load() {
		c.failed(fmt.Errorf("%d acknowledged readings are lost", c.acked.Load()-kept))
	}
	return errors.Join(append(c.errs, flat(samples))...)
}

// seed puts the devices into the registry.
func (c *crowd) seed() error {
	ctx := context.Background()
	book, err := store.OpenFleet(ctx, store.Config{Dir: filepath.Join(c.dir, "store"), NoSync: true})
	if err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	f := &fleet.Fleet{Book: book, Signer: key, Now: time.Now, Log: slog.New(slog.DiscardHandler)}
	terms, _ := coldchain.TermsOf("refrigerated")
	by := fleet.Actor{ID: "soak", Within: fleet.Place{Organisation: "soak"}}
	one := func(n int) error {
		at := fleet.Place{Organisation: "soak", Facility: fmt.Sprintf("facility-%d", n/100)}
		e := &fleet.Equipment{Place: at, Name: fmt.Sprintf("Fridge %d", n), Kind: fleet.Fridge, Silence: 300, Lost: 3600}
		if err := f.PutEquipment(ctx, by, e, terms); err != nil {
			return err
		}
		name, err := device.NewName(device.DevEUI, deviceName(n))
		if err != nil {
			return err
		}
		return f.Register(ctx, by, &fleet.Device{Place: at, Names: []device.Name{name}, Supplier: c.account, Stays: []fleet.Stay{{Equipment: e.ID, From: 1}}})
	}
	const hands = 64
	errs := make([]error, hands)
	var group sync.WaitGroup
	for i := range hands {
		group.Go(func() {
			for n := i; n < c.connections*c.each && errs[i] == nil; n += hands {
				errs[i] = one(n)
			}
		})
	}
	group.Wait()
	return errors.Join(append(errs, book.Close())...)
}

// speak is a connection that comes again when it is lost, and brings then what was not
// acknowledged.
func (c *crowd) speak(ctx context.Context, n int, first time.Time) {
	wait := func(until time.Time) {
		select {
		case <-time.After(time.Until(until)):
		case <-ctx.Done():
		}
	}
	wait(first)
	var conn net.Conn
	var in *bufio.Reader
	defer func() {
		if conn != nil {
			_, _ = conn.Write([]byte{0xe0, 0}) // DISCONNECT
			conn.Close()
		}
	}()
	for minute := 0; ; minute++ {
		// Nothing is begun that the end of the run would cut off.
		if deadline, _ := ctx.Deadline(); ctx.Err() != nil || time.Until(deadline) < 10*time.Second {
			return
		}
		packet := c.packet(n, minute)
		c.sent.Add(int64(c.each))
		for ctx.Err() == nil {
			var err error
			if conn == nil {
				if conn, in, err = c.connect(n); err != nil {
					conn = nil
					c.again.Add(1)
					wait(time.Now().Add(time.Second))
					continue
				}
			}
			begun := time.Now()
			if err = exchange(conn, in, packet); err == nil {
				c.acked.Add(int64(c.each))
				c.mu.Lock()
				c.waits = append(c.waits, time.Since(begun))
				c.mu.Unlock()
				break
			}
			conn.Close()
			conn = nil
			c.again.Add(1)
		}
		wait(first.Add(time.Duration(minute+1) * time.Minute))
	}
}

// connect opens a session of MQTT 3.1.1.
func (c *crowd) connect(n int) (net.Conn, *bufio.Reader, error) {
	conn, err := net.DialTimeout("tcp", c.broker, 10*time.Second)
	if err != nil {
		return nil, nil, err
	}
	text := func(dst []byte, s string) []byte {
		return append(binary.BigEndian.AppendUint16(dst, uint16(len(s))), s...)
	}
	body := append(text(nil, "MQTT"), 4, 0x82, 0, 180) // user name, clean session, 3 minutes
	body = text(text(body, fmt.Sprintf("soak-%d", n)), c.secret)
	in := bufio.NewReaderSize(conn, 16)
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	var answer [4]byte
	_, err = conn.Write(append(binary.AppendUvarint([]byte{0x10}, uint64(len(body))), body...))
	if err == nil {
		_, err = io.ReadFull(in, answer[:])
	}
	if err == nil && answer[3] != 0 {
		err = fmt.Errorf("not connected: %x", answer)
	}
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	return conn, in, nil
}

// packet is a minute of a gateway's devices as one PUBLISH.
func (c *crowd) packet(n, minute int) []byte {
	var pack strings.Builder
	at := time.Now().Unix()
	for i := range c.each {
		lead := ","
		if i == 0 {
			lead = fmt.Sprintf(`[{"bt":%d,"bu":"Cel",`, at)
		} else {
			lead += "{"
		}
		fmt.Fprintf(&pack, `%s"n":"urn:dev:mac:%s/TVC","v":%d.%d}`, lead, deviceName(n*c.each+i), 4+(n+minute)%3, (n+i+minute)%10)
	}
	pack.WriteByte(']')
	topic := "s/" + c.account + "/senml"
	body := append(binary.BigEndian.AppendUint16(nil, uint16(len(topic))), topic...)
	body = append(binary.BigEndian.AppendUint16(body, uint16(minute%65535+1)), pack.String()...)
	return append(binary.AppendUvarint([]byte{0x32}, uint64(len(body))), body...)
}

// exchange sends a PUBLISH and reads its acknowledgement.
func exchange(conn net.Conn, in *bufio.Reader, packet []byte) error {
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := conn.Write(packet); err != nil {
		return err
	}
	var answer [4]byte
	if _, err := io.ReadFull(in, answer[:]); err != nil {
		return err
	}
	if answer[0] != 0x40 {
		return fmt.Errorf("no acknowledgement: %x", answer)
	}
	return nil
}

// cpuOf is the time that a process has used (proc(5): fields 14 and 15, in hundredths).
func cpuOf(pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond
}
