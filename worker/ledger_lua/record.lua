-- The ledger of one account, part 1 of 6: keys, clock, what is read and written once, and how a job goes from state to state.
--
-- Every command of the ledger is one run of these parts joined (record, life, rescue, people, slots, dispatch), so each is
-- atomic: a job's record, its place in line and its message in Celery's queue change together or not at all. In front of
-- them stands the account's bucket as a function, for the commands that ask for a slot, too.
--
-- KEYS[1]  warrooms:{account}; the other keys are made from it, so they share its hash slot:
--            :account  hash, jobs by state (queued also by lane, and of these those of no batch: alone), and what recovery
--                      remembers (see rescue)
--            :job:<incident>.<integration>  hash, the record (its fields below)
--            :line:bulk, :line:urgent  zset, queued jobs by their turn
--            :claims   hash, jobs in a worker's hands by the token of their claim
--            :retries  zset, jobs that wait for another attempt by the time in ms when it is due
--            :failed   zset, dead letters by the time in ms
--            :workers  zset, workers by the time in ms of their last heartbeat
--            :batch:<name>  hash, its jobs by state             :batches  zset, name by time in ms
--            :nudged   a short lock: one worker recovers at a time
-- KEYS[2], KEYS[3]  the lists that are Celery's queues, of the bulk and of the urgent lane; the right end is the head
-- KEYS[4 ...]  the bucket's, if the command asks for a slot
-- ARGV[1]  command                  ARGV[2]  the time now in ms; '' means Redis TIME (only tests pass a time)
-- ARGV[3]  how many calls may have gone out in the moments that a crash of Redis can lose
-- ARGV[4]  ms of silence after which a worker is dead      ARGV[5]  ms after which a missing message is lost
-- ARGV[6]  ms for which finished jobs are remembered       ARGV[7 ...]  the command's own, see dispatch
-- RUN      the server's run id, see scripts.py
--
-- A message says that there is work, not which: whoever reads one gets the job whose turn it is. So there must be as many
-- messages as queued jobs; more do no harm.
--
-- Record: state lane turn members observers batches attempts began look token created updated due first finished denials
--         chat_id chat_name share_link request_id code message hint status trace queued  (times in ms)
--   token: of its last claim, '<worker>/<which>'     first: when it first went wrong
--   began: since when the last attempt went on, it is counted; with an 's' behind it if its creating call goes out
--   trace, queued: only with traces: the W3C traceparent of its enqueue, and since when it waited for its last claim
--   look:  a call of it may have opened a room, so the next attempt looks first     denials: how many 403s counted

local base, command = KEYS[1], ARGV[1]
local suspects, dead_after, lost_after, retention =
  tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])

local now, now_us = tonumber(ARGV[2]), nil
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  now_us = time[1] .. string.format('%06d', time[2])
end

local LANES = { 'urgent', 'bulk' }
local QUEUE = { bulk = KEYS[2], urgent = KEYS[3] }
local LINE = { bulk = base .. ':line:bulk', urgent = base .. ':line:urgent' }
local ACCOUNT, CLAIMS, RETRIES, FAILED, WORKERS =
  base .. ':account', base .. ':claims', base .. ':retries', base .. ':failed', base .. ':workers'

local FINISHED = { opened = true, found = true, failed = true, cancelled = true }
local WEEK = 7 * 24 * 3600 * 1000
local MOST_BATCHES = 64 -- of which one job counts in the progress

local function whole(x)
  return string.format('%.0f', x)
end

local function key(id)
  return base .. ':job:' .. id
end

