package integration

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/jobs"
)

// withURL is a database's URL with something changed.
func withURL(t *testing.T, databaseURL string, change func(u *url.URL, query url.Values)) string {
	t.Helper()
	u, err := url.Parse(databaseURL)
	require.NoError(t, err)
	query := u.Query()
	change(u, query)
	u.RawQuery = query.Encode()
	return u.String()
}

// runsThere starts a replica on a connection string and sees it lead and work.
func runsThere(t *testing.T, db *testdb.DB, config scheduler.Config) {
	t.Helper()
	runScheduler(t, config)
	waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM scheduler.jobs WHERE job_name = 'yearly_hit')")
	waitStatus(t, db, scalar[int64](t, db, "SELECT scheduler.run_now('yearly_hit')"), jobs.StatusSuccess)
}

// authority makes a certificate authority and a server's certificate for a name.
func authority(t *testing.T, name string) (root, cert, key []byte) {
	t.Helper()
	rootKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	rootTemplate := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	rootDER, err := x509.CreateCertificate(rand.Reader, rootTemplate, rootTemplate, &rootKey.PublicKey, rootKey)
	require.NoError(t, err)
	serverKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	certDER, err := x509.CreateCertificate(rand.Reader, template, rootTemplate, &serverKey.PublicKey, rootKey)
	require.NoError(t, err)
	keyDER, err := x509.MarshalECPrivateKey(serverKey)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: rootDER}),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certDER}),
		pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})
}

// serveTLS gives a server of the test's own a certificate.
func serveTLS(t *testing.T, db *testdb.DB, cert, key []byte) {
	t.Helper()
	for name, content := range map[string][]byte{"server.crt": cert, "server.key": key} {
		lines := strings.TrimSpace(string(content))
		exec1(t, db, "COPY (SELECT line FROM unnest(string_to_array('"+lines+"', E'\\n')) AS l (line)) TO PROGRAM 'umask 077; cat >\"$PGDATA/"+name+"\"'")
	}
	exec1(t, db, "ALTER SYSTEM SET ssl = on")
	exec1(t, db, "SELECT pg_reload_conf()")
}

func TestTLSVerifyFull(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated, testdb.On(testdb.Start(t, testdb.Options{})))
	root, cert, key := authority(t, "localhost")
	serveTLS(t, db, cert, key)
	rootFile, otherFile := filepath.Join(t.TempDir(), "root.crt"), filepath.Join(t.TempDir(), "other.crt")
	require.NoError(t, os.WriteFile(rootFile, root, 0o600))
	other, _, _ := authority(t, "localhost")
	require.NoError(t, os.WriteFile(otherFile, other, 0o600))
	verified := func(host, rootFile string) string {
		return withURL(t, db.URL, func(u *url.URL, query url.Values) {
			u.Host = net.JoinHostPort(host, u.Port())
			query.Set("sslmode", "verify-full")
			query.Set("sslrootcert", rootFile)
		})
	}
	waitValue(t, db, waitRun, true, "SELECT current_setting('ssl')::boolean")
	testdb.WaitFor(t, "TLS", waitRun, func(ctx context.Context) (bool, any, error) {
		conn, err := pgx.Connect(ctx, verified("localhost", rootFile))
		if err != nil {
			return false, err, nil //nolint:nilerr // the server has not read its configuration yet
		}
		return true, nil, conn.Close(ctx)
	})
	runsThere(t, db, scheduler.Config{DatabaseURL: verified("localhost", rootFile), ReplicaID: "secure"})
	if n := scalar[int64](t, db, `SELECT count(*) FROM pg_stat_activity a LEFT JOIN pg_stat_ssl s USING (pid)
		WHERE a.application_name LIKE 'scheduler%secure' AND NOT s.ssl`); n != 0 {
		t.Errorf("%d of the replica's connections are not encrypted", n)
	}
	for name, wrong := range map[string]string{"another name": verified("127.0.0.1", rootFile), "another authority": verified("localhost", otherFile)} {
		_, err := scheduler.NewClient(t.Context(), wrong, "")
		require.ErrorContains(t, err, "certificate", name)
	}
}

func TestUnixSocket(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	u, err := url.Parse(db.URL)
	require.NoError(t, err)
	folder := t.TempDir()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "unix", filepath.Join(folder, ".s.PGSQL.5432"))
	require.NoError(t, err)
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	t.Cleanup(func() {
		cancel()
		require.NoError(t, listener.Close())
		wg.Wait()
	})
	wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { forward(ctx, conn, u.Host) })
		}
	})
	runsThere(t, db, scheduler.Config{DatabaseURL: fmt.Sprintf("host=%s port=5432 user=postgres password=postgres dbname=%s", folder, db.Name)})
}

