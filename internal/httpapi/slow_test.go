//go:build linux

package httpapi

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ampoule/internal/access"
)

// listening is the server that [NewServer] makes, at a real address.
func (b *peopleBed) listening() (address string) {
	b.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.t.Fatal(err)
	}
	server := NewServer(b.handler, nil)
	go server.Serve(l)
	b.t.Cleanup(func() { server.Close() })
	return l.Addr().String()
}

// settledMemory is what is held once the garbage is gone.
func settledMemory() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestSlowRequests: a hundred connections each that send a byte a second, of the head
// of a request or of its form. All of them end, others are answered meanwhile, and
// nothing of them stays.
func TestSlowRequests(t *testing.T) {
	if testing.Short() {
		t.Skip("takes as long as a slow request may")
	}
	b := newPeopleBed(t)
	b.administrator()
	address := b.listening()
	base, routines := settledMemory(), runtime.NumGoroutine()
	begun := time.Now()
	var wg sync.WaitGroup
	for name, begin := range map[string]string{
		"head":  "POST /login HTTP/1.1\r\nHost: desk.example\r\nX-Slow: ",
		"form":  "POST /login HTTP/1.1\r\nHost: desk.example\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 60000\r\n\r\nlogin=",
		"chunk": "POST /setup HTTP/1.1\r\nHost: desk.example\r\nContent-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nlogin=\r\n",
		"JSON":  "POST /login/passkey HTTP/1.1\r\nHost: desk.example\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n{\"ceremony\":\"",
		"API":   "POST /v1/tokens HTTP/1.1\r\nHost: desk.example\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n{\"name\":\"",
	} {
		for range 100 {
			wg.Go(func() {
				c, err := net.Dial("tcp", address)
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				_ = c.SetDeadline(begun.Add(25 * time.Second))
				fmt.Fprint(c, begin)
				ended := make(chan error, 1)
				go func() {
					_, err := io.Copy(io.Discard, c)
					ended <- err
				}()
				for {
					select {
					case err := <-ended:
						if e, ok := err.(net.Error); ok && e.Timeout() {
							t.Errorf("%s: held for %s", name, time.Since(begun))
						}
						return
					case <-time.After(time.Second):
						_, _ = c.Write([]byte("1"))
					}
				}
			})
		}
	}
	// Others are served while these hold on.
	for range 5 {
		time.Sleep(time.Second)
		asked := time.Now()
		res, err := http.Get("http://" + address + "/login")
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if took := time.Since(asked); res.StatusCode != 200 || took > 2*time.Second {
			t.Errorf("%d after %s", res.StatusCode, took)
		}
	}
	wg.Wait()
	http.DefaultClient.CloseIdleConnections()
	for end := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > routines+10 && time.Now().Before(end); {
		time.Sleep(50 * time.Millisecond)
	}
	if n := runtime.NumGoroutine(); n > routines+10 {
		t.Errorf("%d goroutines, and %d before", n, routines)
	}
	if now := settledMemory(); now > base+8<<20 {
		t.Errorf("%d bytes, and %d before", now, base)
	}
	t.Logf("500 slow requests ended within %s", time.Since(begun).Round(time.Second))
}

