// What worker and producer share: the queue's name and how to reach its Redis.
import { Redis } from "ioredis";

export const QUEUE = "war-rooms";

// BullMQ counts up from 1, so bulk stands behind; a job without a priority would overtake both.
export const PRIORITY = { urgent: 1, bulk: 10 };

// BullMQ asks for null: a command waits for Redis to come back instead of failing.
export const connect = () => new Redis(process.env.REDIS_URL, { maxRetriesPerRequest: null });
