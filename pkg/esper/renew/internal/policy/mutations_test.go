//go:build mutations

package policy

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// mutations are changes of the policy that would lose a key, renew a key twice, or leave a process without a key.
// TestExplore has to fail for each of them.
var mutations = []struct{ name, file, old, mutant string }{
	{"the store is not read", "policy.go", "case !t.Read:", "case !t.Read && false:"},
	{"another stored key is not looked at", "policy.go", "\tcase other:\n\t\treturn Compare", "\tcase other:\n\t\treturn Rest"},
	{"a refused key of another history is overwritten, whatever the server says of ours", "loaded.go", "case t.Said == Accepted: // ours replaces", "case true: // ours replaces"},
	{"an attempt is begun with too little time", "policy.go", "case s.doubtful(now), s.AttemptLength(now) == 0:", "case s.doubtful(now):"},
	{"a renewal is sent before it is noted", "policy.go", "case begun && s.Stored.Attempt == t.Begun:", "case begun:"},
	{"a renewal is sent without a store, with time left", "policy.go", "begun && !now.Before(s.Mandatory()) && s.Proven", "begun && s.Proven"},
	{"what was learnt is not noted", "policy.go", "case s.owed() && !trouble:", "case s.Unsaved() && !trouble:"},
	{"one refusal is enough", "evolve.go", "t.Said = RefusedTwice\n", "t.Said = RefusedTwice\n\t\t}\n\t\tif true {\n\t\t\tt.Said = RefusedTwice\n"},
	{"given up while the store cannot be read", "policy.go", "!t.trouble() && !s.Busy(now)", "!s.Busy(now)"},
	{"given up while a renewal may be under way", "policy.go", "!s.Busy(now) && (s.Doc", "(s.Doc"},
	{"given up while a key set aside was not refused twice", "policy.go", "t.Aside > len(s.Doc.Aside()))", "t.Aside >= 0)"},
	{"a key of doubt is not checked", "policy.go", "|| !pause && s.doubtful(now)):", "):"},
	{"somebody's renewal under way is not waited for", "policy.go", "\tcase s.Busy(now):\n\t\treturn Rest\n", "\tcase false:\n\t\treturn Rest\n"},
	{"renewed too early", "policy.go", "case pause, s.ReadOnly, !s.due(t, now):", "case pause, s.ReadOnly:"},
	{"a check from before an attempt's end counts", "evolve.go", "if !o.Began.Before(s.AttemptOver) {", "if true {"},
	{"after a refusal the store is not read again", "evolve.go", "t.Said, t.Read = Refused, false", "t.Said = Refused"},
	{"no answer counts as not renewed", "evolve.go", "case o.Rejected:", "case o.Rejected || o.Doc.Key.IsZero():"},
	{"no wait after no answer", "evolve.go", "s.AttemptOver = latest(s.AttemptOver, now.Add(t.Begun.length()+Margin))", "s.AttemptOver = latest(s.AttemptOver, now)"},
	{"a failed save is taken for none", "evolve.go", "\t\tt.Read, t.Saves = false, maxConflicts+1\n", "\t\ts.Stored = s.Doc\n"},
	{"a save that failed is repeated at once", "evolve.go", "\t\tt.Read, t.Saves = false, maxConflicts+1\n", "\t\t_ = maxConflicts\n"},
	{"an answer is dropped", "evolve.go", "\t\t\ts.Doc.Answer = o.Answer\n", "\t\t\t_ = o.Answer\n"},
	{"a dead key replaces one that a person gave again", "loaded.go", "ours.after(d) && (d.Lineage == ours.Lineage || t.Said == Accepted)", "ours.after(d)"},
	{"an old copy is taken", "loaded.go", ", ours.after(d) && (d.Lineage == ours.Lineage || t.Said == Accepted)", ""},
	{"another history is taken without asking", "loaded.go", "\t\tt.Other = d\n", "\t\ts.Stored = d\n\t\ts.take(t, d, now, o.Random)\n"},
	{"an emptied store is not refilled", "loaded.go", "s.Stored, s.Doc, s.AsideWait = d, s.Doc.setAside(d), time.Time{}", "s.Doc, s.AsideWait = s.Doc.setAside(d), time.Time{}"},
	{"a comparison goes on with what the store held before", "loaded.go", "\tt.Read, t.Other = true, Document{}\n", "\tt.Read = true\n"},
	{"what is replaced is not set aside", "loaded.go", "s.Stored, s.Doc, s.AsideWait = d, s.Doc.setAside(d), time.Time{}", "s.Stored, s.AsideWait = d, time.Time{}"},
	{"both are refused, and ours is dropped", "loaded.go", "s.take(t, other.setAside(s.Doc), now, o.Random)", "s.take(t, other, now, o.Random)"},
	{"a key set aside is dropped after one refusal", "loaded.go", "\tcase o.Began.Before(s.AsideWait):\n", "\tcase false:\n"},
	{"a key set aside is renewed at once", "loaded.go", ".unsure(o.Began)", ""},
	{"a key set aside that a person gives is renewed at once", "loaded.go", "t.Given = given.unsure(now)", "_ = given.unsure(now)"},
	{"a store that failed is not tried again after a renewal", "evolve.go", "\t\tt.Read, t.Saves = false, 0 // the store", "\t\t// the store"},
	{"an answer is dropped at a merge", "loaded.go", "added, next := s.Stored, s.Doc, s.Doc, o.Doc\n", "added, next := s.Stored, s.Doc, s.Doc, o.Doc\n\tadded.Answer = wire.Secret{}\n"},
	{"somebody else's attempt is overlooked", "state.go", "s.AttemptOver = latest(s.AttemptOver, now.Add(a.length()+Margin))", "_ = latest(s.AttemptOver)"},
	{"a wait ends by somebody else's clock", "state.go", "now.Add(a.length()+Margin))", "a.Until.Add(Margin))"},
	{"what others have noted is lost", "loaded.go", "s.Stored, s.Doc, s.Fresh = o.Doc, next.setAside(added), false", "s.Stored, s.Fresh = o.Doc, false"},
	{"a program that ends drops what is not saved", "state.go", "t.Given.Key.IsZero() && !s.Unsaved() &&", "t.Given.Key.IsZero() &&"},
	{"a program that ends begins a renewal", "policy.go", "case begun, t.Stop:", "case begun:"},
}

