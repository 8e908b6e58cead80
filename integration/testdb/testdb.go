// Package testdb gives tests a real PostgreSQL in a container.
//
// A test gets a database of its own, which is a copy of a template that is
// prepared once:
//
//	func TestMain(m *testing.M) { os.Exit(testdb.Main(m)) }
//
//	func TestSomething(t *testing.T) {
//		t.Parallel()
//		db := testdb.New(t, testdb.Template("migrated", migrate))
//		pool := db.Pool(t)
//		...
//	}
//
// All databases of a test process are on one server, which is started when the
// first test asks for one and removed by [Main]. It keeps its data in memory
// and does not wait for disks: fast, and of no use to a test that ends the
// server, or sets its clock. Such a test starts a server of its own with [Start];
// [Standby] starts a pair, and [PgBouncer] puts a pooler in front of a database.
// [Chromium] is a browser, for what a program serves.
//
// The environment says the rest:
//   - SCHEDULER_TEST_PG: the major version of PostgreSQL, 17 by default.
//   - SCHEDULER_TEST_IMAGE_<VERSION>: the image for it. By default that is
//     scheduler-test-postgres:<VERSION>, which `make image` makes, and else the
//     official image. Only the first of them has pgbouncer and libfaketime.
//   - SCHEDULER_TEST_CHROMIUM: a browser of this machine, for the tests of the pages.
//     By default that is the image scheduler-test-chromium, which `make image` makes.
//   - SCHEDULER_TEST_KEEP=1: containers stay if a test failed, for a look at
//     what is in the databases.
//
// # What is not guaranteed
//
// A test process that is killed leaves its containers behind. The next one to
// start removes them; its owner's label tells it that nobody needs them.
package testdb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// removeTimeout bounds the removal of containers, at the end of a test or of
// the process.
const removeTimeout = time.Minute

// supervised is true while Main runs: only then is anything removed at the end.
var supervised atomic.Bool

// shared is the server that New uses.
var shared = sync.OnceValues(func() (*Server, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	return launch(ctx, launchRequest{ephemeral: true})
})

// Main runs the tests of a package, removes every container that they started,
// and returns the exit code. It does so on SIGINT and SIGTERM too, and then lets
// the signal end the process. A TestMain is the only right caller.
//
// Main leaves no goroutine behind: a goleak check belongs after it.
func Main(m *testing.M) int {
	return supervise(m.Run)
}

func supervise(run func() int) int {
	supervised.Store(true)
	defer supervised.Store(false)

	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	ended := make(chan struct{})
	var watcher sync.WaitGroup
	watcher.Go(func() {
		select {
		case <-ended:
		case received := <-signals:
			fmt.Fprintf(os.Stderr, "testdb: %s: removing the containers\n", received)
			closeGate()
			if err := removeOwn(); err != nil {
				fmt.Fprintf(os.Stderr, "testdb: %v\n", err)
			}
			signal.Reset(os.Interrupt, syscall.SIGTERM)
			if self, err := os.FindProcess(os.Getpid()); err != nil || self.Signal(received) != nil {
				os.Exit(1)
			}
		}
	})

	code := run()

	close(ended)
	watcher.Wait()
	signal.Stop(signals)

	if code != 0 && keepFailed() {
		fmt.Fprintf(os.Stderr, "testdb: the containers are kept; to remove them: docker rm -fv $(docker ps -aq --filter label=%[1]s); docker network prune -f --filter label=%[1]s\n", labelKeep)
		return code
	}
	if err := removeOwn(); err != nil {
		fmt.Fprintf(os.Stderr, "testdb: %v\n", err)
		code = max(code, 1)
	}
	return code
}

// removeOwn removes what this process started.
func removeOwn() error {
	if !connected.Load() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), removeTimeout)
	defer cancel()
	docker, err := connect()
	if err != nil {
		return nil // then nothing was started; the tests have told why
	}
	return docker.removeOwned(ctx, func(o owner, _ bool) bool { return o == self() })
}

func sharedServer() (*Server, error) {
	if !supervised.Load() {
		return nil, errors.New("the containers would stay: call testdb.Main from this package's TestMain, func TestMain(m *testing.M) { os.Exit(testdb.Main(m)) }")
	}
	return shared()
}

// keepFailed tells whether containers outlive a failed test.
func keepFailed() bool {
	return os.Getenv("SCHEDULER_TEST_KEEP") == "1"
}
