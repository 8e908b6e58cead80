package jobs_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/jobs"
)

// What the leader declares is what others resolve by.
func TestParametersSurviveJSON(t *testing.T) {
	t.Parallel()
	given := jobs.Definition{Name: "j", Parameters: []jobs.Parameter{
		{Name: "wait", Type: jobs.TypeDuration, Default: 90 * time.Second, Maximum: jobs.Bound(120)},
		{Name: "names", Type: jobs.TypeStrings, Default: []string{"a"}},
		{Name: "count", Type: jobs.TypeInteger, Default: 3},
	}}
	text, err := json.Marshal(given.Parameters)
	require.NoError(t, err)
	require.Contains(t, string(text), `"default":"1m30s"`)
	read := jobs.Definition{Name: "j"}
	require.NoError(t, json.Unmarshal(text, &read.Parameters))
	want, err := jobs.Resolve(given)
	require.NoError(t, err)
	got, err := jobs.Resolve(read)
	require.NoError(t, err)
	require.Equal(t, want, got)
}
