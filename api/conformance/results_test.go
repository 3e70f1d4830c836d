//go:build conformance

package conformance

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// finding is what a client got wrong in a scenario.
type finding struct {
	problem  string
	scenario scenario
}

// row returns the line of RESULTS.md about the client.
func (c *client) row() string {
	return fmt.Sprintf("| %s | %s | %s | %s |\n", c.Language, c.Title, c.from(), listed(c.found, "all well"))
}

// repeats is the line of RESULTS.md about what the client does by itself, and about the setting against it.
func (c *client) repeats() string {
	setting := "none is needed"
	if c.Once != "" {
		setting = "`" + c.Once + "`"
	}
	return "| " + c.Language + " | " + c.Title + " | " + listed(c.habits, "once") + " | " + setting + " |\n"
}

// listed returns each problem, and the scenarios in which the client has it.
func listed(found []finding, none string) string {
	var problems []string
	scenarios := map[string][]string{}
	for _, f := range found {
		if scenarios[f.problem] == nil {
			problems = append(problems, f.problem)
		}
		if list := scenarios[f.problem]; !slices.Contains(list, f.scenario.Name) {
			scenarios[f.problem] = append(list, f.scenario.Name)
		}
	}
	for i, problem := range problems {
		problems[i] = "**" + problem + "**: " + strings.Join(scenarios[problem], "; ")
	}
	return cmp.Or(strings.Join(problems, "<br>"), none)
}

func (c *client) from() string {
	switch {
	case c.Generate == "":
		return "not generated"
	case c.spec == vendorSpec:
		return "Esper's own description"
	}
	return "`" + c.spec + "`"
}

// results puts what was found into the page: how many scenarios there are, the tables, and how the clients are made.
func results(page string, clients []*client, scenarios int) string {
	rows, repeats, made, language := "", "", "", ""
	for _, c := range clients {
		rows += c.row()
	}
	rows += "\n"
	for _, c := range clients {
		if c.Operations != nil {
			rows += fmt.Sprintf("%s (%s) is asked for %s only.\n", c.Title, c.from(), strings.Join(c.Operations, " and "))
		}
		if c.spec != c.Specs[0] {
			continue
		}
		repeats += c.repeats()
		if language != c.Language {
			language = c.Language
			made += fmt.Sprintf("\n### %s\n", language)
		}
		made += fmt.Sprintf("\n**%s**: %s.", c.Title, c.Versions)
		if c.About != "" {
			made += " " + c.About
		}
		if c.Generate != "" {
			made += fmt.Sprintf("\n\n```sh\n%s\n```", c.Generate)
		}
		made += "\n"
	}
	page = regexp.MustCompile(`\d+ scenarios of`).ReplaceAllString(page, fmt.Sprintf("%d scenarios of", scenarios))
	for _, part := range [][3]string{
		{" | result |\n|---|---|---|---|\n", rows, "\n## Renewals that got no answer\n"},
		{" | setting |\n|---|---|---|---|\n", repeats, "\nEsper's own command line client"},
	} {
		above, rest, _ := strings.Cut(page, part[0])
		_, below, _ := strings.Cut(rest, part[2])
		page = above + part[0] + part[1] + part[2] + below
	}
	const last = "\n## How they are made\n"
	above, _, _ := strings.Cut(page, last)
	return above + last + made
}
