package cli

import (
	"errors"
	"slices"
	"strings"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/jobs"
)

// parseParameters reads texts of the form name=value by a job's declaration. All
// that is wrong is in the error, which wraps jobs.ErrInvalidParameter.
func parseParameters(job scheduler.Job, texts []string) (map[string]any, error) {
	if len(texts) == 0 {
		return nil, nil
	}
	specs, err := scheduler.ParameterSpecs(job)
	if err != nil {
		return nil, err
	}
	values := make(map[string]any, len(texts))
	var errs []error
	for _, text := range texts {
		name, valueText, ok := strings.Cut(text, "=")
		if !ok {
			errs = append(errs, refused("--param %q: must have the form name=value", text))
			continue
		}
		if _, ok := values[name]; ok {
			errs = append(errs, refused("--param %s is given twice", name))
			continue
		}
		values[name] = valueText // what Resolve says of it if it is unknown
		i := slices.IndexFunc(specs, func(spec jobs.Parameter) bool { return spec.Name == name })
		if i < 0 {
			continue
		}
		value, err := specs[i].Type.Parse(valueText)
		if err != nil {
			errs = append(errs, &jobs.ParameterError{Job: job.JobName, Parameter: name, Reason: err.Error()})
			delete(values, name)
			continue
		}
		values[name] = value
	}
	_, err = jobs.Resolve(jobs.Definition{Name: job.JobName, Parameters: specs}, values)
	return values, errors.Join(append(errs, err)...)
}
