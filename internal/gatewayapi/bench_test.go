package gatewayapi_test

import (
	"bytes"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"ampoule/format/cms"
	"ampoule/format/tng"
	"ampoule/internal/gatewaytest"
)

// BenchmarkGateway compares what a participant asks for most with a bare server
// that answers as many bytes over mutual TLS, and an upload with the signature
// checks in it. Client and server share the process, so both figures have both.
//
//	go test ./internal/gatewayapi -run - -bench Gateway -benchtime 2s
func BenchmarkGateway(b *testing.B) {
	const keys = 500
	n := gatewaytest.New(b, day)
	a := n.Onboard(b, "XA", "DCC")
	p := a.Participant(b)
	for range keys {
		dsc := a.Signer(b, x509.Certificate{}, nil)
		if _, err := n.Operator.UploadSigner(b.Context(), p, a.Upload(b, dsc.Cert.Raw)); err != nil {
			b.Fatal(err)
		}
	}
	base := n.Serve(b, nil)
	client := gatewaytest.Client(b, a.TLS)
	list := ask(b, client, "GET", base+"/trustList", nil)
	if entries, err := tng.ParseTrustList([]byte(list.body)); err != nil || len(entries) != keys+3 {
		b.Fatal(len(entries), err)
	}

	answer := []byte(list.body)
	echo := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				panic(err)
			}
			w.WriteHeader(http.StatusCreated)
			_, _ = w.Write(body)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(answer)
	}))
	echo.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, NextProtos: []string{"h2", "http/1.1"}}
	echo.EnableHTTP2 = true
	echo.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	echo.StartTLS()
	b.Cleanup(echo.Close)

	get := func(url string) func(*testing.B) {
		return func(b *testing.B) {
			b.SetBytes(int64(len(answer)))
			for b.Loop() {
				if got := ask(b, client, "GET", url, nil); got.status != 200 || len(got.body) != len(answer) {
					b.Fatal(got.status, len(got.body))
				}
			}
		}
	}
	b.Run(fmt.Sprintf("trustList/%d-keys", keys), get(base+"/trustList"))
	b.Run("trustList/bare", get(echo.URL))

	uploads := make(chan []byte)
	stop := make(chan struct{})
	b.Cleanup(func() { close(stop) })
	make1 := func() []byte { return a.Signer(b, x509.Certificate{}, gatewaytest.EC(b, elliptic.P256())).Cert.Raw }
	go func() { // beside what is measured, and in its time: it is taken off below
		for {
			select {
			case uploads <- a.Upload(b, make1()):
			case <-stop:
				return
			}
		}
	}()
	post := func(url string) func(*testing.B) {
		return func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				body := tng.EncodeCMS(<-uploads)
				b.StartTimer()
				if got := ask(b, client, "POST", url, body, "Content-Type", tng.TypeCMS); got.status != 201 {
					b.Fatal(got.status, got.body)
				}
			}
		}
	}
	b.Run("signerCertificate", post(base+"/signerCertificate"))
	b.Run("signerCertificate/bare", post(echo.URL))
	b.Run("cms", func(b *testing.B) {
		message := <-uploads
		for b.Loop() {
			o, err := cms.Open(message, nil)
			if err != nil || !bytes.Equal(o.Certificate.Raw, a.UP.Cert.Raw) {
				b.Fatal(err)
			}
		}
	})
}
