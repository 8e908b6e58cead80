package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/systempromptio/scheduler"
)

// pollInterval is how often poll looks.
const pollInterval = 100 * time.Millisecond

// poll looks until it is done or the limit has passed; zero means no limit.
func poll(ctx context.Context, limit time.Duration, look func() (done bool, err error)) (done bool, err error) {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	var over <-chan time.Time
	if limit > 0 {
		timer := time.NewTimer(limit)
		defer timer.Stop()
		over = timer.C
	}
	for {
		if done, err := look(); done || err != nil {
			return done, err
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-over:
			return false, nil
		case <-ticker.C:
		}
	}
}

// saysNobodyLeads says on standard error what waits, if nobody leads.
func (a *app) saysNobodyLeads(ctx context.Context, client *scheduler.Client, format string, args ...any) (nobody bool, err error) {
	leader, err := client.Leader(ctx)
	if err != nil || leader != nil {
		return false, err
	}
	fmt.Fprintf(a.stderr, "scheduler: nobody leads; %s until a replica does: scheduler serve\n", fmt.Sprintf(format, args...))
	return true, nil
}