// equivalent holds the mutations made by a program that break no rule, and the reason.
var equivalent = []struct{ mutation, reason string }{
	// Both conditions are never true together.
	{"Decide: case begun && s.Stored.Attempt == t.Begun before case given", "a key that a person gave is saved before an attempt begins"},
	{"Decide: case t.Ask == AskNow before case begun", "a turn with an attempt has no question left"},
	{"Decide: case t.Said == RefusedTwice && s.losable(t, now) before case t.Said >= Accepted && s.asideDue(t, now)", "a key is losable once nothing set aside is left to ask about"},
	{"Decide: case begun && !now.Before(s.Mandatory()) && s.Proven before case s.patient(now)", "a key that came a moment ago is not due"},
	{"Decide: s.Doc.Replaced(t.Given.Key) without given", "no key came from the zero key"},
	{"Decide: t.Ask == AskLast without t.Said == Nothing", "a question clears Ask"},
	{"probed: case o.Err before case o.Refused", "a refusal is no error"},
	{"posted: case o.Rejected before case !o.Doc.Key.IsZero()", "a renewal with a new key is not rejected"},

	{"loaded: case d.Key == ours.Key before case o.Err", "a read that failed has no document"},
	{"loaded: case d.after(ours) before case d.Key == ours.Key", "no key comes after itself"},
	{"asideRefused: case o.Began.Before(s.AsideWait) before case s.AsideWait.IsZero()", "no time is before the zero time"},
	{"asideRefused: case t.Said == Accepted before case o.Began.Before(s.AsideWait)", "with a key that is accepted, the ones set aside are asked about once the wait is over"},

	// The policy asks, reads or waits at another time, which no rule forbids.
	{"saved: case o.Err before case o.Conflict", "a conflict ends the turn, and the next one saves"},
	{"loaded: d.Key == given.Key without !given.Key.IsZero()", "one question more while the store is empty or cannot be read"},
	{"loaded: without t.Saves = 0", "a save that was carried out after all counts as failed"},
	{"loaded: !o.Err && !s.owed() without t.Given.Key.IsZero()", "TestAnotherInitialKey of package renew shows it: the turn does not end"},
	{"loaded: !o.Err without !s.owed()", "TestStoreDiffers shows it, and the stores of the model mend themselves"},
	{"loaded: case d.Key.IsZero() before case d.after(ours)", "a newer key is set aside, and used once the server has accepted it"},
	{"loaded: t.Said == Accepted without ours.setAside(d) == ours", "another key is set aside, and asked about then"},
	{"updated: without added.SetAside = wire.Secret{}", "a key that another process has dropped is set aside again, and asked about again"},
	{"updated: case ours.SetAside == base.SetAside before case next.SetAside == base.SetAside", "where both are the same, either is kept"},
	{"compared: works without slices.Contains(s.Doc.Aside(), ours)", "a key set aside is asked about after the next renewal"},
	{"compared: case !o.Refused && !stored && t.Said == Accepted && !o.Doc.ExpiresAt.After(s.Doc.ExpiresAt) before case o.Err", "a key set aside is asked about again after the next renewal"},
	{"compared: without t.Ask = AskNow", "a refusal is found out later: by the daily check, a request, or at the end of the key"},
	{"Decide: case !t.Read before case t.Stop && Idle(s, t)", "a program that ends reads the store once more"},
	{"Decide: case t.Failed && (other || given) before case !t.Read", "a turn that failed ends before it reads the store again"},
	{"Decide: case t.Said == Nothing && !pause && s.asideDue(t, now) before case t.Failed", "one question more in a turn that failed"},
	{"Decide: case t.Said >= Accepted && s.asideDue(t, now) before case t.Ask == AskNow", "the order of two questions"},
	{"Decide: s.asideDue(t, now) without t.Said >= Accepted", "the order of two questions"},
	{"Decide: case pause before case t.Said == Nothing && !pause && s.asideDue(t, now)", "a key set aside is asked about later"},
	{"Decide: t.Said > Accepted", "a key set aside is kept for longer"},
	{"Decide: case s.Busy(now) before case pause", "how a turn ends while another process renews"},
	{"Decide: case s.doubtful(now) before case s.Busy(now)", "a pause while another process renews"},
	{"Decide: t.Said > Refused", "whether a program that ends calls its last turn a failure"},
	{"Decide: t.Said > Refused again", "a key that was refused once is renewed, which does no harm"},
	{"Decide: trouble without !pause", "whether a turn without a store makes a pause longer"},
	{"Decide: !pause without trouble", "whether a turn without a store makes a pause longer"},
	{"probed: without t.Read = false", "a key that a person gave again is compared with its successor, and used if the server accepts both"},
	{"posted: without t.Ask = AskNow again", "a refusal is found out later: by the daily check, a request, or at the end of the key"},

	{"Decide: case other before case t.Said < Accepted && (other || given && s.Doc.Replaced(t.Given.Key))", "the order of two questions: the other key is used, and ours is set aside and asked about next"},

	// The model leaves it out, and other tests show it.
	{"Decide: case begun before case begun && !now.Before(s.Mandatory()) && s.Proven", "a renewal without a store is allowed, and not required"},
	{"loaded: without next = d.setAside(ours)", "TestSibling shows it, and the rules are content with the newest key"},
	{"updated: without base = Document{}", "TestNotedAfterAnOldCopy shows it, and the exploration with three processes"},
	{"replace: without s.Doc = s.Doc.unsure(now)", "TestComesBack shows it, and the exploration with three processes"},
	{"updated: without next.SetAside = wire.Secret{}", "TestSaveFails shows it: a key that was dropped is set aside again, and asked about again"},
	{"updated: without next.Answer = wire.Secret{}", "TestSaveFails shows it, and the model has one answer"},
	{"compared: without s.AsideWorks = works && slices.Contains(s.Doc.Aside(), ours)", "TestEndsMove shows it, and in the model no end moves"},
	{"posted: without t.Ask = AskNow", "the server of the model always says when a key ends"},
}

