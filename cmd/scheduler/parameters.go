package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/jobs"
)

// parameterSpecs reads what a job's runs can be told, as the leader has declared it.
func parameterSpecs(job scheduler.Job) ([]jobs.Parameter, error) {
	var specs []jobs.Parameter
	if err := json.Unmarshal(job.ParameterSpecs, &specs); err != nil {
		return nil, fmt.Errorf("job %q: read what its parameters are: %w", job.JobName, err)
	}
	return specs, nil
}

// parseParameters reads texts of the form name=value by a job's declaration. All
// that is wrong is in the error, which wraps jobs.ErrInvalidParameter.
func parseParameters(job scheduler.Job, texts []string) (map[string]any, error) {
	if len(texts) == 0 {
		return nil, nil
	}
	specs, err := parameterSpecs(job)
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
		value, err := parseParameter(specs[i].Type, valueText)
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

// parseParameter reads one value. A duration stays a text, which is its form in
// JSON.
func parseParameter(kind jobs.ParameterType, text string) (any, error) {
	switch kind {
	case jobs.TypeInteger:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("must be a whole number, not %q", text)
		}
		return n, nil
	case jobs.TypeNumber:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("must be a number, not %q", text)
		}
		return f, nil
	case jobs.TypeBoolean:
		switch text {
		case "true":
			return true, nil
		case "false":
			return false, nil
		}
		return nil, fmt.Errorf("must be true or false, not %q", text)
	case jobs.TypeStrings:
		if text == "" {
			return []string{}, nil
		}
		return strings.Split(text, ","), nil
	case jobs.TypeDuration:
		if _, err := time.ParseDuration(text); err != nil {
			return nil, fmt.Errorf(`must be a duration such as "90s" or "1h30m", not %q`, text)
		}
		return text, nil
	case jobs.TypeString:
		return text, nil
	}
	return nil, fmt.Errorf("has the type %q, which this version of the program does not know", kind)
}
