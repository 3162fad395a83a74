-- The route written for speed, with what was read from Redis kept in the
-- worker for five seconds, true or not: tokens, cameras as JSON, logins' ids.
-- Selectors that are combined, and external ids, are left to fast.lua.

local lrucache = require "resty.lrucache"
local fast = require "fast"
local params = require "params"

local concat = table.concat

local seconds = 5

local tokens = assert(lrucache.new(10000))
local cameras = assert(lrucache.new(200000))
local lists = assert(lrucache.new(10000))

local _M = {}


local function valid(hash)
    if tokens:get(hash) then
        return true
    end

    local client = fast.ask(fast.token_command(hash), fast.string_reply)

    if not client then
        return false
    end

    tokens:set(hash, client, seconds)

    return true
end


local function list(login)
    local ids = lists:get(login)

    if ids then
        return ids
    end

    local after = 0
    ids = {}

    repeat
        local n = fast.ask(fast.list_command(login, after), function (conn)
            local n = fast.head(conn)

            for _ = 1, n do
                after = tonumber(fast.string_reply(conn))
                ids[#ids + 1] = after
            end

            return n
        end)
    until n == 0

    if #ids > 0 then
        lists:set(login, ids, seconds)
    end

    return ids
end


local function fetch(ids)
    local cmds = {}

    for i = 1, #ids do
        cmds[i] = fast.camera_command(ids[i])
    end

    fast.ask(cmds, function (conn)
        for i = 1, #ids do
            local json = fast.camera_json(conn, ids[i])

            if json then
                cameras:set(ids[i], json, seconds)
            end

            ids[i] = json or false
        end
    end)

    return ids
end


local function answer(ids)
    local out, missing, places = {}, {}, {}

    for i = 1, #ids do
        local json = cameras:get(ids[i])

        out[i] = json or ""

        if not json then
            missing[#missing + 1] = ids[i]
            places[#places + 1] = i
        end
    end

    if #missing > 0 then
        local json = fetch(missing)
        local gone = false

        for i = 1, #places do
            out[places[i]] = json[i] or ""
            gone = gone or not json[i]
        end

        if gone then
            return nil
        end
    end

    fast.send(200, "[" .. concat(out, ",") .. "]")

    return true
end


function _M.handle()
    local wanted, errors = params.get()

    if wanted and (wanted.uuids or wanted.login and wanted.ids) then
        return fast.handle()
    end

    local hash = fast.bearer()

    if not hash then
        return
    end

    if not valid(hash) then
        return fast.refuse()
    end

    if not wanted then
        return fast.explain(errors)
    end

    if wanted.ids then
        fast.unique(wanted.ids)
    end

    local ids = wanted.ids or list(wanted.login)

    -- what is missing or empty is judged where nothing is kept

    if #ids == 0 or not answer(ids) then
        return fast.handle()
    end
end


return _M
