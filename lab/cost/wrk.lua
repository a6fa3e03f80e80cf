-- What wrk sends: the requests of many visitors in turn, made before the clock starts; and what it says at the end.
-- The script's own argument is a file with one Cookie header a line.
local requests, at = {}, 0

function init(args)
    for line in io.lines(args[1]) do
        requests[#requests + 1] = wrk.format('GET', nil, {['Cookie'] = line})
    end
end

function request()
    at = at % #requests + 1
    return requests[at]
end

function done(summary)
    local errors = summary.errors
    local bad = errors.connect + errors.read + errors.write + errors.status + errors.timeout
    print(string.format('\n{"good": %d, "bad": %d, "seconds": %.6f}',
        summary.requests, bad, summary.duration / 1e6))
end
