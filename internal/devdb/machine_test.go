package devdb

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// bareMachine has no PostgreSQL, and fetches from the given address.
func bareMachine(t *testing.T, repositoryURL string) machine {
	t.Helper()
	on := testMachine(t)
	on.binFolders, on.searchPath, on.repositoryURL = nil, false, repositoryURL
	return on
}

// keepTempFiles gives the test a folder for temporary files: the library leaves
// one behind.
func keepTempFiles(t *testing.T) {
	t.Helper()
	t.Setenv("TMPDIR", filepath.Dir(openFolderFor(t)))
}

//nolint:paralleltest // sets TMPDIR
func TestNoPostgres(t *testing.T) {
	keepTempFiles(t)
	repository := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(repository.Close)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for name, url := range map[string]string{"no way": gone.URL, "no such file": repository.URL} {
		t.Run(name, func(t *testing.T) {
			dir := openFolderFor(t)
			_, err := start(t.Context(), Options{Dir: dir, Logger: logTo(t)}, bareMachine(t, url))
			require.ErrorIs(t, err, ErrNoPostgres)
			require.NotContains(t, err.Error(), "\n")
			for _, part := range []string{"none found", "apt-get install postgresql", "DATABASE_URL"} {
				require.ErrorContains(t, err, part)
			}
			require.NoFileExists(t, filepath.Join(dir, urlName))
		})
	}
}

func (f inFolder) testDataOfAnotherVersion(t *testing.T) {
	db := running(t, f.dir, f.on)
	require.NoError(t, db.Stop(t.Context()))
	version := filepath.Join(f.dir, "server", "data", "PG_VERSION")
	good, err := os.ReadFile(version)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(version, []byte("13\n"), 0o600))

	_, err = start(t.Context(), Options{Dir: f.dir}, f.on)
	require.ErrorIs(t, err, ErrNoPostgres)
	require.ErrorContains(t, err, "PostgreSQL 13 made the data")
	require.NoError(t, os.WriteFile(version, good, 0o600))
}

//nolint:paralleltest // sets TMPDIR
func TestFetchedPostgres(t *testing.T) {
	keepTempFiles(t)
	here := testMachine(t)
	accounts, err := here.accounts()
	require.NoError(t, err)
	installed := here.installed(t.Context(), accounts[0])
	require.NotEmpty(t, installed)

	repository := httptest.NewServer(fakeRepository(t, installed[0]))
	t.Cleanup(repository.Close)
	dir, on := openFolderFor(t), bareMachine(t, repository.URL)
	db := running(t, dir, on)
	require.True(t, db.Created)
	require.NoError(t, db.Stop(t.Context()))
	repository.Close()

	// The second time it is there.
	db = running(t, dir, on)
	require.False(t, db.Created)
	require.Equal(t, 1, ask[int](t, db.URL, "SELECT 1"))
}

// fakeRepository answers as the library expects, with programs that are those of
// this machine.
func fakeRepository(t *testing.T, installed binaries) http.Handler {
	t.Helper()
	var files bytes.Buffer
	archive := tar.NewWriter(&files)
	for _, name := range []string{"initdb", "postgres", "pg_ctl"} {
		script := "#!/bin/sh\nexec " + installed.program(name) + ` "$@"` + "\n"
		require.NoError(t, archive.WriteHeader(&tar.Header{Name: "bin/" + name, Mode: 0o700, Size: int64(len(script))}))
		_, err := archive.Write([]byte(script))
		require.NoError(t, err)
	}
	require.NoError(t, archive.Close())

	var jar bytes.Buffer
	packed := zip.NewWriter(&jar)
	w, err := packed.Create("postgres.txz")
	require.NoError(t, err)
	_, err = w.Write(xz(files.Bytes()))
	require.NoError(t, err)
	require.NoError(t, packed.Close())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, ".jar") {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(jar.Bytes())
	})
}

// xz wraps up to 64 KiB as an .xz file without compressing them: one block of one
// stored LZMA2 chunk (https://tukaani.org/xz/xz-file-format.txt).
func xz(data []byte) []byte {
	sum := func(b []byte) []byte { return binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(b)) }
	pad := func(b []byte) []byte { return append(b, make([]byte, (4-len(b)%4)%4)...) }
	flags := []byte{0, 1} // integrity check: CRC32

	header := []byte{2, 0, 0x21, 1, 0x10, 0, 0, 0} // 12 bytes; one filter, LZMA2
	header = append(header, sum(header)...)
	chunk := binary.BigEndian.AppendUint16([]byte{1}, uint16(len(data)-1))
	chunk = append(append(chunk, data...), 0)

	index := binary.AppendUvarint([]byte{0, 1}, uint64(len(header)+len(chunk)+4))
	index = pad(binary.AppendUvarint(index, uint64(len(data))))
	index = append(index, sum(index)...)
	footer := append(binary.LittleEndian.AppendUint32(nil, uint32(len(index)/4-1)), flags...)

	return bytes.Join([][]byte{
		[]byte("\xfd7zXZ\x00"), flags, sum(flags),
		header, pad(chunk), sum(data),
		index, sum(footer), footer, []byte("YZ"),
	}, nil)
}
