package cron

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// hash resolves H and ~ over the values low to high: to one of them, or with a
// step to every step-th one, the first chosen among the first step values.
func (f *field) hash(item string, low, high int, stepText string, stepped bool, name string) (string, error) {
	if name == "" {
		return "", fmt.Errorf("%q spreads by the job's name, which is not known here; "+
			"set Options.Name, or write a fixed value", item)
	}
	values := high - low + 1
	if !stepped {
		return strconv.Itoa(low + spread(f.name, name, values)), nil
	}
	if err := f.checkStep(item, stepText, values); err != nil {
		return "", err
	}
	step, err := strconv.Atoi(stepText)
	if err != nil {
		return "", err
	}
	var chosen []string
	for v := low + spread(f.name, name, step); v <= high; v += step {
		chosen = append(chosen, strconv.Itoa(v))
	}
	return strings.Join(chosen, ","), nil
}

// spread returns a number from 0 to n-1 that depends on the field and the job's
// name alone. It is part of the contract: changing it moves the ticks of every
// schedule with H. A hash as simple as FNV-1a will not do: its lowest bit is the
// sum of the text's lowest bits, which would tie the hour to the minute.
func spread(field, name string, n int) int {
	sum := sha256.Sum256([]byte(field + "\x00" + name))
	return int(binary.BigEndian.Uint64(sum[:]) % uint64(n))
}
