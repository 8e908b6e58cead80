package cron

import (
	"fmt"
	"strconv"
)

// shownTextMax is how much of a refused text an error message quotes, in bytes.
const shownTextMax = 120

// ParseError says why Parse refused a text. Parse returns no other error type.
type ParseError struct {
	// Text is the whole text as it was given.
	Text string
	// Field is what was refused: "second", "minute", "hour", "day-of-month",
	// "month", "day-of-week", "interval" for @every, "time zone", or "" when the
	// text as a whole is at fault.
	Field string
	// Reason says what is wrong and, after a semicolon, what to write instead.
	Reason string
}

// Error names the text, shortened if it is long, the field and the reason.
func (e *ParseError) Error() string {
	text := shortened(e.Text)
	if e.Field == "" {
		return fmt.Sprintf("cron text %s: %s", text, e.Reason)
	}
	return fmt.Sprintf("cron text %s: %s: %s", text, e.Field, e.Reason)
}

// shortened quotes a text, the beginning of it if it is long.
func shortened(text string) string {
	if len(text) > shownTextMax {
		return fmt.Sprintf("%q...", text[:shownTextMax])
	}
	return strconv.Quote(text)
}
