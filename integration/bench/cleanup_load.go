package main

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/errgroup"
)

const appConnections = 4

// application sends statements at a steady rate, however long they take: the i-th
// is due i/rate seconds after the start, and waits for a connection if none is free.
type application struct {
	s     scenario
	conns []*pgx.Conn

	start   time.Time
	stopped chan struct{}
	group   *errgroup.Group
	next    atomic.Int64
	sent    [appConnections][]sentStatement
}

// sentStatement is a statement of the application that has come back.
type sentStatement struct {
	i       int64
	ended   time.Time
	did     acted
	refused string // SQLSTATE of the server's refusal, empty if it did not refuse
}

// appFigures are what the application did while it was measured.
type appFigures struct {
	scheduled, done int
	latencies       []time.Duration // sorted
	noted           []string
	updated         int64
	refused         map[string]int // by SQLSTATE
}

func openApplication(ctx context.Context, s scenario, url string) (*application, error) {
	a := &application{s: s, stopped: make(chan struct{})}
	for range appConnections {
		conn, err := s.prepare(ctx, url)
		if err != nil {
			a.close(ctx)
			return nil, err
		}
		a.conns = append(a.conns, conn)
	}
	return a, nil
}

func (a *application) close(ctx context.Context) {
	for _, conn := range a.conns {
		_ = conn.Close(context.WithoutCancel(ctx)) // its work is done
	}
}

func (a *application) begin(ctx context.Context) {
	a.start = time.Now()
	a.group, ctx = errgroup.WithContext(ctx)
	for w, conn := range a.conns {
		a.group.Go(func() error { return a.work(ctx, w, conn) })
	}
}

// due is when the i-th statement is to be sent.
func (a *application) due(i int64) time.Time {
	return a.start.Add(time.Duration(i) * time.Second / time.Duration(a.s.rate))
}

func (a *application) work(ctx context.Context, w int, conn *pgx.Conn) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		i := a.next.Add(1) - 1
		timer.Reset(time.Until(a.due(i)))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-a.stopped:
			return nil
		case <-timer.C:
		}
		select {
		case <-a.stopped: // what is late is not sent any more
			return nil
		default:
		}
		did, err := a.s.act(ctx, conn, a.s, i)
		sent := sentStatement{i: i, ended: time.Now(), did: did}
		if err != nil {
			refusal, ok := errors.AsType[*pgconn.PgError](err)
			if !ok {
				return err
			}
			sent.refused = refusal.Code
		}
		a.sent[w] = append(a.sent[w], sent)
	}
}

// end stops the application. What has been sent comes back first.
func (a *application) end() (appFigures, error) {
	end := time.Now()
	close(a.stopped)
	if err := a.group.Wait(); err != nil {
		return appFigures{}, err
	}
	f := appFigures{refused: make(map[string]int)}
	f.scheduled = 1 + int(end.Sub(a.start).Seconds()*float64(a.s.rate))
	back := make(map[int64]bool)
	for _, sent := range slices.Concat(a.sent[:]...) {
		back[sent.i] = true
		f.latencies = append(f.latencies, sent.ended.Sub(a.due(sent.i)))
		f.updated += sent.did.updated
		if sent.did.noted != "" {
			f.noted = append(f.noted, sent.did.noted)
		}
		if sent.refused != "" {
			f.refused[sent.refused]++
		}
		if !sent.ended.After(end) {
			f.done++
		}
	}
	for i := range int64(f.scheduled) {
		if !back[i] {
			f.latencies = append(f.latencies, end.Sub(a.due(i)))
		}
	}
	slices.Sort(f.latencies)
	return f, nil
}
