package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"ampoule/coldchain"
	"ampoule/coldchain/simulation"
	"ampoule/device"
	"ampoule/format"
	"ampoule/internal/fetch"
	"ampoule/internal/keys"
	"ampoule/party/fleet"
)

type deviceRunCmd struct {
	deviceFlags
	Server   string        `required:"" placeholder:"URL" help:"Where readings go: https://HOST:PORT or mqtts://HOST:PORT."`
	Read     string        `placeholder:"P" help:"What is measured: a file with one number that is read at each interval, such as /sys/class/thermal/thermal_zone0/temp, or - for lines of standard input. Whole numbers are thousandths of a degree, those with a point degrees Celsius."`
	Simulate *uint64       `placeholder:"SEED" help:"Measure a refrigerator that does not exist, instead."`
	Interval time.Duration `default:"60s" placeholder:"D" help:"Time between readings, in whole seconds (default: ${default})."`
	Batch    int           `default:"60" placeholder:"N" help:"Readings of a segment: so many are sent at a time (default: ${default})."`
	Stream   uint32        `default:"1" placeholder:"N" help:"Number of the sensor."`
	Count    int           `placeholder:"N" help:"End after so many intervals, when all of it is sent; 0: go on until a signal."`
	Drain    time.Duration `default:"30s" placeholder:"D" help:"How long the end waits for the server (default: ${default})."`
}

// measured is one value of a stream.
type measured struct {
	stream   uint64
	quantity device.Quantity
	value    int32
}

