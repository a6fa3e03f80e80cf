#!lua flags=allow-oom
-- Take a field out of a session: of parallel takers exactly one gets the value.
--
-- KEYS  1 session hash
-- ARGV  1 key
-- Returns {'ok', value or false, version} or {'gone'}.  Whoever watches the session gets `changed <version>`.
local session, field = KEYS[1], field_of(ARGV[1])
local version, value = open(session, field)
if not version then return {'gone'} end
if value then
    redis.call('HDEL', session, field)
    version = redis.call('HINCRBY', session, 'version', 1)
    redis.call('PUBLISH', session, 'changed ' .. version)
end
return {'ok', value, tonumber(version)}
