// One worker: 64 calls at a time under the queue's limiter.
//
// The limiter holds one rate: max jobs from the first one on until duration has passed. 50 in 3 s are 1,000 a minute,
// and within a second no more than 50, unless the end of a window meets the beginning of the next.
import { Queue, RateLimitError, Worker } from "bullmq";
import { QUEUE, connect } from "./queue.mjs";

const perSecond = Number(process.env.BENCH_PER_SECOND ?? 50);
const perMinute = Number(process.env.BENCH_PER_MINUTE ?? 1000);
const DEFAULT_PAUSE_S = 1;

const url = new URL("/incident/war-room/create", process.env.FLASHDUTY_BASE_URL);
url.searchParams.set("app_key", process.env.FLASHDUTY_APP_KEY);
const integrationId = Number(process.env.FLASHDUTY_INTEGRATION_ID);
const connection = connect();
const queue = new Queue(QUEUE, { connection });

async function openRoom(job) {
  const answer = await fetch(url, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ incident_id: job.data.incidentId, integration_id: integrationId }),
    signal: AbortSignal.timeout(30_000),
  });
  const body = await answer.text(); // read to its end, or the connection is not used again
  if (answer.status === 429) {
    // BullMQ's own way: the whole queue pauses, for all workers, and the job goes back without a lost attempt.
    await queue.rateLimit(1000 * (Number(answer.headers.get("retry-after")) || DEFAULT_PAUSE_S));
    throw new RateLimitError();
  }
  if (!answer.ok) throw new Error(`${answer.status} ${body.slice(0, 200)}`);
}

const worker = new Worker(QUEUE, openRoom, {
  connection,
  concurrency: 64,
  limiter: { max: perSecond, duration: Math.round((perSecond / perMinute) * 60_000) },
});
worker.on("error", (error) => console.error(error));

process.on("SIGTERM", async () => {
  await worker.close();
  process.exit(0);
});
