package boot

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"net"
	"time"
)

// chronyAddress is where chronyd answers whoever is local. Only root can be there, as for every port below 1024.
const chronyAddress = "127.0.0.1:323"

// chronyPatience is how long it has to answer. Where there is none, the kernel says so at once.
const chronyPatience = 500 * time.Millisecond

// Of chronyd's command protocol, version 6, all numbers of which are big-endian.
const (
	chronyVersion  = 6
	chronyRequest  = 1
	chronyReply    = 2
	askTracking    = 33
	tellTracking   = 5
	trackingLength = 104 // of an answer at least; a request may not be shorter, so that nobody is flooded
	leapUnknown    = 3   // the leap status of a clock that follows nothing
	worstStratum   = 15
	ownReference   = 0x7f7f0101 // of a clock that is its own source
)

// chronyFollows asks chronyd, as "chronyc tracking" does, whether it follows a source. Whoever does not answer, or
// not in that way, does not.
func chronyFollows(address string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), chronyPatience)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "udp", address)
	if err != nil {
		return false
	}
	defer conn.Close() //nolint:errcheck // nothing is lost with it
	if err := conn.SetDeadline(time.Now().Add(chronyPatience)); err != nil {
		return false
	}
	number := rand.Uint32()
	if _, err := conn.Write(trackingQuestion(number)); err != nil {
		return false
	}
	var answer [1024]byte
	n, err := conn.Read(answer[:])
	return err == nil && followsSource(answer[:n], number)
}

// trackingQuestion is a request for how the clock is tracked.
func trackingQuestion(number uint32) []byte {
	q := make([]byte, trackingLength)
	q[0], q[1] = chronyVersion, chronyRequest
	binary.BigEndian.PutUint16(q[4:], askTracking)
	binary.BigEndian.PutUint32(q[8:], number)
	return q
}

// followsSource reads an answer to that request.
func followsSource(a []byte, number uint32) bool {
	if len(a) < trackingLength || a[0] != chronyVersion || a[1] != chronyReply {
		return false
	}
	command, kind, status := binary.BigEndian.Uint16(a[4:]), binary.BigEndian.Uint16(a[6:]), binary.BigEndian.Uint16(a[8:])
	if command != askTracking || kind != tellTracking || status != 0 || binary.BigEndian.Uint32(a[16:]) != number {
		return false
	}
	reference := binary.BigEndian.Uint32(a[28:])
	stratum, leap := binary.BigEndian.Uint16(a[52:]), binary.BigEndian.Uint16(a[54:])
	return reference != 0 && reference != ownReference && stratum > 0 && stratum <= worstStratum && leap < leapUnknown
}