-- The account's hash is read once and written once per script: each command counts, also those inside scripts.
local HEARD = 'heard.' -- before a worker's name: when it claimed last
local KNOWN = { 'run', 'beat', 'since', 'took', 'checked', 'queued', 'opening', 'retrying', 'opened', 'found', 'failed', 'cancelled' }
for _, lane in ipairs(LANES) do
  for _, name in ipairs({ '.reached', '.turn', '.idle', '.missing', '.since' }) do
    KNOWN[#KNOWN + 1] = lane .. name
  end
  KNOWN[#KNOWN + 1] = 'queued.' .. lane
  KNOWN[#KNOWN + 1] = 'alone.' .. lane
end
local account, before, noted = nil, {}, {} -- now, when the script began, what changed

-- Until November 2026 what stands in ACCOUNT stood in two hashes. What was under way then is looked at as after a restart.
local function take_over()
  for _, old in ipairs({ base .. ':counts', base .. ':watch' }) do
    local fields = redis.call('HGETALL', old)
    for at = 1, #fields, 2 do
      local name, value = fields[at], fields[at + 1]
      account[name], before[name], noted[name] = value, value, true
    end
    if #fields > 0 then
      redis.call('DEL', old)
      account.run = 'of an earlier version'
    end
  end
end

local function about(name) -- a text, or nil
  if not account then
    account = {}
    for at, value in ipairs(redis.call('HMGET', ACCOUNT, unpack(KNOWN))) do
      account[KNOWN[at]] = value or nil
      before[KNOWN[at]] = value or nil
    end
    if not account.run then
      take_over()
    end
  end
  return account[name]
end

local function note(name, value) -- nil: no longer
  if about(name) ~= value then
    account[name] = value
    noted[name] = true
  end
end

local function write_account()
  local put, gone = {}, {}
  for name in pairs(noted) do
    if account[name] then
      put[#put + 1], put[#put + 2] = name, account[name]
    else
      gone[#gone + 1] = name
    end
  end
  if #gone > 0 then
    redis.call('HDEL', ACCOUNT, unpack(gone))
  end
  if #put > 0 then
    redis.call('HSET', ACCOUNT, unpack(put))
  end
end

local function count(name, by)
  note(name, whole((tonumber(about(name)) or 0) + by))
end

-- Changes of batches' counters are collected and written once per script.
local changes, kept = {}, {}

local function is_kept(batch) -- a job may outlive its batch; counting it would make a hash that never ends
  if kept[batch] == nil then
    kept[batch] = redis.call('EXISTS', base .. ':batch:' .. batch) == 1
  end
  return kept[batch]
end

local function count_in(batch, field, by)
  local of = changes[batch] or {}
  changes[batch] = of
  of[field] = (of[field] or 0) + by
end

local function write_batches()
  for batch, of in pairs(changes) do
    for field, by in pairs(of) do
      if by ~= 0 and kept[batch] ~= false then
        local is = redis.call('HINCRBY', base .. ':batch:' .. batch, field, by)
        -- It was 0, or nothing: then there may be no such batch any more.
        if is == by and kept[batch] == nil then
          kept[batch] = redis.call('HGET', base .. ':batch:' .. batch, 'created') ~= false
          if not kept[batch] then
            redis.call('DEL', base .. ':batch:' .. batch)
          end
        end
      end
    end
  end
end

local function count_state(state, lane, batches, by)
  count(state, by)
  if state == 'queued' then
    count('queued.' .. lane, by)
    if batches == '' then
      count('alone.' .. lane, by)
    end
  end
  for name in string.gmatch(batches, '[^,]+') do
    count_in(name, state, by)
  end
end

local function keep(batch)
  local name = base .. ':batch:' .. batch
  redis.call('HSETNX', name, 'created', whole(now))
  local lives = 2 * math.max(retention, WEEK) -- outlives the records it counts, and any backlog
  redis.call('PEXPIRE', name, whole(lives))
  redis.call('ZADD', base .. ':batches', whole(now), batch)
  redis.call('ZREMRANGEBYSCORE', base .. ':batches', '-inf', whole(now - lives))
  kept[batch] = true
end

-- Changes of a record are collected, too, and written when it is read again or the script ends.
local FIELDS = { 'state', 'lane', 'batches', 'attempts', 'began', 'look', 'token', 'members', 'observers', 'chat_id',
  'share_link', 'turn', 'updated', 'due', 'first', 'finished', 'denials', 'code', 'message', 'hint', 'status', 'trace',
  'queued' }
local stored, put, dropped = {}, {}, {}

local function set(id, ...)
  local fields = put[id] or {}
  put[id] = fields
  local given = { ... }
  for at = 1, #given, 2 do
    fields[given[at]] = given[at + 1]
  end
end

local function drop_fields(id, ...) -- of FIELDS; those that it has
  for _, name in ipairs({ ... }) do
    if put[id] then
      put[id][name] = nil
    end
    if stored[id] and stored[id][name] then
      dropped[id] = dropped[id] or {}
      dropped[id][name] = true
    end
  end
end

local function write(id)
  local names, fields = {}, {}
  for name in pairs(dropped[id] or {}) do
    if not (put[id] and put[id][name]) then
      names[#names + 1] = name
    end
  end
  for name, value in pairs(put[id] or {}) do
    fields[#fields + 1], fields[#fields + 2] = name, value
  end
  if #names > 0 then
    redis.call('HDEL', key(id), unpack(names))
  end
  if #fields > 0 then
    redis.call('HSET', key(id), unpack(fields))
  end
  put[id], dropped[id], stored[id] = nil, nil, nil
end

local function write_records()
  local ids = {}
  for _, of in ipairs({ put, dropped }) do
    for id in pairs(of) do
      ids[id] = true
    end
  end
  for id in pairs(ids) do
    write(id)
  end
end

local function load(id)
  write(id)
  local f = {}
  for at, value in ipairs(redis.call('HMGET', key(id), unpack(FIELDS))) do
    f[FIELDS[at]] = value or nil
  end
  if not f.state then
    return nil
  end
  stored[id] = f
  return { state = f.state, lane = f.lane or 'bulk', batches = f.batches or '', attempts = tonumber(f.attempts) or 0,
    began = tonumber(string.match(f.began or '', '^%d+') or nil), sent = string.sub(f.began or '', -1) == 's',
    look = f.look == '1', token = f.token or '', members = f.members or '', observers = f.observers or '',
    chat_id = f.chat_id or '', share_link = f.share_link or '', turn = tonumber(f.turn) or 0, first = tonumber(f.first), denials = tonumber(f.denials) or 0, updated = f.updated,
    trace = f.trace, queued = f.queued }
end

local function create(id, lane, members, observers, batch)
  local job = { state = 'queued', lane = lane, batches = batch, attempts = 0, look = false, token = '', sent = false,
    members = members, observers = observers, chat_id = '', share_link = '', turn = 0, denials = 0,
    updated = whole(now) }
  set(id, 'state', 'queued', 'lane', lane, 'created', whole(now), 'updated', whole(now))
  for name, value in pairs({ members = members, observers = observers, batches = batch }) do
    if value ~= '' then
      set(id, name, value)
    end
  end
  if batch ~= '' then
    keep(batch)
    count_in(batch, 'total', 1)
  end
  count_state('queued', lane, batch, 1)
  return job
end

local function leave(job, id) -- a job stands in one place, that of its state
  if job.state == 'queued' then
    redis.call('ZREM', LINE[job.lane], id)
  elseif job.state == 'opening' then
    redis.call('HDEL', CLAIMS, job.token)
  elseif job.state == 'retrying' then
    redis.call('ZREM', RETRIES, id)
  elseif job.state == 'failed' then
    redis.call('ZREM', FAILED, id)
  end
end

local function become(job, id, state) -- it has left its place
  count_state(job.state, job.lane, job.batches, -1)
  count_state(state, job.lane, job.batches, 1)
  set(id, 'state', state, 'updated', whole(now))
  job.state = state
end

local function move(job, id, state)
  leave(job, id)
  become(job, id, state)
end

-- Fair turns. The jobs of a batch take turns one after the other, from where the line is now; so a small batch behind a
-- large one alternates with it and does not wait for its end. What belongs to no batch is one more such row. A job that
-- comes back (a 429, a retry, a dead worker's) keeps its turn, which has come: it stands in front again, in its order.
-- (Start-time fair queueing: Goyal, Vin, Cheng, SIGCOMM 1996.)
local turns = {}

local function reached(lane)
  return tonumber(about(lane .. '.reached')) or 0
end

local function next_turn(job, named)
  local batch = named or string.match(job.batches, '^[^,]+')
  if batch == '' then
    batch = nil
  end
  local own, field = batch and is_kept(batch) and batch or '', job.lane .. '.turn'
  local name = own .. '\n' .. field
  if not turns[name] then
    -- Turns that nobody will take any more (cancelled, hurried) are given back when the row is empty.
    local waiting, last -- before this script: the job itself does not count
    if own == '' then
      last = about(field)
      waiting = before['alone.' .. job.lane]
    else
      local seen = redis.call('HMGET', base .. ':batch:' .. own, 'queued', field)
      waiting, last = seen[1], seen[2]
    end
    last = (tonumber(waiting) or 0) > 0 and tonumber(last) or 0
    turns[name] = { own, field, math.max(last, reached(job.lane)) }
  end
  turns[name][3] = turns[name][3] + 1
  return turns[name][3]
end

local function write_turns()
  for _, turn in pairs(turns) do
    local batch, field, reached_turn = turn[1], turn[2], whole(turn[3])
    if batch == '' then
      note(field, reached_turn)
    else
      redis.call('HSET', base .. ':batch:' .. batch, field, reached_turn)
    end
  end
end

local function enter(job, id) -- the line, at the turn that the job has
  redis.call('ZADD', LINE[job.lane], whole(job.turn), id)
end

local function line_up(job, id, batch) -- whatever its state is
  job.turn = next_turn(job, batch)
  set(id, 'turn', whole(job.turn))
  if job.state == 'queued' then
    enter(job, id)
  end
end

-- A message more than jobs stand in line: its job left the line without one. The rest of a queue that is longer than its
-- line are messages of other clients, which nobody has read yet: whoever tells a time must know of them.
local function idle(lane, by)
  count(lane .. '.idle', by)
end

local function is_idle(lane)
  return (tonumber(about(lane .. '.idle')) or 0) > 0
end

local function nudge(job, message)
  redis.call('LPUSH', QUEUE[job.lane], message)
end

local function put_aside(job, id, due)
  move(job, id, 'retrying')
  set(id, 'due', whole(due))
  redis.call('ZADD', RETRIES, whole(due), id)
end

local function in_hand(job, id, token) -- it has left its place, and stands among the claims
  become(job, id, 'opening')
  job.token, job.began, job.sent = token, nil, false
  set(id, 'token', token)
  drop_fields(id, 'began', 'due')
end

local function hold(job, id, token)
  leave(job, id)
  in_hand(job, id, token)
  redis.call('HSET', CLAIMS, token, id)
end

local function of_worker(token)
  return string.match(token, '^(.*)/')
end

local function remember_how_long(job) -- an attempt takes, on average over the last few
  if job.began and now >= job.began then
    local was = tonumber(about('took')) or (now - job.began)
    note('took', whole(0.9 * was + 0.1 * (now - job.began)))
  end
end

local function finished(job, id, state, from) -- ARGV[from ...]: more fields of the record
  move(job, id, state)
  if #ARGV >= from then
    set(id, unpack(ARGV, from))
  end
  set(id, 'finished', whole(now))
  drop_fields(id, 'due')
  if state == 'failed' then
    if not job.first then
      set(id, 'first', whole(now))
    end
    redis.call('ZADD', FAILED, whole(now), id)
    redis.call('ZREMRANGEBYSCORE', FAILED, '-inf', whole(now - retention))
  elseif state ~= 'cancelled' then
    remember_how_long(job)
    drop_fields(id, 'look', 'code', 'message', 'hint', 'status', 'first', 'denials')
  end
  write(id)
  redis.call('PEXPIRE', key(id), whole(retention))
end
