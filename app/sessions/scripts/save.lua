#!lua
-- Write the changed fields of a session that still exists; never create one.
--
-- KEYS  1 session hash
-- ARGV  1 version the caller read, or '' to write whatever the version is
--       2 most bytes and 3 most fields of data
--       4 n, number of keys to set, followed by key, value pairs; then the keys to delete
-- Returns {'ok', version}, {'gone'}, {'conflict'}, {'bytes', n} or {'fields', n}; everything but 'ok' has
-- changed nothing.  Whoever watches the session gets `changed <version>`.
local key, version = KEYS[1], open(KEYS[1])
if not version then return {'gone'} end
if ARGV[1] ~= '' and ARGV[1] ~= version then return {'conflict'} end

local sets, deletes, changed = {}, {}, {}
local last_set = 4 + 2 * tonumber(ARGV[4])
for i = 5, last_set, 2 do
    sets[#sets + 1], sets[#sets + 2] = field_of(ARGV[i]), ARGV[i + 1]
    changed[field_of(ARGV[i])] = true
end
for i = last_set + 1, #ARGV do
    deletes[#deletes + 1] = field_of(ARGV[i])
    changed[field_of(ARGV[i])] = true
end
if #ARGV == 4 then return {'ok', tonumber(version)} end

-- What the data would weigh afterwards, with what parallel writers have added meanwhile.
local present = redis.call('HGETALL', key)
local bytes_before, count_before = weight_of(present, {})
local bytes_kept, count_kept = weight_of(present, changed)
local bytes_set, count_set = weight_of(sets, {})
local bytes, count = bytes_kept + bytes_set, count_kept + count_set
-- A change that shrinks the session passes even while a lowered cap is exceeded.
if bytes > tonumber(ARGV[2]) and bytes > bytes_before then return {'bytes', bytes} end
if count > tonumber(ARGV[3]) and count > count_before then return {'fields', count} end

if #sets > 0 then redis.call('HSET', key, unpack(sets)) end
if #deletes > 0 then redis.call('HDEL', key, unpack(deletes)) end
version = redis.call('HINCRBY', key, 'version', 1)
redis.call('PUBLISH', key, 'changed ' .. version)
return {'ok', version}
