package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

const rootHelp = `Keep an Esper API key renewed, and hand it to programs.

An Esper API key ends after some 90 days, and Esper does not renew it.
esper-key keeps a key in a store, renews it in time, and saves each new key at
once:

  esper-key adopt    once: store the key that you made in the Esper Console
  esper-key run      for ever: keep it renewed (or "renew" from cron)
  esper-key token    whenever it is needed: print it

A renewal may end the old key at once, so all programs have to take the key
from the store. Machines that share a key have to share a store: if two stores
hold one key, a renewal in one store ends the key in the other.

Stores, for --store or ESPER_KEY_STORE:

  file:///var/lib/esper-key/key.json   ?mode=0640 lets the group read it
  postgres://user@host/database        password: PGPASSWORD, PGPASSFILE
  mysql://user@host/database           password: MYSQL_PWD; MariaDB too
  sqlite:///var/lib/esper-key/keys.db
  kubernetes://namespace/secret        as the pod's account, or by KUBECONFIG

A database on another machine is reached with TLS, or not at all. Its
certificate is checked with ?sslmode=verify-full, or with ?ssl-ca=FILE, which
has the authorities; ?sslmode=disable sends the key in plain text. The modes are
` + tlsModes + `. ?socket= is
the socket of a database on this machine.

In a SQL store, ?table= chooses the table (else esper_keys), and ?name= the row
(else default), so that one table can hold several keys. In a Secret, ?key=
chooses the entry (else key.json). ?context= chooses the context of the
KUBECONFIG.

Exit codes: 0 success; 1 failure, try again; 2 wrong usage; 3 the key is lost,
refused or missing, or cannot be renewed, and a person has to act; 130 it was
ended by Ctrl-C, 143 by SIGTERM, and so on: 128 and the number of the signal.
check uses the codes of monitoring plugins, and exec those of env(1).`

const rootExample = `  export ESPER_ENVIRONMENT=foo
  export ESPER_KEY_STORE=file:///var/lib/esper-key/key.json
  esper-key adopt
  esper-key run`

func (a *app) root() *cobra.Command {
	a.warn = func(text string) { a.tell("warning: " + text) }
	root := &cobra.Command{
		Use: "esper-key", Short: "Keep an Esper API key renewed, and hand it to programs", Long: rootHelp, Example: rootExample,
		Version: version(), SilenceErrors: true, SilenceUsage: true, Args: noArguments,
		PersistentPreRun: func(*cobra.Command, []string) { a.began = true },
		RunE:             func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	flags := root.PersistentFlags()
	for _, f := range []struct {
		to                             *string
		name, variable, standard, text string
	}{
		{&a.environment, "environment", environmentVariable, "", "the `tenant` (foo), or a base URL;\nthe default is ESPER_ENVIRONMENT"},
		{&a.store, "store", storeVariable, "", "the `URL` of the store; the default is\nESPER_KEY_STORE, which hides a password in it\nfrom other users"},
		{&a.via, "via", viaVariable, viaRenewToken, "the `way` to renew: renew-token, or its successor\npersonal-access-token, which is experimental;\nthe default is ESPER_KEY_VIA, or renew-token"},
	} {
		flags.StringVar(f.to, f.name, cmp.Or(setting(f.variable), f.standard), f.text)
		flags.Lookup(f.name).DefValue = "" // help does not show what the variable holds, which may be a password
	}
	_ = root.RegisterFlagCompletionFunc("via", cobra.FixedCompletions([]string{viaRenewToken, viaToken}, cobra.ShellCompDirectiveNoFileComp))
	root.AddCommand(a.adopt(), a.show(), a.token(), a.exec(), a.renew(), a.run(), a.check())
	for _, c := range root.Commands() {
		if c.Args == nil {
			c.Args = noArguments
		}
	}
	root.InitDefaultHelpCmd()
	help, _, _ := root.Find([]string{"help"})
	help.Args = func(_ *cobra.Command, args []string) error {
		if c, rest, err := root.Find(args); err != nil || len(rest) > 0 {
			return noArguments(c, rest)
		}
		return nil
	}
	return root
}

// noArguments refuses arguments, as cobra.NoArgs does. Its error does not repeat an argument as a whole, since that may
// be a key.
func noArguments(c *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case c.Name() == "adopt":
		return errors.New("adopt takes no key as an argument, because every user of this machine can see the arguments; " +
			"pass the key on standard input or with --key-file, and if the argument was a key, make a new one")
	case !c.HasParent():
		return fmt.Errorf("%s is no command", plainWord(args[0], "the first argument"))
	}
	return fmt.Errorf("%s takes no arguments", c.Name())
}

// oneOf adds a flag that has one of a few values, of which the first is the default.
func oneOf(c *cobra.Command, to *string, name, short, usage string, values ...string) {
	*to = values[0]
	c.Flags().FuncP(name, short, fmt.Sprintf("%s (default %q)", usage, values[0]), func(value string) error {
		if !slices.Contains(values, value) {
			return fmt.Errorf("it has to be %s", strings.Join(values, " or "))
		}
		*to = value
		return nil
	})
	_ = c.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}

// show prints lines on standard output.
func show(c *cobra.Command, lines ...string) error {
	_, err := fmt.Fprintln(c.OutOrStdout(), clean(strings.Join(lines, "\n")))
	return err
}
