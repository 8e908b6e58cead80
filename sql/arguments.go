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
		sent.WriteString(a.cast(u.Name))
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
		between := utf8.RuneCountInString(text[begin:u.Begin])
		if position <= sent+between {
			break
		}
		written, sent = written+between, sent+between
		length := u.numberedEnd - u.numberedBegin + len(a.cast(u.Name))
		if position <= sent+length {
			return written + 1
		}
		written, sent, begin = written+u.End-u.Begin, sent+length, u.End
	}
	return written + position - sent
}

// ArgumentUse is a place of a text that has an argument.
type ArgumentUse struct {
	// Name is the argument's, without its @.
	Name string
	// Begin and End are where it stands in the text, in bytes, from its @ on.
	Begin, End int

	// Where it stands in the text with numbers.
	numberedBegin, numberedEnd int
}

// ArgumentUses lists where a text has arguments, in order. Which @ are some, and not within
// quotes or a comment, pgx says.
func ArgumentUses(text string) ([]ArgumentUse, error) {
	numbered, _, err := pgx.NamedArgs{}.RewriteQuery(nil, nil, text, nil) //nolint:staticcheck // it uses neither
	if err != nil {
		return nil, err
	}
	return uses(text, numbered), nil
}

// uses goes through both texts side by side, which differ only where one has @name and
// the other $1.
func uses(text, numbered string) []ArgumentUse {
	var list []ArgumentUse
	i, k := 0, 0
	for i < len(text) && k < len(numbered) {
		if text[i] != '@' || numbered[k] != '$' {
			i, k = i+1, k+1
			continue
		}
		u := ArgumentUse{Begin: i, numberedBegin: k}
		for i++; i < len(text) && isName(text[i]); i++ {
			continue
		}
		for k++; k < len(numbered) && numbered[k] >= '0' && numbered[k] <= '9'; k++ {
			continue
		}
		u.Name, u.End, u.numberedEnd = text[u.Begin+1:i], i, k
		list = append(list, u)
	}
	return list
}

func isName(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
