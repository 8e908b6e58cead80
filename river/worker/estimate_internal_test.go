package worker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/jobs"
)

func TestEstimate(t *testing.T) {
	t.Parallel()
	const total = 100_000
	var e estimate
	var done int64
	now := time.Unix(0, 0)
	e.begin(now)
	batch := func(rows int64, took time.Duration) jobs.Progress {
		now = now.Add(took)
		done += rows
		progress := jobs.Progress{Done: done, Total: total}
		e.begin(now) // only the first one counts
		e.add(now, rows, &progress)
		return progress
	}

	// The first batch is all that is known.
	got := batch(100, 100*time.Millisecond)
	require.InDelta(t, 1000, got.Rate, 1e-6)
	require.InDelta(t, float64(total-100)/1000, got.SecondsLeft, 1e-6)
	// Batches of different sizes at one speed do not change it.
	for _, rows := range []int64{1, 1000, 10, 500} {
		got = batch(rows, time.Duration(rows)*time.Millisecond)
		require.InDelta(t, 1000, got.Rate, 1e-6)
	}
	// One slow batch moves it a little, half a minute at another speed makes it that.
	got = batch(100, time.Second)
	require.Greater(t, got.Rate, 600.0)
	require.Less(t, got.Rate, 900.0)
	for range 30 {
		got = batch(100, time.Second)
	}
	require.InDelta(t, 100, got.Rate, 25)
	// A stop of whatever length is forgotten as soon.
	got = batch(100, time.Hour)
	require.Less(t, got.Rate, 1.0)
	for range 30 {
		got = batch(100, time.Second)
	}
	require.InDelta(t, 100, got.Rate, 10)
	require.InDelta(t, float64(total-done)/got.Rate, got.SecondsLeft, 1e-6)

	// A report with nothing but a message tells what the batches have told.
	report := jobs.Progress{Done: done, Message: "pass 2"}
	e.complete(&report)
	require.Equal(t, jobs.Progress{Done: done, Total: total, Message: "pass 2", Rate: got.Rate, SecondsLeft: got.SecondsLeft}, report)
	// One that counts something else is left alone.
	report = jobs.Progress{Done: 3, Total: 12, Message: "blocks"}
	e.complete(&report)
	require.Equal(t, jobs.Progress{Done: 3, Total: 12, Message: "blocks"}, report)
}

func TestEstimateOfNothing(t *testing.T) {
	t.Parallel()
	var e estimate
	report := jobs.Progress{Done: 3}
	e.complete(&report)
	require.Equal(t, jobs.Progress{Done: 3}, report, "no batch yet")

	now := time.Unix(0, 0)
	e.begin(now)
	report = jobs.Progress{Total: 10}
	e.add(now, 0, &report)
	require.Equal(t, jobs.Progress{Total: 10}, report, "no rows yet")
	report = jobs.Progress{Done: 20, Total: 10}
	e.add(now, 20, &report)
	require.Positive(t, report.Rate, "in no time")
	require.Zero(t, report.SecondsLeft, "more than was expected")
}
