// Package telemetry sends traces to a collector, where an operator asks for that:
// one span for each answered request, by OTLP over HTTP.
//
// A span has the route as it is declared ("/v1/verify", never the path that was
// asked for), the method, the status and the times. That is what the metrics have,
// and nothing personal; what others put into the headers of a trace (baggage) is
// not read.
package telemetry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	wire "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// ErrAddress says that the address of the collector cannot be used.
var ErrAddress = errors.New("the address of a collector looks like http://127.0.0.1:4318")

// Tracer makes spans of requests.
type Tracer struct {
	provider *sdk.TracerProvider
	tracer   trace.Tracer
}

// Start returns a tracer that sends to the collector at an address; /v1/traces is
// added to one without a path. Spans are sent in the background, and are dropped
// when the collector is not there.
func Start(address, version string, log *slog.Logger) (*Tracer, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("telemetry.otlp: %w", ErrAddress)
	}
	if strings.Trim(u.Path, "/") == "" {
		u.Path = "/v1/traces"
	}
	// Of the whole process, as the library wants it: an error of sending is told
	// and no more.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("traces are not sent", "error", err.Error()) }))
	exporter, err := otlptrace.New(context.Background(), &client{address: u.String(), http: &http.Client{Timeout: 5 * time.Second}})
	if err != nil {
		return nil, fmt.Errorf("telemetry.otlp: %w", err)
	}
	return start(exporter, version), nil
}

func start(exporter sdk.SpanExporter, version string) *Tracer {
	// No detector: they look at the machine, its user and its command line.
	about := resource.NewSchemaless(attribute.String("service.name", "ampoule"), attribute.String("service.version", version))
	p := sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(about))
	return &Tracer{p, p.Tracer("ampoule")}
}

// Answered tells of a request that was answered. traceparent is its header (W3C
// Trace Context), which joins the span to the caller's.
func (t *Tracer) Answered(route, method, traceparent string, status int, begun time.Time, took time.Duration) {
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{"traceparent": traceparent})
	_, span := t.tracer.Start(ctx, method+" "+route, trace.WithTimestamp(begun), trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		attribute.String("http.request.method", method), attribute.String("http.route", route), attribute.Int("http.response.status_code", status)))
	if status >= 500 {
		span.SetStatus(codes.Error, "")
	}
	span.End(trace.WithTimestamp(begun.Add(took)))
}

// client sends spans to a collector (OTLP 1.11, "OTLP/HTTP", binary). The library
// has one of its own, which links gRPC for a message that is posted: 4 MB, and forty
// packages.
type client struct {
	address string
	http    *http.Client
}

func (c *client) Start(context.Context) error { return nil }

func (c *client) Stop(context.Context) error {
	c.http.CloseIdleConnections()
	return nil
}

// UploadTraces sends once: what cannot be sent now is dropped, and what comes next
// is tried again.
func (c *client) UploadTraces(ctx context.Context, spans []*wire.ResourceSpans) error {
	// On the wire TracesData is an ExportTraceServiceRequest: field 1 of either.
	body, err := proto.Marshal(&wire.TracesData{ResourceSpans: spans})
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.address, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-protobuf")
	res, err := c.http.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10)) // so that the connection is used again
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("the collector answers %s", res.Status)
	}
	return nil
}

// Close sends what is left.
func (t *Tracer) Close(ctx context.Context) error { return t.provider.Shutdown(ctx) }
