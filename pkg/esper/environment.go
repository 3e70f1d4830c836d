package esper

import (
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/esper-go/esper-go/gen"
)

// maxTenant leaves room for "-api" in a DNS label of 63 bytes.
const maxTenant = 59

// parseEnvironment turns a tenant name or a base URL into a base URL without a trailing slash.
// No error repeats the input: it may hold a password, or be a key in the wrong place.
func parseEnvironment(environment string, insecure bool) (*url.URL, error) {
	if environment == "" {
		return nil, invalid(`the environment is empty; pass a tenant name ("foo") or a base URL ("https://foo-api.esper.cloud/api")`)
	}
	if !strings.ContainsAny(environment, ":/.?#@") {
		return tenantURL(environment)
	}
	if !strings.Contains(environment, "://") {
		return nil, invalid(`the environment is neither a tenant name ("foo") nor a base URL with its scheme ("https://foo-api.esper.cloud/api")`)
	}
	u, err := url.Parse(environment)
	if err != nil {
		return nil, invalid("the base URL cannot be parsed; check it for spaces, control characters and a malformed host or port")
	}
	if err := checkBaseURL(u, insecure); err != nil {
		return nil, err
	}
	if strings.ContainsAny(environment, "?#") {
		return nil, invalid("the base URL has a query or a fragment; pass only scheme, host and path")
	}
	u.RawPath = strings.TrimRight(u.EscapedPath(), "/")
	if u.Path, err = url.PathUnescape(u.RawPath); err != nil {
		return nil, invalid("the base URL's path is malformed")
	}
	return u, nil
}

func tenantURL(tenant string) (*url.URL, error) {
	if len(tenant) > maxTenant {
		return nil, invalid("the tenant name has %d characters, at most %d fit into a host name", len(tenant), maxTenant)
	}
	for _, c := range []byte(tenant) {
		if c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return nil, invalid("the tenant name may hold only letters, digits and hyphens")
		}
	}
	if tenant[0] == '-' || tenant[len(tenant)-1] == '-' {
		return nil, invalid("the tenant name begins or ends with a hyphen")
	}
	base, err := gen.NewServerURLTenant(gen.ServerURLTenantTenantVariable(strings.ToLower(tenant)))
	if err != nil {
		return nil, err
	}
	return url.Parse(base)
}

func checkBaseURL(u *url.URL, insecure bool) error {
	host := u.Hostname()
	switch {
	case u.Opaque != "" || host == "":
		return invalid("the base URL has no host")
	case u.User != nil:
		return invalid("the base URL holds a user name; remove it, the key is the only credential")
	case strings.ContainsAny(host, " %*\\<>\"`{}|^") || strings.HasPrefix(host, ".") || strings.Contains(host, ".."):
		return invalid("the base URL's host is malformed")
	case strings.HasSuffix(u.Host, ":") || u.Port() != "" && !validPort(u.Port()):
		return invalid("the base URL's port is not a number from 1 to 65535")
	case dotSegments(u.Path):
		return invalid("the base URL's path has a segment of dots")
	case u.Scheme == "https", u.Scheme == "http" && (insecure || loopback(host)):
		return nil
	case u.Scheme == "http":
		return invalid("the base URL is http, which shows the key to the network; use https (or WithInsecureHTTP, for a test network)")
	}
	return invalid("the base URL's scheme must be https")
}

func validPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

func dotSegments(path string) bool {
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "." || segment == ".." {
			return true
		}
	}
	return false
}

// loopback reports whether host can only be this machine. A name that merely resolves to a
// loopback address does not count: whoever answers the lookup decides about it.
func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// invalid builds an error that is ErrInvalidArgument.
func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalidArgument, fmt.Sprintf(format, args...))
}
