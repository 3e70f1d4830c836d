//go:build mutations

package policy

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// mutations are changes of the policy that would lose a key, renew a key twice, or leave a process without a key.
// TestExplore has to fail for each of them. where, if given, is the configuration that finds the mutation soonest.
var mutations = []struct{ name, file, old, mutant, where string }{
	{"the store is not read", "policy.go", "case t.Read == Unread:", "case t.Read == Unread && false:", ""},
	{"another stored key is not looked at", "policy.go", "\tcase other:\n\t\treturn Compare", "\tcase other:\n\t\treturn Rest", ""},
	{"a refused key of another history is overwritten without asking about ours", "policy.go", "case other && t.OtherRefused:\n\t\treturn Probe", "case other && t.OtherRefused:\n\t\treturn Save", ""},
	{"an attempt is begun with too little time", "policy.go", "case s.doubtful(now), s.AttemptLength(now) == 0:", "case s.doubtful(now):", ""},
	{"a renewal is sent before it is noted", "policy.go", "case begun && s.Saved() && s.Stored.Attempt == t.Begun:", "case begun:", ""},
	{"a renewal is sent without a store, with time left", "policy.go", "begun && !now.Before(s.Mandatory()) && s.Proven", "begun && s.Proven", ""},
	{"what was learnt is not noted", "policy.go", "case s.owed() && !trouble:", "case s.Unsaved() && !trouble:", ""},
	{"one refusal is enough", "policy.go", "t.Said = RefusedTwice\n", "t.Said = RefusedTwice\n\t\t}\n\t\tif true {\n\t\t\tt.Said = RefusedTwice\n", ""},
	{"given up while the store cannot be read", "policy.go", "t.Read == Read && s.Saved()", "s.Saved()", ""},
	{"given up while a renewal may be under way", "policy.go", "s.Saved() && !s.Busy(now) &&", "s.Saved() &&", ""},
	{"given up while a key set aside was not refused twice", "policy.go", "t.Aside > len(s.Doc.Aside()))", "t.Aside >= 0)", ""},
	{"a key of doubt is not checked", "policy.go", "|| !pause && s.doubtful(now)):", "):", ""},
	{"somebody's renewal under way is not waited for", "policy.go", "\tcase s.Busy(now):\n\t\treturn Rest\n", "\tcase false:\n\t\treturn Rest\n", ""},
	{"renewed too early", "policy.go", "case pause, s.ReadOnly, !s.due(t, now):", "case pause, s.ReadOnly:", ""},
	{"a check from before an attempt's end counts", "policy.go", "if !o.Began.Before(s.AttemptOver) {", "if true {", ""},
	{"after a refusal the store is not read again", "policy.go", "t.Said, t.Read = Refused, Unread", "t.Said = Refused", ""},
	{"no answer counts as not renewed", "policy.go", "case o.Rejected:", "case o.Rejected || o.Doc.Key.IsZero():", ""},
	{"no wait after no answer", "policy.go", "s.AttemptOver = later(s.AttemptOver, now.Add(t.Begun.length()+Margin))", "s.AttemptOver = later(s.AttemptOver, now)", ""},
	{"a failed save is taken for none", "policy.go", "\t\tt.Read, t.Saves = Unread, maxConflicts+1\n", "\t\ts.Stored = s.Doc\n", ""},
	{"an answer is dropped", "policy.go", "\t\t\ts.Doc.Answer = o.Answer\n", "\t\t\t_ = o.Answer\n", ""},
	{"another history is taken without asking", "loaded.go", "\t\tt.Other = d\n", "\t\ts.Stored = d\n\t\treturn s.take(d, now, random), t.afresh()\n", ""},
	{"an emptied store is not refilled", "loaded.go", "\t\t\ts.Stored, t.Saves = d, 0\n", "\t\t\tt.Saves = 0\n", ""},
	{"what is replaced is not set aside", "loaded.go", "s.Stored, s.Doc = other, s.Doc.setAside(other)", "s.Stored = other", ""},
	{"both are refused, and ours is dropped", "loaded.go", "refused := other.setAside(s.Doc)", "refused := other", ""},
	{"a key set aside is dropped after one refusal", "loaded.go", "\t\tcase o.Began.Before(s.AsideWait):\n", "\t\tcase false:\n", ""},
	{"a key set aside is renewed at once", "loaded.go", ".unsure(o.Began)", "", ""},
	{"a key set aside that a person gives is renewed at once", "loaded.go", "t.Given = given.unsure(now)", "_ = given.unsure(now)", ""},
	{"a store that failed is not tried again after a renewal", "policy.go", "\t\tt.Read, t.Saves = Unread, 0 // the store", "\t\t// the store", ""},
	{"an answer is dropped at a merge", "document.go", "\tif theirs.Answer.IsZero() {\n\t\tmerged.Answer = ours.Answer\n\t}\n", "", ""},
	{"somebody else's attempt is overlooked", "state.go", "s.AttemptOver = later(s.AttemptOver, now.Add(a.length()+Margin))", "_ = later", ""},
	{"a wait ends by somebody else's clock", "state.go", "now.Add(a.length()+Margin))", "a.Until.Add(Margin))", ""},
	{"what others have noted is lost", "document.go", "\tmerged := theirs\n", "\tmerged := ours\n", ""},
	{"a program that ends drops what is not saved", "state.go", "t.Given.Key.IsZero() && !s.Unsaved() &&", "t.Given.Key.IsZero() &&", ""},
	{"a program that ends begins a renewal", "policy.go", "case begun, t.Stop:", "case begun:", ""},
}

// equivalent holds the mutations that mutants makes and that no exploration can notice, each with the reason.
var equivalent = map[string]string{}

