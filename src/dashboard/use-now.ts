import { useEffect, useState } from "preact/hooks";

/** Monotonic milliseconds, read again every `everyMs`: for positions that move while somebody plays. */
export function useNow(everyMs: number): number {
  return useReading(() => performance.now(), everyMs);
}

/** Milliseconds since 1970, read again every minute: for "3 minutes ago". */
export function useMinute(): number {
  return useReading(() => Date.now(), 60_000);
}

function useReading(read: () => number, everyMs: number): number {
  const [reading, setReading] = useState(read);
  useEffect(() => {
    const timer = setInterval(() => setReading(read()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return reading;
}
