package cron

import (
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"

	gocron "github.com/netresearch/go-cron"
)

// The places of the fields in layout.
const (
	minuteField     = 1
	hourField       = 2
	dayOfMonthField = 3
	dayOfWeekField  = 5
)

// wildcardBit is set by the library for a field that is *.
const wildcardBit = 1 << 63

// field knows what one field of the text may hold. It splits lists, resolves
// names, H and ~, and refuses what the library would let pass or would read
// differently (empty list items, inverted ranges, ?, upper-case THU). The
// library then turns the rest, one field at a time, into bits and day rules.
type field struct {
	name string
	// min and max bound a value as written; last is the highest one that is not
	// another name for a lower one: 6 where 7 is Sunday again.
	min, max, last int
	// spread is the highest value that H takes when it has no range.
	spread int
	// example is what an error suggests.
	example string
	// options are the library's for a parser of this field only.
	options gocron.ParseOption
	// bits picks the field's values out of what the library parsed.
	bits func(*gocron.SpecSchedule) uint64
	// store keeps them in the calendar.
	store func(*calendar, *gocron.SpecSchedule, uint64)
}

// layout is the fields in the order of the six-field form.
//
//nolint:gochecknoglobals // a table that nothing changes
var layout = [6]field{
	{
		name: "second", max: 59, last: 59, spread: 59, example: "0-59", options: gocron.Second,
		bits:  func(p *gocron.SpecSchedule) uint64 { return p.Second },
		store: func(c *calendar, _ *gocron.SpecSchedule, b uint64) { c.second = b },
	},
	minuteField: {
		name: "minute", max: 59, last: 59, spread: 59, example: "0-59", options: gocron.Minute,
		bits:  func(p *gocron.SpecSchedule) uint64 { return p.Minute },
		store: func(c *calendar, _ *gocron.SpecSchedule, b uint64) { c.minute = b },
	},
	hourField: {
		name: "hour", max: 23, last: 23, spread: 23, example: "0-23", options: gocron.Hour,
		bits:  func(p *gocron.SpecSchedule) uint64 { return p.Hour },
		store: func(c *calendar, _ *gocron.SpecSchedule, b uint64) { c.hour = b },
	},
	dayOfMonthField: {
		name: "day-of-month", min: 1, max: 31, last: 31, spread: 28, example: "1-31, L, L-3, LW or 15W",
		options: gocron.Dom | gocron.DomL | gocron.DomW,
		bits:    func(p *gocron.SpecSchedule) uint64 { return p.Dom },
		store: func(c *calendar, p *gocron.SpecSchedule, b uint64) {
			c.dayOfMonth, c.dayOfMonthRules = b, p.DomConstraints
		},
	},
	{
		name: "month", min: 1, max: 12, last: 12, spread: 12, example: "1-12 or jan-dec", options: gocron.Month,
		bits:  func(p *gocron.SpecSchedule) uint64 { return p.Month },
		store: func(c *calendar, _ *gocron.SpecSchedule, b uint64) { c.month = b },
	},
	dayOfWeekField: {
		name: "day-of-week", max: 7, last: 6, spread: 6, example: "0-7, sun-sat, fri#2 or fri#L",
		options: gocron.Dow | gocron.DowNth | gocron.DowLast,
		bits:    func(p *gocron.SpecSchedule) uint64 { return p.Dow },
		store: func(c *calendar, p *gocron.SpecSchedule, b uint64) {
			c.dayOfWeek, c.dayOfWeekRules = b, p.DowConstraints
		},
	},
}

// parse reads the field's text into the calendar. The name is the seed of H.
func (f *field) parse(text, name string, into *calendar) error {
	if i := strings.IndexFunc(text, notInField); i >= 0 {
		if text[i] == '?' {
			return errors.New("? is not used here; write *")
		}
		return fmt.Errorf("%q does not belong here; use %s", text[i], f.example)
	}
	items := strings.Split(text, ",")
	for i, item := range items {
		var err error
		if items[i], err = f.item(item, name); err != nil {
			return err
		}
	}
	parsed, err := f.library(strings.Join(items, ","))
	if err != nil {
		return err
	}
	f.store(into, parsed, f.bits(parsed)&^wildcardBit)
	return nil
}

// notInField reports whether no field can hold the character.
func notInField(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("*,-/#~()", r)
}

