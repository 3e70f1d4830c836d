//go:build linux

package stores

import (
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/esper-go/esper-go/pkg/esper/espertest"
	"github.com/esper-go/esper-go/pkg/esper/renew/sqlstore"
	"github.com/esper-go/esper-go/pkg/internal/processes"
)

// patience is the time that esper-key gives a store, 15 seconds, with some more for a busy machine.
const patience = 40 * time.Second

// refusal is something that an engine refuses to esper-key.
type refusal struct {
	situation     string
	at            string   // a namespace, or the parameters of a database's URL
	before        []string // statements, manifests, a path to delete, and commands, for somebody who may do that
	account, args string   // "" is who may do anything
	want          string   // in the error, which names the server or the Secret; "" if it works
}

// odd has the statements for a new table with an unusual name, in which an account has rights.
func odd(account, rights string) []string {
	return []string{"CREATE TABLE", "GRANT " + rights + " ON $table TO " + account}
}

// ruled has the statements for such a table, of which an account sees and changes what the policies let it.
func ruled(policies ...string) []string {
	statements := append(odd("owner", "SELECT, INSERT, UPDATE"), "ALTER TABLE $table ENABLE ROW LEVEL SECURITY")
	for _, p := range policies {
		statements = append(statements, "CREATE POLICY for_"+strings.Fields(p)[0]+" ON $table FOR "+p)
	}
	return statements
}

