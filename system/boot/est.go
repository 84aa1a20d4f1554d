package boot

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"muster/system/boot/credential"
	"muster/wire"
)

// EST is an authority that is reached over HTTPS as RFC 7030 has it, Enrollment over Secure Transport: the request is posted as
// base64 to /.well-known/est/simpleenroll, and renewed, with the certificate shown in TLS, at simplereenroll. Servers that
// answer the same with PEM or DER will do as well.
type EST struct {
	HTTPS HTTPS
	Blobs Blobs
	URL   func() string // of simpleenroll; "" when it is not known
	Basic bool          // the registration token, in the blob auth.0, is a user and a password, and not a bearer token
}

// TokenBlob has what the device registers with.
var TokenBlob = wire.BlobKey{Name: "auth"}

// Sign implements [Authority].
func (s EST) Sign(ctx context.Context, r SigningRequest) ([]byte, error) {
	to := s.URL()
	if to == "" {
		return nil, errors.New("nothing says where to enrol: neither enrol.url nor enrol_url of the policy")
	}
	header := http.Header{
		"Content-Type": {"application/pkcs10"}, "Content-Transfer-Encoding": {"base64"},
		"Accept": {"application/pkcs7-mime, application/pem-certificate-chain, application/pkix-cert"},
	}
	if base, ok := strings.CutSuffix(to, "/simpleenroll"); ok && r.Renewal {
		to = base + "/simplereenroll"
	}
	token, err := secretOf(ctx, s.Blobs, TokenBlob, "")
	if err != nil {
		return nil, err
	}
	switch {
	case token == "" || r.Renewal:
	case s.Basic:
		header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(token)))
	default:
		header.Set("Authorization", "Bearer "+token)
	}
	https := s.HTTPS
	if r.Renewal {
		https.Own = s.Blobs
	}
	return https.post(ctx, "enrolment", to, header, []byte(base64.StdEncoding.EncodeToString(r.Request)))
}

// Signer is an authority that is a program: it is given the request as PEM on standard input, the name in MUSTER_SERIAL and
// "enrol" or "renew" as its argument, and writes the certificate to standard output.
type Signer struct {
	Path   string
	Runner Runner   // nil: [Processes]
	Env    []string // what it is given besides: NAME=value
}

// Sign implements [Authority].
func (s Signer) Sign(ctx context.Context, r SigningRequest) ([]byte, error) {
	what := "enrol"
	if r.Renewal {
		what = "renew"
	}
	exit, err := runHook(ctx, s.Runner, Program{
		Path: s.Path, Args: []string{what}, Env: environment(append([]string{"MUSTER_SERIAL=" + r.Name}, s.Env...)...),
		Input: credential.RequestPEM(r.Request), Result: maxAnswer,
	})
	if err != nil {
		return nil, fmt.Errorf("%s %w", s.Path, err)
	}
	return []byte(exit.Result), nil
}

// runHook runs a program that is to give something. The error reads on from its name.
func runHook(ctx context.Context, runner Runner, p Program) (Exit, error) {
	if runner == nil {
		runner = Processes{}
	}
	exit, err := runner.Run(ctx, p)
	switch {
	case errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled):
		return exit, errors.New(withWords("was killed, it took too long", exit.Output))
	case err != nil:
		return exit, errors.New(withWords("was not run", err.Error()))
	case exit.Code != exitAccept:
		return exit, errors.New(withWords("failed, "+exit.How, exit.Output))
	}
	return exit, nil
}
