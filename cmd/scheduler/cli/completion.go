package cli

import (
	"context"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/jobs"
)

// completionTimeout bounds the look into the database: somebody waits at a prompt.
const completionTimeout = time.Second

// completeJob completes a command's only argument, a job's name.
func (a *app) completeJob(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.completeJobName(cmd, args, toComplete)
}

// completeJobName completes a job's name: of the jobs in the database if it can be
// reached, otherwise of those in this program.
func (a *app) completeJobName(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	var names []string
	if list, err := a.jobsForCompletion(cmd.Context()); err == nil {
		for _, job := range list {
			names = append(names, cobra.CompletionWithDesc(job.JobName, job.Description))
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
	for _, job := range a.registry().List() {
		names = append(names, cobra.CompletionWithDesc(job.Definition().Name, job.Definition().Description))
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// registry holds the jobs of the program and those that its configuration declares, if
// that can be read.
func (a *app) registry() *jobs.Registry {
	settings, err := a.settings()
	if err != nil {
		return jobs.DefaultRegistry()
	}
	return settings.Scheduler.Registry
}

func (a *app) jobsForCompletion(ctx context.Context) ([]scheduler.Job, error) {
	ctx, cancel := context.WithTimeout(ctx, completionTimeout)
	defer cancel()
	quiet := *a
	quiet.stderr = io.Discard
	var list []scheduler.Job
	err := quiet.withClient(ctx, func(client *scheduler.Client) (err error) {
		list, err = client.Jobs(ctx)
		return err
	})
	return list, err
}

// completeParameters completes the names of the parameters of the job that is
// named before.
func (a *app) completeParameters(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	const directive = cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	if len(args) == 0 {
		return nil, directive
	}
	var names []string
	for _, spec := range a.specsForCompletion(cmd.Context(), args[0]) {
		names = append(names, cobra.CompletionWithDesc(spec.Name+"=", spec.Description))
	}
	return names, directive
}

// specsForCompletion are the parameters of a job in the database, or, if that
// cannot be reached, in this program.
func (a *app) specsForCompletion(ctx context.Context, name string) []jobs.Parameter {
	if list, err := a.jobsForCompletion(ctx); err == nil {
		for _, job := range list {
			if job.JobName == name {
				specs, _ := scheduler.ParameterSpecs(job) // none, if they cannot be read
				return specs
			}
		}
		return nil
	}
	job, err := a.registry().Get(name)
	if err != nil {
		return nil
	}
	return job.Definition().Parameters
}
