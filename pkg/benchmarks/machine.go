package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

// facts says what the figures hold for.
func facts(a amounts, py python) [][2]string {
	method := fmt.Sprintf("paired: %d shuffled blocks of %d calls; throughput: %d shuffled rounds in fresh processes", a.blocks, a.calls, a.rounds)
	if a.isShort {
		method = "**a short run, which only proves that everything runs**; " + method
	}
	list := [][2]string{
		{"Date", time.Now().UTC().Format(time.DateOnly)},
		{"Machine", fmt.Sprintf("%s, %d cores (GOMAXPROCS %d), %s", processor(), runtime.NumCPU(), runtime.GOMAXPROCS(0), system())},
		{"Go", runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH},
		{"Peers", strings.Join(versions(), ", ")},
	}
	if py != "" {
		requirements, _ := os.ReadFile(pythonRequirements) // newPython has read it
		list = append(list, [2]string{"Python", strings.Join(strings.Fields(string(requirements)), ", ")})
	}
	return append(list, [2]string{"Method", method + "; intervals hold 95 % of the bootstrapped medians"})
}

func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo") // missing elsewhere
	for line := range strings.Lines(string(text)) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

func system() string {
	text, _ := os.ReadFile("/proc/sys/kernel/osrelease") // missing elsewhere
	return strings.TrimSpace(runtime.GOOS + " " + string(text))
}

// versions are those of the modules that this program links.
func versions() (list []string) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return nil
	}
	for _, m := range info.Deps {
		switch m.Path {
		case "github.com/oapi-codegen/runtime", "github.com/ogen-go/ogen", "github.com/go-faster/jx", "go.opentelemetry.io/otel",
			"github.com/go-resty/resty/v2", "resty.dev/v3", "golang.org/x/oauth2":
			list = append(list, m.Path+" "+m.Version)
		}
	}
	return list
}
