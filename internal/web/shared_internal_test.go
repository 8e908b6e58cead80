package web

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Whoever knows what was at a time gets nothing older, and others need not read again.
func TestSharedSince(t *testing.T) {
	t.Parallel()
	reads := 0
	var away error
	read := func(context.Context) (int, time.Duration, error) {
		reads++
		return reads, time.Hour, away
	}
	value := newShared[int]()
	get := func(since time.Time) int {
		t.Helper()
		got, err := value.since(t.Context(), since, read)
		require.NoError(t, err)
		return got
	}
	require.Equal(t, 1, get(time.Time{}))
	now := time.Now()
	require.Equal(t, 2, get(now))
	require.Equal(t, 2, get(now))
	require.Equal(t, 2, get(time.Time{}))

	away = errors.New("away")
	_, err := value.since(t.Context(), time.Now(), read)
	require.ErrorIs(t, err, away)
	away = nil
	require.Equal(t, 4, get(time.Now()), "an error is not kept for those who want something newer")

	gone := errors.New("gone")
	last, err := value.end(gone)
	require.NoError(t, err)
	require.Equal(t, 4, last)
	_, err = value.since(t.Context(), time.Now(), read)
	require.ErrorIs(t, err, gone)
	require.Equal(t, 4, reads)
}
