package cli

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// devFolder is where "scheduler dev" keeps its database, in the working directory.
const devFolder = ".dev"

// libpqVariables are those that say where to connect to, or as whom.
func libpqVariables() []string {
	return []string{"PGHOST", "PGPORT", "PGDATABASE", "PGUSER", "PGPASSWORD", "PGPASSFILE", "PGSERVICE", "PGSERVICEFILE"}
}

func (a *app) hasLibpqVariables() bool {
	for _, name := range libpqVariables() {
		if value, _ := a.lookupEnv(name); value != "" {
			return true
		}
	}
	return false
}

// developmentURL is the URL of the development database of the working directory,
// if one is running, and says so; otherwise it is empty. A URL that leads to
// another machine is not one of ours.
func (a *app) developmentURL(ctx context.Context) string {
	path := filepath.Join(devFolder, "url")
	content, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	text := strings.TrimSpace(string(content))
	parsed, err := url.Parse(text)
	if err != nil || parsed.Hostname() != "127.0.0.1" {
		return ""
	}
	dialer := net.Dialer{Timeout: time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", parsed.Host)
	if err != nil {
		return ""
	}
	_ = conn.Close() // it was only a question
	fmt.Fprintf(a.stderr, "scheduler: using the development database of %s; set DATABASE_URL for another\n", path)
	return text
}
