package runlog_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/slogtest"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/systempromptio/scheduler/internal/runlog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type kept struct {
	At         time.Time      `json:"at"`
	Level      string         `json:"level"`
	Message    string         `json:"message"`
	Attributes map[string]any `json:"attributes"`
}

func lines(t *testing.T, k *runlog.Kept) []kept {
	t.Helper()
	var list []kept
	if encoded := k.JSON(); encoded != nil {
		require.NoError(t, json.Unmarshal(encoded, &list))
	}
	return list
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestKeepsFirstAndLast(t *testing.T) {
	t.Parallel()
	k := runlog.New(10)
	logger := k.Logger(quiet())
	logger.Debug("not this")
	require.Nil(t, k.JSON(), "who logs nothing has nothing to store")
	for i := range 100 {
		logger.Info("line", "n", i)
	}
	list := lines(t, k)
	require.Len(t, list, 11)
	for i, want := range []float64{0, 1, 2, 3, 4} {
		require.InDelta(t, want, list[i].Attributes["n"], 0)
	}
	require.Equal(t, "(90 lines are left out here)", list[5].Message)
	require.InDelta(t, 95, list[6].Attributes["n"], 0)
	require.InDelta(t, 99, list[10].Attributes["n"], 0)
}

func TestFewLinesAreAllKept(t *testing.T) {
	t.Parallel()
	for lineMax := 1; lineMax <= 7; lineMax++ {
		k := runlog.New(lineMax)
		for i := range lineMax {
			k.Logger(quiet()).Warn("line", "n", i)
		}
		list := lines(t, k)
		require.Len(t, list, lineMax)
		for i := range list {
			require.InDelta(t, i, list[i].Attributes["n"], 0)
			require.Equal(t, "WARN", list[i].Level)
			require.WithinDuration(t, time.Now(), list[i].At, time.Minute)
		}
	}
}

func TestOff(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, -1} {
		k := runlog.New(n)
		require.Nil(t, k)
		logger := quiet()
		require.Same(t, logger, k.Logger(logger))
		require.Nil(t, k.JSON())
	}
}

// The log gets what it got before, at its own level.
func TestTheLogIsAsBefore(t *testing.T) {
	t.Parallel()
	var with, without bytes.Buffer
	options := &slog.HandlerOptions{Level: slog.LevelWarn, ReplaceAttr: func(_ []string, attr slog.Attr) slog.Attr {
		if attr.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return attr
	}}
	say := func(logger *slog.Logger) {
		logger = logger.With("a", 1).WithGroup("g").With("b", 2)
		logger.Debug("debug")
		logger.Info("info", "c", 3)
		logger.Warn("warn", "c", 3, slog.Group("h", "d", 4))
	}
	k := runlog.New(10)
	say(k.Logger(slog.New(slog.NewJSONHandler(&with, options))))
	say(slog.New(slog.NewJSONHandler(&without, options)))
	require.Equal(t, without.String(), with.String())
	list := lines(t, k)
	require.Len(t, list, 2, "and what it does not show is kept, from info on")
	require.Equal(t, map[string]any{"a": 1.0, "g": map[string]any{"b": 2.0, "c": 3.0, "h": map[string]any{"d": 4.0}}}, list[1].Attributes)
}

func TestIsAHandler(t *testing.T) {
	t.Parallel()
	k := runlog.New(1000)
	err := slogtest.TestHandler(k.Logger(quiet()).Handler(), func() []map[string]any {
		var results []map[string]any
		for _, l := range lines(t, k) {
			result := map[string]any{slog.LevelKey: l.Level, slog.MessageKey: l.Message}
			if !l.At.IsZero() {
				result[slog.TimeKey] = l.At
			}
			maps.Copy(result, l.Attributes)
			results = append(results, result)
		}
		return results
	})
	require.NoError(t, err)
}

type panics struct{}

func (panics) MarshalJSON() ([]byte, error) { panic("no") }

type panicsTwice struct{ panics }

func (panicsTwice) String() string { panic("again") }

type cycle struct{ Next *cycle }

// Whatever is logged, what is kept is short and can be stored.
func TestHostile(t *testing.T) {
	t.Parallel()
	loop := &cycle{}
	loop.Next = loop
	huge := strings.Repeat("ü", 5_000_000)
	deep := slog.String("x", "y")
	for range 100 {
		deep = slog.Group("g", deep)
	}
	many := make([]any, 0, 20_000)
	for i := range 10_000 {
		many = append(many, fmt.Sprintf("key_%d", i), i)
	}
	for name, say := range map[string]func(*slog.Logger){
		"a message of 10 MB":  func(l *slog.Logger) { l.Info(huge) }, //nolint:sloglint // hostile
		"a value of 10 MB":    func(l *slog.Logger) { l.Info("m", "v", huge) },
		"a key of 10 MB":      func(l *slog.Logger) { l.Info("m", huge, 1) },
		"bytes of 10 MB":      func(l *slog.Logger) { l.Info("m", "v", []byte(huge)) },
		"invalid UTF-8":       func(l *slog.Logger) { l.Info("\xff\xfe", "\xff", "\xc3\x28", "any", []string{"\xff"}) }, //nolint:sloglint // hostile
		"zero bytes":          func(l *slog.Logger) { l.Info("a\x00b", "c\x00d", "e\x00f", "any", []string{"\x00"}) },
		"a raw lone half":     func(l *slog.Logger) { l.Info("m", "v", json.RawMessage(`"\ud800"`)) },
		"a raw lone half, up": func(l *slog.Logger) { l.Info("m", "v", json.RawMessage(`"\uD800"`)) },
		"raw nonsense":        func(l *slog.Logger) { l.Info("m", "v", json.RawMessage(`{`)) },
		"no numbers": func(l *slog.Logger) {
			l.Info("m", "nan", math.NaN(), "inf", math.Inf(-1), "in", []float64{math.Inf(1)})
		},
		"panics":          func(l *slog.Logger) { l.Info("m", "v", panics{}, "w", panicsTwice{}, "nil", (*time.Time)(nil)) },
		"a nil error":     func(l *slog.Logger) { l.Info("m", "v", error((*nilError)(nil))) },
		"an error":        func(l *slog.Logger) { l.Info("m", "v", errors.New(huge)) },
		"a loop":          func(l *slog.Logger) { l.Info("m", "v", loop) },
		"functions":       func(l *slog.Logger) { l.Info("m", "v", func() {}, "c", make(chan int)) },
		"deep groups":     func(l *slog.Logger) { l.Info("m", deep) },
		"many attributes": func(l *slog.Logger) { l.Info("m", many...) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := runlog.New(100)
			for range 30 {
				say(k.Logger(quiet()).WithGroup("g").With("a", "b"))
			}
			encoded := k.JSON()
			require.LessOrEqual(t, len(encoded), 65<<10)
			require.True(t, utf8.Valid(encoded))
			escapes := strings.ToLower(strings.ReplaceAll(string(encoded), `\\`, ""))
			require.False(t, strings.Contains(escapes, `\u0000`) || strings.Contains(escapes, `\ud8`), "an escape that Postgres refuses")
			require.NotEmpty(t, lines(t, k))
		})
	}
}

type nilError struct{ text string }

func (e *nilError) Error() string { return e.text }

func TestConcurrently(t *testing.T) {
	t.Parallel()
	k := runlog.New(20)
	logger := k.Logger(quiet())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 200 {
				logger.Info("line", "n", i)
				k.JSON()
			}
		})
	}
	wg.Wait()
	require.Len(t, lines(t, k), 21)
}
