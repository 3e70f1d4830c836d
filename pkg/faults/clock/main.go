// Command clock writes an overlay for go build, with which a program's clock can be set. Go programs do not see
// libfaketime, because they ask the kernel for the time without the C library.
//
//	go run ./clock FOLDER "$(go env GOROOT)" && go build -overlay FOLDER/overlay.json …
//
// In a program that is built so, CLOCK_AHEAD is how many seconds its wall clock is ahead. CLOCK_FILE names a file of at
// least eight bytes, which are how many nanoseconds were skipped, in the machine's own byte order. All the program's
// clocks and timers go on by what another process adds there, within ten milliseconds.
package main

import (
	"encoding/json"
	"log"
	"os"
	"path/filepath"
	"strings"
)

const inRuntime = `package runtime

import "unsafe"

var clockSkipped uintptr // the address of the number; 0 if there is none
var clockAhead int64     // in nanoseconds

//go:nosplit
func skipped() int64 {
	if clockSkipped == 0 {
		return 0
	}
	return *(*int64)(unsafe.Pointer(clockSkipped))
}

//go:linkname setClock time.setClock
func setClock(skipped uintptr, ahead int64) { clockSkipped, clockAhead = skipped, ahead }

func skippedNow() (sec int64, nsec int32, mono int64) {
	sec, nsec, mono = time_now()
	if monotonicIsSkipped {
		mono += skipped()
	}
	wall := int64(nsec) + skipped() + clockAhead
	return sec + wall/1e9, int32(wall % 1e9), mono
}

// time_now of this system asks the kernel itself; elsewhere it asks nanotime, which skips already.
const monotonicIsSkipped = GOARCH == "amd64"
`

const inTime = `package time

import (
	"syscall"
	"unsafe"
)

func setClock(skipped uintptr, ahead int64)

func init() {
	var skipped uintptr
	if name, ok := syscall.Getenv("CLOCK_FILE"); ok {
		fd, err := syscall.Open(name, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
		if err != nil {
			panic(name + ": " + err.Error())
		}
		shared, err := syscall.Mmap(fd, 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
		if err != nil {
			panic(name + ": " + err.Error())
		}
		skipped = uintptr(unsafe.Pointer(&shared[0]))
	}
	text, _ := syscall.Getenv("CLOCK_AHEAD")
	ahead, _ := atoi(text)
	setClock(skipped, int64(ahead)*1e9)
}
`

func main() {
	folder, err := filepath.Abs(os.Args[1])
	must(err)
	must(os.MkdirAll(folder, 0o750)) //nolint:gosec // the caller names it
	overlay := struct{ Replace map[string]string }{make(map[string]string)}
	add := func(name, text string) { // name is below Go's src
		own := filepath.Join(folder, strings.ReplaceAll(name, "/", "_")+".txt")
		must(os.WriteFile(own, []byte(text), 0o644)) //nolint:gosec // as the sources of Go are
		overlay.Replace[filepath.Join(os.Args[2], "src", name)] = own
	}
	change := func(name, from, to string) {
		text, err := os.ReadFile(filepath.Join(os.Args[2], "src", name)) //nolint:gosec // of Go
		must(err)
		if strings.Count(string(text), from) != 1 {
			log.Panicf("%s does not have this once: %s", name, from)
		}
		add(name, strings.Replace(string(text), from, to, 1))
	}
	add("runtime/clock_overlay.go", inRuntime)
	add("time/clock_overlay.go", inTime)
	change("runtime/time_nofake.go", "return nanotime1()", "return nanotime1() + skipped()")
	change("runtime/time.go", "return time_now()", "return skippedNow()")
	change("runtime/netpoll_epoll.go", "var waitms int32", "if delay > 10e6 { delay = 10e6 }\n\tvar waitms int32")
	text, err := json.Marshal(overlay)
	must(err)
	must(os.WriteFile(filepath.Join(folder, "overlay.json"), text, 0o644)) //nolint:gosec // as above
}

func must(err error) {
	if err != nil {
		log.Panic(err)
	}
}
