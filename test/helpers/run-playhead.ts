import { SERVER_MAIN } from "./built-server.ts";
import { runProcess } from "./run-process.ts";

/** Runs one command to its end. Its configuration is `env` alone. */
export async function runPlayhead(args: string[], options: { cwd: string; env?: Record<string, string | undefined> }) {
  const run = runProcess(SERVER_MAIN, args, {
    cwd: options.cwd,
    env: { DATABASE_URL: undefined, AUTH_SECRET: undefined, PLAYHEAD_DATA_DIR: undefined, ...options.env },
  });
  const code = await run.exited;
  return { code, stdout: run.stdout(), stderr: run.stderr() };
}
