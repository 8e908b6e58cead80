package main

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
	at := now.Add
	id := func(id int64) *int64 { return &id }
	var entries []scheduler.AgendaEntry
	for i := range int64(7) {
		entries = append(entries, scheduler.AgendaEntry{RunAt: at(-day), JobName: "j", Status: "waiting", Count: 1, RunID: id(10 + i)})
	}
	entries = append(entries,
		scheduler.AgendaEntry{RunAt: at(-5 * time.Second), JobName: "late", Status: "planned", Count: 1},
		scheduler.AgendaEntry{RunAt: at(-time.Second), JobName: "other", Status: "waiting", Count: 1, RunID: id(20), RequestedBy: &by},
		scheduler.AgendaEntry{RunAt: at(time.Second), Last: at(day), JobName: "often", Status: "planned", Count: 86400},
		scheduler.AgendaEntry{RunAt: at(90 * time.Minute), JobName: "j", Status: "scheduled", Count: 1, RunID: id(21), RequestedBy: &by},
	)
	yesterday := localTime(at(-day))
	require.Equal(t, [][]string{
		{yesterday, "-", "j", "run 10, waiting"},
		{yesterday, "-", "j", "run 11, waiting"},
		{yesterday, "-", "j", "run 12, waiting"},
		{yesterday, "-", "j", "run 13, waiting"},
		{yesterday, "-", "j", "run 14, waiting; 2 more after it"},
		{localTime(at(-5 * time.Second)), "5s ago", "late", "tick"},
		{localTime(at(-time.Second)), "-", "other", "run 20, waiting, asked for by ops"},
		{localTime(at(time.Second)), "now", "often", "86400 times until " + localTime(at(day))},
		{localTime(at(90 * time.Minute)), "in 1h30m", "j", "run 21, asked for by ops"},
	}, agendaRows(entries, now))
}
