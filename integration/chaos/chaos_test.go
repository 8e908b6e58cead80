package main

import (
	"bytes"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestChaos is the short form: the faults that are quickly over, once each, in an
// order that follows from the seed. SCHEDULER_CHAOS_SEED repeats one.
func TestChaos(t *testing.T) { //nolint:paralleltest // it measures, and needs the machine
	c := config{duration: 10 * time.Minute, replicas: 4, rows: 50_000, short: true, seed: newSeed()}
	if text := os.Getenv("SCHEDULER_CHAOS_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		require.NoError(t, err, "SCHEDULER_CHAOS_SEED")
		c.seed = seed
	}
	var out bytes.Buffer
	c.out = &out
	passed, err := run(t.Context(), c)
	t.Log("\n" + out.String())
	require.NoError(t, err)
	require.True(t, passed, "see above; to try again: SCHEDULER_CHAOS_SEED=%d", c.seed)
}

func TestPlan(t *testing.T) {
	t.Parallel()
	draw := func(seed uint64, n int) (names []string, numbers []int) {
		chosen, err := config{seed: seed, clock: true, old: "HEAD"}.chosen()
		require.NoError(t, err)
		p := plan{faults: chosen, seed: seed}
		for range n {
			f, rng, ok := p.next()
			require.True(t, ok)
			names, numbers = append(names, f.name), append(numbers, rng.IntN(1000))
		}
		return names, numbers
	}
	names, numbers := draw(42, 300)
	again, sameNumbers := draw(42, 300)
	require.Equal(t, names, again, "the same seed, the same faults")
	require.Equal(t, numbers, sameNumbers, "and the same parameters")
	others, _ := draw(43, 300)
	require.NotEqual(t, names, others)
	for _, f := range faults() {
		require.Contains(t, names, f.name, "each has its turn")
	}
}

func TestPlan_short(t *testing.T) {
	t.Parallel()
	chosen, err := config{short: true}.chosen()
	require.NoError(t, err)
	p := plan{faults: chosen, seed: 1, short: true}
	seen := map[string]int{}
	for f, _, ok := p.next(); ok; f, _, ok = p.next() {
		require.True(t, f.short, f.name)
		seen[f.name]++
	}
	require.Len(t, seen, len(chosen))
	for name, times := range seen {
		require.Equal(t, 1, times, name)
	}
}

func TestFlags(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args []string
		err  string
	}{
		{[]string{"-faults", "kill-*,net-reset-all", "-seed", "7"}, ""},
		{[]string{"-faults", "nothing"}, "no fault is called"},
		{[]string{"-faults", "[a"}, "syntax error in pattern"},
		{[]string{"-faults", "pg-clock-day"}, "needs the flag -clock"},
		{[]string{"-clock", "-faults", "pg-clock-day"}, ""},
		{[]string{"-faults", "old-*"}, "no fault is called"},
		{[]string{"-replicas", "1"}, "at least 2"},
		{[]string{"-rows", "0"}, "must be positive"},
		{[]string{"-duration", "-1s"}, "must be positive"},
		{[]string{"now"}, "unexpected argument"},
	} {
		c, _, err := parseFlags(test.args, &bytes.Buffer{})
		if test.err != "" {
			require.ErrorContains(t, err, test.err, "%v", test.args)
			continue
		}
		require.NoError(t, err)
		require.NotZero(t, c.seed)
	}
}
