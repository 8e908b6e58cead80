package testdb

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
)

func TestSetClock(t *testing.T) {
	t.Parallel()
	s := Start(t, Options{Clock: true})
	db := New(t, On(s))
	open := db.Conn(t)
	ahead := func() float64 {
		var clock time.Time
		require.NoError(t, open.QueryRow(t.Context(), "SELECT clock_timestamp()").Scan(&clock))
		return time.Until(clock).Seconds()
	}
	require.InDelta(t, 0, ahead(), 5)

	for _, offset := range []time.Duration{24 * time.Hour, -time.Hour, 2500 * time.Millisecond} {
		s.SetClock(t, offset)
		require.InDelta(t, offset.Seconds(), ahead(), 1, "a connection that was open sees it")
		checkTimeouts(t, db)
	}

	s.SetClock(t, 24*time.Hour)
	s.Kill(t)
	s.Start(t)
	open = db.Conn(t)
	require.InDelta(t, (24 * time.Hour).Seconds(), ahead(), 5, "the clock has survived it")
	s.SetClock(t, 0)
	require.InDelta(t, 0, ahead(), 1)
}

func TestSetClock_onlyWhereAskedFor(t *testing.T) {
	t.Parallel()
	db := New(t)
	r := record(t, func(t testing.TB) { db.Server().SetClock(t, time.Hour) })
	require.Contains(t, r.String(), "start the server with Options.Clock")
}

// checkTimeouts expects that the server's timeouts take the time that they say.
func checkTimeouts(t *testing.T, db *DB) {
	t.Helper()
	holder := db.Conn(t)
	_, err := holder.Exec(t.Context(), "SELECT pg_advisory_lock(1)")
	require.NoError(t, err)
	defer func() { require.NoError(t, holder.Close(t.Context())) }()

	for _, test := range []struct {
		setting, before, statement string // without a statement, the session idles
		code                       string
	}{
		{setting: "statement_timeout", statement: "SELECT pg_sleep(60)", code: "57014"},
		{setting: "lock_timeout", statement: "SELECT pg_advisory_lock(1)", code: "55P03"},
		{setting: "idle_session_timeout", code: "57P05"},
		{setting: "idle_in_transaction_session_timeout", before: "BEGIN", code: "25P03"},
	} {
		conn := db.Conn(t)
		_, err := conn.Exec(t.Context(), "SET "+test.setting+" = '500ms'; "+test.before)
		require.NoError(t, err, test.setting)
		begin := time.Now()
		if test.statement == "" {
			ctx, cancel := context.WithTimeout(t.Context(), minute)
			_, err = conn.WaitForNotification(ctx)
			cancel()
		} else {
			_, err = conn.Exec(t.Context(), test.statement)
		}
		took := time.Since(begin)
		var pgErr *pgconn.PgError
		require.ErrorAs(t, err, &pgErr, test.setting)
		require.Equal(t, test.code, pgErr.Code, test.setting)
		require.Greater(t, took, 400*time.Millisecond, test.setting)
		require.Less(t, took, 5*time.Second, test.setting)
	}
}
