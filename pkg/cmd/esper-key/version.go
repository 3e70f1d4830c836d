package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

type versionInfo struct {
	Version  string `json:"version"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func versionOf() versionInfo {
	v := versionInfo{"unknown", runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		v.Version = info.Main.Version
	}
	return v
}

func (a *app) version() *cobra.Command {
	return a.withOutput(&cobra.Command{
		Use: "version", Short: "Print the version", Example: "  esper-key version -o json",
		RunE: func(c *cobra.Command, _ []string) error {
			v := versionOf()
			return a.print(c, v, fmt.Sprintf("esper-key %s, %s, %s", v.Version, v.Go, v.Platform))
		},
	})
}
