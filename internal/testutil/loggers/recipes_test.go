package loggers

import (
	"context"
	"io"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"kustospool/engine"
)

// zapTo gives a logger whose lines are durable when it returns. Close w behind the last
// line and before the spool.
func zapTo(ctx context.Context, table *engine.Table) (logger *zap.Logger, w io.Closer) {
	lines := table.Writer(ctx)
	sink := zapcore.Lock(zapcore.AddSync(lines))
	return zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(inUTC()), sink, zap.InfoLevel), zap.AddCaller()), lines
}

// bufferedZapTo has a commit a second: a crash may lose the lines of the last one. Stop it,
// then close w.
func bufferedZapTo(ctx context.Context, table *engine.Table) (logger *zap.Logger, stop func() error, w io.Closer) {
	lines := table.Writer(ctx)
	sink := &zapcore.BufferedWriteSyncer{WS: zapcore.AddSync(lines), FlushInterval: time.Second}
	return zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(inUTC()), sink, zap.InfoLevel), zap.AddCaller()), sink.Stop, lines
}

func inUTC() zapcore.EncoderConfig {
	c := zap.NewProductionEncoderConfig()
	c.EncodeTime = func(t time.Time, to zapcore.PrimitiveArrayEncoder) { to.AppendString(t.UTC().Format(time.RFC3339Nano)) }
	return c
}

// zerologTo gives a logger whose lines are durable when it returns. Close w behind the last
// line and before the spool.
func zerologTo(ctx context.Context, table *engine.Table) (logger zerolog.Logger, w io.Closer) {
	lines := table.Writer(ctx)
	zerolog.TimeFieldFormat = time.RFC3339Nano // of the whole program
	zerolog.TimestampFunc = func() time.Time { return time.Now().UTC() }
	return zerolog.New(zerolog.SyncWriter(lines)).With().Timestamp().Logger(), lines
}
