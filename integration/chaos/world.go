package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/integration/fleet"
)

const (
	// joinLimit is how long a replica may take to be there.
	joinLimit = 30 * time.Second
	// logLines of each replica are shown with a violation.
	logLines = 30
)

// world is what is broken: servers, replicas, and an application beside them.
type world struct {
	config config
	fleet  *fleet.Fleet
	admin  *pgxpool.Pool // as superuser, on the primary
	load   *load
	watch  *watch
	check  *checker

	mu      sync.Mutex
	members map[string]*member
	ended   []*member // those that are gone since the step began
	started int
	clock   time.Duration // by which the database's clock is ahead
}

// member is a replica that was started.
type member struct {
	*fleet.Replica

	options  fleet.ReplicaOptions
	expected bool // somebody asked for its end
	joined   bool // it has been seen in the view replicas
	log      string
}

func newWorld(ctx context.Context, c config) (w *world, err error) {
	f, err := fleet.New(ctx, fleet.Options{
		Clock: c.clock,
		Build: fleet.BuildOptions{Old: c.old},
		// Few, so that they can be taken quickly.
		Args: []string{"-c", "max_connections=120"},
	})
	if err != nil {
		return nil, err
	}
	w = &world{config: c, fleet: f, members: make(map[string]*member)}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close(ctx))
		}
	}()
	if w.admin, err = newFollower(ctx, f.URL, 4, adminSettings); err != nil {
		return w, err
	}
	if err := w.prepare(ctx); err != nil {
		return w, err
	}
	if err := w.refill(ctx); err != nil {
		return w, err
	}
	if w.load, err = startLoad(ctx, f.AppURL, c.rows, c.seed); err != nil {
		return w, err
	}
	w.watch = startWatch(ctx, f.URL)
	return w, nil
}

// prepare makes the scheduler's schema and the tables of its jobs, as the application's
// role, which is no superuser; the replicas have a role of their own, which may less.
func (w *world) prepare(ctx context.Context) error {
	config := scheduler.MigrateConfig{DatabaseURL: w.fleet.AppURL(), Logger: slog.New(slog.DiscardHandler)}
	if _, err := scheduler.MigrateUp(ctx, config); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	if err := w.fleet.MakeRoles(ctx); err != nil {
		return err
	}
	return once(ctx, w.fleet.AppURL(), nil, func(conn *pgx.Conn) error {
		if _, err := conn.Exec(ctx, fleet.Tables); err != nil {
			return fmt.Errorf("make the tables of the jobs: %w", err)
		}
		if _, err := conn.Exec(ctx, loadItems, w.config.rows); err != nil {
			return fmt.Errorf("fill the table of items: %w", err)
		}
		return nil
	})
}

// close ends everything. What is missing after a failed start is left out.
func (w *world) close(ctx context.Context) error {
	if w.watch != nil {
		w.watch.stop()
	}
	if w.load != nil {
		w.load.stop()
	}
	if w.admin != nil {
		w.admin.Close()
	}
	return tidy(ctx, w.fleet.Close)
}

// start starts a replica; it returns when its process runs.
func (w *world) start(ctx context.Context, o fleet.ReplicaOptions) (*member, error) {
	w.mu.Lock()
	w.started++
	n := w.started
	// One in three has the proxy between it and the database.
	o.Proxied = o.Proxied || n%3 == 0
	w.mu.Unlock()
	o.ID = fmt.Sprintf("r%d", n)
	r, err := w.fleet.StartReplica(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("start replica %s: %w", o.ID, err)
	}
	m := &member{Replica: r, options: o}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.members[o.ID] = m
	return m, nil
}

// alive are the replicas whose process runs, in the order of their start.
func (w *world) alive() []*member {
	w.mu.Lock()
	defer w.mu.Unlock()
	alive := slices.Collect(maps.Values(w.members))
	alive = slices.DeleteFunc(alive, exited)
	slices.SortFunc(alive, func(a, b *member) int {
		if len(a.ID) != len(b.ID) {
			return len(a.ID) - len(b.ID)
		}
		return slices.Compare([]byte(a.ID), []byte(b.ID))
	})
	return alive
}

