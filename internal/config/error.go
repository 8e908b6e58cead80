package config

import (
	"fmt"
	"slices"
	"strings"
)

// Origin is where a value was set: a place in a file, a variable or a flag.
type Origin struct {
	// File is the file's path as it was given; empty if the value is from a
	// variable or flag.
	File string
	// Line and Column count from 1; 0 if the whole file or line is meant.
	Line, Column int
	// Variable is an environment variable's name, if the value is from one.
	Variable string
	// Flag is a flag's name without dashes, if the value is from one.
	Flag string
}

// IsSet says that the value is no default.
func (o Origin) IsSet() bool { return o != Origin{} }

// String is file:line:column, as far as it is known, the variable's name, or the flag with its dashes.
func (o Origin) String() string {
	switch {
	case o.Flag != "":
		return "--" + o.Flag
	case o.Variable != "":
		return o.Variable
	case o.Line == 0:
		return o.File
	case o.Column == 0:
		return fmt.Sprintf("%s:%d", o.File, o.Line)
	}
	return fmt.Sprintf("%s:%d:%d", o.File, o.Line, o.Column)
}

// Error is one thing that is wrong in a configuration.
type Error struct {
	// Origin is where.
	Origin Origin
	// Err says what is wrong and what would be right.
	Err error
}

func (e *Error) Error() string {
	if !e.Origin.IsSet() {
		return e.Err.Error()
	}
	return e.Origin.String() + ": " + e.Err.Error()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errors is everything that is wrong in a configuration: the file's in the order
// of its lines, then the variables' and the flags'. It is never empty.
type Errors []*Error

// Error has one line for each.
func (e Errors) Error() string {
	lines := make([]string, 0, len(e))
	for _, one := range e {
		lines = append(lines, one.Error())
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives them all.
func (e Errors) Unwrap() []error {
	list := make([]error, 0, len(e))
	for _, one := range e {
		list = append(list, one)
	}
	return list
}

// err is the sorted list as an error; nil if there is none. What is reached by two
// aliases is in it once.
func (e Errors) err() error {
	if len(e) == 0 {
		return nil
	}
	slices.SortStableFunc(e, func(a, b *Error) int {
		switch fileA, fileB := a.Origin.File != "", b.Origin.File != ""; {
		case fileA && !fileB:
			return -1
		case !fileA && fileB:
			return 1
		case a.Origin.Line != b.Origin.Line:
			return a.Origin.Line - b.Origin.Line
		}
		return a.Origin.Column - b.Origin.Column
	})
	return slices.CompactFunc(e, func(a, b *Error) bool { return a.Origin == b.Origin && a.Err.Error() == b.Err.Error() })
}