// forward carries what comes in on a connection to a server, and back.
func forward(ctx context.Context, conn net.Conn, address string) {
	defer func() { _ = conn.Close() }() // the other end has gone
	server, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }() // likewise
	defer context.AfterFunc(ctx, func() { _, _ = conn.Close(), server.Close() })()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(server, conn) // until one end closes
		_ = server.Close()
	}()
	_, _ = io.Copy(conn, server)
	_ = conn.Close()
	<-done
}

func TestSeveralHosts(t *testing.T) {
	t.Parallel()
	primary, standby := testdb.Standby(t)
	db := testdb.New(t, migrated, testdb.On(primary))
	standbyURL, err := url.Parse(standby.URL(db.Name))
	require.NoError(t, err)
	// A host that nothing listens on, a standby, and the primary.
	several := withURL(t, db.URL, func(u *url.URL, query url.Values) {
		u.Host = strings.Join([]string{"127.0.0.1:1", standbyURL.Host, u.Host}, ",")
		query.Set("target_session_attrs", "read-write")
	})
	testdb.WaitFor(t, "the standby has the database", waitRun, func(ctx context.Context) (bool, any, error) {
		conn, err := pgx.Connect(ctx, standbyURL.String())
		if err != nil {
			return false, err, nil //nolint:nilerr // not yet
		}
		return true, nil, conn.Close(ctx)
	})
	runsThere(t, db, scheduler.Config{DatabaseURL: several})
}

func TestRotatingPassword(t *testing.T) {
	t.Parallel()
	for name, rotating := range map[string]func(t *testing.T, config *scheduler.Config) (rotate func(password string)){
		"password file": func(t *testing.T, config *scheduler.Config) func(string) {
			t.Helper()
			file := filepath.Join(t.TempDir(), "pgpass")
			config.DatabaseURL = withURL(t, config.DatabaseURL, func(_ *url.URL, query url.Values) { query.Set("passfile", file) })
			return func(password string) { require.NoError(t, os.WriteFile(file, []byte("*:*:*:*:"+password+"\n"), 0o600)) }
		},
		"hook": func(_ *testing.T, config *scheduler.Config) func(string) {
			var mu sync.Mutex
			var current string
			config.BeforeConnectFunc = func(_ context.Context, c *pgx.ConnConfig) error {
				mu.Lock()
				defer mu.Unlock()
				c.Password = current
				return nil
			}
			return func(password string) {
				mu.Lock()
				defer mu.Unlock()
				current = password
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := testdb.New(t, migrated)
			role := "rotating_" + strings.ReplaceAll(name, " ", "_") + "_" + db.Name
			exec1(t, db, "CREATE ROLE "+role+" SUPERUSER LOGIN PASSWORD 'first'")
			t.Cleanup(func() {
				if err := execute(context.WithoutCancel(t.Context()), db.URL, "DROP ROLE "+role); err != nil {
					t.Error(err)
				}
			})
			log := &lines{}
			config := scheduler.Config{
				DatabaseURL: withURL(t, db.URL, func(u *url.URL, _ url.Values) { u.User = url.User(role) }),
				Logger:      slog.New(slog.NewTextHandler(log, nil)),
			}
			rotate := rotating(t, &config)
			rotate("first")
			stop := runScheduler(t, config)
			defer stop()
			waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM scheduler.leader) AND EXISTS (SELECT FROM scheduler.jobs)")
			epoch := scalar[int64](t, db, "SELECT epoch FROM scheduler.leader")
			// The server has the new password before the replica does.
			exec1(t, db, "ALTER ROLE "+role+" PASSWORD 'second'")
			exec1(t, db, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", role)
			testdb.WaitFor(t, "the loss", waitRun, func(context.Context) (bool, any, error) {
				text := log.String()
				return strings.Contains(text, "the lock session is lost"), text, nil
			})
			rotate("second")
			waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM scheduler.leader WHERE epoch > $1)", epoch)
			waitStatus(t, db, scalar[int64](t, db, "SELECT scheduler.run_now('yearly_hit')"), jobs.StatusSuccess)
		})
	}
}

