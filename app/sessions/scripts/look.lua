#!lua flags=no-writes
-- Look at a session without using it: nothing moves, not even its idle deadline.
--
-- KEYS  1 session hash
-- ARGV  1 key
-- Returns {'ok', ms until it ends if not used, version, value of the field or false}, or {'gone'}.
local version, value = open(KEYS[1], field_of(ARGV[1]))
local left = redis.call('PTTL', KEYS[1])  -- until the idle or the absolute deadline, the nearer one
if not version or left <= 0 then return {'gone'} end
return {'ok', left, tonumber(version), value}
