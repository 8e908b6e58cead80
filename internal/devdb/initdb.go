package devdb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
)

// initdb makes the data: whole or not at all.
func (h home) initdb(ctx context.Context, bin binaries, password string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	fresh, passwordFile := h.data()+".new", filepath.Join(h.path, "password")
	if err := os.RemoveAll(fresh); err != nil {
		return fmt.Errorf("remove what an earlier initdb left: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(passwordFile)) }()
	if err := h.replace(passwordFile, password); err != nil {
		return fmt.Errorf("hand initdb the password: %w", err)
	}
	cmd := h.account.command(ctx, h.path, bin.program("initdb"),
		"--pgdata", fresh, "--username", userName, "--pwfile", passwordFile,
		"--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C")
	runtime.LockOSThread() // the signal is bound to the thread
	defer runtime.UnlockOSThread()
	signalAtParentDeath(cmd.SysProcAttr, syscall.SIGKILL)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd.Path, errors.Join(err, ctx.Err()), out)
	}
	if err := os.Rename(fresh, h.data()); err != nil {
		return fmt.Errorf("put the new data in place: %w", err)
	}
	return nil
}

// replace writes a file of the account's, whole or not at all. This process may
// be root, and the folder another's: it never follows a link.
func (h home) replace(path, text string) error {
	fresh := path + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return err
	}
	f, err := os.OpenFile(fresh, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if h.account.drop {
		err = f.Chown(h.account.uid, h.account.gid)
	}
	if err == nil {
		_, err = f.WriteString(text)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(fresh, path)
}