// TestRefusals has engines refuse what esper-key asks for. The error has the engine's reason, and says what to do: it names
// a Role only if a Role would help. It comes within 15 seconds, quotes no key, and comes before a renewal is sent.
// Beside these are the rights and the URLs that are enough.
func TestRefusals(t *testing.T) {
	refused := func(engines, situation, at string, before []string, account, args, want string) {
		t.Run(situation, func(t *testing.T) {
			on(t, engines, func(t *testing.T, e *engine) { refuse(t, e, refusal{situation, at, before, account, args, want}) })
		})
	}
	for _, row := range []struct{ engines, url string }{
		{"MariaDB MySQL", "mysql://secretive@$listens/mysql?name=$name"}, // with MYSQL_PWD
		{"MariaDB MySQL", "mysql://secretive:a%20word@$listens/mysql?name=$name"},
		{"MariaDB MySQL", "mysql://root@/mysql?name=$name&socket=$socket"},
		{"MariaDB MySQL", "mysql://root@localhost/mysql?name=$name&socket=$socket"},
		{"MariaDB MySQL", "mysql://tlsonly@$listens/mysql?name=$name"},
		{"PostgreSQL", "postgres://tlsonly@$listens/postgres?name=$name"},
		{"PostgreSQL", "postgres://esper@/postgres?name=$name&socket=$socket"},
		{"PostgreSQL", "postgres://esper@localhost/postgres?name=$name&socket=$socket"},
		{"PostgreSQL PgBouncer", "postgres://$listens/postgres?sslmode=disable&name=$name"}, // with PGUSER, as the driver reads it
		{"Standby", "postgres://esper@$listens,$primary/postgres?sslmode=disable&target_session_attrs=read-write&name=$name"},
	} {
		refused(row.engines, row.url, row.url, []string{"adopt"}, "", "renew --now", "")
	}
	const at, needs = "table=$plain&name=$row", "SELECT, INSERT and UPDATE on $table"
	secret := func(rest string) string {
		return "{apiVersion: v1, kind: Secret, metadata: {name: $name}, " + rest + "}"
	}
	role := func(verbs string) string {
		const group = "rbac.authorization.k8s.io"
		return "{apiVersion: " + group + "/v1, kind: Role, metadata: {name: $name}, " +
			"rules: [{apiGroups: [''], resources: [secrets], resourceNames: [$name], verbs: [" + verbs + "]}]}\n---\n" +
			"{apiVersion: " + group + "/v1, kind: RoleBinding, metadata: {name: $name}, " +
			"roleRef: {apiGroup: " + group + ", kind: Role, name: $name}, subjects: [{kind: User, name: reader}]}"
	}
	const finalizer, path = "{apiVersion: v1, kind: Secret, metadata: {name: $name, finalizers: [example.com/hold]}}", "/api/v1/namespaces/"
	const leaving = "{apiVersion: v1, kind: Namespace, metadata: {name: leaving}}"
	refused(databases, "a wrong password, on a server without TLS", "", nil, "secretive:wrong", "show",
		"check the user's name and password, and whether the server wants TLS from this user")
	refused(databases, "an account that has to use TLS, without TLS", "sslmode=disable", nil, "tlsonly", "show",
		"whether the server wants TLS from this user")
	refused(databases, "there is no such table", at, nil, "", "adopt",
		"; if the table is in another schema or database, write its name as schema.table; "+
			"if it does not exist, or has other columns, create it with: CREATE TABLE IF NOT EXISTS $table")
	refused(databases, "an empty table, and the rights of a nobody", at, []string{"CREATE TABLE"}, "nobody", "adopt",
		"SELECT and, to renew, INSERT and UPDATE on $table")
	refused(databases, "an empty table, and the rights of a reader", at, odd("reader", "SELECT"), "reader", "adopt", needs)
	refused(databases, "an empty table, and all rights", at, odd("owner", "SELECT, INSERT, UPDATE"), "owner", "adopt", "")
	refused(databases, "a row, and the rights of a writer", at, append(odd("writer", "SELECT, UPDATE"), "adopt"), "writer", "renew --now", "")
	refused(databases, "a row, and the rights of a reader", at, append(odd("reader", "SELECT"), "adopt"), "reader", "token --read-only", "")
	refused(databases, "a renewal, and the rights of a reader", at, append(odd("reader", "SELECT"), "adopt"), "reader", "renew --now", needs)
	refused("PostgreSQL", "row-level security without a policy for UPDATE", at,
		append(ruled("SELECT USING (true)", "INSERT WITH CHECK (true)"), "adopt"), "owner", "renew --now",
		"a policy for row-level security has to let this user UPDATE the row")
	refused("PostgreSQL", "row-level security without a policy for SELECT", at,
		append(ruled("INSERT WITH CHECK (true)"), "adopt"), "owner", "adopt",
		"the row exists, but a policy for row-level security hides it from this user")
	refused("PostgreSQL", "row-level security without a policy for INSERT", at, ruled("SELECT USING (true)"), "owner", "adopt",
		"grant the database user "+needs+", and if the table has row-level security, a policy that allows them")
	refused("Standby", "it is a standby", "", nil, "", "show", "connect to the primary")
	refused("MariaDB", "read_only is set", "", []string{"SET GLOBAL read_only = 1"}, "", "show", "connect to the primary")
	refused("MariaDB", "read_only is no longer set", "name=$name", []string{"SET GLOBAL read_only = 0"}, "", "adopt", "")

	refused("Kubernetes", "a Secret with a finalizer is being deleted", "fleet",
		[]string{"adopt", finalizer, path + "fleet/secrets/$name"}, "", "renew --now",
		"it is being deleted, and a key in it would vanish with it; wait until its finalizers (example.com/hold) have let it go")
	refused("Kubernetes", "an immutable Secret", "fleet", []string{"adopt", secret("immutable: true")}, "", "renew --now",
		"it is immutable; delete it, and create an empty one")
	refused("Kubernetes", "a Secret with other data that fills it", "fleet",
		[]string{secret("stringData: {other: " + strings.Repeat("x", corev1.MaxSecretSize-100) + "}")}, "", "adopt",
		"the API server allows 1048576")
	refused("Kubernetes", "there is no such namespace", "missing", nil, "", "adopt", "create the namespace")
	refused("Kubernetes", "the namespace is terminating", "leaving", []string{leaving, path + "leaving"}, "", "adopt",
		"unable to create new content in namespace leaving because it is being terminated")
	refused("Kubernetes", "no right", "fleet", nil, "nobody", "token --read-only",
		`cannot get resource "secrets" in API group "" in the namespace "fleet"; the role needs get`)
	refused("Kubernetes", "an unknown account", "fleet", nil, "stranger", "token", "the API server does not know the account's token")
	refused("Kubernetes", "a role without update", "fleet", []string{"adopt", role("get")}, "reader", "renew --now",
		`cannot update resource "secrets" in API group "" in the namespace "fleet"; to renew, the role needs get and update`)
	refused("Kubernetes", "no Secret, and a role that may make none", "fleet", []string{role("get, update")}, "reader", "adopt",
		"after which the role needs only get and update")
}

