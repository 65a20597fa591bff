-- Part 2 of 5: a job's life as producers and workers drive it. Each command may run twice, because the reply of the
-- first run was lost: the token says who asked before.

local function join(job, id, batch)
  if batch == '' or string.find(',' .. job.batches .. ',', ',' .. batch .. ',', 1, true) then
    return
  end
  local _, commas = string.gsub(job.batches, ',', '')
  if job.batches ~= '' and commas + 1 >= MOST_BATCHES then
    return
  end
  if job.batches == '' and job.state == 'queued' then
    count(base .. ':counts', 'alone.' .. job.lane, -1)
  end
  job.batches = job.batches == '' and batch or (job.batches .. ',' .. batch)
  redis.call('HSET', key(id), 'batches', job.batches)
  count(base .. ':batch:' .. batch, job.state, 1)
  count(base .. ':batch:' .. batch, 'total', 1)
  local hash, field = base .. ':batch:' .. batch, job.lane .. '.joined' -- it keeps its turn in the row it stands in
  redis.call('HSET', hash, field, whole(math.max(job.turn, tonumber(redis.call('HGET', hash, field)) or 0)))
end

local function again(job, id, message, batch) -- from a dead letter or a cancelled job
  move(job, id, 'queued')
  redis.call('HSET', key(id), 'attempts', 0)
  redis.call('HDEL', key(id), 'finished', 'code', 'message', 'hint', 'status', 'first', 'denials', 'due', 'token')
  redis.call('PERSIST', key(id))
  line_up(job, id, batch)
  nudge(job, message)
end

local function invite(job, id, members, observers)
  local invited = job.members
  for member in string.gmatch(members, '[^,]+') do
    if not string.find(',' .. invited .. ',', ',' .. member .. ',', 1, true) then -- or it would grow with each enqueue
      invited = invited == '' and member or (invited .. ',' .. member)
    end
  end
  if invited ~= job.members then
    job.members = invited
    redis.call('HSET', key(id), 'members', invited)
  end
  if observers ~= '' then
    redis.call('HSET', key(id), 'observers', observers)
  end
end

local function hurry(job, id)
  local queued = job.state == 'queued'
  if queued then
    leave(job, id)
    idle('bulk', 1)
    count(base .. ':counts', 'queued.bulk', -1)
    count(base .. ':counts', 'queued.urgent', 1)
    if job.batches == '' then
      count(base .. ':counts', 'alone.bulk', -1)
      count(base .. ':counts', 'alone.urgent', 1)
    end
  end
  job.lane = 'urgent'
  redis.call('HSET', key(id), 'lane', 'urgent')
  line_up(job, id)
end

