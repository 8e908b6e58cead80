package cli

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler"
)

func TestBackfillTexts(t *testing.T) {
	t.Parallel()
	from := time.Date(2026, 3, 1, 0, 0, 0, 0, time.Local) //nolint:gosmopolitan // it is shown there
	decided, none, some := from, int64(0), int64(2)
	b := scheduler.Backfill{ID: 3, JobName: "j", FromTick: from, ToTick: from.AddDate(0, 0, 1), Status: "requested", RequestedBy: "ops"}
	title := "backfill 3 of j, from " + localTime(from) + " to " + localTime(b.ToTick)
	const goesOn = "See how far it is with: scheduler backfills 3\nTake back what has not begun with: scheduler cancel --backfill 3\n"
	text := func(b scheduler.Backfill) string {
		var out bytes.Buffer
		(&app{stdout: &out}).writeBackfill(b)
		return out.String()
	}
	require.Equal(t, title+": requested, the leader has not decided yet\n"+goesOn, text(b))

	b.DecidedAt, b.LeftOut, b.Remaining = &decided, &none, &none
	require.Equal(t, title+": 0 runs\nThe schedule has no tick between these times.\n", text(b))

	b.LeftOut = &some
	require.Equal(t, title+": 0 runs\n2 ticks left out, since they have succeeded or are about to be run; --again includes those that have succeeded\n", text(b))

	b.Again, b.Remaining, b.Runs, b.Waiting, b.Working, b.Success, b.Failed = true, &some, 6, 2, 1, 2, 1
	require.Equal(t, title+": 6 runs\n2 ticks left out, since they are about to be run anyway\n2 ticks beyond the limit; ask for them in another backfill\n"+goesOn, text(b))
	require.Equal(t, "backfill 3 of j: 3 of 6 runs ended, 1 being worked, 1 failed", backfillProgress(b))

	why := "cancelled by ops: a mistake"
	b.Error = &why
	require.Equal(t, title+": 6 runs\nIt was cancelled by ops: a mistake\n2 ticks left out, since they are about to be run anyway\n2 ticks beyond the limit; ask for them in another backfill\nSee how far it is with: scheduler backfills 3\n", text(b))
	b.Error = nil

	b.LeftOut, b.Remaining, b.Waiting, b.Working, b.DryRun = &none, &none, 0, 0, true
	b.Cancelled, b.Skipped = 1, 2
	require.Equal(t, title+", dry run: 6 runs, 2 succeeded, 1 failed, 1 cancelled, 2 skipped\n", text(b))
	require.EqualError(t, backfillFailure(b), "backfill 3 of j: of 6 runs, 1 failed, 1 cancelled, 2 skipped; see why with: scheduler runs --backfill 3")
	b.Failed, b.Cancelled, b.Skipped = 0, 0, 0
	require.NoError(t, backfillFailure(b))
	require.Equal(t, "2 succeeded", endsText(b))
}
