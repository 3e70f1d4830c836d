package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/esper-go/esper-go/api"
)

// newDriver returns a driver with a folder of its own.
func newDriver(t *testing.T) (*driver, *bytes.Buffer) {
	t.Helper()
	var out bytes.Buffer
	return &driver{
		dir: t.TempDir(), out: &out,
		commandTime: time.Minute, answerTime: time.Minute, endTime: 30 * time.Second,
	}, &out
}

// add makes a client's folder, with fields added to what client.json has to have.
func (d *driver) add(t *testing.T, name, fault string, fields map[string]any) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]any{
		"title": "Client " + name, "language": "Go", "versions": "client 1.2.3",
		"run": []string{program, "as-client", fault},
	}
	for name, field := range fields {
		all[name] = field
	}
	b, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(d.dir, name, "client.json"), string(b))
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func scenarios(t *testing.T) []scenario {
	t.Helper()
	all, err := loadScenarios()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestClients(t *testing.T) {
	all := slices.DeleteFunc(scenarios(t), func(s scenario) bool { // the errors of one operation will do
		return s.Answer.Status >= 300 && s.operation == "getTokenInfo"
	})
	d, _ := newDriver(t)
	if err := d.buildFake(t.Context(), t.TempDir()); err != nil {
		t.Fatal(err)
	}
	has := func(status int) func(scenario) bool {
		return func(s scenario) bool { return s.Answer.Status == status }
	}
	none := func(scenario) bool { return false }
	renews := func(s scenario) bool { return s.operation == "renewToken" }
	for _, c := range []struct {
		fault   string
		fields  map[string]any
		failed  func(scenario) bool
		why     string // in each failed cell
		other   func(scenario) bool
		text    string // of the cells that other picks
		problem string
	}{
		{fault: "nothing", failed: none},
		{fault: "differs in spelling", failed: none},
		{
			fault: "has another token", failed: has(201), why: "token is ",
		},
		{
			fault: "cuts dates", why: "created_on is 20",
			failed: func(s scenario) bool {
				created, _ := s.body["created_on"].(string)
				return strings.Contains(created, ".")
			},
		},
		{
			fault: "loses faults by field", why: "errors is <nil>, want map[",
			failed: func(s scenario) bool { _, byField := s.body["errors"].(map[string]any); return byField },
		},
		{
			fault: "does not encode", why: "status 400, want 201",
			failed: func(s scenario) bool { return s.Key != "" && renews(s) },
		},
		{
			fault: "sends no key", why: "status 401, want ",
			failed: func(s scenario) bool { return s.Own },
		},
		{fault: "sends an odd id", failed: renews, why: "violation: "},
		{
			fault: "shows all as success", why: "the wrong one",
			failed: func(s scenario) bool { return s.Answer.Status >= 300 },
		},
		{fault: "takes a 500 for a 200", failed: has(500), why: "status 200, want 500"},
		{fault: "shows no header", failed: has(429), why: "retry_after is <nil>, want 2"},
		{
			fault: "shows no header", fields: map[string]any{"lacks": []string{"retry_after"}}, failed: none,
			other: has(429), text: "ok, no retry_after",
		},
		{
			fault: "nothing", fields: map[string]any{"lacks": []string{"retry_after"}}, failed: has(429),
			why: "client.json says that the client lacks it",
		},
		{
			fault: "nothing", fields: map[string]any{"only": []string{"getTokenInfo"}}, failed: none,
			other: renews, text: "–",
		},
		{fault: "ends at a 403", failed: has(403), why: "the program ended"},
		{fault: "prints at a 401", failed: has(401), why: `this is no answer: "Unauthorized!"`},
		{fault: "misspells a 401", failed: has(401), why: "this is no answer: "},
		{fault: "ends badly", failed: none, problem: "the program ended badly: exit status 5"},
		{
			fault: "answers twice", failed: func(s scenario) bool { return has(500)(s) && renews(s) },
			why: "status 0, want 500", problem: "the program answered unasked",
		},
	} {
		name := strings.ReplaceAll(strings.TrimSuffix(c.fault+" "+strings.Join(keys(c.fields), " "), " "), " ", "-")
		t.Run(name, func(t *testing.T) {
			d.add(t, name, c.fault, c.fields)
			col := d.tryNamed(t, name, all)
			if (c.problem == "") != (col.problem == nil) ||
				col.problem != nil && !strings.Contains(col.problem.Error(), c.problem) {
				t.Errorf("problem: %v, want %q", col.problem, c.problem)
			}
			if len(col.cells) != len(all) {
				t.Fatalf("%d cells, want %d", len(col.cells), len(all))
			}
			for i, s := range all {
				got, want := col.cells[i], "ok"
				switch {
				case c.failed(s):
					want = "FAILED"
					if got.err != nil && !strings.Contains(got.err.Error(), c.why) {
						t.Errorf("%s, %s: %v, want %q", s.Name, s.operation, got.err, c.why)
					}
				case c.other != nil && c.other(s):
					want = c.text
				}
				if got.text != want || (got.err != nil) != (want == "FAILED") {
					t.Errorf("%s, %s: %q, want %q: %v", s.Name, s.operation, got.text, want, got.err)
				}
			}
		})
	}
}

func keys(m map[string]any) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	return names
}

