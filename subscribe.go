package scheduler

import (
	"context"
	"iter"
	"slices"
	"time"

	"github.com/systempromptio/scheduler/internal/connection"
)

// Subscription says which runs [Client.Subscribe] gives.
type Subscription struct {
	// JobName selects a job's runs; empty means all.
	JobName string

	// Since gives the runs that have ended since then, as far as they are in the
	// ledger. The zero value means those that end from the call on.
	Since time.Time
}

const (
	// subscribeInterval is how often a subscriber that waits looks.
	subscribeInterval = 250 * time.Millisecond

	// subscribeOverlap is how much later than it has ended a run may appear: its
	// transaction still has to commit then.
	subscribeOverlap = 10 * time.Second

	// subscribeMax is how many runs are read at once.
	subscribeMax = 500
)

// Subscribe gives the runs of the whole fleet that end, whatever their end is (see
// jobs.Status.Ended), about in that order, each once. It reads them from the ledger, a
// quarter of a second late at most: nobody waits for a subscriber, a slow one is given
// nothing less, and one that comes back goes on where it was by Since. The loop waits
// for the next run, through outages of the database, until ctx ends or it is left; it
// runs in the caller's goroutine and needs no other end. An error of another kind is
// given once and ends it.
//
// A run is left out if the transaction that has ended it, by somebody's SQL, commits more
// than ten seconds after that.
func (c *Client) Subscribe(ctx context.Context, what Subscription) (iter.Seq2[Run, error], error) {
	// The ledger's times are no finer.
	f := &follower{client: c, jobName: what.JobName, since: what.Since.Truncate(time.Microsecond)}
	if what.JobName != "" {
		if _, err := c.Job(ctx, what.JobName); err != nil {
			return nil, err
		}
	}
	if what.Since.IsZero() {
		now, err := c.Now(ctx)
		if err != nil {
			return nil, c.translate(err)
		}
		f.since = now.Add(-subscribeOverlap)
		// What has ended before is known.
		for page := []Run{{}}; len(page) > 0; {
			if page, err = f.next(ctx); err != nil {
				return nil, c.translate(err)
			}
		}
	}
	return f.runs(ctx), nil
}

// follower reads the runs that end.
type follower struct {
	client  *Client
	jobName string
	// since is the time from which on runs are read.
	since time.Time
	// known are those of them that were given.
	known []known
}

type known struct {
	id         int64
	finishedAt time.Time
}

func (f *follower) runs(ctx context.Context) iter.Seq2[Run, error] {
	return func(yield func(Run, error) bool) {
		for {
			page, err := f.next(ctx)
			switch {
			case ctx.Err() != nil:
				return
			case err != nil && !connection.IsAway(err):
				yield(Run{}, f.client.translate(err))
				return
			}
			for _, run := range page {
				if !yield(run, nil) {
					return
				}
			}
			if len(page) > 0 {
				continue
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(subscribeInterval):
			}
		}
	}
}

// next reads some of the runs that have ended and are not known. The time goes on with
// them.
func (f *follower) next(ctx context.Context) ([]Run, error) {
	ids := make([]int64, 0, len(f.known))
	for _, k := range f.known {
		ids = append(ids, k.id)
	}
	page, err := f.client.statements.EndedRuns(ctx, f.client.pool, f.jobName, f.since, ids, subscribeMax)
	if err != nil {
		return nil, err
	}
	for _, run := range page {
		f.known = append(f.known, known{run.ID, *run.FinishedAt})
	}
	if len(page) > 0 {
		// One that is read late, though it has ended before, does not turn the time back.
		if since := page[len(page)-1].FinishedAt.Add(-subscribeOverlap); since.After(f.since) {
			f.since = since
		}
		f.known = slices.DeleteFunc(f.known, func(k known) bool { return k.finishedAt.Before(f.since) })
	}
	return page, nil
}
