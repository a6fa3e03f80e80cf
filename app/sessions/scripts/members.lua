#!lua flags=allow-oom
-- Which sessions a user's index names, the oldest login first.
--
-- KEYS  1 the user's index
-- Returns the digests.  Those past their absolute deadline are dropped first; idle-expired ones may be
-- among them, as only the scripts that are given their keys can look.
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'zset' then  -- missing, or something else wrote there: an index begins anew
    if kind ~= 'none' then redis.call('UNLINK', KEYS[1]) end
    return {}
end
local time = redis.call('TIME')
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', time[1] * 1000 + math.floor(time[2] / 1000))
return redis.call('ZRANGE', KEYS[1], 0, -1)
