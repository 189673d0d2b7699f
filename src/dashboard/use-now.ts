import { useEffect, useState } from "preact/hooks";

/** Draws again every so often: for what moves with time alone. Monotonic milliseconds. */
export function useNow(everyMs: number): number {
  const [now, setNow] = useState(() => performance.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(performance.now()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return now;
}
