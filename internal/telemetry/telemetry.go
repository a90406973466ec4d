// Package telemetry sends traces to a collector, where an operator asks for that:
// one span for each answered request, by OTLP over HTTP.
//
// A span has the route as it is declared ("/v1/verify", never the path that was
// asked for), the method, the status and the times. That is what the metrics have,
// and nothing personal; what others put into the headers of a trace (baggage) is
// not read.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
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
	exporter, err := otlptracehttp.New(context.Background(), otlptracehttp.WithEndpointURL(u.String()), otlptracehttp.WithTimeout(5*time.Second))
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

// Close sends what is left.
func (t *Tracer) Close(ctx context.Context) error { return t.provider.Shutdown(ctx) }
