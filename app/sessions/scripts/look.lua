#!lua flags=no-writes
-- Look at a session without using it: nothing moves, not even its idle deadline.
--
-- KEYS  1 session hash
-- ARGV  1 field
-- Returns {'ok', ms until it ends if not used, version, value of the field or false},
-- {'forward', digest}, or {'gone'}.
local deadline, forward, version, value =
    unpack(redis.call('HMGET', KEYS[1], 'deadline', 'forward', 'version', ARGV[1]))
if forward then return {'forward', forward} end
local left = redis.call('PTTL', KEYS[1])  -- until the idle or the absolute deadline, the nearer one
if not deadline or left <= 0 then return {'gone'} end
return {'ok', left, tonumber(version), value}
