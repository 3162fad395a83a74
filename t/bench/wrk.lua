-- wrk's part: sends the requests of a file, one body a line, over and over;
-- stops before wrk does, so that each request that was begun is counted.
--
--     wrk ... -s wrk.lua URL -- file token seconds

local ffi = require "ffi"

ffi.cdef[[
struct timespec { long sec, nsec; };
int clock_gettime(int clock, struct timespec *now);
]]

local requests = {}
local n = 0
local last
local now = ffi.new("struct timespec")

local function clock()
    ffi.C.clock_gettime(1, now)
    return tonumber(now.sec) + tonumber(now.nsec) / 1e9
end


function init(args)
    local headers = {
        ["Authorization"] = "Bearer " .. args[2],
        ["Content-Type"] = "application/json"
    }

    for body in io.lines(args[1]) do
        requests[#requests + 1] = wrk.format("GET", nil, headers, body)
    end

    last = clock() + tonumber(args[3])
end


function request()
    n = n % #requests + 1
    return requests[n]
end


function delay()
    return clock() < last and 0 or 3600000
end


function done(summary, latency)
    local errors = summary.errors

    print(string.format("result %d %d %d %.3f %.3f", summary.requests,
                        errors.connect + errors.read + errors.write
                        + errors.timeout, errors.status,
                        latency:percentile(50) / 1000,
                        latency:percentile(99) / 1000))
end
