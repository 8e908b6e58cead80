package testdb

import (
	"context"
	"testing"
	"time"
)

// waitInterval is how often WaitFor looks. A query takes about a tenth of it.
const waitInterval = 10 * time.Millisecond

// WaitFor calls condition until it reports ok, and fails the test if that does
// not happen in time; what says what is waited for. The message has what
// condition saw last, so seen should be the value that ok was worked out from.
//
// An error counts as "not yet". The context that condition gets ends when the
// time is up. WaitFor must be called from the goroutine that runs the test.
func WaitFor(t testing.TB, what string, timeout time.Duration, condition func(ctx context.Context) (ok bool, seen any, err error)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	ticker := time.NewTicker(waitInterval)
	defer ticker.Stop()

	var lastSeen any
	var lastErr error
	for tries := 1; ; tries++ {
		ok, seen, err := condition(ctx)
		if ok && err == nil {
			return
		}
		// A try that was cut off by the deadline has seen less than the one before.
		if ctx.Err() == nil || tries == 1 {
			lastSeen, lastErr = seen, err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			if lastErr != nil {
				t.Fatalf("testdb: waited %s for %s: last seen: %v, with error: %v (%d tries)", timeout, what, lastSeen, lastErr, tries)
			}
			t.Fatalf("testdb: waited %s for %s: last seen: %v (%d tries)", timeout, what, lastSeen, tries)
			return
		}
	}
}
