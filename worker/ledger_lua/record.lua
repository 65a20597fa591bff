-- The ledger of one account, part 1 of 5: keys, clock, counters, and how a job goes from state to state.
--
-- Every command of the ledger is one run of these parts joined (record, life, rescue, people, dispatch), so each is
-- atomic: a job's record, its place in line and its message in Celery's queue change together or not at all.
--
-- KEYS[1]  warrooms:{account}; the other keys are made from it, so they share its hash slot:
--            :job:<incident>.<integration>  hash, the record (its fields below)
--            :line:bulk, :line:urgent  zset, queued jobs by their turn
--            :claims   hash, jobs in a worker's hands by the token of their claim
--            :retries  zset, jobs that wait for another attempt by the time in ms when it is due
--            :failed   zset, dead letters by the time in ms
--            :workers  zset, workers by the time in ms of their last heartbeat
--            :watch    hash, what recovery remembers (see rescue)
--            :counts   hash, jobs by state (queued also by lane, and of these those of no batch: alone)
--            :batch:<name>  hash, its jobs by state             :batches  zset, name by time in ms
--            :nudged   a short lock: one worker recovers at a time
-- KEYS[2], KEYS[3]  the lists that are Celery's queues, of the bulk and of the urgent lane; the right end is the head
-- ARGV[1]  command                  ARGV[2]  the time now in ms; '' means Redis TIME (only tests pass a time)
-- ARGV[3]  how many calls may have gone out in the moments that a crash of Redis can lose
-- ARGV[4]  ms of silence after which a worker is dead      ARGV[5]  ms after which a missing message is lost
-- ARGV[6]  ms for which finished jobs are remembered       ARGV[7 ...]  the command's own, see dispatch
--
-- A message says that there is work, not which: whoever reads one gets the job whose turn it is. So there must be as many
-- messages as queued jobs; more do no harm.
--
-- Record: state lane turn members observers batches attempts began look token worker sent created updated due first finished
--         denials chat_id chat_name share_link request_id code message hint status trace queued  (times in ms)
--   began: since when the attempt under way goes on; it is counted     sent: its creating call went out     first: when it first went wrong
--   trace, queued: only with traces: the W3C traceparent of its enqueue, and since when it waited for its last claim
--   look:  a call of it may have opened a room, so the next attempt looks first     denials: how many 403s counted

local base, command = KEYS[1], ARGV[1]
local suspects, dead_after, lost_after, retention =
  tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])

local now = tonumber(ARGV[2])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local LANES = { 'urgent', 'bulk' }
local QUEUE = { bulk = KEYS[2], urgent = KEYS[3] }
local LINE = { bulk = base .. ':line:bulk', urgent = base .. ':line:urgent' }
local CLAIMS, RETRIES, FAILED, WORKERS, WATCH =
  base .. ':claims', base .. ':retries', base .. ':failed', base .. ':workers', base .. ':watch'

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
    if batches == '' then
      count(base .. ':counts', 'alone.' .. lane, by)
    end
  end
  for name in string.gmatch(batches, '[^,]+') do
    if is_kept(name) then
      count(base .. ':batch:' .. name, state, by)
    end
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

local FIELDS = { 'state', 'lane', 'batches', 'attempts', 'began', 'look', 'token', 'worker', 'sent',
  'members', 'observers', 'chat_id', 'share_link', 'turn' }

local function load(id)
  local f = redis.call('HMGET', key(id), unpack(FIELDS))
  if not f[1] then
    return nil
  end
  return { state = f[1], lane = f[2] or 'bulk', batches = f[3] or '', attempts = tonumber(f[4]) or 0,
    began = tonumber(f[5]), look = f[6] == '1', token = f[7] or '', worker = f[8] or '', sent = f[9] == '1',
    members = f[10] or '', observers = f[11] or '', chat_id = f[12] or '', share_link = f[13] or '',
    turn = tonumber(f[14]) or 0 }
end

