package cron

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

const (
	// textMax is the longest text Parse reads, in bytes.
	textMax = 1024
	// intervalMax is the longest interval of @every: ten years of 366 days.
	intervalMax = 10 * 366 * 24 * time.Hour
)

// Options are what a schedule depends on besides its text.
type Options struct {
	// Location is the time zone in which the fields are read. Nil means UTC.
	// time.Local is refused: it differs from machine to machine. Use LoadLocation.
	Location *time.Location
	// Name is the job's name, the seed of H and ~. Empty means that a text with H
	// or ~ is refused. Texts without them do not depend on it.
	Name string
}

// Schedule is a parsed cron text in a time zone. It is immutable and safe for
// concurrent use. The zero value is of no use; Parse makes schedules.
type Schedule struct {
	text     string
	location *time.Location
	// interval is the whole seconds of @every, or zero, and then calendar counts.
	interval int64
	calendar calendar
	// fixed is set if neither the minute nor the hour field has a wildcard or a
	// step: then the rules for fixed times of day hold when the clock is changed.
	fixed bool
}

// Parse reads cron text as the package documentation describes it. The error is
// always a *ParseError.
func Parse(text string, opts Options) (*Schedule, error) {
	if opts.Location == nil {
		opts.Location = time.UTC
	}
	if opts.Location == time.Local { //nolint:gosmopolitan // it is refused
		return nil, &ParseError{
			Text: text, Field: "time zone",
			Reason: "Local differs from machine to machine; use LoadLocation with an IANA name such as Europe/Berlin",
		}
	}
	s := &Schedule{text: strings.Trim(text, " \t"), location: opts.Location}
	if err := checkText(s.text); err != nil {
		return nil, &ParseError{Text: text, Reason: err.Error()}
	}

	expression := s.text
	if strings.HasPrefix(expression, "@") {
		command, argument, _ := strings.Cut(strings.ReplaceAll(expression, "\t", " "), " ")
		if strings.EqualFold(command, "@every") {
			interval, err := parseInterval(strings.TrimSpace(argument))
			if err != nil {
				return nil, &ParseError{Text: text, Field: "interval", Reason: err.Error()}
			}
			s.interval = interval
			return s, nil
		}
		var err error
		if expression, err = expandMacro(command, argument); err != nil {
			return nil, &ParseError{Text: text, Reason: err.Error()}
		}
	}

	texts := strings.Fields(expression)
	switch len(texts) {
	case 5:
		texts = append([]string{"0"}, texts...)
	case 6:
	default:
		fields := "fields"
		if len(texts) == 1 {
			fields = "field"
		}
		return nil, &ParseError{Text: text, Reason: fmt.Sprintf("has %d %s; write 5 "+
			"(minute hour day-of-month month day-of-week) or 6 with seconds first", len(texts), fields)}
	}
	for i, f := range layout {
		if err := f.parse(texts[i], opts.Name, &s.calendar); err != nil {
			return nil, &ParseError{Text: text, Field: f.name, Reason: err.Error()}
		}
	}
	s.fixed = !strings.ContainsAny(texts[minuteField]+texts[hourField], "*/")
	s.calendar.either = texts[dayOfMonthField][0] != '*' && texts[dayOfWeekField][0] != '*'

	if _, ok := s.calendar.next(0); !ok {
		return nil, &ParseError{
			Text: text, Field: layout[dayOfMonthField].name,
			Reason: "no date ever matches together with the month and the day of the week, so it would never fire; " +
				"use a day that the month has, or L for its last day",
		}
	}
	if _, ok := s.next(assured, horizon-1); !ok {
		return nil, &ParseError{
			Text: text, Field: layout[hourField].name,
			Reason: fmt.Sprintf("on all of these days the clock in %s is set forward over these times, so it would never fire; "+
				"use another hour, or a minute and an hour without * and /", s.location),
		}
	}
	return s, nil
}

// String returns the text the schedule was parsed from, without the space around it.
func (s *Schedule) String() string { return s.text }

// checkText refuses, before any field is read, what no field could hold.
func checkText(text string) error {
	switch {
	case text == "":
		return errors.New(`is empty; write five fields such as "0 3 * * *", or a name such as @daily`)
	case len(text) > textMax:
		return fmt.Errorf("has %d characters; use at most %d", len(text), textMax)
	}
	for _, r := range text {
		if r != '\t' && (r < ' ' || r > '~') {
			return fmt.Errorf("holds the character %q; use plain ASCII without control characters", r)
		}
	}
	if strings.Contains(strings.ToUpper(text), "TZ=") {
		return errors.New("names a time zone; take TZ= or CRON_TZ= out and set the schedule's time zone instead")
	}
	return nil
}

// expandMacro turns a name such as @daily into five fields.
func expandMacro(name, argument string) (string, error) {
	if argument != "" {
		return "", fmt.Errorf("has text after %s; remove %q", name, argument)
	}
	switch strings.ToLower(name) {
	case "@yearly", "@annually":
		return "0 0 1 1 *", nil
	case "@monthly":
		return "0 0 1 * *", nil
	case "@weekly":
		return "0 0 * * 0", nil
	case "@daily", "@midnight":
		return "0 0 * * *", nil
	case "@hourly":
		return "0 * * * *", nil
	case "@reboot":
		return "", errors.New("@reboot is not a time; enqueue the job when your program starts")
	default:
		return "", fmt.Errorf("%s is unknown; use @yearly, @annually, @monthly, @weekly, @daily, "+
			"@midnight, @hourly, or @every with an interval such as @every 90s", name)
	}
}

// parseInterval reads what follows @every, in seconds.
func parseInterval(text string) (int64, error) {
	if text == "" {
		return 0, errors.New("is missing; write an interval such as @every 90s")
	}
	interval, err := time.ParseDuration(text)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%q is not an interval; write hours, minutes and seconds such as 1h30m or 90s", text)
	case interval < time.Second:
		return 0, fmt.Errorf("%q is under one second; use at least 1s", text)
	case interval%time.Second != 0:
		return 0, fmt.Errorf("%q has a fraction of a second; use whole seconds", text)
	case interval > intervalMax:
		return 0, fmt.Errorf("%q is over ten years; use at most %s", text, intervalMax)
	}
	return int64(interval / time.Second), nil
}
