package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What the reference lists of a kind is what the file may say.
func TestKindsListTheirKeys(t *testing.T) {
	t.Parallel()
	for _, k := range kinds() {
		var names []string
		for _, key := range k.keys {
			names = append(names, key.Name)
		}
		path := filepath.Join(t.TempDir(), "c.yaml")
		require.NoError(t, os.WriteFile(path, []byte("jobs:\n  - name: a\n    schedule: \"@daily\"\n    "+k.name+": {nonsense: 1}\n"), 0o600))
		_, err := Load(Source{Path: path})
		require.Error(t, err)
		require.Contains(t, err.Error()+"\n", `unknown field "nonsense"; `+k.name+" has: "+strings.Join(names, ", ")+"\n")
	}
}
