package fleet

import (
	"os"
	osexec "os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const clockProgram = `package main

import (
	"fmt"
	"time"
)

func main() {
	begin := time.Now()
	timer := time.NewTimer(10 * time.Millisecond)
	<-timer.C
	later := time.Now()
	fmt.Println(begin.Format(time.RFC3339Nano), time.Since(begin), time.Until(begin), later.Sub(begin),
		later.Round(0).Sub(begin.Round(0)), time.Since(begin.Round(0)))
}
`

func TestOverlay(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(folder, "main.go"), []byte(clockProgram), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "go.mod"), []byte("module clock\n"), 0o600))
	goroot, err := run(t.Context(), ".", nil, "go", "env", "GOROOT")
	require.NoError(t, err)
	overlay, err := writeOverlay(strings.TrimSpace(goroot), t.TempDir())
	require.NoError(t, err)
	require.NoError(t, goBuild(t.Context(), folder, runtime.GOARCH, folder, "-overlay="+overlay, "."))

	for text, offset := range map[string]time.Duration{
		"": 0, "3600000000000": time.Hour, "-86400000000000": -24 * time.Hour, "-1": -1, "999999999": 999_999_999,
	} {
		cmd := osexec.CommandContext(t.Context(), filepath.Join(folder, "program"))
		cmd.Env = append(os.Environ(), clockEnv+"="+text)
		output, err := cmd.Output()
		require.NoError(t, err)
		fields := strings.Fields(string(output))
		require.Len(t, fields, 6)
		clock, err := time.Parse(time.RFC3339Nano, fields[0])
		require.NoError(t, err)
		require.InDelta(t, offset.Seconds(), time.Until(clock).Seconds(), 5, text)
		for _, field := range fields[1:] {
			took, err := time.ParseDuration(field)
			require.NoError(t, err)
			require.Less(t, took.Abs(), 5*time.Second, "%q: durations are right", text)
			require.GreaterOrEqual(t, took.Abs(), 10*time.Millisecond, text)
		}
	}
	cmd := osexec.CommandContext(t.Context(), filepath.Join(folder, "program"))
	cmd.Env = append(os.Environ(), clockEnv+"=1h")
	output, err := cmd.CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(output), "1h is not a number of nanoseconds")
}

func TestOverlay_unknownSource(t *testing.T) {
	t.Parallel()
	goroot := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(goroot, "src", "time"), 0o700))
	_, err := writeOverlay(goroot, t.TempDir())
	require.ErrorContains(t, err, "read the source of package time")
	require.NoError(t, os.WriteFile(filepath.Join(goroot, "src", "time", "time.go"), []byte("package time\n"), 0o600))
	_, err = writeOverlay(goroot, t.TempDir())
	require.ErrorContains(t, err, "adapt integration/fleet/overlay.go")
}
