//go:build machines

package faults

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

// road is the address of this process in the network that it makes for its machines.
const road = "10.77.0.1"

// clockEnv names the file by which clocks are put forward, if the program was built with the overlay of package clock.
const clockEnv = "CLOCK_FILE"

// TestMain wants a network namespace of its own: see the Makefile. The kernel removes it with the last process in it.
func TestMain(m *testing.M) {
	if order := os.Getenv(renewerEnv); order != "" {
		renewer(order)
	}
	if all, err := net.Interfaces(); err != nil || len(all) != 1 {
		fmt.Println("This changes the network: run make linger, or make machines.", err)
		os.Exit(1)
	}
	// With an address of its own, which is not a port's: a port that is cut off would still take packets for that.
	must(ip("link set lo up"), ip("link add road address 02:00:00:00:00:01 type bridge"),
		ip("address add "+road+"/24 dev road"), ip("link set road up"))
	os.Exit(m.Run())
}

// ip runs iproute2's program with the words of command.
func ip(command string) error {
	out, err := exec.Command("ip", strings.Fields(command)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", command, err, out)
	}
	return nil
}

// machine is a network namespace with a cable to the road. Processes that are started on it reach this process at the
// address road, and nothing else.
type machine struct {
	t      *testing.T
	number int
	holder *exec.Cmd // keeps the namespace
}

var machines atomic.Int64

func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{t: t, number: int(machines.Add(1)), holder: exec.Command("sleep", "infinity")}
	m.holder.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	must(m.holder.Start())
	t.Cleanup(func() { _ = m.holder.Process.Kill(); _ = m.holder.Wait() })
	must(ip(fmt.Sprintf("link add %s type veth peer name eth0 netns %d", m.port(), m.holder.Process.Pid)),
		ip(fmt.Sprintf("link set %s master road up", m.port())),
		m.command("ip", "address", "add", m.address()+"/24", "dev", "eth0").Run(),
		m.command("ip", "link", "set", "eth0", "up").Run(),
		m.command("ip", "link", "set", "lo", "up").Run())
	return m
}

func (m *machine) port() string    { return fmt.Sprint("port", m.number) }
func (m *machine) address() string { return fmt.Sprint("10.77.0.", 1+m.number) }

// command prepares a program on the machine. It is killed with this process.
func (m *machine) command(program string, args ...string) *exec.Cmd {
	inside := []string{"--net", "--target", strconv.Itoa(m.holder.Process.Pid), "--", program}
	cmd := exec.Command("nsenter", append(inside, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// cut cuts the way between the machine and the road, behind the machine's own cable: its kernel notices nothing.
func (m *machine) cut()  { must(ip("link set " + m.port() + " nomaster")) }
func (m *machine) heal() { must(ip("link set " + m.port() + " master road")) }
