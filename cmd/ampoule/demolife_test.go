//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// runningDemo is a demonstration in a process of its own.
type runningDemo struct {
	t        *testing.T
	dir      string
	command  *exec.Cmd
	out, err *output
}

func startDemo(t *testing.T, args ...string) *runningDemo {
	t.Helper()
	d := &runningDemo{t: t, dir: filepath.Join(t.TempDir(), "demo"), out: new(output), err: new(output)}
	d.command = exec.Command("ampoule", append([]string{"demo", "--listen", "127.0.0.1:0", "--dir", d.dir}, args...)...)
	d.command.Env, d.command.Stdout, d.command.Stderr = clean(), d.out, d.err
	if err := d.command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.command.Process.Kill() })
	d.said(`scene ready after ([0-9.]+) s`)
	return d
}

// said waits until it has printed something, and returns the first group of it.
func (d *runningDemo) said(pattern string) string {
	d.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if m := regexp.MustCompile(pattern).FindStringSubmatch(d.out.String()); m != nil {
			return m[1]
		}
		if time.Now().After(deadline) {
			d.t.Fatalf("no %q after a minute:\n%s\n%s", pattern, d.out.String(), d.err.String())
		}
	}
}

// children are the processes that a process has started, and that have not ended.
func children(t *testing.T, parent int) (list []int) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range all {
		data, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		var pid, above int
		var state string
		_, rest, _ := strings.Cut(string(data), ") ")
		fmt.Sscan(string(data), &pid)
		fmt.Sscan(rest, &state, &above)
		if above == parent && state != "Z" {
			list = append(list, pid)
		}
	}
	return list
}

// gone waits until none of the processes runs.
func gone(t *testing.T, pids []int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		left := slices.DeleteFunc(slices.Clone(pids), func(pid int) bool {
			data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			return err != nil || strings.Contains(string(data), ") Z ")
		})
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("processes %v go on", left)
		}
	}
}

// outcome is what an offline verifier with the bundle of a country says of a sample.
func (d *runningDemo) outcome(country, sample string) string {
	d.t.Helper()
	of := filepath.Join(d.dir, country)
	c := exec.Command("ampoule", "verify", "--json", "--bundle", filepath.Join(of, "bundle.cbor"), "--root", filepath.Join(of, "bundle-root.pem"), filepath.Join(d.dir, "samples", sample+".txt"))
	c.Env = clean()
	out, _ := c.Output() // what it exits with is in the answer
	var v struct {
		Outcome string
		Advice  struct{ Value, Reason string }
	}
	if err := json.Unmarshal(out, &v); err != nil {
		d.t.Fatalf("sample %s by the bundle of %q: %v", sample, country, err)
	}
	return v.Outcome + " " + v.Advice.Value + " " + v.Advice.Reason
}

// TestDemoLife is the whole scene: what either country's offline verifier says of it,
// and that no process is left when it is told to stop.
func TestDemoLife(t *testing.T) {
	if testing.Short() {
		t.Skip("two services")
	}
	d := startDemo(t)
	d.said(`first certificate verified after ([0-9.]+) s`)
	for _, tt := range []struct{ sample, first, second string }{
		{"icvp-yellow-fever", "valid not-known no-statement", "valid not-known no-statement"},
		{"dcc-test", "valid not-known no-dose", "valid not-known no-dose"},
		{"recalled-lot", "valid concern recalled", "valid concern recalled"},
		{"given-frozen", "valid concern frozen", "valid concern frozen"},
		{"given-beside", "valid not-known in-date-when-given", "valid not-known in-date-when-given"},
		{"given-elsewhere", "valid not-known place-not-known", "valid not-known place-not-known"},
		{"stolen-key", "unknown-issuer not-known no-signature", "unknown-issuer not-known no-signature"},
		{"stolen-before", "unknown-issuer not-known no-signature", "unknown-issuer not-known no-signature"},
		{"stolen-anew", "valid not-known no-statement", "valid not-known no-statement"},
		{"forged", "bad-signature not-known no-signature", "bad-signature not-known no-signature"},
		{"unknown-issuer", "unknown-issuer not-known no-signature", "unknown-issuer not-known no-signature"},
	} {
		if got := d.outcome("", tt.sample); got != tt.first {
			t.Errorf("%s in the first country: %s, want %s", tt.sample, got, tt.first)
		}
		if got := d.outcome("countries/XXB", tt.sample); got != tt.second {
			t.Errorf("%s in the second country: %s, want %s", tt.sample, got, tt.second)
		}
	}
	others := children(t, d.command.Process.Pid)
	if len(others) != 1 {
		t.Fatalf("%d other countries", len(others))
	}
	if err := d.command.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := d.command.Wait(); err != nil {
		t.Errorf("it ended with %v: %s", err, d.err.String())
	}
	gone(t, others)
	if said := d.err.String(); said != "" {
		t.Errorf("it complained: %s", said)
	}
}

// TestDemoFederation is the scene with four countries that keep the ledger. The others
// end when the first is killed.
func TestDemoFederation(t *testing.T) {
	if testing.Short() {
		t.Skip("four nodes of a ledger")
	}
	d := startDemo(t, "--federation")
	at := strings.TrimSuffix(d.said(`open: +(\S+)`), "/")
	ask := func(path string) string {
		res, err := http.Get(at + path)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		data, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	if all := ask("/v1/ledger/validators"); strings.Count(all, `"power":1`) != 4 {
		t.Errorf("the validators: %s", all)
	}
	// What the clinic issued is logged by all of them.
	for deadline := time.Now().Add(time.Minute); !strings.Contains(ask("/v1/ledger/entries"), "fp.batch"); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no batch is logged: %s", d.err.String())
		}
	}
	if status := ask("/v1/ledger/status"); !strings.Contains(status, `"peers":3`) {
		t.Errorf("the node: %s", status)
	}
	others := children(t, d.command.Process.Pid)
	if len(others) != 3 {
		t.Fatalf("%d other countries", len(others))
	}
	if err := d.command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = d.command.Wait()
	gone(t, others)
}