local function enqueue(batch, traces)
  local reply = {}
  local next_trace = string.gmatch(traces, '[^,]+')
  if batch ~= '' then
    keep(batch)
  end
  for at = 9, #ARGV, 5 do
    local id, lane, members, observers, message = unpack(ARGV, at, at + 4)
    local job, trace = load(id), next_trace()
    local anew = not job or job.state == 'failed' or job.state == 'cancelled'
    local status, chat_id, share_link, position = 'new', '', '', ''
    if not job then
      job = create(id, lane, members, observers, batch)
      line_up(job, id)
      nudge(job, message)
    else
      if job.state == 'failed' or job.state == 'cancelled' then
        leave(job, id)
        redis.call('HSET', key(id), 'lane', lane, 'members', members, 'observers', observers)
        job.lane = lane
        again(job, id, message, batch)
      else
        if job.state == 'queued' or job.state == 'retrying' then
          invite(job, id, members, observers)
        end
        if lane == 'urgent' and job.lane == 'bulk' and not FINISHED[job.state] then
          hurry(job, id)
          if job.state == 'queued' then
            nudge(job, message)
          end
        end
        status, chat_id, share_link = job.state, job.chat_id, job.share_link
      end
      join(job, id, batch)
    end
    if anew and trace then
      redis.call('HSET', key(id), 'trace', trace)
    end
    if job.state == 'queued' then
      position = redis.call('ZRANK', LINE[job.lane], id) or ''
    end
    for _, part in ipairs({ status, chat_id, share_link, position, job.lane }) do
      reply[#reply + 1] = part
    end
  end
  return reply
end

local function held(id, token)
  local job = load(id)
  return job and job.state == 'opening' and job.token == token and job or nil
end

local function first_of(lane)
  while true do
    local id = redis.call('ZRANGE', LINE[lane], 0, 0)[1]
    local job = id and load(id)
    if job or not id then
      return job, id
    end
    redis.call('ZREM', LINE[lane], id) -- a place without a record
    idle(lane, 1)
  end
end

-- The message may be a foreign client's, with no record yet: then the record begins here, and waits for its turn like
-- any other. Claimed is the job whose turn it is: the named one, as a rule.
local function claim(id, token, worker, batch, lane, members, observers)
  local queue = lane -- that the message came from
  local mine = redis.call('HGET', CLAIMS, token) -- our own reply was lost
  local job = mine and held(mine, token)
  if job then
    id = mine
  else
    local named = load(id)
    if not named then
      named = create(id, lane, members, observers, batch)
      line_up(named, id)
    elseif named.state == 'queued' and named.lane == 'bulk' and lane == 'urgent' then
      hurry(named, id) -- a foreign client is in a hurry now
    end
    if named.state == 'queued' then
      lane = named.lane
    end
    job, id = first_of(lane)
    if not job then
      job, id = first_of(lane == 'bulk' and 'urgent' or 'bulk')
    end
    if (job and job.lane) ~= queue and is_idle(queue) then
      idle(queue, -1)
    end
    if not job then
      return { named.state }
    end
    if job.lane ~= queue then
      idle(job.lane, 1)
    end
    local reached = job.lane .. '.reached'
    redis.call('HSET', WATCH, reached, whole(math.max(job.turn, tonumber(redis.call('HGET', WATCH, reached)) or 0)))
    local seen = redis.call('HMGET', key(id), 'trace', 'updated')
    if seen[1] then
      redis.call('HSET', key(id), 'queued', seen[2]) -- since when it waited, for the trace
    end
    hold(job, id, token, worker)
    redis.call('ZADD', WORKERS, whole(now), worker)
  end
  local past = redis.call('HMGET', key(id), 'first', 'denials', 'trace', 'queued')
  local failing = math.max(now - (tonumber(past[1]) or now), 0)
  return { 'claimed', id, job.attempts, job.look and 1 or 0, failing, tonumber(past[2]) or 0,
    job.lane, job.members, job.observers, job.batches, past[3] or '', past[4] or 0 }
end

local function did(id, token, state) -- our own reply was lost
  local job = load(id)
  return (job and job.token == token and job.state == state) and 1 or 0
end

local function begin(id, token, attempt, sent)
  if not held(id, token) then
    return 0
  end
  redis.call('HSET', key(id), 'attempts', attempt, 'began', whole(now), 'sent', sent)
  return 1
end

local function unspend(job, id)
  if job.began then
    redis.call('HSET', key(id), 'attempts', math.max(job.attempts - 1, 0))
  end
end

local function look_from_now_on(job, id, look)
  redis.call('HSET', key(id), 'look', (look == '1' or job.look) and '1' or '')
  redis.call('HDEL', key(id), 'began', 'sent', 'worker')
end

local function finish(id, token, state)
  local job = held(id, token)
  if not job and (state == 'opened' or state == 'found') and redis.call('EXISTS', key(id)) == 0 then
    job = create(id, 'bulk', '', '', '') -- Redis lost the record in a crash, but the room is there
    redis.call('HSET', key(id), 'token', token)
  end
  if not job then
    return did(id, token, state)
  end
  finished(job, id, state, 10)
  return 1
end

local function retry(id, token, delay, look, spent)
  local job = held(id, token)
  if not job then
    return did(id, token, 'retrying')
  end
  put_aside(job, id, now + delay)
  if spent ~= '1' then
    unspend(job, id)
  end
  if #ARGV >= 12 then
    redis.call('HSET', key(id), unpack(ARGV, 12))
  end
  redis.call('HSETNX', key(id), 'first', whole(now))
  look_from_now_on(job, id, look)
  return 1
end

local function release(id, token, look, message)
  local job = held(id, token)
  if not job then
    return did(id, token, 'queued')
  end
  move(job, id, 'queued') -- first, since it begins by removing: so it works without memory, too
  unspend(job, id)
  enter(job, id)
  nudge(job, message)
  look_from_now_on(job, id, look)
  return 1
end
