// The route in Go, written for speed: one connection to Redis for all
// requests, whose commands are written together; replies are read, and JSON
// written, by hand, into buffers that are used again.
//
//	cameras 127.0.0.1:8080 unix:/path/to/redis.sock
//	cameras 127.0.0.1:8080 redis://127.0.0.1:6379
package main

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
)

const (
	route   = "/api/v1/billing/cameras/list"
	batch   = 512
	maxBody = 1 << 20
)

// request is what it takes to answer one.
type request struct {
	params

	body  []byte
	cmds  []byte
	out   []byte
	fetch []int64 // the ids of the cameras that are asked for
	next  []int64 // those after them
	count int     // of cameras
	token bool    // a valid one

	read func(*request, *reader) error
	done chan struct{}
	err  error
}

var requests = sync.Pool{New: func() interface{} {
	return &request{done: make(chan struct{}, 1)}
}}

// the values of header fields, which are not made anew for each answer
var (
	typeJSON     = []string{"application/json"}
	noStore      = []string{"no-store"}
	bearer       = []string{"Bearer"}
	invalidToken = []string{`Bearer error="invalid_token"`}
)

const unauthenticated = `{"message":"Unauthenticated."}`

type server struct{ redis *client }

func main() {
	if len(os.Args) != 3 {
		log.Fatalf("usage: %s address redis", os.Args[0])
	}

	// there is little that lives longer than a request

	debug.SetGCPercent(800)

	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}

	redis := client{network: "unix"}

	if s := os.Args[2]; strings.HasPrefix(s, "unix:") {
		redis.address = strings.TrimPrefix(s, "unix:")
	} else {
		redis.network = "tcp"
		redis.address = strings.TrimPrefix(s, "redis://")
	}

	log.Fatal(http.Serve(listener, &server{redis: &redis}))
}

func (s *server) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.URL.Path != route {
		http.NotFound(w, req)
		return
	}

	r := requests.Get().(*request)
	s.answer(w, req, r)
	requests.Put(r)
}

func (s *server) answer(w http.ResponseWriter, req *http.Request, r *request) {
	header := w.Header()
	header["Content-Type"] = typeJSON
	header["Cache-Control"] = noStore

	r.out = r.out[:0]

	token := bearerToken(req.Header["Authorization"])

	if token == "" {
		header["Www-Authenticate"] = bearer
		r.send(w, http.StatusUnauthorized, unauthenticated)
		return
	}

	if err := r.readBody(req); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}

	good := r.parse(r.body, req.Header["Content-Type"])

	r.begin(token, good)

	if err := s.redis.do(r, (*request).readFirst); err != nil {
		r.failed(w, err)
		return
	}

	switch {
	case !r.token:
		header["Www-Authenticate"] = invalidToken
		r.send(w, http.StatusUnauthorized, unauthenticated)

	case !good:
		r.appendErrors()
		r.send(w, http.StatusUnprocessableEntity, "")

	case r.list():
		s.list(w, r)

	default:
		s.cameras(w, r)
	}
}

func (s *server) cameras(w http.ResponseWriter, r *request) {
	if r.hasUUIDs && len(r.fetch) > 0 {
		r.cmds = r.appendCameras(r.cmds[:0])

		if err := s.redis.do(r, (*request).readCameras); err != nil {
			r.failed(w, err)
			return
		}
	}

	if r.count == 0 {
		s.nothing(w, r)
		return
	}

	r.send(w, http.StatusOK, "]")
}

// list sends each batch while it has no more of the list in memory.
func (s *server) list(w http.ResponseWriter, r *request) {
	sent := false

	for len(r.next) > 0 {
		r.fetch, r.next = r.next, r.fetch[:0]
		r.out = r.out[:0]

		// the ids of the next batch come with the cameras of this one

		r.cmds = r.appendCameras(r.cmds[:0])

		if len(r.fetch) == batch {
			r.cmds = appendList(r.cmds, r.login, r.fetch[batch-1])
		}

		if err := s.redis.do(r, (*request).readBatch); err != nil {
			if sent {
				panic(http.ErrAbortHandler)
			}

			r.failed(w, err)
			return
		}

		if len(r.next) == 0 {
			break
		}

		if _, err := w.Write(r.out); err != nil {
			return
		}

		sent = true
	}

	if r.count == 0 {
		s.nothing(w, r)
		return
	}

	if !sent {
		r.send(w, http.StatusOK, "]")
		return
	}

	r.out = append(r.out, ']')
	w.Write(r.out)
}

// nothing answers when no camera was found: the cache may be empty.
func (s *server) nothing(w http.ResponseWriter, r *request) {
	r.cmds = append(r.cmds[:0],
		"*2\r\n$3\r\nGET\r\n$17\r\nbilling:synced_at\r\n"...)

	if err := s.redis.do(r, (*request).readToken); err != nil {
		r.failed(w, err)
		return
	}

	r.out = r.out[:0]

	if !r.token {
		r.send(w, http.StatusServiceUnavailable,
			`{"message":"The camera cache has not been loaded yet."}`)
		return
	}

	r.send(w, http.StatusOK, "null")
}

// send sends what there is, with this at its end.
func (r *request) send(w http.ResponseWriter, status int, last string) {
	r.out = append(r.out, last...)

	w.Header()["Content-Length"] = []string{strconv.Itoa(len(r.out))}
	w.WriteHeader(status)
	w.Write(r.out)
}

