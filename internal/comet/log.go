package comet

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"

	cmtlog "github.com/cometbft/cometbft/libs/log"
)

// engineLog brings what the engine logs into ours: a level quieter, since what it
// calls an error is often a peer that is away, and with those attributes only that
// say what an operator can use.
type engineLog struct {
	to    *slog.Logger
	fail  func(error)
	quiet *atomic.Bool // the node stops
}

// consensusFailure is what the engine logs when it stops voting for ever. It tells
// nobody else.
const consensusFailure = "CONSENSUS FAILURE!!!"

func (l *engineLog) Debug(string, ...any) {}

func (l *engineLog) Info(msg string, keyvals ...any) { l.log(slog.LevelDebug, msg, keyvals) }

func (l *engineLog) Error(msg string, keyvals ...any) {
	if msg == consensusFailure {
		l.fail(fmt.Errorf("%v: %w", value(keyvals, "err"), ErrEngine))
		return
	}
	l.log(slog.LevelInfo, msg, keyvals)
}

func (l *engineLog) With(keyvals ...any) cmtlog.Logger {
	if module := value(keyvals, "module"); module != nil {
		return &engineLog{l.to.With("module", fmt.Sprint(module)), l.fail, l.quiet}
	}
	return l
}

func value(keyvals []any, key string) any {
	for i := 0; i+1 < len(keyvals); i += 2 {
		if keyvals[i] == key {
			return keyvals[i+1]
		}
	}
	return nil
}

func (l *engineLog) log(level slog.Level, msg string, keyvals []any) {
	ctx := context.Background()
	if l.quiet.Load() || !l.to.Enabled(ctx, level) {
		return
	}
	var attrs []slog.Attr
	for i := 0; i+1 < len(keyvals); i += 2 {
		switch keyvals[i] {
		case "height":
			attrs = append(attrs, slog.String("height", fmt.Sprint(keyvals[i+1])))
		case "err", "error":
			attrs = append(attrs, slog.String("error", fmt.Sprint(keyvals[i+1])))
		}
	}
	l.to.LogAttrs(ctx, level, "ledger engine: "+msg, attrs...)
}
