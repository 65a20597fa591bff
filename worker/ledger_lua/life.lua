-- Part 2 of 6: a job's life as producers and workers drive it. Each command may run twice, because the reply of the
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
    count('alone.' .. job.lane, -1)
  end
  job.batches = job.batches == '' and batch or (job.batches .. ',' .. batch)
  set(id, 'batches', job.batches)
  count_in(batch, job.state, 1)
  count_in(batch, 'total', 1)
  local hash, field = base .. ':batch:' .. batch, job.lane .. '.joined' -- it keeps its turn in the row it stands in
  redis.call('HSET', hash, field, whole(math.max(job.turn, tonumber(redis.call('HGET', hash, field)) or 0)))
end

local function again(job, id, message, batch) -- from a dead letter or a cancelled job
  move(job, id, 'queued')
  set(id, 'attempts', 0)
  drop_fields(id, 'finished', 'code', 'message', 'hint', 'status', 'first', 'denials', 'due', 'token')
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
    set(id, 'members', invited)
  end
  if observers ~= '' then
    set(id, 'observers', observers)
  end
end

local function hurry(job, id)
  local queued = job.state == 'queued'
  if queued then
    leave(job, id)
    idle('bulk', 1)
    count('queued.bulk', -1)
    count('queued.urgent', 1)
    if job.batches == '' then
      count('alone.bulk', -1)
      count('alone.urgent', 1)
    end
  end
  job.lane = 'urgent'
  set(id, 'lane', 'urgent')
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
        set(id, 'lane', lane, 'members', members, 'observers', observers)
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
      set(id, 'trace', trace)
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

-- Takes the job whose turn it is out of its line: the lane's, or the other one's if nobody waits there.
local function next_of(lane, named, named_id)
  for _, its in ipairs({ lane, lane == 'bulk' and 'urgent' or 'bulk' }) do
    while true do
      local popped = redis.call('ZPOPMIN', LINE[its])
      local id = popped[1]
      if not id then
        break
      end
      local job = id == named_id and named or load(id)
      if job then
        return job, id, popped[2]
      end
      idle(its, 1) -- it was a place without a record
    end
  end
  return nil
end

-- The message may be a foreign client's, with no record yet: then the record begins here, and waits for its turn like
-- any other. Claimed is the job whose turn it is: the named one, as a rule. `begins` is asked whether its attempt begins
-- at once, too: it is told the job and returns what of the reply it makes of it.
local function claim(id, token, worker, batch, lane, members, observers, begins)
  local queue = lane -- the one that the message came from
  local named, named_id = load(id), id
  if not named then
    named = create(id, lane, members, observers, batch)
    line_up(named, id)
  elseif named.state == 'queued' and named.lane == 'bulk' and lane == 'urgent' then
    hurry(named, id) -- a foreign client is in a hurry now
  end
  if named.state == 'queued' then
    lane = named.lane
  end
  local job, turn
  job, id, turn = next_of(lane, named, named_id)
  if job and redis.call('HSETNX', CLAIMS, token, id) == 0 then -- our own reply was lost
    redis.call('ZADD', LINE[job.lane], turn, id)
    job = nil
  end
  local mine = not job and redis.call('HGET', CLAIMS, token)
  local again = mine and held(mine, token)
  if again then
    job, id = again, mine
  else
    if (job and job.lane) ~= queue and is_idle(queue) then
      idle(queue, -1)
    end
    if not job then
      return { named.state }
    end
    if job.lane ~= queue then
      idle(job.lane, 1)
    end
    note(job.lane .. '.reached', whole(math.max(job.turn, reached(job.lane))))
    if job.trace then
      job.queued = job.updated
      set(id, 'queued', job.queued) -- since when it waited, for the trace
    end
    in_hand(job, id, token)
    note(HEARD .. worker, whole(now)) -- who claims lives; its heartbeat may be held up
  end
  local attempts = job.attempts - ((again and job.began) and 1 or 0)
  local failing = math.max(now - (job.first or now), 0)
  local reply = { 'claimed', id, attempts, job.look and 1 or 0, failing, job.denials, job.lane, job.members, job.observers,
    job.batches, job.trace or '', job.queued or 0 }
  for _, part in ipairs(begins and begins(job, id, attempts) or {}) do
    reply[#reply + 1] = part
  end
  return reply
end

local function began(job, id, attempt, sent)
  job.began = now
  set(id, 'attempts', attempt, 'began', whole(now) .. (sent == '1' and 's' or ''))
end

local function did(id, token, state) -- our own reply was lost
  local job = load(id)
  return (job and job.token == token and job.state == state) and 1 or 0
end

local function begin(id, token, attempt, sent)
  local job = held(id, token)
  if not job then
    return 0
  end
  began(job, id, attempt, sent)
  return 1
end

local function unspend(job, id)
  if job.began then
    set(id, 'attempts', math.max(job.attempts - 1, 0))
  end
end

local function look_from_now_on(job, id, look)
  if look == '1' or job.look then
    set(id, 'look', '1')
  end
  drop_fields(id, 'began')
end

local function finish(id, token, state)
  local job = held(id, token)
  if not job and (state == 'opened' or state == 'found') and redis.call('EXISTS', key(id)) == 0 then
    job = create(id, 'bulk', '', '', '') -- Redis lost the record in a crash, but the room is there
    set(id, 'token', token)
    write(id)
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
    set(id, unpack(ARGV, 12))
  end
  if not job.first then
    set(id, 'first', whole(now))
  end
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