// outageLines are what the log says about connections: lost and back, once each.
var outageLines = []string{
	"the lock session is lost;", "the lock session is back", "the workers have lost the database;", "the workers have the database back",
}

// Every connection is ended again and again: that is one outage, with one line when
// it begins and one when it is over, and no tick is lost.
func TestStormOfTerminations(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	log := &lines{}
	stop := runScheduler(t, scheduler.Config{DatabaseURL: db.URL, ReplicaID: "stormy", Logger: slog.New(slog.NewTextHandler(log, nil))})
	waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM hits)")
	begin := scalar[time.Time](t, db, "SELECT min(tick) FROM scheduler.job_runs")
	const storm = `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE 'scheduler%stormy'`
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	var ended int64
	for range 50 {
		ended += scalar[int64](t, db, storm)
		<-ticker.C
	}
	if ended < 50 {
		t.Fatalf("the storm ended %d sessions only", ended)
	}
	testdb.WaitFor(t, "everything is back", waitRun, func(context.Context) (bool, any, error) {
		text := log.String()
		return strings.Contains(text, outageLines[1]) && strings.Contains(text, outageLines[3]), text, nil
	})
	waitValue(t, db, waitRun, true, "SELECT count(*) >= 3 FROM hits WHERE tick > clock_timestamp() - interval '4 seconds'")
	waitValue(t, db, waitRun, int64(0), "SELECT count(*) FROM scheduler.job_runs WHERE status IN ('pending', 'running', 'retrying') AND tick < clock_timestamp() - interval '3 seconds'")
	stop()
	text := log.String()
	for _, line := range outageLines {
		if n := strings.Count(text, line); n != 1 {
			t.Errorf("the log has %q %d times, want once", line, n)
		}
	}
	for _, river := range []string{"producer.Producer", "notifier.Notifier", "jobexecutor.JobExecutor"} {
		if strings.Contains(text, river) {
			t.Errorf("the log has lines of River's %s", river)
		}
	}
	checkTicks(t, db, begin)
	if n := scalar[int64](t, db, "SELECT count(*) FROM scheduler.job_runs WHERE status = 'failed'"); n != 0 {
		t.Errorf("%d runs failed over it", n)
	}
	if t.Failed() {
		t.Log(text)
	}
}

// A database that was read-only while connections were made is used again when it
// is not.
func TestReadOnlyDatabase(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	log := &lines{}
	runScheduler(t, scheduler.Config{DatabaseURL: db.URL, ReplicaID: "reader", Logger: slog.New(slog.NewTextHandler(log, nil))})
	waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM hits)")
	exec1(t, db, "ALTER DATABASE "+db.Name+" SET default_transaction_read_only = on")
	exec1(t, db, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'scheduler%reader'")
	testdb.WaitFor(t, "it says why", waitRun, func(context.Context) (bool, any, error) {
		text := log.String()
		return strings.Contains(text, "lock session is lost"), text, nil
	})
	waitValue(t, db, waitRun, true, "SELECT max(tick) < clock_timestamp() - interval '3 seconds' FROM hits")
	exec1(t, db, "ALTER DATABASE "+db.Name+" RESET default_transaction_read_only")
	waitValue(t, db, waitRun, true, "SELECT count(*) >= 3 FROM hits WHERE tick > clock_timestamp() - interval '4 seconds'")
}

// A lock on a table of ours holds up what needs it, and ends nobody's session.
func TestLockedTables(t *testing.T) {
	t.Parallel()
	for _, table := range []string{"job_runs", "river_job", "job_definitions", "leadership"} {
		t.Run(table, func(t *testing.T) {
			t.Parallel()
			db := testdb.New(t, migrated)
			log := &lines{}
			runScheduler(t, scheduler.Config{DatabaseURL: db.URL, Logger: slog.New(slog.NewTextHandler(log, nil))})
			waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM hits)")
			begin := scalar[time.Time](t, db, "SELECT min(tick) FROM hits")
			pid := scalar[int32](t, db, "SELECT backend_pid FROM scheduler.leadership")
			conn := db.Conn(t)
			_, err := conn.Exec(t.Context(), "BEGIN; LOCK TABLE scheduler."+table+" IN ACCESS EXCLUSIVE MODE")
			require.NoError(t, err)
			waitValue(t, db, waitRun, true, "SELECT clock_timestamp() > $1::timestamptz + interval '4 seconds'", time.Now())
			_, err = conn.Exec(t.Context(), "COMMIT")
			require.NoError(t, err)
			waitValue(t, db, waitRun, true, "SELECT count(*) >= 3 FROM hits WHERE tick > clock_timestamp() - interval '4 seconds'")
			if got := scalar[int32](t, db, "SELECT backend_pid FROM scheduler.leadership"); got != pid {
				t.Errorf("the lock session was given up: backend %d is now %d; the log:\n%s", pid, got, log.String())
			}
			if n := scalar[int64](t, db, ticksUndecided, begin); n != 0 {
				t.Errorf("%d seconds are not decided exactly once", n)
			}
		})
	}
}

