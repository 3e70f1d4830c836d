package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"maps"
	"net/url"
	"os"
	"slices"
	"strings"
)

// security is what a URL says about TLS.
type security struct {
	mode string // in PostgreSQL's words, or "" if the URL does not say
	ca   string // a file with the certificates of authorities, in PEM
}

// takeSecurity removes the parameters about TLS from a URL's query. The clients of the databases have several names for
// each.
func takeSecurity(query url.Values) (s security, err error) {
	word := func(text string) string { return strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(text)) }
	modes := map[string]string{
		"disable": "disable", "disabled": "disable", "allow": "allow", "prefer": "prefer", "preferred": "prefer",
		"require": "require", "required": "require", "verifyca": "verify-ca", "verifyfull": "verify-full", "verifyidentity": "verify-full",
	}
	switches := map[string]string{"true": "require", "1": "require", "false": "disable", "0": "disable"}
	ofDriver := map[string]string{"true": "verify-full", "1": "verify-full", "false": "disable", "0": "disable", "skipverify": "require", "preferred": "prefer"}
	for name := range query {
		var known map[string]string
		switch word(name) {
		case "sslca", "sslrootcert":
			s.ca = query.Get(name)
		case "sslmode":
			known = modes
		case "usessl", "ssl":
			known = switches
		case "tls":
			known = ofDriver
		default:
			continue
		}
		mode, ok := known[word(query.Get(name))]
		switch {
		case known == nil:
		case !ok:
			return s, usage("the parameter %s of the store's URL is none of %s", name, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		case s.mode != "" && s.mode != mode:
			return s, usage("two parameters of the store's URL disagree about TLS; keep one, such as sslmode=verify-full")
		default:
			s.mode = mode
		}
		query.Del(name)
	}
	if s.ca != "" && s.mode == "" {
		s.mode = "verify-ca"
	}
	return s, nil
}

// config returns the settings for TLS with a MySQL host, or nil if TLS is not to be used. The certificate of the server is
// checked if there are authorities to check it with, and its name too with verify-full.
func (s security) config(host string) (*tls.Config, error) {
	config := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	for _, suite := range tls.CipherSuites() {
		config.CipherSuites = append(config.CipherSuites, suite.ID)
	}
	// MySQL 5.7 and the first releases of 8.0 have no key exchange that Go offers by itself.
	config.CipherSuites = append(config.CipherSuites, tls.TLS_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_RSA_WITH_AES_128_GCM_SHA256)
	switch {
	case s.mode == "disable":
		return nil, nil
	case s.ca != "":
		var err error
		if config.RootCAs, err = authorities(s.ca); err != nil {
			return nil, err
		}
	}
	if s.mode == "verify-full" {
		return config, nil
	}
	config.InsecureSkipVerify = true // what follows checks all but the name
	if s.ca != "" || s.mode == "verify-ca" {
		config.VerifyConnection = func(state tls.ConnectionState) error {
			options := x509.VerifyOptions{Roots: config.RootCAs, Intermediates: x509.NewCertPool()}
			for _, c := range state.PeerCertificates[1:] {
				options.Intermediates.AddCert(c)
			}
			_, err := state.PeerCertificates[0].Verify(options)
			return err
		}
	}
	return config, nil
}

// authorities reads the certificates of authorities.
func authorities(file string) (*x509.CertPool, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("the certificates of the store's authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("the certificates of the store's authority: %s has no certificate in PEM", file)
	}
	return pool, nil
}
