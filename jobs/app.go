package jobs

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// Pieces are several values that a program provides for its jobs: see [Provide].
type Pieces struct{ list []any }

// Provide puts together what a program provides for its jobs, such as a connection pool,
// an HTTP client and a mailer, as the App of scheduler.Config. A job gets each piece by its
// type: see [App]. Pieces among the pieces count as theirs.
func Provide(pieces ...any) *Pieces {
	p := &Pieces{}
	for _, piece := range pieces {
		if inner, ok := piece.(*Pieces); ok && inner != nil {
			p.list = append(p.list, inner.list...)
			continue
		}
		p.list = append(p.list, piece)
	}
	return p
}

// App gives typed access to what the program provides for its jobs: the App of
// scheduler.Config itself, or the one piece of [Provide] that is a T. T may be an
// interface that the value implements. A value that is nil, also a nil pointer in an
// interface, counts as none. The error wraps [ErrAppValue]; a job that lists the type in
// Definition.Needs finds it out when the program starts, not at its first run.
func App[T any](run *Run) (T, error) {
	value, err := pieceOf[T](run.App)
	if err != nil {
		return value, fmt.Errorf("job %q needs %s: %w", run.Job, typeName[T](), err)
	}
	return value, nil
}

// Need is something that a job needs of the program: see [Needs]. The zero value is
// refused where the job is registered.
type Need struct {
	typeName, purpose string
	check             func(app any) error
}

// Needs declares, in Definition.Needs, that a job calls [App] with the type T. The purpose
// is for whoever has forgotten to provide it, such as "sends the weekly report"; it may be
// empty.
func Needs[T any](purpose string) Need {
	return Need{typeName: typeName[T](), purpose: purpose, check: func(app any) error {
		_, err := pieceOf[T](app)
		return err
	}}
}

// Type is the needed type, as Go writes it.
func (n Need) Type() string { return n.typeName }

// Purpose is what the job needs it for.
func (n Need) Purpose() string { return n.purpose }

// CheckNeeds says what a job would miss of what the program provides, all of it; nil if
// nothing is missing. The error joins one for each, and they wrap [ErrAppValue].
func CheckNeeds(d Definition, app any) error {
	var errs []error
	for _, need := range d.Needs {
		if err := need.check(app); err != nil {
			what := need.typeName
			if need.purpose != "" {
				what += " (" + need.purpose + ")"
			}
			errs = append(errs, fmt.Errorf("job %q needs %s: %w", d.Name, what, err))
		}
	}
	return errors.Join(errs...)
}

// pieceOf finds the one value that is a T.
func pieceOf[T any](app any) (T, error) {
	var none T
	pieces, several := app.(*Pieces)
	if !several || pieces == nil {
		if value, ok := app.(T); ok && !isNil(app) {
			return value, nil
		}
		return none, fmt.Errorf("%w: the program provides %s; give it in the App of scheduler.Config, with jobs.Provide if there are several", ErrAppValue, nameOf(app))
	}
	var found []any
	for _, piece := range pieces.list {
		if _, ok := piece.(T); ok && !isNil(piece) {
			found = append(found, piece)
		}
	}
	switch len(found) {
	case 1:
		value, _ := found[0].(T) // it was one a moment ago
		return value, nil
	case 0:
		return none, fmt.Errorf("%w: the program provides %s; add one to jobs.Provide", ErrAppValue, namesOf(pieces.list))
	}
	return none, fmt.Errorf("%w: the program provides %d that are one, %s; ask for a type that only one of them is", ErrAppValue, len(found), namesOf(found))
}

// isNil says whether a value is nil, or holds a nil.
func isNil(value any) bool {
	switch v := reflect.ValueOf(value); v.Kind() {
	case reflect.Invalid:
		return true
	case reflect.Chan, reflect.Func, reflect.Map, reflect.Pointer, reflect.Slice, reflect.UnsafePointer:
		return v.IsNil()
	default:
		return false
	}
}

func typeName[T any]() string { return reflect.TypeFor[T]().String() }

func namesOf(pieces []any) string {
	if len(pieces) == 0 {
		return "nothing"
	}
	names := make([]string, 0, len(pieces))
	for _, piece := range pieces {
		names = append(names, nameOf(piece))
	}
	return strings.Join(names, ", ")
}

// nameOf is a value's type, for an error.
func nameOf(value any) string {
	switch {
	case value == nil:
		return "nothing"
	case isNil(value):
		return fmt.Sprintf("a nil %T", value)
	}
	return fmt.Sprintf("%T", value)
}
