#!lua flags=allow-oom
-- Publish a message in the name of a session that still exists: what has logged out is silent.
--
-- KEYS  1 session hash
-- ARGV  1 channel   2 message
-- Returns {'ok'}, {'forward', digest} or {'gone'}.
local deadline, forward = unpack(redis.call('HMGET', KEYS[1], 'deadline', 'forward'))
if forward then return {'forward', forward} end
if not deadline then return {'gone'} end
redis.call('PUBLISH', ARGV[1], ARGV[2])
return {'ok'}
