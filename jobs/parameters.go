package jobs

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"
)

// ParameterType is the type of a parameter's value.
type ParameterType string

// The types of parameters, with the Go type that [Parameters] holds and the form
// in JSON and YAML.
const (
	// TypeInteger: int64; a whole number, of less than 2^53.
	TypeInteger ParameterType = "integer"
	// TypeNumber: float64; a number.
	TypeNumber ParameterType = "number"
	// TypeBoolean: bool.
	TypeBoolean ParameterType = "boolean"
	// TypeString: string.
	TypeString ParameterType = "string"
	// TypeStrings: []string; a list of strings.
	TypeStrings ParameterType = "strings"
	// TypeDuration: time.Duration; a string such as "90s" or "1h30m".
	TypeDuration ParameterType = "duration"
)

// Parameter declares what a run of a job can be told.
type Parameter struct {
	// Name is unique within the job.
	Name string `json:"name"`

	// Description is one line for people.
	Description string `json:"description,omitempty"`

	// Type is the value's type. Required.
	Type ParameterType `json:"type"`

	// Default is the value where none is given; it must be of Type, and a default
	// is required: every parameter always has a value.
	Default any `json:"default"`

	// Minimum and Maximum bound integers, numbers and durations (in seconds),
	// inclusive. Nil means no bound.
	Minimum *float64 `json:"minimum,omitempty"`
	Maximum *float64 `json:"maximum,omitempty"`

	// Enum lists the strings that are allowed. Empty means any.
	Enum []string `json:"enum,omitempty"`

	// OmitDefault leaves the value out of a run's parameters where it is the default.
	// A replica of a version that does not know the parameter can then work the run:
	// set it for a parameter that is added to a job that exists.
	OmitDefault bool `json:"omit_default,omitempty"`
}

// MarshalJSON writes a default as [Resolve] reads it.
func (p Parameter) MarshalJSON() ([]byte, error) {
	type plain Parameter
	if duration, ok := p.Default.(time.Duration); ok {
		p.Default = duration.String()
	}
	return json.Marshal(plain(p))
}

// Bound makes a bound for [Parameter.Minimum] or [Parameter.Maximum].
func Bound(value float64) *float64 { return &value }

// Parameters holds a run's parameters by name, in the Go types that
// [ParameterType] lists. The accessors panic on a name that the job's definition
// does not declare with that type: that is a mistake in the job.
type Parameters map[string]any

// Int returns an integer parameter.
func (p Parameters) Int(name string) int64 { return parameter[int64](p, name) }

// Float returns a number parameter.
func (p Parameters) Float(name string) float64 { return parameter[float64](p, name) }

// Bool returns a boolean parameter.
func (p Parameters) Bool(name string) bool { return parameter[bool](p, name) }

// String returns a string parameter.
func (p Parameters) String(name string) string { return parameter[string](p, name) }

// Strings returns a list of strings.
func (p Parameters) Strings(name string) []string { return parameter[[]string](p, name) }

// Duration returns a duration parameter.
func (p Parameters) Duration(name string) time.Duration { return parameter[time.Duration](p, name) }

func parameter[T any](p Parameters, name string) T {
	value, ok := p[name].(T)
	if !ok {
		panic(fmt.Sprintf("job parameter %q holds %T, not %T: declare it in the job's definition", name, p[name], value))
	}
	return value
}

// WithoutDefaults leaves out what [Parameter.OmitDefault] says, of parameters that
// were resolved for d.
func (p Parameters) WithoutDefaults(d Definition) Parameters {
	kept := maps.Clone(p)
	for _, spec := range d.Parameters {
		if !spec.OmitDefault {
			continue
		}
		if value, err := spec.convert(spec.Default); err == nil && reflect.DeepEqual(value, p[spec.Name]) {
			delete(kept, spec.Name)
		}
	}
	return kept
}

// MarshalJSON writes the form that [Resolve] reads.
func (p Parameters) MarshalJSON() ([]byte, error) {
	plain := make(map[string]any, len(p))
	for name, value := range p {
		if duration, ok := value.(time.Duration); ok {
			value = duration.String()
		}
		plain[name] = value
	}
	return json.Marshal(plain)
}

