package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// versionInfo is what "version --json" writes.
type versionInfo struct {
	Version   string `json:"version"`
	GoVersion string `json:"go_version"`
	Platform  string `json:"platform"`
}

func (a *app) versionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:               "version",
		Short:             "Show the version of this program",
		Example:           `  scheduler version --json`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			info := versionInfo{Version: a.buildVersion(), GoVersion: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
			if a.json {
				return a.writeJSON(info)
			}
			fmt.Fprintf(a.stdout, "scheduler %s (%s, %s)\n", info.Version, info.GoVersion, info.Platform)
			return nil
		},
	}
	a.addJSON(cmd)
	return cmd
}

// buildVersion is the version that the build has set, or that of the module, as
// "go install" knows it.
func (a *app) buildVersion() string {
	if a.given.Version != "" {
		return a.given.Version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "dev"
}
