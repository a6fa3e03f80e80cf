#!lua
-- Offer an id its successor: whoever asks with the same id is told the same salt, from which only he can make it.
--
-- KEYS  1 session hash
-- ARGV  1 proof of the id   2 a new salt   3 proof of the successor that it makes   4 idle timeout
--       5 absolute timeout   6 least age of an id   7 grace; in ms
-- Returns the salt of the successor, or false when there is none for this id: the session has ended, the id is
-- too young, or two ids ago.  Data, version and keys stay, so that requests in flight do not notice.
local proof, grace = ARGV[1], tonumber(ARGV[7])
local now, facts = clock(), facts_of(KEYS[1])
if not life_of(facts, now, ARGV[4], ARGV[5]) then return false end
local standing = standing_of(proof, facts, now, grace)
if standing == 'older' then
    redis.call('HSET', KEYS[1], 'older', proof)  -- a write, as in increment.lua: replicas have the offer once it is acknowledged
    return facts.salt
end
if standing ~= 'newest' or now - in_use_since(facts, now) < tonumber(ARGV[6]) then return false end
redis.call('HSET', KEYS[1], 'older', proof, 'next', ARGV[3], 'salt', ARGV[2])
redis.call('HDEL', KEYS[1], 'used')
return ARGV[2]
