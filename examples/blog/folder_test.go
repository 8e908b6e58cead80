package blog

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// files writes files, by path, into a new folder.
func files(t *testing.T, contents map[string]string) string {
	t.Helper()
	folder := t.TempDir()
	for name, content := range contents {
		put := filepath.Join(folder, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(put), 0o755))
		require.NoError(t, os.WriteFile(put, []byte(content), 0o644))
	}
	return folder
}

func opened(t *testing.T, folder string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(folder)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, root.Close()) })
	return root
}

func TestList(t *testing.T) {
	t.Parallel()
	outside := files(t, map[string]string{"secret.md": "secret", "folder/x.md": "x"})
	folder := files(t, map[string]string{
		"b.md": "", "a.md": "", "c.txt": "", "D.MD": "", ".hidden.md": "", "sub/a.md": "", "sub-a.md": "", "sub/.git/x.md": "", "new\nline.md": "", "bad\xff.md": "",
	})
	deep := filepath.Join(folder, strings.Repeat("deep/", depthMax+1))
	require.NoError(t, os.MkdirAll(deep, 0o755))
	for link, target := range map[string]string{
		"out.md": filepath.Join(outside, "secret.md"), "up.md": "../../../../../etc/passwd", "in.md": "sub/a.md", "nowhere.md": "gone.md", "self.md": "self.md",
		"folder": "sub", "other": outside,
	} {
		require.NoError(t, os.Symlink(target, filepath.Join(folder, link)))
	}
	require.NoError(t, syscall.Mkfifo(filepath.Join(folder, "pipe.md"), 0o644))
	require.NoError(t, os.Mkdir(filepath.Join(folder, "folder.md"), 0o755))

	seen := func(recursive bool) map[string]string {
		list, err := list(t.Context(), opened(t, folder), recursive)
		require.NoError(t, err)
		problems := make(map[string]string, len(list))
		last := ""
		for _, f := range list {
			require.Greater(t, f.path, last, "by path")
			last = f.path
			problems[f.path] = ""
			if f.problem != nil {
				problems[f.path] = f.problem.Error()
			}
		}
		return problems
	}
	flat := seen(false)
	for _, name := range []string{"a.md", "b.md", "sub-a.md", "in.md", "new\nline.md", "bad\xff.md"} {
		require.Contains(t, flat, name)
		require.Empty(t, flat[name], name)
	}
	require.Contains(t, flat["out.md"], "symbolic link that leads nowhere or out of the folder")
	require.Contains(t, flat["up.md"], "out of the folder")
	require.Contains(t, flat["nowhere.md"], "leads nowhere")
	require.NotEmpty(t, flat["self.md"])
	require.Equal(t, "not a file but a pipe", flat["pipe.md"])
	require.Len(t, flat, 11, "%v", flat)

	all := seen(true)
	require.Contains(t, all, "sub/a.md")
	require.NotContains(t, all, "sub/.git/x.md")
	require.Contains(t, all["folder"], "a symbolic link to a folder is not followed")
	require.Contains(t, all["other"], "out of the folder")
	found := false
	for name, problem := range all {
		found = found || strings.HasPrefix(name, "deep/deep/") && strings.Contains(problem, "more than 100 folders")
	}
	require.True(t, found)
}

func TestRead(t *testing.T) {
	t.Parallel()
	outside := files(t, map[string]string{"secret.md": "secret"})
	folder := files(t, map[string]string{"a.md": "text", "large.md": "", "grows.md": "1", "replaced.md": "1", "gone.md": "1"})
	require.NoError(t, os.Truncate(filepath.Join(folder, "large.md"), 100<<20))
	require.NoError(t, os.Symlink(filepath.Join(outside, "secret.md"), filepath.Join(folder, "out.md")))
	require.NoError(t, syscall.Mkfifo(filepath.Join(folder, "pipe.md"), 0o644))
	r := reader{root: opened(t, folder), max: fileMax, readFunc: func(name string) {
		switch name {
		case "grows.md":
			require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte("12"), 0o644))
		case "replaced.md":
			require.NoError(t, os.WriteFile(filepath.Join(folder, "new"), []byte("2"), 0o644))
			require.NoError(t, os.Rename(filepath.Join(folder, "new"), filepath.Join(folder, name)))
		case "gone.md":
			require.NoError(t, os.Remove(filepath.Join(folder, name)))
		}
	}}
	content, err := r.read("a.md")
	require.NoError(t, err)
	require.Equal(t, "text", string(content))
	for name, want := range map[string]string{
		"large.md": "it has 104857600 bytes, at most 8388608 are read", "out.md": "path escapes", "../secret.md": "path escapes", "none.md": "no such file",
		"pipe.md": "not a file but a pipe", ".": "not a file but a folder",
	} {
		_, err := r.read(name)
		require.ErrorContains(t, err, want, name)
	}
	for _, name := range []string{"grows.md", "replaced.md", "gone.md"} {
		_, err := r.read(name)
		require.ErrorIs(t, err, errChanged, name)
	}
}
