import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";

/** The memory of a server after a garbage collection. */
export interface Observation {
  heapBytes: number;
  rssBytes: number;
  /** The most bytes that ever waited to be sent on one socket. */
  mostBufferedBytes: number;
  /** Whether somebody changed the prototype of all objects: each has a key `polluted` then. */
  polluted: boolean;
}

export interface ObservedServer {
  url: string;
  /** Whether the process still runs. */
  alive(): boolean;
  stderr(): string;
  observe(): Promise<Observation>;
  /** Resolves with the exit code. */
  stop(): Promise<number | null>;
}

/** Starts a server in a process of its own, which can be asked for its memory. */
export async function observeServer(env: Record<string, string>): Promise<ObservedServer> {
  const child = fork(join(import.meta.dirname, "observed-server.ts"), [], {
    execArgv: ["--import", import.meta.resolve("tsx")],
    env: { ...process.env, ...env },
    stdio: ["ignore", "inherit", "pipe", "ipc"],
  });
  let stderr = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  const onExit = () => child.kill("SIGKILL");
  process.once("exit", onExit);
  child.once("exit", () => process.off("exit", onExit));
  const ask = async <T>(question: string): Promise<T> => {
    child.send(question);
    return await answerOf<T>(child);
  };
  try {
    const { url } = await answerOf<{ url: string }>(child);
    return {
      url,
      alive: () => child.exitCode === null && child.signalCode === null,
      stderr: () => stderr,
      observe: () => ask("observe"),
      async stop() {
        if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
        child.send("stop");
        await once(child, "exit");
        return child.exitCode;
      },
    };
  } catch (error) {
    throw new Error(`The server ended: ${stderr}`, { cause: error });
  }
}

/** Waits for the next message of the process. @throws Error where the process ends instead */
async function answerOf<T>(child: ChildProcess): Promise<T> {
  const stop = new AbortController();
  const ended = once(child, "exit", { signal: stop.signal }).then(([code, signal]) => {
    throw new Error(`the server ended with ${code ?? signal}`);
  });
  ended.catch(() => undefined); // nobody waits for it when the answer was first
  const [answer] = (await Promise.race([once(child, "message", { signal: stop.signal }), ended])) as [T];
  stop.abort();
  return answer;
}