// mutant is a change of one place of a file.
type mutant struct {
	name, file string
	from, to   int // the bytes of the file that text replaces
	text       string
}

// mutants makes changes of every switch, condition, comparison and assignment of the functions that decide. It swaps two
// neighbouring cases, drops one operand of &&, takes < for <= and > for >=, and forgets an assignment.
func mutants(t *testing.T, file string, functions ...string) (all []mutant) {
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, file, source, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	at := func(p token.Pos) int { return files.Position(p).Offset }
	text := func(n ast.Node) string { return string(source[at(n.Pos()):at(n.End())]) }
	names := map[string]int{}
	add := func(n ast.Node, to, replacement, format string, args ...any) {
		name := fmt.Sprintf(format, args...)
		if names[name]++; names[name] > 1 {
			name += fmt.Sprint(", ", names[name])
		}
		all = append(all, mutant{name, file, at(n.Pos()), at(n.Pos()) + len(to), replacement})
	}
	for _, d := range parsed.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || !slices.Contains(functions, f.Name.Name) {
			continue
		}
		in := f.Name.Name
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SwitchStmt:
				for i := 1; n.Tag == nil && i < len(n.Body.List); i++ {
					a, b := n.Body.List[i-1].(*ast.CaseClause), n.Body.List[i].(*ast.CaseClause)
					if len(b.List) > 0 { // the place of default makes no difference
						both := string(source[at(a.Pos()):at(b.End())])
						add(a, both, text(b)+"\n"+text(a)+"\n", "%s: case %s after case %s", in, text(a.List[0]), text(b.List[0]))
					}
				}
			case *ast.BinaryExpr:
				change := map[token.Token]string{token.LSS: "<=", token.LEQ: "<", token.GTR: ">=", token.GEQ: ">"}[n.Op]
				if change != "" {
					add(n, text(n), text(n.X)+change+text(n.Y), "%s: %s for %s in %s", in, change, n.Op, text(n))
				}
				if n.Op != token.LAND {
					break
				}
				add(n, text(n), text(n.X), "%s: %s, without %s", in, text(n.X), text(n.Y))
				if x, chain := n.X.(*ast.BinaryExpr); !chain || x.Op != token.LAND {
					add(n, text(n), text(n.Y), "%s: %s, without %s", in, text(n.Y), text(n.X))
				}
			case *ast.AssignStmt:
				if _, field := n.Lhs[0].(*ast.SelectorExpr); field && n.Tok == token.ASSIGN {
					add(n, text(n), "{}", "%s: without %s", in, text(n))
				}
			}
			return true
		})
	}
	return all
}

// TestMutations applies each mutation, one at a time, and checks that TestExplore fails.
func TestMutations(t *testing.T) {
	for _, m := range mutations {
		source, err := os.ReadFile(m.file)
		if n := strings.Count(string(source), m.old); err != nil || n != 1 {
			t.Fatalf("%q is in %s %d times, want once; %v", m.old, m.file, n, err)
		}
		from := strings.Index(string(source), m.old)
		run(t, mutant{m.name, m.file, from, from + len(m.old), m.mutant}, m.where)
	}
	made := slices.Concat(
		mutants(t, "policy.go", "Decide", "losable", "saved", "probed", "posted"),
		mutants(t, "loaded.go", "loaded", "compared", "settle", "comparedAside"),
	)
	unknown := maps.Clone(equivalent)
	for _, m := range made {
		if delete(unknown, m.name); equivalent[m.name] == "" {
			run(t, m, "")
		}
	}
	for name := range unknown {
		t.Errorf("no mutation is named %q any more", name)
	}
}

var slots = make(chan struct{}, 2)

func run(t *testing.T, m mutant, where string) {
	t.Run(m.name, func(t *testing.T) {
		t.Parallel()
		slots <- struct{}{}
		defer func() { <-slots }()
		source, err := os.ReadFile(m.file)
		if err != nil {
			t.Fatal(err)
		}
		original, err := filepath.Abs(m.file)
		if err != nil {
			t.Fatal(err)
		}
		folder := t.TempDir()
		changed, overlay, program := filepath.Join(folder, "mutant.go"), filepath.Join(folder, "overlay.json"), filepath.Join(folder, "test")
		replace, _ := json.Marshal(map[string]map[string]string{"Replace": {original: changed}})
		if err := os.WriteFile(changed, []byte(string(source[:m.from])+m.text+string(source[m.to:])), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(overlay, replace, 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.CommandContext(t.Context(), "go", "test", "-c", "-overlay", overlay, "-vet=off", "-o", program, ".").CombinedOutput(); err != nil {
			t.Skipf("it does not compile: %s", out)
		}
		// Visit few states of each configuration first: they are enough for most mutations, and a configuration that
		// does not find the mutation takes long.
		tries := [][]string{{"^TestExplore$", "2000", "1000"}, {"^TestExplore$", "20000", "10000"}, {"^TestExplore$", "100000", "100000"}}
		if where != "" {
			tries = append([][]string{{"^TestExplore$/^" + strings.ReplaceAll(where, " ", "_") + "$", "1000000", "100000"}}, tries...)
		}
		for _, try := range tries {
			child := exec.CommandContext(t.Context(), program, "-test.failfast", "-test.timeout=5m", "-test.run="+try[0])
			child.Env = append(os.Environ(), "GOMAXPROCS=1", "GOGC=800", "EXPLORE_FIRST=1", "EXPLORE_STATES="+try[1], "EXPLORE_STEPS="+try[2])
			if out, err := child.CombinedOutput(); err != nil {
				t.Logf("with %s states: %s", try[1], regexp.MustCompile(`FAIL: TestExplore/.*|then: .*|panic: .*`).FindAll(out, -1))
				return
			}
		}
		t.Error("TestExplore does not find the mutation")
	})
}
