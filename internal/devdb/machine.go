package devdb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// majorMin is the oldest PostgreSQL that the scheduler works with.
const majorMin = 14

// machine is what a start looks for around it. Tests describe other machines.
type machine struct {
	serverUsers   []string // as whom a root process runs the server, in this order
	homeRoots     []string // where to keep the data if they cannot enter the folder
	binFolders    []string // glob patterns of folders with PostgreSQL's programs
	searchPath    bool     // look in PATH too, for pg_config and for postgres
	cacheDir      string   // where fetched programs are kept
	repositoryURL string   // where they are fetched
	deathSignal   bool     // where the kernel can, let the server end with this process
}

func thisMachine() machine {
	on := machine{
		serverUsers: []string{"postgres", "nobody"},
		// /var/tmp first: it survives a restart of the machine.
		homeRoots: []string{"/var/tmp", os.TempDir()},
		binFolders: []string{
			"/usr/lib/postgresql/*/bin", // Debian
			"/usr/pgsql-*/bin",          // PostgreSQL's own RPMs
			"/usr/libexec/postgresql*",  // Alpine
			"/opt/homebrew/opt/postgresql*/bin",
			"/usr/local/opt/postgresql*/bin",
			"/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",
			"/Applications/Postgres.app/Contents/Versions/*/bin",
		},
		searchPath:    true,
		repositoryURL: "https://repo1.maven.org/maven2",
		deathSignal:   true,
	}
	// A root process cannot let the server's user into root's own cache.
	if cache, err := os.UserCacheDir(); err == nil && os.Geteuid() != 0 {
		on.cacheDir = filepath.Join(cache, "scheduler-dev")
	} else {
		on.cacheDir = "/var/cache/scheduler-dev"
	}
	return on
}

// binaries is one installation of PostgreSQL.
type binaries struct {
	folder  string
	version string
	major   int
}

func (b binaries) program(name string) string { return filepath.Join(b.folder, name) }

// choose takes the newest PostgreSQL on the machine that the home's account can
// run, and that can read data of the given major version (0: there are none
// yet). It fetches one where there is none.
func (on machine) choose(ctx context.Context, home home, major int, logger *slog.Logger) (binaries, error) {
	found := on.installed(ctx, home.account)
	fits := func(b binaries) bool { return major == 0 || b.major == major }
	if i := slices.IndexFunc(found, fits); i >= 0 {
		return found[i], nil
	}
	if fetchable := fetchedMajor(); major != 0 && major != fetchable {
		return binaries{}, fmt.Errorf("%w: PostgreSQL %d made the data in %s, and is not on this machine any more (%s): "+
			"install it, remove the folder above to start afresh, or set DATABASE_URL",
			ErrNoPostgres, major, home.path, describe(found))
	}
	logger.InfoContext(ctx, "no PostgreSQL on this machine, fetching one", "from", on.repositoryURL, "to", on.cacheDir)
	folder, err := on.fetch(ctx)
	var fetched binaries
	if err == nil {
		fetched, err = examine(ctx, folder, home.account)
	}
	if err != nil {
		return binaries{}, fmt.Errorf("%w: %s on this machine, and none could be fetched (%w): "+
			"install PostgreSQL %d or newer (apt-get install postgresql, brew install postgresql), or set DATABASE_URL",
			ErrNoPostgres, describe(found), err, majorMin)
	}
	return fetched, nil
}

func describe(found []binaries) string {
	if len(found) == 0 {
		return "none found"
	}
	var names []string
	for _, b := range found {
		names = append(names, b.version+" in "+b.folder)
	}
	return "found " + strings.Join(names, ", ")
}

// installed lists what the account can run, newest first.
func (on machine) installed(ctx context.Context, as account) []binaries {
	var folders []string
	for _, pattern := range on.binFolders {
		matches, _ := filepath.Glob(pattern) // a bad pattern is our own: a test's matter
		folders = append(folders, matches...)
	}
	if on.searchPath {
		if out, err := exec.CommandContext(ctx, "pg_config", "--bindir").Output(); err == nil {
			folders = append(folders, strings.TrimSpace(string(out)))
		}
		if path, err := exec.LookPath("postgres"); err == nil {
			folders = append(folders, filepath.Dir(path))
		}
	}
	folders = append(folders, on.fetchedFolder())
	var found []binaries
	for i, folder := range folders {
		if slices.Contains(folders[:i], folder) {
			continue
		}
		if b, err := examine(ctx, folder, as); err == nil && b.major >= majorMin {
			found = append(found, b)
		}
	}
	slices.SortStableFunc(found, func(a, b binaries) int { return b.major - a.major })
	return found
}

// versionPattern reads what `postgres --version` prints: "postgres (PostgreSQL)
// 15.18 (Debian 15.18-0+deb12u1)", "postgres (PostgreSQL) 19beta1".
var versionPattern = regexp.MustCompile(`\(PostgreSQL\) ((\d+)\S*)`)

// examine asks the programs in a folder for their version, as the account.
func examine(ctx context.Context, folder string, as account) (binaries, error) {
	b := binaries{folder: folder}
	if !filepath.IsAbs(folder) {
		return b, fmt.Errorf("%q is no absolute path", folder)
	}
	if _, err := exec.LookPath(b.program("initdb")); err != nil {
		return b, err // a client's or an embedding library's installation
	}
	out, err := as.command(ctx, "/", b.program("postgres"), "--version").Output()
	if err != nil {
		return b, fmt.Errorf("user %s cannot run %s: %w", as.name, b.program("postgres"), err)
	}
	match := versionPattern.FindSubmatch(out)
	if match == nil {
		return b, errors.New(b.program("postgres") + " does not tell its version")
	}
	b.version = string(match[1])
	b.major, err = strconv.Atoi(string(match[2]))
	return b, err
}
