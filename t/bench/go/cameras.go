package main

import (
	"bytes"
	"strconv"
)

const fields = "$11\r\nexternal_id\r\n$8\r\nstart_at\r\n$6\r\nstatus\r\n" +
	"$4\r\nname\r\n$10\r\ngroup_type\r\n$7\r\nstreams\r\n$7\r\npreview\r\n"

func appendCamera(cmds []byte, id int64) []byte {
	cmds = append(cmds, "*9\r\n$5\r\nHMGET\r\n"...)
	cmds = appendBulkID(cmds, "billing:camera:", id)

	return append(cmds, fields...)
}

func appendMember(cmds []byte, login string, id int64) []byte {
	cmds = append(cmds, "*3\r\n$6\r\nZSCORE\r\n"...)
	cmds = appendBulk(cmds, "billing:login:", login)

	return appendBulkID(cmds, "", id)
}

func appendExternal(cmds []byte, external string) []byte {
	cmds = append(cmds, "*2\r\n$3\r\nGET\r\n"...)

	return appendBulk(cmds, "billing:external:", external)
}

func appendList(cmds []byte, login string, after int64) []byte {
	cmds = append(cmds, "*7\r\n$13\r\nZRANGEBYSCORE\r\n"...)
	cmds = appendBulk(cmds, "billing:login:", login)
	cmds = appendBulkID(cmds, "(", after)
	cmds = append(cmds, "$4\r\n+inf\r\n$5\r\nLIMIT\r\n$1\r\n0\r\n"...)

	return appendBulkID(cmds, "", batch)
}

// members are what goes before the values, which come in this order.
var members = [...]string{
	`,"external_id":`, `,"start_at":`, `,"status":`, `,"name":`,
	`,"group_type":`, `,"streams":`, `,"preview":`,
}

const streams = 5

// readCamera adds a camera's JSON, unless its hash is gone.
func (r *request) readCamera(in *reader, id int64) error {
	n, err := in.array()
	if err != nil {
		return err
	}

	if n != len(members) {
		return errProtocol
	}

	out := r.out
	found := false

	if r.count == 0 {
		out = append(out, `[{"id":`...)
	} else {
		out = append(out, `,{"id":`...)
	}

	out = strconv.AppendInt(out, id, 10)

	for i, member := range members {
		text, err := in.text()
		if err != nil {
			return err
		}

		found = found || text != nil
		out = append(out, member...)

		if i == streams {
			out = appendStreams(out, text, id)
		} else {
			out = appendText(out, text)
		}
	}

	if found {
		r.out = append(out, '}')
		r.count++
	}

	return nil
}

func appendStreams(out, text []byte, id int64) []byte {
	var digits [20]byte

	name := strconv.AppendInt(digits[:0], id, 10)
	out = append(out, '[')

	for len(text) > 0 {
		var status []byte

		kind := text
		text = nil

		if i := bytes.IndexByte(kind, ','); i >= 0 {
			kind, text = kind[:i], kind[i+1:]
		}

		if i := bytes.IndexByte(kind, '='); i >= 0 {
			kind, status = kind[:i], kind[i+1:]
		}

		if out[len(out)-1] == '}' {
			out = append(out, ',')
		}

		out = append(out, `{"type":`...)
		out = appendText(out, kind)
		out = append(out, `,"status":`...)

		if len(status) == 0 {
			out = append(out, "null"...)
		} else {
			out = appendText(out, status)
		}

		out = append(out, `,"camera_id":`...)
		out = append(out, name...)
		out = append(out, '}')
	}

	return append(out, ']')
}

var special = func() (special [256]bool) {
	for c := 0; c < ' '; c++ {
		special[c] = true
	}

	special['"'] = true
	special['\\'] = true

	return special
}()

// appendText adds a string, or null for nil.
func appendText(out, text []byte) []byte {
	if text == nil {
		return append(out, "null"...)
	}

	out = append(out, '"')
	start := 0

	for i, c := range text {
		if special[c] {
			out = append(out, text[start:i]...)
			out = appendEscaped(out, c)
			start = i + 1
		}
	}

	out = append(out, text[start:]...)

	return append(out, '"')
}

func appendEscaped(out []byte, c byte) []byte {
	const hex = "0123456789ABCDEF"

	switch c {
	case '"', '\\':
		return append(out, '\\', c)
	case '\b':
		return append(out, `\b`...)
	case '\t':
		return append(out, `\t`...)
	case '\n':
		return append(out, `\n`...)
	case '\f':
		return append(out, `\f`...)
	case '\r':
		return append(out, `\r`...)
	}

	return append(out, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
}
