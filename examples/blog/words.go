package blog

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// quotedMax is how much of what a file says is repeated in an error.
	quotedMax = 80
	// reasonMax is how long a reason is in the record of a run.
	reasonMax = 300
)

// abridged is the beginning of a text.
func abridged(value string) string { return cut(value, quotedMax) }

func cut(value string, most int) string {
	if len(value) <= most {
		return value
	}
	end := most
	for end > 0 && !utf8.RuneStart(value[end]) {
		end--
	}
	return value[:end] + "…"
}

// oneLine makes one line of a text, which may come from a file.
func oneLine(value string) string {
	value = strings.ToValidUTF8(value, "\uFFFD")
	lines := strings.FieldsFunc(value, unicode.IsControl)
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.ReplaceAll(strings.Join(lines, "; "), ":; ", ": ")
}

// reason is an error as the record of a run holds it.
func reason(err error) string { return cut(oneLine(err.Error()), reasonMax) }

// shown is a file's name, which may hold anything but NUL, as people may read it.
func shown(name string) string {
	if utf8.ValidString(name) && !strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return cut(name, reasonMax)
	}
	return cut(strconv.QuoteToASCII(name), reasonMax)
}

// notPanicking makes an error of a panic. What reads files that anybody may have written
// must not end the run over one of them, and with it all that come behind.
func notPanicking(err *error) {
	if recovered := recover(); recovered != nil {
		*err = fmt.Errorf("reading it panics: %v", recovered)
	}
}
