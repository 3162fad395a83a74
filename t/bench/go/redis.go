package main

import (
	"errors"
	"io"
	"net"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const timeout = time.Second

// client has one connection to Redis, which all requests share.
type client struct {
	network, address string

	mu   sync.Mutex
	conn *conn
}

// do sends the request's commands, and waits until read has seen the replies.
func (c *client) do(r *request, read func(*request, *reader) error) error {
	r.read = read

	if err := c.send(r); err != nil {
		return err
	}

	<-r.done

	return r.err
}

func (c *client) send(r *request) error {
	c.mu.Lock()
	defer c.mu.Unlock()

	if c.conn != nil && c.conn.send(r) == nil {
		return nil
	}

	sock, err := net.DialTimeout(c.network, c.address, timeout)
	if err != nil {
		return err
	}

	c.conn = &conn{sock: sock, wake: make(chan struct{}, 1)}

	go c.conn.write()
	go c.conn.receive()
	go c.conn.watch()

	return c.conn.send(r)
}

type conn struct {
	sock net.Conn
	wake chan struct{}

	mu   sync.Mutex
	out  []byte     // what is to be written
	sent []*request // whose replies have not been begun
	err  error

	nsent, nserved uint64
}

func (c *conn) send(r *request) error {
	c.mu.Lock()
	defer c.mu.Unlock()

	if c.err != nil {
		return c.err
	}

	if len(c.out) == 0 {
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}

	c.out = append(c.out, r.cmds...)
	c.sent = append(c.sent, r)
	atomic.AddUint64(&c.nsent, 1)

	return nil
}

// write writes the commands of all requests that are ready at once.
func (c *conn) write() {
	var out []byte

	for range c.wake {
		runtime.Gosched()

		c.mu.Lock()
		out, c.out = c.out, out[:0]
		c.mu.Unlock()

		if _, err := c.sock.Write(out); err != nil {
			c.sock.Close()
			return
		}
	}
}

// receive hands the replies to the requests, in their order.
func (c *conn) receive() {
	in := &reader{src: c.sock, buf: make([]byte, 65536)}

	var queue []*request
	var err error

	for next := 0; ; next++ {
		if in.pos == in.end {
			if err = in.fill(); err != nil {
				queue = queue[next:]
				break
			}
		}

		if next == len(queue) {
			c.mu.Lock()
			queue, c.sent = c.sent, queue[:0]
			c.mu.Unlock()

			next = 0

			if len(queue) == 0 {
				err = errors.New("reply to no command")
				break
			}
		}

		r := queue[next]

		if err = r.read(r, in); err != nil {
			queue = queue[next:]
			break
		}

		atomic.AddUint64(&c.nserved, 1)

		r.err = nil
		r.done <- struct{}{}
	}

	c.sock.Close()

	c.mu.Lock()
	defer c.mu.Unlock()

	c.err = err
	close(c.wake)

	for _, r := range append(queue, c.sent...) {
		r.err = err
		r.done <- struct{}{}
	}
}

// watch closes a connection on which nothing comes that is waited for.
func (c *conn) watch() {
	var served uint64

	for {
		before := served
		waiting := atomic.LoadUint64(&c.nsent) != before

		time.Sleep(timeout)

		c.mu.Lock()
		err := c.err
		c.mu.Unlock()

		if err != nil {
			return
		}

		served = atomic.LoadUint64(&c.nserved)

		if waiting && served == before {
			c.sock.Close()
			return
		}
	}
}

// reader reads replies. What it returns holds until the next call.
type reader struct {
	src      io.Reader
	buf      []byte
	pos, end int
}

func (in *reader) fill() error {
	if in.pos > 0 {
		copy(in.buf, in.buf[in.pos:in.end])
		in.end -= in.pos
		in.pos = 0
	}

	if in.end == len(in.buf) {
		in.buf = append(in.buf, make([]byte, len(in.buf))...)
	}

	n, err := in.src.Read(in.buf[in.end:])
	in.end += n

	if n > 0 {
		return nil
	}

	return err
}

var errProtocol = errors.New("unexpected reply")

// head reads a reply's first line: its type, and its number.
func (in *reader) head() (byte, int, error) {
	for i := 0; ; {
		line := in.buf[in.pos:in.end]

		for ; i < len(line); i++ {
			if line[i] == '\n' {
				return in.parse(line[:i+1])
			}
		}

		if err := in.fill(); err != nil {
			return 0, 0, err
		}
	}
}

func (in *reader) parse(line []byte) (byte, int, error) {
	in.pos += len(line)

	if len(line) < 4 {
		return 0, 0, errProtocol
	}

	if line[0] == '-' {
		return 0, 0, errors.New(string(line[1 : len(line)-2]))
	}

	n := 0

	for _, c := range line[1 : len(line)-2] {
		if c == '-' {
			return line[0], -1, nil
		}

		n = n*10 + int(c-'0')
	}

	return line[0], n, nil
}

// array reads the number of an array's elements.
func (in *reader) array() (int, error) {
	kind, n, err := in.head()

	if err == nil && kind != '*' {
		err = errProtocol
	}

	return n, err
}

// text reads a string, nil if there is none.
func (in *reader) text() ([]byte, error) {
	kind, n, err := in.head()

	if err != nil {
		return nil, err
	}

	if kind != '$' {
		return nil, errProtocol
	}

	if n < 0 {
		return nil, nil
	}

	for in.end-in.pos < n+2 {
		if err := in.fill(); err != nil {
			return nil, err
		}
	}

	text := in.buf[in.pos : in.pos+n]
	in.pos += n + 2

	return text, nil
}

func (in *reader) skip() error {
	kind, n, err := in.head()

	for ; err == nil && kind == '*' && n > 0; n-- {
		err = in.skip()
	}

	if err != nil || kind != '$' || n < 0 {
		return err
	}

	for in.end-in.pos < n+2 {
		if err := in.fill(); err != nil {
			return err
		}
	}

	in.pos += n + 2

	return nil
}

// appendBulk adds an argument made of two parts.
func appendBulk(cmds []byte, prefix, text string) []byte {
	cmds = append(cmds, '$')
	cmds = strconv.AppendInt(cmds, int64(len(prefix)+len(text)), 10)
	cmds = append(cmds, "\r\n"...)
	cmds = append(cmds, prefix...)
	cmds = append(cmds, text...)

	return append(cmds, "\r\n"...)
}

// appendBulkID adds an argument made of a text and an id.
func appendBulkID(cmds []byte, prefix string, id int64) []byte {
	var digits [20]byte

	text := strconv.AppendInt(digits[:0], id, 10)

	cmds = append(cmds, '$')
	cmds = strconv.AppendInt(cmds, int64(len(prefix)+len(text)), 10)
	cmds = append(cmds, "\r\n"...)
	cmds = append(cmds, prefix...)
	cmds = append(cmds, text...)

	return append(cmds, "\r\n"...)
}
