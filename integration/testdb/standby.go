package testdb

import (
	"context"
	"testing"

	"github.com/testcontainers/testcontainers-go"
	tcnetwork "github.com/testcontainers/testcontainers-go/network"
)

// standbyScript copies the primary that is named by its first argument, and then
// runs the rest as the standby's server. After a restart there is nothing to copy.
const standbyScript = `
if [ ! -s "$PGDATA/PG_VERSION" ]; then
	chmod 700 "$PGDATA"
	pg_basebackup --host="$1" --username=postgres --pgdata="$PGDATA" --checkpoint=fast --wal-method=stream --write-recovery-conf
fi
shift
exec "$@"
`

// Standby starts a primary and a hot standby that follows it by streaming, both
// as [Start] would. They are removed when the test ends.
//
// The standby is read only and lags behind by as much as it takes: wait for what
// you expect with [WaitFor]. SELECT pg_promote() makes it a primary.
func Standby(t testing.TB) (primary, standby *Server) {
	t.Helper()
	d, err := connect()
	if err != nil {
		t.Fatalf("testdb: %v", err)
	}
	var net *testcontainers.DockerNetwork
	err = Guard(t.Context(), func(ctx context.Context) (err error) {
		net, err = tcnetwork.New(ctx, tcnetwork.WithLabels(labels()))
		return err
	})
	if err != nil {
		t.Fatalf("testdb: make a network: %v", err)
	}
	t.Cleanup(func() {
		if t.Failed() && keepFailed() {
			return
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), removeTimeout)
		defer cancel()
		defer d.Close()
		if err := net.Remove(ctx); err != nil {
			t.Errorf("testdb: remove the network: %v", err)
		}
	})

	primary, err = start(t, launchRequest{network: net.Name, alias: "primary"})
	if err != nil {
		t.Fatalf("testdb: start a primary: %v", err)
	}
	standby, err = start(t, launchRequest{network: net.Name, alias: "standby", standbyOf: "primary"})
	if err != nil {
		t.Fatalf("testdb: start a standby: %v", err)
	}
	return primary, standby
}