// Run measures until a signal, or until there is no more.
func (c *deviceRunCmd) Run(t terminal) error {
	u, err := (&serverFlags{Server: c.Server}).address()
	if err != nil {
		return err
	}
	switch {
	case u.Scheme != "https" && u.Scheme != "mqtts":
		return usageError("--server %s: https or mqtts", c.Server)
	case (c.Read == "") == (c.Simulate == nil):
		return usageError("either --read or --simulate")
	case c.Interval < time.Second || c.Interval%time.Second != 0:
		return usageError("--interval %s: whole seconds", c.Interval)
	case c.Batch < 1 || c.Batch > device.MaxReadings/4:
		return usageError("--batch %d: 1 to %d", c.Batch, device.MaxReadings/4)
	}
	release, err := own(c.Dir)
	if err != nil {
		return err
	}
	defer release()
	k, id, err := c.load()
	if err != nil {
		return err
	}
	roots, err := c.roots()
	if err != nil {
		return err
	}
	s, err := openSpool(c.Dir, id, k)
	if err != nil {
		return exitError{exitUndecided, err}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var to carrier = &httpCarrier{clientOf(u, roots, k, time.Minute), u}
	if u.Scheme == "mqtts" {
		to = &mqttCarrier{address: u, device: id, key: k, roots: roots}
	}
	defer to.close()
	out := &sender{spool: s, to: to, said: t.err, wake: make(chan struct{}, 1), done: make(chan struct{})}
	sending, end := context.WithCancel(context.Background())
	defer end()
	go out.run(sending)
	fmt.Fprintf(t.err, "ampoule: device %s; %d segments wait\n", id, s.waits())

	if err := c.measure(ctx, t, s, out); err != nil {
		return exitError{exitUndecided, err}
	}
	if ctx.Err() == nil { // there is no more
		last := time.NewTimer(c.Drain)
		defer last.Stop()
	drain:
		for s.waits() > 0 {
			out.poke()
			select {
			case <-ctx.Done():
				break drain
			case <-last.C:
				break drain
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	end()
	<-out.done
	fmt.Fprintf(t.err, "ampoule: ended; %d segments wait\n", s.waits())
	switch {
	case out.refused > 0:
		return exitError{exitNotValid, fmt.Errorf("%d segments were refused; they are in %s", out.refused, refusedFolder)}
	case ctx.Err() == nil && s.waits() > 0:
		return exitError{exitUndecided, errors.New("the server did not take all")}
	}
	return nil
}

// measure takes readings. Those of the last segment stay open when a signal comes, and go
// on when the logger does.
func (c *deviceRunCmd) measure(ctx context.Context, t terminal, s *spool, out *sender) error {
	next := c.sensor(t)
	tick := time.NewTicker(c.Interval)
	defer tick.Stop()
	quantities := map[uint64]device.Quantity{uint64(c.Stream): device.Temperature}
	interval := int64(c.Interval / time.Second)
	seal := func(stream uint64) {
		if err := s.seal(stream, quantities[stream], interval); err != nil {
			fmt.Fprintf(t.err, "ampoule: nothing could be signed: %v\n", err)
		}
		out.poke()
	}
	for n := 0; c.Count == 0 || n < c.Count; n++ {
		if n > 0 && c.Read != "-" { // lines come when they come
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
			}
		}
		values, err := next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			// A sensor that fails leaves a gap, and what was measured goes on its way.
			fmt.Fprintf(t.err, "ampoule: not measured: %v\n", err)
			continue
		}
		at, clock := deviceTime(time.Now())
		for _, v := range values {
			quantities[v.stream] = v.quantity
			if open, of := s.pending(v.stream); open > 0 && of != clock {
				seal(v.stream)
			}
			if err := s.add(v.stream, device.Reading{At: at, Value: v.value}, clock); err != nil {
				fmt.Fprintf(t.err, "ampoule: not kept, and not measured: %v\n", err)
				continue
			}
			if open, _ := s.pending(v.stream); open >= c.Batch {
				seal(v.stream)
			}
		}
	}
	for stream := range quantities {
		seal(stream)
	}
	return nil
}

// built is before any right clock that this program meets.
const built = 1_760_000_000 // 2025-10-09

// deviceTime is the time as the device has it, and on what it rests. Before its clock was
// ever set, times count from when it was switched on.
func deviceTime(now time.Time) (int64, device.Clock) {
	if now.Unix() >= built {
		return now.Unix(), synchronised()
	}
	if text, err := os.ReadFile("/proc/uptime"); err == nil {
		first, _, _ := strings.Cut(string(text), " ")
		if seconds, err := strconv.ParseFloat(first, 64); err == nil {
			return int64(seconds) + 1, device.ClockUnset
		}
	}
	return max(now.Unix(), 1), device.ClockUnset
}

// sensor is what measures.
func (c *deviceRunCmd) sensor(t terminal) func(context.Context) ([]measured, error) {
	one := func(text string) ([]measured, error) {
		v, err := parseTemperature(text)
		if err != nil {
			return nil, err
		}
		return []measured{{uint64(c.Stream), device.Temperature, v}}, nil
	}
	switch {
	case c.Simulate != nil:
		unit := simulation.New(*c.Simulate, simulation.Config{Kind: simulation.Mains, Start: time.Now().Unix(), Interval: int64(c.Interval / time.Second)})
		return func(context.Context) ([]measured, error) {
			v := unit.Next()
			if v.Missing || v.Has&coldchain.HasTemperature == 0 {
				return nil, errors.New("the sensor tells nothing")
			}
			return []measured{
				{uint64(c.Stream), device.Temperature, int32(v.T)}, {uint64(c.Stream) + 1, device.Ambient, int32(v.Ambient)},
				{uint64(c.Stream) + 2, device.Door, int32(v.Door)}, {uint64(c.Stream) + 3, device.Compressor, int32(v.Compressor)},
			}, nil
		}
	case c.Read == "-":
		lines := make(chan string)
		go func() {
			in := bufio.NewScanner(t.in)
			for in.Scan() {
				lines <- in.Text()
			}
			close(lines)
		}()
		return func(ctx context.Context) ([]measured, error) {
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case line, ok := <-lines:
				if !ok {
					return nil, io.EOF
				}
				return one(line)
			}
		}
	}
	return func(context.Context) ([]measured, error) {
		data, err := readBounded(c.Read, nil, 1024)
		if err != nil {
			return nil, err
		}
		return one(string(data))
	}
}

// parseTemperature reads thousandths of a degree, as the kernel has them, or degrees.
func parseTemperature(text string) (int32, error) {
	text = strings.TrimSpace(text)
	v, err := strconv.ParseFloat(text, 64)
	if strings.ContainsAny(text, ".,eE") {
		v *= 1000
	}
	if v = math.Round(v); err != nil || !(v >= -273_150 && v <= 1_000_000) {
		return 0, fmt.Errorf("%.40q is no temperature", text)
	}
	return int32(v), nil
}

// carrier brings segments to a server. It returns those that the server will never take,
// by their place, when it has all others; an error: nothing is known of any.
type carrier interface {
	carry(ctx context.Context, all [][]byte) (refused map[int]string, err error)
	close()
}

// sender brings what waits, for as long as it takes.
type sender struct {
	spool   *spool
	to      carrier
	said    io.Writer
	wake    chan struct{}
	done    chan struct{}
	refused int // read after done
}

func (s *sender) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Between tries.
const (
	firstSend = time.Second
	lastSend  = 5 * time.Minute
	sendMost  = 200 // segments
	sendBytes = 512 << 10
)

func (s *sender) run(ctx context.Context) {
	defer close(s.done)
	wait := firstSend
	for ctx.Err() == nil {
		all, err := s.spool.next(sendMost, sendBytes)
		if err == nil && len(all) == 0 {
			select {
			case <-ctx.Done():
			case <-s.wake:
			}
			continue
		}
		if err == nil {
			err = s.bring(ctx, all)
		}
		if err == nil {
			wait = firstSend
			continue
		}
		if ctx.Err() != nil {
			return
		}
		var asked *comeAgain
		if errors.As(err, &asked) {
			wait = max(wait, min(asked.after, lastSend))
		}
		fmt.Fprintf(s.said, "ampoule: %d segments wait: %v; again in %s\n", s.spool.waits(), err, wait)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, lastSend)
	}
}

