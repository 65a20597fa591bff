-- The oldest of the jobs next in line: when it was enqueued first.
--
-- KEYS[1]  the line, a zset of jobs     KEYS[2]  warrooms:{account}:job:, before a job's id
-- ARGV[1]  at how many jobs to look
-- Reply    the time in ms; 0 if none waits

local oldest = 0
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, tonumber(ARGV[1]) - 1)) do
  local created = tonumber(redis.call('HGET', KEYS[2] .. id, 'created'))
  if created and (oldest == 0 or created < oldest) then
    oldest = created
  end
end
return oldest
