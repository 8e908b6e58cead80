//go:build failpoint

package connection

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/multitracer"
)

const (
	// failpointEnv says where the process kills itself: the connection (lock, pool
	// or *), the statement's name or *, before or after it, and at which time it comes
	// there. "lock:insert_ticks:after:1".
	failpointEnv = "SCHEDULER_FAILPOINT"

	// failpointLogEnv names a file to which every statement is written that could be
	// named so.
	failpointLogEnv = "SCHEDULER_FAILPOINT_LOG"
)

// failpoint kills the process between two statements. On the lock session it counts
// what a leader does, not what is rehearsed before.
type failpoint struct {
	connection, name, when string

	mu      sync.Mutex
	left    int
	leading *pgx.Conn
	log     *os.File
}

type failpointKey struct{}

var theFailpoint = sync.OnceValue(func() *failpoint { //nolint:gochecknoglobals // one a process
	f := &failpoint{}
	if spec := os.Getenv(failpointEnv); spec != "" {
		parts := strings.Split(spec, ":")
		var err error
		if len(parts) == 4 {
			f.left, err = strconv.Atoi(parts[3])
		}
		if len(parts) != 4 || err != nil || f.left < 1 || parts[2] != "before" && parts[2] != "after" {
			panic(fmt.Sprintf("%s=%q: want connection:statement:before|after:count", failpointEnv, spec))
		}
		f.connection, f.name, f.when = parts[0], parts[1], parts[2]
	}
	if path := os.Getenv(failpointLogEnv); path != "" {
		log, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			panic(err)
		}
		f.log = log
	}
	return f
})

func traced(tracer pgx.QueryTracer) pgx.QueryTracer {
	f := theFailpoint()
	if f.left == 0 && f.log == nil {
		return tracer
	}
	if tracer == nil {
		return f
	}
	return multitracer.New(tracer, f)
}

var nameRE = regexp.MustCompile(`^\s*-- name: (\w+)`)

// nameOf is the name of a statement of ours or of River's; of others, the first word.
func nameOf(text string) string {
	if match := nameRE.FindStringSubmatch(text); match != nil {
		return match[1]
	}
	if words := strings.Fields(text); len(words) > 0 {
		return strings.ToLower(words[0])
	}
	return ""
}

func (f *failpoint) reach(conn *pgx.Conn, name, when string) {
	on := "pool"
	if !strings.HasPrefix(conn.Config().RuntimeParams["application_name"], "scheduler worker") {
		on = "lock"
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if on == "lock" {
		if name == "begin_term" {
			f.leading = conn
		}
		if f.leading != conn {
			return
		}
	}
	if f.log != nil && when == "before" {
		fmt.Fprintln(f.log, on, name)
	}
	if f.left == 0 || when != f.when || f.connection != "*" && f.connection != on || f.name != "*" && f.name != name {
		return
	}
	if f.left--; f.left > 0 {
		return
	}
	fmt.Fprintf(os.Stderr, "failpoint: killed %s %s on the %s connection\n", when, name, on)
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	// A container's first process is not killed by itself.
	time.Sleep(time.Second)
	os.Exit(128 + int(syscall.SIGKILL))
}

func (f *failpoint) TraceQueryStart(ctx context.Context, conn *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	name := nameOf(data.SQL)
	f.reach(conn, name, "before")
	return context.WithValue(ctx, failpointKey{}, name)
}

func (f *failpoint) TraceQueryEnd(ctx context.Context, conn *pgx.Conn, _ pgx.TraceQueryEndData) {
	name, _ := ctx.Value(failpointKey{}).(string)
	f.reach(conn, name, "after")
}

func (f *failpoint) TraceBatchStart(ctx context.Context, conn *pgx.Conn, data pgx.TraceBatchStartData) context.Context {
	name := "batch"
	if len(data.Batch.QueuedQueries) > 0 {
		name = nameOf(data.Batch.QueuedQueries[0].SQL)
	}
	f.reach(conn, name, "before")
	return context.WithValue(ctx, failpointKey{}, name)
}

func (*failpoint) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

func (f *failpoint) TraceBatchEnd(ctx context.Context, conn *pgx.Conn, _ pgx.TraceBatchEndData) {
	name, _ := ctx.Value(failpointKey{}).(string)
	f.reach(conn, name, "after")
}
