package fetch

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// server answers by path.
func server(t *testing.T) *httptest.Server {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/large":
			_, _ = w.Write(make([]byte, 2000))
		case "/slow":
			select {
			case <-r.Context().Done():
			case <-time.After(5 * time.Second):
			}
		case "/again":
			http.Redirect(w, r, "/", http.StatusFound)
		case "/plain":
			http.Redirect(w, r, "http://"+r.Host+"/", http.StatusFound)
		case "/inside":
			http.Redirect(w, r, "https://127.0.0.2:"+r.Host[strings.LastIndex(r.Host, ":")+1:]+"/", http.StatusFound)
		case "/missing":
			w.WriteHeader(http.StatusNotFound)
		default:
			_, _ = w.Write([]byte(r.Method + " " + r.UserAgent()))
		}
	}))
	s.Config.ErrorLog = nil
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func TestDo(t *testing.T) {
	s := server(t)
	good := Options{Roots: []*x509.Certificate{s.Certificate()}, PrivateHosts: []string{"127.0.0.1"}, Bytes: 1000, Timeout: time.Second}
	with := func(change func(*Options)) Options {
		o := good
		change(&o)
		return o
	}
	pin := sha256.Sum256(s.Certificate().RawSubjectPublicKeyInfo)
	for _, tc := range []struct {
		name, path string
		options    Options
		want       error // nil: an answer
	}{
		{"good", "/", good, nil},
		{"not found is an answer", "/missing", good, nil},
		{"pinned", "/", with(func(o *Options) { o.Pins = [][32]byte{{}, pin} }), nil},
		{"another pin", "/", with(func(o *Options) { o.Pins = [][32]byte{{}} }), ErrPin},
		{"too large", "/large", good, ErrTooLarge},
		{"large enough", "/large", with(func(o *Options) { o.Bytes = 2000 }), nil},
		{"this machine", "/", with(func(o *Options) { o.PrivateHosts = nil }), ErrAddress},
		{"redirect", "/again", good, ErrRedirect},
		{"redirect allowed", "/again", with(func(o *Options) { o.Redirects = 1 }), nil},
		{"redirect to http", "/plain", with(func(o *Options) { o.Redirects = 1 }), ErrRedirect},
		{"redirect inside", "/inside", with(func(o *Options) { o.Redirects = 1 }), ErrAddress},
		{"redirect to another host with our certificate", "/inside", with(func(o *Options) { o.Redirects = 1; o.Certificate = &tls.Certificate{} }), ErrRedirect},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, err := New(tc.options).Do(t.Context(), http.MethodGet, s.URL+tc.path, nil, nil)
			if !errors.Is(err, tc.want) || tc.want == nil && err != nil {
				t.Fatalf("%v, want %v", err, tc.want)
			}
			if tc.path == "/" && tc.want == nil && string(r.Body) != "GET ampoule" {
				t.Errorf("%q", r.Body)
			}
		})
	}
	t.Run("unknown authority", func(t *testing.T) {
		var unknown x509.UnknownAuthorityError
		if _, err := New(with(func(o *Options) { o.Roots = nil })).Do(t.Context(), http.MethodGet, s.URL, nil, nil); !errors.As(err, &unknown) {
			t.Error(err)
		}
	})
	t.Run("too slow", func(t *testing.T) {
		begin := time.Now()
		if _, err := New(with(func(o *Options) { o.Timeout = 100 * time.Millisecond })).Do(t.Context(), http.MethodGet, s.URL+"/slow", nil, nil); err == nil || time.Since(begin) > 3*time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
	})
	t.Run("http to this machine", func(t *testing.T) {
		plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		defer plain.Close()
		port := strings.TrimPrefix(plain.URL, "http://127.0.0.1")
		c := New(Options{PrivateHosts: []string{"127.0.0.1", "localhost", "notary.example"}, Loopback: true})
		for host, want := range map[string]error{"127.0.0.1": nil, "localhost": ErrScheme, "notary.example": ErrScheme, "10.0.0.1": ErrScheme} {
			if _, err := c.Do(t.Context(), http.MethodGet, "http://"+host+port, nil, nil); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", host, err, want)
			}
		}
	})
	t.Run("addresses", func(t *testing.T) {
		c := New(good)
		for address, want := range map[string]error{
			strings.Replace(s.URL, "https", "http", 1): ErrScheme, "": ErrBadTarget, "https://": ErrBadTarget, "https://user:secret@127.0.0.1/": ErrBadTarget,
		} {
			if _, err := c.Do(t.Context(), http.MethodGet, address, nil, nil); !errors.Is(err, want) {
				t.Errorf("%q: %v, want %v", address, err, want)
			} else if bytes.Contains([]byte(err.Error()), []byte("secret")) {
				t.Errorf("%v gives a secret away", err)
			}
		}
	})
}

func TestCheckAddress(t *testing.T) {
	for address, public := range map[string]bool{
		"1.1.1.1:443": true, "[2606:4700::1111]:443": true, "[::ffff:1.1.1.1]:443": true,
		"127.0.0.1:443": false, "10.0.0.1:443": false, "172.31.255.255:443": false, "192.168.1.1:443": false, "169.254.169.254:80": false,
		"100.100.1.1:443": false, "0.0.0.0:443": false, "0.1.2.3:443": false, "255.255.255.255:443": false, "224.0.0.1:443": false, "198.18.0.1:443": false,
		"[::1]:443": false, "[::]:443": false, "[fe80::1%eth0]:443": false, "[fc00::1]:443": false, "[ff02::1]:443": false,
		"[::ffff:127.0.0.1]:443": false, "[64:ff9b::7f00:1]:443": false, "[2002:7f00:1::]:443": false, "nonsense": false,
	} {
		if err := checkAddress(address); (err == nil) != public {
			t.Errorf("%s: %v", address, err)
		}
	}
}
