import { type ChildProcess, spawn } from "node:child_process";
import { waitFor } from "./wait-for.ts";

/** A script that runs as a process of its own. */
export interface RunningProcess {
  child: ChildProcess;
  stdout(): string;
  stderr(): string;
  /** Waits for a text on standard output. */
  said(text: string | RegExp, timeoutMs?: number): Promise<string>;
  /** Settles with the exit code, or the signal that ended it. */
  exited: Promise<number | NodeJS.Signals>;
}

export interface RunOptions {
  env?: Record<string, string | undefined>;
  cwd?: string;
  /** A process group of its own, as a terminal gives one. */
  detached?: boolean;
  /** Another Node than this one. */
  node?: string;
}

/** Runs `file args…`, TypeScript with tsx. It is killed when the test process ends before it. */
export function runProcess(file: string, args: string[] = [], options: RunOptions = {}): RunningProcess {
  const loader = file.endsWith(".ts") ? ["--import", import.meta.resolve("tsx")] : [];
  const child = spawn(options.node ?? process.execPath, [...loader, file, ...args], {
    cwd: options.cwd ?? process.cwd(),
    env: { ...process.env, ...options.env },
    detached: options.detached ?? false,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  const onExit = () => child.kill("SIGKILL");
  process.once("exit", onExit);
  const exited = new Promise<number | NodeJS.Signals>((resolve) => {
    child.once("close", (code, signal) => {
      process.off("exit", onExit);
      resolve(code ?? signal ?? -1);
    });
  });
  return {
    child,
    stdout: () => stdout,
    stderr: () => stderr,
    async said(text, timeoutMs = 30_000) {
      const ended = () => child.exitCode !== null || child.signalCode !== null;
      const found = await waitFor(() => (ended() ? "ended" : stdout.match(text)?.[0]), {
        what: `${file} to say ${text}; it said: ${stdout}`,
        timeoutMs,
      });
      const heard = stdout.match(text)?.[0];
      if (heard === undefined) {
        throw new Error(`${file} ${found} with ${child.exitCode ?? child.signalCode}:\n${stdout}${stderr}`);
      }
      return heard;
    },
    exited,
  };
}
