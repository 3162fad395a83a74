-- The route written for speed: commands formatted as Redis reads them, the
-- token's and the first data's in one write; replies cut out of whole reads;
-- JSON built from strings; nothing done twice.

local ffi = require "ffi"
local params = require "params"

local byte, find, format, sub = string.byte, string.find, string.format,
                                string.sub
local concat, sort = table.concat, table.sort
local tonumber, print, tcp = tonumber, ngx.print, ngx.socket.tcp
local C = ffi.C

ffi.cdef[[
unsigned char *SHA256(const unsigned char *d, size_t n, unsigned char *md);
unsigned char *ngx_hex_dump(unsigned char *dst, unsigned char *src,
    size_t len);
]]

local digest = ffi.new("unsigned char[32]")
local hex = ffi.new("unsigned char[64]")

local batch = 512

local fields = "$11\r\nexternal_id\r\n$8\r\nstart_at\r\n$6\r\nstatus\r\n"
               .. "$4\r\nname\r\n$10\r\ngroup_type\r\n$7\r\nstreams\r\n"
               .. "$7\r\npreview\r\n"

local _M = {}


-- reading

local function fill(conn)
    local data = assert(conn.sock:receiveany(65536))

    if conn.pos <= #conn.buf then
        data = sub(conn.buf, conn.pos) .. data
    end

    conn.buf = data
    conn.pos = 1
end


-- the number behind a reply's type, and the type

local function head(conn)
    local last = find(conn.buf, "\r\n", conn.pos, true)

    while not last do
        fill(conn)
        last = find(conn.buf, "\r\n", conn.pos, true)
    end

    local buf, pos = conn.buf, conn.pos
    local kind = byte(buf, pos)

    if kind == 45 then
        error(sub(buf, pos, last - 1))
    end

    conn.pos = last + 2

    return tonumber(sub(buf, pos + 1, last - 1)), kind
end


local function string_reply(conn)
    local len = head(conn)

    if len < 0 then
        return nil
    end

    while #conn.buf - conn.pos < len + 1 do
        fill(conn)
    end

    local pos = conn.pos
    conn.pos = pos + len + 2

    return sub(conn.buf, pos, pos + len - 1)
end


local function skip(conn)
    local n, kind = head(conn)

    if kind == 42 then
        for _ = 1, n do
            skip(conn)
        end

    elseif n >= 0 then
        while #conn.buf - conn.pos < n + 1 do
            fill(conn)
        end

        conn.pos = conn.pos + n + 2
    end
end


-- commands

local function key_command(name, args, key)
    return "*" .. args .. "\r\n$" .. #name .. "\r\n" .. name .. "\r\n$" .. #key
           .. "\r\n" .. key .. "\r\n"
end


local function id_text(id)
    return id < 1e14 and id .. "" or format("%.0f", id)
end


local function camera_command(id)
    local text = id_text(id)

    return "*9\r\n$5\r\nHMGET\r\n$" .. #text + 15 .. "\r\nbilling:camera:"
           .. text .. "\r\n" .. fields
end


local function member_command(login, id)
    local text = id_text(id)

    return key_command("ZSCORE", 3, "billing:login:" .. login)
           .. "$" .. #text .. "\r\n" .. text .. "\r\n"
end


local function list_command(login, after)
    local text = id_text(after)

    return key_command("ZRANGEBYSCORE", 7, "billing:login:" .. login)
           .. "$" .. #text + 1 .. "\r\n(" .. text
           .. "\r\n$4\r\n+inf\r\n$5\r\nLIMIT\r\n$1\r\n0\r\n$"
           .. #tostring(batch) .. "\r\n" .. batch .. "\r\n"
end


-- JSON

local escapes = { [34] = '\\"', [92] = "\\\\", [8] = "\\b", [9] = "\\t",
                  [10] = "\\n", [12] = "\\f", [13] = "\\r" }


local function escape(text)
    return (string.gsub(text, '[%z\1-\31"\\]', function (char)
        return escapes[byte(char)] or format("\\u%04X", byte(char))
    end))
end


