package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

type versionCmd struct {
	JSON bool `name:"json" help:"As a JSON object."`
}

// version is set by the release build.
var version = "development"

func (c *versionCmd) Run(t terminal) error {
	v := map[string]string{"version": version, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				v["revision"] = s.Value
			}
		}
	}
	if c.JSON {
		writeJSON(t.out, v)
		return nil
	}
	fmt.Fprintf(t.out, "ampoule %s (%s, %s)\n", v["version"], v["go"], v["platform"])
	return nil
}