// refuse brings a situation about, and looks at what esper-key says. In the texts of a refusal, $name is a new name, $table
// a table of that name in SQL, $plain the same table and $row an unusual name of a row in a URL.
func refuse(t *testing.T, e *engine, row refusal) {
	t.Helper()
	server, name, inKubernetes := newServer(t), newName(), e.kind == "kubernetes"
	table := `o'ps."the? keys ` + name + `"`
	schema := sqlstore.Schema(dialects()[e.kind], sqlstore.WithTable(table))
	_, quoted, _ := strings.Cut(schema, " EXISTS ")
	quoted, _, _ = strings.Cut(quoted, " (\n")
	values := map[string]string{
		"name": name, "table": quoted, "plain": url.QueryEscape(table), "row": url.QueryEscape("the fleet's \"key\" ` ? $1"),
		"listens": e.listens, "socket": e.socket, "primary": "",
	}
	if e.name == "Standby" {
		values["primary"] = get(t, "PostgreSQL").listens
	}
	fill := func(text string) string { return os.Expand(text, func(value string) string { return values[value] }) }
	through := e
	switch {
	case strings.HasSuffix(row.situation, "without TLS"): // the driver may try with TLS, and then without
		through = e.via(relayTo(t, e.listens, withoutTLS(e)).listens)
	case row.situation == "says nothing":
		silent, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts
		must(t, err)
		t.Cleanup(func() { _ = silent.Close() })
		through = e.via(silent.Addr().String())
	case row.situation == "says 429 Retry-After":
		busy := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "30")
			w.WriteHeader(http.StatusTooManyRequests)
		}))
		t.Cleanup(busy.Close)
		through = e.via(busy.Listener.Addr().String())
	}
	run := func(account, args string) (printed string, code int) {
		at, env := fill(row.at), []string{"PGUSER=esper"}
		switch account = cmp.Or(account, e.root); {
		case inKubernetes:
			at, env = "kubernetes://"+row.at+"/"+name, []string{kubeconfig(t, through, account)}
		case !strings.Contains(at, "://"):
			at = through.url(account, at)
		case strings.Contains(at, "secretive@"):
			env = []string{"MYSQL_PWD=a word"}
		}
		return esperKey(t, server, at, env, strings.Fields(args)...)
	}
	for _, text := range row.before {
		switch {
		case text == "adopt":
			if printed, code := run("", text); code != 0 {
				t.Fatal(printed)
			}
		case text == "CREATE TABLE":
			e.execute(t, schema)
		case text == "lock": // until the test ends
			e.lock(t, name)
		case !inKubernetes:
			e.execute(t, fill(text))
		case text[0] == '/':
			must(t, clients(t, e, e.root).CoreV1().RESTClient().Delete().AbsPath(fill(text)).Do(t.Context()).Error())
		default:
			e.apply(t, row.at, fill(text))
		}
	}
	if inKubernetes && row.account == "reader" {
		until(t, "the API server has noticed the role", func() bool { return strings.Contains(rights(t, e, row.account, row.at), name) })
	}
	_, err := program() // which takes its time
	must(t, err)
	began := time.Now()
	printed, code := run(row.account, row.args)
	took := time.Since(began)
	if row.want == "" {
		if code != 0 || processes.Posts(server) != strings.Count(row.args, "renew") || strings.HasPrefix(row.args, "token") && printed != server.Token() {
			t.Errorf("%d, %s", code, printed)
		}
		return
	}
	printed = printed[strings.LastIndex(printed, "\n")+1:] // after a warning
	want, names := fill(row.want), cmp.Or(map[string]string{"kubernetes": name, "sqlite": e.socket}[e.kind], " on "+through.listens+": ")
	roles := inKubernetes && strings.Contains(printed, "role") != strings.Contains(want, "role")
	if code != 1 || took > patience || roles || !strings.Contains(printed, want) || !strings.Contains(printed, names) ||
		strings.Contains(printed, "refused TLS") {
		t.Errorf("%d after %v, %s\nwant %s", code, took, printed, want)
	}
	if processes.Posts(server) > 0 {
		t.Error("a renewal was sent, although its key cannot be saved")
	}
	outcome(e, row.situation, printed)
	if inKubernetes && slices.Contains(row.before, "adopt") {
		printed, code = run(row.account, "token --read-only")
		unfit := strings.HasPrefix(want, "it is ")
		if code != 0 || !slices.Contains(strings.Split(printed, "\n"), server.Token()) ||
			strings.Contains(printed, "warning: ") != unfit || strings.Contains(printed, want) != unfit {
			t.Errorf("a reader does not get the key, with a warning if it is in a Secret that can keep no other: %d, %s", code, printed)
		}
	}
}

