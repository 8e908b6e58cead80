package retention

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSizerAdapts(t *testing.T) {
	t.Parallel()
	s := newSizers(50*time.Millisecond, 1000).dear
	require.Equal(t, 100, s.size())

	s.took(true, time.Millisecond)
	require.Equal(t, 150, s.size(), "grows by half at most")
	s.took(true, 40*time.Millisecond)
	require.Equal(t, 188, s.size(), "aims at the target")
	s.took(true, time.Hour)
	require.Equal(t, 38, s.size(), "shrinks to a fifth at most")
	s.took(false, 0)
	require.Equal(t, 38, s.size(), "a batch that was not full is no reason to grow")
	s.took(false, 100*time.Millisecond)
	require.Equal(t, 19, s.size(), "but is one to shrink")

	for range 10 {
		s.took(true, time.Hour)
	}
	require.Equal(t, 1, s.size())
	for range 20 {
		s.took(true, 0)
	}
	require.Equal(t, 1000, s.size())
}

func TestSizerGivesWay(t *testing.T) {
	t.Parallel()
	s := newSizers(50*time.Millisecond, 64).dear
	require.Equal(t, 64, s.size())
	s.undone(64)
	require.Equal(t, 8, s.size())
	s.undone(8)
	require.Equal(t, 1, s.size())
	s.undone(1)
	require.Equal(t, 1, s.size())
	s.took(true, 0)
	require.Equal(t, 2, s.size(), "grows again from one")
}
