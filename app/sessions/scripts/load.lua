#!lua flags=no-writes
-- Load one session, and change nothing: a Redis that refuses writes still answers readers.
--
-- KEYS  1 session hash
-- ARGV  1 proof of the id, '*' to ask for none   2 idle timeout   3 absolute timeout   4 touch throttle
--       5 age of an id that is due for renewal, 0 for never   6 grace; all in ms
-- Returns false for no session or an id that is not good any more; 'over' when touch.lua has to remove what
-- is there; otherwise one JSON text, which a worker reads faster than many small answers:
-- [[seconds, microseconds, created, touched, idle timeout, absolute deadline], touch, renewal due, lifetimes
-- of its own, version, user, data].  `touch` is 0 where none is due, else how many ms the session lives without;
-- `touched` is then as touch.lua makes it.
local proof = ARGV[1]
local throttle, renew_age, grace = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
-- Named at once, as a table that grows costs more than all that is put into it.
local facts = {created = false, touched = false, deadline = false, version = false, user = false}
local data, fields = {}, redis.call('HGETALL', KEYS[1])
if #fields == 0 then return false end

-- Each value is a JSON text already and goes in as it is; so do most names.
local function text_of(name)
    return string.find(name, '[%c"\\]') and cjson.encode(name) or '"' .. name .. '"'
end
for i = 1, #fields, 2 do
    local key = key_of(fields[i])
    if key then
        data[#data + 1] = text_of(key) .. ':' .. fields[i + 1]
    else
        facts[fields[i]] = fields[i + 1]
    end
end

local time = redis.call('TIME')
local now = in_ms(time)
local created, touched, idle, deadline = life_of(facts, now, ARGV[2], ARGV[3])
if not created then return 'over' end
local standing = proof == '*' and 'any' or standing_of(proof, facts, now, grace)
if not standing then return false end
local stale = now - touched >= throttle
local touch = stale or (proof == facts.next and not facts.used)
local left = touch and math.min(touched + idle, deadline) - now or 0
local renewal = standing == 'older'
    or (standing == 'newest' and renew_age > 0 and now - in_use_since(facts, now) >= renew_age)
return '[[' .. time[1] .. ',' .. time[2] .. ',' .. facts.created .. ',' .. (stale and now or facts.touched) .. ','
    .. (facts.idle or ARGV[2]) .. ',' .. deadline .. '],' .. left .. ','
    .. (renewal and 'true,' or 'false,') .. (facts.absolute and 'true,' or 'false,') .. facts.version .. ','
    .. (facts.user and text_of(facts.user) or 'null') .. ',{' .. table.concat(data, ',') .. '}]'
