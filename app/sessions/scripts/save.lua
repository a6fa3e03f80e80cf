#!lua
-- Write the changed fields of a session that still exists; never create one.
--
-- KEYS  1 session hash
-- ARGV  1 version the caller read, or '' to write whatever the version is
--       2 most bytes and 3 most fields of data
--       4 n, number of fields to set, followed by name, value pairs; then the names to delete
-- Returns {'ok', version}, {'gone'}, {'forward', digest}, {'conflict'}, {'bytes', n} or {'fields', n};
-- everything but 'ok' has changed nothing.  Whoever watches the session hears `changed <version>`.
local key = KEYS[1]
local deadline, forward, version =
    unpack(redis.call('HMGET', key, 'deadline', 'forward', 'version'))
if forward then return {'forward', forward} end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if not deadline or now >= tonumber(deadline) then return {'gone'} end
if ARGV[1] ~= '' and ARGV[1] ~= version then return {'conflict'} end

local sets, deletes, change = {}, {}, {}
local last_set = 4 + 2 * tonumber(ARGV[4])
for i = 5, last_set, 2 do
    sets[#sets + 1], sets[#sets + 2] = ARGV[i], ARGV[i + 1]
    change[ARGV[i]] = #ARGV[i] + #ARGV[i + 1]
end
for i = last_set + 1, #ARGV do
    deletes[#deletes + 1] = ARGV[i]
    change[ARGV[i]] = change[ARGV[i]] or 0
end

-- What the data would weigh afterwards, with what parallel writers have added meanwhile.
local bytes, fields, bytes_before, fields_before = 0, 0, 0, 0
local present = redis.call('HGETALL', key)
for i = 1, #present, 2 do
    if string.sub(present[i], 1, 2) == 'd:' then
        local weight = #present[i] + #present[i + 1]
        bytes_before, fields_before = bytes_before + weight, fields_before + 1
        if not change[present[i]] then bytes, fields = bytes + weight, fields + 1 end
    end
end
for _, weight in pairs(change) do
    if weight > 0 then bytes, fields = bytes + weight, fields + 1 end
end
-- A change that shrinks the session passes even while a lowered cap is exceeded.
if bytes > tonumber(ARGV[2]) and bytes > bytes_before then return {'bytes', bytes} end
if fields > tonumber(ARGV[3]) and fields > fields_before then return {'fields', fields} end

if #sets > 0 then redis.call('HSET', key, unpack(sets)) end
if #deletes > 0 then redis.call('HDEL', key, unpack(deletes)) end
version = redis.call('HINCRBY', key, 'version', 1)
redis.call('PUBLISH', key, 'changed ' .. version)
return {'ok', version}
