// Sends one job as a Node service does: node send.js REDIS_URL QUEUE KWARGS_AS_JSON
const celery = require("celery-node");

const [broker, queue, kwargs] = process.argv.slice(2);
const client = celery.createClient(broker, broker, queue);
client.conf.TASK_PROTOCOL = 2;
client.createTask("warrooms.open").applyAsync([], JSON.parse(kwargs));
client
  .isReady()
  .then(() => client.disconnect()) // behind the message, on the same connection
  .then(() => process.exit(0));
