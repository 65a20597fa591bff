-- The ledger of one account: every job's record, in atomic transitions. A Celery message is only a nudge to look here.
--
-- KEYS[1]  warrooms:{account}; all other keys are made from it, so they share its hash slot:
--            :job:<incident>.<integration>  hash, the record
--            :retries  zset, id by the time in ms when somebody must look: a retry is due, or a claim's lease ends
--            :counts   hash, jobs by state (queued also by lane)        :failed   zset, id by time of failure in ms
--            :batch:<name>  hash, its jobs by state                     :batches  zset, name by time in ms
--            :nudged   a short lock: one worker queues due jobs at a time
-- ARGV[1]  command; ARGV[2] the time now in ms, '' means Redis TIME (only tests pass a time)
--   enqueue  retention ms, batch or '', then per job: id, lane, members '1,2', observers '1' or ''
--            -> per job: status, chat_id, share_link      status: 'new' | the state the job was found in
--   claim    id, token, lease ms      -> { 'claimed', attempt, look first 0/1 } | { the state, 0, 0 } | { 'unknown', 0, 0 }
--   sent     id, token, lease ms      -> 1 | 0 if the claim is lost
--   finish   id, token, state, retention ms, field, value ...   -> 1 | 0 if the claim is lost
--   retry    id, token, delay ms, look first '1' or '', field, value ...   -> 1 | 0
--   release  id, token, look first '1' or '', again after ms   -> 1 | 0      no attempt spent
--   due      how many, lock ms, again after ms      -> id, lane, ...     due retries, and jobs of dead workers
-- A command that is repeated because its reply was lost does no harm: the token says who asked before.
--
-- Record: state lane members observers batches attempts look token lease sent created updated due finished
--         chat_id chat_name share_link request_id code message hint status        (times in ms)

local base, command = KEYS[1], ARGV[1]

local now = tonumber(ARGV[2])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local FINISHED = { opened = true, found = true, failed = true, cancelled = true }
local WEEK = 7 * 24 * 3600 * 1000
local MOST_BATCHES = 64 -- of which one job counts in the progress

local function whole(x)
  return string.format('%.0f', x)
end

local function key(id)
  return base .. ':job:' .. id
end

-- Changes of counters are collected and written once per script.
local changes, order = {}, {}