func exited(m *member) bool {
	select {
	case <-m.Exited():
		return true
	default:
		return false
	}
}

// expect notes that a replica's end is wanted.
func (w *world) expect(m *member) *member {
	w.mu.Lock()
	defer w.mu.Unlock()
	m.expected = true
	return m
}

func (w *world) kill(m *member) error { return w.expect(m).Kill() }

// refill removes the replicas that have ended and starts others for them.
func (w *world) refill(ctx context.Context) error {
	if err := w.bury(ctx); err != nil {
		return err
	}
	missing := w.config.replicas - len(w.alive())
	errs := make([]error, max(missing, 0))
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { _, errs[i] = w.start(ctx, fleet.ReplicaOptions{}) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// bury removes the containers of replicas that have ended, and keeps the end of
// their logs until the next step.
func (w *world) bury(ctx context.Context) error {
	w.mu.Lock()
	var dead []*member
	for id, m := range w.members {
		if exited(m) {
			dead = append(dead, m)
			delete(w.members, id)
		}
	}
	w.ended = append(w.ended, dead...)
	w.mu.Unlock()
	errs := make([]error, len(dead))
	var wg sync.WaitGroup
	for i, m := range dead {
		wg.Go(func() {
			m.log = logTail(ctx, m)
			errs[i] = m.Remove(ctx)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func logTail(ctx context.Context, m *member) string {
	text, err := m.Log(ctx)
	if err != nil {
		return err.Error()
	}
	return lastLines(text, logLines)
}

// deserters are the replicas that had joined and ended by themselves since the
// step began.
func (w *world) deserters() []violation {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []violation
	for _, m := range w.ended {
		if m.joined && !m.expected {
			list = append(list, violation{
				Kind: "replica_ended", Key: m.ID, N: 1,
				Detail: fmt.Sprintf("replica %s ended by itself with exit code %d", m.ID, m.ExitCode()),
			})
		}
	}
	return list
}

// endings are the replicas that ended since the step began.
func (w *world) endings() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []string
	for _, m := range w.ended {
		list = append(list, fmt.Sprintf("%s (%d)", m.ID, m.ExitCode()))
	}
	return strings.Join(list, ", ")
}

// logs is the end of each replica's log, for a report.
func (w *world) logs(ctx context.Context) map[string]string {
	logs := make(map[string]string)
	for _, m := range w.alive() {
		logs[m.ID] = logTail(ctx, m)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.ended {
		logs[m.ID+" (ended)"] = m.log
	}
	return logs
}

// begin forgets what ended before the step.
func (w *world) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = nil
}

// joined waits until a replica is there.
func (w *world) joined(ctx context.Context, m *member) error {
	return until(ctx, joinLimit, fmt.Sprintf("replica %s joins", m.ID), func(ctx context.Context) (bool, error) {
		if exited(m) {
			return false, fmt.Errorf("it has ended with exit code %d", m.ExitCode())
		}
		joined, err := ask[bool](ctx, w.admin, "SELECT EXISTS (SELECT FROM scheduler.replicas WHERE replica_id = $1)", m.ID)
		if joined {
			w.mu.Lock()
			m.joined = true
			w.mu.Unlock()
		}
		return joined, err
	})
}

// leader waits until a replica of ours leads.
func (w *world) leader(ctx context.Context) (*member, error) {
	var leads *member
	err := until(ctx, joinLimit, "a replica leads", func(ctx context.Context) (bool, error) {
		id, err := ask[string](ctx, w.admin, "SELECT replica_id FROM scheduler.leader")
		if err != nil {
			return false, err
		}
		w.mu.Lock()
		leads = w.members[id]
		w.mu.Unlock()
		return leads != nil && !exited(leads), nil
	})
	return leads, err
}

// workers are the replicas that do not lead.
func (w *world) workers(ctx context.Context) ([]*member, error) {
	leads, err := w.leader(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(w.alive(), func(m *member) bool { return m == leads }), nil
}

// exec does something as superuser.
func (w *world) exec(ctx context.Context, statement string, args ...any) error {
	if _, err := w.admin.Exec(ctx, statement, args...); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}
