-- All limits of one account, in one atomic step, on Redis' own clock.
--
-- The bucket never sleeps and never counts: each limit is one number, the theoretical arrival time (TAT) of GCRA,
-- and all times are whole microseconds. docs/limiter.md has the proof that what it hands out breaks no limit.
--
-- It also keeps the account's health, because that decides too whether a call may go out: an account that is down
-- (5xx, timeouts) or suspended (key, licence) is paused for everybody, and one call at a time goes out as a probe.
--
-- KEYS[1]  the account's bucket, a hash (fields below); a missing key is an EMPTY bucket, never a full one
-- KEYS[2]  why the account is down or suspended, for people; a hash: level, since, probes, code, message, hint, request_id
-- KEYS[3]  what people ordered, a hash; while its rates hold, those in ARGV are not used:
--            rates     in words                            limits     'interval:tolerance' of each limit, ','-separated
--            suspects  calls within 5 s, for the ledger    rates_until  us, '' if for good
--            rates_by, rates_at, hold_by, hold_at  who ordered it, and when (us)
--            hold_until  nobody is called before it: us, 'resumed' if not before a person says so
-- KEYS[4]  the slots of the last minute, a list of times in us, the latest last
-- KEYS[5]  what went out, a hash: h<hour> = 'calls second at minute at', the most within any second and any minute that
--          ended in that hour, and when they ended (s);  m<n> = 'ten-second calls', the last ten minutes in a ring.
--          What was the most is found every ten seconds: until then KEYS[4] has what is not looked at yet
-- ARGV[1]  command: acquire | hit | refund | penalty | report | resume | peek | set | unset | hold
-- ARGV[2]  the time now in us; '' means Redis TIME (only tests pass a time)
-- ARGV[3]  horizon in us: how far ahead a slot may be reserved
-- ARGV[4]  n, the number of limits
-- ARGV[5 .. 4+2n]  for each limit: interval in us (1/r), tolerance in us ((C-1)/r)
-- and behind these
--   acquire  lane 'urgent' | 'bulk'; ticket '1' if the caller comes back as it was told to, else '0';
--            share: urgent slots in a row after which a waiting bulk job gets one
--   hit      nothing: takes a slot if one is free this moment and nobody waits; leaves no ticket
--   refund   the receipt of the slot that was not used
--   penalty  pause in us the server asked for, 0 if it did not say; the longest pause in us; the receipt of the call's slot
--   report   how a call ended: well | answered | unwell | denied | refused; us since it went out; code, message, hint,
--            request id
--   resume   '1' if a person's pause ends, too: a person says that the account may be called
--   peek     nothing
--   set      rates, limits, suspects, how long in us ('' for good), by whom: a person sets the rates
--   unset    nothing: back to those in ARGV
--   hold     how long in us ('' until resumed), by whom: a person pauses the account
--
-- Replies (integers; waits in us from now)
--   acquire  { 1, wait until the slot, urgent line, bulk line, pause left, receipt, level, interval, held }  it is reserved
--            { 0, come back in,        urgent line, bulk line, pause left, '', level, interval, held }      with a ticket
--              level: 0 well, 1 shaken, 2 down, 3 suspended    interval: us between two slots    held: 1 if a person paused it
--   hit      { 1 if the slot is yours, else 0 }
--   refund   { how many of the limits took the slot back }
--   penalty  { pause left }
--   report   { level, pause left if down or suspended, 1 if others fail too, 1 if it went down, was suspended or is back }
--   resume   { 1 if it was down or suspended, else 0; 1 if a person had paused it, else 0 }
--   peek     { pause left, next slot, urgent line, bulk line, interval, held, { thousandths of a token in each bucket },
--              { what people ordered: field, value ... } }
--   set, unset, hold   { 1 if that changed anything, else 0 }
--   "line" is the wait until the slot that a newcomer in that lane would get.
--
-- Fields
--   t<i>  TAT of limit i                  c<i>  stamp: changes whenever a refund would no longer be safe
--   p     end of the last pause           s     429s in a row without a Retry-After
--   u, b  the end of the urgent and of the bulk line: the time behind the last ticket
--   k     urgent slots since the last bulk slot, at most the share
--   n     the time of the last change
--   l     level, 2 or 3; absent if the account is called as usual
--   f, d  failures and denials (403) that were more than the successes
--   o     when it went down or was suspended     y  probes that failed since then     q  no probe before this time
--   r     end of the ramp on which traffic comes back
--   i     the server's run id: another one means a restart or failover, and what the bucket says may be too old
--   e     '0' if KEYS[3] is known to be empty: then it is not read     x  until when the key is kept, in ten minutes
--   w     the current hour of KEYS[5], with its number in front      v     and the current ten seconds
--   z     the last slot up to which the most within a second and a minute is known
--
-- RUN is the server's run id, see scripts.py. Each command costs time, so what seldom changes is seldom read or written:
-- a slot costs four of them, `HMGET HSET RPUSH` and TIME.

