// Package origin makes sure that a key goes only to its own server. It normalizes base URLs, and compares the target of
// a request with the base URL before the key is added.
package origin

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"github.com/esper-go/esper-go/gen"
)

// Parse turns an environment, which is a tenant name or a base URL, into a normalized base URL without a trailing
// slash. It ignores white space around the environment, and a byte order mark before it, which files and variables
// often bring along. No error repeats the input: it may hold a password, or be a key in the wrong place.
func Parse(environment string, insecure bool) (*url.URL, error) {
	environment = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(environment), "\ufeff"))
	advice, isURL := Pasted(environment, false), strings.Contains(environment, "://")
	switch {
	case environment == "":
		return nil, errors.New(`the environment is empty; pass a tenant name ("foo") or a base URL ` +
			`("https://foo-api.esper.cloud/api")`)
	case advice != "":
		return nil, errors.New("the environment " + advice)
	case !isURL && !strings.ContainsAny(environment, ":/.?#@"):
		return tenantURL(environment)
	case !isURL:
		return nil, errors.New(`the environment is neither a tenant name alone ("foo") nor a base URL with its scheme ` +
			`("https://foo-api.esper.cloud/api")`)
	case strings.ContainsAny(environment, " \t\r\n\\"):
		return nil, errors.New("the base URL holds a space or a backslash")
	}
	u, err := url.Parse(environment)
	if err != nil {
		return nil, errors.New("the base URL cannot be parsed; check it for control characters and a malformed host or port")
	}
	u.Host = host(u.Scheme, u.Host)
	if err := cmp.Or(checkBaseURL(u, insecure), checkIsAPI(u)); err != nil {
		return nil, err
	}
	u.RawPath = strings.TrimRight(u.EscapedPath(), "/")
	u.Path, err = url.PathUnescape(u.RawPath)
	return u, err
}

var (
	versioned = regexp.MustCompile(`/api/v[0-9]+(/(token-info|enterprise)(/.*)?)?$`)
	tenants   = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,57}[A-Za-z0-9])?$`) // with -api, a label of a host name
	// hostNames have the labels of RFC 1123, and underscores, which are in use on private networks. A name in another
	// script has to be punycode.
	hostNames = regexp.MustCompile(`^(\w([\w-]{0,61}\w)?\.)*\w([\w-]{0,61}\w)?$`)
)

// cloud is the domain of the Esper cloud, as in the server URL of the OpenAPI description, console that of its Console.
const cloud, console = ".esper.cloud", ".esper.io"

// checkIsAPI refuses URLs that people paste although they are not the API's base URL.
func checkIsAPI(u *url.URL) error {
	host, path := "."+u.Hostname(), strings.TrimRight(u.Path, "/")
	name, isCloud := strings.CutSuffix(host, cloud)
	switch {
	case isCloud && (!strings.HasSuffix(name, "-api") || strings.Count(name, ".") > 1), strings.HasSuffix(host, console):
		return fmt.Errorf("the base URL is not that of the API, but perhaps of the Esper Console; "+
			"the API's is https://TENANT-api%s/api, or pass the tenant name alone", cloud)
	case versioned.MatchString(path):
		return errors.New("the base URL goes on behind /api; the version and what follows belong to each operation, " +
			"so let it end in /api")
	case isCloud && path != "/api":
		return errors.New("the base URL of the Esper cloud has the path /api, and nothing behind it")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return errors.New("the base URL has a query or a fragment; pass only scheme, host and path")
	}
	return nil
}

func tenantURL(tenant string) (*url.URL, error) {
	has := func(kind func(rune) bool) bool { return strings.ContainsFunc(tenant, kind) }
	switch {
	case !tenants.MatchString(tenant):
		return nil, errors.New("the tenant name may hold only letters, digits and, between them, hyphens, 59 at most")
	case len(tenant) >= shortKey && has(unicode.IsUpper) && has(unicode.IsLower) && has(unicode.IsDigit):
		// A key has 30 letters and digits. As part of a host name, the DNS lookup would show it to a name server.
		return nil, errors.New("the tenant name looks like an API key; are environment and key swapped?")
	case strings.HasSuffix(strings.ToLower(tenant), "-api"):
		return nil, errors.New("the tenant name ends in -api, which is part of the host name and added here; leave it out, " +
			"or pass the whole base URL if the tenant is really called so")
	}
	base, err := gen.NewServerURLTenant(gen.ServerURLTenantTenantVariable(strings.ToLower(tenant)))
	if err != nil {
		return nil, err
	}
	return Parse(base, false)
}

func checkBaseURL(u *url.URL, insecure bool) error {
	host := u.Hostname()
	port, err := strconv.ParseUint(cmp.Or(u.Port(), "443"), 10, 16)
	switch {
	case u.Opaque != "" || host == "":
		return errors.New("the base URL has no host")
	case u.User != nil:
		return errors.New("the base URL holds a user name; remove it, the key is the only credential")
	case !validHost(host):
		return errors.New("the base URL's host is neither a host name nor an IP address; " +
			"check for an unset or unexpanded variable")
	case strings.HasSuffix(u.Host, ":") || err != nil || port == 0:
		return errors.New("the base URL's port is not a number from 1 to 65535")
	case u.Scheme == "https", u.Scheme == "http" && (insecure || loopback(host)):
		return nil
	case u.Scheme == "http":
		return errors.New("the base URL is http, which shows the key to the network; " +
			"use https (or WithInsecureHTTP, for a test network)")
	}
	return errors.New("the base URL's scheme must be https")
}

// validHost accepts an IP address without a zone, or a host name. Parse has removed a trailing dot.
func validHost(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Zone() == ""
	}
	last := host[strings.LastIndexByte(host, '.')+1:] // of digits alone in a malformed IP address
	return len(host) <= 253 && hostNames.MatchString(host) && strings.Trim(last, "0123456789") != ""
}

// loopback reports whether host, which is in lower case, can only be this machine. A name that merely resolves to a
// loopback address does not count: whoever answers the lookup decides about it.
func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}

// ErrOther says that a request is for another server than that of the base URL.
var ErrOther = errors.New("the request is for another server than the base URL's; the key is not sent there")

// Check returns ErrOther unless req goes to the server of base, which is from Parse. It compares all that decides where
// net/http sends a request and what it says there: scheme, host and port of the URL, the Host field, and an opaque URL,
// which would replace the request's target.
func Check(base *url.URL, req *http.Request) error {
	same := func(h string) bool { return h == base.Host || host(base.Scheme, h) == base.Host }
	u := req.URL
	if u == nil || u.Opaque != "" || u.Scheme != base.Scheme || !same(u.Host) || req.Host != "" && !same(req.Host) {
		return ErrOther
	}
	return nil
}

// host writes a host, with or without a port, in the one form that names this server: lower case, no trailing dot, no
// default port. A malformed host stays as it is.
func host(scheme, h string) string {
	u := url.URL{Host: strings.ToLower(h)}
	name, port := strings.TrimSuffix(u.Hostname(), "."), strings.TrimLeft(u.Port(), "0")
	switch {
	case name == "" || strings.HasSuffix(h, ":") || port == "" && u.Port() != "":
		return h
	case port != "" && scheme+port != "https443" && scheme+port != "http80":
		return net.JoinHostPort(name, port)
	case strings.Contains(name, ":"):
		return "[" + name + "]"
	}
	return name
}
