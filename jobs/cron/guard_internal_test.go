package cron

import (
	"errors"
	"strings"
	"testing"
)

// No text is known that makes the library panic; one that does must not reach a user.
func TestGuarded(t *testing.T) {
	t.Parallel()
	err := guarded(func() error { panic("index out of range") })
	if err == nil || !strings.Contains(err.Error(), "index out of range") {
		t.Errorf("a panic became %v", err)
	}
	refusal := errors.New("refused")
	if err := guarded(func() error { return refusal }); !errors.Is(err, refusal) {
		t.Errorf("an error became %v", err)
	}
}
