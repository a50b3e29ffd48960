-- ring.lua   Rings for another process.
-- KEYS  1 Q:bell
-- Reply 'rung'
ring(KEYS[1])
return 'rung'
