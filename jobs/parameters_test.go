package jobs_test

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/jobs"
)

// A replica that does not know a new parameter works a run that does not need it.
func TestDefaultsThatAreOmitted(t *testing.T) {
	t.Parallel()
	older := jobs.Definition{Name: "j", Parameters: []jobs.Parameter{{Name: "days", Type: jobs.TypeInteger, Default: 30}}}
	newer := jobs.Definition{Name: "j", Parameters: append(older.Parameters,
		jobs.Parameter{Name: "wait", Type: jobs.TypeDuration, Default: "50ms", OmitDefault: true},
		jobs.Parameter{Name: "names", Type: jobs.TypeStrings, Default: []string{"a"}, OmitDefault: true})}
	travels := func(given map[string]any) []byte {
		resolved, err := jobs.Resolve(newer, given)
		require.NoError(t, err)
		text, err := json.Marshal(resolved.WithoutDefaults(newer))
		require.NoError(t, err)
		require.Len(t, resolved, 3, "the original is left alone")
		return text
	}
	require.JSONEq(t, `{"days": 30}`, string(travels(nil)))
	require.JSONEq(t, `{"days": 30}`, string(travels(map[string]any{"wait": "0.05s", "names": []any{"a"}})))
	_, err := jobs.ResolveJSON(older, travels(nil))
	require.NoError(t, err)
	_, err = jobs.ResolveJSON(older, travels(map[string]any{"wait": "1s"}))
	require.ErrorIs(t, err, jobs.ErrInvalidParameter, "what it cannot heed, it refuses")
}

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

// An integer is exact, or refused.
func TestIntegersThatJSONCannotCarry(t *testing.T) {
	t.Parallel()
	d := jobs.Definition{Name: "j", Parameters: []jobs.Parameter{{Name: "id", Type: jobs.TypeInteger, Default: 1}}}
	for _, text := range []string{"9007199254740991", "-9007199254740991", "7.0"} {
		p, err := jobs.ResolveJSON(d, []byte(`{"id": `+text+`}`))
		require.NoError(t, err, text)
		require.Equal(t, strings.TrimSuffix(text, ".0"), strconv.FormatInt(p.Int("id"), 10))
	}
	for _, text := range []string{"9007199254740992", "9007199254740993", "-9007199254740993", "1234567890123456789", "1e30"} {
		_, err := jobs.ResolveJSON(d, []byte(`{"id": `+text+`}`))
		require.ErrorIs(t, err, jobs.ErrInvalidParameter, text)
		require.ErrorContains(t, err, "give a larger one as a string", text)
	}
	_, err := jobs.Resolve(d, map[string]any{"id": int64(1<<53 + 1)})
	require.ErrorIs(t, err, jobs.ErrInvalidParameter)
}
