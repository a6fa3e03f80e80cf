#!lua flags=allow-oom
-- End sessions of one user, finally.
--
-- KEYS  1 the user's index   2.. pairs (session hash, its operation log), one for each digest
-- ARGV  1 the reason, one word   2 n, number of keys to keep, followed by them; then the digests
-- Returns {digest, value of each key or false, ...} of those that were there.  Whoever watches one of them
-- gets `ended <reason>`.
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'zset' and kind ~= 'none' then redis.call('UNLINK', KEYS[1]) end  -- must not stop a logout
local first, ended = 3 + tonumber(ARGV[2]), {}
for i = first, #ARGV do
    local at = 2 + 2 * (i - first)
    local session, log = KEYS[at], KEYS[at + 1]
    if redis.call('TYPE', session).ok == 'hash' then
        local values = {ARGV[i]}
        for key = 3, first - 1 do values[#values + 1] = redis.call('HGET', session, field_of(ARGV[key])) end
        ended[#ended + 1] = values
    end
    redis.call('UNLINK', session, log)
    redis.call('PUBLISH', session, 'ended ' .. ARGV[1])
    redis.call('ZREM', KEYS[1], ARGV[i])
end
return ended
