package credential

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"
)

// skew is how much later than ours the clock of an authority may be.
const skew = 5 * time.Minute

// Check finds the certificate of the key among those that came, and holds it against what it is to be: made out to name, for
// clients, no authority's own, and valid now. The chain begins with it.
func Check(certs []*x509.Certificate, key crypto.PublicKey, name string, now time.Time) (chain []*x509.Certificate, err error) {
	ours, ok := key.(interface{ Equal(crypto.PublicKey) bool })
	i := -1
	if ok {
		i = slices.IndexFunc(certs, func(c *x509.Certificate) bool { return ours.Equal(c.PublicKey) })
	}
	if i < 0 {
		return nil, fmt.Errorf("the certificate is of another key")
	}
	leaf := certs[i]
	chain = append([]*x509.Certificate{leaf}, slices.Delete(slices.Clone(certs), i, i+1)...)
	switch {
	case leaf.Subject.CommonName != name && !slices.Contains(leaf.DNSNames, name):
		return nil, fmt.Errorf("the certificate is made out to %q; %q would be right", leaf.Subject.CommonName, name)
	case leaf.IsCA:
		return nil, fmt.Errorf("the certificate is one that may sign others; a device's would be right")
	case !forClients(leaf):
		return nil, fmt.Errorf("the certificate is not for clients (extended key usage)")
	case now.Add(skew).Before(leaf.NotBefore):
		return nil, fmt.Errorf("the certificate is not valid before %s, and the clock shows %s", rfc3339(leaf.NotBefore), now.UTC().Format(time.DateOnly))
	case !now.Before(leaf.NotAfter):
		return nil, fmt.Errorf("the certificate has expired on %s, and the clock shows %s", rfc3339(leaf.NotAfter), now.UTC().Format(time.DateOnly))
	}
	return chain, nil
}

func rfc3339(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// forClients reports whether a certificate may be a client's.
func forClients(c *x509.Certificate) bool {
	return len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) == 0 ||
		slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageClientAuth) || slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny)
}

// Renewal is when a certificate is to be renewed: when two thirds of its life are over, or up to a twentieth of it earlier, so that
// devices that were made together do not come together. It is always the same for one certificate.
func Renewal(c *x509.Certificate) time.Time {
	life := c.NotAfter.Sub(c.NotBefore)
	sum := sha256.Sum256(c.Raw)
	earlier := life / 20 / (1 << 16) * time.Duration(binary.BigEndian.Uint16(sum[:2])) // divided first: a year times that does not fit
	return c.NotBefore.Add(life/3*2 - earlier)
}

// DER writes certificates one behind the other, as blobs hold them.
func DER(chain []*x509.Certificate) []byte {
	var der []byte
	for _, c := range chain {
		der = append(der, c.Raw...)
	}
	return der
}

// Describe says for people what a certificate is.
func Describe(c *x509.Certificate) string {
	issuer := c.Issuer.CommonName
	if issuer == "" {
		issuer = c.Issuer.String()
	}
	return fmt.Sprintf("signed by %s, valid until %s", strings.ToValidUTF8(issuer, "?"), rfc3339(c.NotAfter))
}