// mutants makes mutations of some functions. All of them are in the changed files at once, and mutant(i) in such a file
// reports whether the i-th one, counted from 1, is to happen.
type mutants struct {
	names   []string
	source  []byte
	files   *token.FileSet
	inserts map[int][2]string // by place: what is put at the end of something, and what at the beginning of something
}

func (m *mutants) at(p token.Pos) int { return m.files.Position(p).Offset }

func (m *mutants) text(n ast.Node) string { return string(m.source[m.at(n.Pos()):m.at(n.End())]) }

// name names the next mutation, and returns its number.
func (m *mutants) name(format string, args ...any) int {
	name := strings.Join(strings.Fields(fmt.Sprintf(format, args...)), " ")
	for slices.Contains(m.names, name) {
		name += " again"
	}
	m.names = append(m.names, name)
	return len(m.names)
}

// wrap puts text before and after n. What is wrapped first lies outside.
func (m *mutants) wrap(n ast.Node, before, after string) {
	begin, end := m.inserts[m.at(n.Pos())], m.inserts[m.at(n.End())]
	begin[1], end[0] = begin[1]+before, after+end[0]
	m.inserts[m.at(n.Pos())], m.inserts[m.at(n.End())] = begin, end
}

// function makes the mutations of f. They swap two neighbouring cases, drop one operand of &&, take < for <= and > for
// >=, and forget an assignment.
func (m *mutants) function(f *ast.FuncDecl) {
	in, first := f.Name.Name, map[ast.Stmt]bool{} // of an if
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.IfStmt:
			first[n.Init] = true
		case *ast.AssignStmt:
			if n.Tok == token.ASSIGN && !first[n] {
				m.wrap(n, fmt.Sprintf("if !mutant(%d) { ", m.name("%s: without %s", in, m.text(n))), " }")
			}
		case *ast.SwitchStmt:
			for i := 1; n.Tag == nil && i < len(n.Body.List); i++ {
				a, b := n.Body.List[i-1].(*ast.CaseClause), n.Body.List[i].(*ast.CaseClause)
				if len(a.List) == 0 || len(b.List) == 0 {
					continue // the place of default makes no difference
				}
				number, other := m.name("%s: case %s before case %s", in, m.text(b.List[0]), m.text(a.List[0])), ""
				for _, e := range b.List {
					other += " || " + m.text(e)
				}
				for _, e := range a.List {
					m.wrap(e, fmt.Sprintf("!(mutant(%d) && (false%s)) && (", number, other), ")")
				}
			}
		case *ast.BinaryExpr:
			if other := map[token.Token]string{token.LSS: "<=", token.LEQ: "<", token.GTR: ">=", token.GEQ: ">"}[n.Op]; other != "" {
				changed := m.text(n.X) + " " + other + " " + m.text(n.Y)
				m.wrap(n, fmt.Sprintf("(mutant(%d) && %s || ", m.name("%s: %s", in, changed), changed), ")")
			}
			drop := func(operand, rest ast.Expr) {
				m.wrap(operand, fmt.Sprintf("(mutant(%d) || ", m.name("%s: %s without %s", in, m.text(rest), m.text(operand))), ")")
			}
			if n.Op == token.LAND {
				drop(n.Y, n.X)
				if x, chain := n.X.(*ast.BinaryExpr); !chain || x.Op != token.LAND {
					drop(n.X, n.Y)
				}
			}
		}
		return true
	})
}

