package config_test

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/internal/config"
	"github.com/systempromptio/scheduler/jobs"
	_ "github.com/systempromptio/scheduler/jobs/cleanup"
)

const examplePath = "../../config.example.yaml"

// effective is what a replica with these settings declares, with every default
// filled in.
type effective struct {
	Config config.Settings
	Jobs   []scheduler.JobConfig
}

func effectiveOf(t *testing.T, source config.Source) effective {
	t.Helper()
	settings, err := config.Load(source)
	require.NoError(t, err)
	made, err := scheduler.New(settings.Scheduler)
	require.NoError(t, err)
	full := made.Config()
	full.ReplicaID, full.Logger, full.Registry = "", nil, nil

	result := effective{}
	configured := make(map[string]scheduler.JobConfig)
	for _, job := range full.Jobs {
		configured[job.Name] = job
	}
	full.Jobs = nil
	for _, registered := range jobs.DefaultRegistry().List() {
		d := registered.Definition()
		job := configured[d.Name]
		job.Name = d.Name
		job.Schedule = or(job.Schedule, d.Schedule)
		job.TimeZone = or(job.TimeZone, d.TimeZone)
		job.Overlap = or(job.Overlap, or(d.Overlap, jobs.OverlapSkip))
		job.CatchUp = or(job.CatchUp, or(d.CatchUp, jobs.CatchUpLatest))
		job.CatchUpLimit = or(job.CatchUpLimit, or(d.CatchUpLimit, jobs.CatchUpLimitDefault))
		job.CatchUpMaxAge = or(job.CatchUpMaxAge, d.CatchUpMaxAge)
		job.Timeout = or(job.Timeout, or(d.Timeout, jobs.TimeoutDefault))
		job.MaxAttempts = or(job.MaxAttempts, or(d.MaxAttempts, jobs.MaxAttemptsDefault))
		if enabled := !d.DisabledByDefault; job.Enabled == nil {
			job.Enabled = &enabled
		}
		parameters, err := jobs.Resolve(d, job.Parameters)
		require.NoError(t, err)
		job.Parameters = parameters
		result.Jobs = append(result.Jobs, job)
	}
	result.Config = config.Settings{Scheduler: full, LogLevel: settings.LogLevel, LogFormat: settings.LogFormat}
	return result
}

func or[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}
	return value
}

func TestExampleIsTheDefaults(t *testing.T) {
	t.Parallel()
	require.Equal(t, effectiveOf(t, config.Source{}), effectiveOf(t, config.Source{Path: examplePath}))
}

// The defaults that flags and the reference show are the ones in force.
func TestFieldDefaults(t *testing.T) {
	t.Parallel()
	flags := make(map[string]string)
	for _, field := range config.Fields() {
		if !strings.HasSuffix(field.Name, "database_url") {
			require.NoError(t, field.Check(field.Default), field.Name)
			flags[field.Name] = field.Default
		}
	}
	require.Equal(t, effectiveOf(t, config.Source{}), effectiveOf(t, config.Source{Flags: flags}))
}

// settingRE matches a setting, commented out or not: prose has one space after #, the
// lines of an entry that is commented out have a dash or more spaces.
var settingRE = regexp.MustCompile(`(?m)^( *(?:- )?)#?(?:- |  +)*(?:- )?([a-z_]+):`)

func TestExampleHasEveryField(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile(examplePath)
	require.NoError(t, err)
	var top, nested []string
	for _, match := range settingRE.FindAllStringSubmatch(string(content), -1) {
		if match[1] == "" {
			top = append(top, match[2])
		} else {
			nested = append(nested, match[2])
		}
	}
	want := []string{"jobs"}
	for _, field := range config.Fields() {
		want = append(want, field.Name)
	}
	require.ElementsMatch(t, want, top)
	for _, field := range config.JobFields() {
		require.Contains(t, nested, field.Name)
	}
	for _, job := range jobs.DefaultRegistry().List() {
		require.Contains(t, string(content), "- name: "+job.Definition().Name+"\n")
		for _, parameter := range job.Definition().Parameters {
			require.Contains(t, nested, parameter.Name)
		}
	}
}

