package worker

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/systempromptio/scheduler/internal/connection"
)

// listenTimeout bounds one try to listen again, and a ping.
const listenTimeout = 5 * time.Second

// insertTopic is where River hears of new jobs.
const insertTopic = "river_insert"

// driver is River's own, with a listener that comes back by itself. River's notifier
// (0.51) waits for up to 64 s between two tries, says so each time, counts the
// failures of a lifetime, and ends the client where the first try fails.
type driver struct {
	*riverpgxv5.Driver

	watch *Watch
}

// GetListener makes River's listener.
func (d *driver) GetListener(params *riverdriver.GetListenenerParams) riverdriver.Listener {
	l := &listener{Listener: d.Driver.GetListener(params), watch: d.watch}
	d.watch.mu.Lock()
	defer d.watch.mu.Unlock()
	d.watch.relisten = l.relisten
	return l
}

// listener is connected whenever it can be, and never tells River that it is not.
// Jobs whose notification was missed meanwhile are looked for when it is back. (A
// request to cancel that was missed is found by the run's next batch, or by River's
// poll.)
type listener struct {
	riverdriver.Listener

	watch     *Watch
	mu        sync.Mutex
	connected bool
	topics    []string
	backoff   connection.Backoff

	waitMu sync.Mutex
	// interrupt ends the wait that is going on; anew says that it is to connect again.
	interrupt context.CancelFunc
	anew      bool
}

// relisten makes the listener connect anew.
func (l *listener) relisten() {
	l.waitMu.Lock()
	defer l.waitMu.Unlock()
	l.anew = true
	if l.interrupt != nil {
		l.interrupt()
	}
}

// wait waits on the connection, until it is to connect anew.
func (l *listener) wait(ctx context.Context) (notification *riverdriver.Notification, err error, anew bool) { //nolint:revive // the last one says what the error means
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l.waitMu.Lock()
	l.interrupt = cancel
	if l.anew {
		cancel()
	}
	l.waitMu.Unlock()
	notification, err = l.Listener.WaitForNotification(ctx)
	l.waitMu.Lock()
	defer l.waitMu.Unlock()
	anew = l.anew && err != nil
	l.interrupt, l.anew = nil, l.anew && err == nil
	return notification, err, anew
}

// Connect never fails: the listener connects later.
func (l *listener) Connect(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.connect(ctx); err != nil && ctx.Err() == nil {
		l.watch.saw(ctx, err)
	}
	return nil
}

// Close closes the connection.
func (l *listener) Close(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.connected = false
	return l.Listener.Close(ctx)
}

// Listen listens, or does so when it is connected.
func (l *listener) Listen(ctx context.Context, topic string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Contains(l.topics, topic) {
		l.topics = append(l.topics, topic)
	}
	l.use(ctx, func() error { return l.Listener.Listen(ctx, topic) })
	return nil
}

// Unlisten ends a Listen.
func (l *listener) Unlisten(ctx context.Context, topic string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.topics = slices.DeleteFunc(l.topics, func(t string) bool { return t == topic })
	l.use(ctx, func() error { return l.Listener.Unlisten(ctx, topic) })
	return nil
}

// Ping finds out whether the connection still lives.
func (l *listener) Ping(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, listenTimeout)
	defer cancel()
	l.use(ctx, func() error { return l.Listener.Ping(ctx) })
	return nil
}

// WaitForNotification waits, and connects again where that is needed.
func (l *listener) WaitForNotification(ctx context.Context) (*riverdriver.Notification, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		if l.connected {
			notification, err, anew := l.wait(ctx)
			if err == nil || ctx.Err() != nil {
				return notification, err
			}
			if anew {
				l.close(ctx)
			} else {
				l.drop(ctx, err)
			}
		}
		l.backoff.Wait(ctx)
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := l.connect(ctx); err != nil {
			if ctx.Err() == nil {
				l.watch.saw(ctx, err)
			}
			continue
		}
		l.backoff.Reset()
		return &riverdriver.Notification{Topic: insertTopic, Payload: fmt.Sprintf(`{"queue":%q}`, river.QueueDefault)}, nil
	}
}

func (l *listener) connect(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, listenTimeout)
	defer cancel()
	if err := l.Listener.Connect(ctx); err != nil {
		return fmt.Errorf("connect River's listener: %w", err)
	}
	for _, topic := range l.topics {
		if err := l.Listener.Listen(ctx, topic); err != nil {
			l.close(ctx)
			return fmt.Errorf("listen for River's %s: %w", topic, err)
		}
	}
	l.connected = true
	return nil
}

// use does something on the connection, if there is one that works.
func (l *listener) use(ctx context.Context, do func() error) {
	if !l.connected {
		return
	}
	if err := do(); err != nil {
		l.drop(ctx, err)
	}
}

func (l *listener) drop(ctx context.Context, err error) {
	if ctx.Err() == nil {
		l.watch.saw(ctx, fmt.Errorf("River's listener: %w", err))
	}
	l.close(ctx)
}

// close gives the connection up.
func (l *listener) close(ctx context.Context) {
	l.connected = false
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = l.Listener.Close(ctx) // it is not used any more
}
