-- One connection a thread: with BENCH_REFRESH each goes on with its own session, else all ask for the user of one token.
local threads = 0
function setup(thread)
    threads = threads + 1
    thread:set("number", threads)
end

function init()
    failed = 0
    refreshes = os.getenv("BENCH_REFRESH") ~= nil
    local line = 0
    for token in io.lines(os.getenv("BENCH_TOKENS")) do
        line = line + 1
        if line == number then secret = token end
    end
end

function request()
    if refreshes then
        return wrk.format("POST", "/token?grant_type=refresh_token", { ["Content-Type"] = "application/json" },
            '{"refresh_token":"' .. secret .. '"}')
    end
    return wrk.format("GET", "/user", { ["Authorization"] = "Bearer " .. secret })
end

function response(status, headers, body)
    if status ~= 200 then failed = failed + 1 end
    if refreshes then secret = body:match('"refresh_token":"([^"]+)"') or secret end
end

-- A figure of refusals would be worth nothing.
function done(summary)
    io.write("answers ", summary.requests, " in ", summary.duration, " microseconds, not 200: ", summary.errors.status, "\n")
end
