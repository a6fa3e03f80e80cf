#!lua flags=allow-oom
-- Load one session: follow nothing, revive nothing, and move its idle deadline at most once per throttle.
--
-- KEYS  1 session hash
-- ARGV  1 idle timeout in ms   2 touch throttle in ms   3 age of an id that is due for renewal in ms, 0 for never
-- Returns false when no live session is there; {'forward', digest} for an id that was renewed; otherwise
-- two JSON texts, as a worker reads one text faster than many small answers:
-- [[now, created, touched, idle deadline, absolute deadline (all in ms)], renewal due, version, user] and the data.
--
-- allow-oom: a full Redis must still answer readers; moving two numbers does not grow it.
local deadline, touched, forward, created, renewed, version, user = unpack(
    redis.call('HMGET', KEYS[1], 'deadline', 'touched', 'forward', 'created', 'renewed', 'version', 'user'))
if forward then return {'forward', forward} end
local time = redis.call('TIME')  -- Redis's clock: workers' clocks may differ
local now = time[1] * 1000 + math.floor(time[2] / 1000)
deadline, touched, created, version =
    tonumber(deadline), tonumber(touched), tonumber(created), tonumber(version)
if not (deadline and touched and created and version and user) or now >= deadline then
    -- Past its absolute deadline, or only a fragment of a session: neither may be seen again.
    redis.call('UNLINK', KEYS[1])
    return false
end
local idle_deadline = math.min(touched + tonumber(ARGV[1]), deadline)
if now - touched >= tonumber(ARGV[2]) then
    touched, idle_deadline = now, math.min(now + tonumber(ARGV[1]), deadline)
    redis.call('HSET', KEYS[1], 'touched', now)
    redis.call('PEXPIREAT', KEYS[1], idle_deadline)
end
local renew_after = tonumber(ARGV[3])
local due = renew_after > 0 and now - (tonumber(renewed) or created) >= renew_after
local facts = string.format('[[%.0f,%.0f,%.0f,%.0f,%.0f],%s,%.0f,%s]',
    now, created, touched, idle_deadline, deadline, tostring(due), version, cjson.encode(user))

-- Each value is a JSON text already and goes in as it is.
local data = {}
local fields = redis.call('HGETALL', KEYS[1])
for i = 1, #fields, 2 do
    if string.sub(fields[i], 1, 2) == 'd:' then
        data[#data + 1] = cjson.encode(string.sub(fields[i], 3)) .. ':' .. fields[i + 1]
    end
end
return {facts, '{' .. table.concat(data, ',') .. '}'}
