package fleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/systempromptio/scheduler/integration/testdb"
)

// box is a container, and whether its process runs.
type box struct {
	engine *testdb.Engine
	id     string
	name   string // for messages

	mu     sync.Mutex
	stop   context.CancelFunc // ends watching
	exited chan struct{}      // closed when the process has ended; nil before the first start
	code   int
	// unknown is why nobody knows how the process has ended.
	unknown error
}

// start starts the container's process, for the first time or again.
func (b *box) start(ctx context.Context) error {
	err := whole(ctx, func(ctx context.Context) error {
		_, err := b.engine.ContainerStart(ctx, b.id, client.ContainerStartOptions{})
		return err
	})
	if err != nil {
		return fmt.Errorf("start %s: %w", b.name, err)
	}
	watched, stop := context.WithCancel(context.WithoutCancel(ctx))
	exited := make(chan struct{})
	waiting := b.engine.ContainerWait(watched, b.id, client.ContainerWaitOptions{Condition: container.WaitConditionNotRunning})
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stop, b.exited = stop, exited
	go func() {
		defer close(exited)
		defer stop()
		code := -1
		var unknown error
		select {
		case result := <-waiting.Result:
			code = int(result.StatusCode)
		case unknown = <-waiting.Error: // the container is gone, or the daemon
		case <-watched.Done():
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		b.code, b.unknown = code, unknown
	}()
	return nil
}

// ended is closed when the process has ended that was started last.
func (b *box) ended() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.exited
}

// fate says how the process has ended.
func (b *box) fate() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.unknown != nil {
		return b.unknown.Error()
	}
	return fmt.Sprintf("exit code %d", b.code)
}

func (b *box) running() bool {
	exited := b.ended()
	if exited == nil {
		return false
	}
	select {
	case <-exited:
		return false
	default:
		return true
	}
}

// kill sends the process a signal.
func (b *box) kill(ctx context.Context, sig syscall.Signal) error {
	_, err := b.engine.ContainerKill(ctx, b.id, client.ContainerKillOptions{Signal: strconv.Itoa(int(sig))})
	if err != nil {
		return fmt.Errorf("send %s the signal %q: %w", b.name, sig, err)
	}
	return nil
}

// end sends a signal and waits until the process has ended. That it had ended
// before is fine.
func (b *box) end(ctx context.Context, sig syscall.Signal) error {
	if !b.running() {
		return nil
	}
	if err := b.kill(ctx, sig); err != nil && !errdefs.IsConflict(err) && !errdefs.IsNotFound(err) {
		return err
	}
	select {
	case <-b.ended():
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the end of %s after the signal %q: %w", b.name, sig, ctx.Err())
	}
}

// remove ends the process, removes the container with its unnamed volumes, and
// joins what watched it. A second call does nothing.
func (b *box) remove(ctx context.Context) error {
	_, err := b.engine.ContainerRemove(ctx, b.id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
	b.mu.Lock()
	stop, exited := b.stop, b.exited
	b.mu.Unlock()
	if exited != nil {
		if b.running() && err == nil {
			// The daemon tells the exit code a moment later.
			timer := time.NewTimer(time.Second)
			defer timer.Stop()
			select {
			case <-exited:
			case <-timer.C:
			}
		}
		stop()
		<-exited
	}
	if err := testdb.IgnoreGone(err); err != nil {
		return fmt.Errorf("remove %s: %w", b.name, err)
	}
	return nil
}

// exec runs a script of bash in the container, as root, and returns its output.
func (b *box) exec(ctx context.Context, script string, args ...string) (string, error) {
	created, err := b.engine.ExecCreate(ctx, b.id, client.ExecCreateOptions{
		User:         "root",
		Cmd:          append([]string{"bash", "-ec", script, "bash"}, args...),
		TTY:          true, // the output as it is, not in docker's frames
		Env:          []string{"PAGER=cat"},
		AttachStdout: true,
		AttachStderr: true,
	})
	if err != nil {
		return "", fmt.Errorf("run a script in %s: %w", b.name, err)
	}
	attached, err := b.engine.ExecAttach(ctx, created.ID, client.ExecAttachOptions{TTY: true})
	if err != nil {
		return "", fmt.Errorf("run a script in %s: %w", b.name, err)
	}
	defer attached.Close()
	defer context.AfterFunc(ctx, attached.Close)()
	text, err := io.ReadAll(attached.Reader)
	output := strings.TrimSpace(strings.ReplaceAll(string(text), "\r\n", "\n"))
	if err = errors.Join(err, ctx.Err()); err != nil {
		return output, fmt.Errorf("run a script in %s: %w", b.name, err)
	}
	state, err := b.engine.ExecInspect(ctx, created.ID, client.ExecInspectOptions{})
	if err != nil {
		return output, fmt.Errorf("run a script in %s: %w", b.name, err)
	}
	if state.ExitCode != 0 {
		return output, fmt.Errorf("a script in %s has ended with exit code %d: %s", b.name, state.ExitCode, output)
	}
	return output, nil
}

// put writes a file into the container, which may run or not.
func (b *box) put(ctx context.Context, folder, name string, mode int64, content []byte) error {
	reader, err := tarball(name, mode, content)
	if err != nil {
		return err
	}
	if _, err := b.engine.CopyToContainer(ctx, b.id, client.CopyToContainerOptions{DestinationPath: folder, Content: reader}); err != nil {
		return fmt.Errorf("copy %s to %s of %s: %w", name, folder, b.name, err)
	}
	return nil
}

// log is all that the process has written, to its output and to its errors.
func (b *box) log(ctx context.Context) (string, error) {
	reader, err := b.engine.ContainerLogs(ctx, b.id, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true})
	if err != nil {
		return "", fmt.Errorf("read the log of %s: %w", b.name, err)
	}
	defer reader.Close()
	var text bytes.Buffer
	if _, err := stdcopy.StdCopy(&text, &text, reader); err != nil {
		return "", fmt.Errorf("read the log of %s: %w", b.name, err)
	}
	return text.String(), nil
}

// logTail is the end of the log, for an error message. It works when ctx has ended.
func (b *box) logTail(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	text, err := b.log(ctx)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}

// until calls condition until it succeeds; it gives up when ctx ends, or the process
// does.
func (b *box) until(ctx context.Context, what string, condition func(ctx context.Context) error) error {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	var last error
	for {
		err := condition(ctx)
		if err == nil {
			return nil
		}
		if last == nil || ctx.Err() == nil {
			last = err
		}
		select {
		case <-ticker.C:
		case <-b.ended():
			return fmt.Errorf("%s has ended (%s) while waiting until it %s; the end of its log:\n%s", b.name, b.fate(), what, b.logTail(ctx))
		case <-ctx.Done():
			return fmt.Errorf("waited until %s %s: %w: %w; the end of its log:\n%s", b.name, what, ctx.Err(), last, b.logTail(ctx))
		}
	}
}
