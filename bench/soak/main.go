// Soak loads a server for minutes, and ends with an error where its memory or its
// goroutines grow, or where anything was answered wrongly.
//
//	make soak            ten minutes
//	make soak MINUTES=60
//	go run ./bench/soak -devices gateways -minutes 6   100,000 devices behind 1,000 gateways
//	go run ./bench/soak -devices direct -minutes 4     20,000 that are connected themselves
//
// Memory is flat when the median of the last fifth of the time is not above that of
// the second fifth by more than a tenth and 8 MB: the first fifth fills caches.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

func main() {
	binary := flag.String("binary", "bin/ampoule", "what is loaded")
	minutes := flag.Float64("minutes", 10, "how long")
	clients := flag.Int("clients", 8, "how many ask at once")
	devices := flag.String("devices", "", "gateways, direct: load the door for devices, and nothing else")
	flag.Parse()
	if *devices != "" {
		if err := runDevices(*binary, *devices, time.Duration(*minutes*float64(time.Minute))); err != nil {
			fmt.Fprintln(os.Stderr, "soak:", err)
			os.Exit(1)
		}
		return
	}
	if err := run(*binary, time.Duration(*minutes*float64(time.Minute)), *clients); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

// sample is what the server says of itself at a time.
type sample struct{ rss, goroutines float64 }

// soak is one run.
type soak struct {
	binary, dir, address string
	set                  []string // settings besides
	cards                []string
	asked, issued        atomic.Int64

	mu   sync.Mutex // guards errs
	errs []error
}

func (s *soak) failed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.errs) < 20 {
		s.errs = append(s.errs, err)
	}
}

func run(binary string, last time.Duration, clients int) error {
	dir, err := os.MkdirTemp("", "ampoule-soak-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if binary, err = filepath.Abs(binary); err != nil {
		return err
	}
	s := &soak{binary: binary, dir: dir, set: []string{"verifier.trust=keys/trustlist/did.json", "verifier.pin=keys/trustlist/pin.pem", "verifier.catalogue=demo"}}
	if err := s.prepare(); err != nil {
		return err
	}
	server, stdout, err := s.serve()
	if err != nil {
		return err
	}
	d, err := openDesk(context.Background(), s.address, stdout, "supervisor", "certificate:issue", "certificate:read", "certificate:search", "certificate:revoke", "certificate:list")
	if err != nil {
		return errors.Join(err, server.Process.Kill())
	}
	ctx, cancel := context.WithTimeout(context.Background(), last)
	defer cancel()
	var group sync.WaitGroup
	for n := range clients {
		if n%2 == 0 {
			group.Go(func() { s.verify(ctx, n) })
		} else {
			group.Go(func() { s.work(ctx, d, n) })
		}
	}
	group.Go(func() { s.backup(ctx, max(last/10, 5*time.Second)) })
	var samples []sample
	tick := time.NewTicker(max(last/120, 200*time.Millisecond))
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-tick.C:
			if got, err := s.sample(); err != nil {
				s.failed(err)
			} else {
				samples = append(samples, got)
			}
		case <-ctx.Done():
		}
	}
	group.Wait()
	if err := server.Process.Signal(os.Interrupt); err != nil {
		s.failed(err)
	}
	if err := server.Wait(); err != nil {
		s.failed(fmt.Errorf("the server: %w", err))
	}
	rate := func(n *atomic.Int64) float64 { return float64(n.Load()) / last.Seconds() }
	fmt.Printf("%s, %d samples: %d verdicts (%.0f a second), %d certificates issued (%.0f a second)\n", last, len(samples), s.asked.Load(), rate(&s.asked), s.issued.Load(), rate(&s.issued))
	return errors.Join(append(s.errs, flat(samples))...)
}

