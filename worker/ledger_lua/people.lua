-- Part 4 of 6: what people do to jobs.

-- A dead letter goes to the end of its line, like anyone who enqueues it again.
local function replay()
  local reply = {}
  for at = 7, #ARGV, 2 do
    local id, message = ARGV[at], ARGV[at + 1]
    local job = load(id)
    local failed = job ~= nil and job.state == 'failed'
    if failed then
      again(job, id, message)
    end
    reply[#reply + 1] = failed and 1 or 0
  end
  return reply
end

-- A dead letter that nobody wants replayed: given up, so cancelled.
local function drop()
  local reply = {}
  for at = 7, #ARGV do
    local job = load(ARGV[at])
    local failed = job ~= nil and job.state == 'failed'
    if failed then
      finished(job, ARGV[at], 'cancelled', #ARGV + 1)
    end
    reply[#reply + 1] = failed and 1 or 0
  end
  return reply
end

-- Ends a job that waits, or that a worker holds without having called yet; its message finds nothing to do. Per job the
-- state it is in now: 'opening' means that the call is out and cannot be taken back; '' that nobody knows the job.
local function cancel()
  local reply = {}
  for at = 7, #ARGV do
    local id = ARGV[at]
    local job = load(id)
    if job and (job.state == 'queued' or job.state == 'retrying' or (job.state == 'opening' and not job.began)) then
      if job.state == 'queued' then
        idle(job.lane, 1)
      end
      finished(job, id, 'cancelled', #ARGV + 1)
      redis.call('HDEL', key(id), 'token')
    end
    reply[#reply + 1] = job and job.state or ''
  end
  return reply
end