local function count(hash, field, by)
  local name = hash .. '\n' .. field
  if not changes[name] then
    changes[name] = { hash, field, 0 }
    order[#order + 1] = name
  end
  changes[name][3] = changes[name][3] + by
end

local function write_counts()
  for _, name in ipairs(order) do
    local hash, field, by = unpack(changes[name])
    if by ~= 0 then
      redis.call('HINCRBY', hash, field, by)
    end
  end
end

local kept = {}

local function is_kept(batch) -- a job may outlive its batch; counting it would make a hash that never ends
  if kept[batch] == nil then
    kept[batch] = redis.call('EXISTS', base .. ':batch:' .. batch) == 1
  end
  return kept[batch]
end

local function count_state(state, lane, batches, by)
  count(base .. ':counts', state, by)
  if state == 'queued' then
    count(base .. ':counts', 'queued.' .. lane, by)
  end
  for name in string.gmatch(batches, '[^,]+') do
    if is_kept(name) then
      count(base .. ':batch:' .. name, state, by)
    end
  end
end

local function move(job, id, state)
  count_state(job.state, job.lane, job.batches, -1)
  count_state(state, job.lane, job.batches, 1)
  redis.call('HSET', key(id), 'state', state, 'updated', whole(now))
  job.state = state
end

local function load(id)
  local f = redis.call('HMGET', key(id), 'state', 'lane', 'batches', 'attempts', 'look', 'token', 'lease', 'sent',
    'chat_id', 'share_link')
  if not f[1] then
    return nil
  end
  return { state = f[1], lane = f[2] or 'bulk', batches = f[3] or '', attempts = tonumber(f[4]) or 0,
    look = f[5] == '1', token = f[6], lease = tonumber(f[7]) or 0, sent = f[8] == '1',
    chat_id = f[9] or '', share_link = f[10] or '' }
end

local function join(job, id, batch)
  if batch == '' or string.find(',' .. job.batches .. ',', ',' .. batch .. ',', 1, true) then
    return
  end
  local _, commas = string.gsub(job.batches, ',', '')
  if job.batches ~= '' and commas + 1 >= MOST_BATCHES then
    return
  end
  job.batches = job.batches == '' and batch or (job.batches .. ',' .. batch)
  redis.call('HSET', key(id), 'batches', job.batches)
  count(base .. ':batch:' .. batch, job.state, 1)
  count(base .. ':batch:' .. batch, 'total', 1)
end

local function create(id, lane, members, observers, batch)
  local fields = { 'state', 'queued', 'lane', lane, 'created', whole(now), 'updated', whole(now) }
  local function set(name, value)
    if value ~= '' then
      fields[#fields + 1], fields[#fields + 2] = name, value
    end
  end
  set('members', members)
  set('observers', observers)
  set('batches', batch)
  redis.call('HSET', key(id), unpack(fields))
  count_state('queued', lane, batch, 1)
  if batch ~= '' then
    count(base .. ':batch:' .. batch, 'total', 1)
  end
end

local function again(job, id, lane, members, observers)
  move(job, id, 'queued')
  count(base .. ':counts', 'queued.' .. job.lane, -1)
  count(base .. ':counts', 'queued.' .. lane, 1)
  redis.call('HSET', key(id), 'lane', lane, 'members', members, 'observers', observers, 'attempts', 0)
  redis.call('HDEL', key(id), 'finished', 'code', 'message', 'hint', 'status', 'due', 'token', 'lease', 'sent')
  redis.call('PERSIST', key(id))
  redis.call('ZREM', base .. ':failed', id)
end

local function hurry(job, id)
  if job.state == 'queued' then
    count(base .. ':counts', 'queued.bulk', -1)
    count(base .. ':counts', 'queued.urgent', 1)
  end
  job.lane = 'urgent'
  redis.call('HSET', key(id), 'lane', 'urgent')
end

local function keep(batch, retention)
  local name = base .. ':batch:' .. batch
  redis.call('HSETNX', name, 'created', whole(now))
  local kept = 2 * math.max(retention, WEEK) -- outlives the records it counts, and any backlog
  redis.call('PEXPIRE', name, whole(kept))
  redis.call('ZADD', base .. ':batches', whole(now), batch)
  redis.call('ZREMRANGEBYSCORE', base .. ':batches', '-inf', whole(now - kept))
end

local function invite(id, members, observers)
  local known = redis.call('HGET', key(id), 'members') or ''
  local both = (known ~= '' and members ~= '') and (known .. ',' .. members) or (known .. members)
  redis.call('HSET', key(id), 'members', both)
  if observers ~= '' then
    redis.call('HSET', key(id), 'observers', observers)
  end
end

local function enqueue()
  local retention, batch, reply = tonumber(ARGV[3]), ARGV[4], {}
  if batch ~= '' then
    keep(batch, retention)
  end
  for at = 5, #ARGV, 4 do
    local id, lane, members, observers = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
    local job = load(id)
    local status, chat_id, share_link = 'new', '', ''
    if not job then
      create(id, lane, members, observers, batch)
    else
      if job.state == 'failed' or job.state == 'cancelled' then
        again(job, id, lane, members, observers)
      else
        if (job.state == 'queued' or job.state == 'retrying') and (members ~= '' or observers ~= '') then
          invite(id, members, observers)
        end
        if lane == 'urgent' and job.lane == 'bulk' then
          hurry(job, id)
        end
        status, chat_id, share_link = job.state, job.chat_id, job.share_link
      end
      join(job, id, batch)
    end
    reply[#reply + 1], reply[#reply + 2], reply[#reply + 3] = status, chat_id, share_link
  end
  return reply
end

local function claim(id, token, lease)
  local job = load(id)
  if not job then
    return { 'unknown', 0, 0 }
  end
  if job.state == 'opening' and job.token == token then
    return { 'claimed', job.attempts, job.look and 1 or 0 }
  end
  local orphan = job.state == 'opening' and job.lease <= now
  if job.state ~= 'queued' and not orphan then
    return { job.state, 0, 0 }
  end
  local look = job.look or (orphan and job.sent) -- sent, and nobody heard the answer
  move(job, id, 'opening')
  redis.call('HSET', key(id), 'token', token, 'lease', whole(now + lease), 'attempts', job.attempts + 1,
    'look', look and '1' or '', 'sent', look and '' or '1')
  redis.call('HDEL', key(id), 'due')
  redis.call('ZADD', base .. ':retries', whole(now + lease), id)
  return { 'claimed', job.attempts + 1, look and 1 or 0 }
end

local function held(id, token)
  local job = load(id)
  return job and job.state == 'opening' and job.token == token and job or nil
end

local function sent(id, token, lease)
  if not held(id, token) then
    return 0
  end
  redis.call('HSET', key(id), 'sent', '1', 'lease', whole(now + lease))
  redis.call('ZADD', base .. ':retries', whole(now + lease), id)
  return 1
end

local function set_rest(id, from)
  if #ARGV >= from then
    redis.call('HSET', key(id), unpack(ARGV, from))
  end
end

local function finish(id, token, state, retention)
  local job = held(id, token)
  if not job then
    local done = load(id)
    return (done and done.token == token and done.state == state) and 1 or 0 -- our own reply was lost
  end
  move(job, id, state)
  set_rest(id, 7)
  redis.call('HSET', key(id), 'finished', whole(now))
  redis.call('HDEL', key(id), 'lease', 'due')
  redis.call('ZREM', base .. ':retries', id)
  redis.call('PEXPIRE', key(id), whole(retention))
  if state == 'failed' then
    redis.call('ZADD', base .. ':failed', whole(now), id)
    redis.call('ZREMRANGEBYSCORE', base .. ':failed', '-inf', whole(now - retention))
  else
    redis.call('HDEL', key(id), 'look', 'code', 'message', 'hint', 'status')
  end
  return 1
end

local function retry(id, token, delay, look)
  local job = held(id, token)
  if not job then
    local done = load(id)
    return (done and done.token == token and done.state == 'retrying') and 1 or 0
  end
  move(job, id, 'retrying')
  set_rest(id, 7)
  redis.call('HSET', key(id), 'due', whole(now + delay), 'look', (look == '1' or job.look) and '1' or '', 'sent', '')
  redis.call('ZADD', base .. ':retries', whole(now + delay), id)
  return 1
end

local function release(id, token, look, again_after)
  local job = held(id, token)
  if not job then
    local done = load(id)
    return (done and done.token == token and done.state == 'queued') and 1 or 0
  end
  move(job, id, 'queued')
  redis.call('HSET', key(id), 'attempts', math.max(job.attempts - 1, 0), 'sent', '',
    'look', (look == '1' or job.look) and '1' or '')
  redis.call('ZADD', base .. ':retries', whole(now + again_after), id) -- if its nudge should get lost
  return 1
end

local function due(most, lock, again_after)
  if not redis.call('SET', base .. ':nudged', '1', 'NX', 'PX', whole(lock)) then
    return {}
  end
  local reply = {}
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', base .. ':retries', '-inf', whole(now), 'LIMIT', 0, most)) do
    local job = load(id)
    if job and job.state == 'opening' then -- its worker is dead, and its message may be acknowledged
      redis.call('HSET', key(id), 'look', (job.look or job.sent) and '1' or '', 'sent', '')
    end
    if job and (job.state == 'opening' or job.state == 'retrying') then
      move(job, id, 'queued')
    end
    if job and job.state == 'queued' then
      -- It stays listed until it is claimed: a nudge that never arrives is sent again.
      redis.call('ZADD', base .. ':retries', whole(now + again_after), id)
      reply[#reply + 1], reply[#reply + 2] = id, job.lane
    else
      redis.call('ZREM', base .. ':retries', id)
    end
  end
  return reply
end

local reply
if command == 'enqueue' then
  reply = enqueue()
elseif command == 'claim' then
  reply = claim(ARGV[3], ARGV[4], tonumber(ARGV[5]))
elseif command == 'sent' then
  reply = sent(ARGV[3], ARGV[4], tonumber(ARGV[5]))
elseif command == 'finish' then
  reply = finish(ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6]))
elseif command == 'retry' then
  reply = retry(ARGV[3], ARGV[4], tonumber(ARGV[5]), ARGV[6])
elseif command == 'release' then
  reply = release(ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6]))
elseif command == 'due' then
  reply = due(tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]))
else
  return redis.error_reply('ERR unknown command ' .. tostring(command))
end
write_counts()
return reply
