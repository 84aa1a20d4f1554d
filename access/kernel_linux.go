package access

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"muster/wire"
)

// Socket is the other end of a connection within this device, as the kernel knows it.
type Socket struct {
	UID   int
	Inode uint32 // of the socket, by which its process is found
}

// The parts of a sock_diag request and its answer (linux/inet_diag.h), in bytes.
const (
	diagRequest = 56
	diagAnswer  = 72
	established = 1
	diagBudget  = time.Second
)

// OwnerOf asks the kernel who owns the socket at the address remote, whose connection ends here at local: one exact
// question with both addresses and both ports (sock_diag(7)). An answer about anything but this very connection,
// established and still held by a process, is an error.
//
// Looking by the port alone would also find a socket of somebody else's, and a listening one.
func OwnerOf(remote, local netip.AddrPort) (Socket, error) {
	remote, local = unmap(remote), unmap(local)
	if remote.Addr().Is4() != local.Addr().Is4() {
		return Socket{}, fmt.Errorf("addresses %v and %v are of two families", remote, local)
	}
	answer, err := askKernel(diagQuestion(remote, local))
	if err != nil {
		return Socket{}, fmt.Errorf("ask the kernel for %v: %w", remote, err)
	}
	if string(answer[4:40]) != string(diagQuestion(remote, local)[8:44]) {
		return Socket{}, fmt.Errorf("the kernel answers for another connection than %v", remote)
	}
	socket := Socket{
		UID:   int(binary.NativeEndian.Uint32(answer[64:])),
		Inode: binary.NativeEndian.Uint32(answer[68:]),
	}
	switch {
	case answer[1] != established:
		return Socket{}, fmt.Errorf("connection from %v is not established", remote)
	case socket.Inode == 0:
		return Socket{}, fmt.Errorf("connection from %v is held by no process any more", remote)
	}
	return socket, nil
}

// unmap makes an IPv4 address of one that is written as IPv6, as a listener for both gives it.
func unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// diagQuestion is struct inet_diag_req_v2 for one TCP connection.
func diagQuestion(source, destination netip.AddrPort) []byte {
	q := make([]byte, diagRequest)
	q[0] = unix.AF_INET6
	if source.Addr().Is4() {
		q[0] = unix.AF_INET
	}
	q[1] = unix.IPPROTO_TCP
	binary.NativeEndian.PutUint32(q[4:], 1<<established)
	binary.BigEndian.PutUint16(q[8:], source.Port())
	binary.BigEndian.PutUint16(q[10:], destination.Port())
	copy(q[12:28], source.Addr().AsSlice())
	copy(q[28:44], destination.Addr().AsSlice())
	binary.NativeEndian.PutUint64(q[48:], ^uint64(0)) // no cookie
	return q
}

// askKernel puts one question to sock_diag, and gives the struct inet_diag_msg that is answered.
func askKernel(question []byte) ([]byte, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(fd) }() // nothing is left in it
	limit := unix.NsecToTimeval(int64(diagBudget))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit); err != nil {
		return nil, err
	}
	message := make([]byte, unix.SizeofNlMsghdr, unix.SizeofNlMsghdr+diagRequest)
	binary.NativeEndian.PutUint32(message[0:], uint32(unix.SizeofNlMsghdr+diagRequest))
	binary.NativeEndian.PutUint16(message[4:], unix.SOCK_DIAG_BY_FAMILY)
	binary.NativeEndian.PutUint16(message[6:], unix.NLM_F_REQUEST)
	if err := unix.Sendto(fd, append(message, question...), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, err
	}
	answer := make([]byte, 4096)
	n, from, err := unix.Recvfrom(fd, answer, 0)
	if err != nil {
		return nil, err
	}
	if sender, ok := from.(*unix.SockaddrNetlink); !ok || sender.Pid != 0 {
		return nil, errors.New("the answer is not the kernel's")
	}
	return readDiag(answer[:n])
}

// readDiag takes the head off an answer.
func readDiag(answer []byte) ([]byte, error) {
	if len(answer) < unix.SizeofNlMsghdr {
		return nil, errors.New("the answer is too short")
	}
	kind, body := binary.NativeEndian.Uint16(answer[4:]), answer[unix.SizeofNlMsghdr:]
	switch {
	case kind == unix.NLMSG_ERROR && len(body) >= 4:
		code := int32(binary.NativeEndian.Uint32(body))
		if code == -int32(unix.ENOENT) {
			return nil, errors.New("there is no such connection")
		}
		return nil, unix.Errno(-code)
	case kind != unix.SOCK_DIAG_BY_FAMILY || len(body) < diagAnswer:
		return nil, fmt.Errorf("the answer is of kind %d with %d bytes", kind, len(body))
	}
	return body, nil
}

