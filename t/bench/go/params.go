package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

// params are a request's parameters, checked as the module does.
type params struct {
	ids      []int64
	uuids    []string
	login    string
	hasIDs   bool
	hasUUIDs bool
	hasLogin bool
	errors   []fault

	values [3]value
}

type fault struct{ key, text string }

// value is what JSON has for a parameter, or for a member of one.
type value struct {
	kind byte // 's'tring, 'n'umber, 'a'rray, 'o'ther, 0 if not sent
	text []byte
	list []value
}

var names = [...]string{"cameras_ids", "cameras_uuid", "login"}

func (p *params) reset() {
	*p = params{
		ids: p.ids[:0], uuids: p.uuids[:0], errors: p.errors[:0],
		values: p.values,
	}

	for i := range p.values {
		p.values[i].kind = 0
	}
}

func (p *params) fault(key, text string) {
	p.errors = append(p.errors, fault{key, text})
}

// parse reads the body; when it fails, errors says why.
func (p *params) parse(body []byte, contentType []string) bool {
	p.reset()

	if len(bytes.TrimSpace(body)) > 0 {
		if !isJSON(contentType) {
			p.fault("body", "The body was ignored because its "+
				"Content-Type is not JSON.")
			return false
		}

		s := scanner{in: body}

		if err := s.body(p); err != nil {
			p.fault("body", err.Error())
			return false
		}
	}

	ids, uuids, login := &p.values[0], &p.values[1], &p.values[2]

	if !ids.sent() && !uuids.sent() && !login.sent() {
		p.fault(names[0], "The cameras ids field is required when none of "+
			"cameras uuid / login are present.")
		p.fault(names[1], "The cameras uuid field is required when none of "+
			"cameras ids / login are present.")
		p.fault(names[2], "The login field is required when none of "+
			"cameras ids / cameras uuid are present.")
		return false
	}

	if ids.sent() {
		p.hasIDs = true
		p.checkList(ids, names[0], p.checkID)
	}

	if uuids.sent() {
		p.hasUUIDs = true
		p.checkList(uuids, names[1], p.checkUUID)
	}

	if login.sent() {
		p.hasLogin = true
		p.checkLogin(login)
	}

	return len(p.errors) == 0
}

func isJSON(fields []string) bool {
	if len(fields) == 0 {
		return false
	}

	contentType := strings.ToLower(fields[0])

	return strings.Contains(contentType, "/json") ||
		strings.Contains(contentType, "+json")
}

func (v *value) sent() bool {
	switch v.kind {
	case 0:
		return false
	case 's':
		return len(bytes.TrimSpace(v.text)) > 0
	case 'a':
		return len(v.list) > 0
	}

	return true
}

func (p *params) checkList(v *value, name string,
	check func(*value, string, int)) {
	if v.kind != 'a' {
		p.fault(name, "The "+strings.ReplaceAll(name, "_", " ")+
			" field must be an array.")
		return
	}

	list := v.list

	if len(list) > 30 {
		p.fault(name, "The "+strings.ReplaceAll(name, "_", " ")+
			" field must not have more than 30 items.")
		list = list[:30]
	}

	for i := range list {
		check(&list[i], name, i)
	}
}

func (p *params) checkID(v *value, name string, i int) {
	if v.kind == 's' || v.kind == 'n' {
		if id, ok := parseID(v.text); ok {
			if id > 0 {
				p.ids = append(p.ids, id)
			}

			return
		}
	}

	p.member(name, i, "be an integer.")
}

func (p *params) checkUUID(v *value, name string, i int) {
	if v.kind == 'n' {
		if _, ok := parseID(v.text); !ok {
			p.member(name, i, "be a string.")
			return
		}

	} else if v.kind != 's' {
		p.member(name, i, "be a string.")
		return
	}

	if tooLong(v.text) {
		p.member(name, i, "not be greater than 255 characters.")
		return
	}

	p.uuids = append(p.uuids, string(v.text))
}

func (p *params) checkLogin(v *value) {
	if v.kind != 's' {
		p.fault(names[2], "The login field must be a string.")
		return
	}

	if tooLong(v.text) {
		p.fault(names[2],
			"The login field must not be greater than 255 characters.")
		return
	}

	p.login = string(v.text)
}

