package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// fake is a fake server that is running, for one scenario.
type fake struct {
	URL            string `json:"url"`
	Key            string `json:"key"`
	EnterpriseID   string `json:"enterprise_id"`
	DeveloperAppID string `json:"developerapp_id"`

	cmd    *exec.Cmd
	stderr bytes.Buffer
	cancel context.CancelFunc
}

func (d *driver) startFake(ctx context.Context, s scenario) (*fake, error) {
	args, err := s.flags()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, d.answerTime+2*d.endTime)          // longer than a client may take
	f := &fake{cmd: exec.CommandContext(ctx, d.fake, args...), cancel: cancel} //nolint:gosec // built by this program
	f.cmd.Stderr = &f.stderr
	f.cmd.Cancel = func() error { return f.cmd.Process.Signal(os.Interrupt) }
	f.cmd.WaitDelay = d.endTime
	stdout, err := f.cmd.StdoutPipe()
	if err != nil {
		cancel()
		return nil, err
	}
	if err := f.cmd.Start(); err != nil {
		cancel()
		return nil, err
	}
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, f)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the fake server does not start: %w", err), f.stop())
	}
	return f, nil
}

// stop interrupts the server, which then tells whether the requests were as the description wants them.
func (f *fake) stop() error {
	f.cancel()
	err := f.cmd.Wait()
	if f.cmd.ProcessState.Success() { // err only says that it was interrupted
		return nil
	}
	return fmt.Errorf("the fake server: %s (%w)", strings.TrimSpace(f.stderr.String()), err)
}
