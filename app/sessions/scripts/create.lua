#!lua
-- Create a session: the one it replaces dies, allow-listed data moves over, the user's cap is kept.
--
-- KEYS  1 the user's index (sorted set, digest scored by absolute deadline)   2 new session hash
--       3.. pairs (session hash, its operation log), one for each digest in ARGV
-- ARGV  1 digest of the new session   2 'user' or 'anonymous' and 3 the name, or anything
--       4 idle timeout   5 absolute timeout   6 and 7 its own ones, or ''; in ms
--       8 most sessions a user   9 most bytes and 10 most fields of data
--       11 digest of the session this login replaces, or ''   12 agent   13 address
--       14 n, number of keys kept of the replaced one, followed by them; or '*', and it keeps all
--       m, number of initial key, value pairs, followed by them; they win over what is kept
--       the digests that KEYS 3.. belong to: all the caller found in the index
-- Whoever watches a session that this ends gets `ended login` or `ended limit`.
-- Returns {'ok', digest replaced or '', digest ended by the cap, ...}; with nothing changed {'bytes', n},
-- {'fields', n}, or {'again'} when the index holds a digest whose keys were not named (a login at the same
-- moment): every key a script touches must be in KEYS.
local index, fresh, digest = KEYS[1], KEYS[2], ARGV[1]
local listed, replaced = ARGV[2] == 'user', ARGV[11]
local now = clock()

local at = 14
local function take_list(width)
    local n, items = (tonumber(ARGV[at]) or 0) * width, {}
    for i = 1, n do items[i] = ARGV[at + i] end
    at = at + n + 1
    return items
end
local kept, initial, keeps_all = take_list(1), take_list(2), ARGV[14] == '*'
local position_of = {}
for i = at, #ARGV do position_of[ARGV[i]] = 3 + 2 * (i - at) end
local function lives(member)
    local facts = facts_of(KEYS[position_of[member]])
    return life_of(facts, now, ARGV[4], ARGV[5])
end

if listed then
    local kind = redis.call('TYPE', index).ok
    if kind ~= 'zset' and kind ~= 'none' then redis.call('UNLINK', index) end
    redis.call('ZREMRANGEBYSCORE', index, '-inf', now)
    for _, member in ipairs(redis.call('ZRANGE', index, 0, -1)) do
        if not position_of[member] then return {'again'} end
    end
end

if replaced ~= '' and not lives(replaced) then replaced = '' end
local texts, data = {}, {}
for _, key in ipairs(replaced ~= '' and kept or {}) do
    texts[field_of(key)] = redis.call('HGET', KEYS[position_of[replaced]], field_of(key)) or nil
end
if replaced ~= '' and keeps_all then
    local all = redis.call('HGETALL', KEYS[position_of[replaced]])
    for i = 1, #all, 2 do
        if key_of(all[i]) then texts[all[i]] = all[i + 1] end
    end
end
for i = 1, #initial, 2 do texts[field_of(initial[i])] = initial[i + 1] end
for field, text in pairs(texts) do data[#data + 1], data[#data + 2] = field, text end
local bytes, count = weight_of(data, {})
if bytes > tonumber(ARGV[9]) then return {'bytes', bytes} end
if count > tonumber(ARGV[10]) then return {'fields', count} end

local idle, absolute = tonumber(ARGV[6]) or tonumber(ARGV[4]), tonumber(ARGV[7]) or tonumber(ARGV[5])
local deadline = now + absolute
redis.call('HSET', fresh, 'created', now, 'deadline', deadline, 'touched', now, ARGV[2], ARGV[3], 'version', 1,
    'agent', ARGV[12], 'address', ARGV[13], unpack(data))
if ARGV[6] ~= '' then redis.call('HSET', fresh, 'idle', ARGV[6]) end
if ARGV[7] ~= '' then redis.call('HSET', fresh, 'absolute', ARGV[7]) end
redis.call('PEXPIREAT', fresh, math.min(now + idle, deadline))
if not listed then return {'ok', ''} end

-- The new member goes in before any other goes out: an emptied sorted set would lose its own TTL.
redis.call('ZADD', index, deadline, digest)
redis.call('PEXPIREAT', index, deadline, 'NX')
redis.call('PEXPIREAT', index, deadline, 'GT')

local function finish(member, reason)
    local position = position_of[member]
    redis.call('UNLINK', KEYS[position], KEYS[position + 1])
    redis.call('ZREM', index, member)
    redis.call('PUBLISH', KEYS[position], 'ended ' .. reason)
    return member
end
local answer, living = {'ok', replaced}, {}
if replaced ~= '' then finish(replaced, 'login') end
for _, member in ipairs(redis.call('ZRANGE', index, 0, -1)) do
    local created = member ~= digest and lives(member)
    if created then
        living[#living + 1] = {created, member}
    elseif member ~= digest then
        finish(member, 'expired')
    end
end
-- By age, as deadlines have no order where lifetimes differ.
table.sort(living, function(a, b) return a[1] < b[1] or (a[1] == b[1] and a[2] < b[2]) end)
for i = 1, #living - (tonumber(ARGV[8]) - 1) do answer[#answer + 1] = finish(living[i][2], 'limit') end
return answer
