import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import type { Dashboard, Subscription, WatchedTopic } from "../client/index.ts";
import type { Session } from "./session.ts";
import { loadStreams } from "./stream-api.ts";

/** All streams, live. */
export interface WatchedStreams {
  /** Null until the first snapshot. */
  live: WatchedTopic | null;
  /** Why the user's own streams could not be loaded; null if they were. */
  failure: string | null;
  retry(): void;
}

/**
 * Follows the topic `streams`. Its snapshot has only the live streams and those that changed last, so all streams that
 * the user may manage are loaded too, and merged. After a reconnect both are loaded again.
 */
export function useStreams(dashboard: Dashboard, session: Session): WatchedStreams {
  const [live, setLive] = useState<WatchedTopic | null>(null);
  const [failure, setFailure] = useState<string | null>(null);
  const [attempt, setAttempt] = useState(0);
  const subscription = useRef<Subscription | null>(null);
  const isLive = live?.stale === false;

  useEffect(() => {
    setLive(null);
    const opened = dashboard.subscribe("streams", setLive);
    subscription.current = opened;
    return () => opened.unsubscribe();
  }, [dashboard]);

  useEffect(() => {
    if (!isLive) return;
    let isCurrent = true;
    setFailure(null);
    loadStreams(session).then(
      (streams) => isCurrent && subscription.current?.merge({ streams }),
      (error: Error) => isCurrent && setFailure(error.message),
    );
    return () => {
      isCurrent = false;
    };
  }, [isLive, session, attempt]);

  return { live, failure, retry: useCallback(() => setAttempt((before) => before + 1), []) };
}
