package fleet

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/systempromptio/scheduler/integration/testdb"
)

const (
	replicaPackage   = "github.com/systempromptio/scheduler/integration/fleet/replica"
	toxiproxyPackage = "github.com/Shopify/toxiproxy/v2/cmd/server"
)

// builds are the programs that this process has built, in memory: so nothing is left
// to be removed.
var builds struct {
	sync.Mutex
	programs map[string][]byte
}

// build returns a program, which it makes if this process has not yet. One is built
// at a time: the compiler uses every core.
func build(ctx context.Context, name string, compile func(ctx context.Context, folder string) error) ([]byte, error) {
	builds.Lock()
	defer builds.Unlock()
	if program, ok := builds.programs[name]; ok {
		return program, nil
	}
	var program []byte
	err := testdb.Guard(ctx, func(ctx context.Context) (err error) {
		folder, err := os.MkdirTemp("", "scheduler-fleet-")
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
		if err := compile(ctx, folder); err != nil {
			return err
		}
		program, err = os.ReadFile(filepath.Join(folder, "program"))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("build %s: %w", name, err)
	}
	if builds.programs == nil {
		builds.programs = map[string][]byte{}
	}
	builds.programs[name] = program
	return program, nil
}

// buildReplica builds the replica for an architecture.
func buildReplica(ctx context.Context, arch string) ([]byte, error) {
	return build(ctx, "the replica for "+arch, func(ctx context.Context, folder string) error {
		root, err := moduleRoot(ctx)
		if err != nil {
			return err
		}
		return goBuildReplica(ctx, root, arch, folder)
	})
}

// buildOldReplica builds the replica as it is now within the module as it was in a
// revision.
func buildOldReplica(ctx context.Context, revision, arch string) ([]byte, error) {
	return build(ctx, "the replica of "+revision+" for "+arch, func(ctx context.Context, folder string) error {
		root, err := moduleRoot(ctx)
		if err != nil {
			return err
		}
		source := filepath.Join(folder, "source")
		archive := filepath.Join(folder, "source.tar")
		if _, err := run(ctx, root, nil, "git", "archive", "--output", archive, revision); err != nil {
			return fmt.Errorf("the old revision (is this a git checkout that has it?): %w", err)
		}
		if err := os.Mkdir(source, 0o755); err != nil {
			return err
		}
		if _, err := run(ctx, folder, nil, "tar", "-xf", archive, "-C", source); err != nil {
			return err
		}
		replica := filepath.Join("integration", "fleet", "replica")
		if err := os.RemoveAll(filepath.Join(source, replica)); err != nil {
			return err
		}
		if err := os.CopyFS(filepath.Join(source, replica), os.DirFS(filepath.Join(root, replica))); err != nil {
			return err
		}
		return goBuildReplica(ctx, source, arch, folder)
	})
}

func goBuildReplica(ctx context.Context, module, arch, folder string) error {
	goroot, err := run(ctx, module, nil, "go", "env", "GOROOT")
	if err != nil {
		return err
	}
	overlay, err := writeOverlay(strings.TrimSpace(goroot), folder)
	if err != nil {
		return err
	}
	return goBuild(ctx, module, arch, folder, "-tags=failpoint", "-overlay="+overlay, replicaPackage)
}

// buildToxiproxy builds the server of toxiproxy that the module of tools pins.
func buildToxiproxy(ctx context.Context, arch string) ([]byte, error) {
	return build(ctx, "toxiproxy for "+arch, func(ctx context.Context, folder string) error {
		root, err := moduleRoot(ctx)
		if err != nil {
			return err
		}
		return goBuild(ctx, filepath.Join(root, "tools"), arch, folder, toxiproxyPackage)
	})
}

// goBuild builds a static program for Linux, as a file in folder.
func goBuild(ctx context.Context, module, arch, folder string, args ...string) error {
	command := append([]string{"build", "-buildvcs=false", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(folder, "program")}, args...)
	_, err := run(ctx, module, []string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=" + arch}, "go", command...)
	return err
}

// moduleRoot is the folder of this module.
func moduleRoot(ctx context.Context) (string, error) {
	folder, err := run(ctx, ".", nil, "go", "list", "-f", "{{.Module.Dir}}", replicaPackage)
	if err != nil {
		return "", fmt.Errorf("find the scheduler's source (run this within its module): %w", err)
	}
	return strings.TrimSpace(folder), nil
}

// run runs a program to its end and returns what it wrote to its output.
func run(ctx context.Context, folder string, env []string, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), env...)
	// go removes its temporary files when it is interrupted.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err() // and not that it was interrupted therefore
		}
		return "", fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// tarball is an archive with one file in it.
func tarball(name string, mode int64, content []byte) (io.Reader, error) {
	var buffer bytes.Buffer
	w := tar.NewWriter(&buffer)
	err := w.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: int64(len(content)), ModTime: time.Now()})
	if err == nil {
		_, err = w.Write(content)
	}
	return &buffer, errors.Join(err, w.Close())
}
