#!lua flags=no-writes
-- Load one session, and change nothing: a Redis that refuses writes still answers readers.
--
-- KEYS  1 session hash
-- ARGV  1 proof of the id, '*' to ask for none   2 idle timeout   3 absolute timeout   4 touch throttle
--       5 age of an id that is due for renewal, 0 for never   6 grace; all in ms
-- Returns false for no session or an id that is not good any more; 'over' when touch.lua has to remove what
-- is there; otherwise two JSON texts, as a worker reads one text faster than many small answers:
-- [[now, created, touched, idle deadline, absolute deadline], touch due, renewal due, lifetimes of its own,
-- version, user] and the data.  The times are as touch.lua makes them where a touch is due.
local proof = ARGV[1]
local throttle, renew_age, grace = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local facts, data, fields = {}, {}, redis.call('HGETALL', KEYS[1])
if #fields == 0 then return false end
for i = 1, #fields, 2 do
    local key = key_of(fields[i])
    if key then  -- each value is a JSON text already and goes in as it is
        data[#data + 1] = cjson.encode(key) .. ':' .. fields[i + 1]
    else
        facts[fields[i]] = fields[i + 1]
    end
end
local now = clock()
local created, touched, idle, deadline = life_of(facts, now, ARGV[2], ARGV[3])
if not created then return 'over' end
local standing = proof == '*' and 'any' or standing_of(proof, facts, now, grace)
if not standing then return false end
local stale = now - touched >= throttle
if stale then touched = now end
local renewal = standing == 'older'
    or (standing == 'newest' and renew_age > 0 and now - in_use_since(facts, now) >= renew_age)
return {
    string.format('[[%.0f,%.0f,%.0f,%.0f,%.0f],%s,%s,%s,%s,%s]',
        now, created, touched, math.min(touched + idle, deadline), deadline,
        tostring(stale or (proof == facts.next and not facts.used)), tostring(renewal),
        tostring(facts.absolute ~= nil), facts.version, facts.user and cjson.encode(facts.user) or 'null'),
    '{' .. table.concat(data, ',') .. '}',
}
