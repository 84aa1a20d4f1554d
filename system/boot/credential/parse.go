package credential

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
)

// maxCertificates is how many certificates an answer may have.
const maxCertificates = 16

// Parse reads the certificates that an authority answered with: PEM, DER, or PKCS #7 (RFC 5652, certificates only) as
// DER or base64, which is what EST has.
func Parse(answer []byte) ([]*x509.Certificate, error) {
	certs, err := parse(answer)
	switch {
	case err != nil:
		return nil, err
	case len(certs) == 0:
		return nil, errors.New("there is no certificate in it")
	case len(certs) > maxCertificates:
		return nil, fmt.Errorf("there are %d certificates in it; at most %d would be right", len(certs), maxCertificates)
	}
	return certs, nil
}

func parse(answer []byte) ([]*x509.Certificate, error) {
	if bytes.Contains(answer, []byte("-----BEGIN ")) {
		return parsePEM(answer)
	}
	if len(answer) > 0 && answer[0] == 0x30 { // a sequence
		return parseDER(answer)
	}
	// Base64's decoder skips line ends, not spaces.
	der, err := base64.StdEncoding.DecodeString(string(bytes.Join(bytes.Fields(answer), nil)))
	if err != nil {
		return nil, errors.New("it is neither PEM nor DER nor base64")
	}
	return parseDER(der)
}

// parsePEM reads what stands in the blocks, the texts around them aside.
func parsePEM(text []byte) (certs []*x509.Certificate, err error) {
	for block, rest := pem.Decode(text); block != nil && len(certs) <= maxCertificates; block, rest = pem.Decode(rest) {
		switch block.Type {
		case "CERTIFICATE", "PKCS7", "CMS":
			more, err := parseDER(block.Bytes)
			if err != nil {
				return nil, err
			}
			certs = append(certs, more...)
		}
	}
	return certs, nil
}

// parseDER reads certificates, or PKCS #7.
func parseDER(der []byte) ([]*x509.Certificate, error) {
	if signed, ok := signedCertificates(der); ok {
		der = signed
	}
	certs, err := x509.ParseCertificates(der)
	if err != nil {
		return nil, fmt.Errorf("it is no certificate: %w", err)
	}
	return certs, nil
}

// signedCertificates gives the certificates within PKCS #7's SignedData, one behind the other.
func signedCertificates(der []byte) ([]byte, bool) {
	var outer struct {
		Type    asn1.ObjectIdentifier
		Content asn1.RawValue `asn1:"explicit,optional,tag:0"`
	}
	if _, err := asn1.Unmarshal(der, &outer); err != nil || !outer.Type.Equal(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}) {
		return nil, false
	}
	var signed struct {
		Version      int
		Digests      asn1.RawValue
		Content      asn1.RawValue
		Certificates asn1.RawValue `asn1:"optional,tag:0"`
	}
	if _, err := asn1.Unmarshal(outer.Content.Bytes, &signed); err != nil {
		return nil, false
	}
	return signed.Certificates.Bytes, true
}
