package retention

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const batchTime = 50 * time.Millisecond

func TestPaceRestsWhenOthersWait(t *testing.T) {
	t.Parallel()
	var p pace
	p.took(piece{rows: 100}, 40*time.Millisecond, batchTime)
	require.Zero(t, p.pause)
	require.Empty(t, p.why)

	p.heldUp = 2
	p.took(piece{rows: 100}, 40*time.Millisecond, batchTime)
	require.True(t, p.isFelt)
	require.Equal(t, 40*time.Millisecond, p.pause, "as long as the batch")
	require.Equal(t, "slower: 2 sessions waited for a lock of the last batch", p.why)

	p.took(piece{rows: 8}, 2*time.Millisecond, batchTime)
	require.False(t, p.isFelt, "a batch this short is not what they wait for")
	require.Zero(t, p.pause)
}

func TestPaceRestsWhenRowsBecomeDearer(t *testing.T) {
	t.Parallel()
	var p pace
	for range 2 * costBatches {
		p.took(piece{rows: 500}, batchTime, batchTime)
		require.Zero(t, p.pause)
	}
	// The cheap rows of later waves have an average of their own.
	for range 2 * costBatches {
		p.took(piece{rows: 50_000, wave: 2}, batchTime, batchTime)
		require.Zero(t, p.pause)
	}
	for p.pause == 0 {
		p.took(piece{rows: 50}, batchTime, batchTime)
	}
	require.Contains(t, p.why, "slower: a row costs 3.")
	require.GreaterOrEqual(t, p.pause, 2*batchTime)
	for range 200 {
		p.took(piece{rows: 50}, batchTime, batchTime)
		require.LessOrEqual(t, p.pause, pauseMax)
	}
	require.Zero(t, p.pause, "what stays so is not rising")
}

func TestHistogram(t *testing.T) {
	t.Parallel()
	var h histogram
	for i := range 1000 {
		h.add(time.Duration(i+1) * time.Millisecond)
	}
	require.InDelta(t, 500, h.quantile(0.5).Milliseconds(), 50)
	require.InDelta(t, 990, h.quantile(0.99).Milliseconds(), 100)
	require.Equal(t, time.Second, h.max)
	require.Equal(t, time.Second, h.quantile(1))
	h.add(0)
	h.add(1000 * time.Hour)
	require.Equal(t, 1000*time.Hour, h.quantile(1))
}
