package cli

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler"
)

func TestAgendaRows(t *testing.T) {
	t.Parallel()
	now := time.Now()
	by := "ops"
	at := func(d time.Duration) *time.Time { t := now.Add(d); return &t }
	id := func(id int64) *int64 { return &id }
	var entries []scheduler.AgendaEntry
	for i := range int64(7) {
		entries = append(entries, scheduler.AgendaEntry{JobName: "j", Tick: now.Add(-day), Status: "waiting", Count: 1, RunID: id(10 + i)})
	}
	entries = append(entries,
		scheduler.AgendaEntry{RunAt: at(-5 * time.Second), JobName: "late", Status: "planned", Count: 1},
		scheduler.AgendaEntry{JobName: "other", Status: "waiting", Count: 1, RunID: id(20), RequestedBy: &by, Paused: true},
		scheduler.AgendaEntry{RunAt: at(-time.Second), JobName: "j", Status: "pending", Count: 1, RunID: id(22), Paused: true},
		scheduler.AgendaEntry{RunAt: at(-time.Second), JobName: "j", Status: "requested", Count: 1, RunID: id(23), RequestedBy: &by, Paused: true},
		scheduler.AgendaEntry{RunAt: at(time.Minute), JobName: "j", Status: "retrying", Count: 1, RunID: id(24)},
		scheduler.AgendaEntry{RunAt: at(time.Hour), JobName: "j", Status: "scheduled", Count: 1, RunID: id(25), RequestedBy: &by, Paused: true},
		scheduler.AgendaEntry{RunAt: at(time.Second), Last: now.Add(day), JobName: "often", Status: "planned", Count: 86400},
		scheduler.AgendaEntry{RunAt: at(90 * time.Minute), JobName: "j", Status: "scheduled", Count: 1, RunID: id(21), RequestedBy: &by},
	)
	local := func(d time.Duration) string { return localTime(now.Add(d)) }
	require.Equal(t, [][]string{
		{"-", "-", "j", "run 10, in line"},
		{"-", "-", "j", "run 11, in line"},
		{"-", "-", "j", "run 12, in line"},
		{"-", "-", "j", "run 13, in line"},
		{"-", "-", "j", "run 14, in line; 2 more after it"},
		{local(-5 * time.Second), "5s ago", "late", "tick"},
		{"-", "-", "other", "run 20, in line, asked for by ops; the job is paused: its line waits"},
		{local(-time.Second), "-", "j", "run 22, waits for a worker"},
		{local(-time.Second), "-", "j", "run 23, the leader has yet to decide, asked for by ops; the job is paused: skipped"},
		{local(time.Minute), "in 1m", "j", "run 24, another attempt after one that failed"},
		{local(time.Hour), "in 1h", "j", "run 25, asked for by ops; the job is paused: skipped if it still is then"},
		{local(time.Second), "now", "often", "86400 times until " + local(day)},
		{local(90 * time.Minute), "in 1h30m", "j", "run 21, asked for by ops"},
	}, agendaRows(entries, now))
}
