#!lua flags=allow-oom
-- End sessions of one user, finally.
--
-- KEYS  1 the user's index   2.. pairs (session hash, its operation log), one for each digest
-- ARGV  1 the reason, one word   2.. the digests
-- Returns {how many were alive, digest, ...}: the digests are where renewed sessions among them went;
-- the caller ends those next.  Their pointers stay: they lead to nothing once that is done.
-- Whoever watches one of them hears `ended <reason>`.
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'zset' and kind ~= 'none' then redis.call('UNLINK', KEYS[1]) end  -- must not stop a logout
local answer = {0}
for i = 2, #ARGV do
    local session, log = KEYS[2 * i - 2], KEYS[2 * i - 1]
    local is_hash = redis.call('TYPE', session).ok == 'hash'
    local forward = is_hash and redis.call('HGET', session, 'forward')
    if forward then
        answer[#answer + 1] = forward
    else
        if is_hash then answer[1] = answer[1] + 1 end
        redis.call('UNLINK', session, log)
        redis.call('PUBLISH', session, 'ended ' .. ARGV[1])
    end
    redis.call('ZREM', KEYS[1], ARGV[i])
end
return answer
