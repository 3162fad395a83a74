-- The route in the usual way: lua-resty-redis (Debian's "nginx.redis"), a
-- pipeline where there are several commands, tables, and cjson.

local cjson = require "cjson"
local params = require "params"
local redis = require "nginx.redis"
local sha256 = require "nginx.sha256"
local str = require "nginx.string"

local null = ngx.null

local _M = {}


local function answer(status, object)
    ngx.status = status
    ngx.print(cjson.encode(object))
end


-- the ids that all of the selectors lead to

local function resolve(red, wanted)
    local ids, seen, found = {}, {}, {}

    if not wanted.ids and not wanted.uuids then
        return assert(red:zrangebyscore("billing:login:" .. wanted.login,
                                        "-inf", "+inf"))
    end

    if wanted.uuids then
        red:init_pipeline(#wanted.uuids)

        for _, uuid in ipairs(wanted.uuids) do
            red:get("billing:external:" .. uuid)
        end

        for _, id in ipairs(assert(red:commit_pipeline())) do
            if id ~= null then
                found[#found + 1] = tonumber(id)
            end
        end

        if wanted.ids then
            local asked = {}

            for _, id in ipairs(wanted.ids) do
                asked[id] = true
            end

            for _, id in ipairs(found) do
                if asked[id] then
                    ids[#ids + 1] = id
                end
            end

            found, ids = ids, {}
        end

    else
        found = wanted.ids
    end

    for _, id in ipairs(found) do
        if not seen[id] then
            seen[id] = true
            ids[#ids + 1] = id
        end
    end

    table.sort(ids)

    if wanted.login and #ids > 0 then
        found, ids = ids, {}

        red:init_pipeline(#found)

        for _, id in ipairs(found) do
            red:zscore("billing:login:" .. wanted.login, id)
        end

        for i, score in ipairs(assert(red:commit_pipeline())) do
            if score ~= null then
                ids[#ids + 1] = found[i]
            end
        end
    end

    return ids
end


local function fetch(red, ids)
    local cameras = {}

    if #ids == 0 then
        return cameras
    end

    red:init_pipeline(#ids)

    for _, id in ipairs(ids) do
        red:hgetall("billing:camera:" .. id)
    end

    for i, hash in ipairs(assert(red:commit_pipeline())) do
        if #hash > 0 then
            local camera = red:array_to_hash(hash)
            local streams = {}
            local id = tonumber(ids[i])

            for kind, status in string.gmatch(camera.streams or "",
                                              "([^=,]+)=([^,]*)")
            do
                streams[#streams + 1] = {
                    type = kind,
                    status = status ~= "" and status or null,
                    camera_id = id,
                }
            end

            cameras[#cameras + 1] = {
                id = id,
                external_id = camera.external_id or null,
                start_at = camera.start_at or null,
                status = camera.status or null,
                name = camera.name or null,
                group_type = camera.group_type or null,
                streams = streams,
                preview = camera.preview or null,
            }
        end
    end

    return cameras
end


function _M.handle()
    ngx.header["Content-Type"] = "application/json"
    ngx.header["Cache-Control"] = "no-store"

    local token = string.match(ngx.var.http_authorization or "",
                               "^[Bb][Ee][Aa][Rr][Ee][Rr] +(.+)$")

    if not token then
        ngx.header["WWW-Authenticate"] = "Bearer"
        return answer(401, { message = "Unauthenticated." })
    end

    local red = redis:new()
    red:set_timeout(1000)
    assert(red:connect(ngx.var.redis, ngx.var.redis_port))

    local hash = sha256:new()
    hash:update(token)

    local client = assert(red:get("billing:token:"
                                  .. str.to_hex(hash:final())))

    if client == null then
        red:set_keepalive(60000, 64)
        ngx.header["WWW-Authenticate"] = 'Bearer error="invalid_token"'
        return answer(401, { message = "Unauthenticated." })
    end

    local wanted, errors = params.get()

    if not wanted then
        red:set_keepalive(60000, 64)

        local by_key = {}

        for _, err in ipairs(errors) do
            by_key[err[1]] = { err[2] }
        end

        return answer(422, { message = params.message(errors),
                             errors = by_key })
    end

    local cameras = fetch(red, resolve(red, wanted))

    if #cameras == 0 and assert(red:get("billing:synced_at")) == null then
        red:set_keepalive(60000, 64)
        return answer(503, { message = "The camera cache has not been loaded "
                                       .. "yet." })
    end

    red:set_keepalive(60000, 64)

    answer(200, #cameras > 0 and cameras or null)
end


return _M
