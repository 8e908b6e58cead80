//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package devdb

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

func (a account) attributes() *syscall.SysProcAttr { return nil }

// tryLock is the first thing that a start needs of the system, and so where it
// ends on systems that the development database does not run on.
func tryLock(*os.File) (taken bool, err error) {
	return false, errors.New("the development database does not run on this system: set DATABASE_URL")
}

func ownerOf(fs.FileInfo) int { return -1 }
