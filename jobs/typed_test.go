package jobs_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/jobs"
)

func TestParseListOfStringsTrims(t *testing.T) {
	t.Parallel()
	value, err := jobs.TypeStrings.Parse("system, admin ,root")
	require.NoError(t, err)
	require.Equal(t, []string{"system", "admin", "root"}, value)
}
