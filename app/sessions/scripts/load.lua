#!lua flags=allow-oom
-- Load one session: follow nothing, revive nothing, and move its idle deadline at most once per throttle.
--
-- KEYS  1 session hash
-- ARGV  1 idle timeout in ms   2 touch throttle in ms
-- Returns false when no live session is there; {'forward', digest} for an id that was renewed; otherwise
-- {now, touched, deadline, created, id issued (all in ms), version, user, key, value, key, value, ...}.
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
if now - touched >= tonumber(ARGV[2]) then
    touched = now
    redis.call('HSET', KEYS[1], 'touched', now)
    redis.call('PEXPIREAT', KEYS[1], math.min(now + tonumber(ARGV[1]), deadline))
end
local answer = {now, touched, deadline, created, tonumber(renewed) or created, version, user}
local at = #answer
local fields = redis.call('HGETALL', KEYS[1])
for i = 1, #fields, 2 do
    if string.sub(fields[i], 1, 2) == 'd:' then
        answer[at + 1], answer[at + 2] = string.sub(fields[i], 3), fields[i + 1]
        at = at + 2
    end
end
return answer
