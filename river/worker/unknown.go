package worker

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// unknownAfter is the age at which a running job that the replica does not work
	// on is nobody's: River starts what it has fetched within microseconds.
	unknownAfter = 3 * time.Second

	unknownInterval = time.Second
)

// known are the River jobs that the replica works on.
type known struct {
	mu  sync.Mutex
	ids map[int64]int
}

// add registers a job; the function that it returns takes it off.
func (k *known) add(id int64) (done func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ids[id]++
	return func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.ids[id]--; k.ids[id] == 0 {
			delete(k.ids, id)
		}
	}
}

func (k *known) list() []int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	list := make([]int64, 0, len(k.ids))
	for id := range k.ids {
		list = append(list, id)
	}
	return list
}

// giveBackUnknown looks, each time that the database was away or may be another one
// since, for jobs that are running, by this replica, though nobody works on them. Either
// River was given them in a transaction whose answer did not arrive, or their end was
// committed on a primary that was lost with it. It returns when ctx ends.
func (s *Service) giveBackUnknown(ctx context.Context) {
	var looked time.Time
	ticker := time.NewTicker(unknownInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		lost := s.config.Watch.lastLost()
		if lost.Equal(looked) {
			continue
		}
		// Before that, some may be too young to be told from those that are fetched now.
		last := time.Since(lost) > unknownAfter+unknownInterval
		given, err := s.giveBackUnknownNow(ctx)
		if given > 0 {
			s.config.Logger.WarnContext(ctx, "runs whose hand-out or end was lost with a connection or a server were given back", slog.Int("runs", given))
		}
		if err == nil && last {
			looked = lost
		}
	}
}

func (s *Service) giveBackUnknownNow(ctx context.Context) (given int, err error) {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	err = pgx.BeginFunc(ctx, s.config.Pool, func(tx pgx.Tx) error {
		var err error
		given, err = s.config.Statements.GiveBackUnknown(ctx, tx, s.config.ReplicaID, s.known.list(), unknownAfter)
		return err
	})
	return given, err
}
