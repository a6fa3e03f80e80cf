#!lua flags=no-writes
-- Describe sessions of one user.
--
-- KEYS  1.. session hashes, one for each digest
-- ARGV  1 idle timeout   2 absolute timeout, in ms   3.. the digests
-- Returns one {digest, created, touched, agent, address} for each that lives, {digest} for each other one.
local now, answer = clock(), {}
for i = 3, #ARGV do
    local facts = facts_of(KEYS[i - 2])
    local created, touched = life_of(facts, now, ARGV[1], ARGV[2])
    answer[#answer + 1] = created
        and {ARGV[i], created, touched, facts.agent or '', facts.address or ''} or {ARGV[i]}
end
return answer
