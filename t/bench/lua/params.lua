-- The request's parameters, for all programs: as the module checks them, but
-- for the query string, which the benchmark does not use.

local cjson = require "cjson.safe"

local null = cjson.null
local find, floor, format = string.find, math.floor, string.format
local gsub, match = string.gsub, string.match

local _M = {}


local function sent(value)
    if value == nil or value == null then
        return false
    end

    if type(value) == "table" then
        return next(value) ~= nil
    end

    return type(value) ~= "string" or find(value, "%S") ~= nil
end


local function integer(value)
    if type(value) == "number" then
        return value == floor(value) and value
    end

    if type(value) ~= "string" then
        return false
    end

    return (value == "0" or match(value, "^%-?[1-9]%d*$")) and tonumber(value)
end


local function too_long(text)
    return #text > 255 and #gsub(text, "[\128-\191]", "") > 255
end


local function check_list(errors, values, name, check)
    local values, list = values[name], {}

    if type(values) ~= "table" or values[1] == nil then
        errors[#errors + 1] = { name, format("The %s field must be an array.",
                                             (gsub(name, "_", " "))) }
        return
    end

    if #values > 30 then
        errors[#errors + 1] = {
            name, format("The %s field must not have more than 30 items.",
                         (gsub(name, "_", " ")))
        }
    end

    for i = 1, #values > 30 and 30 or #values do
        local value, err = check(values[i])

        if err then
            local key = name .. "." .. i - 1
            errors[#errors + 1] = { key, format(err, key) }

        elseif value then
            list[#list + 1] = value
        end
    end

    return list
end


local function check_id(value)
    local id = integer(value)

    if not id then
        return nil, "The %s field must be an integer."
    end

    return id > 0 and id
end


local function check_uuid(value)
    if type(value) == "number" and value == floor(value) then
        return format("%.0f", value)
    end

    if type(value) ~= "string" then
        return nil, "The %s field must be a string."
    end

    if too_long(value) then
        return nil, "The %s field must not be greater than 255 characters."
    end

    return value
end


-- returns the parameters, or nil and a list of errors

function _M.get()
    local values
    local errors = {}
    local params = {}

    ngx.req.read_body()

    local body = ngx.req.get_body_data()

    if body and find(body, "%S") then
        local content_type = ngx.var.content_type

        if not content_type or not find(content_type, "[/+][jJ][sS][oO][nN]")
        then
            return nil, {{ "body", "The body was ignored because its "
                                   .. "Content-Type is not JSON." }}
        end

        local err
        values, err = cjson.decode(body)

        if values == nil then
            return nil, {{ "body", err }}
        end
    end

    if type(values) ~= "table" then
        values = {}
    end

    local has_ids = sent(values.cameras_ids)
    local has_uuids = sent(values.cameras_uuid)
    local has_login = sent(values.login)

    if not (has_ids or has_uuids or has_login) then
        return nil, {
            { "cameras_ids", "The cameras ids field is required when none of "
                             .. "cameras uuid / login are present." },
            { "cameras_uuid", "The cameras uuid field is required when none of "
                              .. "cameras ids / login are present." },
            { "login", "The login field is required when none of cameras ids "
                       .. "/ cameras uuid are present." },
        }
    end

    if has_ids then
        params.ids = check_list(errors, values, "cameras_ids", check_id)
    end

    if has_uuids then
        params.uuids = check_list(errors, values, "cameras_uuid", check_uuid)
    end

    if has_login then
        params.login = values.login

        if type(params.login) ~= "string" then
            errors[#errors + 1] = { "login",
                                    "The login field must be a string." }

        elseif too_long(params.login) then
            errors[#errors + 1] = {
                "login",
                "The login field must not be greater than 255 characters."
            }
        end
    end

    if #errors > 0 then
        return nil, errors
    end

    return params
end


-- the first error, and how many more there are

function _M.message(errors)
    local more = #errors - 1

    if more == 0 then
        return errors[1][2]
    end

    return format("%s (and %d more error%s)", errors[1][2], more,
                  more == 1 and "" or "s")
end


return _M
