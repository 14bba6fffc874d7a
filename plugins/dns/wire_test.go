package dns

import "github.com/miekg/dns"

// packRR and unpackRR are a record's way over the wire.
func packRR(rr dns.RR, buf []byte) (int, error) { return dns.PackRR(rr, buf, 0, nil, false) }

func unpackRR(buf []byte) (dns.RR, error) {
	rr, _, err := dns.UnpackRR(buf, 0)
	return rr, err
}
