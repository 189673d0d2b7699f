import { SERVER_MAIN } from "./built-server.ts";
import { type RunningProcess, type RunOptions, runProcess, runProgram } from "./run-process.ts";

/** A whole server in a process of its own. */
export interface ServerProcess {
  url: string;
  pid: number;
  process: RunningProcess;
  /** Sends SIGTERM; resolves with the exit code. */
  stop(): Promise<number | NodeJS.Signals>;
  /** Sends SIGKILL; resolves when the process is gone. */
  kill(): Promise<void>;
}

export interface ServerProcessOptions extends RunOptions {
  /** The entry point of another build, in place of the one that the global setup makes. */
  main?: string;
  /** How long the server may take to say that it is ready. */
  timeoutMs?: number;
  /** How many file descriptors the server may have open. */
  descriptors?: number;
}

/** Starts `serve` on a free port, or on `env.PORT`, and waits until it says that it is ready. */
export async function startServerProcess(options: ServerProcessOptions = {}): Promise<ServerProcess> {
  const { main = SERVER_MAIN, timeoutMs = 60_000, descriptors, ...rest } = options;
  const how = { ...rest, env: { PORT: "0", ...options.env } };
  const server =
    descriptors === undefined
      ? runProcess(main, ["serve"], how)
      : runProgram("sh", ["-c", `ulimit -n ${descriptors} && exec "$@"`, "sh", process.execPath, main, "serve"], how);
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
