#!lua flags=allow-oom
-- Note that a session was used: move its idle deadline, at most once per throttle, and mark its newest id as
-- used.  What is over, or only a fragment, is removed instead.  None of this makes Redis grow.
--
-- KEYS  1 session hash   2 its operation log, which lives as long
-- ARGV  1 proof of the id   2 idle timeout   3 absolute timeout   4 touch throttle; in ms
-- Returns 1 when the session is alive.  Whoever watches one that is over gets `ended expired`.
local now, facts = clock(), facts_of(KEYS[1])
local created, touched, idle, deadline = life_of(facts, now, ARGV[2], ARGV[3])
if not created then
    if redis.call('UNLINK', KEYS[1], KEYS[2]) > 0 then redis.call('PUBLISH', KEYS[1], 'ended expired') end
    return 0
end
if now - touched >= tonumber(ARGV[4]) then
    redis.call('HSET', KEYS[1], 'touched', now)
    for _, key in ipairs(KEYS) do redis.call('PEXPIREAT', key, math.min(now + idle, deadline)) end
end
if ARGV[1] == facts.next and not facts.used then redis.call('HSET', KEYS[1], 'used', now) end
return 1