// TestLargeRequests: forms of a megabyte, ten thousand fields, heads without an end.
// None is read further than its bound.
func TestLargeRequests(t *testing.T) {
	b := newPeopleBed(t)
	b.administrator()
	address := b.listening()
	field := strings.Repeat("a", 1<<20)
	many := strings.Repeat("scope=x&", 10_000)
	for _, tt := range []struct {
		name, path, kind, body string
		status                 []int
	}{
		{"a megabyte in one field", "/login", "application/x-www-form-urlencoded", "login=" + field, []int{413}},
		{"a megabyte of a name", "/setup", "application/x-www-form-urlencoded", field + "=1", []int{413}},
		{"10,000 fields", "/login", "application/x-www-form-urlencoded", many, []int{400, 413}},
		{"10,000 short fields", "/login", "application/x-www-form-urlencoded", strings.Repeat("a&", 10_000), []int{400}},
		{"a field 10,000 times", "/login", "application/x-www-form-urlencoded", strings.Repeat("login&", 10_000), []int{400, 401}},
		{"parts", "/login", "multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=login\r\n\r\n" + field + "\r\n--x--", []int{415}},
		{"a megabyte of JSON", "/login/passkey", "application/json", `{"ceremony":"` + field + `"}`, []int{413, 422}},
		{"nested JSON", "/login/passkey", "application/json", `{"answer":` + strings.Repeat("[", 60_000), []int{422}},
		{"a megabyte to the API, by nobody", "/v1/tokens", "application/json", `{"name":"` + field + `"}`, []int{401}},
		{"an invitation of a megabyte", "/invitation/" + field[:20_000], "application/x-www-form-urlencoded", "password=x", []int{404, 422}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			const n = 20
			for range n {
				c, err := net.Dial("tcp", address)
				if err != nil {
					t.Fatal(err)
				}
				_ = c.SetDeadline(time.Now().Add(5 * time.Second))
				// The server may end the connection before all is sent.
				go fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: desk.example\r\nConnection: close\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", tt.path, tt.kind, len(tt.body), tt.body)
				res, err := http.ReadResponse(bufio.NewReader(c), nil)
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Contains(tt.status, res.StatusCode) {
					t.Errorf("%d, want one of %v", res.StatusCode, tt.status)
				}
				c.Close()
			}
			runtime.ReadMemStats(&after)
			// What our own sender takes of it, too.
			if each := (after.TotalAlloc - before.TotalAlloc) / n; each > 4<<20 {
				t.Errorf("%d bytes for a request", each)
			}
		})
	}

	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	go fmt.Fprint(c, "GET /login HTTP/1.1\r\nHost: desk.example\r\nCookie: "+field+"\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a head of a megabyte: %v %v", res, err)
	}
}

// TestCookieOverTLS: by TLS the cookie is one that a browser keeps to this host and
// to TLS, whatever the origin was configured to be; without it, it has neither mark.
func TestCookieOverTLS(t *testing.T) {
	b := newPeopleBed(t)
	b.administrator()
	var err error
	if b.page.Access.Accounts, err = access.New(b.accounts.Book, access.Config{Origin: "http://localhost:1", Idle: time.Hour, Absolute: 8 * time.Hour}); err != nil {
		t.Fatal(err)
	}
	f := NewFront()
	f.Show(b.page, func() error { return nil })
	form := url.Values{"login": {"specimen.admin"}, "password": {passphrase}}

	server := httptest.NewUnstartedServer(nil)
	server.Config = NewServer(f.Handler(), nil)
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	client := server.Client()
	client.Jar, _ = cookiejar.New(nil)
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	res, err := client.PostForm(server.URL+"/login", form)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	raw := res.Header.Values("Set-Cookie")
	if res.ProtoMajor != 2 || res.TLS == nil || res.TLS.Version < tls.VersionTLS12 || len(raw) != 1 {
		t.Fatalf("%s %v", res.Proto, raw)
	}
	c := res.Cookies()[0]
	if c.Name != "__Host-ampoule" || !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" ||
		strings.Contains(strings.ToLower(raw[0]), "domain") {
		t.Errorf("%s", raw[0])
	}
	if res, err = client.Get(server.URL + "/account"); err != nil || res.StatusCode != 200 {
		t.Errorf("%v %v", res, err)
	}
	// A cookie without the prefix is nobody's: who can set one for a neighbour's
	// name or without TLS plants nothing.
	r, _ := http.NewRequest("GET", server.URL+"/account", nil)
	r.AddCookie(&http.Cookie{Name: "ampoule", Value: c.Value})
	client.Jar = nil
	if res, err = client.Do(r); err != nil || res.StatusCode != http.StatusSeeOther {
		t.Errorf("%v %v", res, err)
	}

	plain := httptest.NewServer(f.Handler())
	defer plain.Close()
	if res, err = client.PostForm(plain.URL+"/login", form); err != nil {
		t.Fatal(err)
	}
	if c := res.Cookies()[0]; c.Name != "ampoule" || c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode {
		t.Errorf("%+v", c)
	}
}
