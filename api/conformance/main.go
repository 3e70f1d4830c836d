// Command conformance lets the clients that other generators make from api/openapi.yaml call the fake
// server in every scenario, and shows which of them get it right. README.md says how a client is added.
//
//	go run ./api/conformance            # all clients, and RESULTS.md is written
//	go run ./api/conformance ogen …     # these, and it is not
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// fakePackage is the server that the clients call.
const fakePackage = "github.com/esper-go/esper-go/pkg/esper/espertest/fakeesper"

// driver has what a run needs to know.
type driver struct {
	dir string    // holds the clients' folders
	out io.Writer // for a person to read
	// The longest that a command of a client may take, and a program's answer, and a process's end.
	commandTime, answerTime, endTime time.Duration

	fake string // the fake server's program
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	d := driver{
		dir:         filepath.Join("api", "conformance"),
		out:         os.Stdout,
		commandTime: 20 * time.Minute, // a first Rust or Maven build on a small machine
		answerTime:  time.Minute,      // the first one comes after the start of a JVM
		endTime:     10 * time.Second,
	}
	ok, err := d.run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
	}
	if !ok {
		os.Exit(1) //nolint:forbidigo // this is a main program
	}
}

// run tries the named clients, or all, and reports whether all is well.
func (d *driver) run(ctx context.Context, names []string) (bool, error) {
	all, err := loadScenarios()
	if err != nil {
		return false, err
	}
	clients, err := findClients(d.dir, names)
	if err != nil {
		return false, err
	}
	tmp, err := os.MkdirTemp("", "conformance")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(tmp) //nolint:errcheck // nothing can be done about it
	if err := d.buildFake(ctx, tmp); err != nil {
		return false, err
	}

	ok := true
	var columns []column
	for _, c := range clients {
		col := d.try(ctx, c, all)
		if ctx.Err() != nil {
			return false, errors.New("interrupted")
		}
		columns = append(columns, col)
		ok = col.report(d.out, all) && ok
	}
	matrix := writeMatrix(all, columns)
	fmt.Fprintf(d.out, "\n%s", matrix)
	if len(names) == 0 {
		err = os.WriteFile(filepath.Join(d.dir, "RESULTS.md"), []byte(writeResults(matrix, columns)), 0o644) //nolint:gosec // it is published
	}
	return ok && err == nil, err
}

// buildFake builds the fake server into dir.
func (d *driver) buildFake(ctx context.Context, dir string) error {
	d.fake = filepath.Join(dir, "fakeesper.exe")
	build := exec.CommandContext(ctx, "go", "build", "-o", d.fake, fakePackage) //nolint:gosec // no input from outside
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building the fake server: %w\n%s", err, out)
	}
	return nil
}

// try builds a client and runs the scenarios. Whatever is wrong with it is in the column.
func (d *driver) try(ctx context.Context, c client, all []scenario) column {
	col := column{client: c}
	if col.problem = c.err; col.problem != nil {
		return col
	}
	fmt.Fprintf(d.out, "%s: building\n", c.name)
	if col.problem = d.build(ctx, c); col.problem != nil {
		return col
	}
	fmt.Fprintf(d.out, "%s: running\n", c.name)
	log, err := os.OpenFile(c.log, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		col.problem = err
		return col
	}
	defer log.Close() //nolint:errcheck // nobody reads what is lost
	var p *program
	for _, s := range all {
		if !c.does(s.operation) {
			col.cells = append(col.cells, cell{text: "–"})
			continue
		}
		if p == nil {
			if p, col.problem = start(ctx, c, log); col.problem != nil {
				return col
			}
		}
		got, broken, err := d.call(ctx, p, s)
		var missing []string
		if broken { // and the next scenario gets a program of its own
			p.kill()
			p = nil
		} else {
			var mismatch error
			missing, mismatch = s.check(got, c.Lacks)
			err = errors.Join(mismatch, err)
		}
		col.cells = append(col.cells, newCell(missing, err))
	}
	if p != nil {
		col.problem = p.end(d.endTime)
	}
	return col
}

// call has the program make the scenario's call to a server of its own. Broken means that the program
// is not to be asked again.
func (d *driver) call(ctx context.Context, p *program, s scenario) (got reply, broken bool, err error) {
	f, err := d.startFake(ctx, s)
	if err != nil {
		return got, true, err
	}
	got, err = p.ask(ctx, command{
		Operation:      s.operation,
		URL:            f.URL,
		Key:            f.Key,
		EnterpriseID:   f.EnterpriseID,
		DeveloperAppID: f.DeveloperAppID,
	}, d.answerTime)
	return got, err != nil, errors.Join(err, f.stop())
}
