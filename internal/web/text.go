package web

import (
	"encoding/json"
	"fmt"
	"html/template"
	"math"
	"strconv"
	"strings"
	"time"
)

// functions are what the templates call.
func functions() template.FuncMap {
	return template.FuncMap{
		"class": class, "grouped": grouped, "seconds": secondsText, "moment": moment, "counted": counted,
		"ago": agoText, "percent": percent, "firstLine": firstLine, "compact": compact, "stamp": stamp,
		"full": fullMoment, "name": breakable, "score": scoreText,
	}
}

// grouped is a number with its digits in groups of three.
func grouped(n int64) string {
	text := strconv.FormatInt(n, 10)
	digits := strings.TrimPrefix(text, "-")
	var b strings.Builder
	for i, r := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteRune('\u202f') // a narrow space, which does not break
		}
		b.WriteRune(r)
	}
	return text[:len(text)-len(digits)] + b.String()
}

func counted(n int64, unit string) string {
	if n == 1 {
		return "1 " + unit
	}
	return grouped(n) + " " + unit + "s"
}

// secondsText is a duration in two units at most.
func secondsText(seconds float64) string {
	d := time.Duration(min(seconds, math.MaxInt64/1e9) * float64(time.Second))
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	case d < 24*time.Hour:
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%d d %d h", int(d.Hours())/24, int(d.Hours())%24)
}

// moment is a time that a script may turn into how long ago that is; without one it
// says the time itself, in UTC.
func moment(t *time.Time) template.HTML {
	if t == nil {
		return "–"
	}
	return template.HTML(`<time datetime="` + t.UTC().Format(time.RFC3339) + `">` + stamp(*t) + `</time>`) //nolint:gosec // made of digits
}

// fullMoment is a time that a script leaves as it is, and says behind it how long ago
// that is.
func fullMoment(t *time.Time) template.HTML {
	if t == nil {
		return "–"
	}
	return template.HTML(`<time class="full" datetime="` + t.UTC().Format(time.RFC3339) + `">` + stamp(*t) + `</time>`) //nolint:gosec // made of digits
}

// breakable is a name that may be broken behind its underscores.
func breakable(name string) template.HTML {
	return template.HTML(strings.ReplaceAll(template.HTMLEscapeString(name), "_", "_<wbr>")) //nolint:gosec // escaped
}

// stamp is a time in UTC.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// tickText is a time as its schedule means it: with its day of the week, and how far its
// zone is from UTC.
func tickText(t time.Time) string {
	zone := "UTC"
	if _, offset := t.Zone(); offset != 0 {
		zone += t.Format("-07:00")
	}
	return t.Format("Mon 2006-01-02 15:04:05 ") + zone
}

// agoText is how long something has lasted.
func agoText(since, now time.Time) string { return secondsText(max(now.Sub(since).Seconds(), 0)) }

func percent(done, total int64) int64 {
	if total <= 0 {
		return 0
	}
	return min(100*done/total, 100)
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	const longest = 300
	if runes := []rune(line); len(runes) > longest {
		return string(runes[:longest]) + "…"
	}
	return line
}

// compact is JSON as people read it; nothing for an empty object.
func compact(raw json.RawMessage) string {
	var value any
	if len(raw) == 0 || json.Unmarshal(raw, &value) != nil {
		return ""
	}
	if object, ok := value.(map[string]any); ok && len(object) == 0 {
		return ""
	}
	text, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return ""
	}
	return string(text)
}
