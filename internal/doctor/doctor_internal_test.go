package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/migrations"
	"github.com/systempromptio/scheduler/sql"
)

func TestClockCheck(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		name   string
		after  time.Duration // how long the answer took
		off    time.Duration // of the database's clock, from the question on
		status Status
		found  string
	}{
		{"the same", 2 * time.Millisecond, time.Millisecond, StatusOK, "are the same"},
		{"within the tolerance", 0, -900 * time.Millisecond, StatusOK, "are the same"},
		{"a slow answer is no difference", 10 * time.Second, 8 * time.Second, StatusOK, "are the same"},
		{"ahead", 0, 90 * time.Second, StatusWarning, "1m30s ahead of this machine's"},
		{"behind", time.Millisecond, -2 * time.Second, StatusWarning, "2s behind this machine's"},
	} {
		c := clockCheck(at, at.Add(test.after), at.Add(test.off))
		require.Equal(t, test.status, c.Status, test.name)
		require.Contains(t, c.Found, test.found, test.name)
		require.Equal(t, test.status == StatusWarning, c.Fix != "", test.name)
	}
}

func TestConnectionsCheck(t *testing.T) {
	t.Parallel()
	e := &examination{config: scheduler.Config{MaxWorkers: 10}, session: sql.DoctorSession{Role: "worker", Database: "app"}}
	fine := sql.DoctorCapacity{MaxConnections: 100, Reserved: 3, Used: 20, UsedByUs: 10, RoleLimit: -1, DatabaseLimit: -1}
	for _, test := range []struct {
		name   string
		change func(c *sql.DoctorCapacity)
		status Status
		fix    string
	}{
		{"enough", func(*sql.DoctorCapacity) {}, StatusOK, ""},
		{"others need most", func(c *sql.DoctorCapacity) { c.Used = 70 }, StatusWarning, "ALTER SYSTEM SET max_connections = 150"},
		{"nearly full", func(c *sql.DoctorCapacity) { c.Used, c.UsedByUs = 92, 90 }, StatusWarning, "lower max_workers (now 10)"},
		{"too few at all", func(c *sql.DoctorCapacity) { c.MaxConnections = 40 }, StatusProblem, "ALTER SYSTEM SET max_connections"},
		{"the role's limit", func(c *sql.DoctorCapacity) { c.RoleLimit = 20 }, StatusProblem, `ALTER ROLE "worker" CONNECTION LIMIT 50`},
		{"the database's limit", func(c *sql.DoctorCapacity) { c.DatabaseLimit = 20 }, StatusProblem, `ALTER DATABASE "app" CONNECTION LIMIT 100`},
	} {
		c := fine
		test.change(&c)
		check := e.connectionsCheck(c, 2)
		require.Equal(t, test.status, check.Status, "%s: %s", test.name, check.Found)
		require.Contains(t, check.Fix, test.fix, test.name)
		require.Contains(t, check.Found, "2 living replicas and one more during a deploy need up to 48 connections", test.name)
	}

	// Serving HTTP takes more of them.
	c := fine
	c.MaxConnections = 63
	require.Equal(t, StatusOK, e.connectionsCheck(c, 2).Status)
	e.listens = true
	check := e.connectionsCheck(c, 2)
	require.Equal(t, StatusProblem, check.Status)
	require.Contains(t, check.Found, "need up to 66 connections")
}

func TestDiagnose(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		err        error
		found, fix string
	}{
		{&pgconn.PgError{Severity: "ERROR", Code: "42501", Message: "permission denied for table logs"}, "permission denied for table logs", "the checks of the group privileges"},
		{fmt.Errorf("read: %w", &pgconn.PgError{Code: "XX000", Message: "oh", Hint: "do this"}), "oh", "do this"},
		{fmt.Errorf("connect: %w", context.DeadlineExceeded), "no answer in time", "firewall"},
		{errors.New("odd\n\tlines"), "odd lines", ""},
	} {
		found, fix := diagnose(test.err)
		require.Contains(t, found, test.found)
		require.Contains(t, fix, test.fix)
	}
}

