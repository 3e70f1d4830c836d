package esper_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-go/esper-go/pkg/esper"
)

func TestRenewToken_CancelledBefore(t *testing.T) {
	base, posts := counted(t, answer(201, "application/json", realRenewal))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	expired, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	heedless := roundTripFunc(func(*http.Request) (*http.Response, error) {
		posts.Add(1)
		return respond(201, strings.NewReader(realRenewal)), nil
	})
	for name, opt := range map[string]esper.Option{"http.Transport": nil, "one that does not look at the context": heedless.option()} {
		t.Run(name, func(t *testing.T) {
			client := clientFor(t, base, oldKey, opt)
			renewed, err := client.RenewToken(ctx, renewal(oldKey))
			wantLost(t, renewed, err, esper.OutcomeNotRenewed, "")
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%v is not context.Canceled", err)
			}
			renewed, err = client.RenewToken(expired, renewal(oldKey))
			wantLost(t, renewed, err, esper.OutcomeNotRenewed, "")
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v is not context.DeadlineExceeded", err)
			}
			if info, err := client.TokenInfo(ctx); info != nil || !errors.Is(err, context.Canceled) {
				t.Errorf("TokenInfo: %v, %v", info, err)
			}
			wantCount(t, "requests", posts.Load(), 0)
		})
	}
}

func TestRenewToken_CancelledDuringTheHandler(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	base, posts := counted(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	renewed, err := clientFor(t, base, oldKey, quickRetry(4)).RenewToken(ctx, renewal(oldKey))
	wantLost(t, renewed, err, esper.OutcomeUnknown, "")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v is not context.Canceled", err)
	}
	wantCount(t, "POSTs", posts.Load(), 1)
}

func TestRenewToken_CancelledDuringAWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		var posts atomic.Int32
		limited := roundTripFunc(func(*http.Request) (*http.Response, error) {
			posts.Add(1)
			return respond(429, strings.NewReader("slow down"), "Retry-After", "20"), nil
		})
		start := time.Now()
		renewed, err := clientFor(t, "foo", oldKey, limited.option()).RenewToken(ctx, renewal(oldKey))
		wantLost(t, renewed, err, esper.OutcomeNotRenewed, "slow down")
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, esper.ErrRateLimited) || time.Since(start) != 0 {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		wantCount(t, "POSTs", posts.Load(), 1)
	})
}

func TestRenewToken_CancelledAfterTheKeyArrived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var dialled atomic.Int32
		transport := pipeTransport(&dialled, func(conn net.Conn) {
			arrived := realRenewal[:strings.Index(realRenewal, newKey)+len(newKey)+1]
			_, _ = io.WriteString(conn, head201(len(realRenewal))+arrived)
			synctest.Wait()
			cancel()
			_, _ = io.Copy(io.Discard, conn)
		})
		client := clientFor(t, "http://127.0.0.1", oldKey, esper.WithTransport(transport))
		renewed, err := client.RenewToken(ctx, renewal(oldKey))
		wantRenewed(t, renewed, err)
		wantCount(t, "connections", dialled.Load(), 1)
	})
}

// HTTP/2 sends a request again by itself if the server refuses it, so a renewal uses HTTP/1.1.
func TestRenewToken_NotOverHTTP2(t *testing.T) {
	var protocols []string
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		protocols = append(protocols, r.Method+" "+r.Proto)
		answer(201, "application/json", realRenewal)(w, r)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	client := clientFor(t, server.URL, oldKey, esper.WithTransport(server.Client().Transport.(*http.Transport)))
	_, err := client.TokenInfo(t.Context())
	renewed, renewErr := client.RenewToken(t.Context(), renewal(oldKey))
	wantRenewed(t, renewed, renewErr)
	if want := []string{"GET HTTP/2.0", "POST HTTP/1.1"}; err != nil || !slices.Equal(protocols, want) {
		t.Errorf("%v, %v; want %v", protocols, err, want)
	}
}

// A renewal over a kept connection could fail because the connection is dead, and nobody could tell whether the
// request arrived.
func TestRenewToken_NeverOnAUsedConnection(t *testing.T) {
	var peers []string
	base, _ := counted(t, func(w http.ResponseWriter, r *http.Request) {
		peers = append(peers, r.RemoteAddr)
		answer(201, "application/json", realRenewal)(w, r)
	})
	client := clientFor(t, base, oldKey)
	for _, renew := range []bool{false, false, true, false, true} {
		var err error
		if renew {
			_, err = client.RenewToken(t.Context(), renewal(oldKey))
		} else {
			_, err = client.TokenInfo(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	kept := peers[0] == peers[1] && peers[1] == peers[3]
	if slices.Sort(peers); !kept || len(slices.Compact(peers)) != 3 {
		t.Errorf("connections %v, want one for the reading calls and one for each renewal", peers)
	}
}

// net/http lets a dial go on for a later request. No later request uses a renewal's connection, so the dial ends.
func TestRenewToken_EndsItsDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ended atomic.Int32
		hang := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			ended.Add(1)
			return nil, ctx.Err()
		}}
		client := clientFor(t, "https://foo-api.esper.cloud/api", oldKey, esper.WithTransport(hang),
			esper.WithTimeout(time.Second), quickRetry(2))
		renewed, err := client.RenewToken(t.Context(), renewal(oldKey))
		wantLost(t, renewed, err, esper.OutcomeNotRenewed, "")
		synctest.Wait()
		wantCount(t, "dials that ended", ended.Load(), 2)
	})
}
