import { afterAll, afterEach, beforeAll, expect } from "vitest";
import type { AppError } from "../../src/errors.ts";
import type { ClaimResult } from "../../src/streams/claims/claim.ts";
import type { SessionStore } from "../../src/streams/sessions/session-store.ts";
import { createTestDatabase, type TestDatabase } from "./database.ts";
import { createStreamSteps, LEASE_SECONDS, type StreamSteps, type TestStream } from "./stream-sessions.ts";

/*
 * For tests of sessions, step by step on a real database. After each test, streams and their sessions must agree.
 */

/** The media server of all sessions, unless a test names another. */
export const EDGE = { server: "edge", boot: "b1" };

export interface SessionSteps {
  database: TestDatabase;
  steps: StreamSteps;
  store: SessionStore;
}

/** Makes a database before the tests of a file, and drops it after the last. */
export function useSessionSteps(onMade: (made: SessionSteps) => void): void {
  let database: TestDatabase;
  let steps: StreamSteps;
  beforeAll(async () => {
    database = await createTestDatabase();
    steps = createStreamSteps(database);
    onMade({ database, steps, store: steps.store });
  });
  afterEach(async () => {
    const disagreements = await steps.findDisagreements();
    await database.query("DELETE FROM streams");
    expect(disagreements).toEqual([]);
  });
  afterAll(() => database.drop());
}

/** The session's id. @throws Error where the claim was refused */
export function idOf(result: ClaimResult): string {
  if (!result.valid) throw new Error(`the claim was refused: ${result.reason}`);
  return result.sessionId;
}

/** A stream with a session that is live. */
export async function newLive(
  { steps, store }: SessionSteps,
  settings: Parameters<StreamSteps["newStream"]>[0] = {},
): Promise<{ stream: TestStream; sessionId: string }> {
  const stream = await steps.newStream(settings);
  const sessionId = idOf(await steps.claim(stream, "c1"));
  await store.start(EDGE, sessionId, LEASE_SECONDS);
  return { stream, sessionId };
}

/** The code of the error that the work ends with, or `ok`. */
export async function codeOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => "ok",
    (error: AppError) => error.code ?? `${error}`,
  );
}

/** Everything that is stored of a stream, to see that nothing changed. */
export async function stateOf({ database }: SessionSteps, stream: TestStream): Promise<unknown> {
  return database.query(
    "SELECT s.*, to_jsonb(e) AS session FROM streams s LEFT JOIN stream_sessions e ON e.stream_id = s.id WHERE s.id = $1",
    [stream.id],
  );
}

/** Compares the stream's newest session. */
export async function expectSession({ steps }: SessionSteps, stream: TestStream, expected: object): Promise<void> {
  expect((await steps.sessionsOf(stream)).at(-1)).toMatchObject(expected);
}