func TestIsLocal(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]bool{"127.0.0.1": true, "::1": true, "10.0.0.5": false, "2001:db8::1": false} {
		require.Equal(t, want, isLocal(&net.TCPAddr{IP: net.ParseIP(host)}), host)
	}
	require.True(t, isLocal(&net.UnixAddr{Name: "/var/run/postgresql/.s.PGSQL.5432"}))
	require.Equal(t, "[::1]:5432", hostPort(&pgx.ConnConfig{Config: pgconn.Config{Host: "::1", Port: 5432}}))
}

// Once the database is away, it is not asked again.
func TestExaminationOfADatabaseThatGoesAway(t *testing.T) {
	t.Parallel()
	pool, err := pgxpool.New(t.Context(), "postgres://127.0.0.1:1/none")
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	e := &examination{statements: sql.For(sql.SchemaDefault), pool: pool, maySchema: true, report: Report{Status: StatusOK}}
	require.True(t, e.reachable())
	e.fleet(t.Context())
	require.False(t, e.reachable())
	require.Equal(t, StatusProblem, e.report.Checks[0].Status)
	require.Contains(t, e.report.Checks[0].Found, "could not be looked at: connect: connection refused")
	require.Equal(t, 5, e.report.Skipped)
	err = e.read(t.Context(), func(context.Context, pgx.Tx) error { panic("it was asked") })
	require.ErrorIs(t, err, errLost)
	e.failed(groupServer, "connections", err)
	e.server(t.Context())
	e.schema(t.Context())
	e.tables(t.Context())
	for _, c := range e.report.Checks[1:] {
		require.Equal(t, StatusSkipped, c.Status, c.Name)
		require.Contains(t, c.Found, "not looked at: ")
	}
}

func TestReportCounts(t *testing.T) {
	t.Parallel()
	r := Report{Status: StatusOK}
	for _, status := range []Status{StatusSkipped, StatusOK, StatusNote, StatusWarning, StatusNote} {
		r.add(Check{Status: status})
	}
	require.Equal(t, StatusWarning, r.Status)
	r.add(Check{Status: StatusProblem})
	r.add(Check{Status: StatusOK})
	require.Equal(t, StatusProblem, r.Status)
	require.Equal(t, []int{2, 2, 1, 1, 1}, []int{r.OK, r.Notes, r.Warnings, r.Problems, r.Skipped})
}

// Whatever a statement or a function of the schema writes is among the needs.
func TestNeedsCoverTheStatements(t *testing.T) {
	t.Parallel()
	has := func(table, privilege string) bool {
		for _, need := range needs {
			if need.table == table {
				return slices.Contains(strings.Fields(need.privileges), privilege)
			}
		}
		return false
	}
	statements := sql.For(sql.SchemaDefault)
	checked := 0
	writesRE := regexp.MustCompile(`(INSERT INTO|UPDATE|DELETE FROM) scheduler\.(\w+)`)
	for _, name := range statements.Names() {
		for _, write := range writesRE.FindAllStringSubmatch(statements.Text(name), -1) {
			privilege, _, _ := strings.Cut(write[1], " ")
			require.True(t, has(write[2], privilege), "%s: %s", name, write[0])
			checked++
		}
	}
	require.Greater(t, checked, 20)
	files, err := fs.Glob(migrations.FS, "*.up.sql")
	require.NoError(t, err)
	inFunctionsRE := regexp.MustCompile(`(?m)^\s+(INSERT INTO|UPDATE|DELETE FROM) (\w+)`)
	checked = 0
	for _, file := range files {
		content, err := fs.ReadFile(migrations.FS, file)
		require.NoError(t, err)
		for function := range strings.SplitSeq(string(content), " FUNCTION ") {
			header, _, _ := strings.Cut(function, "$$")
			if !strings.Contains(header, "RETURNS trigger") && !strings.HasPrefix(header, "join_fleet") || strings.Contains(header, "SECURITY DEFINER") {
				continue // operators call it
			}
			for _, write := range inFunctionsRE.FindAllStringSubmatch(function, -1) {
				privilege, _, _ := strings.Cut(write[1], " ")
				require.True(t, has(write[2], privilege), "%s: %s", file, write[0])
				checked++
			}
		}
	}
	require.Greater(t, checked, 10)
}
