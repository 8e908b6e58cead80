package testdb

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// databaseTimeout bounds the creation or removal of one database, with the
	// wait for its turn.
	databaseTimeout = time.Minute
	// prepareTimeout bounds a template's preparation.
	prepareTimeout = 2 * time.Minute
	// closeTimeout bounds the closing of a test's pool.
	closeTimeout = 10 * time.Second

	// stateObjectInUse is SQLSTATE object_in_use.
	stateObjectInUse = "55006"
)

// databases counts the databases of this process, for their names.
var databases atomic.Int64

// A DB is a database that belongs to one test.
type DB struct {
	Name string
	URL  string // for pgx, pgxpool and database/sql; as the superuser

	server *Server
	tb     testing.TB // the test that the database belongs to

	mu   sync.Mutex
	pool *pgxpool.Pool // nil until the first call of Pool
}

// An Option says what [New] makes.
type Option func(*newOptions)

type newOptions struct {
	server       *Server
	templateName string
	prepare      func(ctx context.Context, url string) error
}

// Template makes the database a copy of one that prepare has filled. The name is
// its identity: on one server prepare runs once for each name, the first time
// that a test asks for it, and every later prepare for that name is ignored. It
// gets the URL of an empty database, and must have closed every connection when
// it returns. If it fails, so does every test that asks for the name.
func Template(name string, prepare func(ctx context.Context, url string) error) Option {
	return func(o *newOptions) {
		o.templateName, o.prepare = name, prepare
	}
}

// On puts the database on a server of [Start] or [Standby]. There it is not
// dropped at the end: it goes with its server.
func On(server *Server) Option {
	return func(o *newOptions) {
		o.server = server
	}
}

// New makes a database for the test: empty, or a copy of a [Template]. It is
// dropped when the test ends, with whoever is still connected. If the test has
// failed it is kept instead, and its URL logged.
func New(t testing.TB, options ...Option) *DB {
	t.Helper()
	var o newOptions
	for _, option := range options {
		option(&o)
	}
	s := o.server
	if s == nil {
		var err error
		if s, err = sharedServer(); err != nil {
			t.Fatalf("testdb: %v", err)
		}
	}

	name := databaseName(t.Name())
	if err := s.create(t.Context(), name, o); err != nil {
		t.Fatalf("testdb: %v", err)
	}
	db := &DB{Name: name, URL: s.URL(name), server: s, tb: t}
	t.Cleanup(func() {
		switch {
		case t.Failed() && keepFailed():
			t.Logf("testdb: this test's database is kept: psql '%s'", db.URL)
		case t.Failed():
			t.Logf("testdb: this test's database was %s; with SCHEDULER_TEST_KEEP=1 it stays for a look", db.URL)
		case s.ephemeral:
			ctx := context.WithoutCancel(t.Context())
			if err := s.exec(ctx, "DROP DATABASE "+pgx.Identifier{name}.Sanitize()+" WITH (FORCE)"); err != nil {
				t.Errorf("testdb: drop database %s: %v", name, err)
			}
		}
	})
	return db
}

// Server is the server that the database is on.
func (db *DB) Server() *Server { return db.server }

// Conn connects to the database. The connection is closed when the test ends.
func (db *DB) Conn(t testing.TB) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), db.URL)
	if err != nil {
		t.Fatalf("testdb: connect to %s: %v", db.URL, err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), closeTimeout)
		defer cancel()
		_ = conn.Close(ctx) // the test may have broken it on purpose
	})
	return conn
}

// Pool returns the pool of connections to the database, with pgxpool's defaults,
// the same one at each call. It is closed when the test ends that the database
// belongs to; a test that has not given back every connection by then fails.
func (db *DB) Pool(t testing.TB) *pgxpool.Pool {
	t.Helper()
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.pool != nil {
		return db.pool
	}
	pool, err := pgxpool.New(db.tb.Context(), db.URL)
	if err == nil {
		err = pool.Ping(t.Context())
	}
	if err != nil {
		t.Fatalf("testdb: connect to %s: %v", db.URL, err)
	}
	db.pool = pool
	db.tb.Cleanup(func() {
		closed := make(chan struct{})
		go func() {
			defer close(closed)
			pool.Close()
		}()
		timer := time.NewTimer(closeTimeout)
		defer timer.Stop()
		select {
		case <-closed:
		case <-timer.C:
			db.tb.Errorf("testdb: %d connections of the pool are still in use %s after the test: release them", pool.Stat().AcquiredConns(), closeTimeout)
		}
	})
	return pool
}

// Log is what the server has written to its log about this database. The server
// writes on its own time: what it has just done may be missing.
func (db *DB) Log(t testing.TB) string {
	t.Helper()
	text, err := db.server.Log(t.Context())
	if err != nil {
		t.Fatalf("testdb: %v", err)
	}
	return linesAbout(text, db.Name)
}

