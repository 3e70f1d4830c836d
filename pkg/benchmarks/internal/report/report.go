// Package report writes figures as a page of Markdown.
package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/esper-go/esper-go/pkg/benchmarks/internal/stats"
)

// Report is the page.
type Report struct {
	Facts    [][2]string // the machine, the versions, the method
	Aims     []Aim
	Sections []Section
}

// Aim is what was hoped for, and what came of it.
type Aim struct {
	Measure, Aim, Result string
	Met                  bool
}

// Section is a table with a word about it.
type Section struct {
	Title, Text string
	Head        []string
	Rows        [][]string
}

// Add adds a section.
func (r *Report) Add(s Section) { r.Sections = append(r.Sections, s) }

// Aim adds an aim.
func (r *Report) Aim(measure, aim, result string, met bool) {
	r.Aims = append(r.Aims, Aim{measure, aim, result, met})
}

// Write writes the page. Findings is the part that is written by hand.
func (r *Report) Write(w io.Writer, findings string) {
	fmt.Fprint(w, "# Results\n\nWritten by `make bench`; do not edit. What is behind the figures is in `FINDINGS.md`, and below.\n\n")
	facts := make([][]string, len(r.Facts))
	for i, f := range r.Facts {
		facts[i] = f[:]
	}
	table(w, []string{"", ""}, facts)
	fmt.Fprint(w, "## Aims\n\n")
	aims := make([][]string, len(r.Aims))
	for i, a := range r.Aims {
		verdict := "**missed**"
		if a.Met {
			verdict = "met"
		}
		aims[i] = []string{a.Measure, a.Aim, a.Result, verdict}
	}
	table(w, []string{"measure", "aim", "result", ""}, aims)
	fmt.Fprint(w, strings.TrimSpace(findings), "\n\n")
	for _, s := range r.Sections {
		fmt.Fprintf(w, "## %s\n\n", s.Title)
		if s.Text != "" {
			fmt.Fprintf(w, "%s\n\n", s.Text)
		}
		table(w, s.Head, s.Rows)
	}
}

func table(w io.Writer, head []string, rows [][]string) {
	line := func(cells []string) {
		for _, cell := range cells {
			fmt.Fprintf(w, "| %s ", strings.NewReplacer("|", `\|`, "\n", " ").Replace(cell))
		}
		fmt.Fprintln(w, "|")
	}
	line(head)
	fmt.Fprintln(w, strings.Repeat("|---", len(head))+"|")
	for _, row := range rows {
		line(row)
	}
	fmt.Fprintln(w)
}

// Ratio prints an estimate with its interval.
func Ratio(e stats.Estimate) string {
	return fmt.Sprintf("%.3f [%.3f, %.3f]", e.Median, e.Low, e.High)
}

// Micros prints nanoseconds as microseconds.
func Micros(ns float64) string { return fmt.Sprintf("%.2f", ns/1e3) }
