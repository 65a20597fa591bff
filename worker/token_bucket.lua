-- All limits of one account, in one atomic step, on Redis' own clock.
--
-- The bucket never sleeps and never counts: each limit is one number, the theoretical arrival time (TAT) of GCRA,
-- and all times are whole microseconds. docs/limiter.md has the proof that what it hands out breaks no limit.
--
-- KEYS[1]  the account's bucket, a hash (fields below); a missing key is an EMPTY bucket, never a full one
-- ARGV[1]  command: acquire | hit | refund | penalty | peek
-- ARGV[2]  the time now in us; '' means Redis TIME (only tests pass a time)
-- ARGV[3]  horizon in us: how far ahead a slot may be reserved
-- ARGV[4]  n, the number of limits
-- ARGV[5 .. 4+2n]  for each limit: interval in us (1/r), tolerance in us ((C-1)/r)
-- and behind these
--   acquire  lane 'urgent' | 'bulk'; ticket '1' if the caller comes back as it was told to, else '0';
--            share: urgent slots in a row after which a waiting bulk job gets one
--   hit      nothing: takes a slot if one is free this moment and nobody waits; leaves no ticket
--   refund   the receipt of the slot that was not used
--   penalty  pause in us the server asked for, 0 if it did not say; the longest pause in us
--   peek     nothing
--
-- Replies (integers; waits in us from now)
--   acquire  { 1, wait until the slot, urgent line, bulk line, pause left, receipt }     the slot is reserved
--            { 0, come back in,        urgent line, bulk line, pause left, '' }          with a ticket
--   hit      { 1 if the slot is yours, else 0 }
--   refund   { how many of the limits took the slot back }
--   penalty  { pause left }
--   peek     { pause left, next slot, urgent line, bulk line, thousandths of a token in each bucket ... }
--   "line" is the wait until the slot that a newcomer in that lane would get.
--
-- Fields
--   t<i>  TAT of limit i                  c<i>  stamp: changes whenever a refund would no longer be safe
--   p     end of the last pause           s     429s in a row without a Retry-After
--   u, b  the end of the urgent and of the bulk line: the time behind the last ticket
--   k     urgent slots since the last bulk slot, at most the share
--   n     the time of the last change

local KEEP_US = 3600 * 1000000    -- an idle bucket is kept for an hour, then it starts empty again
local LONGEST_LINE_US = 15 * 1000000 -- tickets may be abandoned: nobody is sent further behind the next slot
local STREAK_US = 10 * 1000000    -- a 429 this soon after a pause belongs to the same trouble
local FIRST_PAUSE_US = 1000000
local LONGEST_STREAK = 7          -- 1, 2, 4 ... 64 s, cut to the longest blind pause
local BLIND_PAUSE_US = 60 * 1000000

local key, command, horizon, n = KEYS[1], ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4])
local after = 4 + 2 * n

local now = tonumber(ARGV[2])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000000 + tonumber(time[2])
end

local interval, tolerance, slowest = {}, {}, 1
for i = 1, n do
  interval[i], tolerance[i] = tonumber(ARGV[3 + 2 * i]), tonumber(ARGV[4 + 2 * i])
  if interval[i] > interval[slowest] then
    slowest = i
  end
end
local widest = interval[slowest] -- the time between two slots in steady flow: both lines move at this pace

