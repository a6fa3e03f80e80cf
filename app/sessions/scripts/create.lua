#!lua
-- Create a session at login: the old one dies, allow-listed data moves over, the user's cap is kept.
--
-- KEYS  1 the user's index (sorted set, digest scored by absolute deadline)
--       2 new session hash
--       3.. pairs (session hash, its operation log), one for each digest in ARGV
-- ARGV  1 digest of the new session   2 user   3 idle timeout in ms   4 absolute timeout in ms
--       5 most sessions a user        6 digest of the session this login replaces, or ''
--       7 n, number of fields carried over from it, followed by their names
--       m, number of initial fields, followed by name, value pairs
--       the digests that KEYS 3.. belong to: all the caller found in the index
-- Whoever watches a session that this ends hears `ended login` or `ended limit`.
-- Returns {'ok', now, sessions ended by the cap}, or {'again'} when the index holds a digest whose
-- keys were not named (a login at the same moment): every key a script touches must be in KEYS.
local index, fresh, digest = KEYS[1], KEYS[2], ARGV[1]
local most, replaced = tonumber(ARGV[5]), ARGV[6]

local at = 7
local function take_list(width)
    local n = tonumber(ARGV[at]) * width
    local items = {}
    for i = 1, n do items[i] = ARGV[at + i] end
    at = at + n + 1
    return items
end
local carried, initial = take_list(1), take_list(2)
local key_of = {}
for i = at, #ARGV do key_of[ARGV[i]] = 3 + 2 * (i - at) end

for _, member in ipairs(redis.call('ZRANGE', index, 0, -1)) do
    if not key_of[member] then return {'again'} end
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local deadline = now + tonumber(ARGV[4])

local fields = {
    'created', now, 'deadline', deadline, 'touched', now, 'user', ARGV[2], 'version', 1,
}
for _, item in ipairs(initial) do fields[#fields + 1] = item end
local function is_hash(key) return redis.call('TYPE', key).ok == 'hash' end
local old = key_of[replaced] and KEYS[key_of[replaced]]
if old and is_hash(old) then
    local forward = redis.call('HGET', old, 'forward')
    if forward and key_of[forward] then  -- renewed a moment ago: what it became is what dies
        replaced, old = forward, KEYS[key_of[forward]]
    end
end
if old and is_hash(old) then
    for _, field in ipairs(carried) do
        local value = redis.call('HGET', old, field)
        if value then
            fields[#fields + 1] = field
            fields[#fields + 1] = value
        end
    end
end
redis.call('HSET', fresh, unpack(fields))
redis.call('PEXPIREAT', fresh, math.min(now + tonumber(ARGV[3]), deadline))

-- The new member goes in before any other goes out: an emptied sorted set would lose its own TTL.
redis.call('ZADD', index, deadline, digest)
redis.call('PEXPIREAT', index, deadline, 'NX')
redis.call('PEXPIREAT', index, deadline, 'GT')

local function finish(member, reason)
    local position = key_of[member]
    redis.call('UNLINK', KEYS[position], KEYS[position + 1])
    redis.call('ZREM', index, member)
    if reason then redis.call('PUBLISH', KEYS[position], 'ended ' .. reason) end
end
if old then finish(replaced, 'login') end
local live = {}
for _, member in ipairs(redis.call('ZRANGE', index, 0, -1)) do
    if member ~= digest then
        if is_hash(KEYS[key_of[member]]) then
            live[#live + 1] = member
        else
            finish(member)
        end
    end
end
local evicted = 0
while #live - evicted > most - 1 do  -- lowest deadline first: the oldest login
    evicted = evicted + 1
    finish(live[evicted], 'limit')
end
return {'ok', now, evicted}
