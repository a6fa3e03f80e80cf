#!lua
-- Add to an integer field, once for each operation id, in a session that still exists.
--
-- KEYS  1 session hash   2 its operation log: a list of operation, result, operation, result, ...
-- ARGV  1 key   2 amount   3 operation, or '' for none   4 operations remembered
--       5 most bytes and 6 most fields of data
-- Returns {'ok', value, version}, with 'repeated' behind it when nothing was raised, {'gone'}, {'integer'} when the
-- field holds something else or the sum leaves 2^53, {'bytes', n} or {'fields', n}.  Whoever watches the session gets `changed <version> <value> <key>`.
local session, log, field, operation = KEYS[1], KEYS[2], field_of(ARGV[1]), ARGV[3]
local version, value = open(session, field)
if not version then return {'gone'} end

if operation ~= '' then
    local at = redis.pcall('LPOS', log, operation)
    if type(at) == 'table' then  -- an error: something else was written there, so it begins anew
        redis.call('UNLINK', log)
        at = false
    end
    if at then  -- the client repeats itself: same answer, nothing raised
        -- A write, for whoever waits for replicas: an acknowledgement of it covers what is repeated, which another
        -- connection may have written and no replica have yet.
        redis.call('PEXPIRE', log, redis.call('PTTL', session))
        return {'ok', tonumber(redis.call('LINDEX', log, at + 1)), tonumber(version), 'repeated'}
    end
end

if value and not string.match(value, '^-?%d+$') then return {'integer'} end
local sum = (tonumber(value) or 0) + tonumber(ARGV[2])
if math.abs(sum) > 9007199254740991 then return {'integer'} end
local text = string.format('%.0f', sum)
if not value then
    local bytes, count = weight_of(redis.call('HGETALL', session), {})
    bytes, count = bytes + #field + #text, count + 1
    if bytes > tonumber(ARGV[5]) then return {'bytes', bytes} end
    if count > tonumber(ARGV[6]) then return {'fields', count} end
end

redis.call('HSET', session, field, text)
version = redis.call('HINCRBY', session, 'version', 1)
if operation ~= '' then
    redis.call('LPUSH', log, text, operation)  -- head first: operation, result
    redis.call('LTRIM', log, 0, 2 * tonumber(ARGV[4]) - 1)
    redis.call('PEXPIRE', log, redis.call('PTTL', session))
end
redis.call('PUBLISH', session, 'changed ' .. version .. ' ' .. text .. ' ' .. ARGV[1])
return {'ok', sum, version}
