// Package redact keeps out of the log what nobody has said may stand in it: an
// attribute that is not on the list loses its value. A name that somebody logs by
// mistake is then seen in a test, and never in a log.
package redact

import (
	"context"
	"log/slog"
	"slices"
)

// LeftOut stands in the place of a value.
const LeftOut = "(left out)"

// Keys are the attributes whose values may stand in a log: none is personal, by
// what is put into it. "error" is the text of an error, and errors name no person.
var Keys = []string{
	"address", "attempt", "batch", "broker", "bytes", "channel", "count", "device", "dir", "duration", "error", "files", "fingerprint", "height", "job",
	"keys", "kid", "method", "module", "number", "operation", "outcome", "pattern", "reason", "record", "request", "role", "round", "route", "row",
	"sample", "schema", "seconds", "serial", "signal", "size", "stack", "state", "status", "supplier", "what",
}

// Handler passes records on with the values of known attributes only.
type Handler struct {
	next slog.Handler
	keys []string
}

// New returns a handler before another one.
func New(next slog.Handler) *Handler { return &Handler{next, Keys} }

// Enabled implements [slog.Handler].
func (h *Handler) Enabled(ctx context.Context, l slog.Level) bool { return h.next.Enabled(ctx, l) }

// Handle implements [slog.Handler].
func (h *Handler) Handle(ctx context.Context, r slog.Record) error {
	out := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		out.AddAttrs(h.known(a))
		return true
	})
	return h.next.Handle(ctx, out)
}

// WithAttrs implements [slog.Handler].
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	known := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		known[i] = h.known(a)
	}
	return &Handler{h.next.WithAttrs(known), h.keys}
}

// WithGroup implements [slog.Handler]. What is in a group is looked at by its own
// key.
func (h *Handler) WithGroup(name string) slog.Handler {
	return &Handler{h.next.WithGroup(name), h.keys}
}

func (h *Handler) known(a slog.Attr) slog.Attr {
	a.Value = a.Value.Resolve()
	if a.Value.Kind() == slog.KindGroup {
		var inside []slog.Attr
		for _, b := range a.Value.Group() {
			inside = append(inside, h.known(b))
		}
		return slog.Attr{Key: a.Key, Value: slog.GroupValue(inside...)}
	}
	if !slices.Contains(h.keys, a.Key) {
		return slog.String(a.Key, LeftOut)
	}
	return a
}
