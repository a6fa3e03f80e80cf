#!lua flags=no-writes
-- Which sessions a user's index names, the first deadline first.
--
-- KEYS  1 the user's index
-- Returns the digests of those before their absolute deadline.  Some may have ended without a trace: only the
-- scripts that are given their keys can look.
local members = redis.pcall('ZRANGEBYSCORE', KEYS[1], '(' .. clock(), '+inf')
return members.err and {} or members  -- where something else wrote, an index begins anew
