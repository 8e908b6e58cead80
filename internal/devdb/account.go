package devdb

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"time"
)

// account is the user as whom the server and its tools run. PostgreSQL refuses
// to run as root.
type account struct {
	name     string
	uid, gid int
	drop     bool // this process is root and must become it
}

// accounts lists who may own and run the server: whoever runs this program, or,
// if that is root, postgres and nobody as far as there are such users.
func (on machine) accounts() ([]account, error) {
	if uid := os.Geteuid(); uid != 0 {
		return []account{{name: "uid " + strconv.Itoa(uid), uid: uid, gid: os.Getegid()}}, nil
	}
	var found []account
	for _, name := range on.serverUsers {
		u, err := user.Lookup(name)
		if err != nil {
			continue // no such user, or no way to know
		}
		uid, uidErr := strconv.Atoi(u.Uid)
		gid, gidErr := strconv.Atoi(u.Gid)
		if uidErr == nil && gidErr == nil {
			found = append(found, account{name: name, uid: uid, gid: gid, drop: true})
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("PostgreSQL does not run as root, and there is none of the users %v: "+
			"create one, run as another user, or set DATABASE_URL", on.serverUsers)
	}
	return found, nil
}

// command prepares a program that runs as the account, in a directory, in a
// session of its own: the terminal's Ctrl-C is for this program alone, which
// then stops the other in its turn. It is killed when ctx ends. Of the
// environment it sees what it needs; nothing of PGPORT, PGDATA or LANG.
func (a account) command(ctx context.Context, dir, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(slices.DeleteFunc(cmd.Environ(), func(variable string) bool {
		key, _, _ := strings.Cut(variable, "=")
		return !slices.Contains([]string{"PATH", "TZ", "LD_LIBRARY_PATH"}, key)
	}), "LC_ALL=C")
	cmd.SysProcAttr = a.attributes()
	cmd.WaitDelay = 5 * time.Second // for children that outlive a killed program
	return cmd
}
