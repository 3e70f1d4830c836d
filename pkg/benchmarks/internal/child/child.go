// Package child runs processes that answer each line of their standard input with one line.
package child

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Child is such a process. It has to end when its input ends.
type Child struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// Start starts a process. The end of ctx kills it.
func Start(ctx context.Context, name string, args ...string) (*Child, error) {
	c := &Child{cmd: exec.CommandContext(ctx, name, args...)} //nolint:gosec // only programs of the benchmarks
	c.cmd.Stderr = os.Stderr
	c.cmd.WaitDelay = 5 * time.Second
	var err error
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.out = bufio.NewReader(out)
	return c, c.cmd.Start()
}

// Ask sends a line and returns the answer. If the answer begins with "error ", Ask returns the rest of it as an error.
func (c *Child) Ask(question string) (string, error) {
	if _, err := fmt.Fprintln(c.in, question); err != nil {
		return "", err
	}
	line, err := c.out.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("%s %v: %w", c.cmd.Path, c.cmd.Args[1:], err)
	}
	line = strings.TrimSuffix(line, "\n")
	if text, failed := strings.CutPrefix(line, "error "); failed {
		return "", fmt.Errorf("%s %v: %s", c.cmd.Path, c.cmd.Args[1:], text)
	}
	return line, nil
}

// Close closes the input of the process and waits for the process to end.
func (c *Child) Close() error {
	_ = c.in.Close()
	return c.cmd.Wait()
}

// Serve runs in the process: for each line of standard input it calls answer and prints what that returns, until the
// input ends.
func Serve(answer func() (string, error)) error {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		text, err := answer()
		if err != nil {
			text = "error " + strings.ReplaceAll(err.Error(), "\n", "; ")
		}
		if _, err := fmt.Fprintln(os.Stdout, text); err != nil {
			return err
		}
	}
	return lines.Err()
}
