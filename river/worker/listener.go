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

	outage *connection.Outage
}

// GetListener makes River's listener.
func (d *driver) GetListener(params *riverdriver.GetListenenerParams) riverdriver.Listener {
	return &listener{Listener: d.Driver.GetListener(params), outage: d.outage}
}

// listener is connected whenever it can be, and never tells River that it is not.
// What may have been missed meanwhile is looked for when it is back.
type listener struct {
	riverdriver.Listener

	outage    *connection.Outage
	mu        sync.Mutex
	connected bool
	topics    []string
	backoff   connection.Backoff
}

// Connect never fails: the listener connects later.
func (l *listener) Connect(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.connect(ctx); err != nil && ctx.Err() == nil {
		l.outage.Lost(ctx, err)
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
			notification, err := l.Listener.WaitForNotification(ctx)
			if err == nil || ctx.Err() != nil {
				return notification, err
			}
			l.drop(ctx, err)
		}
		l.backoff.Wait(ctx)
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := l.connect(ctx); err != nil {
			if ctx.Err() == nil {
				l.outage.Lost(ctx, err)
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
			_ = l.Listener.Close(ctx) // it is given up
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
	l.connected = false
	if ctx.Err() == nil {
		l.outage.Lost(ctx, fmt.Errorf("River's listener: %w", err))
	}
	_ = l.Listener.Close(context.WithoutCancel(ctx)) // it does not work any more
}