// linesAbout picks the entries of a server's log that are about a database. They
// have its name behind the process number, as log_line_prefix says; an entry's
// further lines begin with a tab.
func linesAbout(log, database string) string {
	var picked strings.Builder
	inside := false
	for line := range strings.Lines(log) {
		if !strings.HasPrefix(line, "\t") {
			_, rest, _ := strings.Cut(line, "] ")
			inside = strings.HasPrefix(rest, database+"/")
		}
		if inside {
			picked.WriteString(line)
		}
	}
	return picked.String()
}

// databaseName is a new name, in which the test's can be made out.
func databaseName(test string) string {
	letters := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		default:
			return '_'
		}
	}, strings.TrimPrefix(test, "Test"))
	// Postgres cuts names after 63 bytes.
	return fmt.Sprintf("t%d_%s", databases.Add(1), letters[:min(len(letters), 50)])
}

// create makes a database, and first its template if need be.
func (s *Server) create(ctx context.Context, name string, o newOptions) error {
	source := "template0"
	if o.prepare != nil {
		source = "template_" + o.templateName
		if err := s.template(o.templateName, source, o.prepare)(); err != nil {
			return fmt.Errorf("template %q: %w", o.templateName, err)
		}
	}
	if err := s.exec(ctx, createDatabase(name, source)); err != nil {
		return fmt.Errorf("create database %s from %s: %w", name, source, err)
	}
	return nil
}

// createDatabase copies the files, which on a server that keeps them in memory
// takes a fifth of the time that the default, writing it all to the log, does.
func createDatabase(name, source string) string {
	return fmt.Sprintf("CREATE DATABASE %s TEMPLATE %s STRATEGY file_copy",
		pgx.Identifier{name}.Sanitize(), pgx.Identifier{source}.Sanitize())
}

// template returns what prepares the template: the first call does, the others
// wait for it and get the same error. No test's context has a say in it, as the
// others need it too.
func (s *Server) template(name, database string, prepare func(context.Context, string) error) func() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.templates[name] == nil {
		s.templates[name] = sync.OnceValue(func() error {
			ctx, cancel := context.WithTimeout(context.Background(), prepareTimeout)
			defer cancel()
			return s.makeTemplate(ctx, database, prepare)
		})
	}
	return s.templates[name]
}

func (s *Server) makeTemplate(ctx context.Context, database string, prepare func(context.Context, string) error) error {
	if err := s.exec(ctx, createDatabase(database, "template0")); err != nil {
		return err
	}
	if err := prepare(ctx, s.URL(database)); err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	if err := s.awaitUnused(ctx, database); err != nil {
		return err
	}
	// Nobody can connect any more, so that nothing changes it or keeps it in use.
	return s.exec(ctx, "ALTER DATABASE "+pgx.Identifier{database}.Sanitize()+" WITH IS_TEMPLATE true ALLOW_CONNECTIONS false")
}

// awaitUnused waits until the sessions of a database have ended: a closed
// connection's takes a moment.
func (s *Server) awaitUnused(ctx context.Context, database string) error {
	return s.withConn(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		ticker := time.NewTicker(waitInterval)
		defer ticker.Stop()
		timer := time.NewTimer(5 * time.Second)
		defer timer.Stop()
		for {
			var open int
			err := conn.QueryRow(ctx, "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND backend_type = 'client backend'", database).Scan(&open)
			if err != nil {
				return fmt.Errorf("count the sessions: %w", err)
			}
			if open == 0 {
				return nil
			}
			select {
			case <-ticker.C:
			case <-timer.C:
				return fmt.Errorf("prepare has left %d connections open: close them before it returns", open)
			}
		}
	})
}

// exec runs a statement in the maintenance database.
func (s *Server) exec(ctx context.Context, sql string) error {
	return s.withConn(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, sql)
		var pgErr *pgconn.PgError
		if errors.As(err, &pgErr) && pgErr.Code == stateObjectInUse {
			return fmt.Errorf("%w (%s)", err, pgErr.Detail)
		}
		return err
	})
}

// withConn lends a connection to the maintenance database. It is a new one each
// time, so that none is left for a test's own leak check to find.
func (s *Server) withConn(ctx context.Context, f func(context.Context, *pgx.Conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, databaseTimeout)
	defer cancel()
	select {
	case s.gate <- struct{}{}:
		defer func() { <-s.gate }()
	case <-ctx.Done():
		return fmt.Errorf("wait for a turn: %w", ctx.Err())
	}
	conn, err := pgx.Connect(ctx, s.URL(maintenance))
	if err != nil {
		return err
	}
	return errors.Join(f(ctx, conn), conn.Close(context.WithoutCancel(ctx)))
}