// file makes the mutations of the named functions of a file, and returns the changed file.
func (m *mutants) file(t *testing.T, file string, functions ...string) (changed string) {
	var err error
	if m.source, err = os.ReadFile(file); err != nil {
		t.Fatal(err)
	}
	m.files, m.inserts = token.NewFileSet(), map[int][2]string{}
	parsed, err := parser.ParseFile(m.files, file, m.source, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range parsed.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && slices.Contains(functions, f.Name.Name) {
			m.function(f)
		}
	}
	for at, b := range m.source {
		changed += m.inserts[at][0] + m.inserts[at][1] + string(b)
	}
	return changed
}

// build compiles the tests with changed files.
func build(t *testing.T, changed map[string]string) (program string) {
	folder := t.TempDir()
	replace := map[string]string{}
	for file, text := range changed {
		original, err := filepath.Abs(file)
		if err != nil {
			t.Fatal(err)
		}
		replace[original] = filepath.Join(folder, file)
		if err := os.WriteFile(replace[original], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	overlay, program := filepath.Join(folder, "overlay.json"), filepath.Join(folder, "test")
	text, _ := json.Marshal(map[string]any{"Replace": replace})
	if err := os.WriteFile(overlay, text, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "go", "test", "-c", "-overlay", overlay, "-vet=off", "-o", program, ".").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return program
}

// explored checks that TestExplore of program fails. It visits few states of each configuration first: they are enough
// for most mutations, and a configuration that does not find the mutation takes long.
func explored(t *testing.T, program string, environment ...string) {
	for _, states := range []string{"2000", "20000", "100000"} {
		child := exec.CommandContext(t.Context(), program, "-test.failfast", "-test.timeout=1h", "-test.run=^TestExplore$")
		child.Env = append(os.Environ(), "GOMAXPROCS=1", "GOGC=800", "EXPLORE_FIRST=1", "EXPLORE_STATES="+states, "EXPLORE_STEPS="+states)
		child.Env = append(child.Env, environment...)
		if out, err := child.CombinedOutput(); err != nil {
			t.Logf("with %s states: %s", states, regexp.MustCompile(`FAIL: TestExplore/.*|then: .*|panic: .*`).FindAll(out, -1))
			return
		}
	}
	t.Error("TestExplore does not find the mutation")
}

// TestMutations applies each mutation, one at a time, and checks that TestExplore fails.
func TestMutations(t *testing.T) {
	for _, m := range mutations {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			source, err := os.ReadFile(m.file)
			if n := strings.Count(string(source), m.old); err != nil || n != 1 {
				t.Fatalf("%q is in %s %d times, want once; %v", m.old, m.file, n, err)
			}
			explored(t, build(t, map[string]string{m.file: strings.Replace(string(source), m.old, m.mutant, 1)}))
		})
	}
}

// TestMutationsMade does the same with the mutations that a program makes.
func TestMutationsMade(t *testing.T) {
	m := &mutants{}
	program := build(t, map[string]string{
		"policy.go": m.file(t, "policy.go", "Decide", "losable"),
		"evolve.go": m.file(t, "evolve.go", "saved", "probed", "accepted", "posted"),
		"loaded.go": m.file(t, "loaded.go", "loaded", "updated", "replace", "compared", "asideRefused"),
		"mutant.go": `package policy

import (
	"os"
	"strconv"
)

var active, _ = strconv.Atoi(os.Getenv("MUTANT"))

func mutant(i int) bool { return i == active }
`,
	})
	explained := map[string]bool{}
	for _, e := range equivalent {
		if explained[e.mutation] = true; !slices.Contains(m.names, e.mutation) {
			t.Errorf("no mutation has the name %q", e.mutation)
		}
	}
	for i, name := range m.names {
		if !explained[name] {
			t.Run(fmt.Sprint(i+1, " ", name), func(t *testing.T) {
				t.Parallel()
				explored(t, program, fmt.Sprint("MUTANT=", i+1))
			})
		}
	}
}
