package web

// as it took; with a database that hung for 10 s that is 100 s after it is back.

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler"
)

func TestOverviewIsReadAgainSoonAfterAFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		o := newOverview(newSite(""), newSource(Config{ConnectFunc: func(ctx context.Context) (*scheduler.Client, error) {
			calls++
			<-ctx.Done() // hangs
			return nil, errors.New("hangs")
		}}))
		_, err := o.get(t.Context())
		require.Error(t, err)
		first := calls
		<-time.After(5 * time.Second)
		_, err = o.get(t.Context())
		require.Error(t, err)
		require.Greater(t, calls, first, "asked again within 5 s")
	})
}