// PeerOf asks the kernel who is at the other end of a connection that this process has accepted, over TCP on the loopback
// interface or over a Unix socket; over TCP it gives the socket there as well.
func PeerOf(conn net.Conn) (Peer, Socket, error) {
	switch conn := conn.(type) {
	case *net.TCPConn:
		return tcpPeer(conn)
	case *net.UnixConn:
		p, err := unixPeer(conn)
		return p, Socket{}, err
	}
	return Peer{}, Socket{}, fmt.Errorf("the kernel knows nothing of a %T", conn)
}

// tcpPeer gives the user who owns the other end. It has to be known for sure that the kernel was asked about that end:
// whoever resets a connection leaves what he has sent to be read, and his port to the next who connects. So this end is
// looked at last. As long as it stands, no other socket can have had the addresses and ports of the other.
func tcpPeer(conn *net.TCPConn) (Peer, Socket, error) {
	remote, local := conn.RemoteAddr().(*net.TCPAddr).AddrPort(), conn.LocalAddr().(*net.TCPAddr).AddrPort()
	if !remote.Addr().Unmap().IsLoopback() {
		return Peer{}, Socket{}, fmt.Errorf("connection from %v, beyond this device", remote)
	}
	socket, err := OwnerOf(remote, local)
	if err == nil {
		err = stands(conn)
	}
	if err != nil {
		return Peer{}, Socket{}, err
	}
	return Peer{Via: wire.ViaTCP, UID: socket.UID}, socket, nil
}

// stands gives an error for a connection that is not established any more.
func stands(conn *net.TCPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var info *unix.TCPInfo
	var asked error
	if err := raw.Control(func(fd uintptr) {
		info, asked = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	}); err != nil || asked != nil {
		return errors.Join(err, asked)
	}
	if info.State != established {
		return fmt.Errorf("connection from %v has been closed", conn.RemoteAddr())
	}
	return nil
}

// unixPeer gives the process that connected: by its word at the time of connecting.
func unixPeer(conn *net.UnixConn) (Peer, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return Peer{}, err
	}
	peer := Peer{Via: wire.ViaUnix}
	var asked error
	err = raw.Control(func(fd uintptr) {
		var cred *unix.Ucred
		if cred, asked = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); asked != nil {
			return
		}
		peer.UID, peer.PID = int(cred.Uid), int(cred.Pid)
		peer.GIDs = append(peerGroups(int(fd)), int(cred.Gid))
	})
	if err := errors.Join(err, asked); err != nil {
		return Peer{}, fmt.Errorf("ask the kernel who connected: %w", err)
	}
	peer.Exe = exeOf(peer.PID)
	return peer, nil
}

// peerGroups gives the further groups of whoever connected; none where the kernel is too old to tell (4.13).
func peerGroups(fd int) []int {
	text, err := unix.GetsockoptString(fd, unix.SOL_SOCKET, unix.SO_PEERGROUPS)
	if err != nil {
		return nil
	}
	var gids []int
	for b := []byte(text); len(b) >= 4; b = b[4:] {
		gids = append(gids, int(binary.NativeEndian.Uint32(b)))
	}
	return gids
}

// ProcessOf finds the process of a user that holds the socket, and its program. It looks through /proc, which takes
// milliseconds; 0 and "" when none is found or may be looked at.
func ProcessOf(s Socket) (pid int, exe string) {
	wanted := fmt.Sprintf("socket:[%d]", s.Inode)
	processes, err := os.ReadDir("/proc")
	if err != nil {
		return 0, ""
	}
	for _, process := range processes {
		pid, err := strconv.Atoi(process.Name())
		if err != nil {
			continue
		}
		files, err := os.ReadDir(filepath.Join("/proc", process.Name(), "fd"))
		if err != nil {
			continue // another's, or gone
		}
		for _, file := range files {
			if link, err := os.Readlink(filepath.Join("/proc", process.Name(), "fd", file.Name())); err == nil && link == wanted {
				return pid, exeOf(pid)
			}
		}
	}
	return 0, ""
}

// exeOf gives the program of a process; "" when that may not be known.
func exeOf(pid int) string {
	exe, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "exe"))
	if err != nil {
		return ""
	}
	return exe
}
