package devdb

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func (f inFolder) testInterruptedInitdbIsRepeated(t *testing.T) {
	db := running(t, f.dir, f.on)
	require.NoError(t, db.Stop(t.Context()))
	data := filepath.Join(f.dir, "server", "data")
	require.NoError(t, os.Rename(data, data+".new"))

	db = running(t, f.dir, f.on)
	require.True(t, db.Created)
	require.NoDirExists(t, data+".new")
}

// A root process cannot let the server's user into a closed folder; any other
// user can work in its own.
func TestClosedFolder(t *testing.T) {
	t.Parallel()
	on := testMachine(t)
	closed := t.TempDir()
	require.NoError(t, os.Chmod(closed, 0o700))
	dir := filepath.Join(closed, ".dev")

	db := running(t, dir, on)
	execute(t, db.URL, "CREATE TABLE kept AS SELECT 42 AS n")
	require.NoError(t, db.Stop(t.Context()))
	at, err := filepath.EvalSymlinks(filepath.Join(dir, "server"))
	require.NoError(t, err)
	if os.Geteuid() != 0 {
		require.Equal(t, filepath.Join(dir, "server"), at)
		return
	}
	require.Equal(t, on.homeRoots[0], filepath.Dir(at))
	info, err := os.Lstat(at)
	require.NoError(t, err)
	require.Equal(t, os.ModeDir|0o700, info.Mode())
	require.NotZero(t, ownerOf(info))

	db = running(t, dir, on)
	requireKept(t, db)

	// Without its folder, it starts afresh.
	require.NoError(t, db.Stop(t.Context()))
	require.NoError(t, os.RemoveAll(dir))
	db = running(t, dir, on)
	require.True(t, db.Created)

	// A copy of the folder is another database: its link leads to a place that
	// is in use.
	copied := filepath.Join(closed, "copied")
	require.NoError(t, os.Mkdir(copied, 0o755))
	require.NoError(t, os.Symlink(at, filepath.Join(copied, "server")))
	require.True(t, running(t, copied, on).Created)
	require.Equal(t, 1, ask[int](t, db.URL, "SELECT 1"), "the other's is left alone")
}

func TestForeignHomeIsRefused(t *testing.T) {
	t.Parallel()
	for name, plant := range map[string]func(path string) error{
		"open":   func(path string) error { return os.Chmod(path, 0o755) },
		"others": func(path string) error { return os.Lchown(path, 12345, -1) },
		"link": func(path string) error {
			if err := os.Rename(path, path+".real"); err != nil {
				return err
			}
			return os.Symlink(path+".real", path)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			on := testMachine(t)
			accounts, err := on.accounts()
			require.NoError(t, err)
			path := filepath.Join(filepath.Dir(openFolderFor(t)), "home")
			_, err = claim(t.Context(), path, accounts)
			require.NoError(t, err)
			if plant(path) != nil {
				require.NotZero(t, os.Geteuid()) // nobody else can give a folder away
				return
			}
			_, err = claim(t.Context(), path, accounts)
			require.ErrorContains(t, err, path)
			require.ErrorContains(t, err, "remove it")
		})
	}
}
