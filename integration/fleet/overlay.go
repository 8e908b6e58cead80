package fleet

import (
	"bytes"
	_ "embed" // clock_overlay.txt
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// clockEnv is by how many nanoseconds the clock of a program is wrong that is built
// with the overlay.
const clockEnv = "SCHEDULER_TEST_CLOCK_OFFSET"

// clockFile becomes a further file of package time.
//
//go:embed clock_overlay.txt
var clockFile []byte

const (
	clockAsked     = "sec, nsec, mono := runtimeNow()" // in time.Now, and nowhere else in time.go
	clockAskedThus = "sec, nsec, mono := offsetNow()"
)

// writeOverlay writes an overlay for `go build` into a folder and returns its name.
// A program that is built with it has a wrong clock if [clockEnv] says so. Durations
// are right: what is measured between two readings of the clock, and how long a
// timer runs, goes by the monotonic clock, which stays as it is.
func writeOverlay(goroot, folder string) (string, error) {
	original := filepath.Join(goroot, "src", "time", "time.go")
	source, err := os.ReadFile(original)
	if err != nil {
		return "", fmt.Errorf("read the source of package time: %w", err)
	}
	if n := bytes.Count(source, []byte(clockAsked)); n != 1 {
		return "", fmt.Errorf("%s has %q %d times, not once: this version of Go reads the clock differently, adapt integration/fleet/overlay.go", original, clockAsked, n)
	}
	changed := filepath.Join(folder, "time.go")
	added := filepath.Join(folder, "clock_overlay.go")
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{
		original: changed,
		filepath.Join(filepath.Dir(original), "clock_overlay.go"): added,
	}})
	if err != nil {
		return "", err
	}
	name := filepath.Join(folder, "overlay.json")
	for file, content := range map[string][]byte{
		changed: bytes.Replace(source, []byte(clockAsked), []byte(clockAskedThus), 1),
		added:   clockFile,
		name:    overlay,
	} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			return "", fmt.Errorf("write the overlay: %w", err)
		}
	}
	return name, nil
}
