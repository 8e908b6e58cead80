package periodic

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/jobs"
)

// A declaration without a rollout is what versions before had declared: a job is not
// declared anew, over what was set by SQL, because the program is a newer one.
func TestDeclaredWithoutRollout(t *testing.T) {
	t.Parallel()
	d := Declaration{Definition: jobs.Definition{Name: "j"}, Schedule: "@daily", TimeZone: "UTC", Timeout: time.Hour, MaxAttempts: 1}
	statement, err := d.statement()
	require.NoError(t, err)
	require.NotContains(t, string(statement.Declared), "dry_run_for")
	d.DryRunFor = time.Hour
	statement, err = d.statement()
	require.NoError(t, err)
	require.Contains(t, string(statement.Declared), `"dry_run_for":3600000000000`)
}
