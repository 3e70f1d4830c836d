//go:build linux

package stores

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
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
	name    string
	args    []string
	account string // the account that it runs as, if the tests run as root
	folder  string
	ready   func(ctx context.Context) error
	stop    syscall.Signal // with which it ends in an orderly way, and soon

	mu    sync.Mutex
	cmd   *exec.Cmd
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

// newFolder makes a temporary folder that the account owns.
func newFolder(account string) (string, error) {
	folder, err := os.MkdirTemp("", "esper-stores-")
	if err != nil || account == "" || os.Getuid() != 0 {
		return folder, err
	}
	c, err := credential(account)
	if err != nil {
		return "", err
	}
	return folder, os.Chown(folder, int(c.Uid), int(c.Gid))
}

func credential(account string) (*syscall.Credential, error) {
	if account == "" || os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup(account)
	if err != nil {
		return nil, err
	}
	uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
	gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(uidErr, gidErr)
}

func command(account string, args ...string) (*exec.Cmd, error) {
	c, err := credential(account)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c, Pdeathsig: syscall.SIGKILL}
	cmd.Dir = "/"
	return cmd, nil
}

// runOnce runs a program and waits until it ends.
func runOnce(account string, args ...string) error {
	cmd, err := command(account, args...)
	if err != nil {
		return err
	}
	var out []byte
	done := make(chan struct{})
	starting() <- func() { out, err = cmd.CombinedOutput(); close(done) }
	<-done
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", args[0], err, out)
	}
	return nil
}

// start starts the service and waits until it is ready.
func (s *service) start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	over := time.Now().Add(startTime)
	for {
		err := s.startOnce(over)
		if err == nil || time.Now().After(over) {
			return err
		}
		<-time.After(200 * time.Millisecond) // processes from before a crash may still be ending
	}
}

func (s *service) startOnce(over time.Time) error {
	log, err := os.OpenFile(s.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	if s.cmd, err = command(s.account, s.args...); err != nil {
		return err
	}
	s.cmd.Stdout, s.cmd.Stderr = log, log
	errs := make(chan error)
	starting() <- func() { errs <- s.cmd.Start() }
	if err := <-errs; err != nil {
		return err
	}
	cmd, ended := s.cmd, make(chan struct{})
	s.ended = ended
	go func() { _ = cmd.Wait(); close(ended) }()
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		err := s.ready(ctx)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-ended:
			return fmt.Errorf("%s ended: %w\n%s", s.name, err, s.lastWords())
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(over) {
			return fmt.Errorf("%s is not ready: %w\n%s", s.name, err, s.lastWords())
		}
	}
}

func (s *service) log() string {
	return filepath.Join(os.TempDir(), filepath.Base(s.folder)+"-"+s.name+".log")
}

func (s *service) lastWords() string {
	data, _ := os.ReadFile(s.log())
	const most = 4000
	return string(data[max(0, len(data)-most):])
}

// end asks the process to end, and waits until it has.
func (s *service) end() {
	s.mu.Lock()
	ended := s.ended
	_ = s.cmd.Process.Signal(s.stop)
	s.mu.Unlock()
	select {
	case <-ended:
	case <-time.After(startTime):
		s.kill()
	}
}

// kill sends SIGKILL to the process and its children, and waits until all have ended. After that they write nothing.
func (s *service) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.runs() {
		return
	}
	pid := s.cmd.Process.Pid
	all := append([]int{pid}, children(pid)...)
	for _, pid := range all {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	for _, pid := range all {
		for syscall.Kill(pid, 0) == nil && !isZombie(pid) {
			<-time.After(5 * time.Millisecond)
		}
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

// hold suspends the process and its children if still is true, and lets them continue if it is false.
func (s *service) hold(still bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.runs() {
		return
	}
	signal := syscall.SIGCONT
	if still {
		signal = syscall.SIGSTOP
	}
	pid := s.cmd.Process.Pid
	for _, pid := range append([]int{pid}, children(pid)...) {
		_ = syscall.Kill(pid, signal)
	}
}

// remove deletes the files of a service that has ended.
func (s *service) remove() {
	_ = os.RemoveAll(s.folder)
	_ = os.Remove(s.log())
}

func children(parent int) (pids []int) {
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range files {
		if fields := stat(file); len(fields) > 1 && fields[1] == strconv.Itoa(parent) {
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

func isZombie(pid int) bool {
	fields := stat(fmt.Sprintf("/proc/%d/stat", pid))
	return len(fields) == 0 || fields[0] == "Z"
}

// stat returns the fields of a /proc/PID/stat file that follow the program's name: the state, the parent and so on.
func stat(file string) []string {
	data, _ := os.ReadFile(file)
	_, rest, _ := strings.Cut(string(data), ") ")
	return strings.Fields(rest)
}

var givenPorts sync.Map

// freePort returns a port of the loopback interface on which nobody listens, and which it has not returned before. It
// returns no port that the system gives to outgoing connections (from 16000 on gVisor, from 32768 on Linux): a
// connection could take such a port while the engine that listens there is killed.
func freePort() (port int, err error) {
	const lowest, highest, tries = 10_000, 16_000, 100
	err = errors.New("no port is free")
	for range tries {
		port = lowest + rand.N(highest-lowest)
		if _, given := givenPorts.LoadOrStore(port, true); given {
			continue
		}
		var l net.Listener
		if l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			return port, l.Close()
		}
	}
	return 0, err
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
