package sql

import (
	"context"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
)

// Arguments are the named arguments of a text that people have written, each of which
// must have a value: [pgx.StrictNamedArgs], but that a time is sent as a timestamptz, a
// duration as an interval and a bool as a boolean. Of "@now - interval '1 day'" the server would else take the
// first for an interval, too. What type the others have, it says itself.
type Arguments map[string]any

var _ pgx.QueryRewriter = Arguments(nil)

// RewriteQuery makes the text that is sent. It is called by pgx.
func (a Arguments) RewriteQuery(ctx context.Context, conn *pgx.Conn, text string, args []any) (newText string, newArgs []any, err error) {
	numbered, values, err := pgx.StrictNamedArgs(a).RewriteQuery(ctx, conn, text, args)
	if err != nil {
		return "", nil, err
	}
	var sent strings.Builder
	done := 0
	for _, u := range uses(text, numbered) {
		sent.WriteString(numbered[done:u.numberedEnd])
		sent.WriteString(a.cast(u.name))
		done = u.numberedEnd
	}
	sent.WriteString(numbered[done:])
	return sent.String(), values, nil
}

func (a Arguments) cast(name string) string {
	switch a[name].(type) {
	case time.Time:
		return "::timestamptz"
	case time.Duration:
		return "::interval"
	case bool:
		return "::boolean"
	}
	return ""
}

// Position says where the character at a position of the text that was sent, from 1, as
// the server's errors have it, stands in the text as it was written, from 1.
func (a Arguments) Position(ctx context.Context, text string, position int) int {
	numbered, _, err := pgx.StrictNamedArgs(a).RewriteQuery(ctx, nil, text, nil)
	if err != nil {
		return position // it was not sent
	}
	written, sent, begin := 0, 0, 0
	for _, u := range uses(text, numbered) {
		between := utf8.RuneCountInString(text[begin:u.begin])
		if position <= sent+between {
			break
		}
		written, sent = written+between, sent+between
		length := u.numberedEnd - u.numberedBegin + len(a.cast(u.name))
		if position <= sent+length {
			return written + 1
		}
		written, sent, begin = written+u.end-u.begin, sent+length, u.end
	}
	return written + position - sent
}

// use is a place of a text that has an argument, and the same place where that is a
// number. In bytes.
type use struct {
	name                       string
	begin, end                 int
	numberedBegin, numberedEnd int
}

// uses goes through both texts side by side, which differ only where one has @name and
// the other $1.
func uses(text, numbered string) []use {
	var list []use
	i, k := 0, 0
	for i < len(text) && k < len(numbered) {
		if text[i] != '@' || numbered[k] != '$' {
			i, k = i+1, k+1
			continue
		}
		u := use{begin: i, numberedBegin: k}
		for i++; i < len(text) && isName(text[i]); i++ {
			continue
		}
		for k++; k < len(numbered) && numbered[k] >= '0' && numbered[k] <= '9'; k++ {
			continue
		}
		u.name, u.end, u.numberedEnd = text[u.begin+1:i], i, k
		list = append(list, u)
	}
	return list
}

func isName(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
