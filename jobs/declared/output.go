package declared

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"unicode"
)

const (
	// outputHalf is how many bytes are kept of an output's beginning, and of its end.
	outputHalf = 32 << 10
	// outputLines is how many lines of each go to the log, which keeps a hundred by
	// default.
	outputLines = 40
	lineMax     = 1000
	tailLines   = 10
)

// output keeps the beginning and the end of what is written to it. It never fails: a
// command whose output is not kept goes on.
type output struct {
	mu   sync.Mutex
	head []byte
	// end is a ring of the last bytes after head, of which next is the oldest once it is
	// full.
	end   []byte
	next  int
	total int64
}

// Write keeps what there is room for.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	written := len(p)
	o.total += int64(written)
	room := min(outputHalf-len(o.head), len(p))
	o.head = append(o.head, p[:room]...)
	p = p[room:]
	p = p[max(len(p)-outputHalf, 0):]
	for len(p) > 0 {
		if len(o.end) < outputHalf {
			n := min(outputHalf-len(o.end), len(p))
			o.end, p = append(o.end, p[:n]...), p[n:]
			continue
		}
		n := copy(o.end[o.next:], p)
		o.next, p = (o.next+n)%outputHalf, p[n:]
	}
	return written, nil
}

// lines are the lines that are kept, and between them, if need be, how much is not.
func (o *output) lines() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	end := string(o.end[o.next:]) + string(o.end[:o.next])
	left := o.total - int64(len(o.head)) - int64(len(end))
	if left == 0 {
		return split(string(o.head) + end)
	}
	return append(append(split(string(o.head)), fmt.Sprintf("... %d bytes are left out ...", left)), split(end)...)
}

// split makes lines for people of what may be anything.
func split(text string) []string {
	var list []string
	for line := range strings.SplitSeq(text, "\n") {
		if line = printable(line); line != "" {
			list = append(list, line)
		}
	}
	return list
}

// printable is a bounded text that a terminal shows as it is.
func printable(text string) string {
	if len(text) > lineMax {
		text = text[:lineMax] + "..."
	}
	text = strings.Map(func(r rune) rune {
		if r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return -1
	}, strings.ToValidUTF8(text, "\uFFFD"))
	return strings.TrimSpace(text)
}

// log writes the first and the last lines to a run's log.
func (o *output) log(ctx context.Context, logger *slog.Logger) {
	lines := o.lines()
	for i, line := range lines {
		switch {
		case i < outputLines || i >= len(lines)-outputLines:
			logger.InfoContext(ctx, "output", slog.String("line", line))
		case i == outputLines:
			logger.InfoContext(ctx, "output", slog.Int("lines_left_out", len(lines)-2*outputLines))
		}
	}
}

// tail is the end of the output for an error; empty if there was none. The last line, which
// mostly says why, comes first: lists show an error's first line only.
func (o *output) tail() string {
	lines := o.lines()
	lines = lines[max(len(lines)-tailLines, 0):]
	if len(lines) == 0 {
		return ""
	}
	tail := "; its output ends with: " + lines[len(lines)-1]
	if len(lines) > 1 {
		tail += "\n\n" + strings.Join(lines, "\n")
	}
	return tail
}

// last is the output's last line.
func (o *output) last() string {
	lines := o.lines()
	if len(lines) == 0 {
		return ""
	}
	return lines[len(lines)-1]
}
