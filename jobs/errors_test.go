package jobs_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/jobs"
)

func TestMarkedErrors(t *testing.T) {
	t.Parallel()
	cause := errors.New("too many rows")
	blocked := fmt.Errorf("target x: %w", jobs.Blocked(cause))
	require.EqualError(t, blocked, "target x: too many rows")
	require.True(t, jobs.IsBlocked(blocked))
	require.ErrorIs(t, blocked, jobs.ErrBlocked)
	require.ErrorIs(t, blocked, cause)
	require.False(t, jobs.IsPermanent(blocked))

	permanent := fmt.Errorf("target x: %w", jobs.Permanent(cause))
	require.True(t, jobs.IsPermanent(permanent))
	require.False(t, jobs.IsBlocked(permanent))

	require.NoError(t, jobs.Blocked(nil))
	require.NoError(t, jobs.Permanent(nil))
	require.False(t, jobs.IsBlocked(nil))
}
