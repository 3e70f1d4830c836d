//go:build mutations

package policy

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// mutations are changes of the policy that would lose a key, renew a key twice, or leave a process without a key.
// TestExplore has to fail for each of them.
var mutations = []struct{ name, file, old, mutant string }{
	{"the store is not read", "policy.go", "case !t.Read && !t.Unread:", "case !t.Read && false:"},
	{"another stored key is not looked at", "policy.go", "\t\treturn Compare\n\n\t// Something is to be", "\t\treturn Rest\n\n\t// Something is to be"},
	{"a new key is not saved", "policy.go", "case s.unsaved() && !trouble && !t.Failed:", "case false:"},
	{"an attempt is begun with too little time", "policy.go", "case s.AttemptLength(now) == 0:", "case false:"},
	{"a renewal is sent before it is noted", "policy.go", "case begun && !t.Posted && s.journaled():", "case begun && !t.Posted:"},
	{"a renewal is sent without a store, with time left", "policy.go", "!calm && s.Proven", "(calm || !calm) && s.Proven"},
	{"what was learnt is not noted", "policy.go", "case s.owed() && !trouble:", "case false:"},
	{"one refusal is enough", "policy.go", "case t.Refused && t.Twice && ", "case t.Refused && "},
	{"given up while the store cannot be read", "policy.go", "t.Twice && !t.Unread &&", "t.Twice &&"},
	{"given up while a renewal may be under way", "policy.go", "!t.Unread && !s.Busy(now):", "!t.Unread:"},
	{"a key of doubt is not checked", "policy.go", "t.Check || s.doubtful(now)):", "t.Check):"},
	{"somebody's renewal under way is not waited for", "policy.go", "case s.Busy(now):", "case false:"},
	{"renewed too early", "policy.go", "case !s.due(t, now), s.ReadOnly:", "case s.ReadOnly:"},
	{"lost is an end", "policy.go", "case s.Lost && now.Before(s.Retry) &&", "case s.Lost && !t.Read || s.Lost &&"},
	{"the second refusal may follow at once", "policy.go", "t.Twice = !o.Began.Before(s.RefusedWait)", "t.Twice = true"},
	{"after a refusal the store is not read again", "policy.go", "t.Refused, t.Read = true, false", "t.Refused = true"},
	{"a check from before an attempt's end counts", "policy.go", "if !o.Began.Before(s.Quiet) {", "if true {"},
	{"a check counts from its end, not its begin", "policy.go", "if !o.Began.Before(s.Quiet) {", "if !now.Before(s.Quiet) {"},
	{"lost stays although the key works", "policy.go", "s.Lost, t.Refused, s.Doc.RefusedAt, s.RefusedWait = false, false", "s.Lost, t.Refused, s.Doc.RefusedAt, s.RefusedWait = s.Lost, false"},
	{"no answer counts as not renewed", "policy.go", "case o.Rejected:", "case o.Rejected || o.Doc.Key.IsZero():"},
	{"no wait after no answer", "policy.go", "s.Quiet = later(s.Quiet, now.Add(t.Begun.length()+Margin))", "s.Quiet = later(s.Quiet, now)"},
	{"a conflict is not looked into", "policy.go", "t.Read, t.Unsaved = false, t.Unsaved || t.Conflicts > maxConflicts", "t.Unsaved = t.Unsaved || t.Conflicts > maxConflicts"},
	{"a failed save is taken for none", "policy.go", "t.Read, t.Unsaved = false, true\n", "s.Stored = s.Doc\n"},
	{"a working key of another history is overwritten after one refusal", "policy.go", "case s.OtherKey != other.Key:", "case false:"},
	{"refused twice at once, it is overwritten", "policy.go", "case o.Began.Before(s.OtherWait):", "case false:"},
	{"a key that cannot be compared is overwritten", "policy.go", "t.Failed, t.Unsaved = true, t.Unsaved || !trial", "s.Stored, t.Failed = other, true"},
	{"another history is taken without asking", "loaded.go", "t.Other = d // of another history", "s.Stored = d\n\t\treturn s.take(d, now, random), t.afresh() // of another history"},
	{"another history is overwritten without asking", "loaded.go", "t.Other = d // of another history", "s.Stored = d // of another history"},
	{"an old copy wins", "loaded.go", "s.Stored, t.Unsaved = d, false // an old copy", "s.Stored = d\n\t\treturn s.take(d, now, random), t.afresh() // an old copy"},
	{"a lost key stays although the store has another", "loaded.go", "t.Other = d // any key that works is better", "s.Stored = d"},
	{"a key that a renewal has replaced is adopted", "loaded.go", "case d.Key == given.Key, !s.Lost && (d.Replaced(given.Key) || s.Doc.Replaced(given.Key)):", "case d.Key == given.Key:"},
	{"somebody else's attempt does not stop one's own", "loaded.go", "t.Begun = Attempt{} // somebody else was faster", "s.Doc.Attempt = t.Begun"},
	{"somebody else's attempt is overlooked", "state.go", "s.Seen = a.ID\n\t\ts.Quiet = ", "s.Seen = a.ID\n\t\t_ = "},
	{"a wait ends by somebody else's clock", "state.go", "now.Add(a.length()+Margin))", "a.Until.Add(Margin))"},
	{"every attempt is taken for one's own", "state.go", "return strings.HasPrefix(a.ID, s.Me)", "return strings.HasPrefix(a.ID, \"\")"},
	{"an attempt of long ago needs no check", "state.go", "s.Quiet = now // it is over", "s.Quiet = time.Time{} // it is over"},
	{"what others have noted is lost", "document.go", "	merged := theirs\n", "	merged := ours\n"},
	{"a successor is not told from its predecessor", "document.go", "next.Lineage, next.Serial, next.Initial = d.Lineage, d.Serial+1, d.Initial", "next.Lineage, next.Serial, next.Initial = d.Lineage, d.Serial, d.Initial\n\td.Key, d.Predecessors = wire.Secret{}, \"\"\n\tbefore = nil"},
	{"a new key is not taken into use", "policy.go", "s = s.take(next, now, o.Random)\n\t\tt.Patience", "t.Patience"},
	{"a program that ends drops a new key", "state.go", "t.Given.Key.IsZero() && !s.unsaved() &&", "t.Given.Key.IsZero() &&"},
	{"a program that ends leaves its attempt behind", "state.go", " && (!s.owed() || t.trouble())\n", "\n"},
	{"a program that ends begins a renewal", "policy.go", "case t.Stop && idle:", "case t.Stop && idle && t.Probed:"},
	{"what a failed adoption read counts as known", "loaded.go", "\t\t\tt.Found = d\n", "\t\t\tt.Found, s.Stored = d, d\n"},
	{"an initial key is never tried", "policy.go", "case s.Lost && !t.Failed && !s.Initial.Key.IsZero():", "case false:"},
}

