package connection_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/internal/connection"
)

func server(code string) error { return fmt.Errorf("asked: %w", &pgconn.PgError{Code: code}) }

func TestIsAway(t *testing.T) {
	t.Parallel()
	for _, err := range []error{
		server("08006"), server("53100"), server("53300"), server("57P01"), server("57P03"), server("58030"), server("25006"),
		io.ErrUnexpectedEOF, fmt.Errorf("read: %w", io.EOF), os.NewSyscallError("connect", syscall.ECONNREFUSED), context.DeadlineExceeded,
	} {
		require.True(t, connection.IsAway(err), "%v", err)
	}
	for _, err := range []error{
		nil, server(""), server("23505"), server("28P01"), server("3D000"), server("42501"), server("53400"), server("55P03"), server("57014"), server("25P03"),
		context.Canceled, errors.New("a job's own"), fmt.Errorf("connect: %w", &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}),
	} {
		require.False(t, connection.IsAway(err), "%v", err)
	}
	require.True(t, connection.IsServerAway(server("57P01")))
	require.False(t, connection.IsServerAway(io.EOF))
	for _, code := range []string{"55P03", "57014", "53100"} {
		require.True(t, connection.IsHeldUp(server(code)), code)
	}
	for _, err := range []error{server("42501"), server("57P01"), io.EOF} {
		require.False(t, connection.IsHeldUp(err), "%v", err)
	}
}

// However often something comes and goes, an outage is two lines.
func TestOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		o := &connection.Outage{Logger: slog.New(slog.NewTextHandler(&log, nil)), LostText: "it is lost", BackText: "it is back"}
		require.False(t, o.Well(t.Context()), "there was none")
		for range 20 {
			o.Lost(t.Context(), errors.New("gone"))
			require.True(t, o.Ongoing())
			<-time.After(connection.Quiet / 2)
			require.False(t, o.Well(t.Context()), "not for long enough")
		}
		<-time.After(connection.Quiet)
		require.True(t, o.Well(t.Context()))
		require.False(t, o.Ongoing())
		require.False(t, o.Well(t.Context()), "once")
		require.Equal(t, 1, strings.Count(log.String(), "it is lost"), log.String())
		require.Equal(t, 1, strings.Count(log.String(), "it is back"), log.String())
		require.Contains(t, log.String(), "outage=30s errors=20", "until it was there again")
	})
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var b connection.Backoff
		waits := make(map[time.Duration]bool)
		for i := range 50 {
			begin := time.Now()
			b.Wait(t.Context())
			wait := time.Since(begin)
			require.LessOrEqual(t, wait, time.Second)
			if i > 5 {
				require.GreaterOrEqual(t, wait, time.Second/2)
			}
			waits[wait] = true
		}
		require.Greater(t, len(waits), 40, "hardly two are the same")
		b.Reset()
		begin := time.Now()
		b.Wait(t.Context())
		require.LessOrEqual(t, time.Since(begin), 50*time.Millisecond)
	})
}

// What a connection string refers to is read for each connection, and the hook has the
// last word.
func TestSourceReadsAnew(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "pgpass")
	source := connection.Source{URL: "host=one,two user=u dbname=d passfile=" + file}
	for _, password := range []string{"first", "second"} {
		require.NoError(t, os.WriteFile(file, []byte("*:*:*:*:"+password+"\n"), 0o600))
		config, err := source.Config(t.Context())
		require.NoError(t, err)
		require.Equal(t, password, config.Password)
		require.NotZero(t, config.ConnectTimeout, "a host that is down must leave time for the next one")
	}
	config, err := source.Config(t.Context())
	require.NoError(t, err)
	source.BeforeConnectFunc = func(_ context.Context, c *pgx.ConnConfig) error {
		c.Password = "from the hook"
		return nil
	}
	require.NoError(t, source.Refresh(t.Context(), config))
	require.Equal(t, "from the hook", config.Password)
	source.BeforeConnectFunc = func(context.Context, *pgx.ConnConfig) error { return errors.New("no idea") }
	_, err = source.Config(t.Context())
	require.ErrorContains(t, err, "no idea")
	require.True(t, connection.IsAway(err), "it is asked again")
	_, err = connection.Source{URL: "host"}.Config(t.Context())
	require.Error(t, err)
	require.False(t, connection.IsAway(err), "that never helps")
}

// What a program's pool has is kept where it says how to connect, and left out where it
// is the pool's own business.
func TestSourceOfAPool(t *testing.T) {
	t.Parallel()
	base, err := pgxpool.ParseConfig("postgres://app:old@db:6432/shop?pool_min_conns=2")
	require.NoError(t, err)
	dialed := errors.New("the pool's own way to dial")
	base.ConnConfig.DialFunc = func(context.Context, string, string) (net.Conn, error) { return nil, dialed }
	base.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	base.ConnConfig.StatementCacheCapacity, base.ConnConfig.DescriptionCacheCapacity = 0, 0
	base.ConnConfig.OnNotice = func(*pgconn.PgConn, *pgconn.Notice) {}
	base.AfterConnect = func(context.Context, *pgx.Conn) error { return nil }
	base.BeforeConnect = func(_ context.Context, config *pgx.ConnConfig) error {
		config.Password = "issued a moment ago"
		return nil
	}
	source := connection.Source{Base: base}
	config, err := source.Config(t.Context())
	require.NoError(t, err)
	require.Equal(t, "app issued a moment ago db 6432 shop", fmt.Sprint(config.User, " ", config.Password, " ", config.Host, " ", config.Port, " ", config.Database))
	require.Equal(t, "old", base.ConnConfig.Password, "the pool's own configuration is not changed")
	_, err = config.DialFunc(t.Context(), "", "")
	require.ErrorIs(t, err, dialed)
	require.Nil(t, config.OnNotice)
	require.Equal(t, pgx.QueryExecModeCacheStatement, config.DefaultQueryExecMode)
	require.Positive(t, config.StatementCacheCapacity, "that mode needs one")
	require.Positive(t, config.DescriptionCacheCapacity, "a client's mode needs one")

	pool, err := source.PoolConfig()
	require.NoError(t, err)
	require.Zero(t, pool.MinConns)
	require.Nil(t, pool.AfterConnect)
	require.NoError(t, pool.BeforeConnect(t.Context(), pool.ConnConfig))
	require.Equal(t, "issued a moment ago", pool.ConnConfig.Password)

	base.BeforeConnect = func(context.Context, *pgx.ConnConfig) error { return errors.New("no ticket") }
	_, err = source.Config(t.Context())
	require.ErrorContains(t, err, "no ticket")
	require.True(t, connection.IsAway(err), "it is asked again")
}
