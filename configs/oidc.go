package configs

import (
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
)

var (
	// claimPattern is what the claim of a token may be called.
	claimPattern = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_:./-]{0,99}$`)
	// domainPattern is what stands after the "@" of an address.
	domainPattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`)
)

// nameless are the claims that every token has or that are another's in the
// next one, so that they name nobody.
var nameless = []string{"iss", "aud", "azp", "exp", "nbf", "iat", "jti", "nonce", "auth_time", "email_verified"}

// oidc checks the issuers. No two may speak for the same names: whoever could get
// an address at the one would be who has it at the other.
func (d *document) oidc(issuers []Issuer) {
	seen, domains, open := map[string]string{}, map[string]string{}, ""
	for i, issuer := range issuers {
		path := fmt.Sprintf("oidc[%d]", i)
		if first, twice := seen[issuer.Issuer]; twice {
			d.fault(path+".issuer", "this issuer stands at %s too", first)
		}
		seen[issuer.Issuer] = path
		d.issuer(path, issuer)
		if len(issuer.Domains) == 0 && open != "" {
			d.fault(path, "%s is without `domains` already, so both could name the same account; say here which domains this issuer speaks for, such as [example.org]", open)
		} else if len(issuer.Domains) == 0 {
			open = path
		}
		for j, domain := range issuer.Domains {
			at := fmt.Sprintf("%s.domains[%d]", path, j)
			if !domainPattern.MatchString(domain) {
				d.fault(at, "%q is not a domain; write it in lower case, such as example.org", domain)
			} else if first, twice := domains[domain]; twice {
				d.fault(at, "this domain stands at %s too; one issuer alone can speak for it", first)
			}
			domains[domain] = at
		}
	}
}

func (d *document) issuer(path string, i Issuer) {
	u, err := url.Parse(i.Issuer)
	switch {
	case i.Issuer == "":
		d.fault(path+".issuer", "the issuer's address is needed, exactly as its tokens say it (`iss`)")
	case err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http"):
		d.fault(path+".issuer", "%q is not an address; write https://host", i.Issuer)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		d.fault(path+".issuer", "the address is more than a host and a path; write it exactly as the issuer's tokens say it (`iss`)")
	case u.Scheme == "http" && !onThisMachine(u.Hostname()):
		d.fault(path+".issuer", "it must be https: over http anybody on the way could say which keys sign")
	}
	if i.Audience == "" {
		d.fault(path+".audience", "it is needed: without it a token for any other service would be good here")
	}
	if i.Claim != "" && (!claimPattern.MatchString(i.Claim) || slices.Contains(nameless, i.Claim)) {
		d.fault(path+".claim", "%q names nobody; take email, sub, or another claim that stays the same", i.Claim)
	}
}

// onThisMachine tells whether nobody else can answer for a host.
func onThisMachine(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
