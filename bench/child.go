package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
)

// roleVariable tells this program, started again by itself, which part it plays.
const roleVariable = "MUSTER_BENCH_ROLE"

// A role is a part that a process of its own plays. It takes orders and answers each; it ends with its orders, so no
// child outlives the bench.
type role func(orders *json.Decoder, answers *json.Encoder) error

var roles = map[string]role{
	"members": playMembers,
	"client":  playClient,
}

// play plays the role of that name.
func play(name string, in io.Reader, out io.Writer) error {
	part, ok := roles[name]
	if !ok {
		return fmt.Errorf("%s=%s is no role", roleVariable, name)
	}
	return part(json.NewDecoder(in), json.NewEncoder(out))
}

// child is a process that plays a role.
type child struct {
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	orders  *json.Encoder
	answers *json.Decoder
}

// startChild starts this program again in a role.
func startChild(name string) (*child, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{cmd: exec.Command(program)} //nolint:noctx // it ends when its orders do
	c.cmd.Env = append(os.Environ(), roleVariable+"="+name)
	c.cmd.Stderr = os.Stderr
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.orders, c.answers = json.NewEncoder(c.stdin), json.NewDecoder(out)
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return c, nil
}

// order gives an order and waits for its answer.
func (c *child) order(order, answer any) error {
	if err := c.orders.Encode(order); err != nil {
		return err
	}
	return c.answers.Decode(answer)
}

// stop lets the process end, and waits for it.
func (c *child) stop() error {
	if err := c.stdin.Close(); err != nil {
		return err
	}
	return c.cmd.Wait()
}

// kill ends the process as a crash would, and waits for it.
func (c *child) kill() error {
	if err := c.cmd.Process.Kill(); err != nil {
		return err
	}
	_ = c.cmd.Wait() // that it was killed
	return nil
}