func (d *driver) tryNamed(t *testing.T, name string, all []scenario) column {
	t.Helper()
	found, err := findClients(d.dir, []string{name})
	if err != nil {
		t.Fatal(err)
	}
	return d.try(t.Context(), found[0], all)
}

// A client that hangs costs one scenario, and its program is gone afterwards.
func TestClientHangs(t *testing.T) {
	all := scenarios(t)
	i := slices.IndexFunc(all, func(s scenario) bool { return s.Answer.Status == 404 })
	d, _ := newDriver(t)
	if err := d.buildFake(t.Context(), t.TempDir()); err != nil {
		t.Fatal(err)
	}
	d.answerTime = 5 * time.Second
	d.add(t, "hangs", "hangs at a 404", nil)
	col := d.tryNamed(t, "hangs", []scenario{all[i-1], all[i], all[i+2]})
	if col.problem != nil || len(col.cells) != 3 || col.cells[0].text != "ok" || col.cells[2].text != "ok" {
		t.Errorf("cells %v, problem %v", col.cells, col.problem)
	}
	if err := col.cell(1).err; err == nil || !strings.Contains(err.Error(), "no answer within 5s") {
		t.Errorf("the one that hangs: %v", err)
	}

	d.endTime = time.Second
	d.answerTime = time.Minute
	d.add(t, "stays", "does not end", nil)
	col = d.tryNamed(t, "stays", all[:1])
	if col.problem == nil || !strings.Contains(col.problem.Error(), "did not end within 1s") || col.cell(0).text != "ok" {
		t.Errorf("cells %v, problem %v", col.cells, col.problem)
	}
}

// What cannot be built is told, with the end of its log, and the others are tried.
func TestBrokenBuilds(t *testing.T) {
	d, out := newDriver(t)
	d.add(t, "a-fails", "nothing", map[string]any{
		"setup": []string{"mkdir -p .venv/bin", "ln -s \"$(command -v cat)\" .venv/bin/installed-here", "test -s openapi.yaml", "echo made >one"}, "generate": "installed-here one && exit 4", "build": []string{"echo never"},
	})
	d.add(t, "b-misses", "nothing", map[string]any{"build": []string{"no-such-command-here --help"}})
	d.add(t, "c-misspells", "nothing", map[string]any{"builds": []string{}})
	d.add(t, "d-lacks", "nothing", map[string]any{"versions": ""})
	d.add(t, "e-cannot-run", "nothing", map[string]any{"run": []string{"./nothing-there"}})
	d.add(t, "f-works", "nothing", map[string]any{"generate": "echo generated"})
	write(t, filepath.Join(d.dir, "no-client", "main.txt"), "")
	ok, err := d.run(t.Context(), nil)
	if ok || err != nil {
		t.Errorf("ok %v, %v", ok, err)
	}
	for _, want := range []string{
		"a-fails: FAILED: installed-here one && exit 4: exit status 4\n",
		"\n$ test -s openapi.yaml\n$ echo made >one\n$ installed-here one && exit 4\nmade\n",
		"b-misses: FAILED: no-such-command-here --help: it needs no-such-command-here, which is not on the PATH\n",
		"c-misspells: FAILED: client.json: json: unknown field \"builds\"\n",
		"d-lacks: FAILED: client.json: title, ",
		"e-cannot-run: FAILED: ", "nothing-there: no such file",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the output lacks %q:\n%s", want, out)
		}
	}
	results, err := os.ReadFile(filepath.Join(d.dir, "RESULTS.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| scenario | operation | Client a-fails (FAILED) | Client b-misses (FAILED) | ",
		"| 500 | `renewToken` | NOT RUN | NOT RUN | NOT RUN | NOT RUN | NOT RUN | ok |\n",
		"\n**Client f-works** (Go): client 1.2.3. Generated by\n\n```sh\necho generated\n```\n",
		"\n**Client e-cannot-run** (Go): client 1.2.3. Not generated.\n",
	} {
		if !strings.Contains(string(results), want) {
			t.Errorf("RESULTS.md lacks %q:\n%s", want, results)
		}
	}
}

