// Package devdb runs the development database: a PostgreSQL server of its own,
// which `scheduler dev` starts when DATABASE_URL is not set.
//
// Everything is kept in one folder, .dev by default:
//
//	.dev/lock          held (flock) by the program that runs the server; its pid
//	.dev/url           the connection URL with its password, mode 0600
//	.dev/postgres.log  the server's log of this start; .old is the one before
//	.dev/server/       the server's own files, or a link to where they are
//	.dev/.gitignore    keeps all that out of the repository
//
// The server listens on 127.0.0.1 only and takes no connection without the
// generated password. Its rows stay between starts; the server itself stops with
// the program. Removing the folder starts afresh.
//
// What is not guaranteed: the folder is for one machine. It is no place for rows
// that somebody would miss.
package devdb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// dirDefault is Options.Dir where none is given.
const dirDefault = ".dev"

// startTimeout bounds initdb, and then the server's start, recovery after a crash
// included. The caller's context may end earlier.
const startTimeout = 60 * time.Second

// cleanupTimeout bounds the stop of a server whose start failed or was given up.
const cleanupTimeout = 10 * time.Second

var (
	// ErrInUse says that another program runs the database of this folder.
	ErrInUse = errors.New("in use by another program")

	// ErrNoPostgres says that no usable PostgreSQL was found, and none fetched.
	ErrNoPostgres = errors.New("no usable PostgreSQL")
)

// Options say where the development database is kept. The zero value is usable.
type Options struct {
	// Dir is the folder for everything that is kept. It is created. Empty means
	// .dev in the working directory.
	Dir string

	// Logger gets a line for each step that takes time or that somebody should
	// know of. Nil means none.
	Logger *slog.Logger
}

// DB is a running development database. Its methods may be called from several
// goroutines.
type DB struct {
	// URL connects to the database `platform` as its owner. It holds the
	// password: do not log it.
	URL string

	// Created is true where this start made the database: it is empty.
	Created bool

	server   *server
	logFile  *os.File
	lock     *os.File
	stopOnce sync.Once
	errStop  error
}

// Start starts the database of opts.Dir, and makes it first where there is none.
// It returns when the server takes connections. ctx governs the start only, not
// the server's life; a start that fails leaves no process behind.
//
// PostgreSQL 14 or newer is looked for on the machine, and fetched where there is
// none; the fetching itself does not see ctx. As root, the server runs as the
// user postgres, or nobody.
//
// A server that an earlier program left behind on the same folder is stopped
// first. Where such a program is still alive the error is ErrInUse; where there
// is no PostgreSQL to run it is ErrNoPostgres.
func Start(ctx context.Context, opts Options) (*DB, error) {
	return start(ctx, opts, thisMachine())
}

func start(ctx context.Context, opts Options, on machine) (*DB, error) {
	if opts.Dir == "" {
		opts.Dir = dirDefault
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	dir, err := openFolder(opts.Dir)
	if err != nil {
		return nil, fmt.Errorf("development database: %w", err)
	}
	db, err := startIn(ctx, dir, on, opts.Logger)
	if err != nil {
		return nil, fmt.Errorf("development database: %w", errors.Join(err, dir.close()))
	}
	return db, nil
}

func startIn(ctx context.Context, dir *folder, on machine, logger *slog.Logger) (_ *DB, err error) {
	home, err := on.findHome(ctx, dir.path, logger)
	if err != nil {
		return nil, err
	}
	if err := home.stopLeftover(ctx, logger); err != nil {
		return nil, err
	}
	major, err := home.major()
	if err != nil {
		return nil, err
	}
	bin, err := on.choose(ctx, home, major, logger)
	if err != nil {
		return nil, err
	}
	login, err := dir.login(major != 0)
	if err != nil {
		return nil, err
	}
	created := major == 0
	if created {
		logger.InfoContext(ctx, "creating the development database", "postgresql", bin.version, "folder", home.path)
		if err := home.initdb(ctx, bin, login.password); err != nil {
			return nil, err
		}
	}
	logFile, err := dir.newLog()
	if err != nil {
		return nil, err
	}
	srv, err := home.serve(ctx, bin, &login, logFile, on.deathSignal)
	if err != nil {
		return nil, errors.Join(err, logFile.Close())
	}
	if err := errors.Join(login.createDatabase(ctx), dir.keep(login)); err != nil {
		stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
		defer cancel()
		return nil, errors.Join(err, srv.stop(stopCtx), logFile.Close())
	}
	logger.InfoContext(ctx, "development database is ready", "postgresql", bin.version, "port", login.port,
		"url_file", filepath.Join(dir.path, urlName), "folder", home.path)
	return &DB{
		URL:     login.url(databaseName),
		Created: created,
		server:  srv,
		logFile: logFile,
		lock:    dir.lock,
	}, nil
}

// Done is closed when the server has ended, whether Stop ended it or something
// else did. A program that runs a development database ends with it.
func (db *DB) Done() <-chan struct{} { return db.server.done }

// Stop ends the server and gives the folder free: open sessions are cut off,
// committed rows are kept. Where ctx ends first, the server is ended without a
// checkpoint, and the next start recovers. Stop returns after the server has
// ended; an error says how that went wrong, or that the server had ended before.
// A second call returns the first one's result.
func (db *DB) Stop(ctx context.Context) error {
	db.stopOnce.Do(func() {
		err := db.server.stop(ctx)
		if err != nil {
			err = withLog(err, db.logFile.Name())
		}
		if err = errors.Join(err, db.logFile.Close(), db.lock.Close()); err != nil {
			db.errStop = fmt.Errorf("stop the development database: %w", err)
		}
	})
	return db.errStop
}