// flat compares the second and the last fifth.
func flat(samples []sample) error {
	if len(samples) < 25 {
		return fmt.Errorf("%d samples are too few to tell", len(samples))
	}
	fifth := len(samples) / 5
	second, end := samples[fifth:2*fifth], samples[len(samples)-fifth:]
	median := func(of []sample, what func(sample) float64) float64 {
		values := make([]float64, len(of))
		for i, s := range of {
			values[i] = what(s)
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	var errs []error
	look := func(name string, unit, spare float64, what func(sample) float64) {
		a, b := median(second, what), median(end, what)
		fmt.Printf("%-12s %8.1f in the second fifth, %8.1f in the last\n", name, a/unit, b/unit)
		if b > a*1.1+spare {
			errs = append(errs, fmt.Errorf("%s grows: %.1f, then %.1f", name, a/unit, b/unit))
		}
	}
	look("memory, MB", 1<<20, 8<<20, func(s sample) float64 { return s.rss })
	look("goroutines", 1, 10, func(s sample) float64 { return s.goroutines })
	return errors.Join(errs...)
}

// prepare makes keys and certificates. The store is made by the server.
func (s *soak) prepare() error {
	if err := s.ampoule("keys", "make", "keys", "--unencrypted"); err != nil {
		return err
	}
	for n := range 20 {
		name := fmt.Sprintf("card%d.txt", n)
		err := s.ampoule("issue", "--unencrypted", "--key", "keys/private/dsc-vaccination.key", "--participant", "XXA", "--catalogue", "demo",
			"--name", "SPECIMEN DEMO", "--born", "1990-02-03", "--sex", "female", "--nationality", "XXA", "--product", "DEMO-POLIO-0001",
			"--lot", fmt.Sprintf("LOT-%d", n), "--date", "2026-09-01", "--clinician", "Demonstration clinic", "--out", name)
		if err != nil {
			return err
		}
		text, err := os.ReadFile(filepath.Join(s.dir, name))
		if err != nil {
			return err
		}
		s.cards = append(s.cards, strings.TrimSpace(string(text)))
	}
	return s.ampoule("backup", "identity", "identity")
}

func (s *soak) command(args ...string) *exec.Cmd {
	c := exec.Command(s.binary, args...)
	c.Dir = s.dir
	c.Env = append(os.Environ(), "AMPOULE_STORE_DIR=store", "AMPOULE_PASSPHRASE=")
	return c
}

func (s *soak) ampoule(args ...string) error {
	if out, err := s.command(args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ampoule %s: %w: %s", strings.Join(args[:2], " "), err, out)
	}
	return nil
}

// serve starts the server, and waits until it is ready.
func (s *soak) serve() (*exec.Cmd, io.Reader, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	s.address = l.Addr().String()
	if err := l.Close(); err != nil {
		return nil, nil, err
	}
	words := []string{"serve", "--set", "listen=" + s.address, "--set", "http.rate=0", "--set", "log.level=warn"}
	for _, one := range s.set {
		words = append(words, "--set", one)
	}
	c := s.command(words...)
	c.Stderr = os.Stderr
	stdout, err := c.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := c.Start(); err != nil {
		return nil, nil, err
	}
	for range 200 {
		if res, err := http.Get("http://" + s.address + "/readyz"); err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return c, stdout, nil
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	return nil, nil, errors.Join(errors.New("the server is not ready"), c.Process.Kill())
}

// verify asks without a pause: nine good certificates, and one that is cut off.
func (s *soak) verify(ctx context.Context, worker int) {
	for n := worker; ctx.Err() == nil; n++ {
		text, want := s.cards[n%len(s.cards)], `"outcome":"valid"`
		if n%10 == 0 {
			text, want = text[:len(text)-20], `"outcome":"malformed"`
		}
		body, err := json.Marshal(map[string][]string{"texts": {text}})
		if err != nil {
			s.failed(err)
			return
		}
		res, err := http.Post("http://"+s.address+"/v1/verify", "application/json", bytes.NewReader(body))
		if err != nil {
			s.failed(err)
			return
		}
		answer, err := io.ReadAll(res.Body)
		res.Body.Close()
		s.asked.Add(1)
		if err != nil || res.StatusCode != http.StatusOK || !bytes.Contains(answer, []byte(want)) {
			s.failed(fmt.Errorf("%s instead of %s: %.200s (%v)", res.Status, want, answer, err))
		}
	}
}

// backup has the server copy its store again and again.
func (s *soak) backup(ctx context.Context, every time.Duration) {
	identity, err := os.ReadFile(filepath.Join(s.dir, "identity"))
	if err != nil {
		s.failed(err)
		return
	}
	recipient := regexp.MustCompile(`age1\w+`).FindString(string(identity))
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-time.After(every):
		}
		if err := s.ampoule("backup", "--to", recipient, fmt.Sprintf("backup%d.age", n)); err != nil {
			s.failed(err)
		}
	}
}

var gauge = regexp.MustCompile(`(?m)^(process_resident_memory_bytes|go_goroutines) (\S+)$`)

func (s *soak) sample() (out sample, err error) {
	res, err := http.Get("http://" + s.address + "/metrics")
	if err != nil {
		return out, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return out, err
	}
	for _, m := range gauge.FindAllStringSubmatch(string(text), -1) {
		v, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			return out, err
		}
		if m[1] == "go_goroutines" {
			out.goroutines = v
		} else {
			out.rss = v
		}
	}
	if out.rss == 0 || out.goroutines == 0 {
		return out, errors.New("the metrics do not tell memory and goroutines")
	}
	return out, nil
}
