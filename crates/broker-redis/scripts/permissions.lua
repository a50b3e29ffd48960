-- permissions.lua   Tells what the calling user may not do. Names no key, so that it runs on each node.
-- ARGV  commands, each behind the number of its words
-- Reply positions, from 0 on, of those that are not allowed; none where Redis cannot tell (before 7)
local refused, n, at = {}, 0, 1
if not redis.acl_check_cmd then return refused end
while at <= #ARGV do
  local last = at + tonumber(ARGV[at])
  -- What the server does not know, nobody may do.
  local known, allowed = pcall(redis.acl_check_cmd, unpack(ARGV, at + 1, last))
  if not (known and allowed) then refused[#refused + 1] = n end
  n, at = n + 1, last + 1
end
return refused
