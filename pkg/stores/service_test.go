//go:build linux

package stores

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const startTime = 60 * time.Second // for an engine to be ready, also after a crash

// service is the process of a server. A test can kill it and start it again.
type service struct {
	name   string
	args   []string
	asRoot bool // if the tests do
	folder string
	ready  func(ctx context.Context) error
	stop   syscall.Signal // with which it ends in an orderly way, and soon

	cmd   *exec.Cmd
	said  *bytes.Buffer // what cmd has printed, complete once it has ended
	ended chan struct{} // closed once cmd has ended: then another process may have its pid
}

// starting returns a channel of functions that one thread runs. That thread starts all services. When it ends, even
// because this process is killed, the kernel kills them (Pdeathsig).
var starting = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
})

// folders makes the folder of all others that newFolder makes. TestMain removes it.
var folders = sync.OnceValues(func() (string, error) {
	folder, err := os.MkdirTemp("", "esper-stores-")
	return folder, errors.Join(err, os.Chmod(folder, 0o755))
})

// newFolder makes a temporary folder.
func newFolder(t testing.TB) string {
	t.Helper()
	all, err := folders()
	must(t, err)
	folder, err := os.MkdirTemp(all, "") //nolint:usetesting // an engine outlives the test that starts it
	must(t, err)
	return folder
}

// nobody is the user as whom an engine runs that refuses to run as root, if the tests run as root.
const nobody = 65534

// give gives a file to that user.
func give(t testing.TB, path string) {
	t.Helper()
	if os.Getuid() == 0 {
		must(t, os.Chown(path, nobody, nobody))
	}
}

// launch starts a program, and returns it with what it prints until it ends.
func launch(asRoot bool, args ...string) (cmd *exec.Cmd, said *bytes.Buffer, err error) {
	cmd, said = exec.Command(args[0], args[1:]...), new(bytes.Buffer)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if os.Getuid() == 0 && !asRoot {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/", said, said
	errs := make(chan error)
	starting() <- func() { errs <- cmd.Start() }
	return cmd, said, <-errs
}

// runOnce runs a program and waits until it ends.
func runOnce(t *testing.T, args ...string) {
	t.Helper()
	cmd, said, err := launch(false, args...)
	must(t, err)
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%s: %v\n%s", args[0], err, said)
	}
}

// start starts the service and waits until it is ready. If the service ends, start begins again: processes from before
// a crash may still be ending.
func (s *service) start() error {
	for over := time.Now().Add(startTime); ; <-time.After(100 * time.Millisecond) {
		if !s.runs() {
			cmd, said, err := launch(s.asRoot, s.args...)
			if err != nil {
				return err
			}
			ended := make(chan struct{})
			s.cmd, s.said, s.ended = cmd, said, ended
			go func() { _ = cmd.Wait(); close(ended) }()
		}
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		err := s.ready(ctx)
		cancel()
		switch {
		case err == nil:
			return nil
		case time.Now().After(over):
			s.kill()
			return fmt.Errorf("%s is not ready: %w\n%s", s.name, err, s.said)
		}
	}
}

// end asks the process to end, and waits until it has.
func (s *service) end() {
	_ = s.cmd.Process.Signal(s.stop)
	select {
	case <-s.ended:
	case <-time.After(startTime):
		s.kill()
	}
}

// kill sends SIGKILL to the process and its children, and waits until all have ended: each has the pipe for what it
// prints. After that they write nothing.
func (s *service) kill() {
	if s.runs() {
		s.signal(syscall.SIGKILL)
		<-s.ended
	}
}

func (s *service) runs() bool {
	if s.ended == nil {
		return false
	}
	select {
	case <-s.ended:
		return false
	default:
		return true
	}
}

// signal sends a signal to the process and its children.
func (s *service) signal(sig syscall.Signal) {
	var children bytes.Buffer
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", s.cmd.Process.Pid))
	for _, file := range files {
		data, _ := os.ReadFile(file)
		children.Write(data)
	}
	_ = s.cmd.Process.Signal(sig)
	for child := range strings.FieldsSeq(children.String()) {
		if pid, err := strconv.Atoi(child); err == nil {
			_ = syscall.Kill(pid, sig)
		}
	}
}

var givenPorts sync.Map

// freePort returns a port of the loopback interface on which nobody listens, and which it has not returned before. It
// returns no port that the system gives to outgoing connections (from 16000 on gVisor, from 32768 on Linux): a
// connection could take such a port while the engine that listens there is killed.
func freePort(t testing.TB) string {
	t.Helper()
	const lowest, highest = 10_000, 16_000
	for range 100 {
		port := strconv.Itoa(lowest + rand.N(highest-lowest))
		if _, given := givenPorts.LoadOrStore(port, true); !given {
			if l, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
				must(t, l.Close())
				return port
			}
		}
	}
	t.Fatal("no port is free")
	return ""
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