local names = { 'p', 's', 'u', 'b', 'k', 'n' }
for i = 1, n do
  names[#names + 1], names[#names + 2] = 't' .. i, 'c' .. i
end
local stored = redis.call('HMGET', key, unpack(names))
local pause, streak, urgent_end, bulk_end, in_a_row =
  tonumber(stored[1]) or 0, tonumber(stored[2]) or 0, tonumber(stored[3]) or 0,
  tonumber(stored[4]) or 0, tonumber(stored[5]) or 0

-- A clock that stepped back (failover) must not stop the account: all times step back with it, as if none had passed.
local back = math.max((tonumber(stored[6]) or 0) - now, 0)
pause, urgent_end, bulk_end = pause - back, urgent_end - back, bulk_end - back

local tat, stamp = {}, {}
for i = 1, n do
  -- Empty, and one horizon later: slots handed out before the state was lost may still lie ahead.
  local empty = math.max(now, pause) + horizon + tolerance[i] + interval[i]
  local known = tonumber(stored[5 + 2 * i])
  tat[i] = known and known - back or empty
  stamp[i] = tonumber(stored[6 + 2 * i]) or empty
end

local function free_since() -- the time from which the next slot is free; may lie ahead or behind
  local at = pause
  for i = 1, n do
    at = math.max(at, tat[i] - tolerance[i])
  end
  return at
end

local free = free_since()
local slot = math.max(now, free)
local furthest = slot + LONGEST_LINE_US
urgent_end, bulk_end = math.min(urgent_end, furthest), math.min(bulk_end, furthest)

local function whole(x)
  return string.format('%.0f', x) -- tostring() keeps 14 digits of 16
end

local function save()
  local fields = {
    'p', whole(pause), 's', whole(streak), 'u', whole(urgent_end), 'b', whole(bulk_end), 'k', in_a_row, 'n', whole(now),
  }
  local last = math.max(now, pause, urgent_end, bulk_end)
  for i = 1, n do
    last = math.max(last, tat[i])
    for _, field in ipairs({ 't' .. i, whole(tat[i]), 'c' .. i, whole(stamp[i]) }) do
      fields[#fields + 1] = field
    end
  end
  redis.call('HSET', key, unpack(fields))
  redis.call('PEXPIRE', key, whole(math.ceil((last - now + KEEP_US) / 1000)))
end

local function newcomer(lane)
  if lane == 'urgent' then
    return math.max(slot, urgent_end)
  end
  return math.max(slot, urgent_end, bulk_end)
end

local function reserve()
  local receipt = {}
  for i = 1, n do
    -- Giving an earlier slot back is safe only while every later grant found the bucket at least one
    -- interval away from full; otherwise the token would have spilled over, so the stamp changes.
    if tat[i] - slot < interval[i] then
      stamp[i] = math.max(stamp[i] + 1, slot)
    end
    tat[i] = math.max(tat[i], slot) + interval[i]
    receipt[i] = whole(stamp[i])
  end
  return table.concat(receipt, ',')
end

local function acquire(lane, has_ticket, share)
  local bulk_is_due = in_a_row >= share
  local urgent_waits = urgent_end > now
  -- A whole slot has passed unclaimed: a ticket was abandoned or a slot given back. Whoever asks may have it.
  local spare = now - (tat[slowest] - tolerance[slowest]) >= widest
  local line = math.max(slot, lane == 'urgent' and urgent_end or bulk_end)
  local mine = (has_ticket or spare) and slot or line
  local yields = false
  if lane == 'urgent' then -- leaves bulk its turn, but only until that slot has come: its workers may be dead
    yields = bulk_is_due and bulk_end > now - horizon and free > now
  elseif urgent_waits and not bulk_is_due then
    mine = math.max(mine, urgent_end)
  end

  local granted, wait, receipt = 0, 0, ''
  if mine - now <= horizon and not yields then
    granted, wait = 1, slot - now
    in_a_row = lane == 'urgent' and math.min(in_a_row + 1, share) or 0
    receipt = reserve()
    slot = math.max(now, free_since()) -- for the lines in the reply
  else
    local place, early = math.max(line, mine), math.floor(horizon / 2)
    if yields then
      place = math.max(mine, slot + early)
    elseif lane == 'bulk' and urgent_waits then -- the urgent line may be endless; bulk has its turns
      local turn = slot + math.max(share - in_a_row, 0) * widest
      place = math.min(place, has_ticket and turn or math.max(turn, bulk_end + share * widest))
    end
    wait = math.max(place - now - early, 1000)
    if lane == 'urgent' then
      urgent_end = math.max(line, place) + widest
    else
      bulk_end = math.max(bulk_end, place + widest)
    end
  end
  save()
  return { granted, wait, newcomer('urgent') - now, newcomer('bulk') - now, math.max(pause - now, 0), receipt }
end

local function hit()
  local granted = newcomer('bulk') <= now and 1 or 0
  if granted == 1 then
    in_a_row = 0
    reserve()
  end
  save() -- also if refused: an empty bucket begins to fill when it is first seen
  return { granted }
end

local function refund(receipt)
  local i, taken_back = 0, 0
  for issued in string.gmatch(receipt, '%d+') do
    i = i + 1
    if i <= n and tonumber(issued) == stamp[i] then
      tat[i] = tat[i] - interval[i]
      stamp[i] = stamp[i] + 1 -- one refund at a time: the proof covers no second one before the next grant
      taken_back = taken_back + 1
    end
  end
  if taken_back > 0 then
    save()
  end
  return { taken_back }
end

local function penalty(asked, longest)
  local length = math.min(asked, longest)
  if asked <= 0 then
    if pause > now then -- a late answer to a call from before this pause says nothing new
      return { pause - now }
    end
    streak = (now - pause <= STREAK_US) and math.min(streak + 1, LONGEST_STREAK) or 1
    length = math.min(FIRST_PAUSE_US * 2 ^ (streak - 1), BLIND_PAUSE_US)
  end
  if now + length > pause then -- the longest pause wins
    pause = now + length
    for i = 1, n do -- and the buckets are empty on resume
      tat[i] = math.max(tat[i], pause + tolerance[i] + interval[i])
      stamp[i] = math.max(stamp[i] + 1, tat[i])
    end
  end
  save()
  return { math.max(pause - now, 0) }
end

local function peek()
  local reply = { math.max(pause - now, 0), slot - now, newcomer('urgent') - now, newcomer('bulk') - now }
  for i = 1, n do
    local full = tolerance[i] + interval[i]
    local filled = math.min(math.max(now, pause) + full - tat[i], full)
    reply[4 + i] = math.floor(1000 * filled / interval[i])
  end
  return reply
end

if command == 'acquire' then
  return acquire(ARGV[after + 1], ARGV[after + 2] == '1', tonumber(ARGV[after + 3]))
elseif command == 'hit' then
  return hit()
elseif command == 'refund' then
  return refund(ARGV[after + 1])
elseif command == 'penalty' then
  return penalty(tonumber(ARGV[after + 1]), tonumber(ARGV[after + 2]))
elseif command == 'peek' then
  return peek()
end
return redis.error_reply('ERR unknown command ' .. tostring(command))
