package fleet

import (
	"context"
	"fmt"
)

// fillScript writes a file until nothing more fits on the disk. The first step takes
// all in one piece, the second what that left.
const fillScript = `
fallocate -l "$(df --output=avail -B1 "$1" | tail -n 1)" "$1/filler" || true
dd if=/dev/zero bs=4096 >>"$1/filler" 2>/dev/null || true
[ "$(df --output=avail -B1 "$1" | tail -n 1)" -lt 65536 ] || { df "$1"; exit 1; }
`

// FillDisk takes all that is left of the server's disk.
func (s *Server) FillDisk(ctx context.Context) error {
	return s.act(ctx, "fill the disk of", func(ctx context.Context) error {
		s.filled = true
		_, err := s.host.exec(ctx, fillScript, diskFolder)
		return err
	})
}

// FreeDisk gives it back, and starts the server again if it died of it. It returns
// when the server takes connections. Without FillDisk it does nothing.
func (s *Server) FreeDisk(ctx context.Context) error {
	return s.act(ctx, "free the disk of", func(ctx context.Context) error {
		if !s.filled {
			return nil
		}
		if _, err := s.host.exec(ctx, `rm -f "$1/filler"`, diskFolder); err != nil {
			return err
		}
		s.filled = false
		// It may be about to die of it, in the middle of a recovery that began when
		// the disk was full.
		for range 3 {
			if s.process().running() && s.process().until(ctx, "takes connections", s.ping) == nil {
				return nil
			}
			if err := ctx.Err(); err != nil {
				return fmt.Errorf("it does not take connections again: %w", err)
			}
			if !s.process().running() {
				if err := s.startProcess(ctx); err == nil {
					return nil
				}
			}
		}
		return s.startProcess(ctx)
	})
}
