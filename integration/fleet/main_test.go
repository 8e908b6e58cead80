package fleet

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/moby/moby/client"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/systempromptio/scheduler/integration/testdb"
)

func TestMain(m *testing.M) {
	code := testdb.Main(m)
	if err := goleak.Find(); err != nil {
		fmt.Fprintf(os.Stderr, "fleet: %v\n", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// left counts what there is of a fleet.
func left(ctx context.Context, t *testing.T, f *Fleet) int {
	t.Helper()
	filters := make(client.Filters).Add("label", labelFleet+"="+f.name)
	containers, err := f.engine.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: filters})
	require.NoError(t, err)
	networks, err := f.engine.NetworkList(ctx, client.NetworkListOptions{Filters: filters})
	require.NoError(t, err)
	volumes, err := f.engine.VolumeList(ctx, client.VolumeListOptions{Filters: filters})
	require.NoError(t, err)
	f.engine.Close()
	return len(containers.Items) + len(networks.Items) + len(volumes.Items)
}

// TestNew_fails ends a start in different places: nothing is left of it.
func TestNew_fails(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		timeout time.Duration
		options Options
		want    string
	}{
		{name: "argument", timeout: patience, options: Options{Args: []string{"-c", "no_such_parameter=1"}}, want: `unrecognized configuration parameter "no_such_parameter"`},
		{name: "revision", timeout: patience, options: Options{Build: BuildOptions{Old: "no-such-revision"}}, want: "is this a git checkout that has it?"},
		{name: "before", timeout: time.Nanosecond, want: "deadline exceeded"},
		{name: "early", timeout: 200 * time.Millisecond, want: "deadline exceeded"},
		{name: "late", timeout: 900 * time.Millisecond, want: "deadline exceeded"},
	} {
		t.Run(test.name, func(t *testing.T) {
			engine, err := testdb.Connect(t.Context(), "")
			require.NoError(t, err)
			defer engine.Close()
			ctx, cancel := context.WithTimeout(t.Context(), test.timeout)
			defer cancel()
			f := prepare(engine, test.options)
			err = f.openOrClose(ctx)
			require.ErrorContains(t, err, test.want)
			require.Zero(t, left(t.Context(), t, f))
		})
	}
}