// TestMutations applies each mutation, one at a time, and checks that TestExplore fails.
func TestMutations(t *testing.T) {
	folder, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	slots := make(chan struct{}, 2)
	for _, m := range mutations {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			slots <- struct{}{}
			defer func() { <-slots }()
			source, err := os.ReadFile(m.file)
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(source), m.old); n != 1 {
				t.Fatalf("%q is in %s %d times, want once", m.old, m.file, n)
			}
			mutant, overlay := filepath.Join(t.TempDir(), "mutant.go"), filepath.Join(t.TempDir(), "overlay.json")
			replace, _ := json.Marshal(map[string]map[string]string{"Replace": {filepath.Join(folder, m.file): mutant}})
			if err := os.WriteFile(mutant, []byte(strings.Replace(string(source), m.old, m.mutant, 1)), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(overlay, replace, 0o600); err != nil {
				t.Fatal(err)
			}
			// Visit few states of each configuration first: they are enough for most mutations, and a configuration that
			// does not find the mutation takes long.
			var out []byte
			for _, limit := range []string{"EXPLORE_STATES=2000", "EXPLORE_STATES=20000", "EXPLORE_STATES=100000"} {
				child := exec.CommandContext(t.Context(), "go", "test", "-overlay", overlay, "-vet=off", "-count=1", "-failfast", "-parallel=1", "-run=^TestExplore$", ".")
				child.Env = append(os.Environ(), "GOMAXPROCS=2", "EXPLORE_FIRST=1", limit)
				if out, err = child.CombinedOutput(); err != nil {
					break
				}
			}
			if err == nil || !strings.Contains(string(out), " is violated:") {
				t.Errorf("TestExplore does not find the mutation: %v\n%.3000s", err, out)
				return
			}
			t.Logf("%s", out)
		})
	}
}
