package devdb

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	lockName = "lock"
	urlName  = "url"
	logName  = "postgres.log"

	// databaseName is the database of the platform's tables.
	databaseName = "platform"

	// userName must not be `scheduler`: search_path begins with "$user", which
	// would then put our schema before the platform's.
	userName = "platform"
)

// folder is Options.Dir, locked.
type folder struct {
	path string // absolute, without symbolic links
	lock *os.File
}

// openFolder creates the folder where it is missing and locks it. The lock goes
// with the process, however that ends. Another holder's is ErrInUse.
func openFolder(path string) (*folder, error) {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, fmt.Errorf("create its folder: %w", err)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("find its folder: %w", err)
	}
	if abs, err = filepath.EvalSymlinks(abs); err != nil {
		return nil, fmt.Errorf("find its folder: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(abs, lockName), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock its folder: %w", err)
	}
	dir := &folder{path: abs, lock: lock}
	switch taken, err := tryLock(lock); {
	case err != nil:
		return nil, errors.Join(fmt.Errorf("lock %s: %w", lock.Name(), err), dir.close())
	case taken:
		return nil, errors.Join(fmt.Errorf(
			"%w: process %s runs the one in %s: stop it, choose another folder, or set DATABASE_URL",
			ErrInUse, dir.holder(), abs), dir.close())
	}
	if err := errors.Join(
		lock.Truncate(0),
		writePID(lock),
		os.WriteFile(filepath.Join(abs, ".gitignore"), []byte("*\n"), 0o644),
	); err != nil {
		return nil, errors.Join(fmt.Errorf("write to its folder: %w", err), dir.close())
	}
	return dir, nil
}

func writePID(f *os.File) error {
	_, err := fmt.Fprintln(f, os.Getpid())
	return err
}

// holder is the pid that the lock's holder wrote into it.
func (dir *folder) holder() string {
	text, err := os.ReadFile(dir.lock.Name())
	if pid := strings.TrimSpace(string(text)); err == nil && pid != "" {
		return pid
	}
	return "(unknown)" // it has the lock, but has not yet written its pid
}

// close gives the folder free.
func (dir *folder) close() error { return dir.lock.Close() }

// newLog opens an empty log and keeps the last start's as postgres.log.old.
func (dir *folder) newLog() (*os.File, error) {
	path := filepath.Join(dir.path, logName)
	if err := os.Rename(path, path+".old"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("keep the last log: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	return f, nil
}

// withLog adds the last lines of the server's log to an error.
func withLog(err error, path string) error {
	const lines = 10
	text, readErr := os.ReadFile(path)
	if readErr != nil {
		return errors.Join(err, fmt.Errorf("read its log: %w", readErr))
	}
	all := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	tail := all[max(0, len(all)-lines):]
	return fmt.Errorf("%w; the last lines of %s:\n\t%s", err, path, bytes.Join(tail, []byte("\n\t")))
}

// login is how one connects: what the file url holds.
type login struct {
	password string
	port     int // 0 until the server has one
}

// login reads the file url. Where there is none it makes a password and writes
// it down at once, before a server can know it. needed says that there is a
// server already, so that a missing file is an error.
func (dir *folder) login(needed bool) (login, error) {
	path := filepath.Join(dir.path, urlName)
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !needed:
		l := login{password: rand.Text()}
		return l, dir.keep(l)
	case errors.Is(err, fs.ErrNotExist):
		return login{}, fmt.Errorf("its password is lost (no %s): remove %s to start afresh", path, dir.path)
	case err != nil:
		return login{}, fmt.Errorf("read its password: %w", err)
	}
	var l login
	parsed, err := url.Parse(strings.TrimSpace(string(text)))
	if err == nil {
		l.password, _ = parsed.User.Password()
		l.port, err = strconv.Atoi(parsed.Port())
	}
	if err != nil || l.password == "" {
		return login{}, fmt.Errorf("its password is lost (%s is no connection URL): remove %s to start afresh",
			path, dir.path)
	}
	return l, nil
}

// keep writes the file url, whole or not at all.
func (dir *folder) keep(l login) error {
	path := filepath.Join(dir.path, urlName)
	err := os.WriteFile(path+".new", []byte(l.url(databaseName)+"\n"), 0o600)
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return fmt.Errorf("write down the connection URL: %w", err)
	}
	return nil
}

func (l login) url(database string) string {
	return (&url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(userName, l.password),
		Host:     "127.0.0.1:" + strconv.Itoa(l.port),
		Path:     "/" + database,
		RawQuery: "sslmode=disable",
	}).String()
}

// connect opens a session, within two seconds.
func (l login) connect(ctx context.Context, database string) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return pgx.Connect(ctx, l.url(database))
}

// createDatabase makes the database `platform` where it is missing: the first
// start may have been cut off between initdb and here.
func (l login) createDatabase(ctx context.Context) (err error) {
	conn, err := l.connect(ctx, "postgres")
	if err != nil {
		return fmt.Errorf("connect to the new server: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	var exists bool
	if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)",
		databaseName).Scan(&exists); err != nil {
		return fmt.Errorf("look for the database %s: %w", databaseName, err)
	}
	if exists {
		return nil
	}
	if _, err := conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{databaseName}.Sanitize()); err != nil {
		return fmt.Errorf("create the database %s: %w", databaseName, err)
	}
	return nil
}
