// Queues what it is told to, line by line; bench/contenders/producer.py has the lines.
import { createInterface } from "node:readline";
import { Queue } from "bullmq";
import { PRIORITY, QUEUE, connect } from "./queue.mjs";

const CHUNK = 1000;
const queue = new Queue(QUEUE, { connection: connect() });

for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  const opts = {
    priority: order.urgent ? PRIORITY.urgent : PRIORITY.bulk,
    attempts: 6,
    backoff: { type: "exponential", delay: 2000 },
    removeOnComplete: true,
  };
  for (let from = 0; from < order.incident_ids.length; from += CHUNK) {
    const chunk = order.incident_ids.slice(from, from + CHUNK);
    await queue.addBulk(chunk.map((incidentId) => ({ name: "open", data: { incidentId }, opts })));
  }
  console.log("queued");
}
process.exit(0);