// item checks one item of a list and returns it as the library is to read it.
func (f *field) item(item, name string) (string, error) {
	base, stepText, stepped := strings.Cut(item, "/")
	low, high, ranged := strings.Cut(base, "-")
	switch {
	case item == "":
		return "", errors.New("has an empty list item; remove the extra comma")
	case f.special(base):
		if stepped {
			return "", fmt.Errorf("%q has a step after L, W or #; remove it", item)
		}
		return base, nil
	case strings.EqualFold(base, "h"):
		return f.hash(item, f.min, f.spread, stepText, stepped, name)
	case strings.HasPrefix(strings.ToLower(base), "h("):
		inside, closed := strings.CutSuffix(base[len("h("):], ")")
		if low, high, ranged = strings.Cut(inside, "-"); !closed || !ranged {
			return "", fmt.Errorf("%q is not complete; write H(a-b)", item)
		}
		a, b, err := f.span(low, high)
		if err != nil {
			return "", err
		}
		return f.hash(item, a, b, stepText, stepped, name)
	case strings.Contains(base, "~"):
		a, b, err := f.random(base)
		if err != nil {
			return "", err
		}
		return f.hash(item, a, b, stepText, stepped, name)
	case base == "*":
		if !stepped {
			return base, nil
		}
		return item, f.checkStep(item, stepText, f.last-f.min+1)
	case !ranged && !stepped:
		a, err := f.value(base)
		return strconv.Itoa(a), err
	}

	var a, b int
	var err error
	if ranged {
		a, b, err = f.span(low, high)
	} else {
		a, err = f.value(base)
		b = max(a, f.last)
	}
	if err != nil {
		return "", err
	}
	written := fmt.Sprintf("%d-%d", a, b)
	if !stepped {
		return written, nil
	}
	return written + "/" + stepText, f.checkStep(item, stepText, b-a+1)
}

// special reports whether an item is a day rule that the library reads as it is.
// Day-of-month has no names, so an l or a w there can be nothing else.
func (f *field) special(base string) bool {
	return f.options&gocron.DomL != 0 && strings.ContainsAny(base, "lwLW") ||
		f.options&gocron.DowNth != 0 && strings.Contains(base, "#")
}

// random reads the two ends of a range with ~, of which either may be left out: then
// it is the field's. A day-of-month without ends is, as for H, one that every month has.
func (f *field) random(base string) (a, b int, err error) {
	low, high, _ := strings.Cut(base, "~")
	switch {
	case low == "" && high == "":
		return f.min, f.spread, nil
	case low == "":
		b, err = f.value(high)
		return f.min, b, err
	case high == "":
		a, err = f.value(low)
		return a, max(a, f.last), err
	}
	return f.span(low, high)
}

// span reads the two ends of a range and refuses one that does not go upwards.
func (f *field) span(low, high string) (a, b int, err error) {
	if a, err = f.value(low); err != nil {
		return 0, 0, err
	}
	if b, err = f.value(high); err != nil {
		return 0, 0, err
	}
	if strings.EqualFold(high, "sun") && a > 0 {
		b = f.max
	}
	if a > b {
		return 0, 0, fmt.Errorf("the range %s to %s goes backwards; write the lower value first, "+
			"or two ranges such as %d-%d,%d-%d", low, high, f.min, b, a, max(a, f.last))
	}
	return a, b, nil
}

// value reads a number or a name.
func (f *field) value(text string) (int, error) {
	switch {
	case text == "":
		return 0, fmt.Errorf("a number is missing; use %s", f.example)
	case strings.Trim(text, "0123456789") == "":
		v, err := strconv.Atoi(text)
		if err != nil || v < f.min || v > f.max {
			return 0, fmt.Errorf("%s is not within %d-%d; use %s", text, f.min, f.max, f.example)
		}
		return v, nil
	case strings.Trim(strings.ToLower(text), "abcdefghijklmnopqrstuvwxyz") == "":
		if parsed, err := f.library(text); err == nil {
			return bits.TrailingZeros64(f.bits(parsed)), nil
		}
	}
	return 0, fmt.Errorf("%q is not a value; use %s", text, f.example)
}

// checkStep refuses a step that is no number, zero, or not smaller than the
// number of values it divides, unless it is 1.
func (f *field) checkStep(item, text string, values int) error {
	step, err := strconv.Atoi(text)
	switch {
	case text == "" || strings.Trim(text, "0123456789") != "":
		return fmt.Errorf("%q has no number as its step; write one such as /5", item)
	case step == 0:
		return fmt.Errorf("%q has a step of zero; use 1 or more", item)
	case err != nil, step > 1 && step >= values: // the error is that of a number too large for Go
		return fmt.Errorf("%q has a step of %s over %d values, so only the first would match; "+
			"use a smaller step, or write that value", item, text, values)
	}
	return nil
}

// library parses one field. A panic in the library becomes an error.
func (f *field) library(text string) (*gocron.SpecSchedule, error) {
	var schedule gocron.Schedule
	err := guarded(func() error {
		parser, err := gocron.TryNewParser(f.options)
		if err != nil {
			return err
		}
		schedule, err = parser.Parse(strings.ToLower(text))
		return err
	})
	if _, ok := errors.AsType[*strconv.NumError](err); ok {
		return nil, fmt.Errorf("%q is not understood; use %s", text, f.example) // the reason would name a function
	}
	if err != nil {
		return nil, fmt.Errorf("%q is not understood (%w); use %s", text, err, f.example)
	}
	parsed, ok := schedule.(*gocron.SpecSchedule)
	if !ok {
		return nil, fmt.Errorf("%q is not a field; use %s", text, f.example)
	}
	return parsed, nil
}

// guarded makes a panic of the library's an error.
func guarded(parse func() error) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("the parser failed: %v", cause)
		}
	}()
	return parse()
}
