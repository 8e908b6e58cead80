package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/jobs"
	_ "github.com/systempromptio/scheduler/jobs/cleanup" // registers the jobs that are measured
)

// cleanerEnv makes a replica process one of the built-in jobs; it names the file of
// its log.
const cleanerEnv = "SCHEDULER_BENCH_CLEANER_LOG"

// attributeHeld is the attribute of the log's records that says for how long a batch
// held its locks, as a duration. An engine that does not say so gives no figures.
const attributeHeld = "held"

// runCleaner is the life of a replica with the built-in jobs. None of their schedules
// comes due: runs are asked for.
func runCleaner(ctx context.Context, url string) (err error) {
	file, err := os.OpenFile(os.Getenv(cleanerEnv), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	config := scheduler.Config{
		DatabaseURL: url, ReplicaID: os.Getenv(replicaIDEnv), BootstrapJobs: []string{},
		Logger: slog.New(slog.NewJSONHandler(file, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, job := range jobs.DefaultRegistry().List() {
		config.Jobs = append(config.Jobs, scheduler.JobConfig{Name: job.Definition().Name, Schedule: "@yearly"})
	}
	s, err := scheduler.New(config)
	if err != nil {
		return err
	}
	return s.Run(ctx)
}

// heldTimes reads from a replica's log for how long batches held their locks, sorted.
func heldTimes(logFile string) (held []time.Duration, err error) {
	file, err := os.Open(logFile)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var record map[string]any
		if json.Unmarshal(lines.Bytes(), &record) != nil {
			continue // the last line may be half written
		}
		if nanoseconds, ok := record[attributeHeld].(float64); ok {
			held = append(held, time.Duration(nanoseconds))
		}
	}
	slices.Sort(held)
	return held, lines.Err()
}