// TestPatience has esper-key ask a server that says nothing, an API server that answers 429 to each request, and a database
// in which another session has locked the row. It gives up after 15 seconds, and says which store it is.
func TestPatience(t *testing.T) {
	for _, row := range []struct {
		engines string
		refusal
	}{
		{databases, refusal{situation: "says nothing", args: "show", want: "took too long"}},
		{"Kubernetes", refusal{situation: "says nothing", at: "fleet", args: "show", want: "timeout"}},
		{"Kubernetes", refusal{situation: "says 429 Retry-After", at: "fleet", args: "show", want: "429 Too Many Requests"}},
		{databases, refusal{"another session has locked the row", "name=$name", []string{"adopt", "lock"}, "", "renew --now", "took too long"}},
		{"SQLite", refusal{"another session has locked the row", "name=$name", []string{"adopt", "lock"}, "", "renew --now", "locked"}},
	} {
		t.Run(row.situation, func(t *testing.T) {
			t.Parallel()
			on(t, row.engines, func(t *testing.T, e *engine) { refuse(t, e, row.refusal) })
		})
	}
}

// program builds esper-key, once.
var program = sync.OnceValues(func() (path string, err error) {
	folder, err := folders()
	if err != nil {
		return "", err
	}
	build := exec.Command("go", "build", "-o", folder+"/esper-key", ".")
	build.Dir = "../cmd/esper-key"
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return folder + "/esper-key", nil
})

// esperKey runs esper-key on a store, and returns what it printed, and its exit code. Only token may print the key.
func esperKey(t *testing.T, server *espertest.Server, url string, env []string, args ...string) (printed string, code int) {
	t.Helper()
	path, err := program()
	must(t, err)
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Env = append(append(os.Environ(), "ESPER_ENVIRONMENT="+server.URL, "ESPER_KEY_STORE="+url), env...)
	if args[0] == "adopt" {
		cmd.Stdin = strings.NewReader(server.Token())
	}
	out, err := cmd.CombinedOutput()
	if ended := (*exec.ExitError)(nil); err != nil && !errors.As(err, &ended) {
		t.Fatal(err)
	}
	if args[0] != "token" && holds(string(out), server.Token()) {
		t.Errorf("%q prints the key: %s", args, out)
	}
	return strings.TrimSpace(string(out)), cmd.ProcessState.ExitCode()
}

// holds reports whether a text has a key, or most of it, as it is, in hex or in base64.
func holds(text, key string) bool {
	part := key[:len(key)-4]
	for _, run := range regexp.MustCompile(`[A-Za-z0-9+/]{20,}`).FindAllString(text, -1) {
		for begin := range 4 {
			decoded, _ := base64.RawStdEncoding.DecodeString(run[begin:])
			text += "\n" + string(decoded)
		}
	}
	return strings.Contains(text, part) || strings.Contains(strings.ToLower(text), hex.EncodeToString([]byte(part)))
}

// url is the URL for esper-key of a row in a database. account is who asks.
func (e *engine) url(account, parameters string) string {
	switch e.kind {
	case "pgx":
		return "postgres://" + account + "@" + e.listens + "/postgres?" + parameters
	case "mysql":
		return "mysql://" + account + "@" + e.listens + "/mysql?" + parameters
	}
	return "sqlite://" + e.socket + "?" + parameters
}
