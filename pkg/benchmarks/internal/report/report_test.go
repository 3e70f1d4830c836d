package report_test

import (
	"strings"
	"testing"

	"github.com/esper-go/esper-go/pkg/benchmarks/internal/report"
	"github.com/esper-go/esper-go/pkg/benchmarks/internal/stats"
)

func TestPage(t *testing.T) {
	r := &report.Report{Facts: [][2]string{{"Go", "go1.26"}}}
	r.Aim("speed", "≤ 2", report.Ratio(stats.Estimate{Median: 1.5, Low: 1.25, High: 1.75}), true)
	r.Aim("size", "≤ 1", "1.5", false)
	r.Add(report.Section{Title: "Sequential", Text: "In order.", Head: []string{"client", "µs"}, Rows: [][]string{{"a|b", report.Micros(1234)}}})
	var page strings.Builder
	r.Write(&page, "\n## Findings\n\nNone.\n\n")
	const want = `# Results

Written by ` + "`make bench`; do not edit. What is behind the figures is in `FINDINGS.md`" + `, and below.

|  |  |
|---|---|
| Go | go1.26 |

## Aims

| measure | aim | result |  |
|---|---|---|---|
| speed | ≤ 2 | 1.500 [1.250, 1.750] | met |
| size | ≤ 1 | 1.5 | **missed** |

## Findings

None.

## Sequential

In order.

| client | µs |
|---|---|
| a\|b | 1.23 |

`
	if got := page.String(); got != want {
		t.Errorf("the page is\n%s\nwant\n%s", got, want)
	}
}
