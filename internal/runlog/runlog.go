// Package runlog keeps what a run logs, a bounded part of it, until it is stored with the
// run's record: the first lines, which say what the run set out to do, and the last
// ones, which say how it went. Whatever is logged, what is kept is short and can be
// stored as JSON by Postgres: no invalid UTF-8, and no zero bytes.
package runlog

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

const (
	// halfMax is what the first lines, and the last ones, may have in bytes.
	halfMax = 32 << 10

	// messageMax, valueMax and attributesMax cut what is in a line.
	messageMax    = 2 << 10
	valueMax      = 1 << 10
	attributesMax = 4 << 10

	// depthMax is how deep groups may be nested.
	depthMax = 5
)

// Level is the least level that is kept.
const Level = slog.LevelInfo

// Kept is what was kept of an attempt's lines. It is safe for concurrent use, and its
// methods may be called on nil.
type Kept struct {
	mu          sync.Mutex
	max         int
	first, last []json.RawMessage
	firstBytes  int
	lastBytes   int
	full        bool
	leftOut     int64
}

// New keeps at most so many lines, half of them the first and half the last; nil, and so
// none, for zero and less.
func New(lines int) *Kept {
	if lines <= 0 {
		return nil
	}
	return &Kept{max: lines}
}

// Logger makes a logger that does what another does, and keeps what it is told besides.
func (k *Kept) Logger(logger *slog.Logger) *slog.Logger {
	if k == nil {
		return logger
	}
	return slog.New(&handler{Handler: logger.Handler(), kept: k})
}

// JSON is an array of the lines; nil if there are none.
func (k *Kept) JSON() []byte {
	if k == nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.first) == 0 {
		return nil
	}
	lines := slices.Clone(k.first)
	if k.leftOut > 0 {
		lines = append(lines, encode(slog.NewRecord(time.Time{}, Level, fmt.Sprintf("(%d lines are left out here)", k.leftOut), 0), nil))
	}
	lines = append(lines, k.last...)
	return slices.Concat([]byte("["), bytes.Join(asBytes(lines), []byte(",")), []byte("]"))
}

func asBytes(lines []json.RawMessage) [][]byte {
	list := make([][]byte, len(lines))
	for i, line := range lines {
		list[i] = line
	}
	return list
}

func (k *Kept) add(line json.RawMessage) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if half := (k.max + 1) / 2; !k.full && len(k.first) < half && k.firstBytes+len(line) <= halfMax {
		k.first = append(k.first, line)
		k.firstBytes += len(line)
		return
	}
	k.full = true
	k.last = append(k.last, line)
	k.lastBytes += len(line)
	for len(k.last) > k.max/2 || k.lastBytes > halfMax {
		k.lastBytes -= len(k.last[0])
		k.last = k.last[1:]
		k.leftOut++
	}
}

// handler hands on what it is told, and keeps it.
type handler struct {
	slog.Handler

	kept *Kept
	// with is what With and WithGroup have added, outermost first.
	with []with
}

// with is a group, if it has a name, or attributes.
type with struct {
	group string
	attrs []slog.Attr
}

// Enabled says that what is kept is wanted, even if the log does not show it.
func (h *handler) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= Level || h.Handler.Enabled(ctx, level)
}

// Handle keeps a record and hands it on.
func (h *handler) Handle(ctx context.Context, record slog.Record) error {
	if record.Level >= Level {
		h.kept.add(encode(record, h.with))
	}
	if h.Handler.Enabled(ctx, record.Level) {
		return h.Handler.Handle(ctx, record)
	}
	return nil
}

// WithAttrs adds attributes.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &handler{Handler: h.Handler.WithAttrs(attrs), kept: h.kept, with: append(slices.Clip(h.with), with{attrs: attrs})}
}

// WithGroup opens a group.
func (h *handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return &handler{Handler: h.Handler.WithGroup(name), kept: h.kept, with: append(slices.Clip(h.with), with{group: name})}
}

type line struct {
	At         *time.Time     `json:"at,omitempty"`
	Level      string         `json:"level"`
	Message    string         `json:"message"`
	Attributes map[string]any `json:"attributes,omitempty"`
}

// encode makes a line of a record.
func encode(record slog.Record, added []with) json.RawMessage {
	l := line{Level: record.Level.String(), Message: Clean(record.Message, messageMax), Attributes: make(map[string]any)}
	if !record.Time.IsZero() {
		l.At = &record.Time
	}
	room := attributesMax
	into := l.Attributes
	for _, w := range added {
		if w.group != "" {
			into = open(into, Clean(w.group, valueMax))
		}
		put(into, w.attrs, &room, 0)
	}
	var attrs []slog.Attr
	record.Attrs(func(attr slog.Attr) bool {
		attrs = append(attrs, attr)
		return true
	})
	put(into, attrs, &room, 0)
	prune(l.Attributes)
	if room <= 0 {
		l.Attributes["…"] = "attributes are left out"
	}
	encoded, err := json.Marshal(l)
	if err != nil {
		// Nothing in it can fail.
		return json.RawMessage(`{"level":"ERROR","message":"a line could not be encoded"}`)
	}
	return encoded
}

