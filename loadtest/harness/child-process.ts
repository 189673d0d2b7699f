import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { assertRunning, onEnd } from "./cleanup.ts";
import type { LoadPlan, LoadResult } from "./load.ts";
import { cpuSeconds, readMachine } from "./process-cpu.ts";
import type { Readings } from "./window.ts";

/*
 * Starts the processes of the load test and calls commands in them. A command has one argument and one answer.
 */

interface Call {
  call: number;
  command: string;
  argument: unknown;
}

type Answer = { call: number; result: unknown } | { call: number; error: string };

export interface Child {
  call<T>(command: string, argument?: unknown): Promise<T>;
  stop(): Promise<void>;
}

/** The memory of a process after a garbage collection. */
export interface Memory {
  residentBytes: number;
  heapBytes: number;
}

/** Starts a TypeScript file, `new URL("./players.ts", import.meta.url)`, as a process that ends with the run. */
export function startChild(file: URL): Child {
  assertRunning();
  const child = fork(fileURLToPath(file), [], {
    execArgv: ["--import", "tsx"],
    serialization: "advanced",
    env: { ...process.env, NODE_OPTIONS: "" },
  });
  const name = basename(file.pathname);
  const waiting = new Map<number, { resolve: (value: never) => void; reject: (error: Error) => void }>();
  let calls = 0;
  child.on("message", (message) => {
    const answer = message as Answer;
    const waiter = waiting.get(answer.call);
    waiting.delete(answer.call);
    if ("error" in answer) waiter?.reject(new Error(`${name}: ${answer.error}`));
    else waiter?.resolve(answer.result as never);
  });
  child.once("exit", (code, signal) => {
    for (const { reject } of waiting.values()) reject(new Error(`${name} ended (${signal ?? code})`));
    waiting.clear();
  });
  const stop = () => endProcess(child, "SIGKILL");
  onEnd(stop);
  return {
    call: (command, argument) =>
      new Promise((resolve, reject) => {
        calls += 1;
        waiting.set(calls, { resolve, reject });
        child.send({ call: calls, command, argument } satisfies Call);
      }),
    stop,
  };
}

/** A contender's server in its own process. */
export interface ServerChild extends Child {
  url: string;
  read(): Promise<Readings>;
}

/** Starts a file whose `start` command answers with a port. `dataDir` is the folder of the PostgreSQL that the server uses. */
export async function startServer(file: URL, argument: object, dataDir?: string): Promise<ServerChild> {
  const child = startChild(file);
  const port = await child.call<number>("start", argument);
  return {
    ...child,
    url: `http://127.0.0.1:${port}`,
    read: async () => ({ server: await child.call<number>("cpuSeconds"), ...(await readMachine(dataDir)) }),
  };
}

/** A process that puts load on a server. */
export interface LoadChild extends Child {
  load(plan: LoadPlan): Promise<LoadResult>;
}

/** Starts a file with the commands `connect` and `load`, and calls `connect`. */
export async function startLoad(file: URL, argument: object): Promise<LoadChild> {
  const child = startChild(file);
  await child.call("connect", argument);
  return { ...child, load: (plan) => child.call("load", plan) };
}

/** Sends a signal, and SIGKILL if the process does not end in time. Resolves after the process ended. */
export async function endProcess(child: ChildProcess, signal: NodeJS.Signals, timeoutMs = 0): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill(signal);
  const timer = timeoutMs > 0 ? setTimeout(() => child.kill("SIGKILL"), timeoutMs) : undefined;
  await exited;
  clearTimeout(timer);
}

/** In the started process: answers calls until the parent ends. Every process also has `cpuSeconds` and `readMemory`. */
export function serveCommands(given: Record<string, (argument: never) => unknown>): void {
  const commands: typeof given = { cpuSeconds, readMemory, ...given };
  // Ctrl-C reaches the whole process group. The parent decides when this process ends.
  process.on("SIGINT", () => undefined);
  process.on("disconnect", () => process.exit(0));
  process.on("message", (message) => {
    const { call, command, argument } = message as Call;
    Promise.resolve()
      .then(() => commands[command]?.(argument as never))
      .then(
        (result) => process.send?.({ call, result } satisfies Answer),
        (error: unknown) => process.send?.({ call, error: String((error as Error).stack ?? error) } satisfies Answer),
      );
  });
}

function readMemory(): Memory {
  setFlagsFromString("--expose-gc");
  runInNewContext("gc")();
  const { rss, heapUsed } = process.memoryUsage();
  return { residentBytes: rss, heapBytes: heapUsed };
}

/**
 * A port for a server that has to be told one: below those that the kernel gives to clients (from 32768 on Linux), so that
 * no client takes it while the server is away. Almost surely nobody else has it.
 */
export function randomPort(): number {
  return 20_000 + Math.floor(Math.random() * 12_000);
}