local function create(id, lane, members, observers, batch)
  local job = { state = 'queued', lane = lane, batches = batch, attempts = 0, look = false,
    token = '', worker = '', sent = false, members = members, observers = observers, chat_id = '', share_link = '', turn = 0 }
  local fields = { 'state', 'queued', 'lane', lane, 'created', whole(now), 'updated', whole(now) }
  for name, value in pairs({ members = members, observers = observers, batches = batch }) do
    if value ~= '' then
      fields[#fields + 1], fields[#fields + 2] = name, value
    end
  end
  redis.call('HSET', key(id), unpack(fields))
  if batch ~= '' then
    keep(batch)
    count(base .. ':batch:' .. batch, 'total', 1)
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

local function move(job, id, state)
  leave(job, id)
  count_state(job.state, job.lane, job.batches, -1)
  count_state(state, job.lane, job.batches, 1)
  redis.call('HSET', key(id), 'state', state, 'updated', whole(now))
  job.state = state
end

-- Fair turns. The jobs of a batch take turns one after the other, from where the line is now; so a small batch behind a
-- large one alternates with it and does not wait for its end. What belongs to no batch is one more such row. A job that
-- comes back (a 429, a retry, a dead worker's) keeps its turn, which has come: it stands in front again, in its order.
-- (Start-time fair queueing: Goyal, Vin, Cheng, SIGCOMM 1996.)
local turns = {}

local function next_turn(job, named)
  local batch = named or string.match(job.batches, '^[^,]+')
  if batch == '' then
    batch = nil
  end
  local own = batch and is_kept(batch) and (base .. ':batch:' .. batch)
  local hash, field = own or WATCH, job.lane .. '.turn'
  local name = hash .. '\n' .. field
  if not turns[name] then
    -- Turns that nobody will take any more (cancelled, hurried) are given back when the row is empty.
    local waiting = redis.call('HGET', own or (base .. ':counts'), own and 'queued' or ('alone.' .. job.lane))
    local last = (tonumber(waiting) or 0) > 0 and tonumber(redis.call('HGET', hash, field)) or 0
    local reached = tonumber(redis.call('HGET', WATCH, job.lane .. '.reached')) or 0
    turns[name] = { hash, field, math.max(last, reached) }
  end
  turns[name][3] = turns[name][3] + 1
  return turns[name][3]
end

local function write_turns()
  for _, turn in pairs(turns) do
    redis.call('HSET', turn[1], turn[2], whole(turn[3]))
  end
end

local function enter(job, id) -- the line, at the turn that the job has
  redis.call('ZADD', LINE[job.lane], whole(job.turn), id)
end

local function line_up(job, id, batch) -- whatever its state is
  job.turn = next_turn(job, batch)
  redis.call('HSET', key(id), 'turn', whole(job.turn))
  if job.state == 'queued' then
    enter(job, id)
  end
end

-- A message more than jobs stand in line: its job left the line without one. The rest of a queue that is longer than its
-- line are messages of other clients, which nobody has read yet: whoever tells a time must know of them.
local function idle(lane, by)
  count(WATCH, lane .. '.idle', by)
end

local function is_idle(lane)
  return (tonumber(redis.call('HGET', WATCH, lane .. '.idle')) or 0) > 0
end

local function nudge(job, message)
  redis.call('LPUSH', QUEUE[job.lane], message)
end

local function put_aside(job, id, due)
  move(job, id, 'retrying')
  redis.call('HSET', key(id), 'due', whole(due))
  redis.call('ZADD', RETRIES, whole(due), id)
end

local function hold(job, id, token, worker)
  move(job, id, 'opening')
  job.token = token
  redis.call('HSET', key(id), 'token', token, 'worker', worker)
  redis.call('HDEL', key(id), 'began', 'sent', 'due')
  redis.call('HSET', CLAIMS, token, id)
end

local function remember_how_long(job) -- an attempt takes, on average over the last few
  if job.began and now >= job.began then
    local was = tonumber(redis.call('HGET', WATCH, 'took')) or (now - job.began)
    redis.call('HSET', WATCH, 'took', whole(0.9 * was + 0.1 * (now - job.began)))
  end
end

local function finished(job, id, state, from) -- ARGV[from ...]: more fields of the record
  move(job, id, state)
  if #ARGV >= from then
    redis.call('HSET', key(id), unpack(ARGV, from))
  end
  redis.call('HSET', key(id), 'finished', whole(now))
  redis.call('HDEL', key(id), 'due', 'began', 'sent', 'worker')
  redis.call('PEXPIRE', key(id), whole(retention))
  if state == 'failed' then
    redis.call('HSETNX', key(id), 'first', whole(now))
    redis.call('ZADD', FAILED, whole(now), id)
    redis.call('ZREMRANGEBYSCORE', FAILED, '-inf', whole(now - retention))
  elseif state ~= 'cancelled' then
    remember_how_long(job)
    redis.call('HDEL', key(id), 'look', 'code', 'message', 'hint', 'status', 'first', 'denials')
  end
end
