//go:build linux

package stores

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/esper-go/esper-go/pkg/esper/renew/sqlstore"
	"github.com/esper-go/esper-go/pkg/internal/processes"
)

// TestAdvice has databases refuse what esper-key asks for. The error names the server and says what to do.
func TestAdvice(t *testing.T) {
	rules := func(table string, policies ...string) []string {
		statements := []string{
			strings.Replace(sqlstore.Schema(sqlstore.PostgreSQL), "esper_keys", table, 1), "GRANT SELECT, INSERT, UPDATE ON " + table + " TO ruled",
			"ALTER TABLE " + table + " ENABLE ROW LEVEL SECURITY",
		}
		for _, p := range policies {
			statements = append(statements, "CREATE POLICY for_"+strings.Fields(p)[0]+" ON "+table+" FOR "+p)
		}
		return statements
	}
	for situation, row := range map[string]struct {
		engines, account, parameters string
		setUp                        []string
		args                         []string // of which the last one must fail with want
		want                         string
	}{
		"a wrong password, on a server without TLS": {
			databases, "secretive", "", nil,
			[]string{"show"},
			"check the user's name and password, and whether the server wants TLS from this user",
		},
		"an account that has to use TLS, without TLS": {databases, "tlsonly", "sslmode=disable", nil, []string{"show"}, "whether the server wants TLS from this user"},
		"row-level security without a policy for UPDATE": {
			"PostgreSQL", "ruled", "table=no_update", rules("no_update", "SELECT USING (true)", "INSERT WITH CHECK (true)"),
			[]string{"adopt", "renew --now"},
			"a policy for row-level security has to let this user UPDATE the row",
		},
		"row-level security without a policy for SELECT": {"PostgreSQL", "ruled", "table=no_select", append(rules("no_select", "INSERT WITH CHECK (true)"),
			"INSERT INTO no_select VALUES ('default', 'v', '')"), []string{"adopt"}, "the row exists, but a policy for row-level security hides it from this user"},
		"row-level security without a policy for INSERT": {
			"PostgreSQL", "ruled", "table=no_insert", rules("no_insert", "SELECT USING (true)"),
			[]string{"adopt"},
			`grant the database user SELECT, INSERT and UPDATE on "no_insert", and if the table has row-level security, a policy that allows them`,
		},
	} {
		for name := range strings.FieldsSeq(row.engines) {
			e, server := get(t, name), newServer(t)
			e.execute(t, row.setUp...)
			w := wireTo(t, e.listens, withoutTLS(e)) // the driver then tries with TLS, and without
			url := e.url(row.account, w.Addr().String(), row.parameters)
			var env []string
			if row.account == "secretive" {
				env = []string{"PGPASSWORD=wrong", "MYSQL_PWD=wrong"}
			}
			for i, args := range row.args {
				printed, code := esperKey(t, server, url, env, strings.Fields(args)...)
				if i+1 < len(row.args) {
					if code != 0 {
						t.Errorf("%s, %s: %s: %d, %s", situation, name, args, code, printed)
					}
					continue
				}
				printed = strings.ReplaceAll(printed, w.Addr().String(), e.listens)
				if code != 1 || !strings.Contains(printed, row.want) || !strings.Contains(printed, " on "+e.listens+": ") || strings.Contains(printed, "refused TLS") {
					t.Errorf("%s, %s: %d, %s\nwant %s", situation, name, code, printed, row.want)
				}
				outcome(e, situation, printed)
			}
			if processes.Posts(server) > 0 {
				t.Errorf("%s, %s: a renewal was sent, although its key cannot be saved", situation, name)
			}
		}
	}
}

// patience is the time that esper-key gives a store, 15 seconds, with some more for a busy machine.
const patience = 40 * time.Second

// TestPatience has esper-key ask a server that says nothing, and an API server that answers 429 to each request. It
// gives up after 15 seconds, and says which store it is.
func TestPatience(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts
	must(t, err)
	t.Cleanup(func() { _ = silent.Close() })
	busy := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "30")
		w.WriteHeader(http.StatusTooManyRequests)
	}))
	t.Cleanup(busy.Close)
	_, err = program() // which takes its time
	must(t, err)
	for name, row := range map[string]struct{ engine, address, want string }{
		"PostgreSQL says nothing":         {"PostgreSQL", silent.Addr().String(), "on " + silent.Addr().String() + ": "},
		"MySQL says nothing":              {"MySQL", silent.Addr().String(), "on " + silent.Addr().String() + ": "},
		"Kubernetes says nothing":         {"Kubernetes", silent.Addr().String(), `the Secret "patience"`},
		"Kubernetes says 429 Retry-After": {"Kubernetes", busy.Listener.Addr().String(), "429 Too Many Requests"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := &engine{name: row.engine, kind: map[string]string{"PostgreSQL": "pgx"}[row.engine], listens: row.address}
			url, env := e.url("root", row.address, ""), []string{"KUBECONFIG=" + kubeconfig(t, e, "fleet", "admin")}
			if row.engine == "Kubernetes" {
				url = "kubernetes://fleet/patience"
			}
			began := time.Now()
			printed, code := esperKey(t, newServer(t), url, env, "show")
			if took := time.Since(began); code != 1 || took > patience || !strings.Contains(printed, row.want) {
				t.Errorf("%d after %v: %s\nwant %s", code, took, printed, row.want)
			}
			outcome(e, strings.TrimPrefix(name, row.engine+" "), printed)
		})
	}
}
