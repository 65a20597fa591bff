-- Part 3 of 6: who is alive, what is lost, and what a crash of Redis may have undone.
--
-- :account  run   the run id of the server that wrote last; another one means a restart or a failover
--           beat   the last heartbeat of any worker     since  when somebody began to watch without a break
--         <lane>.reached   the highest turn that was taken       <lane>.turn  the last one given to a job of no batch
--         took   ms that an attempt takes                  <lane>.idle     messages more than its jobs (see record)
--         heard.<worker>   its last claim                  checked  when all claims were compared with the records
--         <lane>.missing, <lane>.since    so many messages at least are too few since then
--
-- A worker is dead when others have watched without a break for `dead_after` ms and it was silent all that time. Without
-- the first half, everybody would be dead right after Redis was away.

local BREAK_MS = 5000
local CHECK_MS = 30000 -- so often counters are not trusted, and the claims of living workers are compared with the records

local function beat(worker)
  local last, since = tonumber(about('beat')), tonumber(about('since'))
  if not last or not since or now < last or now - last > BREAK_MS then
    since = now
  end
  note('beat', whole(now))
  note('since', whole(since))
  redis.call('ZADD', WORKERS, whole(now), worker)
end

local function dead(worker)
  local last = tonumber(redis.call('ZSCORE', WORKERS, worker))
  local claimed = tonumber(redis.call('HGET', ACCOUNT, HEARD .. worker) or nil)
  if not last and not claimed then
    return true -- it said goodbye, or it was nobody
  end
  last = math.max(last or 0, claimed or 0)
  local beaten, since = tonumber(about('beat')), tonumber(about('since'))
  if not beaten or not since or now < beaten or now - beaten > BREAK_MS then
    return false -- a break that no beat has ended yet: nobody watches
  end
  if last > now then
    last = since -- the clock was set back: it was heard before that
  end
  return last <= now - dead_after and since <= now - dead_after
end

-- A crash may have undone the last moments: what was claimed, sent or finished then reads as if it never was. So the
-- jobs that can have been sent in them are put aside until the calls of those moments are over, and look first.
local function after_restart()
  local faster = tonumber(redis.call('HGET', base .. ':limit', 'suspects')) -- a person may have set other rates
  suspects = math.max(suspects, faster or 0)
  local soon = redis.call('ZRANGEBYSCORE', RETRIES, '-inf', whole(now + dead_after), 'LIMIT', 0, suspects)
  for _, id in ipairs(soon) do
    local due = whole(now + dead_after)
    set(id, 'look', '1', 'due', due)
    redis.call('ZADD', RETRIES, due, id)
  end
  for _, lane in ipairs(LANES) do
    for _, id in ipairs(redis.call('ZRANGE', LINE[lane], 0, suspects - 1)) do
      local job = load(id)
      idle(lane, 1)
      if job then
        put_aside(job, id, now + dead_after)
        set(id, 'look', '1', 'code', 'RedisRestarted',
          'message', 'Redis was restarted: this job may have been sent just before')
      else
        redis.call('ZREM', LINE[lane], id)
      end
    end
    note(lane .. '.missing', nil)
    note(lane .. '.since', nil)
  end
  for _, id in ipairs(redis.call('HVALS', CLAIMS)) do
    set(id, 'look', '1')
  end
  note('beat', whole(now))
  note('since', whole(now))
end

local function look_for_a_restart()
  local known_run = about('run')
  if known_run ~= RUN then
    note('run', RUN)
    if known_run then
      after_restart()
    end
  end
end

