import { useEffect, useState } from "preact/hooks";
import type { Stream } from "../client/index.ts";
import type { StreamSession } from "../protocol/stream.ts";
import { loadSessions } from "./stream-api.ts";
import { useAction } from "./use-action.ts";

/**
 * The sessions of a stream, the newest first. The first page is loaded again whenever the status of the stream changes;
 * earlier pages are loaded on demand.
 */
export function useStreamSessions(token: string, { id, status, startedAt, endedAt }: Stream) {
  const [sessions, setSessions] = useState<ReadonlyMap<number, StreamSession>>(new Map());
  /** The `before` of the next page; null after the last page, undefined before the first. */
  const [next, setNext] = useState<number | null | undefined>();
  const { isBusy, failure, run } = useAction();

  async function load(before?: number): Promise<void> {
    const page = await loadSessions(token, id, before);
    setSessions((known) => new Map([...known, ...page.sessions.map((session) => [session.id, session] as const)]));
    // If the first page is loaded again, the next page stays the same.
    setNext((known) => (before === undefined && known !== undefined ? known : (page.next ?? null)));
  }

  useEffect(() => {
    void run(() => load());
  }, [token, id, status, startedAt, endedAt]);

  return {
    sessions: [...sessions.values()].sort((a, b) => b.id - a.id),
    isLast: next === null,
    isBusy,
    failure,
    loadFirst: () => void run(() => load()),
    loadMore: () => void run(() => load(next ?? undefined)),
  };
}
