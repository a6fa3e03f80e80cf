#!lua flags=no-writes,allow-cross-slot-keys
-- Some of all sessions on this node, whoever they are of; for administrators, as workers may not SCAN.
--
-- KEYS  1 any key of this node
-- ARGV  1 cursor   2 pattern of the session keys   3 about how many keys to look at
--       4 idle timeout   5 absolute timeout, in ms
-- Returns {next cursor, {{user or '', digest, created, touched, agent, address}, ...}} of those that live.
local now, answer = clock(), {}
local found = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3], 'TYPE', 'hash')
for _, key in ipairs(found[2]) do
    local facts = facts_of(key)
    local created, touched = life_of(facts, now, ARGV[4], ARGV[5])
    local digest = string.match(key, '}:(%x+)$')
    if created and digest then
        answer[#answer + 1] =
            {facts.user or '', digest, created, touched, facts.agent or '', facts.address or ''}
    end
end
return {found[1], answer}
