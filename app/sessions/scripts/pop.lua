#!lua flags=allow-oom
-- Take a field out of a session: of parallel takers exactly one gets the value.
--
-- KEYS  1 session hash
-- ARGV  1 field
-- Returns {'ok', value or false, version}, {'gone'} or {'forward', digest}.  Whoever watches the session
-- hears `changed <version>`.
local key, field = KEYS[1], ARGV[1]
local deadline, forward, version, value =
    unpack(redis.call('HMGET', key, 'deadline', 'forward', 'version', field))
if forward then return {'forward', forward} end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if not deadline or now >= tonumber(deadline) then return {'gone'} end
if value then
    redis.call('HDEL', key, field)
    version = redis.call('HINCRBY', key, 'version', 1)
    redis.call('PUBLISH', key, 'changed ' .. version)
end
return {'ok', value, tonumber(version)}
