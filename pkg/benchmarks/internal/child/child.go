// Package child runs processes that answer each line of their input with one.
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

// Child is such a process. It is to end when its input does.
type Child struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// Start starts one. It is killed with ctx.
func Start(ctx context.Context, name string, args ...string) (*Child, error) {
	c := &Child{cmd: exec.CommandContext(ctx, name, args...)} //nolint:gosec // the harness's own programs
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

// Ask sends a line, and returns the one that answers it. One that begins with "error " is an error.
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

// Close ends the process's input and waits for it to end.
func (c *Child) Close() error {
	_ = c.in.Close()
	return c.cmd.Wait()
}

// Serve is the other side: it answers each line of standard input with answer's, until it ends.
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
