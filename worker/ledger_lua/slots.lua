-- Part 5 of 6: a job and its slot in one step. The account's bucket is a function here, `bucket(KEYS, ARGV)`.

local function ask(from, lane) -- ARGV[from ...]: the bucket's, without the lane
  local args = { unpack(ARGV, from) }
  args[#args - 2] = lane
  if args[2] == '' and now_us then
    args[2] = now_us -- one clock for both
  end
  return bucket({ unpack(KEYS, 4) }, args)
end

-- An attempt begins with the slot: at most the bucket's horizon before its call goes out. So a job is marked as sent before
-- it is, and never after.
local function take(most_attempts, from)
  local a = ARGV
  return claim(a[7], a[8], a[9], a[10], a[11], a[12], a[13], function(job, id, attempts)
    if attempts >= most_attempts then
      return nil
    end
    local slot = ask(from, job.lane)
    if slot[1] == 1 then
      began(job, id, attempts + 1, job.look and '' or '1')
    end
    return slot
  end)
end

local function slot(id, token, attempt, sent, from)
  local job = held(id, token)
  if not job then
    return {}
  end
  local reply = ask(from, job.lane)
  if reply[1] == 1 then
    began(job, id, attempt, sent)
  end
  return reply
end
