import { type ChildProcess, spawn } from "node:child_process";
import { waitFor } from "./wait-for.ts";

/** A program that runs as a process of its own. */
export interface RunningProcess {
  child: ChildProcess;
  stdout(): string;
  stderr(): string;
  running(): boolean;
  /** Waits for a text on standard output, and gives it. @throws Error where the process ends without it */
  said(text: string | RegExp, timeoutMs?: number): Promise<string>;
  /** Settles with the exit code, or the signal that ended the process. */
  exited: Promise<number | NodeJS.Signals>;
}

export interface RunOptions {
  env?: Record<string, string | undefined>;
  cwd?: string;
  /** Gives it a process group of its own, as a terminal does. */
  detached?: boolean;
  /** The path of another Node than the one that runs the tests. */
  node?: string;
}

/** Runs a script on Node; TypeScript is compiled by tsx. */
export function runProcess(file: string, args: string[] = [], options: RunOptions = {}): RunningProcess {
  const loader = file.endsWith(".ts") ? ["--import", import.meta.resolve("tsx")] : [];
  return runProgram(options.node ?? process.execPath, [...loader, file, ...args], { name: file, ...options });
}

/** Runs a program. It is killed when the test process ends before it. */
export function runProgram(path: string, args: string[], options: RunOptions & { name?: string } = {}): RunningProcess {
  const { name = path } = options;
  const child = spawn(path, args, {
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
  const running = () => child.exitCode === null && child.signalCode === null;
  return {
    child,
    stdout: () => stdout,
    stderr: () => stderr,
    running,
    async said(text, timeoutMs = 30_000) {
      const find = () => stdout.match(text)?.[0];
      const what = `${name} to say ${text}; it said: ${stdout}`;
      await waitFor(() => find() !== undefined || !running(), { what, timeoutMs });
      const found = find();
      if (found === undefined) {
        throw new Error(`${name} ended with ${child.exitCode ?? child.signalCode}:\n${stdout}${stderr}`);
      }
      return found;
    },
    exited,
  };
}