// What is commented out in the example is right, too.
func TestExampleUncommented(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile(examplePath)
	require.NoError(t, err)
	commented := regexp.MustCompile(`(?m)^( *)#([a-z_]+:)`)
	require.Len(t, commented.FindAll(content, -1), 15)
	path := write(t, commented.ReplaceAllString(string(content), "$1$2"))
	settings, err := config.Load(config.Source{Path: path})
	require.NoError(t, err)
	require.Equal(t, "postgres://scheduler@db.example.com:5432/platform", settings.Scheduler.DatabaseURL)
	require.Equal(t, "postgres://scheduler@db.example.com:5433/platform", settings.Scheduler.LeaderDatabaseURL)
	require.Equal(t, config.HTTP{Listen: "127.0.0.1:8080", Token: "0123456789abcdef0123456789abcdef", BasicAuth: "operator:correct horse battery"}, settings.HTTP)
	require.Equal(t, "Europe/Berlin", settings.Scheduler.Jobs[0].TimeZone)
	require.Equal(t, 24*time.Hour, settings.Scheduler.Jobs[0].CatchUpMaxAge)
	require.True(t, *settings.Scheduler.Jobs[0].DryRun)
	require.Equal(t, 7*24*time.Hour, settings.Scheduler.Jobs[0].DryRunFor)
	require.Equal(t, "50ms", settings.Scheduler.Jobs[0].Parameters["batch_time"])
	require.Equal(t, "none", settings.Scheduler.Jobs[1].Parameters["archive"])
}

// The declared jobs that are commented out are right, too.
func TestExampleDeclaredJobs(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile(examplePath)
	require.NoError(t, err)
	commented := regexp.MustCompile(`(?m)^  #(- |  )`)
	require.Regexp(t, commented, string(content))
	settings, err := config.Load(config.Source{Path: write(t, commented.ReplaceAllString(string(content), "  $1"))})
	require.NoError(t, err)
	job, err := settings.Scheduler.Registry.Get("delete_old_carts")
	require.NoError(t, err)
	require.Equal(t, []jobs.Parameter{
		{Name: "keep", Type: jobs.TypeDuration, Default: "720h", OmitDefault: true},
		{Name: "most", Type: jobs.TypeInteger, Default: 10000, Minimum: jobs.Bound(1), Maximum: jobs.Bound(100000), OmitDefault: true},
	}, job.Definition().Parameters)
	require.Len(t, settings.Scheduler.Registry.List(), len(jobs.DefaultRegistry().List())+declaredInExample)
	_, err = jobs.DefaultRegistry().Get("delete_old_carts")
	require.ErrorIs(t, err, jobs.ErrUnknownJob, "the program's own registry is left alone")
}

// declaredInExample is how many jobs the example declares.
const declaredInExample = 7

// Whatever the root package lets a program configure, a file can say, but for what
// only a program can.
func TestEveryFieldOfTheConfigIsASetting(t *testing.T) {
	t.Parallel()
	var top, nested []string
	for _, field := range config.Fields() {
		top = append(top, field.Name)
	}
	for _, field := range config.JobFields() {
		nested = append(nested, field.Name)
	}
	for name := range fieldNames(scheduler.Config{}, "BeforeConnectFunc", "Pool", "Registry", "ReplicaID", "App", "Metrics", "TracerProvider", "Version", "Logger", "Jobs", "Disabled") {
		require.Contains(t, top, name)
	}
	for name := range fieldNames(scheduler.JobConfig{}) {
		require.Contains(t, nested, name)
	}
	require.Contains(t, top, "enabled") // Disabled
}

func fieldNames(value any, without ...string) map[string]bool {
	names := make(map[string]bool)
	for field := range reflect.TypeOf(value).Fields() {
		if slices.Contains(without, field.Name) {
			continue
		}
		name := strings.NewReplacer("TimeZone", "Timezone", "URL", "Url").Replace(field.Name)
		name = regexp.MustCompile(`([a-z])([A-Z])`).ReplaceAllString(name, "${1}_${2}")
		names[strings.ToLower(name)] = true
	}
	return names
}

func write(t *testing.T, content string) string {
	t.Helper()
	path := fmt.Sprintf("%s/c.yaml", t.TempDir())
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}
