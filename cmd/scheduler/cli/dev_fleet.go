package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// replicaEndTimeout is how long a replica may take to end, before it is killed:
// longer than any reasonable shutdown timeout.
const replicaEndTimeout = time.Minute

// fleet is the replicas that "dev" has started.
type fleet struct {
	replicas []*replica
	// ended receives each replica when its process has ended.
	ended chan *replica
	group sync.WaitGroup
}

// replica is a process that runs "serve".
type replica struct {
	// name is for people, id the replica's own.
	name, id string
	pid      int
	command  *exec.Cmd
}

// start starts this program again, as a replica. It ends in order when ctx ends,
// and also when this process ends, whatever it dies of: its standard input is a
// pipe from here.
func (f *fleet) start(ctx context.Context, name string, args, environ []string, out *lines) (*replica, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	r := &replica{name: name, id: name + "-" + strings.ToLower(rand.Text()[:8])}
	r.command = exec.CommandContext(ctx, program, append(args, "--until-eof", "--replica-id="+r.id)...)
	r.command.Env = environ
	prefixed := out.prefixed(name + " | ")
	r.command.Stdout, r.command.Stderr = prefixed, prefixed
	input, err := r.command.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	r.command.Cancel = input.Close
	r.command.WaitDelay = replicaEndTimeout
	if err := r.command.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	r.pid = r.command.Process.Pid
	f.replicas = append(f.replicas, r)
	f.group.Go(func() {
		_ = r.command.Wait() // state tells
		prefixed.flush()
		f.ended <- r
	})
	return r, nil
}

// wait returns when every replica has ended.
func (f *fleet) wait() { f.group.Wait() }

// state says how an ended replica ended.
func (r *replica) state() string { return r.command.ProcessState.String() }

// lines writes whole lines of several writers.
type lines struct {
	mu sync.Mutex
	w  io.Writer
}

// printf writes a line.
func (l *lines) printf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(l.w, format+"\n", args...)
}

// prefixed makes a writer whose lines get a prefix. It is for one goroutine.
func (l *lines) prefixed(prefix string) *prefixedLines {
	return &prefixedLines{lines: l, prefix: prefix}
}

type prefixedLines struct {
	lines  *lines
	prefix string
	rest   []byte
}

var _ io.Writer = (*prefixedLines)(nil)

// Write writes the lines that are complete.
func (p *prefixedLines) Write(text []byte) (int, error) {
	p.rest = append(p.rest, text...)
	for {
		line, rest, ok := bytes.Cut(p.rest, []byte("\n"))
		if !ok {
			return len(text), nil
		}
		p.lines.printf("%s%s", p.prefix, line)
		p.rest = rest
	}
}

// flush writes what does not end with a line.
func (p *prefixedLines) flush() {
	if len(p.rest) > 0 {
		p.lines.printf("%s%s", p.prefix, p.rest)
		p.rest = nil
	}
}
