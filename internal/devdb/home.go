package devdb

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// home is the folder of the server's own files. It belongs to the account that
// the server runs as, and nobody else may enter.
type home struct {
	path    string
	account account
}

func (h home) data() string { return filepath.Join(h.path, "data") }

// major is the PostgreSQL major version that made the data, 0 where there is
// none yet.
func (h home) major() (int, error) {
	path := filepath.Join(h.data(), "PG_VERSION")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("find out the version of its data: %w", err)
	}
	major, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("find out the version of its data: %s: %w", path, err)
	}
	return major, nil
}

// findHome finds or makes the home: dir/server, or, where the account that a root
// process must use cannot enter dir (a checkout below a closed home directory), a
// folder for temporary files, under a name that stands for dir. dir/server is
// then a link that says where it is.
func (on machine) findHome(ctx context.Context, dir string, logger *slog.Logger) (home, error) {
	accounts, err := on.accounts()
	if err != nil {
		return home{}, err
	}
	link := filepath.Join(dir, "server")
	sum := sha256.Sum256([]byte(dir))
	elsewhere := make([]string, len(on.homeRoots))
	for i, root := range on.homeRoots {
		elsewhere[i] = filepath.Join(root, "scheduler-dev-"+hex.EncodeToString(sum[:8]))
	}

	// What an earlier start chose, stays: its rows are there. A link that leads
	// anywhere else came here with a copied or moved folder, and another
	// program may be using what it leads to.
	fixed := link
	if target, err := os.Readlink(link); err == nil {
		if fixed = target; !slices.Contains(elsewhere, target) {
			if err := os.Remove(link); err != nil {
				return home{}, fmt.Errorf("remove a link of another folder: %w", err)
			}
		}
	}
	if _, err := os.Lstat(link); err == nil {
		return claim(ctx, fixed, accounts)
	}

	here, err := claim(ctx, link, accounts)
	if err == nil {
		return here, nil
	}
	if !accounts[0].drop {
		return home{}, err
	}
	// Nothing lies in it yet.
	if rmErr := os.Remove(link); rmErr != nil && !errors.Is(rmErr, fs.ErrNotExist) {
		return home{}, errors.Join(err, rmErr)
	}
	failed := []error{err}
	for _, path := range elsewhere {
		h, err := claim(ctx, path, accounts)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		// Whatever lies there belonged to a folder of this name that was removed
		// to start afresh.
		if err := errors.Join(h.stopLeftover(ctx, logger), os.RemoveAll(h.data())); err != nil {
			return home{}, fmt.Errorf("remove the data of an earlier folder: %w", err)
		}
		if err := os.Symlink(path, link); err != nil {
			return home{}, fmt.Errorf("leave a link to the data: %w", err)
		}
		logger.WarnContext(ctx, "the development database is kept outside its folder, which the server's user cannot enter",
			"folder", dir, "user", h.account.name, "kept_in", path)
		return h, nil
	}
	return home{}, fmt.Errorf("no place for its data: %w", errors.Join(failed...))
}

// claim makes the folder where it is missing, and checks that it is ours alone
// and that its account can work in it: in a folder for temporary files, somebody
// else may have been there first.
func claim(ctx context.Context, path string, accounts []account) (home, error) {
	switch err := os.Mkdir(path, 0o700); {
	case errors.Is(err, fs.ErrExist): // an earlier start's, if it passes below
	case err != nil:
		return home{}, err
	case accounts[0].drop:
		if err := os.Lchown(path, accounts[0].uid, accounts[0].gid); err != nil {
			return home{}, err
		}
	}
	info, err := os.Lstat(path)
	if err != nil {
		return home{}, err
	}
	owner := ownerOf(info)
	i := slices.IndexFunc(accounts, func(a account) bool { return a.uid == owner })
	if i < 0 || !info.IsDir() || info.Mode().Perm() != 0o700 {
		return home{}, fmt.Errorf("%s is not a folder of mode 0700 that belongs to %s: remove it to start afresh",
			path, accounts[0].name)
	}
	h := home{path: path, account: accounts[i]}
	// Asks the kernel, which knows more than mode bits tell.
	if out, err := h.account.command(ctx, path, "/bin/sh", "-c", "test -w .").CombinedOutput(); err != nil {
		return home{}, fmt.Errorf("user %s cannot work in %s: %w %s", h.account.name, path, err, out)
	}
	// The server's command line is compared with this path later.
	if h.path, err = filepath.EvalSymlinks(path); err != nil {
		return home{}, err
	}
	return h, nil
}
