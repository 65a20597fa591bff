-- Part 6 of 6: the commands, with what stands in ARGV[7 ...] and what they reply.
--   enqueue    batch or '', the jobs' traceparents 'a,b' or '', then per job: id, lane, members '1,2', observers '1' or '', message
--              -> per job: status, chat_id, share_link, jobs of its lane in front or '', lane      status: 'new' | the state the job was found in
--   claim      id, token, worker, batch, lane, members, observers (the message's own, for a job without a record)
--              -> { 'claimed', id, attempts, look first 0/1, ms since it first went wrong, 403s, lane, members, observers, batches,
--                traceparent or '', since when it waited (ms, 0 without traces) } | { the state }
--   take       as claim, and most attempts, the bucket's arguments    -> as claim, and what the bucket replies to acquire: nothing if
--              the attempts are used up; if it gave a slot, the attempt has begun, and its creating call goes out unless it looks first
--   slot       id, token, number of this attempt, '1' if the creating call goes out with it, the bucket's arguments
--              -> what the bucket replies to acquire; nothing if the claim is lost
--   begin      id, token, number of this attempt, '1' if the creating call goes out now   -> 1 | 0 if the claim is lost
--   finish     id, token, state, field, value ...                                         -> 1 | 0
--   retry      id, token, delay ms, look first '1' or '', '1' if the attempt counts, field, value ...   -> 1 | 0
--   release    id, token, look first '1' or '', message    -> 1 | 0      back to its place in line, no attempt spent
--   beat       worker                -> the server's run id
--   reconcile  worker, see there     -> id, token, ... of the claims in its name
--   disown     id, token, ...        -> 1
--   goodbye    worker                -> 1       whatever it still holds is nobody's
--   strays     lock ms, how many     -> see there, empty if somebody else has just looked
--   requeue    per job: reason, id, evidence, message -> per job: 1 | 0 if it is no stray any more
--   replay     per job: id, message  -> per job: 1 | 0 if it is no dead letter
--   drop       id ...                -> per job: 1 | 0 if it is no dead letter
--   cancel     id ...                -> per job: the state it is in now, '' if unknown

local a = ARGV
local reply

local function run()
  if command ~= 'slot' then -- it changes only what its worker has in hand, and tells the ledger again after a restart
    look_for_a_restart()
  end
  if command == 'enqueue' then
    reply = enqueue(a[7], a[8])
  elseif command == 'claim' then
    reply = claim(a[7], a[8], a[9], a[10], a[11], a[12], a[13])
  elseif command == 'take' then
    reply = take(tonumber(a[14]), 15)
  elseif command == 'slot' then
    reply = slot(a[7], a[8], a[9], a[10], 11)
  elseif command == 'begin' then
    reply = begin(a[7], a[8], a[9], a[10])
  elseif command == 'finish' then
    reply = finish(a[7], a[8], a[9])
  elseif command == 'retry' then
    reply = retry(a[7], a[8], tonumber(a[9]), a[10], a[11])
  elseif command == 'release' then
    reply = release(a[7], a[8], a[9], a[10])
  elseif command == 'beat' then
    beat(a[7])
    reply = RUN
  elseif command == 'reconcile' then
    reply = reconcile(a[7], tonumber(a[8]))
  elseif command == 'disown' then
    disown()
    reply = 1
  elseif command == 'goodbye' then
    redis.call('ZREM', WORKERS, a[7])
    redis.call('HDEL', ACCOUNT, HEARD .. a[7])
    reply = 1
  elseif command == 'strays' then
    reply = strays(tonumber(a[7]), tonumber(a[8]))
  elseif command == 'requeue' then
    reply = requeue()
  elseif command == 'replay' then
    reply = replay()
  elseif command == 'drop' then
    reply = drop()
  elseif command == 'cancel' then
    reply = cancel()
  else
    error('unknown command ' .. tostring(command))
  end
end

-- Redis takes nothing back when a script fails in the middle, above all not a job that has left its line. So what it has
-- decided until then is written all the same: the job is then in its worker's hands, which asks again with its token.
local done, problem = pcall(run)
write_turns()
write_records()
write_batches()
write_account()
if not done then
  return type(problem) == 'table' and problem or redis.error_reply('ERR ' .. tostring(problem))
end
return reply
