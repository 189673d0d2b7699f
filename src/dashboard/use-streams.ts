import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import type { Dashboard, Subscription, WatchedTopic } from "../client/index.ts";
import type { Session } from "./session.ts";
import { loadStreams } from "./stream-api.ts";

/** All streams live, null until the first word about them, and why those that one may manage could not be read. */
export interface WatchedStreams {
  live: WatchedTopic | null;
  failure: string | null;
  retry(): void;
}

/**
 * The topic begins with what is live and what changed last. The streams that the person may manage are all there: they
 * are read besides, and merged. A reconnect forgets both, so both are read again.
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
