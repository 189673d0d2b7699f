import { SERVER_MAIN } from "./built-server.ts";
import { type RunningProcess, type RunOptions, runProcess } from "./run-process.ts";

/** A whole server in a process of its own. */
export interface ServerProcess {
  url: string;
  pid: number;
  process: RunningProcess;
  /** SIGTERM; resolves with the exit code. */
  stop(): Promise<number | NodeJS.Signals>;
  /** SIGKILL, as a crash. */
  kill(): Promise<void>;
}

export interface ServerProcessOptions extends RunOptions {
  /** Another build than the source: a `dist/main.js`. */
  main?: string;
  /** How long it may take to say that it is ready. */
  timeoutMs?: number;
}

/** Starts `serve` on a free port (or `env.PORT`), and waits until it says that it is ready. */
export async function startServerProcess(options: ServerProcessOptions = {}): Promise<ServerProcess> {
  const { main = SERVER_MAIN, timeoutMs = 60_000, ...rest } = options;
  const server = runProcess(main, ["serve"], { ...rest, env: { PORT: "0", ...options.env } });
  const line = await server.said(/^Playhead is ready on (\S+)\n/, timeoutMs);
  return {
    url: line.trim().split(" ").at(-1) as string,
    pid: server.child.pid as number,
    process: server,
    async stop() {
      server.child.kill("SIGTERM");
      return await server.exited;
    },
    async kill() {
      server.child.kill("SIGKILL");
      await server.exited;
    },
  };
}
