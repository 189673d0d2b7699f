import { useEffect, useState } from "preact/hooks";
import type { Dashboard, WatchedTopic } from "../client/index.ts";

/** Follows a topic while the component is mounted. Null until the first snapshot. */
export function useTopic(dashboard: Dashboard, topic: string): WatchedTopic | null {
  const [watched, setWatched] = useState<WatchedTopic | null>(null);
  useEffect(() => {
    setWatched(null);
    const subscription = dashboard.subscribe(topic, setWatched);
    return () => subscription.unsubscribe();
  }, [dashboard, topic]);
  return watched;
}
