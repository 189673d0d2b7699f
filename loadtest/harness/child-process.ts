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
 * Processes of the load test, and the calls between them: one command, one answer.
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

/** Memory of a process, garbage collected. */
export interface Memory {
  residentBytes: number;
  heapBytes: number;
}

/** Starts a TypeScript file as a process, `new URL("./players.ts", import.meta.url)`; it ends with the run. */
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

/** A server of the load test in a process of its own. */
export interface ServerChild extends Child {
  url: string;
  read(): Promise<Readings>;
}

/** Starts a file that serves `start`, which answers with its port. `dataDir` is that of the PostgreSQL that it uses. */
export async function startServer(file: URL, argument: object, dataDir?: string): Promise<ServerChild> {
  const child = startChild(file);
  const port = await child.call<number>("start", argument);
  return {
    ...child,
    url: `http://127.0.0.1:${port}`,
    read: async () => ({ server: await child.call<number>("cpuSeconds"), ...(await readMachine(dataDir)) }),
  };
}

/** A process that makes load on a server. */
export interface LoadChild extends Child {
  load(plan: LoadPlan): Promise<LoadResult>;
}

/** Starts a file that serves `connect` and `load`, and has it connect. */
export async function startLoad(file: URL, argument: object): Promise<LoadChild> {
  const child = startChild(file);
  await child.call("connect", argument);
  return { ...child, load: (plan) => child.call("load", plan) };
}

/** Sends a signal, and SIGKILL where the process has not ended in time. Resolves when it is gone. */
export async function endProcess(child: ChildProcess, signal: NodeJS.Signals, timeoutMs = 0): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill(signal);
  const timer = timeoutMs > 0 ? setTimeout(() => child.kill("SIGKILL"), timeoutMs) : undefined;
  await exited;
  clearTimeout(timer);
}

/** In the started process: answers calls until the parent is gone. Every process knows `cpuSeconds` and `readMemory`. */
export function serveCommands(given: Record<string, (argument: never) => unknown>): void {
  const commands: typeof given = { cpuSeconds, readMemory, ...given };
  // Ctrl-C reaches the whole group; the parent decides when this ends.
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
