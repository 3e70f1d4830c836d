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
	{"the store is not read", "policy.go", "case t.Read == Unread:", "case t.Read == Unread && false:"},
	{"another stored key is not looked at", "policy.go", "\tcase other:\n\t\treturn Compare", "\tcase other:\n\t\treturn Rest"},
	{"a refused key of another history is overwritten without asking about ours", "policy.go", "case other && t.OtherRefused:\n\t\treturn Probe", "case other && t.OtherRefused:\n\t\treturn Save"},
	{"an attempt is begun with too little time", "policy.go", "case s.doubtful(now), s.AttemptLength(now) == 0:", "case s.doubtful(now):"},
	{"a renewal is sent before it is noted", "policy.go", "case begun && s.Saved() && s.Stored.Attempt == t.Begun, begun", "case begun, begun"},
	{"a renewal is sent without a store, with time left", "policy.go", "begun && !now.Before(s.Mandatory()) && s.Proven", "begun && s.Proven"},
	{"what was learnt is not noted", "policy.go", "case s.owed() && !trouble:", "case s.Unsaved() && !trouble:"},
	{"one refusal is enough", "policy.go", "t.Said = RefusedTwice\n", "t.Said = RefusedTwice\n\t\t}\n\t\tif true {\n\t\t\tt.Said = RefusedTwice\n"},
	{"given up while the store cannot be read", "policy.go", "t.Read == Read && s.Saved()", "s.Saved()"},
	{"given up while a renewal may be under way", "policy.go", "s.Saved() && !s.Busy(now) &&", "s.Saved() &&"},
	{"given up while a key set aside was not refused twice", "policy.go", "t.Aside > len(s.Doc.Aside()))", "t.Aside >= 0)"},
	{"a key of doubt is not checked", "policy.go", "|| !pause && s.doubtful(now)):", "):"},
	{"somebody's renewal under way is not waited for", "policy.go", "\tcase s.Busy(now):\n\t\treturn Rest\n", "\tcase false:\n\t\treturn Rest\n"},
	{"renewed too early", "policy.go", "case pause, s.ReadOnly, !s.due(t, now):", "case pause, s.ReadOnly:"},
	{"a check from before an attempt's end counts", "policy.go", "if !o.Began.Before(s.AttemptOver) {", "if true {"},
	{"after a refusal the store is not read again", "policy.go", "t.Said, t.Read = Refused, Unread", "t.Said = Refused"},
	{"no answer counts as not renewed", "policy.go", "case o.Rejected:", "case o.Rejected || o.Doc.Key.IsZero():"},
	{"no wait after no answer", "policy.go", "s.AttemptOver = later(s.AttemptOver, now.Add(t.Begun.length()+Margin))", "s.AttemptOver = later(s.AttemptOver, now)"},
	{"a failed save is taken for none", "policy.go", "\t\tt.Read, t.Saves = Unread, maxConflicts+1\n", "\t\ts.Stored = s.Doc\n"},
	{"an answer is dropped", "policy.go", "\t\t\ts.Doc.Answer = o.Answer\n", "\t\t\t_ = o.Answer\n"},
	{"another history is taken without asking", "loaded.go", "\t\tt.Other = d\n", "\t\ts.Stored = d\n\t\treturn s.take(d, now, random), t.afresh()\n"},
	{"an emptied store is not refilled", "loaded.go", "\t\t\ts.Stored, t.Saves = d, 0\n", "\t\t\tt.Saves = 0\n"},
	{"what is replaced is not set aside", "loaded.go", "s.Stored, s.Doc = other, s.Doc.setAside(other)", "s.Stored = other"},
	{"both are refused, and ours is dropped", "loaded.go", "refused := other.setAside(s.Doc)", "refused := other"},
	{"a key set aside is dropped after one refusal", "loaded.go", "\t\tcase o.Began.Before(s.AsideWait):\n", "\t\tcase false:\n"},
	{"a key set aside is renewed at once", "loaded.go", "\t\td.Attempt = Attempt{ID: d.Lineage", "\t\t_ = Attempt{ID: d.Lineage"},
	{"an answer is dropped at a merge", "document.go", "\tif theirs.Answer.IsZero() {\n\t\tmerged.Answer = ours.Answer\n\t}\n", ""},
	{"somebody else's attempt is overlooked", "state.go", "s.AttemptOver = later(s.AttemptOver, now.Add(a.length()+Margin))", "_ = later"},
	{"a wait ends by somebody else's clock", "state.go", "now.Add(a.length()+Margin))", "a.Until.Add(Margin))"},
	{"what others have noted is lost", "document.go", "\tmerged := theirs\n", "\tmerged := ours\n"},
	{"a program that ends drops what is not saved", "state.go", "t.Given.Key.IsZero() && !s.Unsaved() &&", "t.Given.Key.IsZero() &&"},
	{"a program that ends begins a renewal", "policy.go", "case begun, t.Stop:", "case begun:"},
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
