package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// maxLine bounds an answer of a program.
const maxLine = 1 << 20

// command is what a program is asked.
type command struct {
	Operation      string `json:"operation"`
	URL            string `json:"url"`
	Key            string `json:"key"`
	EnterpriseID   string `json:"enterprise_id"`
	DeveloperAppID string `json:"developerapp_id"`
}

// reply is what a program answers.
type reply struct {
	Status     int    `json:"status"`
	Value      any    `json:"value"`
	Error      any    `json:"error"`
	RetryAfter string `json:"retry_after"`
	Failure    string `json:"failure"`
}

// program is a client's program that is running.
type program struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines chan []byte // its output; closed at its end
	stop  context.CancelFunc
}

func start(ctx context.Context, c client, log *os.File) (*program, error) {
	ctx, stop := context.WithCancel(ctx)
	p := &program{
		cmd:   exec.CommandContext(ctx, c.Run[0], c.Run[1:]...), //nolint:gosec // the client's own
		lines: make(chan []byte),
		stop:  stop,
	}
	p.cmd.Dir, p.cmd.Stderr = c.work, log
	ownGroup(p.cmd)
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		stop()
		return nil, err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		stop()
		return nil, err
	}
	p.stdin = stdin
	if err := p.cmd.Start(); err != nil {
		stop()
		return nil, err
	}
	go func() {
		defer close(p.lines)
		scanner := bufio.NewScanner(stdout)
		scanner.Buffer(nil, maxLine)
		for scanner.Scan() {
			p.lines <- bytes.Clone(scanner.Bytes())
		}
	}()
	return p, nil
}

// ask has a command answered. After an error the program has lost step, and is to be killed.
func (p *program) ask(ctx context.Context, c command, within time.Duration) (reply, error) {
	line, err := json.Marshal(c)
	if err != nil {
		return reply{}, err
	}
	if _, err := p.stdin.Write(append(line, '\n')); err != nil {
		return reply{}, fmt.Errorf("the program does not read: %w", err)
	}
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case line, ok := <-p.lines:
		if !ok {
			return reply{}, errors.New("the program ended")
		}
		return readReply(line)
	case <-timer.C:
		return reply{}, fmt.Errorf("no answer within %v", within)
	case <-ctx.Done():
		return reply{}, ctx.Err()
	}
}

func readReply(line []byte) (r reply, err error) {
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.UseNumber()
	dec.DisallowUnknownFields()
	if err = dec.Decode(&r); err == nil {
		if _, err = dec.Token(); errors.Is(err, io.EOF) {
			return r, nil
		}
	}
	return reply{}, fmt.Errorf("this is no answer: %.200q", line)
}

// end closes the program's input, upon which it has to end well.
func (p *program) end(within time.Duration) error {
	_ = p.stdin.Close()
	timer := time.AfterFunc(within, p.stop)
	var more []byte
	for line := range p.lines { // ends with the program, at the latest when it is killed
		more = line
	}
	err := p.cmd.Wait()
	switch {
	case !timer.Stop():
		err = fmt.Errorf("the program did not end within %v of its input's end", within)
	case err != nil:
		err = fmt.Errorf("the program ended badly: %w", err)
	case more != nil:
		err = fmt.Errorf("the program answered unasked: %.200q", more)
	}
	p.stop()
	return err
}

// kill ends the program at once.
func (p *program) kill() {
	p.stop()
	_ = p.stdin.Close()
	go func() { // lets the reader come to its end
		for range p.lines {
		}
	}()
	_ = p.cmd.Wait()
}
