//go:build conformance

package conformance

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"
)

// command is one line of input for a program: the call to make.
type command struct {
	Operation      string `json:"operation"`
	URL            string `json:"url"`
	Key            string `json:"key"`
	EnterpriseID   string `json:"enterprise_id"`
	DeveloperAppID string `json:"developerapp_id"`
	TokenID        string `json:"token_id"`   // the id of the personal access token to renew
	ExpiryAt       int64  `json:"expiry_at"`  // when its next key is to end, in seconds since 1970
	Timeout        int    `json:"timeout"`    // how many seconds the client is to wait for an answer
	InfoFirst      bool   `json:"info_first"` // call getTokenInfo first, with the same client
	ByItself       bool   `json:"by_itself"`  // leave out the setting against repetition
}

// These are sent to every program for the renewal of a personal access token.
const (
	tokenID  = "0d3f8d3a-6f0f-4b8e-9d55-000000000001" // the id of the fake server's first token
	expiryAt = 4102444800                             // in the year 2100; a signed integer of 32 bits cannot hold it
)

// program is the running program of a client.
type program struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines *bufio.Scanner // the output of the program
}

// start starts the program. It ends with its input, and so with the tests at the latest.
func (c *client) start(t *testing.T) {
	t.Helper()
	cmd := exec.Command(c.Run[0], c.Run[1:]...)
	cmd.Dir, cmd.Stderr = c.work, os.Stderr
	stdin, inErr := cmd.StdinPipe()
	stdout, outErr := cmd.StdoutPipe()
	must(t, errors.Join(inErr, outErr, cmd.Start()))
	c.program = &program{cmd, stdin, bufio.NewScanner(stdout)}
	c.program.lines.Buffer(nil, 1<<20)
}

// ask sends a command, and waits a minute for the answer, since a JVM may have to start first. After an error, the caller
// has to kill the program.
func (p *program) ask(c command) (reply, error) {
	timer := time.AfterFunc(time.Minute, p.kill)
	defer timer.Stop()
	if err := json.NewEncoder(p.stdin).Encode(c); err != nil {
		return reply{}, fmt.Errorf("the program does not read: %w", err)
	}
	if !p.lines.Scan() {
		return reply{}, errors.Join(errors.New("the program ended, or did not answer within a minute"), p.lines.Err())
	}
	return readReply(p.lines.Bytes())
}

// end closes the input of the program. The program has to end then, without an error.
func (p *program) end(t *testing.T) {
	t.Helper()
	_ = p.stdin.Close()
	timer := time.AfterFunc(10*time.Second, p.kill)
	defer timer.Stop()
	if p.lines.Scan() {
		t.Errorf("the program answered without a question: %.200q", p.lines.Bytes())
	}
	must(t, p.cmd.Wait())
}

func (p *program) kill() { _ = p.cmd.Process.Kill() }