// prune takes groups without attributes away, as slog asks.
func prune(attributes map[string]any) {
	for key, value := range attributes {
		if group, ok := value.(map[string]any); ok {
			if prune(group); len(group) == 0 {
				delete(attributes, key)
			}
		}
	}
}

func open(into map[string]any, group string) map[string]any {
	if known, ok := into[group].(map[string]any); ok {
		return known
	}
	inner := make(map[string]any)
	into[group] = inner
	return inner
}

// put adds attributes, as long as there is room.
func put(into map[string]any, attrs []slog.Attr, room *int, depth int) {
	for _, attr := range attrs {
		if *room <= 0 {
			return
		}
		value := attr.Value.Resolve()
		key := Clean(attr.Key, valueMax)
		if value.Kind() == slog.KindGroup {
			switch {
			case depth >= depthMax:
				*room = 0
			case key == "":
				put(into, value.Group(), room, depth+1)
			case len(value.Group()) > 0:
				*room -= len(key)
				put(open(into, key), value.Group(), room, depth+1)
			}
			continue
		}
		if attr.Equal(slog.Attr{}) {
			continue
		}
		plain, size := plainOf(value)
		if *room -= len(key) + size; *room > 0 {
			into[key] = plain
		}
	}
}

// plainOf is a value that can be encoded as JSON, and about its size.
func plainOf(value slog.Value) (plain any, size int) {
	const small = 8
	switch value.Kind() {
	case slog.KindBool:
		return value.Bool(), small
	case slog.KindInt64:
		return value.Int64(), small
	case slog.KindUint64:
		return value.Uint64(), small
	case slog.KindFloat64:
		if f := value.Float64(); !math.IsNaN(f) && !math.IsInf(f, 0) {
			return f, small
		}
	case slog.KindTime:
		return value.Time().Format(time.RFC3339Nano), len(time.RFC3339Nano)
	case slog.KindAny:
		return plainOfAny(value.Any())
	case slog.KindDuration, slog.KindString, slog.KindGroup, slog.KindLogValuer:
	}
	text := Clean(value.String(), valueMax)
	return text, len(text)
}

// plainOfAny is a value as JSON, if it is short and Postgres can store it, else a text.
func plainOfAny(value any) (plain any, size int) {
	var text string
	switch value := value.(type) {
	case error:
		text = textOf(value)
	case []byte:
		text = string(value[:min(len(value), valueMax+1)])
	default:
		raw := encoded(value)
		if raw != nil && len(raw) <= valueMax && Storable(raw) {
			return raw, len(raw)
		}
		if text = string(raw); raw == nil {
			text = textOf(value)
		}
	}
	text = Clean(text, valueMax)
	return text, len(text)
}

// encoded is a value as JSON; nil if that fails.
func encoded(value any) (raw json.RawMessage) {
	defer func() {
		if recover() != nil {
			raw = nil
		}
	}()
	raw, err := json.Marshal(value)
	if err != nil {
		return nil
	}
	return raw
}

// Storable says whether Postgres takes a JSON value: escapes of zero bytes and of halves
// of characters are no text to it. What looks like one may as well be one.
func Storable(raw []byte) bool {
	return utf8.Valid(raw) && !bytes.Contains(raw, []byte(`\u0000`)) && !bytes.Contains(bytes.ToLower(raw), []byte(`\ud`))
}

// textOf is a value as text, whatever its methods do.
func textOf(value any) (text string) {
	defer func() {
		if recovered := recover(); recovered != nil {
			text = fmt.Sprintf("!PANIC: %T", value)
		}
	}()
	if err, ok := value.(error); ok {
		return err.Error()
	}
	return fmt.Sprintf("%+v", value)
}

// Clean is a text that Postgres can store, cut after some bytes.
func Clean(text string, most int) string {
	cut := len(text) > most
	if cut {
		text = text[:most]
		for len(text) > 0 && !utf8.RuneStart(text[len(text)-1]) {
			text = text[:len(text)-1]
		}
		if r, size := utf8.DecodeLastRuneInString(text); r == utf8.RuneError && size == 1 {
			text = text[:len(text)-1]
		}
	}
	text = strings.ReplaceAll(strings.ToValidUTF8(text, "�"), "\x00", "")
	if cut {
		text += "…"
	}
	return text
}
