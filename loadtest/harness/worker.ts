import { type ChildProcess, fork } from "node:child_process";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { assertRunning, onEnd } from "./cleanup.ts";

/*
 * Processes of the load test and the calls between them: one command, one answer.
 */

interface Call {
  call: number;
  command: string;
  argument: unknown;
}

type Answer = { call: number; result: unknown } | { call: number; error: string };

export interface Worker {
  call<T>(command: string, argument?: unknown): Promise<T>;
  stop(): Promise<void>;
}

/** Starts a TypeScript file as a process, `new URL("./players.ts", import.meta.url)`; it ends with the run. */
export function startWorker(url: URL): Worker {
  assertRunning();
  const child = fork(fileURLToPath(url), [], {
    execArgv: ["--import", "tsx"],
    serialization: "advanced",
    env: { ...process.env, NODE_OPTIONS: "" },
  });
  const file = basename(url.pathname);
  const waiting = new Map<number, { resolve: (value: never) => void; reject: (error: Error) => void }>();
  let calls = 0;
  child.on("message", (message) => {
    const answer = message as Answer;
    const waiter = waiting.get(answer.call);
    waiting.delete(answer.call);
    if ("error" in answer) waiter?.reject(new Error(`${file}: ${answer.error}`));
    else waiter?.resolve(answer.result as never);
  });
  const exited = new Promise<void>((resolve) => {
    child.once("exit", (code, signal) => {
      for (const { reject } of waiting.values()) reject(new Error(`${file} ended (${signal ?? code})`));
      waiting.clear();
      resolve();
    });
  });
  const stop = async () => {
    stopChild(child);
    await exited;
  };
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

function stopChild(child: ChildProcess): void {
  if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
}

/** In the started process: answers calls until the parent is gone. */
export function serveCommands(commands: Record<string, (argument: never) => unknown>): void {
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
