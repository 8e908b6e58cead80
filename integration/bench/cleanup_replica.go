package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/jobs"
	_ "github.com/systempromptio/scheduler/jobs/cleanup" // registers the jobs that are measured
)

// cleanerEnv makes a replica process one of the built-in jobs; it names the file of
// its log.
const cleanerEnv = "SCHEDULER_BENCH_CLEANER_LOG"

// heldRecord is a record of the log that says for how long the batches of a target
// held their locks. An engine that does not say so gives no figures.
type heldRecord struct {
	Message string        `json:"msg"`
	Target  string        `json:"target"`
	Batches int           `json:"batches"`
	P50     time.Duration `json:"held_p50"`
	P99     time.Duration `json:"held_p99"`
	Max     time.Duration `json:"held_max"`
}

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

// readHeld reads from a replica's log for how long batches held their locks.
func readHeld(logFile string) (notes []string, err error) {
	file, err := os.Open(logFile)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r heldRecord
		// The last line may be half written.
		if json.Unmarshal(lines.Bytes(), &r) == nil && r.Message == "cleaned" && r.Max > 0 {
			notes = append(notes, fmt.Sprintf("%d batches of %s held locks for p50 %s, p99 %s, at most %s ms",
				r.Batches, r.Target, milliseconds(r.P50), milliseconds(r.P99), milliseconds(r.Max)))
		}
	}
	return notes, lines.Err()
}