-- After a restart each worker says what it has in its hands, how its last calls ended, and the ledger takes its word.
--   ARGV[8] how many, then per job in its hands: id, token, attempts, began, sent, ending '1' or '' (its end is being
--   written: keep the claim if there is one), lane, members, observers, batch; then per room: id, token, state, chat_id,
--   chat_name, share_link, request_id
-- Only what was sent is taken back: an unsent claim is simply lost, and somebody else may have called since. Replies with
-- id and token of the claims that the ledger has in this worker's name: it says which of them it does not know (disown).
local function reconcile(worker, held_jobs)
  local at = 9
  for _ = 1, held_jobs do
    local id, token, attempts, began, sent, ending, lane, members, observers, batch = unpack(ARGV, at, at + 9)
    at = at + 10
    local job = load(id)
    if ending ~= '1' then
      local known = job ~= nil
      job = job or create(id, lane, members, observers, batch)
      if (job.state == 'queued' or job.state == 'retrying') and (sent == '1' or not known) then
        hold(job, id, token)
        set(id, 'attempts', attempts, 'began', began == '1' and (whole(now) .. (sent == '1' and 's' or '')) or '', 'look', '1')
      end
    end
  end
  while at <= #ARGV do
    local id, token, state, chat_id, chat_name, share_link, request_id = unpack(ARGV, at, at + 6)
    at = at + 7
    local job = load(id) or create(id, 'bulk', '', '', '')
    if job.state == 'queued' or job.state == 'retrying' or (job.state == 'opening' and job.token == token) then
      set(id, 'token', token, 'chat_id', chat_id, 'chat_name', chat_name,
        'share_link', share_link, 'request_id', request_id)
      finished(job, id, state, #ARGV + 1)
    end
  end
  local reply = {}
  for _, id in ipairs(redis.call('HVALS', CLAIMS)) do
    local job = load(id)
    if job and job.state == 'opening' and of_worker(job.token) == worker then
      reply[#reply + 1], reply[#reply + 2] = id, job.token
    end
  end
  return reply
end

-- The worker of these claims does not have them. What it may have sent is over when a dead worker's calls would be.
local function disown()
  for at = 7, #ARGV, 2 do
    local id, token = ARGV[at], ARGV[at + 1]
    local job = load(id)
    if job and job.state == 'opening' and job.token == token then
      put_aside(job, id, now + dead_after)
      set(id, 'look', '1')
      drop_fields(id, 'token', 'began')
    end
  end
end

-- Messages get lost on their way to a worker: there are fewer than queued jobs. That is so for a moment whenever one is
-- under way; but what was missing at every look for `lost_after` ms is missing. No job waits for a message of its own:
-- the next one that comes takes it along. Costs the same whatever the length of the line.
local function missing(lane, most)
  local messages = redis.call('LLEN', QUEUE[lane])
  if messages == 0 then
    note(lane .. '.idle', nil) -- however it was counted, none is left
  end
  local count_now = redis.call('ZCARD', LINE[lane]) - messages
  local least, since = tonumber(about(lane .. '.missing')), tonumber(about(lane .. '.since'))
  if count_now <= 0 then
    note(lane .. '.missing', nil)
    note(lane .. '.since', nil)
    return {}
  end
  if not since or since > now then
    least, since = count_now, now
  end
  least = math.min(least, count_now)
  local named = {}
  if now - since >= lost_after then
    named = redis.call('ZRANGE', LINE[lane], 0, math.min(least, most) - 1)
    least = least - #named
  end
  note(lane .. '.missing', least > 0 and whole(least) or nil)
  note(lane .. '.since', least > 0 and whole(since) or nil)
  return named
end

local function rests() -- by its counters the account has no job and no message: most accounts, most of the time
  for _, name in ipairs({ 'queued', 'opening', 'retrying', 'bulk.idle', 'urgent.idle' }) do
    if (tonumber(about(name)) or 0) ~= 0 then
      return false
    end
  end
  return true
end

-- What must be queued again; changes nothing of it yet, since only the caller can write messages. Per job: reason,
-- id, evidence (checked again by requeue), lane, members, observers, batches.
local function strays(lock, most)
  local reply = {}
  if not redis.call('SET', base .. ':nudged', '1', 'NX', 'PX', whole(lock)) then
    return reply
  end
  local checked = tonumber(about('checked'))
  local all = not checked or now - checked >= CHECK_MS or now < checked
  if not all and rests() then
    return reply
  end
  local function add(reason, id, evidence, job)
    for _, part in ipairs({ reason, id, evidence, job.lane, job.members, job.observers, job.batches }) do
      reply[#reply + 1] = part
    end
  end
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', RETRIES, '-inf', whole(now), 'LIMIT', 0, most)) do
    local job = load(id)
    if job and job.state == 'retrying' then
      add('due', id, '', job)
    else
      redis.call('ZREM', RETRIES, id)
    end
  end
  local claims = redis.call('HGETALL', CLAIMS)
  local is_dead = {} -- by worker
  for at = 1, #claims, 2 do
    local token, id = claims[at], claims[at + 1]
    local worker = of_worker(token) or token
    if is_dead[worker] == nil then
      is_dead[worker] = dead(worker)
    end
    local job = (all or is_dead[worker]) and load(id)
    if (all or is_dead[worker]) and (not job or job.state ~= 'opening' or job.token ~= token) then
      redis.call('HDEL', CLAIMS, token)
      if job and job.state == 'queued' then
        enter(job, id) -- it stands there already, as a rule
      end
    elseif is_dead[worker] then
      add('dead', id, token, job)
    end
  end
  if all then
    note('checked', whole(now))
  end
  for _, lane in ipairs(LANES) do
    for _, id in ipairs(missing(lane, most)) do
      local job = load(id)
      if job and job.state == 'queued' then
        add('lost', id, '', job)
      else
        redis.call('ZREM', LINE[lane], id)
      end
    end
  end
  for _, worker in ipairs(redis.call('ZRANGEBYSCORE', WORKERS, '-inf', whole(now - 360 * dead_after))) do
    if dead(worker) then -- and not only unheard because nobody was
      redis.call('ZREM', WORKERS, worker)
      redis.call('HDEL', ACCOUNT, HEARD .. worker)
    end
  end
  return reply
end

local function requeue()
  local done = {}
  for at = 7, #ARGV, 4 do
    local reason, id, evidence, message = unpack(ARGV, at, at + 3)
    local job = load(id)
    local valid = false
    if job and reason == 'due' then
      valid = job.state == 'retrying' and tonumber(redis.call('ZSCORE', RETRIES, id) or now + 1) <= now
    elseif job and reason == 'dead' then
      valid = job.state == 'opening' and job.token == evidence and dead(of_worker(job.token))
    elseif job and reason == 'lost' then
      valid = job.state == 'queued'
    end
    if valid then
      if reason == 'lost' then
        idle(job.lane, 1) -- it may only have been late
      else
        move(job, id, 'queued')
        look_from_now_on(job, id, job.sent and '1' or '')
        drop_fields(id, 'due')
        enter(job, id)
      end
      nudge(job, message)
    end
    done[#done + 1] = valid and 1 or 0
  end
  return done
end
