package testdb

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

func TestStart_serverThatComesAndGoes(t *testing.T) {
	t.Parallel()
	s := Start(t, Options{Args: []string{"-c", "wal_level=logical"}})
	db := New(t, On(s), Template("items", createTable))
	one := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		return ping(ctx, db.URL)
	}

	var level string
	require.NoError(t, db.Conn(t).QueryRow(t.Context(), "SHOW wal_level").Scan(&level))
	require.Equal(t, "logical", level)

	require.NoError(t, run(t.Context(), db.URL, "INSERT INTO item VALUES (1)"))
	s.Kill(t)
	require.Error(t, one())
	s.Start(t)
	require.NoError(t, one())

	require.NoError(t, run(t.Context(), db.URL, "INSERT INTO item VALUES (2)"))
	s.Stop(t)
	require.Error(t, one())
	s.Start(t)

	var count int
	conn := db.Conn(t)
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT count(*) FROM item").Scan(&count))
	require.Equal(t, 2, count, "what was committed is there")

	s.Pause(t)
	require.ErrorIs(t, one(), context.DeadlineExceeded)
	s.Unpause(t)
	require.NoError(t, conn.Ping(t.Context()), "the connection has outlived it")

	log, err := s.Log(t.Context())
	require.NoError(t, err)
	require.Contains(t, log, "database system was not properly shut down")

	s.Pause(t) // and is removed all the same
}

func TestServer_sharedOneCannotBeEnded(t *testing.T) {
	t.Parallel()
	db := New(t)
	r := record(t, func(t testing.TB) { db.Server().Stop(t) })
	require.Contains(t, r.String(), "use one of testdb.Start")
	require.NoError(t, ping(t.Context(), db.URL))
}

func TestStandby(t *testing.T) {
	t.Parallel()
	primary, standby := Standby(t)
	db := New(t, On(primary), Template("items", createTable))
	require.NoError(t, run(t.Context(), db.URL, "INSERT INTO item VALUES (1)"))

	var recovering bool
	conn, err := pgx.Connect(t.Context(), standby.URL("postgres"))
	require.NoError(t, err)
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT pg_is_in_recovery()").Scan(&recovering))
	require.True(t, recovering)
	require.NoError(t, conn.Close(t.Context()))

	count := func(ctx context.Context) (ok bool, seen any, err error) {
		conn, err := pgx.Connect(ctx, standby.URL(db.Name))
		if err != nil {
			return false, nil, err
		}
		defer conn.Close(ctx)
		var count int
		err = conn.QueryRow(ctx, "SELECT count(*) FROM item").Scan(&count)
		return count == 1, count, err
	}
	WaitFor(t, "the row on the standby", minute, count)

	standby.Stop(t)
	standby.Start(t)
	WaitFor(t, "the row on the standby after a restart", minute, count)

	primary.Kill(t)
	require.NoError(t, run(t.Context(), standby.URL("postgres"), "SELECT pg_promote()"))
	require.NoError(t, run(t.Context(), standby.URL(db.Name), "INSERT INTO item VALUES (2)"))
}