local KEEP_US = 26 * 3600 * 1000000 -- an idle bucket is kept for as long as what it counted is asked for, then it starts empty
local LONGEST_LINE_US = 15 * 1000000 -- tickets may be abandoned: nobody is sent further behind the next slot
local STREAK_US = 10 * 1000000    -- a 429 this soon after a pause belongs to the same trouble
local FIRST_PAUSE_US = 1000000
local LONGEST_STREAK = 7          -- 1, 2, 4 ... 64 s, cut to the longest blind pause
local BLIND_PAUSE_US = 60 * 1000000
local FAILURES = 5                -- more failures than successes by so many: the API is down
local DENIALS = 5                 -- and so many 403s: the account is suspended
local PROBES_US = { 1000000, 2000000, 4000000, 8000000, 15000000 } -- between probes of an API that is down
local SUSPENDED_US = 55 * 1000000 -- between probes of a suspended account: with the call itself, a minute
local PROBE_US = 45 * 1000000     -- a probe's answer, or its end, is known by then
local RAMP_US = 10 * 1000000      -- from a tenth of the speed to all of it
local SLOWEST = 10
local PROBE = 'p'                 -- marks the receipt of a probe's slot
local DOWN, SUSPENDED = 2, 3
local UNTIL_RESUMED = 'resumed'
local A_DAY_US = 24 * 3600 * 1000000
local MINUTE_US, SECOND_US, TEN_S_US, HOUR_US = 60 * 1000000, 1000000, 10 * 1000000, 3600 * 1000000
local HOURS_KEPT, TENS_KEPT = 24, 60
local EXPIRY_STEP_US = 10 * MINUTE_US

local key, command, horizon, n = KEYS[1], ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4])
local after = 4 + 2 * n

local now = tonumber(ARGV[2])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000000 + tonumber(time[2])
end

local function whole(x)
  return string.format('%.0f', x) -- tostring() keeps 14 digits of 16
end

