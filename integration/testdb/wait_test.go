package testdb

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWaitFor(t *testing.T) {
	t.Parallel()
	conn := New(t, Template("items", createTable)).Conn(t)
	WaitFor(t, "three items", minute, func(ctx context.Context) (ok bool, seen any, err error) {
		var count int
		if _, err := conn.Exec(ctx, "INSERT INTO item SELECT count(*) FROM item"); err != nil {
			return false, nil, err
		}
		err = conn.QueryRow(ctx, "SELECT count(*) FROM item").Scan(&count)
		return count == 3, count, err
	})
}

func TestWaitFor_timeUp(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		condition func(context.Context) (bool, any, error)
		message   string
	}{
		"says what was seen": {
			func(context.Context) (bool, any, error) { return false, "pending", nil },
			"testdb: waited 30ms for the run: last seen: pending (",
		},
		"says what went wrong": {
			func(context.Context) (bool, any, error) { return true, 7, errors.New("no route") },
			"testdb: waited 30ms for the run: last seen: 7, with error: no route (",
		},
		"not what the deadline did": {
			func() func(ctx context.Context) (bool, any, error) {
				tries := 0
				return func(ctx context.Context) (bool, any, error) {
					if tries++; tries == 1 {
						return false, "first", nil
					}
					<-ctx.Done()
					return false, nil, ctx.Err()
				}
			}(),
			"testdb: waited 30ms for the run: last seen: first (",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := record(t, func(t testing.TB) { WaitFor(t, "the run", 30*time.Millisecond, test.condition) })
			require.True(t, r.Failed())
			require.Contains(t, r.String(), test.message)
		})
	}
}
