package main

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// enter samples a connection from before it is made to the first PONG, which the server sends to nobody whom it has not
// let in. Whoever is given signs with his key; else the kernel says who it is. The bytes are written here, so that the
// work of no client library is a part of the time.
func enter(url string, who *participant) sampler {
	address := strings.TrimPrefix(url, "nats://")
	return func() (took time.Duration, err error) {
		began := time.Now()
		conn, err := net.Dial("tcp", address) //nolint:noctx // the deadline below bounds what follows
		if err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, conn.Close()) }()
		if err := conn.SetDeadline(began.Add(patience)); err != nil {
			return 0, err
		}
		lines := bufio.NewReaderSize(conn, 4096)
		info, err := lines.ReadBytes('\n')
		if err != nil {
			return 0, fmt.Errorf("the server's first line: %w", err)
		}
		connect, err := introduction(info, who)
		if err != nil {
			return 0, err
		}
		if _, err := fmt.Fprintf(conn, "CONNECT %s\r\nPING\r\n", connect); err != nil {
			return 0, err
		}
		answer, err := lines.ReadString('\n')
		took = time.Since(began)
		if err == nil && answer != "PONG\r\n" {
			err = fmt.Errorf("a connection is not let in: %q", answer)
		}
		return took, err
	}
}

// introduction is what a client says of itself, with the server's nonce signed where there is a key.
func introduction(info []byte, who *participant) ([]byte, error) {
	options := map[string]any{"verbose": false, "pedantic": false, "protocol": 0, "lang": "bench", "version": "1"}
	if who != nil {
		var server struct{ Nonce string }
		_, text, _ := strings.Cut(string(info), " ") // INFO
		if err := json.Unmarshal([]byte(text), &server); err != nil {
			return nil, fmt.Errorf("the server's first line %q: %w", info, err)
		}
		signed, err := who.key.Sign([]byte(server.Nonce))
		if err != nil {
			return nil, err
		}
		options["nkey"], options["sig"] = who.public, base64.RawURLEncoding.EncodeToString(signed)
	}
	return json.Marshal(options)
}
