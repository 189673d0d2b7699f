import { createRequire } from "node:module";
import { Worker } from "node:worker_threads";
import { AppError } from "../errors.ts";

/*
 * bcrypt in a thread of its own: a hash takes about a tenth of a second of pure computing, which on the main thread
 * would hold up every socket's ack. The thread is started by the first password and does one after the other, so a
 * flood of sign-ins costs one core at the most; past MAX_WAITING they are refused.
 */

const COST = 11;
const MAX_WAITING = 50;
const RETRY_AFTER_MS = 5000;

/** Text, not a file: a worker's file would have to exist both as TypeScript and as JavaScript. */
const WORKER = `
const { parentPort, workerData } = require("node:worker_threads");
const { hashSync, compareSync } = require(workerData);
parentPort.on("message", ({ id, password, cost, hash }) => {
  try {
    parentPort.postMessage({ id, result: hash === undefined ? hashSync(password, cost) : compareSync(password, hash) });
  } catch (error) {
    parentPort.postMessage({ id, error: String(error) });
  }
});`;

export interface PasswordHash {
  /** @throws AppError `rate_limited` where too many wait. */
  hash(password: string): Promise<string>;
  /** @throws AppError `rate_limited` where too many wait. */
  matches(password: string, hash: string): Promise<boolean>;
  stop(): Promise<void>;
}

interface Job {
  resolve(result: unknown): void;
  reject(error: Error): void;
}

export function createPasswordHash({ cost = COST }: { cost?: number } = {}): PasswordHash {
  const waiting = new Map<number, Job>();
  let worker: Worker | null = null;
  let lastId = 0;

  function start(): Worker {
    const started = new Worker(WORKER, { eval: true, workerData: createRequire(import.meta.url).resolve("bcryptjs") });
    started.on("message", ({ id, result, error }: { id: number; result?: unknown; error?: string }) => {
      const job = waiting.get(id);
      waiting.delete(id);
      // A thread that waits for work does not keep the process alive.
      if (waiting.size === 0) started.unref();
      if (error === undefined) job?.resolve(result);
      else job?.reject(new Error(`bcrypt failed: ${error}`));
    });
    let cause: unknown;
    started.on("error", (error) => {
      cause = error;
    });
    started.on("exit", () => abandon(new Error("the thread that hashes passwords has ended", { cause })));
    return started;
  }

  /** The next password starts another thread. */
  function abandon(error: Error): void {
    worker = null;
    for (const job of waiting.values()) job.reject(error);
    waiting.clear();
  }

  function run(request: { password: string; cost?: number; hash?: string }): Promise<unknown> {
    if (waiting.size >= MAX_WAITING) {
      throw new AppError("rate_limited", "Too many people sign in at this moment; try again.", {
        retryAfterMs: RETRY_AFTER_MS,
      });
    }
    worker ??= start();
    worker.ref();
    lastId += 1;
    const id = lastId;
    worker.postMessage({ id, ...request });
    return new Promise((resolve, reject) => waiting.set(id, { resolve, reject }));
  }

  return {
    hash: async (password) => (await run({ password, cost })) as string,
    matches: async (password, hash) => (await run({ password, hash })) as boolean,
    async stop() {
      await worker?.terminate();
    },
  };
}