func (p *params) member(name string, i int, must string) {
	key := name + "." + strconv.Itoa(i)

	p.fault(key, "The "+key+" field must "+must)
}

func tooLong(text []byte) bool {
	return len(text) > 255 && utf8.RuneCount(text) > 255
}

// parseID reads an integer as JSON writes it.
func parseID(text []byte) (int64, bool) {
	digits := text

	if len(digits) > 0 && digits[0] == '-' {
		digits = digits[1:]
	}

	if len(digits) == 0 || len(digits) > 18 ||
		digits[0] == '0' && len(text) > 1 {
		return 0, false
	}

	var id int64

	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}

		id = id*10 + int64(c-'0')
	}

	if len(digits) < len(text) {
		return -id, true
	}

	return id, true
}

// scanner reads JSON, of which it keeps the parameters.
type scanner struct {
	in  []byte
	pos int
}

var errJSON = errors.New("The body is not JSON.")

func (s *scanner) peek() byte {
	for ; s.pos < len(s.in); s.pos++ {
		switch c := s.in[s.pos]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c
		}
	}

	return 0
}

func (s *scanner) body(p *params) error {
	if s.peek() != '{' {
		var other interface{}

		return json.Unmarshal(s.in, &other)
	}

	err := s.each('}', func() error {
		if s.peek() != '"' {
			return errJSON
		}

		var key value

		if err := s.text(&key); err != nil {
			return err
		}

		if s.peek() != ':' {
			return errJSON
		}

		s.pos++

		for i := range names {
			if string(key.text) == names[i] {
				return s.value(&p.values[i])
			}
		}

		var unknown value

		return s.value(&unknown)
	})

	if err == nil && s.peek() != 0 {
		err = errJSON
	}

	return err
}

// each reads the members of an object or an array.
func (s *scanner) each(last byte, member func() error) error {
	s.pos++

	if s.peek() == last {
		s.pos++
		return nil
	}

	for {
		if err := member(); err != nil {
			return err
		}

		c := s.peek()
		s.pos++

		if c == last {
			return nil
		}

		if c != ',' {
			return errJSON
		}
	}
}

func (s *scanner) value(v *value) error {
	switch c := s.peek(); {
	case c == '"':
		return s.text(v)

	case c == '[':
		v.kind = 'a'
		v.list = v.list[:0]

		return s.each(']', func() error {
			if len(v.list) < cap(v.list) {
				v.list = v.list[:len(v.list)+1]
			} else {
				v.list = append(v.list, value{})
			}

			return s.value(&v.list[len(v.list)-1])
		})

	case c == '-' || c >= '0' && c <= '9':
		start := s.pos

		for s.pos < len(s.in) && isNumber[s.in[s.pos]] {
			s.pos++
		}

		v.kind = 'n'
		v.text = s.in[start:s.pos]

		return nil
	}

	// what no parameter may be: none of it is looked at

	d := json.NewDecoder(bytes.NewReader(s.in[s.pos:]))

	var raw json.RawMessage

	if err := d.Decode(&raw); err != nil {
		return err
	}

	s.pos += int(d.InputOffset())
	v.kind = 'o'

	if string(raw) == "null" {
		v.kind = 0
	}

	return nil
}

var isNumber = func() (is [256]bool) {
	for _, c := range "+-.eE0123456789" {
		is[c] = true
	}

	return is
}()

func (s *scanner) text(v *value) error {
	v.kind = 's'

	for i := s.pos + 1; i < len(s.in); i++ {
		switch c := s.in[i]; {
		case c == '"':
			v.text = s.in[s.pos+1 : i]
			s.pos = i + 1
			return nil

		case c == '\\':
			return s.escaped(v)

		case c < ' ':
			return errJSON
		}
	}

	return errJSON
}

func (s *scanner) escaped(v *value) error {
	d := json.NewDecoder(bytes.NewReader(s.in[s.pos:]))

	var text string

	if err := d.Decode(&text); err != nil {
		return err
	}

	s.pos += int(d.InputOffset())
	v.text = []byte(text)

	return nil
}

// message is the first error, and how many more there are.
func (p *params) message() string {
	switch more := len(p.errors) - 1; more {
	case 0:
		return p.errors[0].text
	case 1:
		return p.errors[0].text + " (and 1 more error)"
	default:
		return p.errors[0].text + " (and " + strconv.Itoa(more) +
			" more errors)"
	}
}
