package jobs

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Parse reads a value that somebody has typed; a list of strings has commas between its
// items, and no space around them. A duration stays a text, which is its form in JSON. The error says what is
// wrong with the text and does not name the parameter.
func (t ParameterType) Parse(text string) (any, error) {
	switch t {
	case TypeInteger:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("must be a whole number, not %q", text)
		}
		return n, nil
	case TypeNumber:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("must be a number, not %q", text)
		}
		return f, nil
	case TypeBoolean:
		switch text {
		case "true":
			return true, nil
		case "false":
			return false, nil
		}
		return nil, fmt.Errorf("must be true or false, not %q", text)
	case TypeStrings:
		if text == "" {
			return []string{}, nil
		}
		items := strings.Split(text, ",")
		for i := range items {
			if items[i] = strings.TrimSpace(items[i]); items[i] == "" {
				return nil, fmt.Errorf("must have something between its commas, not %q", text)
			}
		}
		return items, nil
	case TypeDuration:
		if _, err := time.ParseDuration(text); err != nil {
			return nil, fmt.Errorf(`must be a duration such as "90s" or "1h30m", not %q`, text)
		}
		return text, nil
	case TypeString:
		return text, nil
	}
	return nil, fmt.Errorf("has the type %q, which this version of the program does not know", t)
}
