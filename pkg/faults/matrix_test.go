package faults

import (
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

var update = flag.Bool("update", false, "write what is found into "+file)

const file = "../esper/FAULTS.md"

// TestMatrix runs every operation under every fault, all at once, and compares the results with the expected ones and with
// FAULTS.md.
func TestMatrix(t *testing.T) {
	log.SetOutput(io.Discard) // the servers of net/http log each handshake that fails
	faults := slices.Concat(networkFaults(), tlsFaults(), proxyFaults(), http2Faults(), answerFaults())
	cells, spans := make([][3]want, len(faults)), make([][]span, len(sweeps()))
	var done atomic.Int64
	watchLeaks(t)
	t.Run("all", func(t *testing.T) {
		for i, f := range faults {
			for j, op := range []operation{tokenInfo, renewToken, renewPersonalToken} {
				t.Run(f.name+"/"+op.name, func(t *testing.T) {
					t.Parallel()
					got, expected := f.run(t, op), f.info
					if op.renews() {
						expected = f.renew
					}
					if got != expected {
						t.Errorf("got  %+v\nwant %+v", got, expected)
					}
					cells[i][j] = got
					done.Add(1)
				})
			}
		}
		for i, s := range sweeps() {
			t.Run(s.name(), func(t *testing.T) {
				t.Parallel()
				spans[i] = s.run(t)
				done.Add(1)
			})
		}
	})
	if t.Failed() || done.Load() < int64(3*len(faults)+len(spans)) { // the flag -run has left some out
		return
	}
	var table, offsets strings.Builder
	for i, f := range faults {
		info, renew := cells[i][0], cells[i][1]
		fmt.Fprintf(&table, "| %s | %s | %s | %s | %s |\n", f.name, said(info.gets, tokenInfo.prize), count(info), said(renew.gets, renewToken.prize), count(renew))
	}
	for i, s := range sweeps() {
		var all []string
		for _, x := range spans[i] {
			bytes := fmt.Sprint(x.from)
			if x.to > x.from {
				bytes = fmt.Sprintf("%d–%d", x.from, x.to)
			}
			all = append(all, bytes+": "+said(x.gets, s.op.prize))
		}
		fmt.Fprintf(&offsets, "| %s | %s | %s | %s |\n", s.op.name, s.framing.name, s.ending(), strings.Join(all, "<br>"))
	}
	text := fmt.Sprintf(page, table.String(), offsets.String())
	if *update {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if found, err := os.ReadFile(file); err != nil || string(found) != text {
		t.Errorf("%s differs from the results (%v); make faults writes it:\n%s", file, err, text)
	}
}

// said returns what a caller gets, as the table shows it.
func said(gets, prize string) string {
	if gets == succeeded {
		return "**" + prize + "**"
	}
	return gets
}

func count(w want) string {
	if w.requests == many {
		return "many ¹"
	}
	return fmt.Sprint(w.requests)
}

const page = `# On a bad day

For whoever writes code around a call: what a caller of the client gets when something between it and the server
goes wrong, and how many requests the server handled. ` + "`make faults`" + ` finds it out and writes this page, and fails if
anything is not as the rules of a call want it; [pkg/faults](../faults) says how. Nothing here is edited by hand.

The operations were called with three attempts, each with a time limit that the fault exceeds where
it is a slow one. RenewPersonalAccessToken was called too, and got what RenewToken got in every row. In every cell
these were checked as well:

- a renewal made one new key at most, and was not sent again unless nothing had been sent or the answer was 429;
- once the new key had arrived whole, it was returned, and it was the one that the server knows;
- the key is in no error at any depth of Unwrap, printed with %%v, %%+v, %%#v, %%s or %%q, and in no log record, as it
  is or percent-encoded;
- no goroutine, connection or descriptor was left over;
- the next call, with nothing in its way, succeeded at once.

“The answer” and “the new key” are successes. An Outcome in front is the one in RenewalError. Connection
broken is an *net.OpError, io.EOF or io.ErrUnexpectedEOF, whichever the system reports first. A text in
quotation marks is an error of another kind, without the advice that goes with it.

| fault | TokenInfo gets | requests | RenewToken gets | requests |
|---|---|---|---|---|
%s
¹ net/http sends a GET again by itself when an HTTP/2 server resets its stream so, until the time limit.
The next attempt goes over HTTP/1.1, and succeeds. A renewal goes over HTTP/1.1 even where the server
offers HTTP/2, so that nothing repeats it.

## An answer that ends early

The connection ends behind each byte of the answer in turn: behind none, one, two and so on up to all of
them, headers included. The first row of a kind closes the connection, the second resets it.

| operation | end of the body | ends with | bytes that arrive: what the caller gets |
|---|---|---|---|
%s
A renewal counts as unknown until the headers are complete; from then on, the caller has what arrived in
RenewalError.Body, until the closing quote of the token makes it a success.
`