// A hand-out whose answer is lost leaves a run that its replica knows nothing of.
func TestLostHandOutIsGivenBack(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	runScheduler(t, scheduler.Config{DatabaseURL: db.URL, ReplicaID: "receiver"})
	waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM hits)")
	// Another's name is on it until it runs, so that nobody fetches it first.
	run := scalar[int64](t, db, "INSERT INTO scheduler.job_runs (job_name, tick, trigger, status) VALUES ('yearly_hit', clock_timestamp(), 'manual', 'pending') RETURNING id")
	exec1(t, db, `INSERT INTO scheduler.river_job (args, kind, max_attempts, state, queue, priority, attempt, attempted_at, attempted_by)
		SELECT jsonb_build_object('run_id', id, 'tick', tick, 'trigger', 'manual'), 'yearly_hit', 5, 'running', 'default', 1, 1, clock_timestamp() - interval '10 seconds', ARRAY['receiver']
		FROM scheduler.job_runs WHERE id = $1`, run)
	exec1(t, db, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'scheduler worker receiver'")
	waitStatus(t, db, run, jobs.StatusSuccess)
	if got := scalar[int](t, db, "SELECT attempt FROM scheduler.runs WHERE id = $1", run); got != 1 {
		t.Errorf("the run succeeded at attempt %d, want 1: the lost hand-out does not count", got)
	}
}

// breaker is a job that ends its own session, as a bug that crashes the server would.
func breaker(t *testing.T, times int) *jobs.Registry {
	t.Helper()
	registry := testRegistry()
	left := times
	err := registry.Add(jobs.Func(jobs.Definition{Name: "breaker", Schedule: "@yearly", MaxAttempts: 1},
		func(ctx context.Context, run *jobs.Run) (jobs.Result, error) {
			result, err := hit(ctx, run)
			if left--; err != nil || left < 0 {
				return result, err
			}
			_, err = run.Tx.Exec(ctx, "SELECT pg_terminate_backend(pg_backend_pid())")
			return result, errors.Join(err)
		}))
	require.NoError(t, err)
	return registry
}

func TestInterruptionsDoNotCount(t *testing.T) {
	t.Parallel()
	db := started(t, scheduler.Config{Registry: breaker(t, 2)})
	run := scalar[int64](t, db, "SELECT scheduler.run_now('breaker')")
	waitStatus(t, db, run, jobs.StatusSuccess)
	if got := scalar[string](t, db, `SELECT j.attempt || ' ' || array_length(j.errors, 1) || ' ' || (j.metadata ->> 'scheduler:interruptions') || ' ' || (j.errors[1] ->> 'error' LIKE 'interrupted: %')
		FROM scheduler.river_job j JOIN scheduler.job_runs r ON r.river_job_id = j.id WHERE r.id = $1`, run); got != "1 2 2 true" {
		t.Errorf("attempt, errors, interruptions: %q", got)
	}
	if n := scalar[int64](t, db, "SELECT count(*) FROM hits WHERE run_id = $1", run); n != 1 {
		t.Errorf("the run left %d effects, want 1", n)
	}
}

// A job that breaks its session every time ends all the same.
func TestInterruptionsEnd(t *testing.T) {
	t.Parallel()
	db := started(t, scheduler.Config{Registry: breaker(t, 1000)})
	run := scalar[int64](t, db, "SELECT scheduler.run_now('breaker')")
	waitValue(t, db, waitRun, true, "SELECT coalesce((metadata ->> 'scheduler:interruptions')::int, 0) > 0 AND state = 'retryable' FROM scheduler.river_job WHERE kind = 'breaker'")
	exec1(t, db, `UPDATE scheduler.river_job SET metadata = jsonb_set(metadata, '{scheduler:interruptions}', '20') WHERE kind = 'breaker' AND state = 'retryable'`)
	waitStatus(t, db, run, jobs.StatusFailed)
}