func (r *request) failed(w http.ResponseWriter, err error) {
	log.Print(err)

	r.out = r.out[:0]
	r.send(w, http.StatusBadGateway, `{"message":"Redis failed."}`)
}

func (r *request) appendErrors() {
	r.out = append(r.out, `{"message":`...)
	r.out = appendText(r.out, []byte(r.message()))
	r.out = append(r.out, `,"errors":{`...)

	for i, fault := range r.errors {
		if i > 0 {
			r.out = append(r.out, ',')
		}

		r.out = appendText(r.out, []byte(fault.key))
		r.out = append(r.out, ":["...)
		r.out = appendText(r.out, []byte(fault.text))
		r.out = append(r.out, ']')
	}

	r.out = append(r.out, "}}"...)
}

func bearerToken(fields []string) string {
	if len(fields) == 0 || len(fields[0]) < 7 ||
		!strings.EqualFold(fields[0][:7], "Bearer ") {
		return ""
	}

	return strings.TrimLeft(fields[0][7:], " ")
}

func (r *request) readBody(req *http.Request) error {
	r.body = r.body[:0]

	if req.ContentLength == 0 {
		return nil
	}

	if req.ContentLength < 0 || req.ContentLength > maxBody {
		body, err := io.ReadAll(io.LimitReader(req.Body, maxBody))
		r.body = body
		return err
	}

	if n := int(req.ContentLength); n > cap(r.body) {
		r.body = make([]byte, n)
	} else {
		r.body = r.body[:n]
	}

	_, err := io.ReadFull(req.Body, r.body)

	return err
}

// begin makes the commands for the token, and for the first of the data.
func (r *request) begin(token string, good bool) {
	r.fetch = r.fetch[:0]
	r.next = r.next[:0]
	r.count = 0

	var name [2 * sha256.Size]byte

	sum := sha256.Sum256([]byte(token))
	hex.Encode(name[:], sum[:])

	cmds := append(r.cmds[:0], "*2\r\n$3\r\nGET\r\n$78\r\nbilling:token:"...)
	cmds = append(cmds, name[:]...)
	cmds = append(cmds, "\r\n"...)

	switch {
	case !good:

	case r.hasUUIDs:
		for _, uuid := range r.uuids {
			cmds = appendExternal(cmds, uuid)
		}

	case r.hasIDs:
		r.fetch = unique(append(r.fetch, r.ids...))
		cmds = r.appendCameras(cmds)

	default:
		cmds = appendList(cmds, r.login, 0)
	}

	r.cmds = cmds
}

// list says whether all cameras of the login are wanted.
func (r *request) list() bool {
	return !r.hasIDs && !r.hasUUIDs
}

func (r *request) appendCameras(cmds []byte) []byte {
	for _, id := range r.fetch {
		if r.hasLogin && !r.list() {
			cmds = appendMember(cmds, r.login, id)
		}

		cmds = appendCamera(cmds, id)
	}

	return cmds
}

func (r *request) readToken(in *reader) error {
	token, err := in.text()
	r.token = token != nil

	return err
}

func (r *request) readFirst(in *reader) error {
	if err := r.readToken(in); err != nil {
		return err
	}

	switch {
	case len(r.errors) > 0:
		return nil

	case r.hasUUIDs:
		return r.readExternal(in)

	case r.hasIDs:
		return r.readCameras(in)
	}

	return r.readIDs(in)
}

func (r *request) readExternal(in *reader) error {
	for range r.uuids {
		text, err := in.text()
		if err != nil {
			return err
		}

		if id, ok := parseID(text); ok && (!r.hasIDs || r.asked(id)) {
			r.fetch = append(r.fetch, id)
		}
	}

	r.fetch = unique(r.fetch)

	return nil
}

func (r *request) asked(id int64) bool {
	for _, asked := range r.ids {
		if asked == id {
			return true
		}
	}

	return false
}

func (r *request) readCameras(in *reader) error {
	for _, id := range r.fetch {
		member := true

		if r.hasLogin && !r.list() {
			score, err := in.text()
			if err != nil {
				return err
			}

			member = score != nil
		}

		if r.token && member {
			if err := r.readCamera(in, id); err != nil {
				return err
			}

		} else if err := in.skip(); err != nil {
			return err
		}
	}

	return nil
}

func (r *request) readBatch(in *reader) error {
	if err := r.readCameras(in); err != nil {
		return err
	}

	if len(r.fetch) < batch {
		return nil
	}

	return r.readIDs(in)
}

func (r *request) readIDs(in *reader) error {
	n, err := in.array()

	for ; err == nil && n > 0; n-- {
		var text []byte

		if text, err = in.text(); err == nil {
			id, ok := parseID(text)

			if !ok {
				return errProtocol
			}

			r.next = append(r.next, id)
		}
	}

	return err
}

// unique sorts ids, of which there are few, and leaves each of them once.
func unique(ids []int64) []int64 {
	n := 0

	for _, id := range ids {
		i := n

		for i > 0 && ids[i-1] > id {
			i--
		}

		if i > 0 && ids[i-1] == id {
			continue
		}

		copy(ids[i+1:n+1], ids[i:n])
		ids[i] = id
		n++
	}

	return ids[:n]
}
