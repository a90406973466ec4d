package telemetry

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	wire "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// spans is a small collector: it keeps what is sent to it.
type spans struct {
	mu   sync.Mutex
	got  []*wire.Span
	name []string // attributes of the resource
}

func (s *spans) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var req wire.TracesData
	if err != nil || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" || proto.Unmarshal(body, &req) != nil {
		http.Error(w, "no traces", http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, rs := range req.ResourceSpans {
		for _, a := range rs.Resource.Attributes {
			s.name = append(s.name, a.Key+"="+a.Value.GetStringValue())
		}
		for _, ss := range rs.ScopeSpans {
			s.got = append(s.got, ss.Spans...)
		}
	}
}

func TestTracer(t *testing.T) {
	sink := new(spans)
	server := httptest.NewServer(sink)
	defer server.Close()
	tracer, err := Start(server.URL, "test", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now().Add(-time.Second)
	tracer.Answered("/v1/verify", "POST", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", 200, begun, 3*time.Millisecond)
	tracer.Answered("/v1/trust", "GET", "not a header", 500, begun, time.Millisecond)
	if err := tracer.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	sink.mu.Lock()
	defer sink.mu.Unlock()
	if len(sink.got) != 2 {
		t.Fatalf("%d spans", len(sink.got))
	}
	if want := []string{"service.name=ampoule", "service.version=test"}; !slices.Equal(sink.name, want) {
		t.Errorf("resource %q", sink.name)
	}
	first, second := sink.got[0], sink.got[1]
	if first.Name != "POST /v1/verify" || string(first.TraceId) != "\x0a\xf7\x65\x19\x16\xcd\x43\xdd\x84\x48\xeb\x21\x1c\x80\x31\x9c" {
		t.Errorf("%v", first)
	}
	if first.StartTimeUnixNano != uint64(begun.UnixNano()) || first.EndTimeUnixNano-first.StartTimeUnixNano != 3_000_000 {
		t.Errorf("from %d to %d", first.StartTimeUnixNano, first.EndTimeUnixNano)
	}
	if second.Status.GetCode() != wire.Status_STATUS_CODE_ERROR || len(second.ParentSpanId) != 0 {
		t.Errorf("%v", second)
	}
	// No other attribute than these, whatever a library adds some day.
	for _, span := range sink.got {
		for _, a := range span.Attributes {
			if !slices.Contains([]string{"http.request.method", "http.route", "http.response.status_code"}, a.Key) {
				t.Errorf("attribute %s", a.Key)
			}
		}
		if len(span.Attributes) != 3 || len(span.Events) != 0 {
			t.Errorf("%v", span)
		}
	}
}

func TestStartRefuses(t *testing.T) {
	for _, address := range []string{"", "127.0.0.1:4318", "ftp://example", "http://", "://"} {
		if _, err := Start(address, "test", slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%q was taken", address)
		}
	}
}

// TestCollectorGone: requests do not wait, and it is told.
func TestCollectorGone(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	var said bytes.Buffer
	tracer, err := Start(server.URL, "test", slog.New(slog.NewTextHandler(&said, nil)))
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	for range 5000 {
		tracer.Answered("/v1/verify", "POST", "", 200, begun, time.Millisecond)
	}
	if took := time.Since(begun); took > 2*time.Second {
		t.Errorf("5000 spans took %s", took)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_ = tracer.Close(ctx)
	server.Close()
	if !strings.Contains(said.String(), "traces are not sent") {
		t.Errorf("%q", said.String())
	}
}
