-- state.lua   Tells where a task is.
-- KEYS  1 Q:tasks   2 Q:scheduled   3 Q:dead   4 Q:identities   5 Q:active: (what all processing lists begin with)
-- ARGV  1 id
-- Reply 'gone' | 'dead' | 'scheduled' | 'active' | 'ready'
local tasks, scheduled, dead, identities, actives = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local id = ARGV[1]

if redis.call('HEXISTS', tasks, id) == 0 then return 'gone' end
if redis.call('ZSCORE', dead, id) then return 'dead' end
if redis.call('ZSCORE', scheduled, id) then return 'scheduled' end
local workers = redis.call('ZRANGE', identities, 0, -1)
for i = 1, #workers do
  if redis.call('HEXISTS', actives .. workers[i], id) == 1 then return 'active' end
end
return 'ready'
