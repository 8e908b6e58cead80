package main

import (
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/jackc/pgx/v5"
)

const (
	scenarioLarge   = "sessions-3m"
	scenarioNothing = "nothing"
)

// scenario is a table to be cleaned, and an application that works on it.
type scenario struct {
	name  string
	title string
	// folder is where its statements are, below the folder sql.
	folder string
	// tables are filled; the first is cleaned.
	tables []string
	// rows is the size of the first table, of which old are to go.
	rows, old int64
	// isRandom mixes the rows in the table; otherwise they lie in the order of time.
	isRandom bool
	// isEnded ends the old sessions beforehand: nothing is left to do.
	isEnded bool
	// isUpdate says that rows are updated, not deleted.
	isUpdate bool
	job      string
	// lost says what the last column counts.
	lost string
	// rate is the application's statements, or transactions, a second.
	rate int
	// appStatements are prepared beforehand.
	appStatements []string
	// act does the application's i-th statement.
	act func(ctx context.Context, conn *pgx.Conn, s scenario, i int64) (acted, error)
}

// acted is what a statement of the application did.
type acted struct {
	// noted is a key to look for at the end, empty if there is none.
	noted string
	// updated counts the rows of the cleaned table that it updated.
	updated int64
}

func scenarios() []scenario {
	sessions := scenario{
		folder: "sessions", tables: []string{"user_sessions"}, isUpdate: true, job: "cleanup_inactive_sessions",
		rows: 1_000_000, old: 500_000, rate: 400, lost: "Touched, but closed",
		appStatements: []string{"app_read", "app_touch", "app_insert"}, act: actOnSessions,
	}
	random, timed, large := sessions, sessions, sessions
	random.name, random.isRandom = "sessions-random", true
	random.title = "user_sessions, 44 indexes and a primary key: %d of %d rows to close, heap in random order"
	timed.name = "sessions-time"
	timed.title = "user_sessions, 44 indexes and a primary key: %d of %d rows to close, heap in the order of time"
	large.name, large.rows, large.isRandom = scenarioLarge, 3_000_000, true
	large.title = "user_sessions, 44 indexes and a primary key: %d of %d rows to close, heap in random order, beyond the buffers"
	return []scenario{random, timed, large, {
		name: "contexts", title: "user_contexts: %d of %d are empty and go; no index on task_messages.context_id",
		folder: "contexts", tables: []string{"user_contexts", "agent_tasks", "task_messages"}, job: "cleanup_empty_contexts",
		rows: 500_000, old: 200_000, rate: 100, lost: "Messages lost",
		appStatements: []string{"app_task", "app_message"}, act: actOnContexts,
	}, {
		name: "logs", title: "logs: %d of %d rows to delete, in the order of time",
		folder: "logs", tables: []string{"logs"}, job: "database_cleanup",
		rows: 3_000_000, old: 1_000_000, rate: 400, lost: "Lines lost",
		appStatements: []string{"app_insert"}, act: actOnLogs,
	}}
}

// scaled is the scenario at another size.
func (s scenario) scaled(scale float64) scenario {
	s.rows, s.old = max(int64(float64(s.rows)*scale), 1000), max(int64(float64(s.old)*scale), 400)
	return s
}

// statement is the text of one of the scenario's statements.
func (s scenario) statement(name string) string { return statement(s.folder + "/" + name) }

// key is that of the n-th row, as the statement that filled the table made it.
func key(prefix string, n int64) string {
	return fmt.Sprintf("%s_%x", prefix, md5.Sum(fmt.Append(nil, n)))
}

// chance is the i-th statement's own: every variant meets the same application.
func chance(i int64) *rand.Rand { return rand.New(rand.NewPCG(1, uint64(i))) }

// actOnSessions: of a hundred statements 50 read a session, 38 touch a live one, 10
// insert one, and 2 touch one that is being cleaned.
func actOnSessions(ctx context.Context, conn *pgx.Conn, s scenario, i int64) (acted, error) {
	random := chance(i)
	switch dice := random.IntN(100); {
	case dice < 50:
		rows, err := conn.Query(ctx, "app_read", key("sess", 1+random.Int64N(s.rows)))
		if err != nil {
			return acted{}, err
		}
		rows.Close()
		return acted{}, rows.Err()
	case dice < 88:
		tag, err := conn.Exec(ctx, "app_touch", key("sess", s.old+1+random.Int64N(s.rows-s.old)))
		return acted{updated: tag.RowsAffected()}, err
	case dice < 98:
		_, err := conn.Exec(ctx, "app_insert", key("app", i), i)
		return acted{}, err
	default:
		stale := key("sess", 1+random.Int64N(s.old))
		tag, err := conn.Exec(ctx, "app_touch", stale)
		if err != nil || tag.RowsAffected() == 0 {
			return acted{}, err // it has been closed already
		}
		return acted{noted: stale, updated: 1}, nil
	}
}

// actOnContexts goes on with an old conversation: a task and a message, in one
// transaction. A context that has gone refuses the task.
func actOnContexts(ctx context.Context, conn *pgx.Conn, s scenario, i int64) (acted, error) {
	n := 1 + chance(i).Int64N(s.rows)
	message := key("app", i)
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "app_task", message, key("ctx", n)); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "app_message", message, message, key("ctx", n))
		return err
	})
	if err != nil {
		return acted{}, err
	}
	return acted{noted: message}, nil
}

func actOnLogs(ctx context.Context, conn *pgx.Conn, _ scenario, i int64) (acted, error) {
	line := key("app", i)
	if _, err := conn.Exec(ctx, "app_insert", line, i); err != nil {
		return acted{}, err
	}
	return acted{noted: line}, nil
}

// prepare opens a connection of the application.
func (s scenario) prepare(ctx context.Context, url string) (*pgx.Conn, error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, err
	}
	for _, name := range s.appStatements {
		if _, err := conn.Prepare(ctx, name, s.statement(name)); err != nil {
			return nil, errors.Join(fmt.Errorf("prepare %s: %w", name, err), conn.Close(context.WithoutCancel(ctx)))
		}
	}
	return conn, nil
}
