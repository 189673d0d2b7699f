import { putCourse } from "./server-calls.ts";
import { AUTH_SECRET } from "./server-env.ts";
import { type ServerProcess, startServerProcess } from "./server-process.ts";

/*
 * A server in a process of its own for many players at once, and the course that they play.
 */

export const COURSE_ID = "under-load";
export const FILE_IDS = ["file-1", "file-2", "file-3"];
/** Long enough that every player has a part of the media that no other player plays. */
const DURATION_SECONDS = 2_100_000;

const ENVIRONMENT = {
  AUTH_SECRET,
  DEMO: "false",
  DATABASE_URL: undefined,
  // The server warns when it waits for the database; tests that end the database expect that, and no error.
  LOG_LEVEL: "error",
  // Several players of one user call more often than people do.
  RATE_LIMIT_BURST: "100000",
  RATE_LIMIT_PER_SECOND: "100000",
};

export type FlowEnvironment = Record<string, string | undefined>;

/** Starts a server in a process of its own, without rate limits. */
export function startFlowServer(env: FlowEnvironment, options: { detached?: boolean } = {}): Promise<ServerProcess> {
  return startServerProcess({ ...options, env: { ...ENVIRONMENT, ...env } });
}

/** Puts the course that players play, as an admin unless a token says otherwise. */
export async function putLoadCourse(url: string, token?: string): Promise<void> {
  const toFile = (id: string) => ({ id, title: id, durationSeconds: DURATION_SECONDS });
  const lessons = [
    { id: "lesson-1", title: "One", files: FILE_IDS.slice(0, 2).map(toFile) },
    { id: "lesson-2", title: "Two", files: FILE_IDS.slice(2).map(toFile) },
  ];
  await putCourse(url, COURSE_ID, { title: "Under load", lessons }, token);
}

/** The ids of so many learners. */
export function users(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `learner-${i}`);
}