func (s *sender) bring(ctx context.Context, all []spooled) error {
	data := make([][]byte, len(all))
	for i := range all {
		data[i] = all[i].data
	}
	refused, err := s.to.carry(ctx, data)
	if err != nil {
		return err
	}
	var taken []spooled
	var later error
	for i, x := range all {
		switch why := refused[i]; why {
		case "":
			taken = append(taken, x)
		case string(fleet.ReasonDenied), string(fleet.ReasonKey), string(fleet.ErrNoDevice):
			// What the registry says today it may not say tomorrow.
			later = fmt.Errorf("the server says %s", format.Visible(why))
		default:
			fmt.Fprintf(s.said, "ampoule: segment %d of stream %d is refused: %s\n", x.seq, x.stream, format.Visible(why))
			s.refused++
			if err := s.spool.aside(x); err != nil {
				return err
			}
		}
	}
	return errors.Join(s.spool.done(taken), later)
}

// comeAgain is a server that says when.
type comeAgain struct {
	status int
	after  time.Duration
}

func (e *comeAgain) Error() string { return fmt.Sprintf("the server says %d", e.status) }

// answerError is an answer that is none of success.
func answerError(res *fetch.Response) error {
	seconds, _ := strconv.Atoi(res.Header.Get("Retry-After"))
	return &comeAgain{res.Status, time.Duration(min(max(seconds, 0), 3600)) * time.Second}
}

// doorReceipt is what the door says of a delivery.
type doorReceipt struct {
	Stored   int
	Repeated int
	Refused  []struct{ Path, Reason string }
	Findings []struct{ Path, Reason string }
}

// httpCarrier carries by HTTPS.
type httpCarrier struct {
	client *fetch.Client
	server *url.URL
}

func (h *httpCarrier) carry(ctx context.Context, all [][]byte) (map[int]string, error) {
	var body []byte
	for _, x := range all {
		body = append(body, x...)
	}
	res, err := h.client.Do(ctx, http.MethodPost, h.server.String()+"/segments", http.Header{"Content-Type": {fleet.MediaSegments}}, body)
	if err != nil {
		return nil, err
	}
	if res.Status != http.StatusOK {
		return nil, answerError(res)
	}
	var r doorReceipt
	if err := json.Unmarshal(res.Body, &r); err != nil {
		return nil, fmt.Errorf("the server's answer: %w", err)
	}
	refused := make(map[int]string)
	for _, f := range r.Refused {
		var n int
		if _, err := fmt.Sscanf(f.Path, "segments[%d]", &n); err != nil || n < 0 || n >= len(all) {
			return nil, errors.New("the server refuses something that was not sent")
		}
		refused[n] = f.Reason
	}
	return refused, nil
}

func (h *httpCarrier) close() {}

// mqttCarrier carries by MQTT 5, over one connection.
type mqttCarrier struct {
	address *url.URL
	device  device.ID
	key     *keys.Key
	roots   []*x509.Certificate
	client  *paho.Client
}

const mqttWait = 30 * time.Second

func (m *mqttCarrier) connect(ctx context.Context) error {
	host := m.address.Host
	if m.address.Port() == "" {
		host += ":8883"
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: m.address.Hostname(), Certificates: []tls.Certificate{{Certificate: rawChain(m.key)[:1], PrivateKey: m.key.Signer}}}
	if len(m.roots) > 0 {
		config.RootCAs = x509.NewCertPool()
		for _, r := range m.roots {
			config.RootCAs.AddCert(r)
		}
	}
	d := tls.Dialer{Config: config}
	conn, err := d.DialContext(ctx, "tcp", host)
	if err != nil {
		return err
	}
	client := paho.NewClient(paho.ClientConfig{Conn: conn, PacketTimeout: mqttWait})
	// The spool remembers what is not acknowledged; no session has to.
	if _, err := client.Connect(ctx, &paho.Connect{ClientID: "logger", KeepAlive: 60, CleanStart: true}); err != nil {
		conn.Close()
		return err
	}
	m.client = client
	return nil
}

func (m *mqttCarrier) carry(ctx context.Context, all [][]byte) (map[int]string, error) {
	ctx, stop := context.WithTimeout(ctx, mqttWait+time.Duration(len(all))*time.Second)
	defer stop()
	if m.client == nil {
		if err := m.connect(ctx); err != nil {
			return nil, err
		}
	}
	refused := make(map[int]string)
	for i, data := range all {
		// Publish returns with the acknowledgement, which comes when it is on the disk.
		res, err := m.client.Publish(ctx, &paho.Publish{Topic: "d/" + m.device.String() + "/segments", QoS: 1, Payload: data})
		if res != nil && res.ReasonCode == 0x99 { // MQTT 5 section 3.4.2.1: payload format invalid
			refused[i] = "unreadable"
			continue
		}
		if err != nil {
			m.close()
			return nil, err
		}
	}
	return refused, nil
}

func (m *mqttCarrier) close() {
	if m.client != nil {
		_ = m.client.Disconnect(&paho.Disconnect{})
		m.client = nil
	}
}
