#!lua
-- Slow down guessing at one account: one step of one login. All workers share what is counted here.
--
-- KEYS  1 counts (hash: failures, when the next turn is free, tries under way, and until when these count;
--         for strangers together, and for each known origin apart)
--       2 turns (sorted set: origin scored by the time from which it may try)
--       3 known networks (sorted set: origin scored by the time until which it is known)
-- ARGV  1 step: 'try' before the password is checked; 'wrong', 'right' or, unchecked, 'back' afterwards
--       2 origin, a name for the client's network or for the session it holds
--       3 '1' when the origin is a live session of this account, which is as good as known
--       4 failures without delay   5 first delay in ms   6 longest delay in ms
--       7 most turns given ahead   8 ms that failures and   9 ms that networks are remembered
--       10 for how many ms a try is under way at most   11 afterwards: whose try it was, as 'try' returned it
-- Returns {ms to wait before trying, 0 for go on, -1 for ask again soon; whose}.
--
-- A stranger's failures never delay a known origin. Strangers take turns, one a delay, and each keeps
-- the turn that it was given: who comes back when told gets in, however many others are trying.
-- A try takes one of the free failures before the password is checked, and gives it back unless it was wrong:
-- otherwise a hundred guesses at the same moment would all be free.
local counts, turns, networks = KEYS[1], KEYS[2], KEYS[3]
local step, origin, is_session = ARGV[1], ARGV[2], ARGV[3] == '1'
local free, first, longest = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local ahead, memory, acquaintance = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local longest_try, held = tonumber(ARGV[10]), ARGV[11]

-- What something else wrote to these keys must not keep anybody out: it begins anew.
for key, kind in pairs({[counts] = 'hash', [turns] = 'zset', [networks] = 'zset'}) do
    local found = redis.call('TYPE', key).ok
    if found ~= kind and found ~= 'none' then redis.call('UNLINK', key) end
end
local function count(field) return tonumber(redis.call('HGET', counts, field) or 0) or 0 end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local known_until = tonumber(redis.call('ZSCORE', networks, origin) or 0)
local whose = (is_session or known_until > now) and origin or 'strangers'
local failed, next_turn = 'failures ' .. whose, 'next ' .. whose

local function delay(failures)
    if failures < free then return 0 end
    return math.min(longest, first * 2 ^ math.min(failures - free, 20))
end

local function put(field, value)
    redis.call('HSET', counts, field, string.format('%d', value))
    redis.call('PEXPIRE', counts, memory)
end

if held ~= '' then
    put('trying ' .. held, math.max(0, count('trying ' .. held) - 1))
end
if step == 'back' then return {0, ''} end

if step == 'right' then
    redis.call('HDEL', counts, failed, next_turn)
    redis.call('ZREM', turns, origin)
    if not is_session then
        redis.call('ZADD', networks, now + acquaintance, origin)
        redis.call('ZREMRANGEBYSCORE', networks, '-inf', now)
        redis.call('ZREMRANGEBYRANK', networks, 0, -17)  -- the sixteen used last
        redis.call('PEXPIRE', networks, acquaintance)
    end
    return {0, ''}
end

local failures, free_from = count(failed), count(next_turn)

if step == 'wrong' then
    failures = failures + 1
    put(failed, failures)
    put(next_turn, math.max(free_from, now + delay(failures)))
    return {0, ''}
end

if failures < free then
    local trying = count('until ' .. whose) > now and count('trying ' .. whose) or 0
    if failures + trying >= free then return {-1, ''} end
    put('trying ' .. whose, trying + 1)
    put('until ' .. whose, now + longest_try)
    return {0, whose}
end

redis.call('ZREMRANGEBYSCORE', turns, '-inf', now - memory / 6)  -- not used: somebody gave up
local turn = tonumber(redis.call('ZSCORE', turns, origin) or 0)
if turn > now then return {turn - now, ''} end
if turn > 0 then
    redis.call('ZREM', turns, origin)
    return {0, ''}
end
local start = math.max(now, free_from)
if start - now > longest * ahead then return {start - now, ''} end
put(next_turn, start + delay(failures))
if start == now then return {0, ''} end
redis.call('ZADD', turns, start, origin)
redis.call('PEXPIRE', turns, memory)
return {start - now, ''}
