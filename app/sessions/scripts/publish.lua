#!lua flags=allow-oom
-- Publish a message in the name of a session that still exists: one that has ended reaches nobody.
--
-- KEYS  1 session hash
-- ARGV  1 channel   2 message
-- Returns {'ok'} or {'gone'}.
if not open(KEYS[1]) then return {'gone'} end
redis.call('PUBLISH', ARGV[1], ARGV[2])
return {'ok'}
