//go:build conformance

package conformance

import (
	"fmt"
	"slices"
	"strings"
)

// finding is what a client got wrong in a scenario.
type finding struct {
	problem  string
	scenario scenario
}

// row returns the line of RESULTS.md about the client: each problem, and the scenarios in which the client has it.
func (c *client) row() string {
	var problems []string
	scenarios := map[string][]string{}
	for _, f := range c.found {
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
	if len(problems) == 0 {
		problems = []string{"all well"}
	}
	return fmt.Sprintf("| %s | %s | %s | %s |\n", c.Language, c.Title, c.from(), strings.Join(problems, "<br>"))
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

func results(clients []*client, scenarios int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Clients in other languages\n\n"+
		"For whoever writes in another language: which client to take. Each calls a server with the answers of the real one, in the\n"+
		"%d scenarios of `scenarios.json`: all operations, with every shape of their answers, every error, and what proxies send.\n"+
		"Nobody here has seen an answer about personal access tokens: the scenarios have what Esper declares, and other shapes. \"All\n"+
		"well\" means that the client showed everything that was sent, and sent no renewal twice. Else the scenarios stand here in which\n"+
		"it did not. Made by `make conformance-all`; not to be edited.\n\n"+
		"| language | client | made from | result |\n|---|---|---|---|\n", scenarios)
	for _, c := range clients {
		b.WriteString(c.row())
	}
	b.WriteString("\n")
	for _, c := range clients {
		if c.Operations != nil {
			fmt.Fprintf(&b, "%s (%s) is asked for %s only.\n", c.Title, c.from(), strings.Join(c.Operations, " and "))
		}
	}
	b.WriteString("\n## Renewals that got no answer\n\n" +
		"A renewal whose connection breaks may have replaced the key. A second one then fails, or replaces the new key, and either way\n" +
		"nobody has the key that counts. Many HTTP libraries send a request again by themselves, PUT above all. This is what each client\n" +
		"does as it comes, and the setting that makes it send a renewal once. The programs here have the setting.\n\n" +
		"| language | client | as it comes | setting |\n|---|---|---|---|\n")
	for _, c := range clients {
		if c.spec == c.Specs[0] {
			b.WriteString(c.repeats())
		}
	}
	b.WriteString("\nEsper's own command line client, espercli 0.0.17, configures itself, shows the token, renews it, and is refused with the old\n" +
		"one (`TestVendorCLI`).\n\n## How they are made\n")
	language := ""
	for _, c := range clients {
		if c.spec != c.Specs[0] {
			continue
		}
		if language != c.Language {
			language = c.Language
			fmt.Fprintf(&b, "\n### %s\n", language)
		}
		fmt.Fprintf(&b, "\n**%s**: %s.", c.Title, c.Versions)
		if c.About != "" {
			b.WriteString(" " + c.About)
		}
		if c.Generate != "" {
			fmt.Fprintf(&b, "\n\n```sh\n%s\n```", c.Generate)
		}
		b.WriteString("\n")
	}
	return b.String()
}
