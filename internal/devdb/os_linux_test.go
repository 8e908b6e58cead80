package devdb

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestServerEndsWithItsProgram(t *testing.T) {
	t.Parallel()
	dir, on := openFolderFor(t), testMachine(t)
	program, url := startHelper(t, dir)
	execute(t, url, "CREATE TABLE kept AS SELECT 42 AS n")
	session := connect(t, url)
	kill(t, program)
	requireCutOff(t, session)

	db := running(t, dir, on)
	requireKept(t, db)
	log, err := os.ReadFile(filepath.Join(dir, logName+".old"))
	require.NoError(t, err)
	require.Contains(t, string(log), "received fast shutdown request")
}
