package sql

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestArguments(t *testing.T) {
	t.Parallel()
	arguments := Arguments{"now": time.Unix(0, 0), "keep": time.Hour, "days": int64(3)}
	const text = `"ä@now" = 'ü@days' AND a < @now - @keep -- @days
		AND b < @days AND é > @now AND FEHLER`
	sent, values, err := arguments.RewriteQuery(t.Context(), nil, text, nil)
	require.NoError(t, err)
	require.Equal(t, `"ä@now" = 'ü@days' AND a < $1::timestamptz - $2::interval -- @days
		AND b < $3 AND é > $1::timestamptz AND FEHLER`, sent)
	require.Equal(t, []any{time.Unix(0, 0), time.Hour, int64(3)}, values)

	for i, r := range []rune(sent) {
		at := arguments.Position(t.Context(), text, i+1)
		if strings.ContainsRune("$:", r) {
			require.Equal(t, '@', []rune(text)[at-1])
		} else if strings.ContainsRune("äüéFHLR'<>", r) {
			require.Equal(t, string(r), string([]rune(text)[at-1]))
		}
	}
	_, _, err = arguments.RewriteQuery(t.Context(), nil, "@other", nil)
	require.Error(t, err)
}