-- What a person ordered. When the rates change, every bucket begins anew, empty: a window that began before may hold what
-- the old rates gave until now and what the new ones give from now on, which is no more than the wider of them gives.
local function forget_tokens()
  local fields = { 'u', 'b' } -- who waited comes back at once, and keeps no place that was reckoned at another pace
  for i = 1, 16 do
    fields[#fields + 1], fields[#fields + 2] = 't' .. i, 'c' .. i
  end
  redis.call('HDEL', key, unpack(fields))
end

local RATES = { 'rates', 'limits', 'suspects', 'rates_until', 'rates_by', 'rates_at' }
local HOLD = { 'hold_until', 'hold_by', 'hold_at' }
local names = { 'p', 's', 'u', 'b', 'k', 'n', 'l', 'f', 'd', 'o', 'y', 'r', 'q', 'i', 'w', 'v', 'e', 'x', 'z' }
local NAMED = #names
for i = 1, n do
  names[#names + 1], names[#names + 2] = 't' .. i, 'c' .. i
end
local stored = redis.call('HMGET', key, unpack(names))
-- Who may have ordered something without saying so here: an earlier version, or somebody by hand. So 'e' is believed for
-- ten seconds, and only by who wants a slot.
local in_this_ten = string.match(stored[16] or '', '^(%d+) ') == string.format('%.0f', math.floor(now / TEN_S_US))
local is_ordered = stored[17] ~= '0' or not in_this_ten or command ~= 'acquire'
local ordered = is_ordered and redis.call('HMGET', KEYS[3], 'limits', 'rates_until', 'hold_until') or {}
local limits, rates_until, hold_until = ordered[1], tonumber(ordered[2] or nil), ordered[3]
is_ordered = (limits or hold_until) and true or false
if rates_until and rates_until <= now then
  redis.call('HDEL', KEYS[3], unpack(RATES))
  limits = false
  forget_tokens()
  stored = redis.call('HMGET', key, unpack(names))
end
if hold_until and hold_until ~= UNTIL_RESUMED and tonumber(hold_until) <= now then
  redis.call('HDEL', KEYS[3], unpack(HOLD))
  hold_until = false
end
if hold_until == UNTIL_RESUMED then
  hold_until = now + A_DAY_US
end
local held_until = tonumber(hold_until or 0)

local interval, tolerance, slowest = {}, {}, 1
if limits then
  n = 0
  for one, run_ahead in string.gmatch(limits, '(%d+):(%d+)') do
    n = n + 1
    interval[n], tolerance[n] = tonumber(one), tonumber(run_ahead)
    names[NAMED - 1 + 2 * n], names[NAMED + 2 * n] = 't' .. n, 'c' .. n
  end
  stored = redis.call('HMGET', key, unpack(names, 1, NAMED + 2 * n))
else
  for i = 1, n do
    interval[i], tolerance[i] = tonumber(ARGV[3 + 2 * i]), tonumber(ARGV[4 + 2 * i])
  end
end
for i = 1, n do
  if interval[i] > interval[slowest] then
    slowest = i
  end
end
local widest = interval[slowest] -- the time between two slots in steady flow: both lines move at this pace

local pause, streak, urgent_end, bulk_end, in_a_row =
  tonumber(stored[1]) or 0, tonumber(stored[2]) or 0, tonumber(stored[3]) or 0,
  tonumber(stored[4]) or 0, tonumber(stored[5]) or 0
local level, failures, denials, opened_at, failed_probes, ramp_end, probe_at =
  tonumber(stored[7]) or 0, tonumber(stored[8]) or 0, tonumber(stored[9]) or 0,
  tonumber(stored[10]) or 0, tonumber(stored[11]) or 0, tonumber(stored[12]) or 0, tonumber(stored[13]) or 0

local run = string.sub(RUN, 1, 12)
local restarted = stored[14] ~= run

-- A clock that stepped back (failover) must not stop the account: all times step back with it, as if none had passed.
local back = math.max((tonumber(stored[6]) or 0) - now, 0)
pause, urgent_end, bulk_end = pause - back, urgent_end - back, bulk_end - back
opened_at, ramp_end, probe_at = opened_at - back, ramp_end - back, probe_at - back

local tat, stamp = {}, {}
for i = 1, n do
  -- Empty, and one horizon later: slots handed out before the state was lost may still lie ahead.
  local empty = math.max(now, pause) + horizon + tolerance[i] + interval[i]
  local known = tonumber(stored[NAMED - 1 + 2 * i])
  -- After a crash the bucket may be some moments old, with slots in it that are long used: empty, too.
  tat[i] = known and (restarted and math.max(known - back, empty) or known - back) or empty
  stamp[i] = not restarted and tonumber(stored[NAMED + 2 * i]) or math.max(empty, tat[i])
end

local function closed_until() -- the end of the pause, of a person's, or of the wait for a probe
  local at = math.max(pause, held_until)
  return level >= DOWN and math.max(at, probe_at) or at
end

local function pause_left()
  return math.max(closed_until() - now, 0)
end

local function free_since() -- the time from which the next slot is free; may lie ahead or behind
  local at = closed_until()
  for i = 1, n do
    at = math.max(at, tat[i] - tolerance[i])
  end
  return at
end

local free = free_since()
local slot = math.max(now, free)
local furthest = slot + LONGEST_LINE_US
urgent_end, bulk_end = math.min(urgent_end, furthest), math.min(bulk_end, furthest)

local hour_now, ten_now, counted_to = stored[15], stored[16], stored[19]
local stepped_back = back > horizon -- and the slots of the last minute have not, yet

local function move_slots_back() -- with the clock, as if no time had passed
  if stepped_back then
    local slots = redis.call('LRANGE', KEYS[4], 0, -1)
    redis.call('DEL', KEYS[4])
    for _, at in ipairs(slots) do
      redis.call('RPUSH', KEYS[4], whole(tonumber(at) - back))
    end
    redis.call('PEXPIRE', KEYS[4], whole(KEEP_US / 1000))
    counted_to = counted_to and whole(tonumber(counted_to) - back)
    stepped_back = false
  end
end

local function save()
  move_slots_back()
  local fields = {
    'p', whole(pause), 's', whole(streak), 'u', whole(urgent_end), 'b', whole(bulk_end), 'k', in_a_row, 'n', whole(now),
  }
  local last = math.max(now, closed_until(), urgent_end, bulk_end)
  local function put(name, value)
    fields[#fields + 1], fields[#fields + 2] = name, value
  end
  for i = 1, n do
    last = math.max(last, tat[i])
    put('t' .. i, whole(tat[i]))
    put('c' .. i, whole(stamp[i]))
  end
  if restarted then
    put('i', run)
  end
  if hour_now ~= stored[15] or ten_now ~= stored[16] then
    put('w', hour_now)
    put('v', ten_now)
  end
  if counted_to ~= stored[19] then
    put('z', counted_to)
  end
  local may_be_ordered = is_ordered and '1' or '0'
  if may_be_ordered ~= stored[17] then
    put('e', may_be_ordered)
  end
  local kept_until = last + KEEP_US
  local step = math.floor(kept_until / EXPIRY_STEP_US)
  local is_kept = tonumber(stored[18] or nil) == step
  if not is_kept then
    put('x', whole(step))
  end
  local was_well = not (stored[7] or stored[8] or stored[9] or stored[12])
  local is_well = level == 0 and failures == 0 and denials == 0 and ramp_end <= now
  if not is_well then
    put('l', level)
    put('f', failures)
    put('d', denials)
    put('o', whole(opened_at))
    put('y', failed_probes)
    put('r', whole(ramp_end))
    put('q', whole(probe_at))
  elseif not was_well then
    redis.call('HDEL', key, 'l', 'f', 'd', 'o', 'y', 'r', 'q')
  end
  redis.call('HSET', key, unpack(fields))
  local keep = whole(math.ceil(((step + 1) * EXPIRY_STEP_US - now) / 1000))
  if not is_kept then
    redis.call('PEXPIRE', key, keep)
  end
  if level >= DOWN then
    redis.call('PEXPIRE', KEYS[2], keep)
  end
end

local function shown_level()
  return level > 0 and level or ((failures > 0 or denials > 0) and 1 or 0)
end

local function newcomer(lane)
  if lane == 'urgent' then
    return math.max(slot, urgent_end)
  end
  return math.max(slot, urgent_end, bulk_end)
end

-- The most slots within any second and any minute, of the windows that end with a slot which was not looked at yet; then
-- what no later window reaches is forgotten. Exactly: over every window, and not only those of the clock.
local function find_the_most()
  local its_hour, calls, second, second_at, minute, minute_at =
    string.match(hour_now or '', '^(%d+) (%d+) (%d+) (%d+) (%d+) (%d+)$')
  local slots = redis.call('LRANGE', KEYS[4], 0, -1)
  if not its_hour or #slots == 0 then
    return
  end
  local in_order = true
  for i, one in ipairs(slots) do
    slots[i] = tonumber(one)
    in_order = in_order and (i == 1 or slots[i - 1] <= slots[i])
  end
  local newest = slots[#slots]
  local past = 0
  while past < #slots and slots[past + 1] <= newest - MINUTE_US do
    past = past + 1
  end
  if not in_order then -- a slot that was given back came again
    table.sort(slots)
  end
  second, minute = tonumber(second), tonumber(minute)
  local since, second_begin, minute_begin = tonumber(counted_to or nil) or 0, 1, 1
  for i, at in ipairs(slots) do
    while slots[second_begin] <= at - SECOND_US do
      second_begin = second_begin + 1
    end
    while slots[minute_begin] <= at - MINUTE_US do
      minute_begin = minute_begin + 1
    end
    if at >= since and i - second_begin + 1 > second then
      second, second_at = i - second_begin + 1, whole(math.floor(at / SECOND_US))
    end
    if at >= since and i - minute_begin + 1 > minute then
      minute, minute_at = i - minute_begin + 1, whole(math.floor(at / SECOND_US))
    end
  end
  if past > 0 then
    redis.call('LPOP', KEYS[4], past)
  end
  counted_to = whole(slots[#slots])
  hour_now = table.concat({ its_hour, calls, second, second_at, minute, minute_at }, ' ')
end

local function begin_hour(hour, at_s)
  local its_hour, rest = string.match(hour_now or '', '^(%d+) (.*)$')
  if its_hour then
    redis.call('HSET', KEYS[5], 'h' .. its_hour, rest)
    for _, field in ipairs(redis.call('HKEYS', KEYS[5])) do
      local old = tonumber(string.match(field, '^h(%d+)$'))
      if old and old < hour - HOURS_KEPT then
        redis.call('HDEL', KEYS[5], field)
      end
    end
  end
  -- None as a rule; the hour has begun before if the clock stepped back.
  local begun = redis.call('HGET', KEYS[5], 'h' .. whole(hour)) or string.format('0 0 %s 0 %s', at_s, at_s)
  hour_now = whole(hour) .. ' ' .. begun
end

local function begin_ten(ten)
  local its_ten = string.match(ten_now or '', '^(%d+) ')
  if its_ten then
    redis.call('HSET', KEYS[5], 'm' .. (tonumber(its_ten) % TENS_KEPT), ten_now)
    redis.call('PEXPIRE', KEYS[5], whole((HOURS_KEPT + 2) * 3600 * 1000))
  end
  local begun = redis.call('HGET', KEYS[5], 'm' .. (ten % TENS_KEPT))
  local same = begun and tonumber(string.match(begun, '^(%d+) ')) == ten
  ten_now = same and begun or (whole(ten) .. ' 0')
end

-- What goes out is counted where it is decided. Costs one short command, and some more every ten seconds; keeps about a
-- minute's slots, a day's hours and ten minutes' tens of seconds.
local function count(at)
  move_slots_back()
  local hour, ten = math.floor(at / HOUR_US), math.floor(at / TEN_S_US)
  local is_new = tonumber(string.match(ten_now or '', '^(%d+) ')) ~= ten
  if is_new then
    find_the_most()
    begin_ten(ten)
  end
  if tonumber(string.match(hour_now or '', '^(%d+) ')) ~= hour then
    begin_hour(hour, whole(math.floor(at / SECOND_US)))
  end
  local length = redis.call('RPUSH', KEYS[4], whole(at))
  if is_new or length == 1 then -- kept until they are looked at, which may be at the next call
    redis.call('PEXPIRE', KEYS[4], whole(KEEP_US / 1000))
  end
  local its_hour, calls, rest = string.match(hour_now, '^(%d+) (%d+) (.*)$')
  hour_now = its_hour .. ' ' .. whole(tonumber(calls) + 1) .. ' ' .. rest
  local its_ten, in_ten = string.match(ten_now, '^(%d+) (%d+)$')
  ten_now = its_ten .. ' ' .. whole(tonumber(in_ten) + 1)
end

local function uncount(at) -- the slot was not used; what was the most stays, which may be one too many
  if redis.call('LREM', KEYS[4], -1, at) == 0 or not (hour_now and ten_now) then
    return
  end
  local hour, calls, rest = string.match(hour_now or '', '^(%d+) (%d+) (.*)$')
  if hour then
    hour_now = hour .. ' ' .. math.max(tonumber(calls) - 1, 0) .. ' ' .. rest
  end
  local ten, in_ten = string.match(ten_now or '', '^(%d+) (%d+)$')
  if ten then
    ten_now = ten .. ' ' .. math.max(tonumber(in_ten) - 1, 0)
  end
  redis.call('HSET', key, 'w', hour_now, 'v', ten_now)
end

local function reserve()
  local receipt = {}
  count(slot)
  for i = 1, n do
    -- Giving an earlier slot back is safe only while every later grant found the bucket at least one
    -- interval away from full; otherwise the token would have spilled over, so the stamp changes.
    if tat[i] - slot < interval[i] then
      stamp[i] = math.max(stamp[i] + 1, slot)
    end
    tat[i] = math.max(tat[i], slot) + interval[i]
    receipt[i] = whole(stamp[i])
  end
  if ramp_end > now then -- traffic comes back slowly: a longer way to the next slot is safe for every limit
    local part = math.min((ramp_end - now) / RAMP_US, 1)
    local longer = math.floor((SLOWEST - 1) * part * interval[slowest])
    local to_the_end = math.max(ramp_end + tolerance[slowest] - tat[slowest], 0) -- a slow account waits no longer
    tat[slowest] = tat[slowest] + math.min(longer, to_the_end)
  end
  return table.concat(receipt, ',') .. '@' .. whole(slot)
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
  local is_probe = level >= DOWN
  if mine - now <= horizon and not yields then
    granted, wait = 1, slot - now
    in_a_row = lane == 'urgent' and math.min(in_a_row + 1, share) or 0
    receipt = reserve()
    if is_probe then -- everybody else waits for how it ends
      probe_at = now + wait + PROBE_US
      receipt = receipt .. PROBE
    end
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
    if level < DOWN and held_until <= now then -- else there is no line: whoever asks first when it is time is the probe
      if lane == 'urgent' then
        urgent_end = math.max(line, place) + widest
      else
        bulk_end = math.max(bulk_end, place + widest)
      end
    end
  end
  save()
  return { granted, wait, newcomer('urgent') - now, newcomer('bulk') - now, pause_left(), receipt, shown_level(),
    widest, held_until > now and 1 or 0 }
end

local function hit()
  local granted = (level < DOWN and newcomer('bulk') <= now) and 1 or 0
  if granted == 1 then
    in_a_row = 0
    reserve()
  end
  save() -- also if refused: an empty bucket begins to fill when it is first seen
  return { granted }
end

local function frees_the_next_probe(receipt) -- a probe that tells nothing: it was not sent, or a 429 was its answer
  local is_probe = level >= DOWN and string.find(receipt, PROBE, 1, true) ~= nil
  if is_probe then
    probe_at = math.min(probe_at, now)
  end
  return is_probe
end

local function refund(receipt)
  local i, taken_back = 0, 0
  local stamps, its_slot = string.match(receipt, '^([%d,]*)@(%d+)')
  for issued in string.gmatch(stamps or '', '%d+') do
    i = i + 1
    if i <= n and tonumber(issued) == stamp[i] then
      tat[i] = tat[i] - interval[i]
      stamp[i] = stamp[i] + 1 -- one refund at a time: the proof covers no second one before the next grant
      taken_back = taken_back + 1
    end
  end
  if its_slot then
    uncount(its_slot)
  end
  local free_again = frees_the_next_probe(receipt)
  if taken_back > 0 or free_again then
    save()
  end
  return { taken_back }
end

local function penalty(asked, longest, receipt)
  local free_again = frees_the_next_probe(receipt)
  local length = math.min(asked, longest)
  if asked <= 0 then
    if pause > now then -- a late answer to a call from before this pause says nothing new
      if free_again then
        save()
      end
      return { pause_left() }
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
  return { pause_left() }
end

local function open(to, pause_us, code, message, hint, request_id)
  if level < DOWN then
    opened_at, failed_probes = now, 0
    urgent_end, bulk_end = 0, 0 -- who waited is sent away; nobody will come with those tickets when it is over
    redis.call('DEL', KEYS[2])
  end
  level = math.max(level, to)
  probe_at = now + pause_us
  redis.call('HSET', KEYS[2], 'level', level, 'since', whole(math.floor(opened_at / 1000)), 'probes', failed_probes,
    'code', code, 'message', message, 'hint', hint, 'request_id', request_id)
end

local function close(ramp)
  if level == DOWN and ramp then
    ramp_end = now + RAMP_US
  end
  level, failures, denials, failed_probes, probe_at = 0, 0, 0, 0, 0
  redis.call('DEL', KEYS[2])
end

local function report(how, age, ...)
  local before = level
  local probed = level >= DOWN and now - age >= opened_at -- older calls say nothing new about it
  if level >= DOWN and not probed then
    return { level, pause_left(), 1, 0 }
  end
  if how == 'answered' then -- looking works, creating may not: the probe goes on with its next call
    probe_at = probed and now or probe_at
  elseif how == 'well' then
    if probed then
      close(true)
    else
      failures, denials = math.max(failures - 1, 0), math.max(denials - 1, 0)
    end
  elseif how == 'refused' then
    failed_probes = failed_probes + (probed and 1 or 0)
    open(SUSPENDED, SUSPENDED_US, ...)
  elseif how == 'denied' then
    if level == DOWN then -- it answers again
      close(true)
    end
    denials = math.min(denials + 1, DENIALS)
    if level == SUSPENDED or denials >= DENIALS then
      failed_probes = failed_probes + (probed and 1 or 0)
      open(SUSPENDED, SUSPENDED_US, ...)
    end
  elseif probed then
    failed_probes = failed_probes + 1
    local pause_us = PROBES_US[math.min(failed_probes + 1, #PROBES_US)]
    if level == SUSPENDED and redis.call('EXISTS', KEYS[2]) == 1 then -- no news of why it is suspended
      probe_at = now + pause_us
      redis.call('HSET', KEYS[2], 'probes', failed_probes)
    else
      open(level, pause_us, ...)
    end
  else
    failures = math.min(failures + 1, FAILURES)
    if failures >= FAILURES then
      open(DOWN, PROBES_US[1], ...)
    end
  end
  save()
  local others = (level >= DOWN or failures > 1) and 1 or 0
  local changed = ((before >= DOWN) ~= (level >= DOWN) or (level >= DOWN and level ~= before)) and 1 or 0
  return { shown_level(), level >= DOWN and pause_left() or 0, others, changed }
end

local function resume(ends_hold)
  local was, was_held = level >= DOWN and 1 or 0, ends_hold and held_until > now and 1 or 0
  if was == 1 then
    close(false)
  end
  if was_held == 1 then
    redis.call('HDEL', KEYS[3], unpack(HOLD))
    held_until = 0
  end
  if was + was_held > 0 then
    save()
  end
  return { was, was_held }
end

local function set(rates, new_limits, suspects, for_us, by)
  redis.call('HSET', KEYS[3], 'rates', rates, 'limits', new_limits, 'suspects', suspects,
    'rates_until', for_us == '' and '' or whole(now + tonumber(for_us)), 'rates_by', by, 'rates_at', whole(now))
  redis.call('HDEL', key, 'e')
  forget_tokens()
  return { 1 }
end

local function unset()
  if not limits then
    return { 0 }
  end
  redis.call('HDEL', KEYS[3], unpack(RATES))
  forget_tokens()
  return { 1 }
end

local function hold(for_us, by)
  redis.call('HSET', KEYS[3], 'hold_until', for_us == '' and UNTIL_RESUMED or whole(now + tonumber(for_us)),
    'hold_by', by, 'hold_at', whole(now))
  is_ordered = true
  urgent_end, bulk_end = 0, 0 -- who waited is sent away
  save()
  return { 1 }
end

local function peek()
  local tokens = {}
  for i = 1, n do
    local full = tolerance[i] + interval[i]
    local filled = math.min(math.max(now, pause) + full - tat[i], full)
    tokens[i] = math.floor(1000 * filled / interval[i])
  end
  return { pause_left(), slot - now, newcomer('urgent') - now, newcomer('bulk') - now, widest, held_until > now and 1 or 0,
    tokens, redis.call('HGETALL', KEYS[3]) }
end

if command == 'acquire' then
  return acquire(ARGV[after + 1], ARGV[after + 2] == '1', tonumber(ARGV[after + 3]))
elseif command == 'hit' then
  return hit()
elseif command == 'refund' then
  return refund(ARGV[after + 1])
elseif command == 'penalty' then
  return penalty(tonumber(ARGV[after + 1]), tonumber(ARGV[after + 2]), ARGV[after + 3])
elseif command == 'report' then
  return report(ARGV[after + 1], tonumber(ARGV[after + 2]), ARGV[after + 3], ARGV[after + 4], ARGV[after + 5],
    ARGV[after + 6])
elseif command == 'resume' then
  return resume(ARGV[after + 1] == '1')
elseif command == 'peek' then
  return peek()
elseif command == 'set' then
  return set(ARGV[after + 1], ARGV[after + 2], ARGV[after + 3], ARGV[after + 4], ARGV[after + 5])
elseif command == 'unset' then
  return unset()
elseif command == 'hold' then
  return hold(ARGV[after + 1], ARGV[after + 2])
end
return redis.error_reply('ERR unknown command ' .. tostring(command))
