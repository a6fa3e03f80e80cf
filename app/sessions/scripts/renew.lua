#!lua
-- Give a session a new id: of parallel callers exactly one moves it, the others learn where it went.
--
-- KEYS  1 old session hash   2 its operation log   3 new session hash   4 its operation log
--       5 the user's index
-- ARGV  1 old digest   2 new digest   3 least age of an id in ms   4 grace in ms
-- Returns {'ok'}, {'young'} when the id is not due, {'forward', digest} when it was moved already,
-- or {'gone'}.  The version and the data move unchanged, so writers in flight do not notice.
-- Whoever watches the session hears `moved <new digest>`.
local old, fresh = KEYS[1], KEYS[3]
local deadline, forward, created, renewed =
    unpack(redis.call('HMGET', old, 'deadline', 'forward', 'created', 'renewed'))
if forward then return {'forward', forward} end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
deadline = tonumber(deadline)
if not deadline or now >= deadline then return {'gone'} end
if now - tonumber(renewed or created) < tonumber(ARGV[3]) then return {'young'} end

redis.call('RENAME', old, fresh)  -- keeps the TTL
redis.call('HSET', fresh, 'renewed', now)
if redis.call('EXISTS', KEYS[2]) == 1 then redis.call('RENAME', KEYS[2], KEYS[4]) end
-- The pointer names the new digest, not the new id: whoever holds the old id cannot learn it.
redis.call('HSET', old, 'forward', ARGV[2])
redis.call('PEXPIREAT', old, math.min(now + tonumber(ARGV[4]), deadline))
local kind = redis.call('TYPE', KEYS[5]).ok
if kind ~= 'zset' and kind ~= 'none' then redis.call('UNLINK', KEYS[5]) end
redis.call('ZADD', KEYS[5], deadline, ARGV[2])  -- before ZREM: an emptied set loses its TTL
redis.call('ZREM', KEYS[5], ARGV[1])
redis.call('PUBLISH', old, 'moved ' .. ARGV[2])
return {'ok'}