local function quote(text)
    if not text then
        return "null"
    end

    for i = 1, #text do
        local char = byte(text, i)

        if char < 32 or char == 34 or char == 92 then
            return '"' .. escape(text) .. '"'
        end
    end

    return '"' .. text .. '"'
end


-- there are few kinds of streams: pieces between which the camera's id goes

local stream_pieces = {}
local stream_kinds = 0


local function streams_json(text, id)
    if not text or text == "" then
        return "[]"
    end

    local pieces = stream_pieces[text]

    if not pieces then
        pieces = {}

        for kind, status in string.gmatch(text, "([^=,]+)=([^,]*)") do
            pieces[#pieces + 1] = (#pieces > 0 and '},{"type":' or '[{"type":')
                                  .. quote(kind) .. ',"status":'
                                  .. (status == "" and "null" or quote(status))
                                  .. ',"camera_id":'
        end

        if stream_kinds == 1000 then
            stream_pieces = {}
            stream_kinds = 0
        end

        stream_pieces[text] = pieces
        stream_kinds = stream_kinds + 1
    end

    if #pieces == 2 then
        return pieces[1] .. id .. pieces[2] .. id .. "}]"
    end

    return concat(pieces, id) .. id .. "}]"
end


-- a camera's JSON, nil when its hash is gone

local function camera_json(conn, id)
    head(conn)

    local external_id = string_reply(conn)
    local start_at = string_reply(conn)
    local status = string_reply(conn)
    local name = string_reply(conn)
    local group_type = string_reply(conn)
    local streams = string_reply(conn)
    local preview = string_reply(conn)

    if not (external_id or start_at or status or name or group_type or streams
            or preview)
    then
        return nil
    end

    local text = id_text(id)

    return '{"id":' .. text .. ',"external_id":' .. quote(external_id)
           .. ',"start_at":' .. quote(start_at) .. ',"status":'
           .. quote(status) .. ',"name":' .. quote(name)
           .. ',"group_type":' .. quote(group_type) .. ',"streams":'
           .. streams_json(streams, text) .. ',"preview":' .. quote(preview)
           .. "}"
end


local function unique(ids)
    sort(ids)

    local n = 0

    for i = 1, #ids do
        if n == 0 or ids[i] ~= ids[n] then
            n = n + 1
            ids[n] = ids[i]
        end
    end

    for i = #ids, n + 1, -1 do
        ids[i] = nil
    end
end


local function add_cameras(cmds, ids, login)
    local n = #cmds

    for i = 1, #ids do
        if login then
            n = n + 1
            cmds[n] = member_command(login, ids[i])
        end

        n = n + 1
        cmds[n] = camera_command(ids[i])
    end
end


local function read_cameras(conn, ids, login)
    local out, n = {}, 0

    for i = 1, #ids do
        local member = not login or string_reply(conn)
        local json = camera_json(conn, ids[i])

        if member and json then
            n = n + 1
            out[n] = json
        end
    end

    return out
end


-- answers

local function send(status, text)
    ngx.status = status
    ngx.header.content_length = #text
    print(text)
end


local function nothing(conn)
    assert(conn.sock:send(key_command("GET", 2, "billing:synced_at")))

    local synced = string_reply(conn)

    conn.sock:setkeepalive(60000, 64)

    if not synced then
        return send(503, '{"message":"The camera cache has not been loaded '
                         .. 'yet."}')
    end

    send(200, "null")
end


local function list(conn, login)
    local sent = false
    local after = 0

    while true do
        local ids = {}

        for i = 1, head(conn) do
            ids[i] = tonumber(string_reply(conn))
        end

        if #ids == 0 then
            break
        end

        -- the ids of the next batch come with the cameras of this one

        local cmds = {}
        add_cameras(cmds, ids)

        local more = #ids == batch

        if more then
            cmds[#cmds + 1] = list_command(login, ids[#ids])
        end

        assert(conn.sock:send(cmds))

        local out = read_cameras(conn, ids)

        if #out > 0 then
            print(sent and "," or "[", concat(out, ","))
            sent = true
        end

        if not more then
            break
        end
    end

    if not sent then
        return nothing(conn)
    end

    conn.sock:setkeepalive(60000, 64)

    print("]")
end


local function uuids(conn, wanted)
    local asked
    local ids = {}

    if wanted.ids then
        asked = {}

        for i = 1, #wanted.ids do
            asked[wanted.ids[i]] = true
        end
    end

    for _ = 1, #wanted.uuids do
        local id = tonumber(string_reply(conn))

        if id and (not asked or asked[id]) then
            ids[#ids + 1] = id
        end
    end

    unique(ids)

    if #ids > 0 then
        local cmds = {}
        add_cameras(cmds, ids, wanted.login)
        assert(conn.sock:send(cmds))
    end

    return ids
end


-- is there a token in the request? If so, the token and its hash

local function bearer()
    local header = ngx.header
    header.content_type = "application/json"
    header.cache_control = "no-store"

    local auth = ngx.var.http_authorization
    local _, start = find(auth or "", "^[Bb][Ee][Aa][Rr][Ee][Rr] +")

    if not start or start == #auth then
        header.www_authenticate = "Bearer"
        send(401, '{"message":"Unauthenticated."}')
        return nil
    end

    local token = sub(auth, start + 1)

    C.SHA256(token, #token, digest)
    C.ngx_hex_dump(hex, digest, 32)

    return ffi.string(hex, 64)
end


local function token_command(hash)
    return "*2\r\n$3\r\nGET\r\n$78\r\nbilling:token:" .. hash .. "\r\n"
end


local function connect()
    local sock = tcp()

    sock:settimeout(1000)
    assert(sock:connect(ngx.var.redis, ngx.var.redis_port))

    return { sock = sock, buf = "", pos = 1 }
end


local function refuse()
    ngx.header.www_authenticate = 'Bearer error="invalid_token"'
    send(401, '{"message":"Unauthenticated."}')
end


local function explain(errors)
    local out = {}

    for i = 1, #errors do
        out[i] = quote(errors[i][1]) .. ":[" .. quote(errors[i][2]) .. "]"
    end

    send(422, '{"message":' .. quote(params.message(errors))
              .. ',"errors":{' .. concat(out, ",") .. "}}")
end


function _M.handle()
    local hash = bearer()

    if not hash then
        return
    end

    local cmds = { token_command(hash) }

    local wanted, errors = params.get()

    if not wanted then
        -- the token's command alone

    elseif wanted.uuids then
        for i = 1, #wanted.uuids do
            cmds[i + 1] = key_command("GET", 2, "billing:external:"
                                                .. wanted.uuids[i])
        end

    elseif wanted.ids then
        unique(wanted.ids)
        add_cameras(cmds, wanted.ids, wanted.login)

    else
        cmds[2] = list_command(wanted.login, 0)
    end

    local conn = connect()
    local sock = conn.sock

    assert(sock:send(cmds))

    if not string_reply(conn) then

        -- what came with it is read, so that the connection can be kept

        for _ = 2, #cmds do
            skip(conn)
        end

        sock:setkeepalive(60000, 64)
        return refuse()
    end

    if not wanted then
        sock:setkeepalive(60000, 64)
        return explain(errors)
    end

    if wanted.login and not wanted.ids and not wanted.uuids then
        return list(conn, wanted.login)
    end

    local ids = wanted.uuids and uuids(conn, wanted) or wanted.ids
    local out = read_cameras(conn, ids, wanted.login)

    if #out == 0 then
        return nothing(conn)
    end

    sock:setkeepalive(60000, 64)

    send(200, "[" .. concat(out, ",") .. "]")
end


-- for the program that keeps answers: one reply to one command

function _M.ask(cmds, read)
    local conn = connect()

    assert(conn.sock:send(cmds))

    local result = read(conn)

    conn.sock:setkeepalive(60000, 64)

    return result
end


_M.bearer = bearer
_M.refuse = refuse
_M.explain = explain
_M.send = send
_M.unique = unique
_M.head = head
_M.string_reply = string_reply
_M.camera_json = camera_json
_M.camera_command = camera_command
_M.list_command = list_command
_M.token_command = token_command


return _M
