package testdb

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

func createTable(ctx context.Context, url string) error {
	return run(ctx, url, "CREATE TABLE item (id int PRIMARY KEY)")
}

func run(ctx context.Context, url, sql string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, sql)
	return errors.Join(err, conn.Close(ctx))
}

func databaseExists(t *testing.T, name string) bool {
	t.Helper()
	var exists bool
	err := New(t).Conn(t).QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name).Scan(&exists)
	require.NoError(t, err)
	return exists
}

func TestNew_databasesAreSeparateCopies(t *testing.T) {
	t.Parallel()
	var prepared atomic.Int32
	template := Template("separate_copies", func(ctx context.Context, url string) error {
		prepared.Add(1)
		return createTable(ctx, url)
	})
	t.Cleanup(func() { require.EqualValues(t, 1, prepared.Load(), "prepared once") })

	for i := range 4 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			pool := New(t, template).Pool(t)
			_, err := pool.Exec(t.Context(), "INSERT INTO item VALUES (1)")
			require.NoError(t, err)
			var count int
			require.NoError(t, pool.QueryRow(t.Context(), "SELECT count(*) FROM item").Scan(&count))
			require.Equal(t, 1, count)
		})
	}
}

func TestNew_version(t *testing.T) {
	t.Parallel()
	var number string
	require.NoError(t, New(t).Conn(t).QueryRow(t.Context(), "SHOW server_version_num").Scan(&number))
	require.Equal(t, version(), number[:len(number)-4])
}

func TestNew_dropsTheDatabaseOfATestThatPassed(t *testing.T) {
	t.Parallel()
	var name string
	r := record(t, func(t testing.TB) {
		db := New(t)
		name = db.Name
		db.Conn(t)
		_, err := pgx.Connect(t.Context(), db.URL) // and nobody closes it
		require.NoError(t, err)
	})
	require.False(t, r.Failed(), r)
	require.Empty(t, r.String())
	require.False(t, databaseExists(t, name))
}

func TestNew_keepsTheDatabaseOfATestThatFailed(t *testing.T) {
	t.Parallel()
	var db *DB
	r := record(t, func(t testing.TB) {
		db = New(t)
		t.Fail()
	})
	require.Contains(t, r.String(), db.URL)
	require.True(t, databaseExists(t, db.Name))
}

func TestNew_templateThatCannotBePrepared(t *testing.T) {
	t.Parallel()
	template := Template("broken", func(ctx context.Context, url string) error {
		return run(ctx, url, "CREATE TABLE item (id no_such_type)")
	})
	for range 2 { // the second test is told the same
		r := record(t, func(t testing.TB) { New(t, template) })
		require.True(t, r.Failed())
		require.Contains(t, r.String(), `testdb: template "broken": prepare: ERROR: type "no_such_type" does not exist`)
	}
}

func TestNew_templateThatIsLeftOpen(t *testing.T) {
	t.Parallel()
	var left *pgx.Conn
	r := record(t, func(t testing.TB) {
		New(t, Template("left_open", func(ctx context.Context, url string) (err error) {
			left, err = pgx.Connect(ctx, url)
			return err
		}))
	})
	require.NoError(t, left.Close(t.Context()))
	require.Contains(t, r.String(), `testdb: template "left_open": prepare has left 1 connections open: close them before it returns`)
}

func TestNew_cloneThatFails(t *testing.T) {
	t.Parallel()
	s, err := sharedServer()
	require.NoError(t, err)

	// Someone is connected to what is to be copied.
	db := New(t)
	db.Conn(t)
	err = s.exec(t.Context(), createDatabase("never", db.Name))
	require.ErrorContains(t, err, "is being accessed by other users")
	require.ErrorContains(t, err, "There is 1 other session using the database")

	err = s.create(t.Context(), db.Name, newOptions{})
	require.ErrorContains(t, err, "create database "+db.Name+" from template0: ERROR: database \""+db.Name+"\" already exists")
}

func TestPool_failsTheTestThatKeepsAConnection(t *testing.T) {
	t.Parallel()
	release := func() {}
	r := record(t, func(t testing.TB) {
		conn, err := New(t).Pool(t).Acquire(t.Context())
		require.NoError(t, err)
		release = conn.Release
	})
	release()
	require.Contains(t, r.String(), "testdb: 1 connections of the pool are still in use")
}

func TestLog(t *testing.T) {
	t.Parallel()
	noisy, quiet := New(t), New(t)
	for _, db := range []*DB{noisy, quiet} {
		_, err := db.Conn(t).Exec(t.Context(), "DO $$ BEGIN RAISE WARNING 'from %', current_database(); END $$")
		require.NoError(t, err)
	}
	_, err := noisy.Conn(t).Exec(t.Context(), "SELECT no_such_column\nFROM pg_class")
	require.Error(t, err)

	WaitFor(t, "the error in the log", minute, func(context.Context) (bool, any, error) {
		log := noisy.Log(t)
		return strings.Contains(log, "no_such_column\n\tFROM pg_class"), log, nil
	})
	require.Contains(t, noisy.Log(t), "from "+noisy.Name)
	require.NotContains(t, noisy.Log(t), quiet.Name)
	require.Contains(t, quiet.Log(t), "from "+quiet.Name)
	require.NotContains(t, quiet.Log(t), "no_such_column")

	all, err := ServerLog(t.Context())
	require.NoError(t, err)
	require.Contains(t, all, "from "+noisy.Name)
	require.Contains(t, all, "from "+quiet.Name)
}
