#!lua
-- Add to an integer field, once for each operation id, in a session that still exists.
--
-- KEYS  1 session hash   2 its operation log: a list of operation, result, operation, result, ...
-- ARGV  1 field   2 amount   3 operation, or '' for none   4 operations remembered
--       5 idle timeout in ms   6 most bytes and 7 most fields of data
-- Returns {'ok', value, version}, {'gone'}, {'forward', digest}, {'integer'} when the field holds
-- something else or the sum leaves 2^53, {'bytes', n} or {'fields', n}.
-- Whoever watches the session (notices.py) hears `changed <version> <value> <field>`.
local key, log, field, operation = KEYS[1], KEYS[2], ARGV[1], ARGV[3]
local deadline, forward, version, value =
    unpack(redis.call('HMGET', key, 'deadline', 'forward', 'version', field))
if forward then return {'forward', forward} end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if not deadline or now >= tonumber(deadline) then return {'gone'} end

if operation ~= '' then
    local at = redis.pcall('LPOS', log, operation)
    if type(at) == 'table' then  -- an error: something else was written there, so it begins anew
        redis.call('UNLINK', log)
        at = false
    end
    if at then  -- the client repeats itself: same answer, nothing raised
        return {'ok', tonumber(redis.call('LINDEX', log, at + 1)), tonumber(version)}
    end
end

if value and not string.match(value, '^-?%d+$') then return {'integer'} end
local sum = (tonumber(value) or 0) + tonumber(ARGV[2])
if math.abs(sum) > 9007199254740991 then return {'integer'} end
local text = string.format('%.0f', sum)
if not value then
    local bytes, fields = #field + #text, 1
    local present = redis.call('HGETALL', key)
    for i = 1, #present, 2 do
        if string.sub(present[i], 1, 2) == 'd:' then
            bytes, fields = bytes + #present[i] + #present[i + 1], fields + 1
        end
    end
    if bytes > tonumber(ARGV[6]) then return {'bytes', bytes} end
    if fields > tonumber(ARGV[7]) then return {'fields', fields} end
end

redis.call('HSET', key, field, text)
version = redis.call('HINCRBY', key, 'version', 1)
if operation ~= '' then
    redis.call('LPUSH', log, text, operation)  -- head first: operation, result
    redis.call('LTRIM', log, 0, 2 * tonumber(ARGV[4]) - 1)
    redis.call('PEXPIREAT', log, math.min(now + tonumber(ARGV[5]), tonumber(deadline)))
end
redis.call('PUBLISH', key, 'changed ' .. version .. ' ' .. text .. ' ' .. field)
return {'ok', sum, version}