// Resolve checks the given values against the definition's parameters and fills
// in the defaults. Later maps win over earlier ones. Values may come from JSON,
// from YAML, or be Go values of the parameter's type. The error joins a
// [*ParameterError] for each value that is refused.
func Resolve(d Definition, given ...map[string]any) (Parameters, error) {
	declared := make(map[string]Parameter, len(d.Parameters))
	resolved := make(Parameters, len(d.Parameters))
	var errs []error
	for _, p := range d.Parameters {
		declared[p.Name] = p
		value, err := p.convert(p.Default)
		if err != nil {
			errs = append(errs, &ParameterError{Job: d.Name, Parameter: p.Name, Reason: "default: " + err.Error()})
			continue
		}
		resolved[p.Name] = value
	}
	for _, values := range given {
		for _, name := range sortedKeys(values) {
			p, ok := declared[name]
			if !ok {
				errs = append(errs, &ParameterError{Job: d.Name, Parameter: name, Reason: "unknown; " + knownParameters(d)})
				continue
			}
			value, err := p.convert(values[name])
			if err != nil {
				errs = append(errs, &ParameterError{Job: d.Name, Parameter: name, Reason: err.Error()})
				continue
			}
			resolved[name] = value
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return resolved, nil
}

// ResolveJSON is [Resolve] for JSON objects; nil and null stand for none.
func ResolveJSON(d Definition, given ...[]byte) (Parameters, error) {
	objects := make([]map[string]any, 0, len(given))
	for _, raw := range given {
		if len(raw) == 0 {
			continue
		}
		var values map[string]any
		if err := json.Unmarshal(raw, &values); err != nil {
			return nil, fmt.Errorf("job %q: %w: parameters are a JSON object: %w", d.Name, ErrInvalidParameter, err)
		}
		objects = append(objects, values)
	}
	return Resolve(d, objects...)
}

func knownParameters(d Definition) string {
	if len(d.Parameters) == 0 {
		return "the job has no parameters"
	}
	names := make([]string, 0, len(d.Parameters))
	for _, p := range d.Parameters {
		names = append(names, p.Name)
	}
	return "the job has: " + strings.Join(names, ", ")
}

func sortedKeys(values map[string]any) []string {
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// convert checks a value and brings it into the Go type of p.Type.
func (p Parameter) convert(value any) (any, error) {
	switch p.Type {
	case TypeInteger:
		n, err := toInteger(value)
		if err != nil {
			return nil, err
		}
		return n, p.checkBounds(float64(n))
	case TypeNumber:
		f, ok := toFloat(value)
		if !ok || math.IsNaN(f) || math.IsInf(f, 0) {
			return nil, fmt.Errorf("must be a number, not %s", describe(value))
		}
		return f, p.checkBounds(f)
	case TypeBoolean:
		b, ok := value.(bool)
		if !ok {
			return nil, fmt.Errorf("must be true or false, not %s", describe(value))
		}
		return b, nil
	case TypeString:
		s, ok := value.(string)
		if !ok {
			return nil, fmt.Errorf("must be a string, not %s", describe(value))
		}
		return s, p.checkEnum(s)
	case TypeStrings:
		list, err := toStrings(value)
		if err != nil {
			return nil, err
		}
		for _, s := range list {
			if err := p.checkEnum(s); err != nil {
				return nil, err
			}
		}
		return list, nil
	case TypeDuration:
		d, err := toDuration(value)
		if err != nil {
			return nil, err
		}
		return d, p.checkBounds(d.Seconds())
	}
	return nil, fmt.Errorf("has the unknown type %q", p.Type)
}

func (p Parameter) checkBounds(value float64) error {
	unit := ""
	if p.Type == TypeDuration {
		unit = " seconds"
	}
	if p.Minimum != nil && value < *p.Minimum {
		return fmt.Errorf("is %v%s, must be at least %v%s", value, unit, *p.Minimum, unit)
	}
	if p.Maximum != nil && value > *p.Maximum {
		return fmt.Errorf("is %v%s, must be at most %v%s", value, unit, *p.Maximum, unit)
	}
	return nil
}

func (p Parameter) checkEnum(value string) error {
	if len(p.Enum) > 0 && !slices.Contains(p.Enum, value) {
		return fmt.Errorf("is %q, must be one of: %s", value, strings.Join(p.Enum, ", "))
	}
	return nil
}

func toFloat(value any) (float64, bool) {
	switch v := value.(type) {
	case float64:
		return v, true
	case int:
		return float64(v), true
	case int64:
		return float64(v), true
	case uint64:
		return float64(v), true
	}
	return 0, false
}

// integerMax is the largest integer that JSON carries exactly: 2^53 may have been the next.
const integerMax = 1<<53 - 1

// toInteger refuses fractions, and what JSON cannot carry exactly.
func toInteger(value any) (int64, error) {
	f, ok := toFloat(value)
	if !ok || f != math.Trunc(f) {
		return 0, fmt.Errorf("must be a whole number, not %s", describe(value))
	}
	if math.Abs(f) > integerMax {
		return 0, fmt.Errorf("must be a whole number from -%[1]d to %[1]d, as far as JSON is exact, not %[2]s: give a larger one as a string", integerMax, describe(value))
	}
	return int64(f), nil
}

func toStrings(value any) ([]string, error) {
	switch v := value.(type) {
	case []string:
		return slices.Clone(v), nil
	case []any:
		list := make([]string, 0, len(v))
		for _, item := range v {
			s, ok := item.(string)
			if !ok {
				return nil, fmt.Errorf("must be a list of strings, but holds %s", describe(item))
			}
			list = append(list, s)
		}
		return list, nil
	}
	return nil, fmt.Errorf("must be a list of strings, not %s", describe(value))
}

func toDuration(value any) (time.Duration, error) {
	switch v := value.(type) {
	case time.Duration:
		return v, nil
	case string:
		if d, err := time.ParseDuration(v); err == nil {
			return d, nil
		}
	}
	return 0, fmt.Errorf(`must be a duration such as "90s" or "1h30m", not %s`, describe(value))
}

func describe(value any) string {
	switch v := value.(type) {
	case nil:
		return "null"
	case string:
		return fmt.Sprintf("the string %q", v)
	case bool:
		return fmt.Sprintf("the boolean %v", v)
	case float64, int, int64, uint64:
		return fmt.Sprintf("the number %v", v)
	case []any, []string:
		return "a list"
	case map[string]any:
		return "an object"
	}
	return fmt.Sprintf("a %T", value)
}

func validateParameters(d Definition) error {
	seen := make(map[string]bool, len(d.Parameters))
	for _, p := range d.Parameters {
		if !nameRE.MatchString(p.Name) {
			return &ParameterError{Job: d.Name, Parameter: p.Name, Reason: "a name is lower-case letters, digits and underscores and starts with a letter"}
		}
		if seen[p.Name] {
			return &ParameterError{Job: d.Name, Parameter: p.Name, Reason: "declared twice"}
		}
		seen[p.Name] = true
	}
	_, err := Resolve(d)
	return err
}
