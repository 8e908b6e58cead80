package devdb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
)

// fetchedVersion is the release that is fetched: the newest that the library
// knows.
const fetchedVersion = embeddedpostgres.V18

func fetchedMajor() int {
	var major int
	_, _ = fmt.Sscanf(string(fetchedVersion), "%d.", &major) // a constant: a test's matter
	return major
}

// fetchedFolder is where the fetched programs are, if they are.
func (on machine) fetchedFolder() string {
	return filepath.Join(on.cacheDir, "postgresql-"+string(fetchedVersion), "bin")
}

// fetch downloads PostgreSQL's programs into the cache, and returns their folder.
// Of ctx it sees only the first contact: the library's download cannot be cut
// off.
func (on machine) fetch(ctx context.Context) (folder string, err error) {
	defer http.DefaultClient.CloseIdleConnections() // the library leaves them open
	if err := reach(ctx, on.repositoryURL); err != nil {
		return "", err
	}
	if err := os.MkdirAll(on.cacheDir, 0o755); err != nil {
		return "", err
	}
	if err := os.Chmod(on.cacheDir, 0o755); err != nil { // whatever the umask: see openToAll
		return "", err
	}
	unpacked, err := os.MkdirTemp(on.cacheDir, "unpacking-")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(unpacked)) }()

	// The library has no call that only fetches: Start fetches, unpacks, runs
	// initdb, which refuses root, and starts a server. So it gets a place for
	// the data that cannot exist, which ends Start after unpacking; whether
	// that went well is seen from the files.
	target := filepath.Join(unpacked, "postgresql")
	errStart := embeddedpostgres.NewDatabase(embeddedpostgres.DefaultConfig().
		Version(fetchedVersion).
		BinaryRepositoryURL(on.repositoryURL).
		CachePath(on.cacheDir).
		BinariesPath(target).
		RuntimePath(filepath.Join(unpacked, "run")).
		DataPath("/dev/null/none").
		Port(0).
		Logger(io.Discard)).Start()
	if _, err := os.Stat(filepath.Join(target, "bin", "initdb")); err != nil {
		// The library's errors are long and sometimes two lines.
		return "", fmt.Errorf("PostgreSQL %s for %s/%s: %s", fetchedVersion, runtime.GOOS, runtime.GOARCH,
			strings.Join(strings.Fields(fmt.Sprint(errStart)), " "))
	}
	if err := openToAll(target); err != nil {
		return "", err
	}
	folder = on.fetchedFolder()
	if err := os.Rename(target, filepath.Dir(folder)); err != nil {
		// Another start may have been quicker.
		if _, statErr := os.Stat(filepath.Join(folder, "initdb")); statErr != nil {
			return "", err
		}
	}
	return folder, nil
}

// reach fails soon, and when ctx ends, where there is no way to the repository.
// Any answer will do.
func reach(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodHead, url, http.NoBody)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	return response.Body.Close()
}

// openToAll lets the server's user read what a strict umask of root would not.
func openToAll(folder string) error {
	return filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Type()&fs.ModeSymlink != 0 {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		mode := info.Mode().Perm()
		return os.Chmod(path, mode|mode&0o500>>3|mode&0o500>>6)
	})
}
