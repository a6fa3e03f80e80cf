#!lua flags=allow-oom
-- Describe sessions of one user, and drop from the index those that have expired.
--
-- KEYS  1 the user's index   2.. session hashes, one for each digest
-- ARGV  the digests
-- Returns one {digest, created, touched, agent, address} for each that is alive.
local answer = {}
for i, digest in ipairs(ARGV) do
    local session = KEYS[1 + i]
    local alive = redis.call('TYPE', session).ok == 'hash'
    local meta = alive and redis.call('HMGET', session, 'created', 'touched', 'agent', 'address')
    if meta and meta[1] then
        answer[#answer + 1] = {digest, meta[1], meta[2], meta[3] or '', meta[4] or ''}
    else
        redis.call('ZREM', KEYS[1], digest)
    end
end
return answer