func TestNamedClients(t *testing.T) {
	d, out := newDriver(t)
	d.add(t, "good", "nothing", nil)
	d.add(t, "bad", "has another token", nil)
	if ok, err := d.run(t.Context(), []string{"good"}); !ok || err != nil || !strings.Contains(out.String(), "| Client good |\n") {
		t.Errorf("ok %v, %v: %s", ok, err, out)
	}
	if ok, err := d.run(t.Context(), []string{"bad"}); ok || err != nil || !strings.Contains(out.String(), "renewToken: FAILED: token is ") {
		t.Errorf("ok %v, %v: %s", ok, err, out)
	}
	if ok, err := d.run(t.Context(), []string{"good", "other"}); ok || err == nil || !strings.Contains(err.Error(), `no client "other"`) {
		t.Errorf("ok %v, %v", ok, err)
	}
	if _, err := os.Stat(filepath.Join(d.dir, "RESULTS.md")); !os.IsNotExist(err) {
		t.Errorf("RESULTS.md is there: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if ok, err := d.run(ctx, []string{"good"}); ok || err == nil {
		t.Errorf("cancelled: ok %v, %v", ok, err)
	}
	empty, _ := newDriver(t)
	if ok, err := empty.run(t.Context(), nil); ok || err == nil {
		t.Errorf("without clients: ok %v, %v", ok, err)
	}
}

// A client is built again when something that it is made from has changed, and only then.
func TestBuiltOnce(t *testing.T) {
	d, _ := newDriver(t)
	count := filepath.Join(t.TempDir(), "count")
	d.add(t, "once", "nothing", map[string]any{"build": []string{"echo built >>'" + count + "'", "test ! -e fail"}})
	times := func(want int, wantOK bool) {
		t.Helper()
		found, err := findClients(d.dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = d.build(t.Context(), found[0])
		b, _ := os.ReadFile(count)
		if got := strings.Count(string(b), "built"); got != want || (err == nil) != wantOK {
			t.Errorf("built %d times, want %d: %v", got, want, err)
		}
	}
	times(1, true)
	times(1, true)
	write(t, filepath.Join(d.dir, "once", "sub", "new.txt"), "")
	times(2, true)
	times(2, true)
	write(t, filepath.Join(d.dir, "once", "sub", "new.txt"), "changed")
	times(3, true)
	write(t, filepath.Join(d.dir, "once", "fail"), "")
	times(4, false)
	times(5, false)
}

// A command that hangs is killed with all that it has started.
func TestBuildHangs(t *testing.T) {
	d, _ := newDriver(t)
	d.commandTime = time.Second
	pipe := filepath.Join(t.TempDir(), "pipe")
	if out, err := exec.Command("mkfifo", pipe).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	d.add(t, "hangs", "nothing", map[string]any{"build": []string{"sleep 60 >'" + pipe + "'; true"}})
	gone := make(chan error, 1)
	go func() {
		_, err := os.ReadFile(pipe) // as long as sleep is there
		gone <- err
	}()
	started := time.Now()
	col := d.tryNamed(t, "hangs", nil)
	if col.problem == nil || !strings.Contains(col.problem.Error(), "killed after 1s") {
		t.Errorf("problem: %v", col.problem)
	}
	if err := <-gone; err != nil || time.Since(started) > 50*time.Second {
		t.Errorf("what it had started was there for %v, %v", time.Since(started), err)
	}
}

// What the scenarios send is what the description promises: no client is failed for refusing more.
func TestScenariosFitTheDescription(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData(api.Spec)
	if err != nil {
		t.Fatal(err)
	}
	operations := map[string]*openapi3.Operation{}
	for _, path := range doc.Paths.Map() {
		for _, op := range path.Operations() {
			operations[op.OperationID] = op
		}
	}
	for _, s := range scenarios(t) {
		op := operations[s.operation]
		if op == nil || op.Responses.Status(s.Answer.Status) == nil {
			t.Errorf("%s, %s: not described", s.Name, s.operation)
			continue
		}
		var body any
		text := strings.ReplaceAll(string(s.Answer.Body), anyDate, "2019-11-18T15:42:16.637203Z")
		if err := json.Unmarshal([]byte(text), &body); err != nil {
			t.Error(err)
		}
		response := op.Responses.Status(s.Answer.Status).Value
		if err := response.Content.Get("application/json").Schema.Value.VisitJSON(body, openapi3.VisitAsResponse()); err != nil {
			t.Errorf("%s, %s: %v", s.Name, s.operation, err)
		}
	}
}
