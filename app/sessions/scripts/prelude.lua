-- Put before every script by lua.py: what a session is in Redis, and whether it lives.
--
-- A session is one hash.  Its facts are the fields named here, times in ms of Redis's clock; `idle` and
-- `absolute` stand only where it was given lifetimes of its own; `older`, `next`, `salt` and `used` only once
-- its id was renewed.  Every other field is data: `d:` and its key, holding one JSON text.
local FACTS = {
    'created', 'deadline', 'touched', 'version', 'user', 'anonymous', 'agent', 'address', 'idle', 'absolute',
    'older', 'next', 'salt', 'used',
}
local function field_of(key) return 'd:' .. key end
-- By bytes: before every request this runs once a field, and a text made to be compared costs ten times as much.
local function key_of(field)
    return string.byte(field, 2) == 58 and string.byte(field) == 100 and string.sub(field, 3)
end

local function in_ms(time) return time[1] * 1000 + math.floor(time[2] / 1000) end
local function clock() return in_ms(redis.call('TIME')) end  -- workers' clocks may differ

local function whole(text) return text and string.match(text, '^%d+$') and tonumber(text) end

-- The facts of the session at a key; none where there is none, or something else.
local function facts_of(key)
    local facts, values = {}, redis.pcall('HMGET', key, unpack(FACTS))
    for i, name in ipairs(FACTS) do facts[name] = values[i] or nil end
    return facts
end

-- When a session was created and touched, its idle timeout and absolute deadline; nothing for a fragment, or
-- for one that is over.  `idle` and `absolute` are today's limits: they bind sessions that began under longer.
local function life_of(facts, now, idle, absolute)
    local created, touched, deadline, version = facts.created, facts.touched, facts.deadline, facts.version
    local complete = created and touched and deadline and version and (facts.user or facts.anonymous)
        and string.find(created .. ' ' .. touched .. ' ' .. deadline .. ' ' .. version, '^%d+ %d+ %d+ %d+$')
    if not complete then return end
    created, touched, idle = tonumber(created), tonumber(touched), whole(facts.idle) or tonumber(idle)
    deadline = math.min(deadline, created + (whole(facts.absolute) or absolute))
    if now < math.min(touched + idle, deadline) then return created, touched, idle, deadline end
end

-- What an id is to its session: 'newest', 'older' while its successor is unused or in the grace after that,
-- or nothing.  Its proof is '' for the id of the login; `facts.next` is the proof of the newest one.
local function standing_of(proof, facts, now, grace)
    if proof == (facts.next or '') then return 'newest' end
    local used = whole(facts.used)
    if proof == facts.older and not (used and now >= used + grace) then return 'older' end
end

-- Since when the newest id is in use.
local function in_use_since(facts, now)
    return facts.next and (whole(facts.used) or now) or whole(facts.created)
end

-- The version of the session at a key, as text, and one of its fields; nothing when it may not be written.
local function open(key, field)
    local values = redis.pcall('HMGET', key, 'deadline', 'version', field or 'version')
    local deadline, version = whole(values[1]), values[2]
    if deadline and whole(version) and clock() < deadline then return version, values[3] end
end

-- Bytes and number of the data in a flat list of fields and values, but for the fields in `without`.
local function weight_of(list, without)
    local bytes, count = 0, 0
    for i = 1, #list, 2 do
        if key_of(list[i]) and not without[list[i]] then
            bytes, count = bytes + #list[i] + #list[i + 1], count + 1
        end
    end
    return bytes, count
end
